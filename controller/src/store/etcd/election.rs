//! Who leads: whoever made the leader's key, for as long as the lease lives that the key hangs on.
//!
//! A leader that ends gives its lease back, and a standby that watches the key leads within milliseconds. One that is
//! killed is followed when its lease has run out. One that was paused finds, when it goes on, that each of its writes
//! compares a key that is not its own any more.

use super::{
    dial::{Connected, Dialer, EtcdOpener},
    errors,
    lease::{Granted, Keeper, RESIGN_WITHIN},
};
use crate::{
    pauses::Pauses,
    store::{
        Compare, OpenError, keys,
        lead::{Claim, Lead},
    },
    timekeeper::since_boot,
};
use bytes::Bytes;
use etcd_client::{
    Client, Compare as EtcdCompare, CompareOp, GetResponse, PutOptions, Txn, TxnOp, WatchOptions,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// How often a standby looks for the leader's key by itself, should its watch have died in silence.
const LOOK: Duration = Duration::from_secs(2);
/// The pause after a try that failed; each further one is twice as long, up to the other.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the leader's key holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// Which life of which controller leads: a UUID that is never used twice.
    pub life: String,
    /// Where the other controllers reach it: `HOST:PORT`, or a URL.
    pub address: String,
}

/// What a standby knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Who leads.
    pub leader: Option<LeaderRecord>,
    /// Why it cannot lead itself, or cannot tell.
    pub trouble: Option<String>,
}

/// Whether this controller may lead a store, by what tells whether its master key is the store's; else why not.
type Fitness = dyn Fn(Option<&[u8]>) -> Result<(), String> + Send + Sync;

/// Takes part in the election of the leader.
pub struct Election {
    dialer: Arc<Dialer>,
    /// Where the other controllers reach this one.
    address: String,
    ttl: Duration,
    fitness: Arc<Fitness>,
    standing: watch::Sender<Standing>,
    not_before: watch::Sender<Option<Instant>>,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Leads until it resigns, nobody writes under it any more, or the lease is lost.
#[derive(Debug)]
pub struct Elected {
    /// What to write under.
    pub lead: Lead,
    resign: CancellationToken,
    kept: tokio::task::JoinHandle<()>,
}

impl Elected {
    /// Gives the lead back, so that another one leads at once.
    pub async fn resign(self) {
        self.resign.cancel();
        let _ = timeout(RESIGN_WITHIN, self.kept).await; // else it runs out by itself
    }
}

/// A round of the election that came to nothing.
enum Failed {
    /// Trying again does not help.
    Denied(OpenError),
    Trouble(String),
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Away { .. } => Self::Trouble(error.to_string()),
            other => Self::Denied(other),
        }
    }
}

impl Election {
    /// `address` is where the other controllers reach this one, `ttl` how long a leader that is silent stays the leader:
    /// whole seconds, at least 2. `fitness` is asked before each try, and while another one leads.
    pub fn new(
        opener: &EtcdOpener,
        address: String,
        ttl: Duration,
        fitness: impl Fn(Option<&[u8]>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        // Connections of its own: a store that is busy does not delay the lease. Of several members that are silent the one
        // that answers has to be found before the lease has run out.
        let dialer = opener.dialer.beside(ttl / 6);
        let fitness = Arc::new(fitness);
        let (standing, not_before) = (watch::Sender::default(), watch::Sender::default());
        Self { dialer, address, ttl, fitness, standing, not_before }
    }

    /// Leaves the next tries to others, for so long.
    pub fn hold_back(&self, pause: Duration) {
        self.not_before.send_replace(Some(Instant::now() + pause));
    }

    /// What is known of the election.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Waits until this one leads. Goes on through all that may pass.
    pub async fn win(&self) -> Elected {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let why = match self.round().await {
                Ok(Some(elected)) => {
                    self.standing.send_replace(Standing::default());
                    return elected;
                }
                Ok(None) => {
                    pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
                    continue;
                }
                Err(Failed::Trouble(why)) => why,
                Err(Failed::Denied(error)) => error.to_string(),
            };
            self.tell(|standing| standing.trouble = Some(why.clone()));
            sleep(pauses.next()).await;
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            if let Some(why) = standing.trouble.as_ref().filter(|_| before.trouble.is_none()) {
                tracing::warn!(why, "this controller cannot lead at present");
            }
            *standing != before
        });
    }

    /// Waits for the key to be free, and tries to take it; none: another one was faster.
    async fn round(&self) -> Result<Option<Elected>, Failed> {
        let connected = self.dialer.dial().await?;
        match self.round_with(&connected).await {
            Err(error) => {
                connected.failed();
                Err(error)
            }
            done => done,
        }
    }

    async fn round_with(&self, connected: &Connected) -> Result<Option<Elected>, Failed> {
        while let Some((record, revision)) = self.leader(connected).await? {
            let trouble = self.unfit(connected).await?;
            self.tell(|standing| {
                *standing = Standing { leader: Some(record), trouble };
            });
            self.gone(connected, revision + 1).await?;
        }
        self.tell(|standing| standing.leader = None);
        if let Some(why) = self.unfit(connected).await? {
            return Err(Failed::Trouble(why));
        }
        let not_before = *self.not_before.borrow();
        let wait = not_before.map(|time| time.saturating_duration_since(Instant::now()));
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => {
                sleep(wait.min(FIRST_PAUSE)).await;
                Ok(None)
            }
            None => self.take(connected).await,
        }
    }

    /// Why this one may not lead this store; none: it may.
    async fn unfit(&self, connected: &Connected) -> Result<Option<String>, Failed> {
        let check = self.get(connected, self.dialer.key(keys::KEY_CHECK)).await?;
        Ok((self.fitness)(check.kvs().first().map(etcd_client::KeyValue::value)).err())
    }

    async fn get(&self, connected: &Connected, key: String) -> Result<GetResponse, Failed> {
        let get = |client: &Client| {
            let (mut kv, key) = (client.kv_client(), key.clone());
            async move { kv.get(key, None).await }
        };
        self.within(connected, get).await
    }

    async fn within<T, F: Future<Output = Result<T, etcd_client::Error>>>(
        &self,
        connected: &Connected,
        call: impl Fn(&Client) -> F,
    ) -> Result<T, Failed> {
        let within = self.dialer.settings.dial_timeout;
        let endpoint = &connected.endpoint;
        match timeout(within, connected.call(call)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if errors::is_full(&error) => Err(Failed::Trouble(format!(
                "etcd at {endpoint} is full, and takes not even a new leader ({}): {}",
                errors::said(&error),
                errors::MAKE_ROOM
            ))),
            Ok(Err(error)) => {
                Err(Failed::Trouble(format!("etcd at {endpoint}: {}", errors::said(&error))))
            }
            Err(_) => {
                Err(Failed::Trouble(format!("etcd at {endpoint}: no answer within {within:?}")))
            }
        }
    }

    /// Who leads, and the revision at which that was so.
    async fn leader(&self, connected: &Connected) -> Result<Option<(LeaderRecord, i64)>, Failed> {
        let found = self.get(connected, self.key()).await?;
        let revision = found.header().map_or(0, etcd_client::ResponseHeader::revision);
        let Some(entry) = found.kvs().first() else { return Ok(None) };
        let record = serde_json::from_slice(entry.value()).map_err(|error| {
            let key = self.key();
            Failed::Trouble(format!("etcd's key `{key}` names no leader ({error}): remove it"))
        })?;
        Ok(Some((record, revision)))
    }

    /// Waits until the key may be gone.
    async fn gone(&self, connected: &Connected, from: i64) -> Result<(), Failed> {
        let watching = |client: &Client| {
            let (mut watch, key) = (client.watch_client(), self.key());
            let options = WatchOptions::new().with_start_revision(from);
            async move { watch.watch(key, Some(options)).await }
        };
        let mut watch = self.within(connected, watching).await?;
        let changed = async {
            while let Ok(Some(seen)) = watch.message().await {
                if seen.canceled() || !seen.events().is_empty() {
                    return;
                }
            }
        };
        let _ = timeout(LOOK, changed).await; // whoever called looks for himself
        Ok(())
    }

    async fn take(&self, connected: &Connected) -> Result<Option<Elected>, Failed> {
        let sent = since_boot();
        let seconds = i64::try_from(self.ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let granting = |client: &Client| {
            let mut leases = client.lease_client();
            async move { leases.grant(seconds, None).await }
        };
        let lease = self.within(connected, granting).await?;
        // etcd raises what is too short for it.
        let ttl = Duration::from_secs(u64::try_from(lease.ttl()).unwrap_or_default());
        let record =
            LeaderRecord { life: uuid::Uuid::new_v4().to_string(), address: self.address.clone() };
        let value = serde_json::to_vec(&record)
            .map_err(|error| Failed::Trouble(format!("no leader's record: {error}")))?;
        let take = Txn::new()
            .when([EtcdCompare::create_revision(self.key(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(
                self.key(),
                value.clone(),
                Some(PutOptions::new().with_lease(lease.id())),
            )]);
        // A key that nobody holds would keep all others waiting for as long as the lease lives.
        let granted = Granted { dialer: self.dialer.clone(), lease: Some(lease.id()) };
        let taking = |client: &Client| {
            let (mut kv, take) = (client.kv_client(), take.clone());
            async move { kv.txn(take).await }
        };
        if !self.within(connected, taking).await?.succeeded() {
            return Ok(None);
        }
        granted.keep();
        tracing::info!(life = record.life, ?ttl, "this controller leads");
        let (until, seen) = watch::channel(sent + ttl);
        let (resign, lost) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Keeper {
            dialer: self.dialer.clone(),
            lease: lease.id(),
            ttl,
            until,
            lost: lost.clone(),
        };
        let kept = tokio::spawn(keeper.keep(connected.clone(), resign.clone()));
        let claim = Claim {
            guard: Compare::Holds(keys::LEADER.to_owned(), Bytes::from(value)),
            holder: record.life,
            until: seen,
            margin: ttl / 5,
        };
        Ok(Some(Elected { lead: Lead::claimed(claim, lost), resign, kept }))
    }

    fn key(&self) -> String {
        self.dialer.key(keys::LEADER)
    }
}
