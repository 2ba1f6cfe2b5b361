//! The tests on Kubernetes, which are a run of their own, and which of them cannot run on this machine.

use crate::{
    cluster,
    steps::{self, cargo, step},
};
use anyhow::{Context as _, Result, ensure};
use std::{path::Path, process::Command};

/// Their binaries, in whatever package.
const BINARY: &str = "kubernetes";
/// How the names of those begin that have a cluster of their own, which can be on this machine alone.
const OWN: &str = "own_cluster::";

/// All of them that can run here, on a cluster that is up for that; an error where none can be had.
pub(crate) fn tests(root: &Path) -> Result<()> {
    let left_out = LeftOut::look(root)?;
    ensure!(left_out.any_runs(), "there is no cluster to be had: {}", left_out.why());
    left_out.run_the_others(root)
}

/// All of them that can run here, if any.
pub(crate) fn where_it_can(root: &Path) -> Result<()> {
    let left_out = LeftOut::look(root)?;
    if left_out.any_runs() { left_out.run_the_others(root) } else { left_out.say(root) }
}

/// The same with `cargo test`, one after the other: it does not know which want the machine for themselves.
pub(crate) fn with_cargo(root: &Path) -> Result<()> {
    let left_out = LeftOut::look(root)?;
    left_out.say(root)?;
    if !left_out.any_runs() {
        return Ok(());
    }
    let _cluster = step("the cluster", || cluster::Up::start(root))?;
    let mut run = vec!["test", "--workspace", "--locked", "--no-fail-fast", "--test", BINARY];
    run.extend(["--", "--test-threads", "1"]);
    if left_out.why.is_some() {
        run.extend(["--skip", OWN]);
    }
    step("tests on a cluster", || cargo(root, &run, &[]))
}

/// What selects all other tests, for cargo-nextest.
pub(crate) fn none_of_them() -> String {
    format!("not binary({BINARY})")
}

/// Which tests cannot run on this machine, and why.
struct LeftOut {
    why: Option<String>,
    /// Whether `KUBECONFIG` names a cluster for those that do not have one of their own.
    given: bool,
}

impl LeftOut {
    /// Looks what can run.
    fn look(root: &Path) -> Result<Self> {
        Ok(Self { why: cluster::impossible(root)?, given: cluster::is_given() })
    }

    fn why(&self) -> &str {
        self.why.as_deref().unwrap_or_default()
    }

    fn run_the_others(&self, root: &Path) -> Result<()> {
        let _cluster = step("the cluster", || cluster::Up::start(root))?;
        self.say(root)?;
        let mut filter = format!("binary({BINARY})");
        if let Some(others) = self.filter() {
            filter = format!("{filter} & {others}");
        }
        let run = ["nextest", "run", "--workspace", "--locked", "--filterset", &filter];
        step("tests on a cluster", || cargo(root, &run, &[]))
    }

    /// Whether there is a cluster to run any of them on.
    fn any_runs(&self) -> bool {
        self.given || self.why.is_none()
    }

    /// What selects the others, for cargo-nextest; nothing where all can run.
    fn filter(&self) -> Option<String> {
        self.why.as_ref()?;
        let own = if self.given { format!(" & test(/^{OWN}/)") } else { String::new() };
        Some(format!("not (binary({BINARY}){own})"))
    }

    /// Says by name which are left out, and why.
    fn say(&self, root: &Path) -> Result<()> {
        let Some(why) = &self.why else { return Ok(()) };
        let names: Vec<_> = names(root)?.into_iter().filter(|name| self.has(name)).collect();
        ensure!(!names.is_empty(), "there is no test in a binary `{BINARY}`");
        for name in &names {
            println!("left out: {name} (a cluster on this machine {why})");
        }
        Ok(())
    }

    fn has(&self, name: &str) -> bool {
        self.why.is_some() && (!self.given || name.starts_with(OWN))
    }
}

/// The names of all of them.
pub(crate) fn names(root: &Path) -> Result<Vec<String>> {
    let list = ["test", "--workspace", "--locked", "--quiet", "--test", BINARY, "--"];
    let mut cargo = Command::new(steps::program());
    cargo.args(list).args(["--list", "--format", "terse"]).current_dir(root);
    let listed = cargo.output().context("cargo cannot be started")?;
    let said = String::from_utf8_lossy(&listed.stderr);
    ensure!(listed.status.success(), "the tests on Kubernetes cannot be listed: {said}");
    let listed = String::from_utf8_lossy(&listed.stdout);
    Ok(listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_cluster_can_run_only_what_needs_none_of_its_own_runs_on_a_given_one() {
        let why = || Some("needs root".to_owned());
        let left_out = |why, given| LeftOut { why, given };
        let (of_its_own, shared) = ("own_cluster::a", "a_test");
        for (left_out, own_is_left_out, shared_is_left_out) in [
            (left_out(None, false), false, false),
            (left_out(None, true), false, false),
            (left_out(why(), true), true, false),
            (left_out(why(), false), true, true),
        ] {
            assert_eq!(left_out.has(of_its_own), own_is_left_out);
            assert_eq!(left_out.has(shared), shared_is_left_out);
            assert_eq!(left_out.any_runs(), !shared_is_left_out);
            assert_eq!(left_out.filter().is_some(), own_is_left_out);
        }
    }
}
