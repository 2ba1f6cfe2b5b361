//! All whose tokens are taken: the issuer that vouches for people, and clusters that vouch for executors.

use super::{
    Issued, IssuedToken, Issuer, IssuerView, NotIssued, SignIn,
    claims::{Rules, said_issuer},
    clusters::{Cluster, ServiceAccount, account_of},
    fetch::Fetch,
};
use crate::{
    configuration::Configuration,
    web::{AuthorityError, SafeUrl, Web},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

/// The claim that names a service account.
const SUBJECT: &str = "sub";

/// Why an issuer can never be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {why}")]
pub struct NeverAsked {
    /// The key of the configuration.
    key: String,
    why: AuthorityError,
}

/// Whom a token vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vouched {
    /// A person.
    Person(Issued),
    /// An executor that may join.
    ServiceAccount(ServiceAccount, IssuedToken),
}

/// All whose tokens are taken, for the door. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Arc<Vec<Trusted>>);

#[derive(Debug)]
struct Trusted {
    view: IssuerView,
    /// The cluster that it is; none: it vouches for people.
    cluster: Option<Vouching>,
}

/// What a cluster vouches for.
#[derive(Debug)]
struct Vouching {
    name: String,
    accounts: Vec<String>,
    labels: Arc<BTreeMap<String, String>>,
}

impl Issuers {
    /// Those that are configured, and the tasks that fetch their keys. Asks nobody yet.
    pub(crate) fn open(configuration: &Configuration) -> Result<(Self, Vec<Issuer>), NeverAsked> {
        let (mut trusted, mut tasks) = (Vec::new(), Vec::new());
        if let Some(issuer) = of_people(configuration)? {
            trusted.push(Trusted { view: issuer.view(), cluster: None });
            tasks.push(issuer);
        }
        for (name, cluster) in &configuration.clusters.0 {
            let issuer = of_cluster(name, cluster)?;
            let cluster = Vouching {
                name: name.clone(),
                accounts: cluster.service_accounts.clone(),
                labels: Arc::new(cluster.labels.clone()),
            };
            trusted.push(Trusted { view: issuer.view(), cluster: Some(cluster) });
            tasks.push(issuer);
        }
        Ok((Self(Arc::new(trusted)), tasks))
    }

    /// Whether nobody's are taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where people get a token that is taken.
    pub(crate) fn sign_in(&self) -> Option<SignIn> {
        let of_people = self.0.iter().find(|trusted| trusted.cluster.is_none())?;
        Some(of_people.view.sign_in())
    }

    /// Whom a token vouches for at this time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Vouched, NotIssued> {
        let mut refused = Err(NotIssued::Form);
        let mut is_first = true;
        for trusted in self.meant(token) {
            match trusted.verify(token, now) {
                Ok(vouched) => return Ok(vouched),
                // Of several with one name, who knows the key knows best what is wrong.
                Err(error) => {
                    let says_more = !matches!(error, NotIssued::UnknownKey { .. });
                    if is_first || says_more {
                        refused = Err(error);
                    }
                    is_first = false;
                }
            }
        }
        refused
    }

    /// Whose keys have to be asked for before it can be said whose a token is; none: nobody's.
    pub(crate) fn to_be_asked(&self, token: &str) -> Option<&IssuerView> {
        let meant = self.meant(token);
        if meant.iter().any(|trusted| trusted.view.knows(token)) {
            return None;
        }
        meant.first().map(|trusted| &trusted.view)
    }

    /// Those who may have issued a token, by what it says; nobody would have: all, of whom the first says so.
    fn meant(&self, token: &str) -> Vec<&Trusted> {
        let said = said_issuer(token);
        let is_meant = |trusted: &&Trusted| said.as_deref() == Some(trusted.view.issuer());
        let meant: Vec<_> = self.0.iter().filter(is_meant).collect();
        match meant.is_empty() {
            true => self.0.iter().take(1).collect(),
            false => meant,
        }
    }
}

impl Trusted {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Vouched, NotIssued> {
        let issued = self.view.verify(token, now)?;
        let Some(cluster) = &self.cluster else { return Ok(Vouched::Person(issued)) };
        let account = account_of(&issued.name).to_owned();
        let (name, labels) = (cluster.name.clone(), cluster.labels.clone());
        if !cluster.accounts.contains(&account) {
            return Err(NotIssued::Account { cluster: name, account });
        }
        Ok(Vouched::ServiceAccount(ServiceAccount { cluster: name, account, labels }, issued.token))
    }
}

fn of_people(configuration: &Configuration) -> Result<Option<Issuer>, NeverAsked> {
    let Configuration { oidc_issuer, oidc_audience, oidc_ca_file, .. } = configuration;
    let (Some(url), Some(audience)) = (oidc_issuer, oidc_audience) else { return Ok(None) };
    let rules = Rules {
        issuer: url.0.as_str().to_owned(),
        audience: audience.clone(),
        name_claim: configuration.oidc_name_claim.clone(),
        groups_claim: configuration.oidc_groups_claim.clone(),
    };
    let web = Web::new(oidc_ca_file.as_deref());
    let web = web.map_err(|why| NeverAsked { key: "`oidc_ca_file`".to_owned(), why })?;
    Ok(Some(Issuer::new(rules, Fetch::Asked { issuer: url.0.clone(), web: Box::new(web) })))
}

fn of_cluster(name: &str, cluster: &Cluster) -> Result<Issuer, NeverAsked> {
    let Cluster { issuer, audience, keys_file, ca_file, .. } = cluster;
    let fetch = match (keys_file, SafeUrl::parse(issuer)) {
        // The configuration refuses who could never be asked.
        (Some(file), _) => Fetch::Read(file.clone()),
        (None, None) => Fetch::Read(Default::default()),
        (None, Some(issuer)) => {
            let key = format!("`clusters`: the `ca_file` of `{name}`");
            let web = Web::new(ca_file.as_deref()).map_err(|why| NeverAsked { key, why })?;
            Fetch::Asked { issuer, web: Box::new(web) }
        }
    };
    let rules = Rules {
        issuer: issuer.clone(),
        audience: audience.clone(),
        name_claim: SUBJECT.to_owned(),
        groups_claim: String::new(),
    };
    Ok(Issuer::new(rules, fetch))
}
