//! What was written lately, for who reads it soon after: what was submitted is read again when it is handed out, and while
//! a holder has not named it. An etcd makes each read dear: it copies all writes that it has not yet put into its file.
//!
//! Right for as long as nobody else writes, which the guard of each batch sees to: the actor that finds itself deposed
//! ends, and this with it.

use super::{Range, Write, keys};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};

/// The most bytes of keys and values: 4 MiB, what some thousand executions write.
const MOST_BYTES: usize = 4 << 20;
/// What is larger is read again.
const MOST_OF_ONE: usize = 64 << 10;

/// Values that have landed, the newest of each key.
#[derive(Debug)]
pub(super) struct Recent {
    values: HashMap<String, (u64, Bytes)>,
    /// In the order of their landing; what was written again or deleted since stands here still.
    order: VecDeque<(u64, String)>,
    number: u64,
    bytes: usize,
    most: usize,
}

impl Default for Recent {
    fn default() -> Self {
        Self::holding(MOST_BYTES)
    }
}

impl Recent {
    fn holding(most: usize) -> Self {
        Self { values: HashMap::new(), order: VecDeque::new(), number: 0, bytes: 0, most }
    }

    /// These writes have landed.
    pub(super) fn landed(&mut self, writes: &[Write]) {
        // Whoever reads where the batches are wants to know it of the store.
        for write in writes.iter().filter(|write| write.key() != keys::SEQUENCE) {
            self.forget(write.key());
            if let Write::Put(key, value) = write
                && write.size() <= MOST_OF_ONE
            {
                self.number += 1;
                self.bytes += write.size();
                self.values.insert(key.clone(), (self.number, value.clone()));
                self.order.push_back((self.number, key.clone()));
            }
        }
        // What was written again stands in the order twice: that is bounded, too.
        while self.bytes > self.most || self.order.len() > 2 * self.values.len() + 1024 {
            let Some((number, key)) = self.order.pop_front() else { break };
            if self.values.get(&key).is_some_and(|(last, _)| *last == number) {
                self.forget(&key);
            }
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some((_, value)) = self.values.remove(key) {
            self.bytes -= key.len() + value.len();
        }
    }

    /// What the one key of this range holds, if that was written lately.
    pub(super) fn get(&self, range: &Range) -> Option<&Bytes> {
        let (_, value) = self.values.get(&range.start)?;
        range.is_key().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Write {
        Write::Put(key.to_owned(), Bytes::from(value.to_owned()))
    }

    fn seen(recent: &Recent, key: &str) -> Option<Bytes> {
        recent.get(&Range::key(key)).cloned()
    }

    #[test]
    fn the_newest_value_of_a_key_is_known_until_it_is_deleted() {
        let mut recent = Recent::default();
        recent.landed(&[put("a", "1"), put("b", "2")]);
        recent.landed(&[put("a", "3"), Write::Delete("b".to_owned())]);
        assert_eq!(seen(&recent, "a"), Some(Bytes::from("3")));
        assert_eq!(seen(&recent, "b"), None);
        assert_eq!(recent.get(&Range::prefix("a", 1)), None, "only the store knows a whole range");
        recent.landed(&[Write::Delete("a".to_owned())]);
        assert_eq!((recent.bytes, recent.values.len()), (0, 0));
    }

    #[test]
    fn what_is_held_stays_within_its_bound_whatever_is_written() {
        let mut recent = Recent::holding(100);
        for number in 0..10_000 {
            recent.landed(&[put(&format!("{:02}", number % 60), "12345678")]);
            assert!(recent.bytes <= 100 && recent.order.len() <= 2 * 10 + 1026);
        }
        assert_eq!(recent.values.len(), 10);
        assert!(seen(&recent, "39").is_some(), "the last that was written is 9999 % 60 = 39");
        recent.landed(&[put("large", &"x".repeat(MOST_OF_ONE))]);
        assert_eq!(seen(&recent, "large"), None);
    }
}
