//! Whether what a definition says of how the job is run makes sense: times, tries, places.

use super::super::{
    ArgumentType, HIGHEST_PRIORITY, JobDefinition, MOST_ATTEMPTS, OnLimit, OnLost, Resources,
    Retry, RetryOn, USUAL_PRIORITY, Violations, no_id, quoted,
};
use jiff::SignedDuration;
use octavius_protocol::{
    MAX_TIME,
    id::{Namespace, TeamName},
};
use std::collections::{BTreeMap, BTreeSet};

/// A limit is counted in milliseconds.
const SHORTEST: SignedDuration = SignedDuration::from_millis(1);
const LONGEST: SignedDuration = SignedDuration::from_secs(MAX_TIME.as_secs().cast_signed());
/// The longest pause between two attempts.
pub(crate) const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);
/// By how much pauses grow at the most.
pub(crate) const GREATEST_FACTOR: f64 = 100.0;
/// The most labels that an executor is chosen by, and the most bytes of a name or a value: as an executor has them.
pub(crate) const MOST_LABELS: usize = 64;
pub(crate) const MOST_LABEL_BYTES: usize = 256;
/// The most kinds of resources.
pub(crate) const MOST_RESOURCES: usize = 32;
pub(crate) const MOST_RESOURCE_BYTES: usize = 256;
/// The most bytes of a pod template.
pub(crate) const MOST_TEMPLATE_BYTES: usize = 64 * 1024;

/// Notes all that is wrong with how a job is to be run.
pub(super) fn check_running(definition: &JobDefinition, violations: &mut Violations) {
    let JobDefinition { timeout, start_timeout, queue_timeout, .. } = definition;
    for (field, span, absent) in [
        ("timeout", timeout, "the executor's"),
        ("start_timeout", start_timeout, "the executor's"),
        ("queue_timeout", queue_timeout, "no limit"),
    ] {
        check_limit(field, *span, absent, violations);
    }
    if let Some(retry) = &definition.retry {
        check_retry(retry, violations);
    }
    check_order(definition, violations);
    check_selector(&definition.executor_selector, violations);
    if let Some(Resources { requests, limits }) = &definition.resources {
        check_quantities("resources.requests", requests, violations);
        check_quantities("resources.limits", limits, violations);
    }
    check_template(&definition.kubernetes, violations);
    check_namespace(&definition.namespace, violations);
}

fn check_namespace(namespace: &str, violations: &mut Violations) {
    if let Some(invalid) = namespace.parse::<Namespace>().err().filter(|_| !namespace.is_empty()) {
        violations.add("namespace", || {
            format!(
                "is {}, not {}; or leave it out for the executor's",
                quoted(namespace),
                invalid.wanted()
            )
        });
    }
}

fn check_limit(
    field: &str,
    span: Option<SignedDuration>,
    absent: &str,
    violations: &mut Violations,
) {
    let Some(span) = span else { return };
    violations.add_if(!(SHORTEST..=LONGEST).contains(&span), field, || {
        format!(
            "is {span:#}: give a time above zero of at most 365 days, for example `10m`, or leave it out for {absent}"
        )
    });
}

fn check_retry(retry: &Retry, violations: &mut Violations) {
    let Retry { attempts, pause, factor, max_pause, on } = retry;
    violations.add_if(*attempts > MOST_ATTEMPTS, "retry.attempts", || {
        format!("is {attempts}: give how many attempts there are in all, from 1 to {MOST_ATTEMPTS}")
    });
    for (field, span) in [("retry.pause", pause), ("retry.max_pause", max_pause)] {
        let Some(span) = span else { continue };
        let wrong = !(SignedDuration::ZERO..=LONGEST_PAUSE).contains(span);
        violations.add_if(wrong, field, || {
            format!("is {span:#}: give a time of at most 24 hours, for example `10s`")
        });
    }
    let crossed = pause.zip(*max_pause).filter(|(pause, most)| pause > most);
    if let Some((pause, most)) = crossed {
        violations.add("retry.max_pause", || {
            format!("is {most:#}, shorter than the first pause of {pause:#}: give a longer one, or shorten `pause`")
        });
    }
    if let Some(factor) = factor.filter(|factor| !(1.0..=GREATEST_FACTOR).contains(factor)) {
        violations.add("retry.factor", || {
            format!("is {factor}: give by how much each pause is longer than the one before, from 1 to {GREATEST_FACTOR}")
        });
    }
    let mut seen = BTreeSet::new();
    for (index, word) in on.iter().enumerate() {
        match word.parse::<RetryOn>() {
            Ok(end) => violations.add_if(!seen.insert(end), format!("retry.on[{index}]"), || {
                format!("is `{end}`, which stands there already: give it once")
            }),
            Err(wanted) => violations
                .add(format!("retry.on[{index}]"), || format!("is {}, {wanted}", quoted(word))),
        }
    }
}

/// Notes what is wrong with the limits of a job, and with the order in which its executions are served.
fn check_order(definition: &JobDefinition, violations: &mut Violations) {
    let JobDefinition { concurrency_key, on_limit, team, priority, max_priority, on_lost, .. } =
        definition;
    let mut seen = BTreeSet::new();
    for (index, name) in concurrency_key.iter().enumerate() {
        let field = format!("concurrency_key[{index}]");
        let Some(argument) = definition.arguments.iter().find(|one| one.name == *name) else {
            violations.add(field, || {
                format!("is {}, which is no argument of the job: name one", quoted(name))
            });
            continue;
        };
        if argument.kind == ArgumentType::Secret {
            violations.add(field, || {
                format!("is `{name}`, whose values are secret, and a key is shown: name another argument")
            });
        } else if !argument.required && argument.default.is_none() {
            violations.add(field, || {
                format!(
                    "is `{name}`, which may be left out: make it required, or give it a default"
                )
            });
        } else if !seen.insert(name) {
            violations
                .add(field, || format!("is `{name}`, which stands there already: give it once"));
        }
    }
    if OnLimit::read(on_limit).is_none() {
        violations.add("on_limit", || no_word(on_limit, &OnLimit::WORDS.map(|(word, _)| word)));
    }
    let limited = definition.concurrency > 0 || !concurrency_key.is_empty();
    violations.add_if(!on_limit.is_empty() && !limited, "on_limit", || {
        "is given, but the job has no limit: give `concurrency` or `concurrency_key`, or leave it out"
            .to_owned()
    });
    if let Some(invalid) = team.parse::<TeamName>().err().filter(|_| !team.is_empty()) {
        violations.add("team", || no_id(team, &invalid));
    }
    for (field, number) in [("priority", priority), ("max_priority", max_priority)] {
        let Some(number) = number.filter(|number| *number > u32::from(HIGHEST_PRIORITY)) else {
            continue;
        };
        violations.add(field, || {
            format!("is {number}: give a whole number from 0, served last, to {HIGHEST_PRIORITY}")
        });
    }
    let own = priority.unwrap_or(u32::from(USUAL_PRIORITY));
    if let Some(most) = max_priority.filter(|most| *most < own) {
        violations.add("max_priority", || {
            format!(
                "is {most}, less than the job's own priority of {own}: raise it, or leave it out"
            )
        });
    }
    match OnLost::read(on_lost) {
        None => {
            violations.add("on_lost", || no_word(on_lost, &OnLost::WORDS.map(|(word, _)| word)));
        }
        Some(OnLost::Fail) => {
            let lost = |word: &String| word.parse() == Ok(RetryOn::Lost);
            let crossed = definition.retry.iter().flat_map(|retry| &retry.on).any(lost);
            violations.add_if(crossed, "on_lost", || {
                "is `fail`, and `retry.on` has `lost`: leave one of them out".to_owned()
            });
        }
        Some(OnLost::AsRetrySays | OnLost::Rerun) => {}
    }
}

fn no_word(word: &str, known: &[&str]) -> String {
    let known: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    format!("is {}: give {}, or leave it out", quoted(word), known.join(" or "))
}

fn check_selector(selector: &BTreeMap<String, String>, violations: &mut Violations) {
    let count = selector.len();
    violations.add_if(count > MOST_LABELS, "executor_selector", || {
        format!("has {count} labels, and an executor has at most {MOST_LABELS}: take some out")
    });
    for (name, value) in selector.iter().take(MOST_LABELS) {
        violations.add_if(!is_label(name, value), "executor_selector", || {
            format!("has {}, of which name or value is no label: a name has 1 to {MOST_LABEL_BYTES} bytes, a value up to {MOST_LABEL_BYTES}", quoted(name))
        });
    }
}

/// Whether an executor can have a label of this name with this value.
pub(crate) fn is_label(name: &str, value: &str) -> bool {
    (1..=MOST_LABEL_BYTES).contains(&name.len()) && value.len() <= MOST_LABEL_BYTES
}

fn check_quantities(
    field: &str,
    quantities: &BTreeMap<String, String>,
    violations: &mut Violations,
) {
    let count = quantities.len();
    violations.add_if(count > MOST_RESOURCES, field, || {
        format!("are {count}, and a job names at most {MOST_RESOURCES}: take some out")
    });
    for (name, quantity) in quantities.iter().take(MOST_RESOURCES) {
        let named = !name.is_empty()
            && name.len() <= MOST_RESOURCE_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
        violations.add_if(!named, field, || {
            format!(
                "has {}, which is no resource's name: give one such as `cpu` or `memory`",
                quoted(name)
            )
        });
        violations.add_if(named && !is_quantity(quantity), format!("{field}.{name}"), || {
            format!(
                "is {}, which is no quantity: give one such as `2`, `500m` or `1Gi`",
                quoted(quantity)
            )
        });
    }
}

/// A quantity as Kubernetes reads it, without a sign: nobody needs less than nothing.
fn is_quantity(text: &str) -> bool {
    const UNITS: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let exponent = number.split_once(['e', 'E']);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let decimal = |text: &str| match text.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(text),
    };
    let is_right = match exponent {
        Some((mantissa, exponent)) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            return decimal(mantissa) && digits(exponent) && exponent.len() <= 3 && number == text;
        }
        None => decimal(number),
    };
    is_right && text.len() <= 64 && UNITS.contains(&&text[number.len()..])
}

fn check_template(template: &str, violations: &mut Violations) {
    if template.is_empty() {
        return;
    }
    let size = template.len();
    violations.add_if(size > MOST_TEMPLATE_BYTES, "kubernetes", || {
        format!("has {size} bytes as JSON, and at most {MOST_TEMPLATE_BYTES} are taken: shorten it")
    });
    let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(template);
    violations.add_if(object.is_err(), "kubernetes", || {
        "is no JSON object: give a partial pod template, or leave it out".to_owned()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(definition: &JobDefinition) -> Vec<String> {
        let mut violations = Violations::default();
        check_running(definition, &mut violations);
        violations.into_vec().into_iter().map(|fault| fault.field).collect()
    }

    fn retry(retry: Retry) -> JobDefinition {
        JobDefinition { retry: Some(retry), ..JobDefinition::default() }
    }

    #[test]
    fn a_time_limit_is_above_zero_and_at_most_a_year() {
        type Limited = fn(SignedDuration) -> JobDefinition;
        let limits: [(&str, Limited); 3] = [
            ("timeout", |span| JobDefinition { timeout: Some(span), ..Default::default() }),
            ("start_timeout", |span| JobDefinition {
                start_timeout: Some(span),
                ..Default::default()
            }),
            ("queue_timeout", |span| JobDefinition {
                queue_timeout: Some(span),
                ..Default::default()
            }),
        ];
        for (field, with) in limits {
            for wrong in [
                SignedDuration::ZERO,
                SignedDuration::from_nanos(999_999),
                SignedDuration::from_secs(-5),
                LONGEST + SignedDuration::from_nanos(1),
                SignedDuration::MAX,
                SignedDuration::MIN,
            ] {
                assert_eq!(faults(&with(wrong)), [field], "{wrong:?}");
            }
            for right in [SHORTEST, LONGEST] {
                assert_eq!(faults(&with(right)), Vec::<String>::new(), "{right:?}");
            }
        }
    }

    #[test]
    fn tries_are_bounded_and_their_words_known() {
        let pause = |ms| Some(SignedDuration::from_millis(ms));
        let right = Retry {
            attempts: MOST_ATTEMPTS,
            pause: pause(0),
            factor: Some(1.0),
            max_pause: pause(86_400_000),
            on: ["failed", "exit_code:75"].map(str::to_owned).to_vec(),
        };
        assert_eq!(faults(&retry(right.clone())), Vec::<String>::new());
        let on = ["sometimes", "failed", "failed"].map(str::to_owned).to_vec();
        let wrong = Retry {
            attempts: MOST_ATTEMPTS + 1,
            pause: pause(-1),
            factor: Some(0.5),
            max_pause: pause(86_400_001),
            on,
        };
        let fields = [
            "retry.attempts",
            "retry.pause",
            "retry.max_pause",
            "retry.factor",
            "retry.on[0]",
            "retry.on[2]",
        ];
        assert_eq!(faults(&retry(wrong)), fields);
        let crossed = Retry { pause: pause(2), max_pause: pause(1), ..right.clone() };
        assert_eq!(faults(&retry(crossed)), ["retry.max_pause"]);
        for factor in [f64::NAN, f64::INFINITY, -1.0, 100.1] {
            let odd = Retry { factor: Some(factor), ..right.clone() };
            assert_eq!(faults(&retry(odd)), ["retry.factor"], "{factor}");
        }
    }

    #[test]
    fn places_and_needs_are_labels_and_quantities() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let right = JobDefinition {
            executor_selector: map(&[("zone", "eu"), ("gpu", "")]),
            resources: Some(Resources {
                requests: map(&[("cpu", "500m"), ("memory", "1.5Gi"), ("nvidia.com/gpu", "2")]),
                limits: map(&[("memory", "1e9"), ("ephemeral-storage", "128E")]),
            }),
            kubernetes: r#"{"spec": {"nodeSelector": {"a": "b"}}}"#.to_owned(),
            namespace: "reports".to_owned(),
            ..JobDefinition::default()
        };
        assert_eq!(faults(&right), Vec::<String>::new());
        let wrong = JobDefinition {
            executor_selector: map(&[("", "x")]),
            resources: Some(Resources {
                requests: map(&[("cpu", "half"), ("two words", "1")]),
                limits: map(&[("memory", "1GB"), ("cpu", "-1")]),
            }),
            kubernetes: "[]".to_owned(),
            namespace: "Reports".to_owned(),
            ..JobDefinition::default()
        };
        let fields = [
            "executor_selector",
            "resources.requests.cpu",
            "resources.requests",
            "resources.limits.cpu",
            "resources.limits.memory",
            "kubernetes",
            "namespace",
        ];
        assert_eq!(faults(&wrong), fields);
        for odd in ["", "Gi", ".5", "1.", "1e", "1e9Gi", "٣", "1 Gi", "0x1", "1gi"] {
            assert!(!is_quantity(odd), "{odd}");
        }
        let large = JobDefinition {
            kubernetes: format!(r#"{{"a": "{}"}}"#, "x".repeat(MOST_TEMPLATE_BYTES)),
            ..JobDefinition::default()
        };
        assert_eq!(faults(&large), ["kubernetes"]);
    }
}
