//! What the rows say is what the code does.

use super::*;
use crate::{
    access::{
        AccessError,
        issuer::{NotIssued, Wrong},
    },
    grpc::{door::DoorError, pace::TooFast, status::RequestError},
    job_queue::{QueueError, SubmitError},
    liveness::rules::RegisterRefused,
    registry::{ChangeError, JobDefinition, rules::check_definition},
    secrets::SecretError,
};
use octavius_service::actor::Unanswered;
use tonic::Status;

fn row(what: &str) -> Limit {
    let all = limits().into_iter().flat_map(|section| section.limits);
    all.into_iter().find(|limit| limit.what == what).unwrap_or_else(|| panic!("no {what}"))
}

fn number(limit: &Limit) -> usize {
    match limit.most {
        Amount::Count(n) | Amount::Bytes(n) | Amount::Characters(n) => usize::try_from(n).unwrap(),
        Amount::Key => 7, // whatever an administrator says
        other => panic!("{} is {other:?}", limit.what),
    }
}

/// Whether `text` has the words of a row, in their order.
fn says(limit: &Limit, text: &str) -> bool {
    let words = limit.beyond.words().unwrap().replace("{}", &number(limit).to_string());
    let mut rest = Some(text);
    for piece in words.split('…') {
        rest = rest.and_then(|text| text.split_once(piece.trim()).map(|(_, rest)| rest));
    }
    rest.is_some()
}

fn issued(why: NotIssued) -> Status {
    DoorError::from(why).into()
}

#[test]
fn a_bound_is_refused_with_the_status_and_the_words_of_its_row() {
    let name = || "hello".parse().unwrap();
    let limit = |what| number(&row(what));
    let kib =
        u32::try_from(limit("Arguments that are being accepted, of all callers") >> 10).unwrap();
    type Refuse = Box<dyn Fn(usize) -> Status>;
    let refused: Vec<(&str, Refuse)> = vec![
        ("Jobs of a controller", Box::new(|limit| ChangeError::Full { limit }.into())),
        (
            "Executions that wait for an executor",
            Box::new(|limit| SubmitError::Full { limit }.into()),
        ),
        (
            "Those of one team; those of jobs without a team are one, too",
            Box::new(|limit| SubmitError::TeamFull { team: "blue".into(), limit }.into()),
        ),
        (
            "Arguments that are being accepted, of all callers",
            Box::new(move |_| SubmitError::TooMuch { limit: kib }.into()),
        ),
        ("Calls that wait for an end", Box::new(|limit| QueueError::Parked { limit }.into())),
        (
            "Calls for work that are parked, of one session",
            Box::new(|limit| QueueError::ParkedOfOne { limit }.into()),
        ),
        (
            "Secrets of a job that are set",
            Box::new(move |limit| SecretError::Full { job: name(), limit }.into()),
        ),
        (
            "Former values of secrets of a job that are kept for its executions",
            Box::new(move |limit| SecretError::Replaced { job: name(), limit }.into()),
        ),
        (
            "Tokens of people and for joining",
            Box::new(|limit| AccessError::Full { what: "tokens", limit }.into()),
        ),
        (
            "Roles that are given",
            Box::new(|limit| AccessError::Full { what: "roles", limit }.into()),
        ),
        (
            "Executors that have joined with one service account",
            Box::new(|limit| {
                AccessError::Full { what: "executors of this service account", limit }.into()
            }),
        ),
        ("An identity token", Box::new(|limit| issued(NotIssued::Large { size: limit + 1 }))),
        (
            "Groups of an identity token",
            Box::new(|_| issued(NotIssued::Claim { claim: "groups".into(), what: Wrong::Many })),
        ),
        (
            "Calls that wait for that",
            Box::new(|_| issued(NotIssued::Away { issuer: String::new(), why: String::new() })),
        ),
        ("Backups", Box::new(|limit| RequestError::Backups { limit }.into())),
        ("Readers of logs", Box::new(|limit| RequestError::Followers { limit }.into())),
        ("A message", Box::new(|limit| RequestError::TooLarge { size: limit + 1, limit }.into())),
        (
            "Requests that were received and not read yet, of all callers",
            Box::new(|limit| RequestError::Bytes { limit }.into()),
        ),
        (
            "Calls that are not answered yet, of all callers",
            Box::new(|limit| RequestError::Calls { limit }.into()),
        ),
        (
            "Calls of one person in a second, with `authentication: tokens`; five times as many come at once",
            Box::new(|limit| {
                TooFast { caller: "ada@example.com".to_owned(), limit: limit as u64 }.into()
            }),
        ),
        (
            "Executors of a controller",
            Box::new(|limit| {
                crate::liveness::RegisterError::Refused(RegisterRefused::Full { limit }).into()
            }),
        ),
        (
            "Signs of life that are not answered yet",
            Box::new(|limit| {
                QueueError::Unanswered(Unanswered::Full { actor: "LivenessWatcher", limit }).into()
            }),
        ),
    ];
    for (what, refuse) in refused {
        let row = row(what);
        let status = refuse(number(&row));
        let Refused(wanted, _) = row.beyond else { panic!("{what} is not refused") };
        assert_eq!(octavius_protocol::code_name(status.code()), wanted, "{what}");
        assert!(says(&row, status.message()), "{what}: {}", status.message());
    }
}

fn job() -> JobDefinition {
    JobDefinition {
        name: "a".to_owned(),
        command: vec!["a".to_owned()],
        ..JobDefinition::default()
    }
}

#[test]
fn a_definition_at_a_bound_is_taken_and_one_beyond_it_is_refused_in_the_words_of_its_row() {
    type Large = fn(usize) -> JobDefinition;
    let large: [(&str, Large); 9] = [
        ("A job's name", |n| JobDefinition { name: "a".repeat(n), ..job() }),
        ("`description`", |n| JobDefinition { description: "x".repeat(n), ..job() }),
        ("Any other text for people", |n| JobDefinition { author: "x".repeat(n), ..job() }),
        ("`image_name`", |n| JobDefinition { image_name: "x".repeat(n), ..job() }),
        ("`command`, with a NUL behind each word", |n| JobDefinition {
            command: vec!["x".repeat(n - 1)],
            ..job()
        }),
        ("`authorized_groups`", |n| JobDefinition {
            authorized_groups: vec!["x".to_owned(); n],
            ..job()
        }),
        ("The name of a group", |n| JobDefinition {
            authorized_groups: vec!["x".repeat(n)],
            ..job()
        }),
        (
            "Labels of an executor, of a job's `executor_selector`, and of `execute --on`, each",
            |n| JobDefinition {
                executor_selector: (0..n).map(|n| (n.to_string(), String::new())).collect(),
                ..job()
            },
        ),
        ("`kubernetes`, as JSON", |n| JobDefinition {
            kubernetes: format!("{{{}}}", " ".repeat(n - 2)),
            ..job()
        }),
    ];
    for (what, large) in large {
        let row = row(what);
        assert_eq!(check_definition(&large(number(&row))), [], "{what}");
        let faults = check_definition(&large(number(&row) + 1));
        assert_eq!(faults.len(), 1, "{what}: {faults:?}");
        assert!(says(&row, &faults[0].description), "{what}: {faults:?}");
    }
}
