//! The development cluster: `deploy/dev-cluster/cluster.sh` from anywhere in the checkout, and a cluster for the length of
//! a run of the tests.

use anyhow::{Context as _, Result, ensure};
use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where its commands are.
const SCRIPT: &str = "deploy/dev-cluster/cluster.sh";
/// What it ends with where no cluster runs.
const NOT_RUNNING: i32 = 3;

/// Becomes the script, so that signals and its exit status are its own. Returns only if that fails.
pub(crate) fn command(root: &Path, words: &[OsString]) -> Result<()> {
    Err(script(root).args(words).exec()).context(SCRIPT)
}

/// Installs the packages that are missing, where a cluster can run; says why it cannot elsewhere.
pub(crate) fn install(root: &Path) -> Result<()> {
    match impossible(root)? {
        Some(why) => println!("kubernetes (tests on a cluster): left out, for it {why}"),
        None => {
            told(root, "install")?;
            println!("kubernetes (tests on a cluster): {SCRIPT} has the packages that it needs");
        }
    }
    Ok(())
}

/// Why no cluster can run on this machine; nothing where one can.
pub(crate) fn impossible(root: &Path) -> Result<Option<String>> {
    let asked = script(root).arg("possible").output().context(SCRIPT)?;
    let said = String::from_utf8_lossy(&asked.stderr);
    let why = said.trim().trim_start_matches("dev-cluster: ").to_owned();
    Ok((!asked.status.success()).then_some(why))
}

/// A cluster that is up while this is kept. It is taken down in the end if it was not up before.
pub(crate) struct Up(Option<PathBuf>);

impl Up {
    /// Waits until it is ready. Where `KUBECONFIG` names a cluster nothing is started.
    pub(crate) fn start(root: &Path) -> Result<Self> {
        if is_given() {
            return Ok(Self(None));
        }
        let status =
            script(root).arg("status").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let is_up = status.context(SCRIPT)?.code() != Some(NOT_RUNNING);
        let up = Self((!is_up).then(|| root.to_owned())); // taken down also if its start fails
        told(root, "up")?;
        Ok(up)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(root) = &self.0
            && let Err(why) = told(root, "down")
        {
            println!("the cluster is still up: {why:#}");
        }
    }
}

/// Whether tests are told which cluster they are to use.
pub(crate) fn is_given() -> bool {
    std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty())
}

fn told(root: &Path, word: &str) -> Result<()> {
    let status = script(root).arg(word).stdin(Stdio::null()).status().context(SCRIPT)?;
    ensure!(status.success(), "{SCRIPT} {word} ended with {status}");
    Ok(())
}

fn script(root: &Path) -> Command {
    Command::new(root.join(SCRIPT))
}
