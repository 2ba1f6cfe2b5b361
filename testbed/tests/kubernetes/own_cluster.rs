//! A cluster of a test's own: started by several, killed half way, its parts broken, and what remains of it.

use octavius_testbed::cluster::{Failed, own};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_cluster_whose_start_was_killed_is_started_once_and_leaves_nothing_when_it_is_cleaned()
-> Result<(), Failed> {
    let own = own().await?;
    let state = own.admin().parent().unwrap().to_owned();
    let script = |word: &str| {
        let mut script = own.script();
        script.arg(word).stdin(Stdio::null()).stderr(Stdio::null());
        script
    };
    assert!(script("down").status().await.unwrap().success());
    let mut start = script("up").spawn().unwrap();
    appears(&state.join("run/init.pid")).await;
    start.kill().await.unwrap();

    let (mut one, mut other) = (script("up"), script("up"));
    let (one, other) = tokio::join!(one.status(), other.status());
    assert!(one.unwrap().success() && other.unwrap().success());
    own.kubectl(&["get", "--raw", "/readyz"]).await?;
    let traces = Traces::of(&state);
    assert_eq!(traces.roots, 1, "clusters in {}", state.display());
    assert!(!traces.remain().is_empty(), "nothing is found of a cluster that runs");

    drop(own);
    assert_eq!(traces.remain(), Vec::<String>::new());
    assert!(!state.exists());
    Ok(())
}

#[tokio::test]
async fn parts_are_away_until_they_are_back_and_the_node_outlives_a_power_cut() -> Result<(), Failed>
{
    let mut own = own().await?;
    let node = ["get", "nodes", "--output=jsonpath={.items[0].metadata.uid}"];
    let uid = own.kubectl(&node).await?;
    own.stop("apiserver").await?;
    assert!(own.kubectl(&["get", "nodes", "--request-timeout=2s"]).await.is_err());
    own.resume("apiserver").await?;
    own.until(&node, |seen| seen == uid).await?;

    own.freeze("etcd").await?;
    assert!(own.kubectl(&["get", "nodes", "--request-timeout=2s"]).await.is_err());
    own.thaw("etcd").await?;
    own.until(&node, |seen| seen == uid).await?;

    own.restart("scheduler", Duration::from_millis(100)).await?;
    assert!(own.stop("no-such-part").await.is_err());

    own.power_cut().await?;
    assert_eq!(own.kubectl(&node).await?, uid);
    Ok(())
}

/// By what a cluster is known on the machine that it runs on.
struct Traces {
    /// How many processes say that they are the first of it.
    roots: usize,
    /// Its namespace of processes, as the kernel names it.
    processes: PathBuf,
    control_group: String,
    state: String,
}

impl Traces {
    fn of(state: &Path) -> Self {
        let init = fs::read_to_string(state.join("run/init.pid")).unwrap();
        let init = Path::new("/proc").join(init.trim());
        let environment = fs::read(init.join("environ")).unwrap();
        let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let group =
            variables.find_map(|variable| variable.strip_prefix("CGROUP=").map(str::to_owned));
        let state = state.to_string_lossy().into_owned();
        let is_root = |process: &PathBuf| {
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            let has = |bytes: &[u8], what: &str| {
                String::from_utf8_lossy(bytes).split('\0').any(|word| word.ends_with(what))
            };
            has(&words, "unshare") && has(&environment, &format!("OCTAVIUS_KUBE_STATE={state}"))
        };
        Self {
            roots: processes().filter(is_root).count(),
            processes: fs::read_link(init.join("ns/pid")).unwrap(),
            control_group: group.unwrap(),
            state,
        }
    }

    /// What there is of it.
    fn remain(&self) -> Vec<String> {
        let inside = |process: &PathBuf| {
            fs::read_link(process.join("ns/pid")).is_ok_and(|found| found == self.processes)
        };
        let groups = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
        let groups = groups.map(|kind| kind.path().join(&self.control_group));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.lines().filter(|mount| mount.contains(&self.state));
        let links = fs::read_dir("/sys/class/net").unwrap().flatten().map(|link| link.path());
        let paths = processes().filter(inside).chain(groups.filter(|group| group.exists()));
        let paths = paths.chain(links.filter(|link| link.ends_with("octavius0")));
        paths.map(|path| path.display().to_string()).chain(mounts.map(str::to_owned)).collect()
    }
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| path.join("ns").is_dir())
}

async fn appears(path: &Path) {
    let until = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < until, "there is no {}", path.display());
        sleep(Duration::from_millis(5)).await;
    }
}
