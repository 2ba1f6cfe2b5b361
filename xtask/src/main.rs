//! The project's own commands.
//!
//! `ci` and `test` only read, `docs` only writes, `bench` measures; `setup`, which the first two begin with, installs. `ci` is what the build server runs, and anybody at
//! home: there is no other list of checks. Each step says how long it took; the test runner speaks last, so that its own
//! summary is the end of the output.

#![allow(clippy::print_stdout, clippy::print_stderr)] // what its user sees is what it is for

mod architecture;
mod bench;
mod chaos;
mod cluster;
mod documents;
mod fuzz;
mod image;
mod manifests;
mod messages;
mod on_etcd;
mod on_kubernetes;
mod protocol;
mod purity;
mod references;
mod setup;
mod steps;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::{Metadata, MetadataCommand};
use clap::{Parser, Subcommand};
use std::{ffi::OsString, fs, path::Path};
use steps::{cargo, step};

#[derive(Debug, Parser)]
#[command(about = "The project's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs what tests need of this machine (etcd, zsh, fish, shellcheck, parts of Kubernetes), where that is missing: on Debian, as root.
    Setup,
    /// Checks everything that a change must pass; writes nothing into the checkout.
    Ci,
    /// Runs all tests, after `setup`: with cargo-nextest if it is installed, else with `cargo test`.
    Test {
        /// Those on a real cluster instead, which need cargo-nextest
        #[arg(long)]
        kubernetes: bool,
    },
    /// Writes the documents that are made from tables in the code.
    Docs,
    /// A real Kubernetes of one node on this machine: `up`, `down`, `clean`, `status`, `kubeconfig`, `kubectl`, `load`,
    /// `restart` and more.
    Cluster {
        /// What it is told. Without it: everything that it can be told.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
    /// Makes an image of the three binaries, without Docker.
    Image(image::Image),
    /// Torments a whole installation, and says what went wrong.
    Chaos(chaos::Chaos),
    /// Tries very many inputs on all that faces the network or a user's file.
    Fuzz(fuzz::Fuzz),
    /// Measures the real binaries, built for release, and prints a table.
    Bench(bench::Bench),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let metadata = MetadataCommand::new().no_deps().exec().context("cargo metadata")?;
    let root = metadata.workspace_root.as_std_path();
    match arguments.command {
        Command::Setup => setup::run(root),
        Command::Ci => ci(&metadata),
        Command::Test { kubernetes } => {
            step("what tests need", || setup::run(root))?;
            if kubernetes { on_kubernetes::tests(root) } else { steps::tests(root) }
        }
        Command::Docs => documents::write(root),
        Command::Cluster { words } => cluster::command(root, &words),
        Command::Image(image) => image.make(&metadata),
        Command::Fuzz(fuzz) => fuzz.run(root),
        Command::Chaos(chaos) => chaos::run(root, metadata.target_directory.as_std_path(), &chaos),
        Command::Bench(bench) => bench.run(&metadata),
    }
}

/// The quick ones first. Tests are the last, because their runner has the last word.
fn ci(metadata: &Metadata) -> Result<()> {
    let root = metadata.workspace_root.as_std_path();
    step("what tests need", || setup::run(root))?;
    step("format", || cargo(root, &["fmt", "--all", "--check"], &[]))?;
    step("architecture", || none(architecture::faults(metadata)))?;
    step("manifests", || none(manifests::faults(metadata)?))?;
    step("rules are pure", || none(purity::faults(&files(root, "rs")?)))?;
    step("protocol is documented", || none(protocol::faults(&files(root, "proto")?)))?;
    step("documents are up to date", || none(documents::faults(root)?))?;
    step("documents refer to what is there", || {
        none(references::faults(root, &files(root, "md")?, &files(root, "rs")?))
    })?;
    step("errors are looked up by what is said", || {
        let code = files(root, "rs")?;
        let mut faults = messages::faults(&files(root, "md")?, &code);
        faults.extend(messages::unsaid(&documents::all_limits(), &code));
        none(faults)
    })?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step("scripts", || scripts(root))?;
    step("clippy", || cargo(root, &clippy, &[]))?;
    let rustdoc = ["doc", "--workspace", "--no-deps", "--locked"];
    step("rustdoc", || cargo(root, &rustdoc, &[("RUSTDOCFLAGS", "-D warnings")]))?;
    steps::tests(root)
}

/// What runs in a shell says what it means.
fn scripts(root: &Path) -> Result<()> {
    let mut shellcheck = std::process::Command::new("shellcheck");
    shellcheck.args(["--external-sources", "--source-path=SCRIPTDIR", ".ci/run"]);
    shellcheck.args(files(root, "sh")?.into_iter().map(|file| file.path));
    let status = shellcheck.current_dir(root).status().context("shellcheck")?;
    ensure!(status.success(), "shellcheck ended with {status}");
    Ok(())
}

fn none(faults: Vec<String>) -> Result<()> {
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

/// A file of the checkout.
#[derive(Debug)]
struct Source {
    /// Its path below the root, with `/`.
    path: String,
    text: String,
}

/// All files of the checkout with this ending, in the order of their paths.
fn files(root: &Path, ending: &str) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let below = path.strip_prefix(root).unwrap_or(&path);
                found.push(Source { path: below.to_string_lossy().into_owned(), text });
            }
        }
    }
    ensure!(!found.is_empty(), "there is no .{ending} file below {}", root.display());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}
