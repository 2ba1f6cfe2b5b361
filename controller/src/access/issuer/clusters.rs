//! Clusters whose executors may join with the tokens of their service accounts, as the configuration names them.

use crate::{
    registry::rules::running::{MOST_LABEL_BYTES, MOST_LABELS, is_label},
    web::SafeUrl,
};
use octavius_service::configuration::{Setting, private::Value};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

/// What Kubernetes puts before the namespace and the name of a service account in a token's `sub`.
const SUBJECT: &str = "system:serviceaccount:";

/// All of them, by names that whoever configures them chooses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clusters(pub BTreeMap<String, Cluster>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What the cluster calls itself in its tokens (`iss`). Many have one name: their keys tell them apart.
    pub issuer: String,
    /// For whom a token has to be (`aud`).
    #[serde(default = "audience")]
    pub audience: String,
    /// The file with its keys, as its API server answers them; none: its issuer is asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_file: Option<PathBuf>,
    /// The PEM file of the authority that is trusted when it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Who may join, each as `NAMESPACE:NAME`.
    pub service_accounts: Vec<String>,
    /// What they have to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn audience() -> String {
    "octavius".to_owned()
}

impl Cluster {
    /// What is wrong with it; the text continues one that names it.
    fn fault(&self) -> Option<String> {
        let is_account = |account: &String| {
            account.split_once(':').is_some_and(|(namespace, name)| {
                !namespace.is_empty() && !name.is_empty() && !name.contains(':')
            })
        };
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Some("give its `issuer` and `audience` a text".to_owned());
        }
        if self.service_accounts.is_empty() {
            return Some(
                "name at least one of its `service_accounts`, as `NAMESPACE:NAME`".to_owned(),
            );
        }
        if let Some(other) = self.service_accounts.iter().find(|account| !is_account(account)) {
            return Some(format!("`{other}` is no service account: write `NAMESPACE:NAME`"));
        }
        let mut labels = self.labels.iter();
        if labels.len() > MOST_LABELS || !labels.all(|(name, value)| is_label(name, value)) {
            return Some(format!(
                "give at most {MOST_LABELS} `labels`, whose names have 1 to {MOST_LABEL_BYTES} bytes and whose values up to {MOST_LABEL_BYTES}"
            ));
        }
        match (&self.keys_file, &self.ca_file) {
            (Some(_), Some(_)) => Some("give `keys_file` or `ca_file`: who is not asked needs no authority".to_owned()),
            (None, _) if SafeUrl::parse(&self.issuer).is_none() => Some(
                "give `keys_file`, too: its `issuer` is no `https://…` at which it could be asked for its keys"
                    .to_owned(),
            ),
            (_, _) => None,
        }
    }
}

impl Setting for Clusters {
    fn wanted() -> String {
        "of each cluster, by a name for it, its `issuer`, its `service_accounts` (each as `NAMESPACE:NAME`), and if need be `audience`, `keys_file`, `ca_file` and `labels`"
            .to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let read = BTreeMap::<String, Cluster>::deserialize(value);
        let read = read.map_err(|error| format!("give {} ({error})", Self::wanted()))?;
        let fault = read.iter().find_map(|(name, cluster)| {
            // It stands in the audit, in the log, and before a `/` in what is kept.
            let is_sign =
                |sign: u8| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == b'-';
            let fault = match (1..=63).contains(&name.len()) && name.bytes().all(is_sign) {
                true => cluster.fault(),
                false => {
                    Some("give it a name of 1 to 63 characters of `a-z`, `0-9` and `-`".to_owned())
                }
            };
            fault.map(|fault| format!("cluster `{name}`: {fault}"))
        });
        match fault {
            None => Ok(Self(read)),
            Some(fault) => Err(fault),
        }
    }

    fn shown(&self) -> String {
        self.json().to_string()
    }

    fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A service account of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// What the cluster is called here.
    pub(crate) cluster: String,
    /// `NAMESPACE:NAME`.
    pub(crate) account: String,
    /// What its executors have to have.
    pub(crate) labels: Arc<BTreeMap<String, String>>,
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.account)
    }
}

/// The service account that a subject names; none: it is something else.
pub(super) fn account_of(subject: &str) -> Option<&str> {
    subject.strip_prefix(SUBJECT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cluster_says_whom_it_vouches_for_and_where_its_keys_are() {
        let read = |value: Value| Clusters::from_value(&value).map(|clusters| clusters.0);
        let url = "https://id.example.com";
        let right = json!({ "emea": { "issuer": url, "service_accounts": ["octavius:executor"] } });
        let Cluster { audience, keys_file, .. } = read(right).unwrap().remove("emea").unwrap();
        assert_eq!((audience.as_str(), keys_file), ("octavius", None));
        let accounts = ["octavius:executor"];
        let rows = [
            (json!({ "service_accounts": accounts }), "missing field `issuer`"),
            (json!({ "issuer": url }), "missing field `service_accounts`"),
            (json!({ "issuer": url, "service_accounts": [] }), "at least one"),
            (json!({ "issuer": url, "service_accounts": ["executor"] }), "write `NAMESPACE:NAME`"),
            (json!({ "issuer": url, "service_accounts": ["a:b:c"] }), "write `NAMESPACE:NAME`"),
            (json!({ "issuer": "api", "service_accounts": accounts }), "give `keys_file`, too"),
            (json!({ "issuer": "", "service_accounts": accounts }), "give its `issuer`"),
            (json!({ "issuer": url, "service_accounts": accounts, "key_file": "k" }), "`key_file`"),
            (
                json!({ "issuer": url, "service_accounts": accounts, "keys_file": "k", "ca_file": "c" }),
                "`keys_file` or `ca_file`",
            ),
        ];
        for (cluster, told) in rows {
            let fault = read(json!({ "emea": cluster })).unwrap_err();
            assert!(fault.contains(told), "{told}: {fault}");
        }
        assert!(read(json!({ "a/b": { "issuer": url, "service_accounts": accounts } })).is_err());
    }
}
