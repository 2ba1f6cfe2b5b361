//! Which values may be set, and what is shown of a job's secrets.

use crate::registry::{JobDefinition, Violation, Violations, quoted, rules::nearest};
use jiff::Timestamp;
use octavius_protocol::{MAX_VARIABLE, id::VariableName};
use std::collections::{BTreeMap, BTreeSet};

/// A shorter value would be found everywhere in a log, so that masking it would destroy the log.
pub const LEAST_MASKED_BYTES: usize = 8;

/// What may be known of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretState {
    /// The environment variable that holds it.
    pub name: VariableName,
    /// When and by whom it was set; none: it is not.
    pub set: Option<(Timestamp, String)>,
}

/// The secret's name and value, or all that is wrong with them. No text holds anything of the value.
pub fn check(
    definition: &JobDefinition,
    name: &str,
    value: Vec<u8>,
    unmasked: bool,
) -> Result<(VariableName, String), Vec<Violation>> {
    let mut violations = Violations::default();
    let declared = definition.secrets.iter().any(|secret| secret.name == name);
    violations.add_if(!declared, "name", || undeclared(definition, name));
    let size = name.len() + 1 + value.len();
    violations.add_if(size > MAX_VARIABLE, "value", || {
        format!("has {size} bytes with its name, and an environment variable holds at most {MAX_VARIABLE}: give the job a place where it finds the value")
    });
    violations.add_if(value.len() < LEAST_MASKED_BYTES && !unmasked, "value", || {
        let size = value.len();
        format!("has {size} bytes: fewer than {LEAST_MASKED_BYTES} cannot be masked in logs without masking much else; take a longer one, or say `--unmasked`")
    });
    violations.add_if(value.contains(&0), "value", || {
        "holds a NUL byte, which no environment variable can: encode it, for example as base64"
            .to_owned()
    });
    let text = String::from_utf8(value);
    violations.add_if(text.is_err(), "value", || {
        "is not UTF-8: encode it, for example as base64".to_owned()
    });
    match (name.parse(), text) {
        (Ok(name), Ok(text)) if declared => {
            let violations = violations.into_vec();
            if violations.is_empty() { Ok((name, text)) } else { Err(violations) }
        }
        (Ok(_) | Err(_), _) => Err(violations.into_vec()),
    }
}

fn undeclared(definition: &JobDefinition, name: &str) -> String {
    let declared = || definition.secrets.iter().map(|secret| secret.name.as_str());
    let name_shown = quoted(name);
    match nearest(name, declared()) {
        Some(near) => format!("is {name_shown}, no secret of this job: did you mean `{near}`?"),
        None if definition.secrets.is_empty() => format!(
            "is {name_shown}, and this job declares no secrets: name it in its file, under `env_vars.secrets`"
        ),
        None => {
            let some: Vec<_> = declared().take(10).map(|name| format!("`{name}`")).collect();
            let more = if definition.secrets.len() > some.len() { ", …" } else { "" };
            format!(
                "is {name_shown}, no secret of this job, which declares {}{more}",
                some.join(", ")
            )
        }
    }
}

/// What is shown: what the job declares, in its order, and behind it what is set all the same.
pub fn states(
    definition: &JobDefinition,
    mut set: BTreeMap<VariableName, (Timestamp, String)>,
) -> Vec<SecretState> {
    let declared: Vec<VariableName> =
        definition.secrets.iter().filter_map(|secret| secret.name.parse().ok()).collect();
    let mut states: Vec<_> =
        declared.into_iter().map(|name| SecretState { set: set.remove(&name), name }).collect();
    states.extend(set.into_iter().map(|(name, set)| SecretState { name, set: Some(set) }));
    states
}

/// Which of these names are not set.
pub fn missing<T>(
    wanted: &[VariableName],
    set: &BTreeMap<VariableName, T>,
) -> BTreeSet<VariableName> {
    wanted.iter().filter(|name| !set.contains_key(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::SecretName;

    fn job(secrets: &[&str]) -> JobDefinition {
        let secret = |name: &&str| SecretName { name: (*name).to_owned(), ..Default::default() };
        JobDefinition { secrets: secrets.iter().map(secret).collect(), ..Default::default() }
    }

    fn wrong(name: &str, value: &[u8], unmasked: bool) -> Vec<String> {
        let refused = check(&job(&["TOKEN", "PASSWORD"]), name, value.to_vec(), unmasked);
        let faults = refused.err().unwrap_or_default();
        faults.into_iter().map(|one| format!("{} {}", one.field, one.description)).collect()
    }

    #[test]
    fn only_what_the_job_declares_can_be_set() {
        assert_eq!(wrong("TOKEN", b"long enough", false), Vec::<String>::new());
        assert_eq!(
            wrong("TOKNE", b"long enough", false),
            ["name is `TOKNE`, no secret of this job: did you mean `TOKEN`?"]
        );
        let other = wrong("x=y", b"long enough", false);
        assert!(other[0].contains("which declares `TOKEN`, `PASSWORD`"), "{other:?}");
        let none = check(&job(&[]), "TOKEN", b"long enough".to_vec(), false).unwrap_err();
        assert!(none[0].description.contains("declares no secrets"), "{none:?}");
    }

    #[test]
    fn a_value_that_cannot_be_masked_is_refused_unless_that_is_wanted() {
        let refused = wrong("TOKEN", b"sevenby", false);
        assert!(refused[0].contains("masked") && refused[0].contains("--unmasked"), "{refused:?}");
        assert_eq!(wrong("TOKEN", b"sevenby", true), Vec::<String>::new());
        assert_eq!(wrong("TOKEN", b"eight by", false), Vec::<String>::new());
    }

    #[test]
    fn what_no_environment_variable_can_hold_is_refused_without_a_word_of_it() {
        let room = MAX_VARIABLE - "TOKEN=".len();
        assert_eq!(wrong("TOKEN", &vec![b'x'; room], false), Vec::<String>::new());
        let large = wrong("TOKEN", &vec![b'x'; room + 1], false);
        assert!(large[0].contains("131072 bytes") && large[0].contains("131071"), "{large:?}");
        let nul = wrong("TOKEN", b"planted\0planted", false);
        assert!(nul[0].contains("NUL") && !nul[0].contains("planted"), "{nul:?}");
        let odd = wrong("TOKEN", b"planted-\xff-planted", false);
        assert!(odd[0].contains("UTF-8") && !odd[0].contains("planted"), "{odd:?}");
    }

    #[test]
    fn all_that_is_declared_is_shown_and_what_is_set_besides() {
        let at = Timestamp::UNIX_EPOCH;
        let set = |name: &str| (name.parse().unwrap(), (at, "ada".to_owned()));
        let states = states(&job(&["B", "A"]), [set("A"), set("Z")].into());
        let shown: Vec<_> = states.iter().map(|s| (s.name.as_str(), s.set.is_some())).collect();
        assert_eq!(shown, [("B", false), ("A", true), ("Z", true)]);
    }
}
