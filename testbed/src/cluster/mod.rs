//! A real Kubernetes: one that tests share, each in a namespace of its own, or one of its own for a test that breaks it.
//!
//! The shared one is what `KUBECONFIG` names, with the kubectl of `KUBECTL` or of the path; else it is the development
//! cluster (`deploy/dev-cluster/`), which is started if it is not up, and stays up. Whoever runs several tests at once
//! starts it once. What tests ask of a cluster goes through `kubectl`, so that nothing of what they judge is judged by
//! the client that it uses.

mod forward;
mod front;
mod namespace;
mod own;
mod webhook;

pub use forward::Forward;
pub use front::{Asked, Fate, Front};
pub use namespace::Namespace;
pub use own::Own;
pub use webhook::Webhook;

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

/// The development cluster is up within this, also where Kubernetes has to be built first.
const BUILT: Duration = Duration::from_secs(30 * 60);
/// Anything else that a cluster is told is done within this.
const DONE: Duration = Duration::from_secs(60);
/// What a cluster does by itself is seen within this, also on a machine that has other work.
const SEEN: Duration = Duration::from_secs(120);
/// How often it is looked whether something holds.
const LOOK: Duration = Duration::from_millis(100);

/// A setting of the development cluster: a variable of its script, and the value.
type Setting = (&'static str, String);

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

/// What a cluster did not do, and what it said.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0) // as a test prints it: with line breaks
    }
}

/// A cluster that is up, and its administrator.
#[derive(Clone, Debug)]
pub struct Cluster {
    admin: PathBuf,
    kubectl: OsString,
    /// Of the development cluster: its folder. None of another one.
    state: Option<PathBuf>,
}

/// The cluster that tests share.
///
/// # Errors
///
/// Why there is none on this machine, or why it does not answer.
pub async fn shared() -> Result<Cluster, Failed> {
    let Some(admin) = env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) else {
        return Cluster::start(None, &[]).await;
    };
    let kubectl = env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into());
    let cluster = Cluster { admin: admin.into(), kubectl, state: None };
    cluster.kubectl(&["get", "--raw", "/readyz"]).await?;
    Ok(cluster)
}

/// A development cluster that is nobody else's, and goes with what is returned.
///
/// # Errors
///
/// Why there can be none on this machine, or what it said instead of being ready.
pub async fn own() -> Result<Own, Failed> {
    Own::start(Vec::new()).await
}

/// The same, where the kubelet rotates a log away only when it is so large: `"2Gi"`.
///
/// # Errors
///
/// As [`own`].
pub async fn own_with_logs_of(size: &str) -> Result<Own, Failed> {
    Own::start(vec![("OCTAVIUS_KUBE_LOG_MAX", size.to_owned())]).await
}

/// The same, where the cluster deletes the oldest of its finished pods as soon as there are more than so many.
///
/// # Errors
///
/// As [`own`].
pub async fn own_with_finished_pods_of(most: u32) -> Result<Own, Failed> {
    Own::start(vec![("OCTAVIUS_KUBE_POD_GC", most.to_string())]).await
}

impl Cluster {
    /// The development cluster in a folder, or the shared one; started if it is not up.
    async fn start(state: Option<PathBuf>, settings: &[Setting]) -> Result<Self, Failed> {
        let settings = settings.iter().map(|(name, value)| (name, value));
        run(script(state.as_deref()).arg("up").envs(settings), BUILT).await?;
        let path = |name| {
            let mut script = script(state.as_deref());
            async move { run(script.arg(name), DONE).await.map(|path| path.trim_end().to_owned()) }
        };
        let admin = PathBuf::from(path("kubeconfig").await?);
        let kubectl = path("kubectl-path").await?.into();
        let state = admin.parent().map(Path::to_owned);
        Ok(Self { admin, kubectl, state })
    }

    /// The kubeconfig of the administrator, who may do everything.
    #[must_use]
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// What `kubectl` prints as the administrator.
    ///
    /// # Errors
    ///
    /// What it said, if it failed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Failed> {
        run(self.command().args(arguments), DONE).await
    }

    /// Waits until what `kubectl` prints is as wanted, and returns it. A failure of `kubectl` is waited out, too: a part
    /// of the cluster may be away.
    ///
    /// # Errors
    ///
    /// What it printed last, if that takes more than two minutes.
    pub async fn until(
        &self,
        arguments: &[&str],
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, Failed> {
        let until = Instant::now() + SEEN;
        loop {
            let seen = self.kubectl(arguments).await;
            match seen {
                Ok(printed) if wanted(&printed) => return Ok(printed),
                _ if Instant::now() < until => sleep(LOOK).await,
                Ok(printed) => {
                    let what = arguments.join(" ");
                    return Err(Failed(format!("kubectl {what}, after {SEEN:?}: {printed}")));
                }
                Err(failed) => return Err(failed),
            }
        }
    }

    /// Puts the images of a file in the layout of `docker save` or OCI where pods find them.
    ///
    /// # Errors
    ///
    /// What the cluster said; that it is not the development cluster.
    pub async fn load(&self, image: &Path) -> Result<(), Failed> {
        let Some(state) = &self.state else {
            return Err(Failed("only the development cluster can be given images".to_owned()));
        };
        run(script(Some(state)).arg("load").arg(image), DONE).await.map(drop)
    }

    /// Takes an image away again, by the name that it has in its file. What runs keeps it.
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub async fn unload(&self, name: &str) -> Result<(), Failed> {
        let Some(state) = &self.state else {
            return Err(Failed(
                "only images of the development cluster can be taken away".to_owned(),
            ));
        };
        run(script(Some(state)).arg("unload").arg(name), DONE).await.map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.admin);
        if let Some(state) = &self.state {
            command.arg("--cache-dir").arg(state.join("kubectl-cache"));
        }
        command
    }
}

/// The development cluster's commands, for the cluster in a folder, or for the shared one.
fn script(state: Option<&Path>) -> Command {
    let mut script = Command::new(format!("{DEPLOY}/dev-cluster/cluster.sh"));
    if let Some(state) = state {
        script.env("OCTAVIUS_KUBE_STATE", state).env_remove("OCTAVIUS_KUBE_PORT");
    }
    script
}

/// What a command prints, if it succeeds in time.
async fn run(command: &mut Command, within: Duration) -> Result<String, Failed> {
    let named = |name: &OsStr| name.to_string_lossy().into_owned();
    let words = command.as_std();
    let words = std::iter::once(words.get_program()).chain(words.get_args()).map(named);
    let words = words.collect::<Vec<_>>().join(" ");
    let failed = |why: &str| Failed(format!("{words}: {why}"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(within, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(failed(&error.to_string())),
        Err(_) => return Err(failed(&format!("not done after {within:?}"))),
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(printed.into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(&format!("{}: {}{}", output.status, printed, said.trim_end())))
}
