//! Masking: no value of a secret leaves the executor in a log or in words.
//!
//! A [`Masker`] knows the values of one attempt, those of its secret arguments among them, and writes `[masked]` in their
//! place wherever it finds one of at least eight bytes, or a line of at least so many of one that has several: as it is, in
//! base64 of any alignment and alphabet, escaped as in a URL or in JSON, or both. A shorter value is left alone.
//!
//! It works on the way to the controller ([`Masker::follow`]): what a runner keeps is what the program wrote. The log that
//! the controller gets, its offsets, size and checksum count what was masked. Whoever stops reading may go on in another
//! process: what that takes stands in the cursor ([`place`]), and of a log in which nothing was masked yet it is
//! the runner's own.
//!
//! What is at the end of a log so far, and may become a form of a value, is held back until more comes, or the end: a value
//! that a program writes in two halves, an hour apart, is not shown. That is a byte or two of most texts that are
//! held back at all, and where a prompt ends in the first letter of a password it lacks that letter.

mod escapes;
mod follow;
mod forms;
mod place;
mod scan;

pub(crate) use follow::LogEnd;
pub(crate) use place::is_over;

use octavius_protocol::secret::SecretValues;
use scan::{Finder, Found};
use std::{fmt, sync::Arc};

/// What stands in the place of a value. No form of a value is shorter, so that no log grows by it.
pub(crate) const MASK: &str = "[masked]";

/// What is longer is looked through apart from the threads that do everything else.
const SHORT: usize = 16 << 10;

/// Knows values, and finds them. No `Debug` shows them, and their memory is wiped when they are dropped.
#[derive(Clone)]
pub(crate) struct Masker(Arc<Finder>);

impl Masker {
    /// One that knows these values.
    pub(crate) fn of(secrets: &SecretValues) -> Self {
        Self(Arc::new(Finder::of(secrets.expose().map(|(_, value)| value))))
    }

    /// Whether there is nothing to mask.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// A text in which each value is masked.
    pub(crate) fn text(&self, text: String) -> String {
        let found = self.0.find(text.as_bytes(), true).places;
        if found.is_empty() {
            return text;
        }
        let (mut masked, mut from) = (Vec::with_capacity(text.len()), 0);
        for place in found {
            masked.extend_from_slice(&text.as_bytes()[from..place.start]);
            masked.extend_from_slice(MASK.as_bytes());
            from = place.end;
        }
        masked.extend_from_slice(&text.as_bytes()[from..]);
        String::from_utf8_lossy(&masked).into_owned()
    }

    /// What is found in a text, which may be long.
    async fn find(&self, text: bytes::Bytes, is_end: bool) -> Result<Found, std::io::Error> {
        if text.len() <= SHORT {
            return Ok(self.0.find(&text, is_end));
        }
        let finder = self.0.clone();
        let looking = tokio::task::spawn_blocking(move || finder.find(&text, is_end));
        looking.await.map_err(std::io::Error::other)
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("is_idle", &self.is_idle()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_masked_and_nobody_shows_a_masker() {
        let mut secrets = SecretValues::default();
        secrets.insert("TOKEN", "planted-ä-secret");
        secrets.insert("SHORT", "1234567");
        let masker = Masker::of(&secrets);
        let words =
            "no such image: x/planted-ä-secret:1234567 (planted%2D%C3%a4-secret)".to_owned();
        assert_eq!(masker.text(words), "no such image: x/[masked]:1234567 ([masked])");
        assert_eq!(masker.text("nothing".to_owned()), "nothing");
        assert!(!masker.is_idle() && !format!("{masker:?}").contains("planted"));
        secrets = SecretValues::default();
        secrets.insert("SHORT", "1234567");
        assert!(Masker::of(&secrets).is_idle());
    }
}
