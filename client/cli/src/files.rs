//! The job files that a command line names: all are read before anything is sent.

use crate::exit::Failure;
use clap::Args;
use octavius_client::{definition, v1::JobDefinition};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

/// What a file of a folder ends with, to be read as a job.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// Which files.
#[derive(Args, Debug)]
pub(crate) struct Files {
    /// A file with a job, or several YAML documents with one each; a folder of such files; `-` is standard input
    #[arg(
        short,
        long = "file",
        visible_alias = "job-path",
        value_name = "FILE|FOLDER",
        required = true
    )]
    files: Vec<PathBuf>,
}

/// A job, and which file it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) place: String,
    pub(crate) definition: JobDefinition,
}

impl Files {
    /// All jobs in these files, folders and, with `-`, standard input, in this order; those of a folder by their files'
    /// names. There is one at least, and no name stands twice.
    pub(crate) fn read(&self) -> Result<Vec<Written>, Failure> {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        let mut one = Vec::new();
        for path in &self.files {
            if path.as_os_str() != "-" && path.is_dir() {
                one.extend(folder(path)?);
            } else {
                one.push(path.clone());
            }
        }
        let only = one.len() == 1;
        for path in one {
            match file(&path) {
                Ok(read) => all.extend(read),
                // With a single file the error is told as it is.
                Err(failure) if only => return Err(failure),
                Err(failure) => problems.extend(failure.text()),
            }
        }
        let mut places: BTreeMap<&str, &str> = BTreeMap::new();
        for Written { place, definition } in &all {
            if let Some(first) = places.insert(&definition.name, place) {
                let name = &definition.name;
                problems.push(format!(
                    "{place}: job `{name}` stands in {first} already: give each its own name"
                ));
            }
        }
        match problems.is_empty() {
            true => Ok(all),
            false => Err(Failure::Usage(format!("nothing was sent\n  {}", problems.join("\n  ")))),
        }
    }
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable =
        |error| Failure::Usage(format!("the folder `{}` cannot be read: {error}", path.display()));
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(unreadable)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let path = path.display();
        return Err(Failure::Usage(format!(
            "the folder `{path}` has no file that ends with .json, .yaml or .yml"
        )));
    }
    Ok(files)
}

/// All of standard input.
pub(crate) fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Usage(format!(
            "standard input is no text in UTF-8 from byte {at} on: give JSON or YAML in UTF-8"
        ))
    })
}

fn file(path: &Path) -> Result<Vec<Written>, Failure> {
    let read = if path.as_os_str() == "-" {
        let text = standard_input()?;
        definition::parse_all(&text, "standard input")
            .map_err(|faults| Failure::Client(faults.into()))?
    } else {
        definition::read_all(path)?
    };
    Ok(read.into_iter().map(|(place, definition)| Written { place, definition }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[PathBuf]) -> Result<Vec<Written>, Failure> {
        Files { files: files.to_vec() }.read()
    }

    fn job(name: &str) -> String {
        format!("{{name: {name}, command: ['true']}}\n")
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names_and_only_its_job_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(
            read(&[folder.path().to_owned()])
                .unwrap_err()
                .text()
                .unwrap()
                .contains("no file that ends")
        );
        write("b.yaml", &job("b"));
        write("a.yml", &format!("{}---\n{}", job("z"), job("x")));
        write("c.json", r#"{"name": "c", "command": ["true"]}"#);
        write("notes.txt", "not a job");
        fs::create_dir(folder.path().join("d.yaml")).unwrap();
        let read = read(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = read.iter().map(|one| one.definition.name.as_str()).collect();
        assert_eq!(names, ["z", "x", "b", "c"]);
    }

    #[test]
    fn what_is_wrong_with_all_files_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("a.yaml", &job("same"));
        write("b.yaml", &job("same"));
        write("c.yaml", "{nam: c}");
        let told =
            read(&[folder.path().to_owned(), "missing.json".into()]).unwrap_err().text().unwrap();
        for part in ["b.yaml: job `same` stands in", "`nam` is not known", "missing.json"] {
            assert!(told.contains(part), "{told}");
        }
    }
}
