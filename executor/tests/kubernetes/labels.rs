//! What a cluster says of itself.

use crate::place::{Cluster, SOON};
use octavius_executor::runner::kubernetes::ClusterPlace;
use octavius_testbed::cluster;
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tokio::time::Instant;

/// Who labels nodes has a cluster of its own: those of another are not a test's to change.
mod own_cluster {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_cluster_says_its_version_and_to_who_may_list_its_nodes_their_region() {
        let own = cluster::own().await.unwrap();
        let here = Cluster::within(&own, "labels").await;
        let label = |region: &'static str| ["label", "node", "--all", "--overwrite", region];
        own.kubectl(&label("topology.kubernetes.io/region=eu-test-1")).await.unwrap();
        let place = ClusterPlace::open(&here.options).await.unwrap();
        let version = own.kubectl(&["version", "--short"]).await.unwrap();
        let labels = place.labels().await.unwrap();
        assert_eq!(labels.keys().collect::<Vec<_>>(), ["version"], "it may not list nodes");
        let said = format!("Server Version: v{}.", labels["version"]);
        assert!(version.contains(&said), "no {said} in {version}");

        let name = here.namespace.name();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
        let grant = fs::read_to_string(deploy.join("executor-region.yaml")).unwrap();
        let grant = grant
            .replace("name: octavius-executor-region", &format!("name: {name}-region"))
            .replace("namespace: octavius", &format!("namespace: {name}"));
        here.namespace.apply(&grant).await.unwrap();
        let both: BTreeMap<_, _> = [
            ("region".to_owned(), "eu-test-1".to_owned()),
            ("version".to_owned(), labels["version"].clone()),
        ]
        .into();
        let deadline = Instant::now() + SOON;
        loop {
            let labels = place.labels().await.unwrap();
            if labels == both {
                break;
            }
            assert!(Instant::now() < deadline, "never: {labels:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
