//! Texts and messages into types at the door, and back: all faults of a request at once, each with its field.

pub(crate) mod access;
pub(super) mod audit;
pub(crate) mod executions;
pub(crate) mod executors;
pub(super) mod jobs;
pub(crate) mod listing;
pub(super) mod secrets;
mod time;

use super::status::RequestError;
use crate::{
    limits::{LARGEST_PAGE, LARGEST_PAGE_BYTES},
    registry::{Violations, no_id},
};
use octavius_protocol::id::Invalid;
use prost::Message;
use std::str::FromStr;

/// The pages that nobody asked to be of another size.
pub(crate) const USUAL_PAGE: usize = 100;

/// Gathers what is wrong with a request.
#[derive(Debug, Default)]
pub(super) struct Check {
    violations: Violations,
}

/// What `read` makes of a request, or everything that is wrong with it. `read` notes a fault wherever it has no value.
pub(super) fn checked<T>(read: impl FnOnce(&mut Check) -> Option<T>) -> Result<T, RequestError> {
    let mut check = Check::default();
    let value = read(&mut check);
    let violations = check.violations.into_vec();
    match value {
        Some(value) if violations.is_empty() => Ok(value),
        Some(_) | None => Err(RequestError::Invalid(violations)),
    }
}

impl Check {
    /// The id that `text` is.
    pub(super) fn id<T: FromStr<Err = Invalid>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(id) => Some(id),
            Err(invalid) => self.wrong(field, || no_id(text, &invalid)),
        }
    }

    /// Notes that `field` is wrong.
    pub(super) fn wrong<T>(&mut self, field: &str, describe: impl FnOnce() -> String) -> Option<T> {
        self.violations.add(field, describe);
        None
    }

    /// Notes it where `holds` is false.
    pub(super) fn demand(
        &mut self,
        holds: bool,
        field: &str,
        describe: impl FnOnce() -> String,
    ) -> Option<()> {
        if holds { Some(()) } else { self.wrong(field, describe) }
    }

    /// Notes it where a text is too long.
    pub(super) fn at_most(&mut self, field: &str, text: &str, most: usize) -> Option<()> {
        let size = text.len();
        self.demand(size <= most, field, || {
            format!("has {size} bytes, and at most {most} are taken: shorten it")
        })
    }

    /// A name of something that may or may not be there: whoever names nothing has forgotten it.
    pub(super) fn named(&mut self, field: &str, name: &str) -> Option<()> {
        self.demand(!name.is_empty(), field, || "is missing: give it".to_owned())
    }

    /// What has to be there.
    pub(super) fn given<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        value.or_else(|| self.wrong(field, || "is missing: give it".to_owned()))
    }
}

/// A page that fits into a message, and the token of the next one. `token` is the page's own; one that is cut goes on
/// behind its last entry, whose id `id` tells. A page has an entry at least, or else it would be asked for for ever.
pub(super) fn fitting<T: Message>(
    mut entries: Vec<T>,
    token: String,
    id: impl FnOnce(&T) -> String,
) -> (Vec<T>, String) {
    let mut size = 0;
    let fits = entries.iter().take_while(|entry| {
        size += entry.encoded_len();
        size <= LARGEST_PAGE_BYTES
    });
    let fit = fits.count().max(1);
    if fit >= entries.len() {
        return (entries, token);
    }
    entries.truncate(fit);
    let token = entries.last().map_or(token, id);
    (entries, token)
}

/// The same for entries that do not tell where the next page begins: `tokens` has that for each of them.
pub(super) fn fitting_by<T: Message>(
    entries: Vec<T>,
    token: String,
    mut tokens: Vec<String>,
) -> (Vec<T>, String) {
    let count = entries.len();
    let (entries, token) = fitting(entries, token, |_| String::new());
    let token = match entries.len() {
        fit if fit < count => tokens.swap_remove(fit - 1),
        _ => token,
    };
    (entries, token)
}

/// How many entries a page has.
pub(super) fn page_size(wanted: u32) -> usize {
    match wanted as usize {
        0 => USUAL_PAGE,
        wanted => wanted.min(LARGEST_PAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_protocol::{
        id::{ExecutionId, JobName},
        v1,
    };

    #[test]
    fn all_faults_are_gathered_and_one_is_enough_to_refuse() {
        let refused = checked(|check| {
            let job = check.id::<JobName>("job", "No Job");
            let id = check.id::<ExecutionId>("id", "x");
            check.at_most("request_id", "longer", 3);
            job.zip(id)
        });
        let RequestError::Invalid(violations) = refused.unwrap_err() else { panic!("not invalid") };
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["job", "id", "request_id"]);
        let fault_beside_a_value = checked(|check| {
            check.at_most("request_id", "longer", 3);
            Some(1)
        });
        assert!(fault_beside_a_value.is_err());
        assert!(checked(|check| check.id::<JobName>("job", "hello")).is_ok());
    }

    #[test]
    fn pages_are_bounded() {
        assert_eq!([0, 1, 1_000, u32::MAX].map(page_size), [100, 1, 1_000, 1_000]);
    }

    #[test]
    fn a_page_that_fits_into_no_message_is_cut_and_the_next_one_begins_there() {
        let page = |sizes: &[usize]| {
            let execution = |(index, size): (usize, &usize)| v1::Execution {
                id: index.to_string(),
                reason: "x".repeat(*size),
                ..v1::Execution::default()
            };
            let page = sizes.iter().enumerate().map(execution).collect();
            let (page, next) = fitting(page, "its own".to_owned(), |last| last.id.clone());
            (page.len(), next)
        };
        assert_eq!(page(&[]), (0, "its own".to_owned()));
        assert_eq!(page(&[100; 1_000]), (1_000, "its own".to_owned()));
        assert_eq!(page(&[8 << 10; 1_000]), (127, "126".to_owned()));
        assert_eq!(page(&[6 << 20, 1]), (1, "0".to_owned()), "none would be asked for for ever");
        assert_eq!(page(&[6 << 20]), (1, "its own".to_owned()));
    }
}
