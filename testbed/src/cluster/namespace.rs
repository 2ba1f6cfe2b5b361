//! A namespace of a test's own, with the account that an executor gets there.

use super::{Cluster, DEPLOY, DONE, Failed, run};
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use tokio::process::Command;

/// How the names of all of them begin. The seconds since 1970 at which it was made follow, then what the test calls it.
const NAMES: &str = "octavius-test-";
/// No test takes as long: what is older was left behind by a run that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(2 * 60 * 60);

/// The ids of executors of tests.
const IDS: [&str; 8] =
    ["tester", "executor", "kubernetes", "one", "two", "three", "twin", "watcher"];

/// A namespace, which is deleted with all that is in it when this goes.
#[derive(Debug)]
pub struct Namespace {
    cluster: Cluster,
    name: String,
    kubeconfig: PathBuf,
    _folder: TempDir,
}

impl Cluster {
    /// Makes a namespace that nobody else has. In it there is the account of an executor, with the rights that
    /// `deploy/kubernetes/` grants. What runs that were killed have left behind is deleted first.
    ///
    /// # Errors
    ///
    /// What the cluster said.
    ///
    /// # Panics
    ///
    /// If `prefix` is longer than 30 characters, or there is no room for a file.
    pub async fn namespace(&self, prefix: &str) -> Result<Namespace, Failed> {
        assert!(prefix.len() <= 30, "{prefix} is too long for the name of a namespace");
        self.sweep().await?;
        let name = format!("{NAMES}{}-{prefix}-{:04x}", now().as_secs(), rand::random::<u16>());
        let folder = tempfile::Builder::new().prefix("octavius-namespace-").tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        // From here on it is deleted, however far its making comes.
        let namespace = Namespace { cluster: self.clone(), name, kubeconfig, _folder: folder };
        let mut make = Command::new(format!("{DEPLOY}/kubernetes/executor-kubeconfig.sh"));
        make.env("KUBECONFIG", &self.admin).env("KUBECTL", &self.kubectl);
        make.arg(&namespace.name).arg(&namespace.kubeconfig).args(IDS);
        run(&mut make, DONE).await?;
        Ok(namespace)
    }

    async fn sweep(&self) -> Result<(), Failed> {
        let all = self.kubectl(&["get", "namespaces", "--output=name"]).await?;
        let names = all.lines().map(|line| line.trim_start_matches("namespace/"));
        let old: Vec<_> = names.filter(|name| is_left_behind(name, now())).collect();
        if old.is_empty() {
            return Ok(());
        }
        // Somebody else may be at it, too.
        let delete = ["delete", "namespace", "--ignore-not-found", "--wait=false"];
        self.kubectl(&[&delete[..], &old].concat()).await.map(drop)
    }
}

impl Namespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig of the executor's account, whose namespace this is.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What `kubectl` prints as the administrator, about this namespace.
    ///
    /// # Errors
    ///
    /// What it said, if it failed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Failed> {
        self.cluster.kubectl(&self.within(arguments)).await
    }

    /// What `kubectl` prints with the account of the executor.
    ///
    /// # Errors
    ///
    /// What it said, if it failed.
    pub async fn kubectl_as_executor(&self, arguments: &[&str]) -> Result<String, Failed> {
        let executor = Cluster { admin: self.kubeconfig.clone(), ..self.cluster.clone() };
        executor.kubectl(arguments).await
    }

    /// As [`Cluster::until`], about this namespace.
    ///
    /// # Errors
    ///
    /// What it printed last, if that takes more than a minute.
    pub async fn until(
        &self,
        arguments: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Failed> {
        self.cluster.until(&self.within(arguments), wanted).await
    }

    /// Applies manifests.
    ///
    /// # Errors
    ///
    /// What the cluster said.
    ///
    /// # Panics
    ///
    /// If there is no room for a file.
    pub async fn apply(&self, manifests: &str) -> Result<(), Failed> {
        let file = self.kubeconfig.with_file_name("manifests.yaml");
        std::fs::write(&file, manifests).unwrap();
        let file = file.to_string_lossy().into_owned();
        self.kubectl(&["apply", "--filename", &file]).await.map(drop)
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn command(&self) -> Command {
        let mut command = self.cluster.command();
        command.args(["--namespace", &self.name]);
        command
    }

    fn within<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--namespace", &self.name], arguments].concat()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is in it takes its time to end, and nobody waits for that.
        let mut delete = self.cluster.command();
        delete.args(["delete", "namespace", &self.name, "--ignore-not-found", "--wait=false"]);
        let _ = delete.as_std_mut().output(); // else it is deleted when it is old
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Whether this is the namespace of a test that is certainly over.
fn is_left_behind(name: &str, now: Duration) -> bool {
    let rest = name.strip_prefix(NAMES).and_then(|rest| rest.split('-').next());
    let made = rest.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    made.is_some_and(|made| now.saturating_sub(made) > LEFT_BEHIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_test_made_long_ago_is_left_behind() {
        let now = Duration::from_secs(1_000_000);
        assert!(is_left_behind("octavius-test-990000-gate-00ff", now));
        for name in ["octavius-test-999000-gate-00ff", "octavius-test-1000001-gate-00ff"] {
            assert!(!is_left_behind(name, now), "{name}");
        }
        for name in ["octavius-test-gate", "octavius-test-", "default", "my-octavius-test-1-gate"] {
            assert!(!is_left_behind(name, now), "{name}");
        }
    }
}
