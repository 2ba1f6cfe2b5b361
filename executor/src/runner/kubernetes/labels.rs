//! What a cluster says of itself that jobs can select executors by.

use super::{client::Fault, place::ClusterPlace};
use crate::runner::RunnerError;
use k8s_openapi::api::core::v1::Node;
use kube::{api::ListParams, core::PartialObjectMeta};
use std::collections::{BTreeMap, BTreeSet};

/// The label of its region that a provider gives to each node, as Kubernetes names it.
const REGION: &str = "topology.kubernetes.io/region";
/// How many nodes are asked for at a time.
const PAGE: u32 = 500;

impl ClusterPlace {
    /// `version`, the cluster's, as `1.20`; and `region`, where its nodes say one, and all the same, and may be read.
    ///
    /// # Errors
    /// Failed where the cluster may answer later.
    pub async fn labels(&self) -> Result<BTreeMap<String, String>, RunnerError> {
        let cluster = self.cluster();
        let mut labels = BTreeMap::new();
        let asked = cluster.call(cluster.client().apiserver_version()).await;
        let version = asked.map_err(|fault| fault.during("asking for the cluster's version"))?;
        if let Some(version) = release(&version.major, &version.minor) {
            labels.insert("version".to_owned(), version);
        }
        let nodes = cluster.everywhere::<Node>();
        let (mut regions, mut page) = (BTreeSet::new(), ListParams::default().limit(PAGE));
        while regions.len() < 2 {
            let listed = match cluster.call(nodes.list_metadata(&page)).await {
                Ok(listed) => listed,
                Err(Fault::Forbidden(_)) => {
                    tracing::info!(
                        "no label `region` from the cluster: this executor may not list its nodes"
                    );
                    return Ok(labels);
                }
                Err(fault) => {
                    return Err(fault.during("looking for the region of the cluster's nodes"));
                }
            };
            regions.extend(listed.items.iter().filter_map(region));
            match listed.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => break,
            }
        }
        match regions.len() {
            2.. => tracing::info!(?regions, "no label `region` from the cluster: it is in several"),
            _ => labels.extend(regions.pop_first().map(|region| ("region".to_owned(), region))),
        }
        Ok(labels)
    }
}

/// As people call it: providers put something behind the number of the minor version.
fn release(major: &str, minor: &str) -> Option<String> {
    let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let numbers = !major.is_empty() && major.chars().all(|digit| digit.is_ascii_digit());
    (numbers && !minor.is_empty()).then(|| format!("{major}.{minor}"))
}

/// The region that a node says it is in.
fn region(node: &PartialObjectMeta<Node>) -> Option<String> {
    node.metadata.labels.as_ref()?.get(REGION).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::{
        Options,
        names::{EXECUTOR, MANAGED_BY, OCTAVIUS},
        stub::Stub,
    };
    use serde_json::{Value, json};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn version() -> Value {
        let all = ["gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion"];
        let mut version = json!({ "major": "1", "minor": "20+", "compiler": "", "platform": "" });
        all.iter().for_each(|key| version[key] = json!(""));
        version
    }

    fn config_map() -> Value {
        json!({ "metadata": {
            "uid": "3f0c7f0e-6a70-4a4f-9b53-0d6c5a4b1c2d",
            "labels": { MANAGED_BY: OCTAVIUS, EXECUTOR: "executor" },
        } })
    }

    #[test]
    fn a_version_is_two_numbers() {
        let of = |major, minor| release(major, minor);
        assert_eq!(of("1", "20").as_deref(), Some("1.20"));
        assert_eq!(of("1", "30+").as_deref(), Some("1.30"));
        for (major, minor) in [("", ""), ("1", ""), ("1", "x"), ("v1", "20")] {
            assert_eq!(of(major, minor), None, "{major} {minor}");
        }
    }

    #[tokio::test]
    async fn a_cluster_is_in_a_region_where_no_node_says_another() {
        let node = |region: Option<&str>| {
            let labels = region.map(|region| json!({ REGION: region }));
            json!({ "metadata": { "name": "n", "labels": labels } })
        };
        let one = Some("eu-west-1");
        for (pages, expected) in [
            (vec![vec![]], None),
            (vec![vec![node(None)]], None),
            (vec![vec![node(one), node(None)], vec![node(one)]], one),
            (vec![vec![node(one)], vec![node(None)], vec![node(Some("eu-west-2"))]], None),
        ] {
            let listed = AtomicUsize::new(0);
            let stub = Stub::new(move |asked| match &asked.what[..] {
                "GET /version" => (200, version()),
                "GET /api/v1/nodes" => {
                    let page = listed.fetch_add(1, Relaxed);
                    let next = (page + 1 < pages.len()).then(|| page.to_string());
                    (200, json!({ "metadata": { "continue": next }, "items": pages[page] }))
                }
                _ => (200, config_map()),
            })
            .await;
            let options = Options {
                kubeconfig: Some(stub.kubeconfig("nobody", &json!({}))),
                ..Options::example("jobs")
            };
            let place = ClusterPlace::open(&options).await.unwrap();
            let labels = place.labels().await.unwrap();
            assert_eq!(labels["version"], "1.20");
            assert_eq!(labels.get("region").map(String::as_str), expected);
        }
    }
}
