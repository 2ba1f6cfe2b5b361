//! Who an executor is in a cluster: a ConfigMap in its default namespace, named after its id.
//!
//! Its uid is the place of each process of that id there, and it keeps the installation: a pod needs no volume to be known
//! again, and the same id in another cluster, or another namespace, is another place. It is made once, and its deletion
//! makes whoever starts next another one.

use super::{
    Options,
    client::{Cluster, Fault},
    names::{EXECUTOR, MANAGED_BY, OCTAVIUS, place_name, text},
};
use crate::{link::backoff::Backoff, runner::RunnerError};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

/// The key of what it keeps.
const INSTALLATION: &str = "installation";
/// The key of the process that has the executor's session.
const PROCESS: &str = "process";
/// How often somebody else may be faster.
const TRIES: u32 = 10;
/// So long a right may be missing only because the API server has just started, and has not yet read who may do what.
const SETTLES: Duration = Duration::from_secs(10);

/// The place of an executor in a cluster.
#[derive(Debug)]
pub struct ClusterPlace {
    cluster: Cluster,
    namespace: String,
    name: String,
    executor: String,
    uid: Uuid,
    /// This process.
    process: Uuid,
    installation: watch::Sender<Option<String>>,
}

impl ClusterPlace {
    /// Finds the place of the executor that `options` are of, or makes it.
    ///
    /// # Errors
    /// Refused with words for who runs the executor; failed where the cluster may answer later.
    pub async fn open(options: &Options) -> Result<Self, RunnerError> {
        options.check_id()?;
        let cluster = Cluster::connect(options).await?;
        let (executor, namespace) = (&options.executor, &options.default_namespace);
        let name = place_name(executor);
        let doing = format!("looking for the executor's ConfigMap {namespace}/{name}");
        let maps: Api<ConfigMap> = cluster.api(namespace);
        let mut map = None;
        for _ in 0..TRIES {
            let there = settled(|| cluster.look(&maps, &name)).await;
            map = there.map_err(|fault| fault.during(&doing))?;
            if map.is_some() {
                break;
            }
            let (new, parameters) = (new(executor, &name), PostParams::default());
            match settled(|| cluster.call(maps.create(&parameters, &new))).await {
                Ok(made) => {
                    map = Some(made);
                    break;
                }
                Err(Fault::Exists) => {}
                Err(fault) => return Err(fault.during(&doing)),
            }
        }
        let map = map.ok_or_else(|| Fault::Conflict.during(&doing))?;
        let (uid, installation) = read(&map, executor).map_err(RunnerError::Refused)?;
        let (namespace, executor) = (namespace.clone(), executor.clone());
        let installation = watch::Sender::new(installation);
        let process = Uuid::new_v4();
        Ok(Self { cluster, namespace, name, executor, uid, process, installation })
    }

    /// The cluster that it is in.
    pub(super) fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    /// Names this place for ever.
    pub fn uid(&self) -> Uuid {
        self.uid
    }

    /// The installation that this place belongs to; none before the first registration.
    pub fn installation(&self) -> Option<String> {
        self.installation.borrow().clone()
    }

    /// This process has the executor's session: from now on others of its id leave alone what runs here.
    ///
    /// # Errors
    /// Refused if it is another place by now; failed where the cluster may answer later.
    pub async fn claim(&self) -> Result<(), RunnerError> {
        let ours = self.process.to_string();
        let claim = |data: &mut BTreeMap<String, String>| {
            Ok(data.insert(PROCESS.to_owned(), ours.clone()).as_ref() != Some(&ours))
        };
        self.keep("which process goes on", claim).await
    }

    /// Whether no other process has claimed what runs here since this one did.
    ///
    /// # Errors
    /// Failed where the cluster may answer later.
    pub async fn is_claimed(&self) -> Result<bool, RunnerError> {
        let Self { cluster, namespace, name, process, .. } = self;
        let doing = format!("looking at the executor's ConfigMap {namespace}/{name}");
        let maps: Api<ConfigMap> = cluster.api(namespace);
        let map = cluster.call(maps.get(name)).await.map_err(|fault| fault.during(&doing))?;
        let claimed = map.data.as_ref().and_then(|data| data.get(PROCESS));
        Ok(claimed.is_none_or(|claimed| *claimed == process.to_string()))
    }

    /// From now on this place belongs to that installation.
    ///
    /// # Errors
    /// Refused if it belongs to another one, or is another place by now; failed where the cluster may answer later.
    pub async fn keep_installation(&self, installation: &str) -> Result<(), RunnerError> {
        let belong = |data: &mut BTreeMap<String, String>| match data.get(INSTALLATION) {
            Some(known) if known == installation => Ok(false),
            Some(other) => {
                Err(format!("it says {other} already, and the controller {installation}"))
            }
            None => {
                data.insert(INSTALLATION.to_owned(), installation.to_owned());
                Ok(true)
            }
        };
        self.keep("the installation", belong).await?;
        self.installation.send_replace(Some(installation.to_owned()));
        Ok(())
    }

    /// Changes what is kept; `change` answers whether there is anything to write, or why it may not be.
    async fn keep(
        &self,
        what: &str,
        change: impl Fn(&mut BTreeMap<String, String>) -> Result<bool, String>,
    ) -> Result<(), RunnerError> {
        let Self { cluster, namespace, name, executor, uid, .. } = self;
        let doing = format!("keeping {what} in the ConfigMap {namespace}/{name}");
        let refused = |why: &str| RunnerError::Refused(format!("{doing}: {why}"));
        let maps: Api<ConfigMap> = cluster.api(namespace);
        for _ in 0..TRIES {
            let there = cluster.look(&maps, name).await.map_err(|fault| fault.during(&doing))?;
            let mut map = there
                .ok_or_else(|| refused("it was deleted meanwhile: start the executor again"))?;
            let (now, _) = read(&map, executor).map_err(RunnerError::Refused)?;
            if now != *uid {
                return Err(refused("it was made anew meanwhile: start the executor again"));
            }
            if !change(map.data.get_or_insert_default()).map_err(|why| refused(&why))? {
                return Ok(());
            }
            match cluster.call(maps.replace(name, &PostParams::default(), &map)).await {
                Ok(_) => return Ok(()),
                Err(Fault::Conflict | Fault::NotFound(_)) => {}
                Err(fault) => return Err(fault.during(&doing)),
            }
        }
        Err(Fault::Conflict.during(&doing))
    }
}

/// Asks again, for a while, where a right is missing.
async fn settled<T, F: Future<Output = Result<T, Fault>>>(ask: impl Fn() -> F) -> Result<T, Fault> {
    let until = Instant::now() + SETTLES;
    let mut backoff = Backoff::default();
    loop {
        match ask().await {
            Err(Fault::Forbidden(said)) if Instant::now() < until => {
                if backoff.failures() == 0 {
                    tracing::warn!(%said, "the cluster refuses: it is asked again for {SETTLES:?}");
                }
                tokio::time::sleep(backoff.pause()).await;
            }
            answer => return answer,
        }
    }
}

fn new(executor: &str, name: &str) -> ConfigMap {
    let labels = [(MANAGED_BY, OCTAVIUS), (EXECUTOR, executor)];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from(labels)),
        ..ObjectMeta::default()
    };
    ConfigMap { metadata, ..ConfigMap::default() }
}

/// What the ConfigMap of an executor says: its uid, and the installation, if that is known.
fn read(map: &ConfigMap, executor: &str) -> Result<(Uuid, Option<String>), String> {
    let meta = &map.metadata;
    let named = format!("{}/{}", text(&meta.namespace), text(&meta.name));
    let label = |name: &str| meta.labels.as_ref()?.get(name).map(String::as_str);
    if label(MANAGED_BY) != Some(OCTAVIUS) || label(EXECUTOR) != Some(executor) {
        return Err(format!(
            "there is a ConfigMap {named} already, and it was not made by an executor of the id `{executor}`: give this one \
             another `id`, or delete the ConfigMap if nobody needs it"
        ));
    }
    let uid = text(&meta.uid);
    let place = uid.parse().map_err(|_| {
        format!("the cluster gave the ConfigMap {named} the uid `{uid}`, which is no UUID")
    })?;
    let installation = map.data.as_ref().and_then(|data| data.get(INSTALLATION));
    match installation {
        Some(text) if text.parse::<Uuid>().is_err() => Err(format!(
            "the ConfigMap {named} says under `{INSTALLATION}` `{}`, which is no UUID: put the right one back, or take the \
             key away",
            octavius_service::text::cut(text.clone(), 80)
        )),
        installation => Ok((place, installation.cloned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::{
        KubeRunner,
        stub::{Stub, refusal},
    };
    use serde_json::json;
    use std::{
        fs,
        sync::atomic::{AtomicU32, Ordering::Relaxed},
    };

    const UID: &str = "3f0c7f0e-6a70-4a4f-9b53-0d6c5a4b1c2d";

    fn made() -> ConfigMap {
        let mut map = new("berlin-1", "octavius-berlin-1");
        map.metadata.namespace = Some("jobs".to_owned());
        map.metadata.uid = Some(UID.to_owned());
        map
    }

    fn saying(installation: &str) -> ConfigMap {
        let data = [(INSTALLATION.to_owned(), installation.to_owned())].into();
        ConfigMap { data: Some(data), ..made() }
    }

    #[test]
    fn a_place_is_the_uid_of_what_was_made_for_this_id_with_the_installation_that_it_keeps() {
        let uid: Uuid = UID.parse().unwrap();
        assert_eq!(read(&made(), "berlin-1"), Ok((uid, None)));
        let known = saying("7f0c7f0e-6a70-4a4f-9b53-0d6c5a4b1c2d");
        let installation = known.data.as_ref().unwrap()[INSTALLATION].clone();
        assert_eq!(read(&known, "berlin-1"), Ok((uid, Some(installation))));
    }

    #[test]
    fn what_somebody_else_made_or_changed_is_refused_with_its_name() {
        let mut bare = made();
        bare.metadata.labels = None;
        for (map, executor) in [(made(), "berlin-2"), (bare, "berlin-1")] {
            let refused = read(&map, executor).unwrap_err();
            assert!(refused.contains("jobs/octavius-berlin-1"), "{refused}");
            assert!(refused.contains("another `id`"), "{refused}");
        }
        let refused = read(&saying("ours"), "berlin-1").unwrap_err();
        assert!(refused.contains("`installation` `ours`"), "{refused}");
    }

    #[tokio::test]
    async fn an_api_server_that_has_not_yet_read_who_may_do_what_is_asked_again() {
        let (map, asked) = (json!(made()), AtomicU32::new(0));
        let stub = Stub::new(move |_| match asked.fetch_add(1, Relaxed) {
            0 | 1 => refusal(403, "RBAC: role.rbac.authorization.k8s.io \"executor\" not found"),
            _ => (200, map.clone()),
        })
        .await;
        let options = Options {
            kubeconfig: Some(stub.kubeconfig("nobody", &json!({}))),
            executor: "berlin-1".to_owned(),
            ..Options::example("jobs")
        };
        assert_eq!(ClusterPlace::open(&options).await.unwrap().uid().to_string(), UID);
        assert_eq!(stub.asked().len(), 3);
    }

    #[tokio::test]
    async fn of_two_processes_the_one_that_claimed_last_goes_on() {
        let map = watch::Sender::new(json!(made()));
        let kept = map.clone();
        let stub = Stub::new(move |asked| {
            if asked.what.starts_with("PUT ") {
                kept.send_replace(asked.body.clone());
            }
            (200, kept.borrow().clone())
        })
        .await;
        let options = Options {
            kubeconfig: Some(stub.kubeconfig("nobody", &json!({}))),
            executor: "berlin-1".to_owned(),
            ..Options::example("jobs")
        };
        let open = || ClusterPlace::open(&options);
        let (older, newer) = (open().await.unwrap(), open().await.unwrap());
        assert!(older.is_claimed().await.unwrap(), "nobody has");
        older.claim().await.unwrap();
        older.claim().await.unwrap();
        assert!(older.is_claimed().await.unwrap());
        newer.claim().await.unwrap();
        assert!(newer.is_claimed().await.unwrap() && !older.is_claimed().await.unwrap());
        let written = stub.asked().iter().filter(|asked| asked.what.starts_with("PUT ")).count();
        assert_eq!(written, 2, "what is claimed already is not written again");

        map.send_modify(|map| map["metadata"]["uid"] = json!(Uuid::new_v4()));
        let refused = older.claim().await.unwrap_err().to_string();
        assert!(refused.contains("made anew") && refused.contains("start the executor again"));
    }

    #[tokio::test]
    async fn a_start_asks_once_who_the_executor_is() {
        let map = json!(made());
        let stub = Stub::new(move |asked| match asked.what.split_once(' ') {
            Some(("GET", "/version")) => (200, json!({})),
            Some(("GET", path)) if path.contains("/configmaps/") => (200, map.clone()),
            Some(("GET", path)) if path.contains("/serviceaccounts/") => refusal(404, "NotFound"),
            Some(("GET", _)) => (200, json!({"metadata": {"resourceVersion": "1"}, "items": []})),
            _ => (200, json!({"metadata": {}, "spec": {}, "status": {"allowed": true}})),
        })
        .await;
        let starts = stub.folder.path().join("starts");
        let script = format!("echo >> {}; echo 'status: {{token: ours}}'", starts.display());
        let exec = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        }});
        let options = Options {
            kubeconfig: Some(stub.kubeconfig("program", &exec)),
            executor: "berlin-1".to_owned(),
            ..Options::example("jobs")
        };
        let place = ClusterPlace::open(&options).await.unwrap();
        let _runner = KubeRunner::open_at(&place, options).await.unwrap();
        assert_eq!(fs::read_to_string(starts).unwrap().lines().count(), 1);
        assert!(stub.asked().iter().all(|asked| asked.token == "ours"), "{:?}", stub.asked());
    }
}
