//! Which executions somebody asks to see.

use super::{Check, executions, time};
use crate::job_queue::{
    record::Step,
    rules::{Span, Wanted},
};
use octavius_protocol::{
    LEAST_ID_PART,
    id::{ExecutionId, TEXT},
    v1,
};

/// The most bytes of a user's name: more than any address has.
pub(crate) const MOST_USER_BYTES: usize = 512;
/// The fewest characters of an id that may stand for it, and all of them.
const PART: std::ops::RangeInclusive<usize> = LEAST_ID_PART..=TEXT;

/// Reads which executions are wanted by the caller of this name.
pub(in crate::grpc) fn wanted(
    request: &v1::ListExecutionsRequest,
    caller: &str,
    check: &mut Check,
) -> Option<Wanted> {
    let v1::ListExecutionsRequest { submitted_by, id_part, mine, .. } = request;
    let job = named(&request.job, |job| check.id("job", job));
    let executor = named(&request.executor, |executor| check.id("executor", executor));
    let states = states(&request.states, check);
    let one = check.demand(submitted_by.is_empty() || !mine, "submitted_by", || {
        "is given beside `mine`, which is the caller's own name: give one of both".to_owned()
    });
    let user = named(if *mine { caller } else { submitted_by }, |user| {
        check.at_most("submitted_by", user, MOST_USER_BYTES).map(|()| user.to_owned())
    });
    let part = named(id_part, |part| self::part(part, check));
    let span = span(request, check);
    one?;
    Some(Wanted {
        job: job?,
        user: user?,
        executor: executor?,
        states: states?,
        span: span?,
        part: part?,
    })
}

/// What is empty wants all; anything else is read.
fn named<T>(text: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() { Some(None) } else { read(text).map(Some) }
}

fn states(states: &[i32], check: &mut Check) -> Option<Vec<Step>> {
    let known = states.iter().enumerate().map(|(index, state)| {
        executions::step(*state).or_else(|| {
            check.wrong(&format!("states[{index}]"), || {
                format!("is {state}, which is no state: give one from 1 to 9")
            })
        })
    });
    let known: Vec<_> = known.collect();
    known.into_iter().collect()
}

fn part(part: &str, check: &mut Check) -> Option<String> {
    let possible = |sign: char| sign.is_ascii_digit() || ('a'..='v').contains(&sign);
    let right = PART.contains(&part.len()) && part.chars().all(possible);
    check.demand(right, "id_part", || {
        format!("is no part of an execution's id: give {LEAST_ID_PART} to {TEXT} characters of `0-9` and `a-v` from its beginning or its end")
    })?;
    Some(part.to_owned())
}

fn span(request: &v1::ListExecutionsRequest, check: &mut Check) -> Option<Span> {
    let mut first = |field: &str, at: Option<prost_types::Timestamp>| match at {
        None => Some(None),
        Some(_) => time::timestamp(field, at, check).map(|at| {
            let milliseconds = u64::try_from(at.as_millisecond()).unwrap_or_default();
            Some(ExecutionId::first_at(milliseconds))
        }),
    };
    let from = first("submitted_after", request.submitted_after);
    let before = first("submitted_before", request.submitted_before);
    let span = Span { from: from?, before: before? };
    check.demand(!span.is_empty(), "submitted_before", || {
        "is not later than `submitted_after`: nothing can lie between".to_owned()
    })?;
    Some(span)
}

#[cfg(test)]
mod tests {
    use super::{super::checked, *};
    use crate::grpc::status::RequestError;

    #[test]
    fn all_that_is_wrong_with_a_wish_is_said_at_once() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let wrong = v1::ListExecutionsRequest {
            job: "No Job".to_owned(),
            submitted_by: "x".repeat(513),
            states: vec![1, 0, 10],
            submitted_after: at(i64::MAX),
            submitted_before: at(5),
            id_part: "short".to_owned(),
            executor: "no/executor".to_owned(),
            ..v1::ListExecutionsRequest::default()
        };
        let refused = checked(|check| wanted(&wrong, "ada", check)).unwrap_err();
        let RequestError::Invalid(violations) = refused else { panic!("not invalid") };
        let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "job",
                "executor",
                "states[1]",
                "states[2]",
                "submitted_by",
                "id_part",
                "submitted_after"
            ]
        );
        let backwards = v1::ListExecutionsRequest {
            submitted_after: at(5),
            submitted_before: at(5),
            ..v1::ListExecutionsRequest::default()
        };
        assert!(checked(|check| wanted(&backwards, "ada", check)).is_err());
        let all = v1::ListExecutionsRequest::default();
        assert_eq!(checked(|check| wanted(&all, "ada", check)).unwrap(), Wanted::default());
    }

    #[test]
    fn ones_own_are_those_of_the_name_that_the_controller_knows_one_by() {
        let mine = v1::ListExecutionsRequest { mine: true, ..Default::default() };
        let found = checked(|check| wanted(&mine, "ada", check)).unwrap();
        assert_eq!(found, Wanted { user: Some("ada".to_owned()), ..Wanted::default() });
        let both = v1::ListExecutionsRequest { submitted_by: "ada".to_owned(), ..mine };
        assert!(checked(|check| wanted(&both, "ada", check)).is_err());
    }
}
