//! One batch on its way to the disk, until it is known what became of it.
//!
//! Each batch compares and writes `v1/seq`, so that sending it again never makes it happen twice, and one read tells
//! whether it landed. So "nobody knows" costs time, and is an answer only when the backend stays away.

use super::{
    Range,
    backend::{Backend, CommitError, Opener, Outcome, Transaction},
    keys,
    lead::Lead,
    rules,
    rules::Seen,
};
use crate::pauses::{Pauses, Reminder};
use bytes::Bytes;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

/// For how long the store goes on trying.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For how long one call of the backend may take before nobody knows of it.
    pub call: Duration,
    /// For how long opening may take: a large file that was not closed properly is checked from end to end, and a check
    /// that is given up begins from nothing.
    pub open: Duration,
    /// For how long a batch that nobody knows of is asked for and sent again, not counting what opening takes.
    pub doubt: Duration,
    /// The first pause between two tries; each further one is twice as long, with jitter.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Patience {
    /// For a store beyond a network, whose members may need a while to agree: what is on its way waits for that, instead of
    /// everybody beginning again.
    pub fn far() -> Self {
        let call = Duration::from_secs(3);
        let doubt = Duration::from_secs(60);
        Self { call, open: Duration::from_secs(30), doubt, ..Self::default() }
    }

    fn pauses(self) -> Pauses {
        Pauses::new(self.first_pause, self.longest_pause)
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(5),
            open: Duration::from_secs(15 * 60),
            doubt: Duration::from_secs(10),
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_secs(1),
        }
    }
}

/// How a flight ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Landing {
    /// It is on disk.
    Done,
    /// It is not, and never will be.
    Refused(String),
    /// The same, for want of room.
    Full(String),
    /// Nobody knows.
    Unknown(String),
    /// It is not, because another controller writes.
    Deposed,
    /// Another controller writes, and nobody knows whether it was there before.
    Overtaken,
}

/// The backend that a batch flies with, for who reads what has landed; none once it failed. Weak: who opens anew needs the
/// last of the old one gone.
pub(super) type Flying = watch::Sender<Option<Weak<dyn Backend>>>;

/// A connection that is made anew after an error.
#[derive(Debug)]
pub(super) struct Connection {
    opener: Arc<dyn Opener>,
    backend: Option<Arc<dyn Backend>>,
    patience: Patience,
    flying: Flying,
}

impl Connection {
    pub(super) fn new(
        opener: Arc<dyn Opener>,
        backend: Option<Arc<dyn Backend>>,
        patience: Patience,
        flying: Flying,
    ) -> Self {
        flying.send_replace(backend.as_ref().map(Arc::downgrade));
        Self { opener, backend, patience, flying }
    }

    /// Lets go of what has failed.
    fn let_go(&mut self) {
        self.flying.send_replace(None);
        self.backend = None;
    }

    /// The backend, opened if need be.
    pub(super) async fn backend(&mut self) -> Result<Arc<dyn Backend>, String> {
        if let Some(backend) = &self.backend {
            return Ok(backend.clone());
        }
        let opened = timeout(self.patience.open, self.opener.open()).await;
        let backend = opened
            .map_err(|_| format!("not opened within {:?}", self.patience.open))?
            .map_err(|error| error.to_string())?;
        Ok(self.backend.insert(backend).clone())
    }

    /// The same, again and again for as long as a batch that nobody knows of would be asked for.
    pub(super) async fn regained(&mut self) -> Result<Arc<dyn Backend>, String> {
        let mut pauses = self.patience.pauses();
        let mut reminder = Reminder::default();
        let mut waited = Duration::ZERO;
        loop {
            match self.backend().await {
                Err(why) if waited < self.patience.doubt => {
                    if reminder.is_due() {
                        tracing::warn!(%why, "the store is away: it is tried again");
                    }
                }
                regained => return regained,
            }
            let pause = pauses.next();
            tokio::time::sleep(pause).await;
            waited += pause;
        }
    }

    /// Reads one key.
    pub(super) async fn get(&mut self, key: &str) -> Result<Option<Bytes>, String> {
        let backend = self.backend().await?;
        let read = timeout(self.patience.call, backend.range(Range::key(key))).await;
        let page = match read {
            Ok(Ok(page)) => Ok(page),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.patience.call)),
        };
        // What failed once is not asked again: redb answers nothing more after an I/O error.
        let page = page.inspect_err(|_| self.let_go())?;
        Ok(page.entries.into_iter().next().map(|entry| entry.value))
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Outcome, CommitError> {
        let backend = self.backend().await.map_err(CommitError::Refused)?;
        let commit = timeout(self.patience.call, backend.commit(transaction.clone())).await;
        let outcome = commit.unwrap_or_else(|_| {
            Err(CommitError::Unknown(format!("no answer within {:?}", self.patience.call)))
        });
        outcome.inspect_err(|_| self.let_go())
    }
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) connection: Connection,
    pub(super) transaction: Transaction,
    /// What `v1/seq` held before.
    pub(super) before: Option<Bytes>,
    /// What it holds after.
    pub(super) after: Bytes,
    /// What it is written under.
    pub(super) lead: Lead,
}

impl Flight {
    /// Sends the batch until it is known what became of it. The connection comes back for the next batch, unless it
    /// could not be made anew.
    pub(super) async fn fly(mut self) -> (Landing, Option<Arc<dyn Backend>>) {
        let landing = match self.connection.commit(&self.transaction).await {
            Ok(Outcome::Done) => Landing::Done,
            Err(CommitError::Refused(why)) => Landing::Refused(why),
            Err(CommitError::Full(why)) => Landing::Full(why),
            Ok(Outcome::CompareFailed) => self.resolve("its number was taken".to_owned()).await,
            Err(CommitError::Unknown(why)) => self.resolve(why).await,
        };
        let backend = match landing {
            Landing::Done | Landing::Refused(_) | Landing::Full(_) => {
                self.connection.regained().await.ok()
            }
            Landing::Unknown(_) | Landing::Deposed | Landing::Overtaken => None,
        };
        (landing, backend)
    }

    async fn resolve(&mut self, first: String) -> Landing {
        let patience = self.connection.patience;
        let mut deadline = Instant::now() + patience.doubt;
        let mut pauses = patience.pauses();
        let mut reminder = Reminder::default();
        let mut why = first;
        loop {
            if reminder.is_due() {
                tracing::warn!(%why, "nobody knows whether a batch landed: looking, and sending it again");
            }
            let began = Instant::now();
            match self.connection.backend().await {
                Ok(_) => {
                    deadline += began.elapsed();
                    match timeout_at(deadline, self.look_and_send()).await {
                        Ok(Ok(landing)) => return landing,
                        Ok(Err(doubt)) => why = doubt,
                        Err(_) => return Landing::Unknown(why),
                    }
                }
                Err(away) => why = away,
            }
            let pause = pauses.next();
            if Instant::now() + pause >= deadline {
                return Landing::Unknown(why);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// How it ended, or why that is still not known. The connection is there.
    async fn look_and_send(&mut self) -> Result<Landing, String> {
        let found = self.connection.get(keys::SEQUENCE).await?;
        match rules::seen(found.as_deref(), self.before.as_deref(), &self.after) {
            Seen::Landed => return Ok(Landing::Done),
            Seen::Foreign => return Ok(Landing::Deposed),
            Seen::Passed => return Ok(Landing::Overtaken),
            Seen::NotYet => {}
        }
        match self.connection.commit(&self.transaction).await {
            Ok(Outcome::Done) => Ok(Landing::Done),
            Ok(Outcome::CompareFailed) => self.compare_failed().await,
            // Who has it to himself saw that the time before came to nothing, and nothing comes of this one.
            Err(CommitError::Full(why)) if self.connection.opener.is_exclusive() => {
                Ok(Landing::Full(why))
            }
            // Refused this time; the time before is still in doubt.
            Err(error) => Err(error.to_string()),
        }
    }

    /// Tells a lead that is gone, under which nothing of this batch will ever land, from a number that is taken.
    async fn compare_failed(&mut self) -> Result<Landing, String> {
        let taken = Err("its number was taken meanwhile".to_owned());
        let Some(guard) = self.lead.guard() else { return taken };
        let led = self.connection.get(guard.key()).await?;
        if guard.holds(led.as_deref()) {
            return taken;
        }
        // Who led then may have let it in before it was over.
        let found = self.connection.get(keys::SEQUENCE).await?;
        match rules::seen(found.as_deref(), self.before.as_deref(), &self.after) {
            Seen::Landed => Ok(Landing::Done),
            Seen::NotYet | Seen::Foreign => Ok(Landing::Deposed),
            Seen::Passed => Ok(Landing::Overtaken),
        }
    }
}
