//! The values of an execution's arguments, checked before they are sent: the controller's answer has room for the
//! first faults only, and the transport refuses what is too large without naming anything.

use crate::fault::{Fault, Faults};
use std::collections::BTreeMap;

/// The most bytes that one environment variable holds, with its name and the `=` between them.
const MOST_OF_ONE: usize = 131_071;
/// The most bytes of all values with their names.
const MOST_OF_ALL: usize = 512 << 10;

/// All that keeps these values from being sent.
pub(crate) fn check(job: &str, values: &BTreeMap<String, String>) -> Result<(), Faults> {
    let mut list: Vec<Fault> = values.iter().filter_map(|(name, value)| one(name, value)).collect();
    let all: usize = values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if all > MOST_OF_ALL && list.is_empty() {
        list.push(Fault::new(
            "",
            format!("all values have {all} bytes, and {MOST_OF_ALL} are the most: pass large inputs by reference"),
        ));
    }
    match list.is_empty() {
        true => Ok(()),
        false => Err(Faults { source: format!("arguments of `{job}`"), list }),
    }
}

fn one(name: &str, value: &str) -> Option<Fault> {
    let size = name.len() + 1 + value.len();
    let problem = if value.contains('\0') {
        "holds a NUL byte, which no environment variable can: encode the value, for example as base64".to_owned()
    } else if size > MOST_OF_ONE {
        format!(
            "has {size} bytes with its name, and an environment variable holds {MOST_OF_ONE}: pass large inputs by reference"
        )
    } else {
        return None;
    };
    Some(Fault::new(name, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_value_fills_its_variable_to_the_last_byte_and_no_further() {
        let fits = MOST_OF_ONE - "a=".len();
        assert!(check("j", &values(&[("a", "x".repeat(fits))])).is_ok());
        let refused = check("j", &values(&[("a", "x".repeat(fits + 1))])).unwrap_err();
        assert_eq!(refused.list[0].key, "a");
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let wrong =
            values(&[("a", "\0".to_owned()), ("b", "fine".to_owned()), ("c", "x\0y".to_owned())]);
        insta::assert_snapshot!(check("show", &wrong).unwrap_err(), @r"
        arguments of `show`: 2 things are wrong
          `a` holds a NUL byte, which no environment variable can: encode the value, for example as base64
          `c` holds a NUL byte, which no environment variable can: encode the value, for example as base64
        ");
    }

    #[test]
    fn the_sum_has_a_limit_too() {
        let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| (name, "x".repeat(120_000))).into();
        let refused = check("j", &values(&many)).unwrap_err().to_string();
        assert!(refused.contains("600005") && refused.contains("524288"), "{refused}");
    }
}
