//! Who is let in: a bound for each actor, with room kept for the calls that empty it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// What a call is for. A flood of one kind leaves room for the kinds above it: reports free the queue, so that they
/// are refused last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Looks at something; may take half of the places.
    Read,
    /// Asks for something new; may take three quarters.
    Submit,
    /// Asks for work; may take seven eighths.
    Poll,
    /// Ends something, or says what became of it; may take all.
    Report,
}

impl Priority {
    fn share(self, places: usize) -> usize {
        let share = match self {
            Self::Read => places / 2,
            Self::Submit => places * 3 / 4,
            Self::Poll => places * 7 / 8,
            Self::Report => places,
        };
        share.max(1)
    }
}

/// What is seen of an actor from outside: whether it is up, who waits, how often it began again.
#[derive(Debug)]
pub struct Vitals {
    name: &'static str,
    began: Instant,
    /// When each call at work came, in nanoseconds since `began`, plus one; 0 where the place is free.
    places: Box<[AtomicU64]>,
    taken: AtomicUsize,
    next: AtomicUsize,
    up: AtomicBool,
}

impl Vitals {
    pub(super) fn new(name: &'static str, places: usize) -> Self {
        Self {
            name,
            began: Instant::now(),
            places: (0..places.max(1)).map(|_| AtomicU64::new(0)).collect(),
            taken: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            up: AtomicBool::new(false),
        }
    }

    /// The actor's name, as metrics and errors call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the actor serves.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Relaxed);
    }

    /// How many calls are queued or at work.
    pub fn waiting(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// The most calls that are let in.
    pub fn limit(&self) -> usize {
        self.places.len()
    }

    /// How long the oldest call has been here; zero where there is none.
    pub fn oldest(&self) -> Duration {
        let now = self.now();
        let came = self.places.iter().map(|place| place.load(Relaxed)).filter(|came| *came != 0);
        came.min().map_or(Duration::ZERO, |came| Duration::from_nanos(now.saturating_sub(came)))
    }

    fn now(&self) -> u64 {
        // 584 years of nanoseconds fit.
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1
    }

    /// A place for one call, until it is dropped; none where `priority`'s share is taken.
    pub(super) fn admit(self: &Arc<Self>, priority: Priority) -> Option<Place> {
        let most = priority.share(self.places.len());
        let room = |taken: usize| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, room).ok()?;
        let now = self.now();
        loop {
            // Some place is free: `taken` counts, and only who was counted looks.
            let index = self.next.fetch_add(1, Relaxed) % self.places.len();
            if self.places[index].compare_exchange(0, now, Relaxed, Relaxed).is_ok() {
                return Some(Place { vitals: self.clone(), index });
            }
        }
    }
}

/// One call's place.
#[derive(Debug)]
pub(super) struct Place {
    vitals: Arc<Vitals>,
    index: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.vitals.places[self.index].store(0, Relaxed);
        self.vitals.taken.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_reads_leaves_room_for_reports() {
        let vitals = Arc::new(Vitals::new("queue", 8));
        let reads: Vec<_> = (0..20).filter_map(|_| vitals.admit(Priority::Read)).collect();
        let submits: Vec<_> = (0..20).filter_map(|_| vitals.admit(Priority::Submit)).collect();
        let polls: Vec<_> = (0..20).filter_map(|_| vitals.admit(Priority::Poll)).collect();
        let reports: Vec<_> = (0..20).filter_map(|_| vitals.admit(Priority::Report)).collect();
        assert_eq!([reads.len(), submits.len(), polls.len(), reports.len()], [4, 2, 1, 1]);
        assert_eq!(vitals.waiting(), 8);
        drop((reads, submits, polls, reports));
        assert_eq!(vitals.waiting(), 0);
        assert!(vitals.admit(Priority::Read).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_of_the_oldest_is_that_of_the_oldest() {
        let vitals = Arc::new(Vitals::new("queue", 4));
        assert_eq!(vitals.oldest(), Duration::ZERO);
        let first = vitals.admit(Priority::Report);
        tokio::time::advance(Duration::from_secs(3)).await;
        let second = vitals.admit(Priority::Report);
        assert_eq!(vitals.oldest().as_secs(), 3);
        drop(first);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(vitals.oldest().as_secs(), 1);
        drop(second);
    }
}
