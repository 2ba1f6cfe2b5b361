//! Metrics: declared in tables, one for each crate; recorded by the `metrics` macros; read as Prometheus text.
//!
//! A table is the one place that names a metric: the help at `/metrics` and `docs/metrics.md` come from it. Names end
//! in their unit (`_seconds`, `_bytes`) or in `_total`; no label holds an id, because its values would never end.

use crate::actor::Vitals;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How a metric's value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Many values, in buckets.
    Histogram,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// One metric, as scrapes and documents have it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How its value moves.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// The labels that tell its series apart.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// The metrics that every server has.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "octavius_actor_up",
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["actor"],
        help: "1 while the actor serves, 0 while it is built again.",
    },
    Metric {
        name: "octavius_actor_waiting",
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["actor"],
        help: "Calls that are queued or at work.",
    },
    Metric {
        name: "octavius_actor_oldest_seconds",
        kind: Kind::Gauge,
        unit: Unit::Seconds,
        labels: &["actor"],
        help: "How long the oldest of these calls has been here; 0 if there is none.",
    },
    Metric {
        name: "octavius_actor_refused_total",
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["actor"],
        help: "Calls that were refused because too many waited.",
    },
    Metric {
        name: "octavius_actor_handling_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &["actor", "message"],
        help: "Time from when a call was let in until its answer.",
    },
    Metric {
        name: "octavius_actor_panics_total",
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["actor"],
        help: "How often the actor panicked, counted at once: also before it is built again.",
    },
    Metric {
        name: "octavius_actor_restarts_total",
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["actor", "cause"],
        help: "How often the actor began to be built again, after its pause, because of a `panic`, a `stop` of its own, or a failed `build`.",
    },
    Metric {
        name: "octavius_metrics_connections_closed_total",
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["reason"],
        help: "Connections to `metrics_address` that were closed because there are too many (`full`), or because nothing came or went on them (`idle`).",
    },
];

const SECONDS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
const BYTES: [f64; 8] =
    [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
/// Batches, and whatever else has no unit.
const COUNTS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// How often values that nobody scrapes are put into their buckets; until then they take memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why nothing is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Somebody else has it.
    #[error("this process has another recorder of metrics: install ours before any other")]
    OtherRecorder,
    /// Our own tables of buckets are wrong.
    #[error("the buckets of the histograms are empty")]
    Buckets,
}

/// The metrics of this process.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

/// Measures from now on: call it before the first actor starts. The recorder is one for the whole process: whoever
/// comes second shares it. Call it on a tokio runtime; the task that keeps memory bounded ends with `cancel`.
pub fn install(cancel: CancellationToken) -> Result<Metrics, MetricsError> {
    static RECORDER: OnceLock<Result<PrometheusHandle, MetricsError>> = OnceLock::new();
    let metrics = Metrics(RECORDER.get_or_init(record).clone()?);
    let kept = metrics.clone();
    tokio::spawn(async move {
        while cancel.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
            kept.0.run_upkeep();
        }
    });
    Ok(metrics)
}

fn record() -> Result<PrometheusHandle, MetricsError> {
    let recorder = builder().map_err(|_| MetricsError::Buckets)?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| MetricsError::OtherRecorder)?;
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)
}

/// Gives the metrics of `tables` their help. Twice does no harm.
pub fn describe(tables: &[&[Metric]]) {
    for metric in tables.iter().copied().flatten() {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

impl Metrics {
    /// All values, as Prometheus text.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Sets the gauges of actors to what is seen of them now.
pub fn observe(actors: &[Arc<Vitals>]) {
    for vitals in actors {
        let actor = vitals.name();
        let up = if vitals.is_up() { 1.0 } else { 0.0 };
        metrics::gauge!("octavius_actor_up", "actor" => actor).set(up);
        metrics::gauge!("octavius_actor_waiting", "actor" => actor).set(vitals.waiting() as f64);
        metrics::gauge!("octavius_actor_oldest_seconds", "actor" => actor)
            .set(vitals.oldest().as_secs_f64());
    }
}

/// What is wrong with the tables themselves: names that stand twice or do not say their unit, help that is missing.
pub fn faults(tables: &[&[Metric]]) -> Vec<String> {
    let mut names = BTreeSet::new();
    let mut faults = Vec::new();
    for metric in tables.iter().copied().flatten() {
        let name = metric.name;
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{name} {what}"));
            }
        };
        demand(names.insert(name), "is declared twice");
        demand(name.starts_with("octavius_"), "must begin with `octavius_`");
        demand(
            (metric.kind == Kind::Counter) == name.ends_with("_total"),
            "must end in `_total` if, and only if, it is a counter",
        );
        let base = name.trim_end_matches("_total");
        demand(
            (metric.unit == Unit::Seconds) == base.ends_with("_seconds"),
            "must say `_seconds` if, and only if, that is its unit",
        );
        demand(
            (metric.unit == Unit::Bytes) == base.ends_with("_bytes"),
            "must say `_bytes` if, and only if, that is its unit",
        );
        demand(metric.help.ends_with('.'), "needs a sentence of help, with its full stop");
    }
    faults
}

/// `docs/metrics.md`: all metrics of the tables, in the order of their names.
pub fn page(tables: &[&[Metric]]) -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Made by `cargo xtask docs` from the tables in the code: change them there. -->\n\n\
         Both servers answer at `metrics_address` with Prometheus text under `/metrics`; `/healthz` is 200 while the \
         process serves, `/readyz` is 200 if it can do its work, and else names who cannot.\n\n\
         | metric | kind | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    let mut all: Vec<_> = tables.iter().copied().flatten().collect();
    all.sort_by_key(|metric| metric.name);
    for metric in all {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let help = metric.help.replace('|', "\\|");
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {kind} | {} | {help} |", metric.name, labels.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_table_is_sound() {
        assert_eq!(faults(&[METRICS]), Vec::<String>::new());
    }

    #[test]
    fn a_table_that_lies_about_itself_is_found() {
        let wrong = Metric {
            kind: Kind::Gauge,
            unit: Unit::Bytes,
            name: "waits_total",
            labels: &[],
            help: "",
        };
        assert_eq!(faults(&[&[wrong], &[wrong]]).len(), 2 * 4 + 1);
    }

    #[test]
    fn the_page_has_a_line_for_each_metric_in_order() {
        let page = page(&[METRICS]);
        let lines: Vec<_> = page.lines().filter(|line| line.starts_with("| `octavius_")).collect();
        assert_eq!(lines.len(), METRICS.len());
        assert!(lines.is_sorted());
        let refused = "| `octavius_actor_refused_total` | counter | `actor` | Calls that were refused because too many waited. |";
        assert!(lines.contains(&refused));
    }

    #[tokio::test]
    async fn who_comes_second_shares_the_recorder_and_histograms_have_their_buckets() {
        let cancel = CancellationToken::new();
        let first = install(cancel.clone()).unwrap();
        let second = install(cancel).unwrap();
        describe(&[METRICS]);
        metrics::histogram!("octavius_actor_handling_seconds", "actor" => "a", "message" => "M")
            .record(0.003);
        metrics::histogram!("octavius_test_batch_size").record(60.0);
        let text = second.render();
        assert_eq!(first.render(), text);
        for line in [
            "# HELP octavius_actor_handling_seconds Time from when a call was let in until its answer.",
            "# TYPE octavius_actor_handling_seconds histogram",
            "octavius_actor_handling_seconds_bucket{actor=\"a\",message=\"M\",le=\"0.0025\"} 0",
            "octavius_actor_handling_seconds_bucket{actor=\"a\",message=\"M\",le=\"0.005\"} 1",
            "octavius_test_batch_size_bucket{le=\"50\"} 0",
            "octavius_test_batch_size_bucket{le=\"100\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
