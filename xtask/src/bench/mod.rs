//! `cargo xtask bench`: how fast the real binaries are, on this machine, now.
//!
//! Everything that is measured is real: a controller of its own, on the embedded store in a temporary folder or on an etcd
//! (where it is about fail-over, two on an etcd), the client library, the `process` runner, and for the rates an executor that does nothing but speak the protocol. The binaries
//! and the bench itself are built for release first; a bench that is built for development starts the other one.
//! Numbers are printed with what else the machine did: a bench beside a compiler measures the compiler, too.

mod commands;
mod failover;
mod figures;
mod fleet;
mod idle_executor;
mod installation;
mod kubernetes;
mod load;
mod logs;
mod machine;
mod million;
mod place;
mod rates;
mod security;
mod state;
mod table;

use crate::steps;
use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Metadata;
use clap::{Args, ValueEnum};
use place::{Place, Store, TEST_SERVER};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use table::Row;

/// What is wanted of a bench.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// What to measure; nothing means everything that needs no cluster
    #[arg(value_name = "NAME")]
    names: Vec<Group>,
    /// Measure less, in less than a minute: whether it works, and roughly how fast
    #[arg(long)]
    quick: bool,
    /// How many finished executions `million` has: 100,000 unless it is said, and 10,000 with `--quick`
    #[arg(long, value_name = "COUNT")]
    history: Option<usize>,
    /// How the results are written to standard output; what goes on is told on standard error
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    /// Measure the binaries of this folder as they are, for example those of another version, to compare
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// What keeps the controllers' state
    #[arg(long, value_name = "STORE", default_value = "embedded")]
    store: Store,
    /// Where the controller of the row `log` keeps the logs: a URL as `log_store` takes it, below which each run leaves what
    /// it wrote, or `s3-test` for an S3 server of the bench's own; where the state is in an etcd, that is the default
    #[arg(long, value_name = "URL")]
    log_store: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Executions a second with an executor that does nothing: 1, 64 and 512 in flight
    Rate,
    /// From submit to the executor having the lease, on an idle system
    Lease,
    /// `octavius execute JOB --wait` as a whole process, with a program that does nothing
    Wait,
    /// Executions a second of real processes
    Process,
    /// Log bytes a second to one follower and to 50
    Log,
    /// From a line's writing to its reading
    Delay,
    /// Memory of idle servers
    Memory,
    /// Memory with many pending executions, and start-up with many finished ones
    History,
    /// How long nobody leads when the leader of two controllers on etcd is killed, or ends
    Failover,
    /// Very many finished executions in an etcd: start-up, memory, pages, bytes, and the way there by a backup
    Million,
    /// Many executors, and very much that waits: decisions a second, memory, and how soon a cancel ends a program
    Fleet,
    /// Executions a second with TLS, tokens and the audit, beside those without, in turns
    Security,
    /// Executions on a real cluster of the bench's own, beside the same done with the API alone; only if it is named
    Kubernetes,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Plan {
    quick: bool,
    /// How long the history is that is asked for.
    history: Option<usize>,
}

impl Plan {
    /// `whole` of a whole bench, `quick` of a quick one.
    fn of<T>(self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}

impl Bench {
    /// Builds what is measured, and measures it.
    pub(crate) fn run(&self, metadata: &Metadata) -> Result<()> {
        let root = metadata.workspace_root.as_std_path();
        let target = metadata.target_directory.as_std_path().join("release");
        if cfg!(debug_assertions) && self.binaries.is_none() {
            return self.optimized(root, &target);
        }
        let binaries = self.binaries.clone().unwrap_or(target);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let before = machine::Machine::look(root, &binaries);
        eprintln!("{before}");
        let rows = runtime.block_on(async { self.measure(&binaries).await })?;
        let after = machine::load();
        match self.output {
            Output::Table => print!("{before}load at the end: {after}\n\n{}", table::text(&rows)),
            Output::Json => println!("{:#}", table::document(&before, &after, &rows)),
        }
        Ok(())
    }

    /// Builds everything for release, and lets that bench measure.
    fn optimized(&self, root: &Path, binaries: &Path) -> Result<()> {
        let build: Vec<_> =
            ["build", "--release", "--locked"].into_iter().chain(PACKAGES).collect();
        steps::cargo(root, &build, &[])?;
        let status = Command::new(binaries.join("xtask"))
            .args(std::env::args_os().skip(1))
            .current_dir(root)
            .status()
            .context("the bench cannot be started")?;
        ensure!(status.success(), "the bench ended with {status}");
        Ok(())
    }

    async fn measure(&self, binaries: &Path) -> Result<Vec<Row>> {
        let plan = Plan { quick: self.quick, history: self.history };
        let mut rows = Vec::new();
        for group in Group::value_variants() {
            // A cluster needs root, and minutes.
            let unnamed = self.names.is_empty() && *group != Group::Kubernetes;
            if !unnamed && !self.names.contains(group) {
                continue;
            }
            let name = group.to_possible_value();
            let name = name.as_ref().map_or("", |name| name.get_name());
            eprintln!("== {name}");
            // Each has an etcd of its own: what one has left there is not what the next one measures.
            let place = &Place::start(self.store, self.logs(*group)).await;
            let measured = match group {
                Group::Rate => rates::rates(binaries, plan, place).await,
                Group::Lease => rates::lease(binaries, plan, place).await,
                Group::Wait => commands::execute_and_wait(binaries, plan, place).await,
                Group::Process => commands::processes(binaries, plan, place).await,
                Group::Log => logs::throughput(binaries, plan, place).await,
                Group::Delay => logs::delay(binaries, plan, place).await,
                Group::Memory => state::idle(binaries, plan, place).await,
                Group::History => state::history(binaries, plan, place).await,
                Group::Failover => failover::failover(binaries, plan, place).await,
                Group::Million => million::million(binaries, plan).await,
                Group::Fleet => fleet::fleet(binaries, plan, place).await,
                Group::Security => security::security(binaries, plan, place).await,
                Group::Kubernetes => kubernetes::kubernetes(binaries, plan, place).await,
            };
            let measured = measured.with_context(|| name.to_owned())?;
            eprint!("{}", table::text(&measured));
            rows.extend(measured);
        }
        Ok(rows)
    }

    /// Where these rows' logs are, if not in the controller's folder.
    fn logs(&self, group: Group) -> Option<&str> {
        let of_etcd = (self.store == Store::Etcd).then_some(TEST_SERVER);
        self.log_store.as_deref().or(of_etcd).filter(|_| group == Group::Log)
    }
}

/// The packages of the binaries that are measured, and of the bench.
const PACKAGES: [&str; 8] = [
    "--package",
    "octavius",
    "--package",
    "octavius-controller",
    "--package",
    "octavius-executor",
    "--package",
    "xtask",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine decides how fast; here it counts only that everything that was asked for came about.
    #[test]
    fn a_quick_bench_runs_executions_on_the_real_controller_and_counts_them() {
        let binaries = installation::built_for_tests();
        let place = Place::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let plan = Plan { quick: true, history: None };
        let row = rates::rate(&binaries, 8, table::Aim::None, plan, &place);
        let row = runtime.block_on(row).unwrap();
        assert!(row.value > 0.0, "{row:?}");
    }

    /// That the second one did it over TLS, with tokens, and recorded it all, the bench looks at itself.
    #[test]
    fn a_quick_bench_runs_executions_without_security_and_with_it() {
        let binaries = installation::built_for_tests();
        let place = Place::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let plan = Plan { quick: true, history: None };
        let rows = security::beside(&binaries, 4, plan, &place);
        let rows = runtime.block_on(rows).unwrap();
        assert_eq!(rows.len(), 9);
        for row in rows {
            assert!(row.value.is_finite() && row.value > 0.0, "{row:?}");
        }
    }
}
