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
use crate::runner::RunnerError;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, api::PostParams};
use std::collections::BTreeMap;
use tokio::sync::watch;
use uuid::Uuid;

/// The key of what it keeps.
const INSTALLATION: &str = "installation";
/// How often somebody else may be faster.
const TRIES: u32 = 10;

/// The place of an executor in a cluster.
#[derive(Debug)]
pub struct ClusterPlace {
    cluster: Cluster,
    namespace: String,
    name: String,
    executor: String,
    uid: Uuid,
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
            let there = cluster.call(maps.get_opt(&name)).await;
            map = there.map_err(|fault| fault.during(&doing))?;
            if map.is_some() {
                break;
            }
            let new = new(executor, &name);
            match cluster.call(maps.create(&PostParams::default(), &new)).await {
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
        Ok(Self { cluster, namespace, name, executor, uid, installation })
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

    /// From now on this place belongs to that installation.
    ///
    /// # Errors
    /// Refused if it belongs to another one, or is another place by now; failed where the cluster may answer later.
    pub async fn keep_installation(&self, installation: &str) -> Result<(), RunnerError> {
        let Self { cluster, namespace, name, executor, uid, .. } = self;
        let doing = format!("keeping the installation in the ConfigMap {namespace}/{name}");
        let maps: Api<ConfigMap> = cluster.api(namespace);
        let refuse = |why: String| Err(RunnerError::Refused(format!("{doing}: {why}")));
        for _ in 0..TRIES {
            let there = cluster.call(maps.get_opt(name)).await;
            let Some(mut map) = there.map_err(|fault| fault.during(&doing))? else {
                return refuse("it was deleted meanwhile: start the executor again".to_owned());
            };
            let (now, known) = read(&map, executor).map_err(RunnerError::Refused)?;
            if now != *uid {
                return refuse("it was made anew meanwhile: start the executor again".to_owned());
            }
            if let Some(other) = known.as_ref().filter(|known| *known != installation) {
                return refuse(format!(
                    "it says {other} already, and the controller {installation}"
                ));
            }
            if known.is_none() {
                let data = map.data.get_or_insert_default();
                data.insert(INSTALLATION.to_owned(), installation.to_owned());
                match cluster.call(maps.replace(name, &PostParams::default(), &map)).await {
                    Ok(_) => {}
                    Err(Fault::Conflict | Fault::NotFound(_)) => continue,
                    Err(fault) => return Err(fault.during(&doing)),
                }
            }
            self.installation.send_replace(Some(installation.to_owned()));
            return Ok(());
        }
        Err(Fault::Conflict.during(&doing))
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
    use std::fs;

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
