//! Steps of a run, and how long each took.

use crate::{on_etcd, on_kubernetes};
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

/// All tests, those of the whole once more on etcd, and those on a cluster where one can be had. The runner speaks last.
pub(crate) fn tests(root: &Path) -> Result<()> {
    let began = Instant::now();
    let plain: &[&str] = &["test", "--workspace", "--locked", "--no-fail-fast"];
    if !has_nextest(root) {
        println!("== tests (cargo-nextest is not installed: a test that hangs will not be ended)");
        let names = on_kubernetes::names(root)?;
        let skipped = names.iter().flat_map(|name| ["--skip", name]);
        let all = plain.iter().copied().chain(["--"]).chain(skipped).collect::<Vec<_>>();
        cargo(root, &all, &[])?;
        println!("== the whole on etcd");
        on_etcd::with_cargo(root)?;
        return on_kubernetes::with_cargo(root);
    }
    step("examples in the documentation", || cargo(root, &[plain, &["--doc"]].concat(), &[]))?;
    let build = ["nextest", "run", "--workspace", "--locked", "--no-run"];
    step("build of the tests", || cargo(root, &build, &[]))?;
    println!("== tests (everything before them took {})", seconds(began.elapsed()));
    let others = on_kubernetes::none_of_them();
    let run = ["nextest", "run", "--workspace", "--locked", "--filterset", &others];
    let all = step("all tests", || cargo(root, &run, &[]));
    // One run tells all that is wrong.
    let on_etcd = step("the whole on etcd", || on_etcd::with_nextest(root));
    let on_kubernetes = on_kubernetes::where_it_can(root);
    all.and(on_etcd).and(on_kubernetes)
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
