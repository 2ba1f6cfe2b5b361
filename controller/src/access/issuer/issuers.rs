//! All whose tokens are taken: the issuer that vouches for people, and clusters that vouch for executors.

use super::{
    Issued, IssuedToken, Issuer, IssuerView, LARGEST_TOKEN, NotIssued, SignIn,
    claims::{Rules, said_issuer},
    clusters::{Cluster, ServiceAccount, account_of},
    error::Whose,
    fetch::Fetch,
};
use crate::{
    configuration::Configuration,
    web::{SafeUrl, Web},
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
    why: String,
}

impl NeverAsked {
    fn new(key: &str, why: impl ToString) -> Self {
        Self { key: key.to_owned(), why: why.to_string() }
    }
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

    /// Whether a service account may join, by what is kept of it: `CLUSTER/NAMESPACE:NAME`.
    pub(crate) fn names(&self, account: &str) -> bool {
        let clusters = self.0.iter().filter_map(|issuer| issuer.cluster.as_ref());
        let mut named = clusters.filter_map(|cluster| {
            let account = account.strip_prefix(&cluster.name)?.strip_prefix('/')?;
            cluster.accounts.iter().find(|one| *one == account)
        });
        named.next().is_some()
    }

    /// Whom a token vouches for at this time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Vouched, NotIssued> {
        let mut refused: Option<NotIssued> = None;
        for issuer in self.candidates(token)? {
            match issuer.verify(token, now) {
                Ok(vouched) => return Ok(vouched),
                Err(error) => {
                    if refused.as_ref().is_none_or(|before| error.weight() > before.weight()) {
                        refused = Some(error);
                    }
                }
            }
        }
        Err(refused.unwrap_or(NotIssued::Form))
    }

    /// Those whose keys have to be asked for before it can be said whose a token is; empty: nobody's.
    pub(crate) fn to_be_asked(&self, token: &str) -> Vec<IssuerView> {
        let candidates = self.candidates(token).unwrap_or_default();
        if candidates.iter().any(|issuer| issuer.view.knows(token)) {
            return Vec::new();
        }
        candidates.into_iter().map(|issuer| issuer.view.clone()).collect()
    }

    /// Those who may have issued a token, by what it says: several clusters may call themselves the same.
    fn candidates(&self, token: &str) -> Result<Vec<&Trusted>, NotIssued> {
        let size = token.len();
        if size > LARGEST_TOKEN {
            return Err(NotIssued::Large { size });
        }
        let said = said_issuer(token).ok_or(NotIssued::Form)?;
        let all: Vec<_> = self.0.iter().filter(|issuer| issuer.view.issuer() == said).collect();
        match (all.is_empty(), self.0.first()) {
            (true, Some(other)) => {
                Err(NotIssued::Issuer { issuer: other.view.rules.whose.to_string() })
            }
            (_, _) => Ok(all),
        }
    }
}

impl Trusted {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Vouched, NotIssued> {
        let issued = self.view.verify(token, now)?;
        let Some(cluster) = &self.cluster else { return Ok(Vouched::Person(issued)) };
        let account = account_of(&issued.name).ok_or_else(NotIssued::no_account)?.to_owned();
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
        whose: Whose::People(url.0.as_str().to_owned()),
        audience: audience.clone(),
        name_claim: configuration.oidc_name_claim.clone(),
        groups_claim: configuration.oidc_groups_claim.clone(),
    };
    let web = Web::new(oidc_ca_file.as_deref());
    let web = web.map_err(|why| NeverAsked::new("`oidc_ca_file`", why))?;
    Ok(Some(Issuer::new(rules, Fetch::Asked { issuer: url.0.clone(), web: Box::new(web) })))
}

fn of_cluster(name: &str, cluster: &Cluster) -> Result<Issuer, NeverAsked> {
    let Cluster { issuer, audience, keys_file, ca_file, .. } = cluster;
    let of = |key: &str| format!("`clusters`: the `{key}` of `{name}`");
    let fetch = match (keys_file, SafeUrl::parse(issuer)) {
        (Some(file), _) => Fetch::Read(file.clone()),
        (None, Some(issuer)) => {
            let web = Web::new(ca_file.as_deref());
            let web = web.map_err(|why| NeverAsked::new(&of("ca_file"), why))?;
            Fetch::Asked { issuer, web: Box::new(web) }
        }
        (None, None) => {
            let why = "is no `https://…` at which it could be asked for its keys: give `keys_file`";
            return Err(NeverAsked::new(&of("issuer"), why));
        }
    };
    let rules = Rules {
        issuer: issuer.clone(),
        whose: Whose::Cluster(name.to_owned()),
        audience: audience.clone(),
        name_claim: SUBJECT.to_owned(),
        groups_claim: String::new(),
    };
    Ok(Issuer::new(rules, fetch))
}
