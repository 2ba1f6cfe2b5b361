//! The watches: one for the Jobs, one for their pods and one for warnings in each namespace that the executor may use.
//!
//! Each first lists and then watches from there. A watch ends after a minute and is opened again where it was, so that a
//! connection that died without a word is noticed within 75 s. Whatever else ends it leads to a growing pause and a
//! new list, so that nothing that happened meanwhile is missed: what is gone by then is told as gone. What failed counts as
//! seen again once a watch has lasted a while, so that nobody takes work between two failures.

use super::{
    Tools,
    client::{Cluster, Fault},
    names::text,
    supervise,
    table::Table,
};
use crate::{link::backoff::growing, metrics};
use futures::TryStreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Event, Pod},
    },
};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How long one watch lasts.
const LASTS: Duration = Duration::from_secs(60);
/// How long its end may take on the way.
const LATE: Duration = Duration::from_secs(15);
/// A watch that ends sooner than this has failed, whatever it says.
const SOON: Duration = Duration::from_secs(5);
/// How many objects one part of a list has.
const PAGE: u32 = 500;
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));

/// What is in the way where it is no watch that sees nothing, but a right that is missing: the reason says all.
pub(super) const RIGHTS: &str = "rights";

/// What of the cluster can be seen at present, and done.
#[derive(Debug)]
pub(super) struct Sight {
    /// What cannot be seen, and why, by what it is.
    blind: watch::Sender<BTreeMap<String, String>>,
    told: watch::Sender<Option<String>>,
}

impl Sight {
    /// At first nothing is said to be unseen.
    pub(super) fn new() -> Self {
        Self { blind: watch::Sender::new(BTreeMap::new()), told: watch::Sender::new(None) }
    }

    /// Why the cluster cannot be seen, if it cannot, as that changes.
    pub(super) fn told(&self) -> watch::Receiver<Option<String>> {
        self.told.subscribe()
    }

    /// Something cannot be seen, and why; or it can.
    pub(super) fn set(&self, what: &str, why: Option<String>) {
        let changed = self.blind.send_if_modified(|blind| match why {
            Some(why) => blind.insert(what.to_owned(), why.clone()) != Some(why),
            None => blind.remove(what).is_some(),
        });
        if changed {
            let blind = self.blind.borrow();
            metrics::unseen(blind.len());
            self.told.send_replace(in_words(&blind));
        }
    }
}

/// What cannot be seen, and why; what has the same cause together. None: all can be seen.
fn in_words(blind: &BTreeMap<String, String>) -> Option<String> {
    let mut causes = BTreeMap::<&str, Vec<&str>>::new();
    for (what, why) in blind {
        causes.entry(why).or_default().push(what);
    }
    let of = |(why, what): (&str, Vec<&str>)| match what[..] {
        [RIGHTS] => why.to_owned(),
        _ => format!("{} cannot be seen: {why}", what.join(", ")),
    };
    let words: Vec<_> = causes.into_iter().map(of).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// What is watched, and what is done with it.
trait Watched:
    Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static
where
    Self::DynamicType: Default,
{
    /// What it is called in the log.
    const NAME: &'static str;
    /// Whether an executor that cannot see it takes no work.
    const NEEDED: bool;
    /// All of a namespace, as they were at that version.
    fn listed(table: &Table, namespace: &str, all: Vec<Self>, version: &str);
    /// One, as it is now.
    fn there(self, table: &Table);
    /// One that is gone, as it last was.
    fn gone(self, table: &Table);
    /// Which of them are asked for: labels, fields.
    fn selected(table: &Table) -> (Option<String>, Option<String>);
}

impl Watched for Job {
    const NAME: &'static str = "Jobs";
    const NEEDED: bool = true;

    fn listed(table: &Table, namespace: &str, all: Vec<Self>, version: &str) {
        table.jobs(namespace, all, version);
    }

    fn there(self, table: &Table) {
        table.job(self);
    }

    fn gone(self, table: &Table) {
        table.job_gone(self);
    }

    fn selected(table: &Table) -> (Option<String>, Option<String>) {
        (Some(table.owner().selector()), None)
    }
}

impl Watched for Pod {
    const NAME: &'static str = "pods";
    const NEEDED: bool = true;

    fn listed(table: &Table, namespace: &str, all: Vec<Self>, version: &str) {
        table.pods(namespace, None, all, version);
    }

    fn there(self, table: &Table) {
        table.pod(self);
    }

    fn gone(self, table: &Table) {
        table.pod_gone(self);
    }

    fn selected(table: &Table) -> (Option<String>, Option<String>) {
        (Some(table.owner().selector()), None)
    }
}

impl Watched for Event {
    const NAME: &'static str = "events";
    const NEEDED: bool = false;

    fn listed(table: &Table, _namespace: &str, all: Vec<Self>, _version: &str) {
        for event in &all {
            table.warning(event);
        }
    }

    fn there(self, table: &Table) {
        table.warning(&self);
    }

    fn gone(self, _table: &Table) {}

    fn selected(_table: &Table) -> (Option<String>, Option<String>) {
        // They have no labels.
        (None, Some("type=Warning".to_owned()))
    }
}

/// Lists what there is in a namespace, once, so that whoever begins knows all of it.
pub(super) async fn look(cluster: &Cluster, table: &Table, namespace: &str) -> Result<(), Fault> {
    list(cluster, &cluster.jobs(namespace), table, namespace).await?;
    list(cluster, &cluster.pods(namespace), table, namespace).await?;
    Ok(())
}

/// Watches a namespace for ever: it ends by being dropped.
pub(super) async fn watch_all(tools: Arc<Tools>, sight: Arc<Sight>, namespace: String) {
    let (tools, sight, namespace) = (&*tools, &*sight, &*namespace);
    let cluster = &tools.cluster;
    tokio::join!(
        watch_for_ever::<Job>(tools, cluster.jobs(namespace), sight, namespace),
        watch_for_ever::<Pod>(tools, cluster.pods(namespace), sight, namespace),
        watch_for_ever::<Event>(tools, cluster.events(namespace), sight, namespace),
    );
}

async fn watch_for_ever<K: Watched>(tools: &Tools, api: Api<K>, sight: &Sight, namespace: &str)
where
    K::DynamicType: Default,
{
    let what = format!("{} in the namespace `{namespace}`", K::NAME);
    let watch = || watch_one(&tools.cluster, &api, &tools.table, sight, namespace, &what);
    let fallen = || {
        if K::NEEDED {
            sight.set(&what, Some("who watches them panicked, and begins again".to_owned()));
        }
    };
    supervise::until_done(&tools.faults, &what, watch, fallen).await;
}

async fn watch_one<K: Watched>(
    cluster: &Cluster,
    api: &Api<K>,
    table: &Table,
    sight: &Sight,
    namespace: &str,
    what: &str,
) where
    K::DynamicType: Default,
{
    let (mut failures, mut told) = (0u32, false);
    loop {
        let failed = match list(cluster, api, table, namespace).await {
            Ok(version) => {
                let lasts = async {
                    if failures > 0 {
                        tokio::time::sleep(SOON).await;
                    }
                    if told {
                        tracing::info!(%what, failures, "they can be seen again");
                    }
                    if K::NEEDED {
                        sight.set(what, None);
                    }
                    std::future::pending().await
                };
                tokio::select! {
                    biased;
                    (lasted, fault) = watch_on(cluster, api, table, version) => {
                        if lasted >= SOON {
                            (failures, told) = (0, false);
                        }
                        fault
                    }
                    never = lasts => never,
                }
            }
            Err(fault) => fault,
        };
        let why = match failed {
            // Too old to go on from: a new list is all that it takes.
            Fault::Expired if failures == 0 => {
                failures = 1;
                continue;
            }
            Fault::Expired => "what was seen is too old, again and again".to_owned(),
            Fault::Later(why) | Fault::Refused(why) | Fault::Forbidden(why) => why,
            Fault::NotFound(why) => why,
            Fault::Exists | Fault::Conflict => "there is no such thing".to_owned(),
        };
        failures = failures.saturating_add(1);
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(%what, %why, "they cannot be watched: tried again until they can");
        }
        if K::NEEDED {
            sight.set(what, Some(why));
        }
        tokio::time::sleep(growing(PAUSES, failures, rand::random())).await;
    }
}

/// Lists all, and says at which version that was.
async fn list<K: Watched>(
    cluster: &Cluster,
    api: &Api<K>,
    table: &Table,
    namespace: &str,
) -> Result<String, Fault>
where
    K::DynamicType: Default,
{
    let (label_selector, field_selector) = K::selected(table);
    let mut params =
        ListParams { label_selector, field_selector, limit: Some(PAGE), ..ListParams::default() };
    let mut all = Vec::new();
    loop {
        let part = cluster.call(api.list(&params)).await?;
        all.extend(part.items);
        let version = text(&part.metadata.resource_version).to_owned();
        match part.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                K::listed(table, namespace, all, &version);
                return Ok(version);
            }
        }
    }
}

/// Watches from a version on, again and again, until that fails. How long the last one lasted, and what ended it.
async fn watch_on<K: Watched>(
    cluster: &Cluster,
    api: &Api<K>,
    table: &Table,
    mut version: String,
) -> (Duration, Fault)
where
    K::DynamicType: Default,
{
    let first = Instant::now();
    loop {
        let began = Instant::now();
        let ended =
            tokio::time::timeout(LASTS + LATE, watch_once(cluster, api, table, &mut version));
        let fault = match ended.await {
            Ok(Ok(())) if began.elapsed() >= SOON => continue,
            Ok(Ok(())) => Fault::Later("the watch ends as soon as it is opened".to_owned()),
            Ok(Err(fault)) => fault,
            Err(_) => Fault::Later("the watch is silent: its connection may be dead".to_owned()),
        };
        return (first.elapsed(), fault);
    }
}

async fn watch_once<K: Watched>(
    cluster: &Cluster,
    api: &Api<K>,
    table: &Table,
    version: &mut String,
) -> Result<(), Fault>
where
    K::DynamicType: Default,
{
    let (label_selector, field_selector) = K::selected(table);
    let timeout = Some(u32::try_from(LASTS.as_secs()).unwrap_or(u32::MAX));
    let params = WatchParams { label_selector, field_selector, timeout, ..WatchParams::default() };
    let stream = cluster.call(api.watch(&params, version)).await?;
    let mut stream = std::pin::pin!(stream);
    loop {
        match stream.try_next().await {
            Ok(Some(event)) => match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version_of(&object, version);
                    object.there(table);
                }
                WatchEvent::Deleted(object) => {
                    version_of(&object, version);
                    object.gone(table);
                }
                WatchEvent::Bookmark(mark) => *version = mark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(cluster.fault(&kube::Error::Api(status))),
            },
            Ok(None) => return Ok(()),
            Err(error) => return Err(cluster.fault(&error)),
        }
    }
}

fn version_of<K: Resource>(object: &K, version: &mut String) {
    if let Some(new) = &object.meta().resource_version {
        version.clone_from(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_cannot_be_seen_is_told_and_a_cause_once() {
        let sight = Sight::new();
        let told = || sight.told().borrow().clone().unwrap_or_default();
        assert_eq!(*sight.told().borrow(), None);
        for what in ["Jobs in the namespace `b`", "pods in the namespace `b`"] {
            sight.set(what, Some("forbidden".to_owned()));
        }
        sight.set("Jobs in the namespace `a`", Some("gone".to_owned()));
        assert_eq!(
            told(),
            "Jobs in the namespace `b`, pods in the namespace `b` cannot be seen: forbidden; \
             Jobs in the namespace `a` cannot be seen: gone"
        );
        for what in ["Jobs in the namespace `b`", "Jobs in the namespace `a`"] {
            sight.set(what, None);
        }
        assert_eq!(told(), "pods in the namespace `b` cannot be seen: forbidden");
        sight.set("pods in the namespace `b`", None);
        assert_eq!(*sight.told().borrow(), None);
    }

    #[test]
    fn watches_that_fail_ask_less_than_twice_a_second() {
        let (mut took, mut asked) = (Duration::ZERO, 0.0);
        for failures in 1.. {
            took += growing(PAUSES, failures, 0.0);
            asked += 6.0; // three watches, and of each a list and a watch
            if took > Duration::from_secs(60) {
                break;
            }
        }
        assert!(asked / took.as_secs_f64() < 2.0, "{asked} in {took:?}");
        assert!(growing(PAUSES, 100, 1.0) <= PAUSES.1);
    }
}
