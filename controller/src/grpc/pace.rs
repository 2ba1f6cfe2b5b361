//! How fast each person may call: nobody takes the controller's time from all others by asking without a pause.
//!
//! A bucket for each name, whatever tokens its owner has: it holds the calls of [`AT_ONCE`], and is filled evenly. One
//! number says when it will be full again, so that a call costs one exchange of it, and who has not called for so long is
//! as one who never has. Not here: executors, whose calls have bounds of their own, and who has proven nothing, because all
//! of those would be one.

use crate::caller::{Caller, Proof};
use quick_cache::sync::Cache;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{AcqRel, Acquire},
        },
    },
    time::Duration,
};
use tokio::time::Instant;

/// So long a time's calls may come at once.
const AT_ONCE: Duration = Duration::from_secs(5);
/// Of how many people it is known at a time; there are fewer tokens.
const MOST_PEOPLE: usize = 16_384;

/// Somebody calls too fast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{caller} makes more than {limit} calls a second, the most of one person: call less often, or try again in a moment"
)]
pub(crate) struct TooFast {
    /// Who.
    pub(crate) caller: String,
    /// The bound.
    pub(crate) limit: u64,
}

/// How fast people call.
#[derive(Debug)]
pub struct Pace {
    limit: u64,
    began: Instant,
    /// When the bucket of each will be full, in nanoseconds after it began.
    full_at: Cache<String, Arc<AtomicU64>>,
}

impl Pace {
    /// So many calls a second of each.
    pub fn new(limit: u64) -> Self {
        Self { limit: limit.max(1), began: Instant::now(), full_at: Cache::new(MOST_PEOPLE) }
    }

    /// Counts one more call, if there may be one more.
    pub(crate) fn keep(&self, caller: &Caller) -> Result<(), TooFast> {
        match caller.proof() {
            Proof::Person(..) | Proof::Issued(..) => {}
            Proof::None | Proof::Join(_) | Proof::ServiceAccount(..) | Proof::Executor(..) => {
                return Ok(());
            }
        }
        let made =
            self.full_at.get_or_insert_with(caller.name(), || Ok::<_, Infallible>(Arc::default()));
        let Ok(full_at) = made;
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (now, each) = (nanos(self.began.elapsed()), nanos(Duration::from_secs(1)) / self.limit);
        let counted = full_at.fetch_update(AcqRel, Acquire, |full_at| {
            let full_at = full_at.max(now).saturating_add(each);
            (full_at <= now.saturating_add(nanos(AT_ONCE))).then_some(full_at)
        });
        match counted {
            Ok(_) => Ok(()),
            Err(_) => Err(TooFast { caller: caller.name().to_owned(), limit: self.limit }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rules::Rights;

    fn person(name: &str, token: &str) -> Caller {
        let proof = Proof::Person(token.parse().unwrap(), Rights::default());
        Caller::proven(name, Vec::new(), proof)
    }

    fn made(pace: &Pace, caller: &Caller) -> usize {
        (0..1_000).take_while(|_| pace.keep(caller).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn who_calls_without_a_pause_is_bounded_and_nobody_else_is() {
        let pace = Pace::new(20);
        let ada = person("ada", "0123456789abcdef");
        assert_eq!(made(&pace, &ada), 100);
        // With another token it is still she.
        let refused = pace.keep(&person("ada", "fedcba9876543210")).unwrap_err();
        assert_eq!(refused, TooFast { caller: "ada".to_owned(), limit: 20 });
        assert_eq!(made(&pace, &person("bob", "0123456789abcdef")), 100);
        assert_eq!(made(&pace, &Caller::new("ada", Vec::new())), 1_000, "nothing is proven");
        for (passed, more) in [(49, 0), (1, 1), (500, 10), (1_000, 20), (60_000, 100)] {
            tokio::time::advance(Duration::from_millis(passed)).await;
            assert_eq!(made(&pace, &ada), more, "after {passed} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_is_bounded() {
        let pace = Pace::new(20);
        for number in 0..10 * MOST_PEOPLE {
            pace.keep(&person(&number.to_string(), "0123456789abcdef")).unwrap();
        }
        // It is kept in several parts, each of which rounds up.
        assert!(pace.full_at.len() <= 2 * MOST_PEOPLE, "{}", pace.full_at.len());
    }
}
