//! Whether what a definition says of an argument's values makes sense.

use super::{
    super::{Argument, ArgumentType, Violations, quoted},
    definition::{MOST_GROUPS, check_group},
    value::{Rules, number},
};
use octavius_protocol::MAX_VARIABLE;
use std::{cmp::Ordering, collections::BTreeSet};

/// The most values that an argument allows.
pub(crate) const MOST_ALLOWED: usize = 100;
/// The most bytes of one of them, of a pattern and of a bound.
pub(crate) const MOST_RULE_BYTES: usize = 1_024;
/// The most patterns of a job: they are compiled for each execution.
pub(crate) const MOST_PATTERNS: usize = 50;

/// Notes all that is wrong with the rules that the argument at `place` has for its values.
pub(super) fn check_rules(place: &str, argument: &Argument, violations: &mut Violations) {
    let before = violations.count();
    let rules = rules(place, argument, violations);
    check_bounds(place, argument, violations);
    check_allowed(place, argument, rules.as_ref(), violations);
    check_allowed_for(place, argument, rules.as_ref(), violations);
    // The default is held against the other rules only where those make sense.
    let rules = rules.filter(|_| violations.count() == before);
    check_default(place, argument, rules.as_ref(), violations);
}

/// Notes it where a job has more patterns than are compiled for each of its executions. Then none is compiled here.
pub(super) fn check_patterns(arguments: &[Argument], violations: &mut Violations) -> bool {
    let count = arguments.iter().filter(|argument| !argument.pattern.is_empty()).count();
    violations.add_if(count > MOST_PATTERNS, "arguments", || {
        format!("have {count} patterns, and a job has at most {MOST_PATTERNS}: take some out")
    });
    count <= MOST_PATTERNS
}

fn check_allowed(
    place: &str,
    argument: &Argument,
    rules: Option<&Rules<'_>>,
    violations: &mut Violations,
) {
    let Argument { kind, allowed, .. } = argument;
    let field = format!("{place}.allowed");
    match (kind, allowed.len()) {
        (ArgumentType::Enum, 0) => violations.add(field, || {
            "is missing: an argument of the type `enum` lists the values that it may have"
                .to_owned()
        }),
        (_, 0) => {}
        (ArgumentType::Secret | ArgumentType::Bool, _) => violations.add(field, || {
            format!("stands at an argument of the type `{}`, which takes none: leave it out", word(*kind))
        }),
        (_, count) if count > MOST_ALLOWED => violations.add(field, || {
            format!("are {count} values, and an argument allows at most {MOST_ALLOWED}: take some out, or give a `pattern`")
        }),
        _ => {
            let mut seen = BTreeSet::new();
            for (index, value) in allowed.iter().enumerate() {
                let field = format!("{place}.allowed[{index}]");
                let size = value.len();
                if size > MOST_RULE_BYTES {
                    violations.add(field, || too_long(size));
                } else if !seen.insert(value) {
                    violations.add(field, || format!("is {}, which stands there already", quoted(value)));
                } else if value.contains('\0') {
                    violations.add(field, || NUL.to_owned());
                } else if let Some(Err(why)) = rules.map(|rules| rules.check_apart_from_allowed(value)) {
                    violations.add(field, || why);
                }
            }
        }
    }
}

/// The values that are for some alone have to be values of the argument.
fn check_allowed_for(
    place: &str,
    argument: &Argument,
    rules: Option<&Rules<'_>>,
    violations: &mut Violations,
) {
    let Argument { kind, allowed_for, .. } = argument;
    if allowed_for.is_empty() {
        return;
    }
    let place = format!("{place}.allowed_for");
    if *kind == ArgumentType::Secret {
        violations.add(place, || {
            "stands at an argument of the type `secret`, which takes none: leave it out".to_owned()
        });
        return;
    }
    let groups = allowed_for.len();
    violations.add_if(groups > MOST_GROUPS, place.clone(), || {
        format!("are {groups} groups, and an argument takes at most {MOST_GROUPS}: take some out")
    });
    let count: usize = allowed_for.values().map(Vec::len).sum();
    violations.add_if(count > MOST_ALLOWED, place.clone(), || {
        format!("are {count} values, and at most {MOST_ALLOWED} are taken: take some out")
    });
    if groups > MOST_GROUPS || count > MOST_ALLOWED {
        return;
    }
    for (group, values) in allowed_for {
        let field = format!("{place}.{}", quoted(group).trim_matches('`'));
        check_group(&field, group, violations);
        violations.add_if(values.is_empty(), field.clone(), || {
            "is empty: name the values that are for this group, or leave it out".to_owned()
        });
        for (index, value) in values.iter().enumerate() {
            let size = value.len();
            let wrong = match rules {
                _ if size > MOST_RULE_BYTES => Some(too_long(size)),
                Some(rules) => rules.check(value).err(),
                None => None,
            };
            if let Some(why) = wrong {
                violations.add(format!("{field}[{index}]"), || why);
            }
        }
    }
}

const NUL: &str = "holds a NUL character, which no environment variable can: take it out";

fn too_long(size: usize) -> String {
    format!("has {size} bytes, and at most {MOST_RULE_BYTES} are taken: shorten it")
}

fn rules<'a>(
    place: &str,
    argument: &'a Argument,
    violations: &mut Violations,
) -> Option<Rules<'a>> {
    let field = format!("{place}.pattern");
    let size = argument.pattern.len();
    if size > MOST_RULE_BYTES {
        violations.add(field, || too_long(size));
        return None;
    }
    let rules = Rules::of(argument);
    rules
        .map_err(|why| {
            violations.add(field, || {
                let pattern = quoted(&argument.pattern);
                format!("is {pattern}, which cannot be used as a regular expression: it {why}")
            });
        })
        .ok()
}

fn check_bounds(place: &str, argument: &Argument, violations: &mut Violations) {
    let Argument { kind, min, max, .. } = argument;
    let numbers = matches!(kind, ArgumentType::Int | ArgumentType::Float);
    let mut read = [None, None];
    for (bound, (key, text)) in read.iter_mut().zip([("min", min), ("max", max)]) {
        let Some(text) = text else { continue };
        *bound = number(*kind, text);
        let kind = word(*kind);
        violations.add_if(!numbers, format!("{place}.{key}"), || {
            format!("stands at an argument of the type `{kind}`, and only `int` and `float` have bounds: leave it out, or give the `type`")
        });
        violations.add_if(numbers && bound.is_none(), format!("{place}.{key}"), || {
            format!("is {}, which is no number of the type `{kind}`", quoted(text))
        });
    }
    let [least, most] = read;
    let crossed = least
        .zip(most)
        .is_some_and(|(least, most)| least.partial_cmp(&most) == Some(Ordering::Greater));
    violations.add_if(crossed, format!("{place}.min"), || {
        let [least, most] = [min, max].map(|bound| bound.as_deref().unwrap_or_default());
        format!("is {least}, and `max` is {most}: no value is allowed, exchange them")
    });
}

fn check_default(
    place: &str,
    argument: &Argument,
    rules: Option<&Rules<'_>>,
    violations: &mut Violations,
) {
    let Some(default) = &argument.default else { return };
    let field = format!("{place}.default");
    if argument.kind == ArgumentType::Secret {
        violations.add(field, || {
            "stands at an argument of the type `secret`, and definitions are shown to everybody: leave it out"
                .to_owned()
        });
        return;
    }
    violations.add_if(argument.required, format!("{place}.required"), || {
        "is `true`, and there is a `default`, which is taken where the argument is not given: leave one of them out"
            .to_owned()
    });
    let size = argument.name.len() + 1 + default.len();
    if size > MAX_VARIABLE {
        violations.add(field, || {
            format!("has {size} bytes with the name, and an environment variable holds at most {MAX_VARIABLE}: shorten it")
        });
    } else if default.contains('\0') {
        violations.add(field, || NUL.to_owned());
    } else if let Some(Err(why)) = rules.map(|rules| rules.check(default)) {
        violations.add(field, || why);
    }
}

/// The type as a definition writes it.
fn word(kind: ArgumentType) -> &'static str {
    match kind {
        ArgumentType::String => "string",
        ArgumentType::Int => "int",
        ArgumentType::Float => "float",
        ArgumentType::Bool => "bool",
        ArgumentType::Enum => "enum",
        ArgumentType::Secret => "secret",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(argument: &Argument) -> Vec<String> {
        let mut violations = Violations::default();
        check_rules("a", argument, &mut violations);
        let faults = violations.into_vec().into_iter();
        faults.map(|fault| format!("{} {}", fault.field, fault.description)).collect()
    }

    fn of(kind: ArgumentType) -> Argument {
        Argument { name: "a".to_owned(), kind, ..Argument::default() }
    }

    fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    #[test]
    fn what_makes_sense_has_no_faults() {
        let some = |text: &str| Some(text.to_owned());
        let right = [
            of(ArgumentType::String),
            Argument { default: some(""), ..of(ArgumentType::String) },
            Argument { required: true, pattern: "[a-z]+".to_owned(), ..of(ArgumentType::Secret) },
            Argument {
                default: some("5"),
                min: some("1"),
                max: some("5"),
                ..of(ArgumentType::Int)
            },
            Argument {
                min: some("-1e3"),
                allowed: texts(["-1000", "0.5"]),
                ..of(ArgumentType::Float)
            },
            Argument { default: some("false"), ..of(ArgumentType::Bool) },
            Argument { default: some("b"), allowed: texts(["a", "b"]), ..of(ArgumentType::Enum) },
            Argument {
                allowed: texts(["a", "b"]),
                allowed_for: [("sre".to_owned(), texts(["b"]))].into(),
                ..of(ArgumentType::Enum)
            },
            Argument {
                allowed_for: [("sre".to_owned(), texts(["true"]))].into(),
                ..of(ArgumentType::Bool)
            },
        ];
        for argument in right {
            assert_eq!(faults(&argument), Vec::<String>::new(), "{argument:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_told_with_all_faults() {
        let some = |text: &str| Some(text.to_owned());
        let check = |argument: Argument, wanted: &[&str]| {
            let found = faults(&argument);
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(found.starts_with(wanted), "{found} is not {wanted}");
            }
        };
        check(of(ArgumentType::Enum), &["a.allowed is missing"]);
        let only_for = |group: &str, values: Vec<String>| [(group.to_owned(), values)].into();
        check(
            Argument { allowed_for: only_for("sre", texts(["x"])), ..of(ArgumentType::Secret) },
            &["a.allowed_for stands at an argument of the type `secret`"],
        );
        check(
            Argument { allowed_for: only_for(" ", Vec::new()), ..of(ArgumentType::Int) },
            &["a.allowed_for.  is ` `, which is no group's name", "a.allowed_for.  is empty"],
        );
        check(
            Argument { allowed_for: only_for("sre", texts(["1", "x"])), ..of(ArgumentType::Int) },
            &["a.allowed_for.sre[1] is `x`, not a whole number"],
        );
        check(
            Argument {
                allowed: texts(["a"]),
                allowed_for: only_for("sre", texts(["b"])),
                ..of(ArgumentType::Enum)
            },
            &["a.allowed_for.sre[0] is `b`, and allowed are `a`"],
        );
        check(
            Argument { default: some("x"), allowed: texts(["x"]), ..of(ArgumentType::Secret) },
            &["a.allowed stands at an argument of the type `secret`", "a.default stands at"],
        );
        check(
            Argument { required: true, default: some("x"), ..of(ArgumentType::String) },
            &["a.required is `true`, and there is a `default`"],
        );
        check(
            Argument {
                default: some("6"),
                min: some("7"),
                max: some("5"),
                ..of(ArgumentType::Int)
            },
            &["a.min is 7, and `max` is 5"],
        );
        check(
            Argument { min: some("x"), max: some("1.5"), ..of(ArgumentType::Int) },
            &["a.min is `x`, which is no number", "a.max is `1.5`, which is no number"],
        );
        check(
            Argument { max: some("1"), ..of(ArgumentType::String) },
            &["a.max stands at an argument of the type `string`"],
        );
        check(
            Argument { default: some("6"), max: some("5"), ..of(ArgumentType::Int) },
            &["a.default is `6`, and 5 is the most"],
        );
        check(
            Argument {
                default: some("c"),
                allowed: texts(["a", "a", "b"]),
                ..of(ArgumentType::Enum)
            },
            &["a.allowed[1] is `a`, which stands there already"],
        );
        check(
            Argument { allowed: texts(["1", "x"]), ..of(ArgumentType::Int) },
            &["a.allowed[1] is `x`, not a whole number"],
        );
        check(
            Argument { pattern: "(".to_owned(), default: some("x"), ..of(ArgumentType::String) },
            &[
                "a.pattern is `(`, which cannot be used as a regular expression: it error: unclosed group",
            ],
        );
        check(
            Argument { default: some("Yes"), ..of(ArgumentType::Bool) },
            &["a.default is `Yes`, not a truth value"],
        );
    }

    #[test]
    fn rules_are_bounded() {
        let many = (0..101).map(|n| n.to_string()).collect();
        let many = Argument { allowed: many, ..of(ArgumentType::Enum) };
        assert!(faults(&many)[0].contains("at most 100"), "{:?}", faults(&many));
        let long = Argument { pattern: "x".repeat(1_025), ..of(ArgumentType::String) };
        assert!(faults(&long)[0].contains("at most 1024"), "{:?}", faults(&long));
        let long = Argument { default: Some("x".repeat(131_070)), ..of(ArgumentType::String) };
        assert!(faults(&long)[0].contains("131072 bytes"), "{:?}", faults(&long));
        let mut violations = Violations::default();
        let pattern = Argument { pattern: "a".to_owned(), ..of(ArgumentType::String) };
        assert!(check_patterns(&vec![pattern.clone(); MOST_PATTERNS], &mut violations));
        assert_eq!(violations.count(), 0);
        assert!(!check_patterns(&vec![pattern; MOST_PATTERNS + 1], &mut violations));
        assert_eq!(violations.count(), 1);
    }
}
