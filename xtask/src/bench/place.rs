//! Where a controller that is measured keeps its state and its logs.

use super::table::Aim;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    s3::S3,
};
use serde_json::Value;

/// What keeps the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Store {
    /// The controller's own file
    Embedded,
    /// An etcd of one member, started by the bench, with its data on the disk
    Etcd,
}

/// The word for an S3 server of the bench's own.
pub(super) const TEST_SERVER: &str = "s3-test";

/// What the keys of all installations begin with.
const PREFIX: &str = "bench/";

/// One place; many installations may be in it, one after the other.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Else the state is embedded.
    etcd: Option<Etcd>,
    /// Else the logs are in the controller's folder.
    logs: Option<String>,
    server: Option<S3>,
}

impl Place {
    /// Starts what is asked for: the logs are below a URL, in the bench's own S3 server, or in the controller's folder.
    pub(super) async fn start(store: Store, logs: Option<&str>) -> Self {
        let etcd = match store {
            Store::Embedded => None,
            Store::Etcd => {
                let options = EtcdOptions { fast: false, ..EtcdOptions::default() };
                Some(Etcd::start(options).await)
            }
        };
        match logs {
            Some(TEST_SERVER) => {
                let server = S3::start().await;
                Self { etcd, logs: Some(server.url("bench")), server: Some(server) }
            }
            logs => Self { etcd, logs: logs.map(str::to_owned), server: None },
        }
    }

    /// The etcd with the state, if it is in one.
    pub(super) fn etcd(&self) -> Option<&Etcd> {
        self.etcd.as_ref()
    }

    /// What is wanted of a row, if this is the place that it is wanted of: most aims are about the embedded store.
    pub(super) fn aim(&self, embedded: Aim) -> Aim {
        if self.etcd.is_some() { Aim::None } else { embedded }
    }

    /// How a row calls it.
    pub(super) fn note(&self) -> String {
        let state = self.etcd.as_ref().map(|_| "; state in etcd");
        let logs = match (&self.server, &self.logs) {
            (Some(_), _) => "; kept in an S3 server of the bench's own".to_owned(),
            (None, Some(url)) => format!("; kept in {url}"),
            (None, None) => String::new(),
        };
        format!("{}{logs}", state.unwrap_or_default())
    }

    /// Tells a controller's configuration, with a part of the place for this installation alone.
    pub(super) fn configure(&self, installation: u16, configuration: &mut Value) {
        match &self.etcd {
            None => configuration["store"] = "embedded".into(),
            Some(etcd) => {
                configuration["store"] = "etcd".into();
                configuration["etcd_endpoints"] = etcd.endpoints().into();
                configuration["etcd_prefix"] = format!("{PREFIX}{installation}/").into();
            }
        }
        if let Some(url) = &self.logs {
            let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
            let mark = if parameters.is_empty() { "" } else { "?" };
            let place = place.trim_end_matches('/');
            configuration["log_store"] = format!("{place}/{installation}{mark}{parameters}").into();
        }
    }

    /// What its servers' keys are in.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.server.as_ref().map_or_else(Vec::new, |_| S3::variables())
    }
}

/// What an etcd did between two looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looked {
    syncs: f64,
    seconds: f64,
    transactions: f64,
}

impl Looked {
    pub(super) async fn at(etcd: &Etcd) -> Self {
        Self {
            syncs: etcd.metric("etcd_disk_wal_fsync_duration_seconds_count").await,
            seconds: etcd.metric("etcd_disk_wal_fsync_duration_seconds_sum").await,
            transactions: etcd.metric("etcd_server_proposals_applied_total").await,
        }
    }

    /// How often it had its log on the disk since then, how long that took, and for how much.
    pub(super) async fn since(self, etcd: &Etcd) -> String {
        let now = Self::at(etcd).await;
        let syncs = now.syncs - self.syncs;
        let each = (now.seconds - self.seconds) / syncs.max(1.0) * 1e3;
        let applied = now.transactions - self.transactions;
        format!("etcd: {applied:.0} proposals in {syncs:.0} syncs of {each:.2} ms")
    }
}

/// How large an execution's record is, which is written anew at each step: that of one that waits on this etcd.
pub(super) async fn size_of_record(etcd: &Etcd) -> Result<usize> {
    let keys = etcd.keys(PREFIX).await;
    let record = keys.iter().find(|key| key.contains(octavius_controller::store::keys::LIVE));
    let record = etcd.get(record.context("no execution waits on this etcd")?).await;
    Ok(record.context("the record of an execution is gone")?.len())
}
