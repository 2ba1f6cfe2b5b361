//! Who leads, and since when: the installation's id, and a term that grows whenever a controller begins to lead.
//!
//! The generation is raised by a restore from a backup alone, the revision by each start. Executors obey the highest
//! that they have seen.

use super::{Commit, ReadError, StoreHandle, Write, Writer, keys};
use bytes::Bytes;
use uuid::Uuid;

/// What a controller that leads is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The installation's id: a UUID. Stays the same for as long as the store is there.
    pub installation: String,
    /// Raised when the store was restored from a backup, to the seconds since 1970 at least. From 1.
    pub generation: u64,
    /// Raised at each start of a controller. From 1.
    pub revision: u64,
}

/// Why a controller cannot begin to lead.
#[derive(Debug, thiserror::Error)]
pub enum TermError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take the new term.
    #[error("the new term could not be stored: {0}")]
    Write(String),
    /// What is in the store is not ours.
    #[error("the store's `{key}` holds `{found}`, not {wanted}: put back a backup")]
    Damaged {
        /// The key.
        key: &'static str,
        /// What it holds.
        found: String,
        /// What it should hold.
        wanted: &'static str,
    },
}

/// The installation's id; none before the first controller led.
pub async fn installation(store: &StoreHandle) -> Result<Option<String>, TermError> {
    let Some(found) = store.get(keys::INSTALLATION).await? else { return Ok(None) };
    let found = text(&found);
    match Uuid::parse_str(&found) {
        Ok(_) => Ok(Some(found)),
        Err(_) => Err(TermError::Damaged { key: keys::INSTALLATION, found, wanted: "a UUID" }),
    }
}

/// Begins to lead: makes the installation's id if there is none, and raises the term's revision. `writer` is the only
/// one that writes the two keys.
pub async fn begin_term(store: &StoreHandle, writer: &Writer) -> Result<Leadership, TermError> {
    let known = installation(store).await?;
    let installation = known.unwrap_or_else(|| Uuid::new_v4().to_string());
    let (generation, revision) = match store.get(keys::TERM).await? {
        None => (1, 0),
        Some(found) => parse_term(&text(&found))?,
    };
    let leadership = Leadership { installation, generation, revision: revision + 1 };
    let term = format!("{} {}", leadership.generation, leadership.revision);
    let id = Bytes::from(leadership.installation.clone());
    let writes = vec![
        Write::Put(keys::INSTALLATION.to_owned(), id),
        Write::Put(keys::TERM.to_owned(), Bytes::from(term)),
    ];
    match writer.commit(writes).await {
        Commit::Done => Ok(leadership),
        Commit::Refused(why) | Commit::Unknown(why) => Err(TermError::Write(why)),
    }
}

/// The term of a store that was put back from a backup which held this one: its generation is higher than that of any
/// controller which led on the store before, also of one that was put back from the same backup. So it is never below
/// the seconds since 1970.
pub(crate) fn raised_generation(found: &[u8], seconds: u64) -> Result<String, TermError> {
    let (generation, revision) = parse_term(&text(found))?;
    Ok(format!("{} {revision}", seconds.max(generation + 1)))
}

fn parse_term(found: &str) -> Result<(u64, u64), TermError> {
    let parts = found.split_once(' ');
    let numbers =
        parts.and_then(|(first, second)| Some((first.parse().ok()?, second.parse().ok()?)));
    numbers.ok_or_else(|| TermError::Damaged {
        key: keys::TERM,
        found: found.to_owned(),
        wanted: "`<generation> <revision>`",
    })
}

fn text(found: &[u8]) -> String {
    String::from_utf8_lossy(found).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_restore_makes_a_generation_of_its_own() {
        assert_eq!(raised_generation(b"1 9", 1_000).unwrap(), "1000 9");
        assert_eq!(raised_generation(b"1 9", 1_060).unwrap(), "1060 9");
        assert_eq!(
            raised_generation(b"1000 9", 1_000).unwrap(),
            "1001 9",
            "the clock was set back"
        );
        assert!(raised_generation(b"one", 1_000).is_err());
    }

    #[test]
    fn a_term_that_is_none_is_named_with_its_key() {
        assert_eq!(parse_term("3 14").ok(), Some((3, 14)));
        for odd in ["", "3", "3 x", "-1 2", "3 14 15"] {
            let text = parse_term(odd).unwrap_err().to_string();
            assert!(text.contains("v1/term") && text.contains(odd), "{text}");
        }
    }
}
