//! Steps of a run, and how long each took.

use crate::{cluster, on_etcd, on_kubernetes::LeftOut};
use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::time::Instant;

/// Runs one step, and says how long it took.
pub(crate) fn step<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("== {name}");
    let began = Instant::now();
    let outcome = run().with_context(|| name.to_owned());
    let verdict = if outcome.is_ok() { "ok" } else { "failed" };
    println!("== {name}: {verdict} in {}", seconds(began.elapsed()));
    outcome
}

/// Runs cargo, with its output shown.
pub(crate) fn cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(program())
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root)
        .status()
        .context("cargo cannot be started")?;
    ensure!(status.success(), "`cargo {}` ended with {status}", arguments.join(" "));
    Ok(())
}

/// All tests, and those of the whole once more on etcd. The runner speaks last.
pub(crate) fn tests(root: &Path) -> Result<()> {
    let began = Instant::now();
    let plain: &[&str] = &["test", "--workspace", "--locked", "--no-fail-fast"];
    let left_out = LeftOut::look(root)?;
    let up = || step("the cluster", || cluster::Up::start(root));
    if !has_nextest(root) {
        println!("== tests (cargo-nextest is not installed: a test that hangs will not be ended)");
        let _cluster = left_out.any_runs().then(up).transpose()?;
        let names = left_out.say(root)?;
        let skipped = names.iter().flat_map(|name| ["--skip", name]);
        let all = plain.iter().copied().chain(["--"]).chain(skipped).collect::<Vec<_>>();
        cargo(root, &all, &[])?;
        println!("== the whole on etcd");
        return on_etcd::with_cargo(root);
    }
    step("examples in the documentation", || cargo(root, &[plain, &["--doc"]].concat(), &[]))?;
    let build = ["nextest", "run", "--workspace", "--locked", "--no-run"];
    step("build of the tests", || cargo(root, &build, &[]))?;
    let cluster = left_out.any_runs().then(up).transpose()?;
    left_out.say(root)?;
    println!("== tests (everything before them took {})", seconds(began.elapsed()));
    let filter = left_out.filter();
    let filter = filter.iter().flat_map(|filter| ["--filterset", filter]);
    let run = ["nextest", "run", "--workspace", "--locked"].into_iter().chain(filter);
    let all = step("all tests", || cargo(root, &run.collect::<Vec<_>>(), &[]));
    drop(cluster);
    // One run tells all that is wrong.
    let on_etcd = step("the whole on etcd", || on_etcd::with_nextest(root));
    all.and(on_etcd)
}

/// The cargo that started us.
pub(crate) fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn has_nextest(root: &Path) -> bool {
    let mut version = Command::new(program());
    version.args(["nextest", "--version"]).current_dir(root);
    version
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
