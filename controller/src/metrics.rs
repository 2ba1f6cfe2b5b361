//! The metrics that the controller has besides those of every server.
//!
//! No label holds an id, a job's name or a path of a caller: the number of series does not grow with use.

use octavius_service::telemetry::metrics::{
    Kind::{Counter, Gauge, Histogram},
    Metric, Unit,
};

/// All of them.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "octavius_connections_closed_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &["reason"],
        help: "Connections that were closed because there are too many (`full`), because they did not call (`silent`), because nobody read at their other end (`stuck`), or because they took none of their answers while those of all were too many (`paused`).",
    },
    Metric {
        name: "octavius_executors",
        kind: Gauge,
        unit: Unit::Count,
        labels: &["state"],
        help: "Executors that are `ready`, `expired`, `lost`, or `unknown`: not heard since the start.",
    },
    Metric {
        name: "octavius_executors_drained",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Executors that get no new work because somebody drained them, in whatever state.",
    },
    Metric {
        name: "octavius_queue_pending",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Executions that wait for an executor.",
    },
    Metric {
        name: "octavius_queue_oldest_seconds",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        help: "How long the first of them has waited; 0 if there is none.",
    },
    Metric {
        name: "octavius_queue_leases",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Attempts that an executor holds.",
    },
    Metric {
        name: "octavius_queue_awaited",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Executions whose end somebody waits for.",
    },
    Metric {
        name: "octavius_store_commit_seconds",
        kind: Histogram,
        unit: Unit::Seconds,
        labels: &[],
        help: "Time from when a batch was sent to the store until its outcome was known.",
    },
    Metric {
        name: "octavius_store_batch_writes",
        kind: Histogram,
        unit: Unit::Count,
        labels: &[],
        help: "Writes that were committed together.",
    },
    Metric {
        name: "octavius_store_commits_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &["outcome"],
        help: "Batches of decisions that were sent to the store, by what came of them: `done`, `refused`, `full`, or `unknown`.",
    },
    Metric {
        name: "octavius_store_full",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "1 while nothing is written because the store has no room, or refuses this controller, else 0.",
    },
    Metric {
        name: "octavius_leader",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "1 while this controller leads, else 0. Of the controllers of one store one leads at a time.",
    },
    Metric {
        name: "octavius_terms_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &[],
        help: "How often this controller began to lead.",
    },
    Metric {
        name: "octavius_etcd_database_bytes",
        kind: Gauge,
        unit: Unit::Bytes,
        labels: &[],
        help: "The database of the etcd member that is asked, by its own account; at its `--quota-backend-bytes` nothing is written.",
    },
    Metric {
        name: "octavius_log_bytes_total",
        kind: Counter,
        unit: Unit::Bytes,
        labels: &[],
        help: "Bytes of logs that were taken from executors.",
    },
    Metric {
        name: "octavius_log_segments_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &[],
        help: "Segments of logs that were stored.",
    },
    Metric {
        name: "octavius_log_flush_seconds",
        kind: Histogram,
        unit: Unit::Seconds,
        labels: &[],
        help: "Time to make the waiting bytes of a log durable.",
    },
    Metric {
        name: "octavius_log_store_behind_seconds",
        kind: Gauge,
        unit: Unit::Seconds,
        labels: &[],
        help: "For how long the log store has taken no segment although one waits; 0 if none waits. From 10 on the controller is not ready.",
    },
    Metric {
        name: "octavius_log_store_calls_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &["call", "outcome"],
        help: "Objects that were `written` to the log store, `read` from it, or `deleted` there, by what came of it: `done` or `failed`.",
    },
    Metric {
        name: "octavius_log_store_call_seconds",
        kind: Histogram,
        unit: Unit::Seconds,
        labels: &["call"],
        help: "Time that one object took to be `written`, `read`, or `deleted`, with what was tried again.",
    },
    Metric {
        name: "octavius_executions_removed_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &[],
        help: "Executions that were removed since they were kept for `keep_executions_for`, or were more than `keep_executions`.",
    },
    Metric {
        name: "octavius_audit_refusals_lost_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &[],
        help: "Refusals that could not be recorded in the audit: it was busy, or the store did not take them.",
    },
    Metric {
        name: "octavius_logs_expired_total",
        kind: Counter,
        unit: Unit::Count,
        labels: &[],
        help: "Logs that were removed since they were kept for `keep_logs_for`.",
    },
    Metric {
        name: "octavius_logs_open",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Logs in memory that are not closed. Closed ones stay there a moment longer, and are not counted.",
    },
    Metric {
        name: "octavius_log_followers",
        kind: Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "Readers of logs that have come to the end of what is durable and hear of more. Those that are behind it read from the store, and are not counted.",
    },
    Metric {
        name: "octavius_rpc_seconds",
        kind: Histogram,
        unit: Unit::Seconds,
        labels: &["method", "code"],
        help: "Time from a call's arrival until its last byte was sent, waiting for work included; `CANCELLED` if its caller left.",
    },
];

#[cfg(test)]
mod tests {
    use super::METRICS;
    use octavius_service::telemetry::metrics;

    #[test]
    fn the_table_is_sound() {
        assert_eq!(metrics::faults(&[metrics::METRICS, METRICS]), Vec::<String>::new());
    }
}
