//! Who leads: whoever made the leader's key, for as long as the lease lives that the key hangs on.
//!
//! A leader that ends gives its lease back, and a standby that watches the key leads within milliseconds. One that is
//! killed is followed when its lease has run out. One that was paused finds, when it goes on, that each of its writes
//! compares a key that is not its own any more.

use super::{
    dial::{Connected, Dialer, EtcdOpener},
    errors,
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
use etcd_client::{Compare as EtcdCompare, CompareOp, PutOptions, Txn, TxnOp, WatchOptions};
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
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For how long giving a lease back may take; it runs out by itself.
const RESIGN_WITHIN: Duration = Duration::from_secs(2);

/// What the leader's key holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderRecord {
    /// Which life of which controller leads: a UUID that is never used twice.
    pub life: String,
    /// Where the other controllers reach it: `HOST:PORT`, or a URL.
    pub address: String,
    /// Its version.
    pub version: String,
}

/// Who wants to lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where the other controllers reach it.
    pub address: String,
    /// Its version.
    pub version: String,
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
    candidate: Candidate,
    ttl: Duration,
    fitness: Arc<Fitness>,
    standing: watch::Sender<Standing>,
    not_before: watch::Sender<Option<Instant>>,
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election").field("candidate", &self.candidate).finish_non_exhaustive()
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
    /// `ttl` is how long a leader that is silent stays the leader; whole seconds, at least 2. `fitness` is asked before
    /// each try, and while another one leads.
    pub fn new(
        opener: &EtcdOpener,
        candidate: Candidate,
        ttl: Duration,
        fitness: impl Fn(Option<&[u8]>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        // Connections of its own: a store that is busy does not delay the lease. Of several members that are silent the one
        // that answers has to be found before the lease has run out.
        let mut settings = opener.dialer.settings.clone();
        settings.dial_timeout = settings.dial_timeout.min(ttl / 6);
        let dialer = Arc::new(Dialer::new(settings));
        let fitness = Arc::new(fitness);
        let (standing, not_before) = (watch::Sender::default(), watch::Sender::default());
        Self { dialer, candidate, ttl, fitness, standing, not_before }
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
        let mut client = connected.client.clone();
        let check = self.within(connected, client.get(self.dialer.key(keys::KEY_CHECK), None));
        let check = check.await?;
        Ok((self.fitness)(check.kvs().first().map(etcd_client::KeyValue::value)).err())
    }

    async fn within<T>(
        &self,
        connected: &Connected,
        call: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, Failed> {
        let within = self.dialer.settings.dial_timeout;
        let endpoint = &connected.endpoint;
        match timeout(within, call).await {
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
        let mut client = connected.client.clone();
        let found = self.within(connected, client.get(self.key(), None)).await?;
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
        let mut client = connected.client.clone();
        let options = WatchOptions::new().with_start_revision(from);
        let mut watch = self.within(connected, client.watch(self.key(), Some(options))).await?;
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
        let mut client = connected.client.clone();
        let sent = since_boot();
        let seconds = i64::try_from(self.ttl.as_secs().max(1)).unwrap_or(i64::MAX);
        let lease = self.within(connected, client.lease_grant(seconds, None)).await?;
        // etcd raises what is too short for it.
        let ttl = Duration::from_secs(u64::try_from(lease.ttl()).unwrap_or_default());
        let record = LeaderRecord {
            life: uuid::Uuid::new_v4().to_string(),
            address: self.candidate.address.clone(),
            version: self.candidate.version.clone(),
        };
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
        if !self.within(connected, client.txn(take)).await?.succeeded() {
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

/// Keeps a lease alive.
struct Keeper {
    dialer: Arc<Dialer>,
    lease: i64,
    ttl: Duration,
    until: watch::Sender<Duration>,
    lost: CancellationToken,
}

impl Keeper {
    async fn keep(self, connected: Connected, resign: CancellationToken) {
        let mut connected = Some(connected);
        let mut pauses = Pauses::new(FIRST_PAUSE, self.ttl / 10);
        let keeping = async {
            loop {
                let using = match connected.take() {
                    Some(connected) => Ok(connected),
                    None => self.dialer.dial().await,
                };
                match using {
                    Ok(using) => match self.keep_with(&using).await {
                        Kept::Lost => return,
                        Kept::Failed(why, worked) => {
                            tracing::warn!(why, "the leader's lease was not renewed");
                            using.failed();
                            if worked {
                                pauses = Pauses::new(FIRST_PAUSE, self.ttl / 10);
                            }
                        }
                    },
                    Err(error) => tracing::warn!(%error, "the leader's lease was not renewed"),
                }
                sleep(pauses.next()).await;
            }
        };
        tokio::select! {
            () = keeping => self.lost.cancel(),
            // Somebody found out that another one writes.
            () = self.lost.cancelled() => self.give_back().await,
            // Nobody leads by it any more.
            () = self.until.closed() => self.give_back().await,
            () = resign.cancelled() => self.give_back().await,
        }
    }

    /// Renews it until that fails.
    async fn keep_with(&self, using: &Connected) -> Kept {
        let within = self.ttl / 3;
        let failed =
            |error: String, worked| Kept::Failed(format!("{}: {error}", using.endpoint), worked);
        let late = || format!("no answer within {within:?}");
        let mut client = using.client.clone();
        let mut sent = since_boot();
        let (mut keeper, mut answers) = match timeout(within, client.lease_keep_alive(self.lease))
            .await
        {
            Ok(Ok(opened)) => opened,
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(why))) if why == "lease not found" => {
                return Kept::Lost;
            }
            Ok(Err(error)) => return failed(errors::said(&error), false),
            Err(_) => return failed(late(), false),
        };
        loop {
            self.until.send_replace(sent + self.ttl);
            sleep(within).await;
            sent = since_boot();
            if let Err(error) = keeper.keep_alive().await {
                return failed(errors::said(&error), true);
            }
            match timeout(within, answers.message()).await {
                Ok(Ok(Some(answer))) if answer.ttl() > 0 => {}
                Ok(Ok(Some(_))) => return Kept::Lost,
                Ok(Ok(None)) => return failed("the stream ended".to_owned(), true),
                Ok(Err(error)) => return failed(errors::said(&error), true),
                Err(_) => return failed(late(), true),
            }
        }
    }

    async fn give_back(&self) {
        self.lost.cancel();
        match revoke(&self.dialer, self.lease).await {
            true => tracing::info!("the lead was given back"),
            false => tracing::warn!("the lead was not given back: it runs out by itself"),
        }
    }
}

/// Ends a lease, with the key that hangs on it, and says whether that is certain.
async fn revoke(dialer: &Arc<Dialer>, lease: i64) -> bool {
    let revoke = async {
        let mut connected = dialer.dial().await.ok()?;
        connected.client.lease_revoke(lease).await.ok()
    };
    matches!(timeout(RESIGN_WITHIN, revoke).await, Ok(Some(_)))
}

/// A lease that is given back unless it is kept.
struct Granted {
    dialer: Arc<Dialer>,
    lease: Option<i64>,
}

impl Granted {
    fn keep(mut self) {
        self.lease = None;
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if let Some(lease) = self.lease {
            let dialer = self.dialer.clone();
            tokio::spawn(async move { revoke(&dialer, lease).await });
        }
    }
}

enum Kept {
    /// etcd does not know the lease any more.
    Lost,
    /// It may live; the text says what happened, and the other whether it was renewed here before.
    Failed(String, bool),
}
