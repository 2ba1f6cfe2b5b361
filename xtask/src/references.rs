//! What documents refer to is there: files, folders, links, and the names of tests and other things in the code.
//!
//! A name that was changed in the code and not in a document is found here, so that an invariant never names a test
//! that nobody runs.

use crate::Source;
use std::{
    collections::HashSet,
    path::{Component, Path, PathBuf},
};

/// A name with so many underscores is one of ours, and no word of a user's.
const UNDERSCORES: usize = 2;

/// Every reference of the documents that leads nowhere.
pub(crate) fn faults(root: &Path, documents: &[Source], code: &[Source]) -> Vec<String> {
    let words: HashSet<&str> = code.iter().flat_map(|source| words(&source.text)).collect();
    let exists = |path: &Path| root.join(path).exists();
    documents.iter().flat_map(|document| nowhere(document, &words, &exists)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !sign.is_alphanumeric() && sign != '_')
}

fn nowhere(
    document: &Source,
    words: &HashSet<&str>,
    exists: &impl Fn(&Path) -> bool,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fenced = false;
    for (index, line) in document.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue; // commands and pictures: others try them
        }
        let mut fault =
            |what: &str| faults.push(format!("{}:{}: {what}", document.path, index + 1));
        for name in quoted(line) {
            if is_name(name) && !words.contains(name) {
                fault(&format!("nothing in the code is called `{name}`"));
            }
            if is_path(name, exists) && !exists(Path::new(name)) {
                fault(&format!("there is no `{name}`"));
            }
        }
        for link in links(line) {
            if !exists(&beside(&document.path, link)) {
                fault(&format!("the link to {link} leads nowhere"));
            }
        }
    }
    faults
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_name(text: &str) -> bool {
    let possible = |sign: char| sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '_';
    text.chars().all(possible) && text.matches('_').count() >= UNDERSCORES
}

/// Whether it is a path in this repository: it begins with one of its folders.
fn is_path(text: &str, exists: &impl Fn(&Path) -> bool) -> bool {
    let possible = |sign: char| sign.is_ascii_alphanumeric() || "/._-".contains(sign);
    let first = text.split_once('/').map(|(first, _)| first);
    let ours = first.is_some_and(|first| {
        !first.is_empty() && !["target", "."].contains(&first) && exists(Path::new(first))
    });
    ours && text.chars().all(possible)
}

/// Where links lead that do not leave the repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let inside = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    inside.filter(|target| !target.is_empty() && !target.contains(':'))
}

/// The path that a link in a document means.
fn beside(document: &str, link: &str) -> PathBuf {
    let mut path = Path::new(document).parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A page\n\nSee [the other](../README.md#top), [a picture](adr/0001.md), \
        `controller/src/lib.rs`, `controller/src/`,\n`it_is_never_lost` and [the web](https://example.org/a).\n\n\
        ```sh\nrun `no_such_name_here`\n```\n\nThe keys `app_port`, `data_dir/logs` and `a/b` are a user's.\n";
    const CODE: &str = "fn it_is_never_lost() { assert!(true); }";

    fn faults_of(document: &str) -> Vec<String> {
        let there = ["README.md", "docs/adr/0001.md", "controller", "controller/src/lib.rs"];
        let exists = |path: &Path| {
            there.iter().any(|there| Path::new(there) == path) || path.ends_with("src")
        };
        let document = Source { path: "docs/page.md".to_owned(), text: document.to_owned() };
        nowhere(&document, &words(CODE).collect(), &exists)
    }

    #[test]
    fn what_leads_somewhere_is_right() {
        assert_eq!(faults_of(DOCUMENT), Vec::<String>::new());
    }

    #[test]
    fn the_documents_of_this_repository_refer_to_what_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let (documents, code) =
            (crate::files(root, "md").unwrap(), crate::files(root, "rs").unwrap());
        assert_eq!(faults(root, &documents, &code), Vec::<String>::new());
    }

    #[test]
    fn names_and_links_that_lead_nowhere_are_found() {
        for (from, to) in [
            ("it_is_never_lost", "it_is_never_last"),
            ("../README.md", "README.md"),
            ("adr/0001.md", "adr/0002.md"),
            ("controller/src/lib.rs", "controller/src/main.rs"),
        ] {
            let document = DOCUMENT.replacen(from, to, 1);
            let faults = faults_of(&document);
            assert!(
                matches!(faults.as_slice(), [fault] if fault.starts_with("docs/page.md:")),
                "{to}: {faults:?}"
            );
        }
    }
}
