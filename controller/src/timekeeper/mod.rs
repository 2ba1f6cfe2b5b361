//! How late it is where that decides what is removed for its age: final executions, and logs.
//!
//! What is removed never comes back, and a wall clock that went ahead by mistake would make everything old at once. So
//! time goes on here as it passed for certain, and never beyond the wall clock. Where the wall clock is further, it is
//! believed as far as it was seen for a day: then what became old while this machine was off, or moved elsewhere, goes,
//! too. Time passes for certain on the clock since boot, which also goes on while the machine sleeps; over a boot
//! nobody knows how much did.
//!
//! What is believed is in the store, so that no restart makes a wrong clock right. Each of the two who remove has a key
//! and a [`Timekeeper`] of its own, and writes it: a prefix has one writer.

mod rules;
/// How long ago this machine started, the time in which it was suspended included.
pub(crate) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests;

use crate::store::{Range, ReadError, StoreHandle, Write, keys};
use jiff::Timestamp;
use octavius_protocol::id::ExecutionId;
use octavius_service::configuration::Setting;
use rules::Belief;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::{sync::LazyLock, time::Duration};

/// How often what is believed is stored, at the most.
const STORED_EVERY: Duration = Duration::from_secs(60);
/// A clock that is further ahead is said to be.
const SAID: Duration = Duration::from_hours(1);

/// Which boot of which machine this is; empty where nobody can tell.
static BOOT: LazyLock<String> = LazyLock::new(|| {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
});

/// When an execution was submitted, as its id says; none where that is no time.
pub(crate) fn submitted_at(execution: ExecutionId) -> Option<Timestamp> {
    Timestamp::from_millisecond(execution.made_at().cast_signed()).ok()
}

/// Says how late it is.
#[derive(Debug)]
pub(crate) struct Timekeeper {
    key: &'static str,
    last: Look,
    /// When it was stored, since boot; none: not in this life.
    stored: Option<Duration>,
    /// Whether it was said that the clock is ahead.
    said: bool,
}

/// What one look at the clocks came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    /// Which boot of which machine.
    boot: String,
    /// The time since then.
    since_boot: Duration,
    #[serde(flatten)]
    belief: Belief,
}

/// What the clocks show.
#[derive(Clone, Debug)]
struct Clocks {
    boot: String,
    since_boot: Duration,
    shown: Timestamp,
}

/// How late it is, and what has to be stored for that.
#[derive(Debug)]
pub(crate) struct Told {
    /// How late it is.
    pub(crate) time: Timestamp,
    /// To be stored by whoever asked, if something is to be stored now.
    pub(crate) write: Option<Write>,
}

impl Timekeeper {
    /// Goes on with what is stored at `key`, one of those of [`keys`]. Where nothing is there that can be read, as in a new
    /// store, or in one that was full whenever it was to be stored, it is as late as the newest of its final executions says.
    pub(crate) async fn load(store: &StoreHandle, key: &'static str) -> Result<Self, ReadError> {
        let stored = store.get(key).await?;
        let known = stored.and_then(|stored| match serde_json::from_slice(&stored) {
            Ok(look) => Some(look),
            Err(error) => {
                tracing::warn!(key, %error, "how late it was is not known any more: what was kept long enough may stay for a day more");
                None
            }
        });
        Ok(match known {
            Some(look) => Self::after(key, look),
            None => {
                let newest = store.range(Range::prefix(keys::DONE, 1)).await?.entries;
                let newest = newest.first().and_then(|entry| keys::id_in_history(&entry.key));
                let submitted = newest.and_then(submitted_at);
                Self::first(key, submitted, Clocks::now())
            }
        })
    }

    /// A new one.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self::first(keys::TIME_FOR_LOGS, None, Clocks::now())
    }

    fn after(key: &'static str, last: Look) -> Self {
        Self { key, last, stored: None, said: false }
    }

    fn first(key: &'static str, last: Option<Timestamp>, clocks: Clocks) -> Self {
        let Clocks { boot, since_boot, shown } = clocks;
        Self::after(key, Look { boot, since_boot, belief: Belief::first(last, shown) })
    }

    /// Says how late it is now.
    pub(crate) fn look(&mut self) -> Told {
        self.look_at(Clocks::now())
    }

    fn look_at(&mut self, Clocks { boot, since_boot, shown }: Clocks) -> Told {
        let same_boot = boot == self.last.boot && !boot.is_empty();
        let passed = match same_boot {
            true => since_boot.saturating_sub(self.last.since_boot),
            false => Duration::ZERO,
        };
        let belief = self.last.belief.after(passed, shown);
        self.last = Look { boot, since_boot, belief };
        self.say(shown);
        let due =
            self.stored.is_none_or(|stored| since_boot.saturating_sub(stored) >= STORED_EVERY);
        let write = due.then(|| serde_json::to_vec(&self.last).ok()).flatten();
        let write = write.map(|value| {
            self.stored = Some(since_boot);
            Write::Put(self.key.to_owned(), value.into())
        });
        Told { time: belief.time(), write }
    }

    fn say(&mut self, shown: Timestamp) {
        let ahead_by = self.last.belief.behind(shown);
        let is_ahead = ahead_by > SAID;
        if is_ahead && !self.said {
            tracing::warn!(
                ahead_by = %ahead_by.shown(),
                now = %shown,
                key = self.key,
                "this machine's clock is ahead of the time that is known to have passed: nothing is removed for that until it was seen there for a day; set it right if it is wrong"
            );
        }
        self.said = is_ahead;
    }
}

impl Clocks {
    fn now() -> Self {
        // Before the wall clock: whoever is held up in between finds that ahead, which passes.
        let since_boot = since_boot();
        Self { boot: BOOT.clone(), since_boot, shown: Timestamp::now() }
    }
}
