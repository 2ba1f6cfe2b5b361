//! The tests of the whole once more, with the state in an etcd.

use crate::steps::cargo;
use anyhow::Result;
use std::path::Path;

/// What is not run again, by how the names of its tests begin, and why.
const EMBEDDED_ALONE: [(&str, &str); 13] = [
    (
        "addresses::",
        "is about two controllers that do not know of each other, each on a store of its own",
    ),
    ("compaction::", "is on an etcd of its own in every run"),
    ("definitions::", "starts its controller by hand, on the embedded store"),
    ("dev::", "`octavius dev` has its state embedded"),
    ("elected::", "is on an etcd of its own in every run"),
    ("full::", "fills the disk that the embedded store is on"),
    ("installation::", "is about files, not about a store"),
    ("logins::", "is on an etcd of its own in every run"),
    ("readme::", "does what the README shows, on the embedded store"),
    ("rounds::", "is on an etcd of its own in every run"),
    ("samples::", "starts its controller by hand, on the embedded store"),
    ("storms::", "is on an etcd of its own in every run"),
    ("walkthrough::", "does what the page shows, on the embedded store"),
];
/// What tells the tests.
const STORE: (&str, &str) = ("OCTAVIUS_TEST_STORE", "etcd");

/// With cargo-nextest.
pub(crate) fn with_nextest(root: &Path) -> Result<()> {
    say_what_is_left_out();
    let skipped = EMBEDDED_ALONE.map(|(names, _)| format!("test(/^{names}/)")).join(" + ");
    let filter = format!("package(octavius) & binary(whole) - ({skipped})");
    // All packages are named so that nothing is built with other features than before.
    let run = ["nextest", "run", "--workspace", "--locked", "--filterset", &filter];
    cargo(root, &run, &[STORE])
}

/// With `cargo test`.
pub(crate) fn with_cargo(root: &Path) -> Result<()> {
    say_what_is_left_out();
    let run = ["test", "--workspace", "--locked", "--no-fail-fast", "--test", "whole", "--"];
    let skipped = EMBEDDED_ALONE.iter().flat_map(|(names, _)| ["--skip", names]);
    cargo(root, &run.into_iter().chain(skipped).collect::<Vec<_>>(), &[STORE])
}

fn say_what_is_left_out() {
    for (names, why) in EMBEDDED_ALONE {
        println!("left out: {names} ({why})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for (names, _) in EMBEDDED_ALONE {
            let (module, test) = names.split_once("::").unwrap();
            let file = root.join(format!("client/cli/tests/whole/{module}.rs"));
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(text.contains(&format!("fn {test}")), "{names} is in no test of the whole");
        }
    }
}
