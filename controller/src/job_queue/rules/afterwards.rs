//! What becomes known of a lost attempt after it was given up: who held it comes back, stops it, and says how it ended.
//!
//! That is kept beside the attempt, once, and moves nothing: neither the state, nor the end, nor what began since. The rest
//! of its log comes with it, up to the size that its holder says.

use super::{
    super::{
        attempt::{Attempt, Event, State},
        record::{Afterwards, Change, Ending, Record},
    },
    LeaseName, Moment, Report, Reported, Verdict, View,
    retry::MOST_KEPT_TEXT,
};
use octavius_protocol::id::ExecutorId;
use octavius_service::text::cut;

/// What a report about a lost attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// To be answered with this; the record is as it was.
    Verdict(Verdict),
    /// To be answered when its log is known to be here.
    Log {
        /// What is known of its end.
        ending: Ending,
        /// Whether that is new: the record has changed.
        news: bool,
    },
}

/// The end of a log: its size in bytes, and why it is not whole; empty where it is.
pub type LogEnd<'a> = (u64, &'a str);

/// What of a record is about one lost attempt.
struct Lost<'a> {
    afterwards: &'a mut Option<Box<Afterwards>>,
    log_size: &'a mut u64,
    log_cut: &'a mut String,
    is_kept_in_short: bool,
}

impl Record {
    /// What is known since of an attempt that this executor held by this grant when it was given up as lost. None: there is
    /// no such attempt.
    fn known_afterwards(
        &self,
        lease: LeaseName,
        executor: &ExecutorId,
    ) -> Option<Option<&Afterwards>> {
        if lease.attempt.execution != self.id {
            return None;
        }
        let (attempt, holder, known) = if lease.attempt.attempt == self.number {
            // An end that its holder has told has a log, and is no loss of the controller's.
            self.ending.as_ref().filter(|ending| ending.log.is_none())?;
            (self.attempt, &self.executor, &self.afterwards)
        } else {
            let number = lease.attempt.attempt;
            let earlier = self.earlier.iter().find(|earlier| earlier.number == number)?;
            let state = State::Ended { epoch: earlier.given_up?, outcome: earlier.outcome };
            (Attempt { state, ..Attempt::NEW }, &earlier.executor, &earlier.afterwards)
        };
        let theirs = holder.as_ref() == Some(executor);
        let taken = theirs && attempt.after(Event::Afterwards(lease.epoch)).is_ok();
        taken.then_some(known.as_deref())
    }

    /// Whether this executor held, by this grant, what was given up as lost, and has not said yet all that there is to say
    /// of it: it is to stop it, and may append to its log.
    pub fn awaits_word_of(&self, lease: LeaseName, executor: &ExecutorId) -> bool {
        self.known_afterwards(lease, executor)
            .is_some_and(|known| known.is_none_or(|known| !known.log_is_over))
    }

    /// Takes the word of who held what was given up as lost. None: it is about no such attempt.
    pub fn hear_afterwards(
        &mut self,
        lease: LeaseName,
        executor: &ExecutorId,
        report: &Report,
        now: Moment,
    ) -> Option<Heard> {
        let lost = self.lost(lease, executor)?;
        Some(match report {
            Report::Ended(ending) => lost.hear(ending, now),
            // What cannot run yet must not go any more.
            Report::Prepared(_) => superseded("this attempt was given up as lost"),
            // It is told to stop with the next sign of life, and says then how it ended.
            Report::Starting(_) | Report::Running | Report::Unseen(_) => {
                Heard::Verdict(Verdict::Recorded)
            }
        })
    }

    /// The log of what was given up as lost has come to its end; none: it is not kept any more. Whether that is new.
    pub fn log_over_afterwards(
        &mut self,
        lease: LeaseName,
        executor: &ExecutorId,
        log: Option<LogEnd<'_>>,
    ) -> bool {
        let Some(Lost { afterwards: Some(known), log_size, log_cut, is_kept_in_short }) =
            self.lost(lease, executor)
        else {
            return false;
        };
        if known.log_is_over {
            return false;
        }
        known.log_is_over = true;
        if let Some((size, why)) = log {
            *log_size = size;
            let most = if is_kept_in_short { MOST_KEPT_TEXT } else { usize::MAX };
            *log_cut = cut(why.to_owned(), most);
        }
        true
    }

    fn lost(&mut self, lease: LeaseName, executor: &ExecutorId) -> Option<Lost<'_>> {
        self.known_afterwards(lease, executor)?;
        let number = lease.attempt.attempt;
        if number == self.number {
            return Some(Lost {
                afterwards: &mut self.afterwards,
                log_size: &mut self.log_size,
                log_cut: &mut self.log_cut,
                is_kept_in_short: false,
            });
        }
        let earlier = self.earlier.iter_mut().find(|earlier| earlier.number == number)?;
        Some(Lost {
            afterwards: &mut earlier.afterwards,
            log_size: &mut earlier.log_size,
            log_cut: &mut earlier.log_cut,
            is_kept_in_short: true,
        })
    }
}

impl Lost<'_> {
    /// The first word stands. Said again it only brings the rest of the log, or says how much there is of one that is not
    /// whole, or was not: its holder may have found more of it meanwhile, or less.
    fn hear(self, ending: &Ending, now: Moment) -> Heard {
        let Some(known) = self.afterwards else {
            let heard = Afterwards { ending: ending.clone(), at: now.at, log_is_over: false };
            let heard = if self.is_kept_in_short { heard.in_short() } else { heard };
            *self.afterwards = Some(Box::new(heard));
            return Heard::Log { ending: ending.clone(), news: true };
        };
        let Afterwards { ending: first, log_is_over, .. } = &mut **known;
        let what = |ending: &Ending| (ending.outcome, ending.code.clone(), ending.exit_code);
        if what(first) != what(ending) {
            return superseded("its executor has said already that it ended otherwise");
        }
        if *log_is_over {
            return Heard::Verdict(Verdict::Recorded);
        }
        if first.log == ending.log {
            return Heard::Log { ending: first.clone(), news: false };
        }
        if first.log_cut.is_empty() && ending.log_cut.is_empty() {
            return superseded("its executor has said already that its log is another");
        }
        (first.log, first.log_cut) = (ending.log, cut(ending.log_cut.clone(), MOST_KEPT_TEXT));
        Heard::Log { ending: first.clone(), news: true }
    }
}

impl Afterwards {
    /// The same as it is kept of an attempt that was followed by another.
    #[must_use]
    pub(super) fn in_short(mut self) -> Self {
        for text in [&mut self.ending.reason, &mut self.ending.note, &mut self.ending.log_cut] {
            *text = cut(std::mem::take(text), MOST_KEPT_TEXT);
        }
        self
    }
}

impl View {
    /// Takes the word about what was given up as lost, of a live execution. None: it is about no such attempt.
    pub(super) fn afterwards(
        &mut self,
        lease: LeaseName,
        executor: &ExecutorId,
        report: &Report,
        now: Moment,
    ) -> Option<Reported> {
        let record = &mut self.live.get_mut(&lease.attempt.execution)?.record;
        Some(match record.hear_afterwards(lease, executor, report, now)? {
            Heard::Verdict(verdict) => Reported::Verdict(Vec::new(), verdict),
            Heard::Log { ending, news } => {
                let change = news.then(|| Change::Live(Box::new(record.clone())));
                Reported::Afterwards(change.into_iter().collect(), ending)
            }
        })
    }

    /// The log of an earlier attempt that was lost has come to its end: what the store has to make of it. None: its
    /// execution is not live any more.
    pub fn log_over_afterwards(
        &mut self,
        lease: LeaseName,
        executor: &ExecutorId,
        log: Option<LogEnd<'_>>,
    ) -> Option<Vec<Change>> {
        let record = &mut self.live.get_mut(&lease.attempt.execution)?.record;
        let news = record.log_over_afterwards(lease, executor, log);
        Some(news.then(|| Change::Live(Box::new(record.clone()))).into_iter().collect())
    }
}

fn superseded(why: &str) -> Heard {
    Heard::Verdict(Verdict::Superseded(why.to_owned()))
}
