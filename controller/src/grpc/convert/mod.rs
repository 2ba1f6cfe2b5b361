//! Texts and messages into types at the door, and back: all faults of a request at once, each with its field.

pub(super) mod executions;
pub(super) mod executors;
pub(super) mod jobs;
mod time;

use super::status::RequestError;
use crate::registry::{Violations, no_id};
use octavius_protocol::id::Invalid;
use std::str::FromStr;

/// The pages that nobody asked to be of another size.
const USUAL_PAGE: usize = 100;
/// The largest pages.
const LARGEST_PAGE: usize = 1_000;

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

    /// What has to be there.
    pub(super) fn given<T>(&mut self, field: &str, value: Option<T>) -> Option<T> {
        value.or_else(|| self.wrong(field, || "is missing: give it".to_owned()))
    }
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
    use octavius_protocol::id::{ExecutionId, JobName};

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
}
