//! Whether the values of an execution are what its job wants.

use super::{
    super::{Argument, JobDefinition, Violation, Violations, order::MOST_KEY_BYTES, quoted},
    nearest,
    value::Rules,
};
use octavius_protocol::{MAX_ARGUMENTS, MAX_VARIABLE, id::VariableName};
use std::collections::{BTreeMap, BTreeSet};

/// All that is wrong with `arguments` for this job; nothing where they fit. Those that are not kept were given once, and
/// have to be given again.
pub fn check_arguments(
    definition: &JobDefinition,
    arguments: &BTreeMap<String, String>,
    not_kept: &BTreeSet<VariableName>,
) -> Vec<Violation> {
    let mut violations = Violations::default();
    let known: BTreeMap<&str, &Argument> =
        definition.arguments.iter().map(|one| (one.name.as_str(), one)).collect();
    for argument in &definition.arguments {
        let missing = !arguments.contains_key(&argument.name);
        let is_lost = not_kept.iter().any(|name| name.as_str() == argument.name);
        violations.add_if(missing && is_lost, field(&argument.name), || {
            format!("is secret, and what was given once is not kept: add `{}=VALUE`", argument.name)
        });
        violations.add_if(missing && argument.required && !is_lost, field(&argument.name), || {
            format!("is required and missing: add `{}=VALUE`", argument.name)
        });
    }
    for (name, value) in arguments {
        let Some(argument) = known.get(name.as_str()) else {
            violations.add(field(name), || unknown(definition, &known, name));
            continue;
        };
        let size = name.len() + 1 + value.len();
        if value.contains('\0') {
            violations.add(field(name), || {
                "holds a NUL character, which no environment variable can: take it out".to_owned()
            });
        } else if size > MAX_VARIABLE {
            violations.add(field(name), || {
                format!(
                    "has {size} bytes with its name, and an environment variable holds at most {MAX_VARIABLE}: pass a place where the job finds the value"
                )
            });
        } else if let Err(why) = Rules::of(argument).and_then(|rules| rules.check(value)) {
            violations.add(field(name), || why);
        }
    }
    for name in &definition.concurrency_key {
        let Some(value) = arguments.get(name).filter(|value| value.len() > MOST_KEY_BYTES) else {
            continue;
        };
        violations.add(field(name), || {
            format!(
                "has {} bytes, and is in the job's `concurrency_key`, which takes at most {MOST_KEY_BYTES} of each: shorten it",
                value.len()
            )
        });
    }
    let given = arguments.iter().map(|(name, value)| name.len() + value.len());
    let defaults = definition.arguments.iter().filter(|one| !arguments.contains_key(&one.name));
    let defaults = defaults.filter_map(|one| Some(one.name.len() + one.default.as_ref()?.len()));
    let all: usize = given.chain(defaults).sum();
    violations.add_if(all > MAX_ARGUMENTS, "arguments", || {
        format!(
            "have {all} bytes together, and at most {MAX_ARGUMENTS} are taken: pass places where the job finds the values"
        )
    });
    violations.into_vec()
}

fn unknown(definition: &JobDefinition, known: &BTreeMap<&str, &Argument>, name: &str) -> String {
    if definition.secrets.iter().any(|secret| secret.name == name) {
        return "is a secret of this job, and secrets are not given as arguments: leave it out"
            .to_owned();
    }
    match nearest(name, known.keys().copied()) {
        Some(near) => format!("is no argument of this job: did you mean `{near}`?"),
        None if known.is_empty() => "is given, but the job takes no arguments".to_owned(),
        None => {
            let some: Vec<_> = known.keys().take(10).map(|name| format!("`{name}`")).collect();
            let more = if known.len() > some.len() { ", …" } else { "" };
            format!("is no argument of this job, which takes {}{more}", some.join(", "))
        }
    }
}

/// The path of an argument's value in a request.
fn field(name: &str) -> String {
    let short = quoted(name);
    format!("arguments.{}", short.trim_matches('`'))
}

#[cfg(test)]
mod tests {
    use super::{super::super::ArgumentType, *};
    use proptest::prelude::*;

    fn job(arguments: &[(&str, bool)]) -> JobDefinition {
        let argument = |(name, required): &(&str, bool)| Argument {
            name: (*name).to_owned(),
            required: *required,
            ..Argument::default()
        };
        JobDefinition {
            arguments: arguments.iter().map(argument).collect(),
            ..JobDefinition::default()
        }
    }

    fn values(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn check(arguments: &[(&str, bool)], given: &[(&str, &str)]) -> Vec<String> {
        let found = check_arguments(&job(arguments), &values(given), &BTreeSet::new());
        found.into_iter().map(|one| format!("{}: {}", one.field, one.description)).collect()
    }

    #[test]
    fn all_faults_come_at_once_and_a_slip_is_named() {
        let found = check(
            &[("name", true), ("surname", true), ("title", false)],
            &[("nmae", "Ada"), ("title", "a\0b")],
        );
        assert_eq!(
            found,
            [
                "arguments.name: is required and missing: add `name=VALUE`",
                "arguments.surname: is required and missing: add `surname=VALUE`",
                "arguments.nmae: is no argument of this job: did you mean `name`?",
                "arguments.title: holds a NUL character, which no environment variable can: take it out",
            ]
        );
    }

    #[test]
    fn what_was_given_once_and_is_not_kept_has_to_be_given_again() {
        let not_kept = ["key", "pin", "gone"].map(|name| name.parse().unwrap()).into();
        let definition = job(&[("key", true), ("pin", false), ("name", true)]);
        let found = check_arguments(&definition, &values(&[("pin", "1234")]), &not_kept);
        let found: Vec<_> =
            found.iter().map(|one| format!("{}: {}", one.field, one.description)).collect();
        assert_eq!(
            found,
            [
                "arguments.key: is secret, and what was given once is not kept: add `key=VALUE`",
                "arguments.name: is required and missing: add `name=VALUE`",
            ]
        );
        let found = check_arguments(&definition, &values(&[("name", "Ada")]), &not_kept);
        let fields: Vec<_> = found.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["arguments.key", "arguments.pin"], "also where it is not required");
    }

    #[test]
    fn a_secret_given_as_an_argument_is_called_one() {
        let mut definition = job(&[]);
        definition.secrets.push(super::super::super::SecretName {
            name: "TOKEN".to_owned(),
            ..Default::default()
        });
        let found = check_arguments(&definition, &values(&[("TOKEN", "x")]), &BTreeSet::new());
        assert!(found[0].description.contains("is a secret"), "{found:?}");
    }

    #[test]
    fn the_largest_value_fits_and_one_byte_more_does_not() {
        let room = MAX_VARIABLE - "a=".len();
        assert_eq!(check(&[("a", true)], &[("a", &"x".repeat(room))]), Vec::<String>::new());
        let found = check(&[("a", true)], &[("a", &"x".repeat(room + 1))]);
        assert!(found[0].contains("131072 bytes") && found[0].contains("131071"), "{found:?}");
    }

    #[test]
    fn values_are_of_their_types_and_all_faults_are_told() {
        let typed =
            |name: &str, kind| Argument { name: name.to_owned(), kind, ..Argument::default() };
        let definition = JobDefinition {
            arguments: vec![
                typed("count", ArgumentType::Int),
                typed("dry_run", ArgumentType::Bool),
                Argument { default: Some("0.5".to_owned()), ..typed("share", ArgumentType::Float) },
            ],
            ..JobDefinition::default()
        };
        assert_eq!(
            check_arguments(&definition, &values(&[("count", "3")]), &BTreeSet::new()),
            Vec::new()
        );
        let given = values(&[("count", "three"), ("dry_run", "True"), ("share", "half")]);
        let found: Vec<_> = check_arguments(&definition, &given, &BTreeSet::new())
            .into_iter()
            .map(|one| one.field)
            .collect();
        assert_eq!(found, ["arguments.count", "arguments.dry_run", "arguments.share"]);
    }

    #[test]
    fn defaults_count_among_all_values() {
        let large = |n| Argument {
            name: format!("a{n}"),
            default: Some("x".repeat(MAX_ARGUMENTS / 5)),
            ..Argument::default()
        };
        let definition =
            JobDefinition { arguments: (0..5).map(large).collect(), ..JobDefinition::default() };
        let found = check_arguments(&definition, &BTreeMap::new(), &BTreeSet::new());
        assert!(found.len() == 1 && found[0].field == "arguments", "{found:?}");
        let given = values(&[("a0", "x")]);
        assert_eq!(check_arguments(&definition, &given, &BTreeSet::new()), Vec::new());
    }

    #[test]
    fn all_values_together_are_bounded() {
        let names: Vec<String> = (0..5).map(|n| format!("a{n}")).collect();
        let declared: Vec<_> = names.iter().map(|name| (name.as_str(), true)).collect();
        let value = "x".repeat(MAX_ARGUMENTS / 5);
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        let found = check(&declared, &given);
        assert!(found.len() == 1 && found[0].contains("524288 are taken"), "{found:?}");
    }

    #[test]
    fn a_flood_of_wrong_names_is_answered_briefly() {
        let given: Vec<String> = (0..100_000).map(|n| format!("wrong{n}")).collect();
        let given = given.into_iter().map(|name| (name, String::new())).collect();
        let found = check_arguments(&job(&[("name", false)]), &given, &BTreeSet::new());
        assert_eq!(found.len(), 21);
        // The sum of their sizes is a fault, too.
        assert_eq!(found[20].description, "and 99981 more faults");
    }

    proptest! {
        /// What passes can be started: every name is declared, everything required is there, and each pair fits
        /// into an environment variable. What does not pass violates one of these.
        #[test]
        fn what_passes_can_be_started_and_the_rest_cannot(
            declared in proptest::collection::btree_map("[a-d]", any::<bool>(), 0..4),
            given in proptest::collection::btree_map("[a-e]", "[x\0]{0,3}", 0..4),
        ) {
            let pairs: Vec<_> = declared.iter().map(|(name, must)| (name.as_str(), *must)).collect();
            let passes = check_arguments(&job(&pairs), &given, &BTreeSet::new()).is_empty();
            let right = given.iter().all(|(name, value)| {
                declared.contains_key(name) && !value.contains('\0')
            }) && declared.iter().all(|(name, must)| !must || given.contains_key(name));
            prop_assert_eq!(passes, right);
        }
    }
}
