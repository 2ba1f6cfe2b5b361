//! The values of an execution: `NAME=VALUE` words, the old `--args a=1,b=2`, and files of them.

use crate::{exit::Failure, render::text::quoted};
use octavius_client::{Error, Fault, Faults, duration};
use std::{collections::BTreeMap, io::Read, path::Path, time::Duration};

/// A length of time, for clap.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "write a time such as `90s`, `5m` or `1h30m`".to_owned())
}

/// The values that a file gives: YAML or JSON, one `NAME: value` for each. Scalars stay as they are written.
pub(crate) fn file(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let (text, source) = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text)?;
        (text, "standard input".to_owned())
    } else {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::File {
            path: path.to_owned(),
            attempted: "read",
            cause,
        })?;
        (text, path.display().to_string())
    };
    parsed(&text, &source).map_err(|faults| Failure::Client(faults.into()))
}

fn parsed(text: &str, source: &str) -> Result<BTreeMap<String, String>, Faults> {
    let read = serde_saphyr::from_str::<Option<BTreeMap<String, Option<String>>>>(text);
    let found = read.map_err(|error| {
        // What the parser says may show the line, and the line may hold a secret.
        let place = error.location().map(|place| format!(" (line {})", place.line()));
        let problem = format!(
            "is not a file of `NAME: value` lines{}: write each name once, and a value with special characters in quotes",
            place.unwrap_or_default()
        );
        Faults { source: source.to_owned(), list: vec![Fault::new("", problem)] }
    })?;
    let mut values = BTreeMap::new();
    let mut list = Vec::new();
    for (name, value) in found.unwrap_or_default() {
        match value {
            Some(value) => {
                values.insert(name, value);
            }
            None => list.push(Fault::new(name, "has no value: write `''` for an empty one")),
        }
    }
    match list.is_empty() {
        true => Ok(values),
        false => Err(Faults { source: source.to_owned(), list }),
    }
}

/// The values that `words` (each one value, which may hold anything) and `old` (lists with commas) give. A name that
/// is given twice is refused: which of the two was meant cannot be known.
pub(crate) fn values(
    words: &[&String],
    old: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut values = BTreeMap::new();
    let mut problems = Vec::new();
    let listed = old.iter().flat_map(|list| list.split(',')).filter(|part| !part.is_empty());
    let pairs =
        words.iter().map(|word| (word.as_str(), false)).chain(listed.map(|part| (part, true)));
    for (pair, is_old) in pairs {
        match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                if values.insert(name.to_owned(), value.to_owned()).is_some() {
                    problems.push(format!("argument `{name}` is given twice: give it once"));
                }
            }
            _ if is_old => problems.push(format!(
                "{} in --args is not NAME=VALUE: a value with a comma needs the form `octavius execute JOB NAME='a,b'`",
                quoted(pair)
            )),
            _ => problems.push(format!(
                "{} is not NAME=VALUE: write an argument as `NAME=VALUE`, in quotes where the shell would read it",
                quoted(pair)
            )),
        }
    }
    match problems.is_empty() {
        true => Ok(values),
        false => Err(Failure::Usage(problems.join("\n  "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], old: &[&str]) -> Result<Vec<(String, String)>, String> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let words = own(words);
        match values(&words.iter().collect::<Vec<_>>(), &own(old)) {
            Ok(values) => Ok(values.into_iter().collect()),
            Err(failure) => Err(failure.text().unwrap()),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_word_is_cut_at_its_first_sign_of_equality_and_nowhere_else() {
        let words = ["a=x=y==", "b=one,two", "g=", "f=-rf --help"];
        let wanted = [("a", "x=y=="), ("b", "one,two"), ("f", "-rf --help"), ("g", "")];
        assert_eq!(read(&words, &[]), pairs(&wanted));
    }

    #[test]
    fn the_old_list_is_cut_at_commas() {
        assert_eq!(
            read(&["c=3"], &["a=1,b=2=3", ""]),
            pairs(&[("a", "1"), ("b", "2=3"), ("c", "3")])
        );
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_form_that_is_wanted() {
        insta::assert_snapshot!(read(&["city", "=x", "a=1"], &["a=2,b"]).unwrap_err(), @r#"
        "city" is not NAME=VALUE: write an argument as `NAME=VALUE`, in quotes where the shell would read it
          "=x" is not NAME=VALUE: write an argument as `NAME=VALUE`, in quotes where the shell would read it
          argument `a` is given twice: give it once
          "b" in --args is not NAME=VALUE: a value with a comma needs the form `octavius execute JOB NAME='a,b'`
        "#);
    }

    #[test]
    fn the_values_of_a_file_are_texts_as_they_are_written() {
        let read = |text| parsed(text, "values.yaml").map_err(|faults| faults.to_string());
        let yaml = "version: 1.10\ncode: 007\non: yes\nempty: ''\nlist: 'a, b=c'\nlines: |\n  one\n  two\n";
        let wanted = [
            ("version", "1.10"),
            ("code", "007"),
            ("on", "yes"),
            ("empty", ""),
            ("list", "a, b=c"),
            ("lines", "one\ntwo\n"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        assert_eq!(read(yaml), Ok(wanted.map(own).into()));
        assert_eq!(read(r#"{"a": "b\n", "n": 3}"#), Ok([("a", "b\n"), ("n", "3")].map(own).into()));
        assert_eq!(read("# nothing\n"), Ok(BTreeMap::new()));
        insta::assert_snapshot!(read("a:\nb: ~\n").unwrap_err(), @r"
        values.yaml: 2 things are wrong
          `a` has no value: write `''` for an empty one
          `b` has no value: write `''` for an empty one
        ");
        insta::assert_snapshot!(read("a: 1\na: 2\n").unwrap_err(), @"values.yaml: is not a file of `NAME: value` lines (line 2): write each name once, and a value with special characters in quotes");
        insta::assert_snapshot!(read("a: [1, 2]\n").unwrap_err(), @"values.yaml: is not a file of `NAME: value` lines (line 1): write each name once, and a value with special characters in quotes");
    }

    #[test]
    fn a_time_is_read_as_people_write_it() {
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5_400)));
        insta::assert_snapshot!(time("soon").unwrap_err(), @"write a time such as `90s`, `5m` or `1h30m`");
    }
}
