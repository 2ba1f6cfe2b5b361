//! The values of an execution: `NAME=VALUE` words, the old `--args a=1,b=2`, and files of them.

use crate::{exit::Failure, files::standard_input, render::text::quoted};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The values that `words` (each one value, which may hold anything), `old` (lists with commas) and `files` (`-` is
/// standard input) give. A name that is given twice is refused: which of the two was meant cannot be known.
pub(crate) fn values(
    words: &[&String],
    old: &[String],
    files: &[PathBuf],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for file in files {
        for (name, value) in read(file)? {
            let name_again = format!(
                "argument `{name}` is given twice, again in {}: give it once",
                file.display()
            );
            if values.insert(name, value).is_some() {
                problems.push(name_again);
            }
        }
    }
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

fn read(file: &Path) -> Result<BTreeMap<String, String>, Failure> {
    if file.as_os_str() != "-" {
        return Ok(octavius_client::read_values(file)?);
    }
    let text = standard_input()?;
    let read = octavius_client::parse_values(&text, "standard input");
    read.map_err(|faults| Failure::Client(faults.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str], old: &[&str]) -> Result<Vec<(String, String)>, String> {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let words = own(words);
        match values(&words.iter().collect::<Vec<_>>(), &own(old), &[]) {
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
}
