//! What this executor counts. The table is the truth: it describes the metrics, and makes their documentation.

use crate::link::{Event, Failure, Verdict};
use octavius_protocol::code_name;
use octavius_service::telemetry::metrics::{Kind, Metric, Unit};
use std::time::Duration;
use tonic::Code;

const ATTEMPTS: &str = "octavius_executor_attempts";
const REPORTS: &str = "octavius_executor_reports_total";
const APPENDED: &str = "octavius_executor_appended_bytes_total";
const RPC: &str = "octavius_executor_rpc_seconds";
const REGISTRATIONS: &str = "octavius_executor_session_registrations_total";

/// The metrics that an executor has beside those of every server.
pub const METRICS: &[Metric] = &[
    Metric {
        name: ATTEMPTS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["phase"],
        help: "Attempts that are held here: `accepted`, `bare` (prepared, and its secrets are awaited), `prepared`, `running`, or `ended` and not acknowledged.",
    },
    Metric {
        name: REPORTS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["event", "outcome"],
        help: "Reports to the controller: `recorded`, `log_incomplete`, `superseded`, or `failed` and sent again.",
    },
    Metric {
        name: APPENDED,
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: &[],
        help: "Bytes of logs that the controller took.",
    },
    Metric {
        name: RPC,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &["method", "code"],
        help: "Time of a call to the controller, by method and status code; Attend and Poll wait there on purpose.",
    },
    Metric {
        name: REGISTRATIONS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[],
        help: "How often a session with the controller was opened.",
    },
];

pub(crate) fn reported(event: &Event, verdict: &Result<Verdict, Failure>) {
    let outcome = match verdict {
        Ok(Verdict::Recorded) => "recorded",
        Ok(Verdict::LogIncomplete(_)) => "log_incomplete",
        Ok(Verdict::Superseded(_)) => "superseded",
        Err(_) => "failed",
    };
    metrics::counter!(REPORTS, "event" => event.label(), "outcome" => outcome).increment(1);
}

pub(crate) fn appended(bytes: u64) {
    metrics::counter!(APPENDED).increment(bytes);
}

pub(crate) fn registered() {
    metrics::counter!(REGISTRATIONS).increment(1);
}

pub(crate) fn held(phase: &'static str, attempts: usize) {
    metrics::gauge!(ATTEMPTS, "phase" => phase).set(attempts as f64);
}

pub(crate) fn called(method: &'static str, code: Code, took: Duration) {
    metrics::histogram!(RPC, "method" => method, "code" => code_name(code)).record(took);
}

#[cfg(test)]
mod tests {
    use super::METRICS;
    use octavius_service::telemetry::metrics;

    #[test]
    fn the_table_is_sound() {
        assert_eq!(metrics::faults(&[metrics::METRICS, METRICS]), Vec::<String>::new());
    }
}
