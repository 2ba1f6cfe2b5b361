//! Connections: to one member at a time, the next one where that one fails.

use super::{
    EtcdSettings,
    backend::EtcdBackend,
    errors::{self, MAKE_ROOM},
    login::{Logins, Refusals},
};
use crate::store::{
    backend::{self, Backend, Capacity, OpenError, Opener, Purpose, SCHEMA_VERSION},
    keys,
};
use async_trait::async_trait;
use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, GetOptions, Identity, StatusResponse,
    TlsOptions, Txn, TxnOp,
};
use secrecy::ExposeSecret as _;
use std::{
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};
use uuid::Uuid;

/// A member that answers no ping for so long is given up, also where nothing is asked of it.
const PING_EVERY: Duration = Duration::from_secs(3);
const PONG_WITHIN: Duration = Duration::from_secs(3);
/// What stands around keys and values in a request.
const ENVELOPE: usize = 256 * 1024;
/// What becomes of the rest while nothing is written.
const BY_ITSELF: &str = "what is stored is shown meanwhile, executors keep what they have to say, and everything goes on by itself";
/// However much etcd takes: a larger batch makes those wait that are not in it.
const MOST_BATCH_BYTES: usize = 16 << 20;

/// Makes connections to the members in turn.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) settings: EtcdSettings,
    /// Which member is asked first.
    next: AtomicUsize,
    pub(super) refusals: Refusals,
}

/// A connection to one member that has answered.
#[derive(Clone)]
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) endpoint: String,
    place: usize,
    pub(super) dialer: Arc<Dialer>,
    pub(super) logins: Arc<Logins>,
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Connected {
    /// It failed: the next connection is to another member.
    pub(super) fn failed(&self) {
        let members = self.dialer.settings.endpoints.len();
        let after = (self.place + 1) % members.max(1);
        let _ = self.dialer.next.compare_exchange(self.place, after, Relaxed, Relaxed);
    }
}

impl Dialer {
    pub(super) fn new(settings: EtcdSettings) -> Self {
        Self { settings, next: AtomicUsize::new(0), refusals: Refusals::default() }
    }

    /// Another one to the same etcd, which waits no longer than `at_most` for a member.
    pub(super) fn beside(&self, at_most: Duration) -> Arc<Self> {
        let mut settings = self.settings.clone();
        settings.dial_timeout = settings.dial_timeout.min(at_most);
        let refusals = self.refusals.clone();
        Arc::new(Self { refusals, ..Self::new(settings) })
    }

    /// The key as etcd knows it.
    pub(super) fn key(&self, key: &str) -> String {
        format!("{}{key}", self.settings.prefix)
    }

    /// Connects to the first member that answers a read that a majority agrees with; each is asked once, and none in the
    /// pause after a refusal.
    pub(super) async fn dial(self: &Arc<Self>) -> Result<Connected, OpenError> {
        self.refusals.may_try(self.settings.dial_timeout)?;
        let endpoints = &self.settings.endpoints;
        let first = self.next.load(Relaxed);
        let mut whys = Vec::new();
        for nth in 0..endpoints.len() {
            let place = (first + nth) % endpoints.len();
            let Some(endpoint) = endpoints.get(place) else { continue };
            match timeout(self.settings.dial_timeout, self.dial_one(endpoint)).await {
                Ok(Ok(client)) => {
                    self.next.store(place, Relaxed);
                    self.refusals.forget();
                    let (endpoint, dialer) = (endpoint.clone(), self.clone());
                    let logins = Arc::default();
                    return Ok(Connected { client, endpoint, place, dialer, logins });
                }
                Ok(Err(Undialled::Unfit(why))) => {
                    return Err(OpenError::Denied { place: endpoint.clone(), why });
                }
                Ok(Err(Undialled::Said(error))) if errors::is_denied(&error) => {
                    return Err(self.refused(endpoint, &error));
                }
                Ok(Err(Undialled::Said(error))) => {
                    whys.push(format!("{endpoint}: {}", errors::said(&error)));
                }
                Err(_) => whys
                    .push(format!("{endpoint}: no answer within {:?}", self.settings.dial_timeout)),
            }
        }
        let place = format!("etcd at {}", self.settings.place());
        Err(OpenError::Away { place, why: whys.join("; ") })
    }

    async fn dial_one(&self, endpoint: &str) -> Result<Client, Undialled> {
        let options = self.options(endpoint).map_err(Undialled::Unfit)?;
        let client = Client::connect([endpoint], Some(options)).await.map_err(Undialled::Said)?;
        let read = GetOptions::new().with_keys_only();
        let probe = client.kv_client().get(self.key(keys::SCHEMA), Some(read)).await;
        probe.map_err(Undialled::Said)?;
        Ok(client)
    }

    fn options(&self, endpoint: &str) -> Result<ConnectOptions, String> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.settings.dial_timeout)
            .with_keep_alive(PING_EVERY, PONG_WITHIN)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some((user, password)) = &self.settings.user {
            options = options.with_user(user, password.expose_secret());
        }
        if endpoint.starts_with("https://") {
            options = options.with_tls(self.tls()?);
        }
        Ok(options)
    }

    /// Read anew for each connection: certificates are renewed.
    fn tls(&self) -> Result<TlsOptions, String> {
        let mut tls = TlsOptions::new();
        tls = match &self.settings.ca_file {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read("etcd_ca_file", file)?)),
            None => tls.with_native_roots(),
        };
        if let Some((certificate, key)) = &self.settings.identity {
            let certificate = read("etcd_cert_file", certificate)?;
            tls = tls.identity(Identity::from_pem(certificate, read("etcd_key_file", key)?));
        }
        Ok(tls)
    }
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| {
        format!("`{key}` names {}, and that cannot be read: {error}", file.display())
    })
}

enum Undialled {
    /// What it takes is not there: nobody was asked.
    Unfit(String),
    Said(etcd_client::Error),
}

/// Opens the store in an etcd.
#[derive(Clone, Debug)]
pub struct EtcdOpener {
    pub(super) dialer: Arc<Dialer>,
    /// Whom it asks for alarms, every second.
    watched: Arc<Mutex<Option<Connected>>>,
    purpose: Purpose,
}

impl EtcdOpener {
    /// The store is all keys under the prefix that the settings name.
    pub fn new(settings: EtcdSettings) -> Self {
        Self::for_purpose(settings, Purpose::Serve)
    }

    /// The same, for this purpose.
    pub fn for_purpose(settings: EtcdSettings, purpose: Purpose) -> Self {
        Self { dialer: Arc::new(Dialer::new(settings)), watched: Arc::default(), purpose }
    }

    async fn status(&self) -> Option<StatusResponse> {
        let mut watched = self.watched.lock().await;
        let connected = match watched.take() {
            Some(connected) => connected,
            None => self.dialer.dial().await.ok()?,
        };
        let status = connected.call(|client| {
            let mut maintenance = client.maintenance_client();
            async move { maintenance.status().await }
        });
        let status = status.await.ok()?;
        *watched = Some(connected);
        Some(status)
    }
}

#[async_trait]
impl Opener for EtcdOpener {
    async fn open(&self) -> Result<Arc<dyn Backend>, OpenError> {
        let connected = self.dialer.dial().await?;
        let within = self.dialer.settings.dial_timeout;
        let claimed = timeout(within, claim(&self.dialer, &connected, self.purpose)).await;
        claimed.unwrap_or_else(|_| {
            connected.failed();
            let place = format!("etcd at {}", connected.endpoint);
            Err(OpenError::Away { place, why: format!("no answer within {within:?}") })
        })?;
        Ok(Arc::new(EtcdBackend::new(connected, &self.dialer.settings.prefix)))
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn capacity(&self) -> Capacity {
        let EtcdSettings { max_txn_ops, max_request_bytes, .. } = self.dialer.settings;
        let bytes = max_request_bytes.saturating_sub(ENVELOPE);
        Capacity { operations: max_txn_ops, bytes: bytes.min(MOST_BATCH_BYTES) }
    }

    async fn full(&self, thoroughly: bool) -> Option<String> {
        // Nobody else may have a reason to try whether we are let in again.
        if self.dialer.refusals.last().is_some() && self.dialer.dial().await.is_err() {
            let refused = self.dialer.refusals.last()?;
            return Some(format!(
                "nothing is written, because {refused}; executors keep what they have to say, and everything goes on by itself once it does not"
            ));
        }
        // An alarm that nobody can be asked about is as it was.
        let unasked = thoroughly.then(|| "whether it has room again cannot be asked".to_owned());
        let within = self.dialer.settings.dial_timeout;
        match timeout(within, self.status()).await {
            Ok(Some(status)) => {
                metrics::gauge!("octavius_etcd_database_bytes").set(status.db_size() as f64);
                let alarm = status.errors().iter().find(|alarm| alarm.contains("NOSPACE"))?;
                Some(format!(
                    "the store is full: etcd at {} has the alarm NOSPACE ({}), and its database {} MiB: {MAKE_ROOM}; {BY_ITSELF}",
                    self.dialer.settings.place(),
                    alarm.trim(),
                    status.db_size() >> 20
                ))
            }
            Ok(None) | Err(_) => unasked,
        }
    }
}

/// Checks whose the prefix is, and makes it ours where it is empty.
async fn claim(dialer: &Dialer, connected: &Connected, purpose: Purpose) -> Result<(), OpenError> {
    let place = format!("{} in etcd at {}", dialer.settings.prefix, connected.endpoint);
    let away = |error: etcd_client::Error| {
        connected.failed();
        OpenError::Away { place: place.clone(), why: errors::said(&error) }
    };
    let mut client = connected.client.kv_client(); // its login is a moment old
    let schema = dialer.key(keys::SCHEMA);
    let found = client.get(schema.clone(), None).await.map_err(away)?;
    if let Some(found) = found.kvs().first() {
        return backend::check_schema(&place, Some(found.value()), purpose);
    }
    if purpose == Purpose::Read {
        return Err(OpenError::Missing { place });
    }
    let all = GetOptions::new().with_prefix().with_keys_only().with_limit(2);
    let others = client.get(dialer.key(""), Some(all)).await.map_err(away)?;
    // Who was elected while etcd was empty made that key first.
    let leader = dialer.key(keys::LEADER);
    let other = others.kvs().iter().find(|other| other.key() != leader.as_bytes());
    if let Some(other) = other {
        // Somebody else may have made it just now.
        if [&schema, &dialer.key(keys::STORE_ID)].iter().any(|ours| other.key() == ours.as_bytes())
        {
            return Ok(());
        }
        let other = String::from_utf8_lossy(other.key()).into_owned();
        let why = format!(
            "it has the key `{other}`, but no schema version; give `etcd_prefix` another value"
        );
        return Err(OpenError::Foreign { place, why });
    }
    let make = Txn::new()
        .when([Compare::create_revision(schema.clone(), CompareOp::Equal, 0)])
        .and_then([
            TxnOp::put(schema, SCHEMA_VERSION.to_string(), None),
            TxnOp::put(dialer.key(keys::STORE_ID), Uuid::new_v4().to_string(), None),
        ]);
    client.txn(make).await.map_err(|error| {
        if errors::is_full(&error) {
            let why = format!("{}: {MAKE_ROOM}", errors::said(&error));
            return OpenError::Away { place: place.clone(), why };
        }
        away(error)
    })?;
    Ok(())
}
