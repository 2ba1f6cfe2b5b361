//! The values of an execution's arguments, checked before they are sent: the controller's answer has room for the
//! first faults only, and the transport refuses what is too large without naming anything.

use crate::error::Error;
use crate::fault::{Fault, Faults};
use octavius_protocol::{MAX_ARGUMENTS, MAX_VARIABLE};
use std::{collections::BTreeMap, fs, path::Path};

/// Reads the values in the file at `path`, as [`parse_values`].
///
/// # Errors
/// Where the file cannot be read, or is not as it should be.
pub fn read_values(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let text = fs::read_to_string(path).map_err(|cause| Error::File {
        path: path.to_owned(),
        attempted: "read",
        cause,
    })?;
    Ok(parse_values(&text, &path.display().to_string())?)
}

/// Reads the values of arguments from JSON or YAML: names with one value each, which are taken as they are written, so
/// that `007` and `1.50` stay so. `source` names the text in errors.
///
/// # Errors
/// Where the text is something else.
pub fn parse_values(text: &str, source: &str) -> Result<BTreeMap<String, String>, Faults> {
    // What the parser says shows the lines around, and a line may hold a value that nobody may see.
    serde_saphyr::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        let place = error.location().map(|place| format!(" (line {})", place.line()));
        let problem = format!(
            "is not as it should be{}: write names with one value each, such as `name: \"Ada\"`, and each name once",
            place.unwrap_or_default()
        );
        Faults::one(source, Fault::new("", problem))
    })
}

/// All that keeps these values from being sent.
pub(crate) fn check(job: &str, values: &BTreeMap<String, String>) -> Result<(), Faults> {
    let mut list: Vec<Fault> = values.iter().filter_map(|(name, value)| one(name, value)).collect();
    let all: usize = values.iter().map(|(name, value)| name.len() + value.len()).sum();
    if all > MAX_ARGUMENTS && list.is_empty() {
        list.push(Fault::new(
            "",
            format!("all values have {all} bytes, and {MAX_ARGUMENTS} are the most: pass large inputs by reference"),
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
    } else if size > MAX_VARIABLE {
        format!(
            "has {size} bytes with its name, and an environment variable holds {MAX_VARIABLE}: pass large inputs by reference"
        )
    } else {
        return None;
    };
    Some(Fault::new(name, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_value_fills_its_variable_to_the_last_byte_and_no_further() {
        let fits = MAX_VARIABLE - "a=".len();
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
    fn values_are_read_as_they_are_written() {
        let text = "a: 007\nb: 1.50\nc: true\nd: ''\ne: |\n  x\n  y\nf: \"\\u00e9 = 1, 2\"\n";
        let read = parse_values(text, "args.yaml").unwrap();
        let wanted = [
            ("a", "007"),
            ("b", "1.50"),
            ("c", "true"),
            ("d", ""),
            ("e", "x\ny\n"),
            ("f", "é = 1, 2"),
        ];
        assert_eq!(read, values(&wanted.map(|(name, value)| (name, value.to_owned()))));
        assert_eq!(parse_values(r#"{"a": 1e3}"#, "a.json").unwrap()["a"], "1e3");
        for wrong in ["a:\n", "a: [1]\n", "a: {b: 1}\n", "a: 1\na: 2\n", "- a\n", "a\n"] {
            let told = parse_values(wrong, "args.yaml").unwrap_err().to_string();
            assert!(told.starts_with("args.yaml: is not as it should be"), "{told}");
        }
        for wrong in ["a: 1\nb: [planted]\n", "a: planted\nb: {c: 1}\n", "a: planted\na: planted\n"]
        {
            let told = parse_values(wrong, "args.yaml").unwrap_err().to_string();
            assert!(told.contains("(line 2)") && !told.contains("planted"), "{told}");
        }
    }

    #[test]
    fn the_sum_has_a_limit_too() {
        let many: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| (name, "x".repeat(120_000))).into();
        let refused = check("j", &values(&many)).unwrap_err().to_string();
        assert!(refused.contains("600005") && refused.contains("524288"), "{refused}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "([a-z]{0,3}: )?(\\PC|[\n:{}\\[\\]\"'#&*!|>%-]){0,60}") {
            let _ = parse_values(&text, "a.yaml");
        }
    }
}
