use super::{
    super::super::{Argument, SecretName},
    *,
};
use jiff::SignedDuration;
use proptest::prelude::*;

fn right() -> JobDefinition {
    JobDefinition {
        name: "hello-friend".to_owned(),
        image_name: "registry.example:5000/hello@sha256:ab".to_owned(),
        arguments: vec![Argument { name: "name".to_owned(), ..Argument::default() }],
        secrets: vec![SecretName { name: "TOKEN".to_owned(), ..SecretName::default() }],
        ..JobDefinition::default()
    }
}

fn fields(definition: &JobDefinition) -> Vec<String> {
    check_definition(definition).into_iter().map(|violation| violation.field).collect()
}

#[test]
fn a_right_definition_has_no_faults() {
    assert_eq!(check_definition(&right()), Vec::new());
    let command = JobDefinition {
        image_name: String::new(),
        command: vec!["echo".to_owned(), String::new()],
        timeout: Some(SignedDuration::from_secs(60)),
        ..right()
    };
    assert_eq!(check_definition(&command), Vec::new());
}

#[test]
fn all_faults_come_at_once() {
    let wrong = JobDefinition {
        name: "Hello_Friend".to_owned(),
        description: "d".repeat(4_097),
        image_name: "two words".to_owned(),
        command: vec![String::new(), "a\0b".to_owned()],
        arguments: vec![
            Argument { name: "LD_PRELOAD".to_owned(), ..Argument::default() },
            Argument {
                name: "token".to_owned(),
                description: "d".repeat(1_025),
                ..Argument::default()
            },
        ],
        secrets: vec![SecretName { name: "token".to_owned(), ..SecretName::default() }],
        authorized_groups: vec![" ".to_owned()],
        author: "a".repeat(1_025),
        timeout: Some(SignedDuration::from_secs(-1)),
        ..JobDefinition::default()
    };
    assert_eq!(
        fields(&wrong),
        [
            "name",
            "image_name",
            "command[0]",
            "command[1]",
            "timeout",
            "description",
            "author",
            "arguments[0].name",
            "arguments[1].description",
            "secrets[0].name",
            "authorized_groups[0]",
        ]
    );
}

#[test]
fn a_job_without_anything_to_run_is_refused() {
    let nothing = JobDefinition { image_name: String::new(), ..right() };
    assert_eq!(fields(&nothing), ["image_name"]);
}

#[test]
fn each_bound_holds_at_its_last_value_and_not_behind_it() {
    type Sized = fn(usize) -> JobDefinition;
    let text = |size: usize| "x".repeat(size);
    let bounds: [(&str, usize, Sized); 5] = [
        ("description", 4_096, |n| JobDefinition { description: "x".repeat(n), ..right() }),
        ("command", 128 * 1024 - 1, |n| JobDefinition { command: vec!["x".repeat(n)], ..right() }),
        ("arguments", 1_000, |n| JobDefinition {
            arguments: (0..n)
                .map(|n| Argument { name: format!("a{n}"), ..Argument::default() })
                .collect(),
            ..right()
        }),
        ("secrets", 100, |n| JobDefinition {
            secrets: (0..n)
                .map(|n| SecretName { name: format!("s{n}"), ..SecretName::default() })
                .collect(),
            ..right()
        }),
        ("authorized_groups", 100, |n| JobDefinition {
            authorized_groups: vec!["group".to_owned(); n],
            ..right()
        }),
    ];
    for (field, most, definition) in bounds {
        assert_eq!(fields(&definition(most)), Vec::<String>::new(), "{field}");
        assert_eq!(fields(&definition(most + 1)), [field]);
    }
    // The whole has a bound of its own: each part of this fits.
    let arguments = (0..1_000).map(|n| Argument {
        name: format!("a{n}"),
        description: text(1_000),
        required: true,
        ..Argument::default()
    });
    let whole = JobDefinition { arguments: arguments.collect(), ..right() };
    assert_eq!(fields(&whole), [""]);
}

proptest! {
    /// A definition passes only if every name in it is legal and stands once, whatever else it holds.
    #[test]
    fn what_passes_has_legal_names_that_stand_once(
        arguments in proptest::collection::vec("[ab1_]{0,2}", 0..4),
        secrets in proptest::collection::vec("[ab1_]{0,2}", 0..3),
    ) {
        let named = |name: &String| Argument { name: name.clone(), ..Argument::default() };
        let secret = |name: &String| SecretName { name: name.clone(), ..SecretName::default() };
        let definition = JobDefinition {
            arguments: arguments.iter().map(named).collect(),
            secrets: secrets.iter().map(secret).collect(),
            ..right()
        };
        let all: Vec<&String> = arguments.iter().chain(&secrets).collect();
        let legal = all.iter().all(|name| name.parse::<VariableName>().is_ok());
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        let expected = legal && distinct.len() == all.len();
        prop_assert_eq!(check_definition(&definition).is_empty(), expected);
    }

    /// Checking never panics, and never says more than an answer holds.
    #[test]
    fn any_definition_gets_an_answer_of_bounded_size(
        name: String, image: String, command: Vec<String>, seconds: i64, nanos in -999_999_999..=999_999_999i32,
    ) {
        let definition = JobDefinition {
            name,
            image_name: image,
            command,
            timeout: Some(SignedDuration::new(seconds.clamp(i64::MIN + 1, i64::MAX - 1), nanos)),
            ..JobDefinition::default()
        };
        prop_assert!(check_definition(&definition).len() <= crate::registry::MOST_NAMED + 1);
    }
}
