//! Final executions that were kept long enough: they are looked for now and then, a few at a time, and removed with all
//! that there is of them.
//!
//! Where there are more than are kept, the oldest go as well; how many there are says the store (`finals.rs`).
//!
//! First their logs go, which are `LogStore`'s, and then everything else in one transaction. Whatever happens in between,
//! what is left is an execution that is final and still whole but for its logs, and the next look finds it again. Only
//! what lies in history is looked at: what is not final is not there. How late it is says the [`Timekeeper`].

use super::{
    JobQueue, finals, record::Record, rules::retain, show::newest_removed, storage, trust,
};
use crate::{
    log_store::LogHandle,
    store::{Commit, Entry, Range, ReadError, StoreHandle, keys},
    timekeeper::{Timekeeper, Told},
};
use actix::prelude::*;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use octavius_protocol::id::ExecutionId;
use std::{collections::BTreeSet, time::Duration};

/// How many records are looked at in one step: all that there is of them fits in one transaction.
const AT_ONCE: usize = 16;
/// How many executions' logs are removed at a time.
const LOGS_AT_ONCE: usize = 4;
/// What is waited between two steps, so that this is never what the store is busy with.
const PAUSE: Duration = Duration::from_millis(5);
/// The most executions that are said to be left in one life.
const SAID: usize = 1_000;

/// For how long final executions are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// For how long after their end.
    pub(crate) keep_for: Duration,
    /// How many are kept; the oldest of more are removed.
    pub(crate) most: u64,
    /// But not before this time after their end, however many there are.
    pub(crate) least: Duration,
    /// How often it is looked for those that were kept so long.
    pub(crate) every: Duration,
}

impl Retention {
    /// Keeps them for so long, and not much longer.
    pub(crate) fn of(keep_for: Duration) -> Self {
        let every = (keep_for / 10).clamp(Duration::from_millis(100), Duration::from_mins(10));
        Self { keep_for, most: u64::MAX, least: keep_for, every }
    }

    /// And no more than `most`, of those that ended `least` ago.
    pub(crate) fn at_most(self, most: u64, least: Duration) -> Self {
        Self { most, least: least.min(self.keep_for), ..self }
    }
}

/// What the looks of one life of the actor have in common.
#[derive(Debug)]
pub(super) struct Looks {
    /// The number of the look chain that goes on; steps of older ones come to nothing, so that there is one.
    chain: u64,
    timekeeper: Timekeeper,
    /// The newest of all executions that were removed.
    newest_removed: Option<ExecutionId>,
    /// Those whose removal is on its way to the store.
    removing: BTreeSet<ExecutionId>,
    /// The keys of what could not be removed, and was said to be left.
    said: BTreeSet<String>,
}

impl Looks {
    /// None was made yet in this life.
    pub(super) async fn load(store: &StoreHandle) -> anyhow::Result<Self> {
        let timekeeper = Timekeeper::load(store, keys::TIME_FOR_EXECUTIONS).await?;
        let newest_removed = newest_removed(store).await?;
        let (removing, said) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { chain: 0, timekeeper, newest_removed, removing, said })
    }

    /// The newest of all executions that were removed because they were kept long enough.
    pub(super) fn newest_removed(&self) -> Option<ExecutionId> {
        self.newest_removed
    }

    /// Whether an execution is being removed just now.
    pub(super) fn removes(&self, id: ExecutionId) -> bool {
        self.removing.contains(&id)
    }

    /// Says what is left, each once.
    fn say(&mut self, left: Vec<Left>) {
        for Left { key, why } in left {
            if self.said.len() < SAID && self.said.insert(key) {
                tracing::warn!("an execution that may be kept long enough stays: {why}");
            }
        }
    }
}

/// Looks at the next records of history. Answered when that is done; what is behind them is looked at by the next such
/// message, which the actor sends to itself.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct LookForOld {
    /// The chain that this step belongs to; none: it begins one, and ends the one before.
    chain: Option<u64>,
    /// The key behind which it goes on; none: at the first records that may be old enough.
    behind: Option<String>,
    /// What it looks for.
    wanted: Wanted,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// What was kept long enough.
    Old,
    /// The oldest of too many.
    Oldest,
}

impl LookForOld {
    /// The first step of the first look.
    pub(super) const FIRST: Self = Self { chain: None, behind: None, wanted: Wanted::Old };

    /// The first step of a look of this chain.
    #[cfg(test)]
    pub(super) const fn of(chain: u64) -> Self {
        Self { chain: Some(chain), behind: None, wanted: Wanted::Old }
    }
}

/// What one step found.
#[derive(Default)]
struct Step {
    /// Those whose logs are gone, and that can go, too.
    over: Vec<Record>,
    /// Those that stay, though they may have been kept long enough.
    left: Vec<Left>,
    /// Where the next step goes on; none: the look is over.
    last: Option<String>,
}

/// What could not be removed.
struct Left {
    key: String,
    /// Why, and what to do.
    why: String,
}

impl Handler<LookForOld> for JobQueue {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, look: LookForOld, _: &mut Self::Context) -> Self::Result {
        let LookForOld { chain, behind, wanted } = look;
        let chain = chain.unwrap_or_else(|| {
            self.looks.chain += 1;
            self.looks.chain
        });
        if chain != self.looks.chain {
            return Box::pin(fut::ready(()));
        }
        let (store, logs) = (self.parts.store.clone(), self.parts.logs.clone());
        let retention = self.parts.retention;
        let beyond = self.finals.beyond(retention.most);
        let Told { time, write } = self.looks.timekeeper.look();
        // A store that is full takes it later.
        let write = write.filter(|_| store.full().is_none());
        let noted = write.map(|write| self.writer.commit(vec![write]));
        let first = behind.is_none();
        let uncounted = first && self.finals.is_unknown() && retention.most < u64::MAX;
        let looking = async move {
            let pause = if first { Duration::ZERO } else { PAUSE };
            tokio::time::sleep(pause).await;
            let noted = match noted {
                Some(noted) => noted.await,
                None => Commit::Done,
            };
            let counted = match uncounted {
                true => finals::count(&store).await.map(Some),
                false => Ok(None),
            };
            let step = match wanted {
                Wanted::Old => step(&store, &logs, retention.keep_for, time, behind).await,
                Wanted::Oldest => {
                    oldest(&store, &logs, retention.least, time, behind, beyond).await
                }
            };
            (noted, counted.and_then(|counted| step.map(|step| (counted, step))))
        };
        let removed = looking.into_actor(self).then(move |(noted, step), queue, context| {
            if trust(noted, context).is_err() {
                return Box::pin(fut::ready(None)) as ResponseActFuture<Self, _>;
            }
            // Another chain has looked at the same ones meanwhile, and may have removed them.
            if chain != queue.looks.chain {
                return Box::pin(fut::ready(None));
            }
            let step = step.map(|(counted, step)| {
                if let Some(counted) = counted {
                    queue.finals.counted(counted);
                }
                step
            });
            queue.remove(step)
        });
        Box::pin(removed.map(move |next, queue, context| match next {
            _ if chain != queue.looks.chain => {}
            Some(behind) => {
                let (chain, behind) = (Some(chain), Some(behind));
                context.notify(LookForOld { chain, behind, wanted });
            }
            None if wanted == Wanted::Old
                && queue.finals.beyond(queue.parts.retention.most) > 0 =>
            {
                let (chain, wanted) = (Some(chain), Wanted::Oldest);
                context.notify(LookForOld { chain, behind: None, wanted });
            }
            None => {
                let every = queue.parts.retention.every.mul_f64(rand::random_range(0.9..1.1));
                let next = LookForOld { chain: Some(chain), ..LookForOld::FIRST };
                context.notify_later(next, every);
            }
        }))
    }
}

impl JobQueue {
    /// Removes what a step found, and answers where the next one begins.
    fn remove(&mut self, step: Result<Step, ReadError>) -> ResponseActFuture<Self, Option<String>> {
        let Step { over, left, last } = match step {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(%error, "executions that were kept long enough are left for later");
                return Box::pin(fut::ready(None));
            }
        };
        self.looks.say(left);
        // To delete takes room, too.
        if self.parts.store.full().is_some() {
            return Box::pin(fut::ready(None));
        }
        // Of what more is being written just now the next look finds all.
        let over: Vec<_> =
            over.into_iter().filter(|record| !self.rewritten.contains(&record.id)).collect();
        if over.is_empty() {
            return Box::pin(fut::ready(last));
        }
        let ids: BTreeSet<_> = over.iter().map(|record| record.id).collect();
        self.looks.removing.extend(&ids);
        let count = over.len();
        let newest = over.iter().map(|record| record.id).max().max(self.looks.newest_removed);
        let mut writes: Vec<_> = over.iter().flat_map(storage::removal).collect();
        writes.extend(newest.map(storage::newest_removed));
        writes.extend(self.finals.removed(count));
        let removed = self.writer.commit(writes);
        Box::pin(removed.into_actor(self).map(move |outcome, queue, context| {
            queue.looks.removing.retain(|id| !ids.contains(id));
            trust(outcome, context).ok()?;
            queue.looks.newest_removed = queue.looks.newest_removed.max(newest);
            metrics::counter!("octavius_executions_removed_total").increment(count as u64);
            tracing::debug!(count, "removed executions that were kept long enough");
            last
        }))
    }
}

/// Looks at a few records of history, and removes the logs of those that were kept long enough.
async fn step(
    store: &StoreHandle,
    logs: &LogHandle,
    keep_for: Duration,
    now: Timestamp,
    behind: Option<String>,
) -> Result<Step, ReadError> {
    if store.full().is_some() {
        return Ok(Step::default());
    }
    let all = Range::prefix(keys::DONE, AT_ONCE);
    let range = match behind {
        Some(behind) => all.after(&behind),
        None => match retain::newest_that_may_be_over(keep_for, now) {
            // What was submitted later cannot have ended earlier.
            Some(newest) => Range { start: keys::done(newest), ..all },
            None => return Ok(Step::default()),
        },
    };
    let page = store.range(range).await?;
    let last = page.entries.last().map(|entry| entry.key.clone()).filter(|_| page.more);
    let (old, unreadable) = apart(page.entries.iter().map(readable));
    let old = old.into_iter().filter(|record| retain::is_over(record, keep_for, now));
    Ok(Step { last, ..gone(logs, old, unreadable).await })
}

/// Looks at a few executions, the oldest first, and removes the logs of those that are final, up to `most` of them.
async fn oldest(
    store: &StoreHandle,
    logs: &LogHandle,
    least: Duration,
    now: Timestamp,
    behind: Option<String>,
    most: u64,
) -> Result<Step, ReadError> {
    if store.full().is_some() || most == 0 {
        return Ok(Step::default());
    }
    // History has the newest first; what was submitted lies the other way round, with what is not final among it.
    let all = Range::prefix(keys::SPECS, AT_ONCE);
    let range = match behind {
        Some(behind) => all.after(&behind),
        None => all,
    };
    let page = store.range(range).await?;
    let last = page.entries.last().map(|entry| entry.key.clone()).filter(|_| page.more);
    let mut found = Vec::new();
    for entry in page.entries {
        let id = entry.key.strip_prefix(keys::SPECS).and_then(|id| id.parse().ok());
        let Some(key) = id.map(keys::done) else { continue };
        if let Some(value) = store.get_landed(&key).await? {
            found.push(readable(&Entry { key, value }));
        }
    }
    let (old, unreadable) = apart(found);
    let old = old.into_iter().filter(|record| retain::is_over(record, least, now));
    let old = old.take(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Step { last, ..gone(logs, old, unreadable).await })
}

/// Removes the logs of these.
async fn gone(logs: &LogHandle, old: impl Iterator<Item = Record>, unreadable: Vec<Left>) -> Step {
    let without = stream::iter(old.collect::<Vec<_>>()).map(|record| without_logs(logs, record));
    let without: Vec<_> = without.buffer_unordered(LOGS_AT_ONCE).collect().await;
    let (over, mut left) = apart(without);
    left.extend(unreadable);
    Step { over, left, last: None }
}

fn apart(all: impl IntoIterator<Item = Result<Record, Left>>) -> (Vec<Record>, Vec<Left>) {
    let (mut records, mut left) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(record) => records.push(record),
            Err(stays) => left.push(stays),
        }
    }
    (records, left)
}

fn readable(entry: &Entry) -> Result<Record, Left> {
    storage::decode(entry).map_err(|error| Left {
        key: entry.key.clone(),
        why: format!(
            "{error}: start a version of the controller that reads it, or put a backup back"
        ),
    })
}

/// The record of an execution whose logs are gone now.
async fn without_logs(logs: &LogHandle, record: Record) -> Result<Record, Left> {
    match logs.remove_all(record.id).await {
        Ok(_) => Ok(record),
        Err(error) => Err(Left {
            key: keys::done(record.id),
            why: format!(
                "the logs of {} could not be removed: {error}: it is tried again at each look; see that the controller may write below its `data_dir`",
                record.id
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_for_old_ones_as_often_as_their_time_needs() {
        let every = |seconds| Retention::of(Duration::from_secs(seconds)).every;
        assert_eq!(every(0), Duration::from_millis(100));
        assert_eq!(every(3_600), Duration::from_mins(6));
        assert_eq!(every(30 * 86_400), Duration::from_mins(10));
    }

    #[test]
    fn what_is_left_is_said_once_and_not_of_more_than_the_bound() {
        let timekeeper = Timekeeper::for_tests();
        let said = BTreeSet::new();
        let (newest_removed, removing) = (None, BTreeSet::new());
        let mut looks = Looks { chain: 0, timekeeper, newest_removed, removing, said };
        let left = |number: usize| Left { key: number.to_string(), why: String::new() };
        for number in (0..2 * SAID).chain(0..3) {
            looks.say(vec![left(number)]);
        }
        assert_eq!(looks.said.len(), SAID);
    }
}
