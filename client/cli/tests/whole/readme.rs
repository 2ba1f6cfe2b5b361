//! The README, in its order, as a user would: what it says that one can do, one can.
//!
//! Blocks marked `sh` are typed into one terminal, one after the other; each marked `sh server` is a terminal of its own,
//! whose command runs until the end. A `text` block is what the block before it shows; `…` stands for whatever differs,
//! alone on a line for any lines. The working folder has what the top of the repository has; ports are free ones.

use crate::{
    desk::{Desk, root},
    world::{eventually, ready},
};
use rustix::process::Signal;

/// Stands for cargo, which is not run from inside of a test: it would wait for the lock that the run of this test
/// holds, or build everything once more. The binaries are built, `cargo demo` is an alias (a test below), and the
/// tests are running.
const CARGO: &str = r#"#!/bin/sh
case "$*" in
    demo) exec target/debug/octavius demo ;;
    build | "xtask test") ;;
    *) echo "the README has a new command, \`cargo $*\`: say here what it stands for"; exit 1 ;;
esac
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `sh`
    Commands,
    /// `sh server`
    Server,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) line: usize,
    kind: Kind,
    pub(crate) text: String,
    pub(crate) shows: Option<String>,
}

/// The blocks of a document. A picture is a `text` block that follows no other.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines().enumerate().map(|(index, line)| (index + 1, line));
    let mut after_commands = false;
    while let Some((line, text)) = lines.next() {
        let Some(mark) = text.strip_prefix("```") else {
            after_commands &= text.is_empty();
            continue;
        };
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let text: String = inside.flat_map(|line| [line, "\n"]).collect();
        let kind = match mark {
            "sh" => Kind::Commands,
            "sh server" => Kind::Server,
            "text" => {
                if after_commands {
                    blocks.last_mut().unwrap().shows = Some(text);
                }
                after_commands = false;
                continue;
            }
            other => panic!("line {line}: a block is marked `{other}`: nobody would run it"),
        };
        blocks.push(Block { line, kind, text, shows: None });
        after_commands = true;
    }
    blocks
}

/// Whether `lines` are what `shown` says.
fn is_shown(shown: &[&str], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((&"…", rest)) => (0..=lines.len()).any(|from| is_shown(rest, &lines[from..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| is_line(first, line) && is_shown(rest, others)),
    }
}

/// Whether a line is what is shown; columns may be of other widths.
fn is_line(shown: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (shown, line) = (words(shown), words(line));
    let mut parts = shown.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

pub(crate) fn shows(shown: &str, output: &str) -> bool {
    is_shown(&shown.lines().collect::<Vec<_>>(), &output.lines().collect::<Vec<_>>())
}

/// Types commands into the one terminal. What they export is there for the next ones.
pub(crate) async fn typed(desk: &Desk, block: &Block) -> String {
    let exported = desk.path("home/exported");
    let exported = exported.display();
    let commands = desk.with_ports(&block.text);
    let before = format!("exec 2>&1\n[ ! -e {exported} ] || . {exported}");
    let ran = desk.run(&format!("{before}\n{commands}\nexport -p > {exported}")).await;
    let output = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "line {}: {commands}{}\n{output}", block.line, ran.status);
    output
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// Whether this machine has a program that the README uses and does not ask for.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_readme_does_what_it_says() {
    let desk = Desk::new();
    desk.install("cargo", CARGO);
    let mut servers = Vec::new();
    for block in blocks(&readme()) {
        let shown = desk.with_ports(block.shows.as_deref().unwrap_or("…\n"));
        if block.kind == Kind::Commands {
            if block.text.starts_with("curl ") && !has("curl") {
                println!("line {}: left out, for there is no curl on this machine", block.line);
                continue;
            }
            let output = typed(&desk, &block).await;
            let text = &block.text;
            assert!(
                shows(&shown, &output),
                "line {}: {text}\nshown:\n{shown}\nseen:\n{output}",
                block.line
            );
            continue;
        }
        let server = desk.open(block.text.trim(), &format!("terminal-{}", servers.len()));
        let look = || async {
            let said = server.said();
            if shows(&shown, &said) { Ok(()) } else { Err(said) }
        };
        if let Err(said) = eventually(look).await {
            panic!("line {}: {}\nshown:\n{shown}\nseen:\n{said}", block.line, block.text);
        }
        if block.shows.is_none() {
            let unready = ready(&desk.client()).await;
            assert_eq!(unready, Ok(()), "line {}: {}", block.line, server.said());
        }
        servers.push(server);
    }
    assert_eq!(servers.len(), 2, "a controller and an executor");
    while let Some(mut server) = servers.pop() {
        assert_eq!(server.end_by(Signal::INT).await, Some(0), "{}", server.said());
    }
}

#[test]
fn the_first_command_of_the_readme_is_the_demo() {
    let blocks = blocks(&readme());
    assert_eq!(blocks[0].text, "cargo demo\n");
    assert_eq!(blocks[1].text, "cargo xtask test\n");
    let aliases = std::fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(aliases.contains("demo = \"run --quiet --package octavius -- demo\""), "{aliases}");
}

#[test]
fn blocks_are_found_with_what_they_show() {
    let document = "# A\n\n```text\na picture\n```\n\n```sh\none\ntwo\n```\n\n```text\nthree\n```\n\n\
        ```sh server\nfour\n```\n\nWords.\n\n```text\nanother picture\n```\n";
    let block = |line, kind, text: &str, shows: Option<&str>| Block {
        line,
        kind,
        text: text.to_owned(),
        shows: shows.map(str::to_owned),
    };
    let expected = [
        block(7, Kind::Commands, "one\ntwo\n", Some("three\n")),
        block(16, Kind::Server, "four\n", None),
    ];
    assert_eq!(blocks(document), expected);
}

#[test]
fn what_is_shown_is_compared() {
    let shown = "ID   STATE\n…  ready  …\n…\nlast\n";
    assert!(shows(shown, "ID       STATE\nrandom-ID  ready  2s ago\nmore\nlast\n"));
    assert!(shows(shown, "ID STATE\na  ready  b\nlast\n"));
    for other in [
        "ID  STATE\na  lost  b\nlast\n",
        "ID  STATE\na  ready  b\nlast\nand more\n",
        "ID  STATE\na  ready  b\n",
        "ID  STATES\na  ready  b\nlast\n",
        "",
    ] {
        assert!(!shows(shown, other), "{other}");
    }
}
