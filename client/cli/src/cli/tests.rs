use super::*;
use crate::commands::execute::{Execute, Wish};
use clap::CommandFactory;
use proptest::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["octavius"].into_iter().chain(words))
}

fn execute<'a>(words: impl IntoIterator<Item = &'a str>) -> Execute {
    match parse(words).unwrap().command {
        Command::Execute(execute) => execute,
        other => panic!("{other:?}"),
    }
}

fn wish(job: &str, values: &[(&str, &str)]) -> Wish {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Wish { job: job.to_owned(), values: values.iter().map(own).collect() }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

fn look_at_help_of(command: &clap::Command, name: &str, found: &mut Vec<String>) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        let name = format!("{name} {}", inner.get_name());
        let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(&format!("  {name}")), "`{name}` has no example");
        assert!(inner.get_about().is_some(), "`{name}` does not say what it does");
        look_at_help_of(inner, &name, found);
        found.push(name);
    }
}

#[test]
fn help_shows_an_example_of_every_command() {
    let mut found = Vec::new();
    look_at_help_of(&Cli::command(), "octavius", &mut found);
    for inner in ["octavius execute", "octavius config use", "octavius secret set"] {
        assert!(found.iter().any(|name| name == inner), "{inner} is not in {found:?}");
    }
}

/// Somebody who is told to run `octavius controller start` finds no such command.
#[test]
fn every_command_that_is_advised_exists() {
    let commands = Cli::command();
    let known: Vec<_> = commands.get_subcommands().map(clap::Command::get_name).collect();
    let mut advised = 0;
    for source in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")) {
        let text = fs::read_to_string(&source).unwrap();
        for behind in text.split("`octavius ").skip(1) {
            let word: String = behind.chars().take_while(char::is_ascii_lowercase).collect();
            // What stands for any command, and what is the name of something else.
            if word.is_empty() || behind[word.len()..].starts_with(['.', '_']) {
                continue;
            }
            assert!(known.contains(&&*word), "{}: `octavius {word}`", source.display());
            advised += 1;
        }
    }
    assert!(advised > 100, "only {advised} were found");
}

/// The sources and documents that people are told something by.
fn sources(root: &Path) -> Vec<PathBuf> {
    let roots =
        ["client", "controller", "executor", "protocol", "docs"].map(|name| root.join(name));
    let (mut folders, mut files) = (roots.to_vec(), vec![root.join("README.md")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|ending| ending.to_str()) {
                None if path.is_dir() && !path.ends_with("tests") => folders.push(path),
                Some("rs" | "md" | "proto") if !path.ends_with("tests.rs") => files.push(path),
                _ => {}
            }
        }
    }
    files
}

#[test]
fn help_is_a_command_as_well() {
    let said = |words: &[&str]| parse(words.iter().copied()).unwrap_err();
    for (command, flag) in [
        (vec!["help"], vec!["--help"]),
        (vec!["help", "execute"], vec!["execute", "--help"]),
        (vec!["help", "config", "use"], vec!["config", "use", "--help"]),
    ] {
        let (command, flag) = (said(&command), said(&flag));
        assert_eq!(command.kind(), clap::error::ErrorKind::DisplayHelp);
        assert_eq!(command.to_string(), flag.to_string());
    }
    assert!(said(&["help", "excute"]).use_stderr(), "there is no such command");
}

#[test]
fn the_old_forms_mean_the_same() {
    let old = execute(["execute", "--job-name", "greet", "--args", "a=1,b=2"]);
    let new = execute(["execute", "greet", "a=1", "b=2"]);
    assert_eq!(old.wish().unwrap(), new.wish().unwrap());
    assert_eq!(new.wish().unwrap(), wish("greet", &[("a", "1"), ("b", "2")]));
    let mixed = execute(["execute", "--job-name", "greet", "c=1,2", "--args", "a=1", "--follow"]);
    assert_eq!(mixed.wish().unwrap(), wish("greet", &[("a", "1"), ("c", "1,2")]));
    let same = [
        (vec!["describe", "greet"], vec!["describe", "--job-name", "greet"]),
        (vec!["create", "-f", "a.json"], vec!["create", "--job-path", "a.json"]),
        (vec!["getlogs", "x", "-f"], vec!["getlogs", "--job-id", "x", "--follow"]),
    ];
    for (new, old) in same {
        assert!(parse(new.iter().copied()).is_ok(), "{new:?}");
        assert!(parse(old.iter().copied()).is_ok(), "{old:?}");
    }
    let config =
        ["config", "--cp-host", "h:1", "--email-id", "e", "--token", "t", "--time-out", "3"];
    assert!(parse(config).is_ok());
}

#[test]
fn what_is_missing_or_doubled_is_refused() {
    for wrong in [
        vec!["execute"],
        vec!["describe"],
        vec!["describe", "a", "--job-name", "b"],
        vec!["getlogs"],
        vec!["create"],
        vec!["config", "--cp-host", "h:1", "--token", "t", "--token-stdin"],
        vec!["config", "use"],
        vec!["config", "use", "../x"],
        vec!["config", "--cp-host", "h:1", "list"],
        vec!["list", "--context", "a", "--config", "b"],
        vec![],
    ] {
        let refused = parse(wrong.iter().copied());
        assert!(refused.is_err_and(|error| error.use_stderr()), "{wrong:?}");
    }
    let nameless = execute(["execute", "a=1"]).wish().unwrap_err().text().unwrap();
    insta::assert_snapshot!(nameless, @"`a=1` stands where the job's name belongs: write `octavius execute JOB NAME=VALUE`");
}

#[test]
fn a_token_is_hidden_where_the_command_line_is_shown() {
    let cli = parse(["config", "--cp-host", "h:1", "--token", "t0p-s3cret"]).unwrap();
    assert!(!format!("{cli:?}").contains("t0p"));
}

#[test]
fn values_from_other_peoples_incidents_arrive_as_they_are() {
    let values = [
        ("a", "x=y=="),
        ("b", "one,two,three"),
        ("c", "it's \"q\""),
        ("d", "line1\nline2\n"),
        ("e", "  x "),
        ("f", "-rf --help"),
        ("g", ""),
        ("h", "é🙂नि"),
        ("i", "a\r\nb\t\\n"),
    ];
    let words: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let execute = execute(["execute", "show"].into_iter().chain(words.iter().map(String::as_str)));
    assert_eq!(execute.wish().unwrap(), wish("show", &values));
}

#[test]
fn a_command_line_that_cannot_be_read_still_says_its_format() {
    let format = |words: &[&str]| format_of(&words.iter().map(Into::into).collect::<Vec<_>>());
    assert_eq!(format(&["octavius", "lst", "-o", "json"]), Format::Json);
    assert_eq!(format(&["octavius", "--output=yaml", "lst"]), Format::Yaml);
    assert_eq!(format(&["octavius", "lst", "-ojson"]), Format::Json);
    assert_eq!(format(&["octavius", "lst", "json"]), Format::Text);
}

proptest! {
    #[test]
    fn any_value_survives_the_command_line(
        values in prop::collection::btree_map("[A-Za-z_][A-Za-z0-9_]{0,8}", "[^\0]*", 0..5),
        flags in prop::sample::subsequence(vec!["--follow", "--wait", "-o=json"], 0..=3),
        flags_first in any::<bool>(),
        job in "[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?",
    ) {
        let pairs: Vec<_> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let words = std::iter::once(job.as_str()).chain(pairs.iter().map(String::as_str));
        let flags = flags.into_iter();
        let line: Vec<&str> = match flags_first {
            true => std::iter::once("execute").chain(flags).chain(words).collect(),
            false => std::iter::once("execute").chain(words).chain(flags).collect(),
        };
        prop_assert_eq!(execute(line).wish().unwrap(), Wish { job, values });
    }
}
