//! A development cluster that is one test's alone: its parts may be killed, frozen, and cut off from power.

use super::{Cluster, DONE, Failed, Setting, run, script};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirEntry, File},
    ops::Deref,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::TempDir;

/// How the names of their folders begin.
const NAMES: &str = "octavius-cluster-";
/// The file that is locked for as long as the test lives.
const OWNER: &str = "owner";
/// The folder of the cluster itself.
const STATE: &str = "state";

/// A cluster that ends with this, and leaves nothing behind.
///
/// The parts that can be named: `etcd`, `containerd`, `apiserver`, `controller-manager`, `scheduler`, `kubelet`, and
/// `relay`, through which the API is reached. Each that dies is started again at once.
#[derive(Debug)]
pub struct Own {
    cluster: Cluster,
    folder: Folder,
    /// What of the cluster's script is set otherwise.
    settings: Vec<Setting>,
}

impl Deref for Own {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Own {
    pub(super) async fn start(settings: Vec<Setting>) -> Result<Self, Failed> {
        sweep();
        let folder = Folder::make(); // cleaned from here on, however far the start comes
        let cluster = Cluster::start(Some(folder.state()), &settings).await?;
        Ok(Self { cluster, folder, settings })
    }

    /// Kills a part, and starts it again after so long.
    ///
    /// # Errors
    ///
    /// There is no such part, or the cluster does not run.
    pub async fn restart(&self, part: &str, after: Duration) -> Result<(), Failed> {
        let seconds = after.as_secs_f64().to_string();
        run(self.script().args(["restart", part, &seconds]), after + DONE).await.map(drop)
    }

    /// Kills a part, which is not started again before [`Self::resume`].
    ///
    /// # Errors
    ///
    /// As [`Self::restart`].
    pub async fn stop(&self, part: &str) -> Result<(), Failed> {
        run(self.script().args(["stop", part]), DONE).await.map(drop)
    }

    /// Has a part started again that was stopped.
    ///
    /// # Errors
    ///
    /// The cluster does not run.
    pub async fn resume(&self, part: &str) -> Result<(), Failed> {
        run(self.script().args(["start", part]), DONE).await.map(drop)
    }

    /// SIGSTOP: the part does nothing until [`Self::thaw`], and its connections stay.
    ///
    /// # Errors
    ///
    /// As [`Self::restart`].
    pub async fn freeze(&self, part: &str) -> Result<(), Failed> {
        run(self.script().args(["freeze", part]), DONE).await.map(drop)
    }

    /// SIGCONT.
    ///
    /// # Errors
    ///
    /// As [`Self::restart`].
    pub async fn thaw(&self, part: &str) -> Result<(), Failed> {
        run(self.script().args(["thaw", part]), DONE).await.map(drop)
    }

    /// All versions but the latest are forgotten: a watch that is further behind has to begin again.
    ///
    /// # Errors
    ///
    /// What the cluster said.
    pub async fn compact(&self) -> Result<(), Failed> {
        run(self.script().arg("compact"), DONE).await.map(drop)
    }

    /// The node loses its power, pods and all, and starts again with what is on its disk.
    ///
    /// # Errors
    ///
    /// What the cluster said.
    pub async fn power_cut(&mut self) -> Result<(), Failed> {
        run(self.script().arg("down"), DONE).await?;
        let state = Some(self.folder.state());
        self.cluster = Cluster::start(state, &self.settings).await?;
        Ok(())
    }

    /// The folder with all that the cluster keeps.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.state()
    }

    /// The development cluster's commands, about this one.
    #[must_use]
    pub fn script(&self) -> tokio::process::Command {
        script(Some(&self.folder.state()))
    }
}

/// The folder of a cluster and of who owns it. Both go with this.
#[derive(Debug)]
struct Folder {
    folder: TempDir,
    _owner: File,
}

impl Folder {
    fn make() -> Self {
        let folder = tempfile::Builder::new().prefix(NAMES).tempdir().unwrap();
        // It gets its name when it is locked: who finds it unlocked knows that its owner is gone.
        let new = folder.path().join("new");
        let owner = File::create(&new).unwrap();
        flock(&owner, FlockOperation::LockExclusive).unwrap();
        fs::rename(new, folder.path().join(OWNER)).unwrap();
        Self { folder, _owner: owner }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join(STATE)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        clean(self.folder.path());
    }
}

/// Ends the clusters of tests that were killed.
fn sweep() {
    let Ok(folders) = fs::read_dir(std::env::temp_dir()) else { return };
    let is_ours = |folder: &DirEntry| folder.file_name().to_string_lossy().starts_with(NAMES);
    for folder in folders.flatten().filter(is_ours) {
        let Ok(owner) = File::open(folder.path().join(OWNER)) else { continue };
        if flock(&owner, FlockOperation::NonBlockingLockExclusive).is_ok() {
            clean(&folder.path());
            let _ = fs::remove_dir_all(folder.path()); // another test may be at it, too
        }
    }
}

fn clean(folder: &Path) {
    let cleaned = script(Some(&folder.join(STATE))).arg("clean").as_std_mut().output();
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    // Not while a test fails: its own words matter more.
    if !std::thread::panicking() {
        let why = cleaned.as_ref().map_or_else(ToString::to_string, said);
        assert!(cleaned.is_ok_and(|output| output.status.success()), "{why}");
    }
}
