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
const CLUSTER_CALLS: &str = "octavius_executor_cluster_calls_total";
const CLUSTER_UNSEEN: &str = "octavius_executor_cluster_unseen";
const CLUSTER_PANICS: &str = "octavius_executor_cluster_task_panics_total";

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
    Metric {
        name: CLUSTER_CALLS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["code"],
        help: "Calls to the cluster's API server, by the HTTP status of its answer; `none` where none came.",
    },
    Metric {
        name: CLUSTER_UNSEEN,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "How much of the cluster cannot be seen at present: Jobs or pods of a namespace, or all of it. Unless it is 0 no new work is taken.",
    },
    Metric {
        name: CLUSTER_PANICS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[],
        help: "How often a task of the runner `kubernetes` panicked; it is begun again.",
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

/// The API server answered with this status, or did not.
#[cfg(feature = "kubernetes")]
pub(crate) fn asked_cluster(status: Option<u16>) {
    let code = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    metrics::counter!(CLUSTER_CALLS, "code" => code).increment(1);
}

#[cfg(feature = "kubernetes")]
pub(crate) fn unseen(parts: usize) {
    metrics::gauge!(CLUSTER_UNSEEN).set(parts as f64);
}

#[cfg(feature = "kubernetes")]
pub(crate) fn task_panicked() {
    metrics::counter!(CLUSTER_PANICS).increment(1);
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
