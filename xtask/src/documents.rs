//! The documents that are made from tables in the code.
//!
//! A crate that declares metrics, or the keys of a file, puts its table into the lists here; nothing else is needed.

use anyhow::{Context as _, Result};
use octavius_controller::configuration::Configuration as Controller;
use octavius_executor::configuration::Configuration as Executor;
use octavius_service::{
    configuration::{self, Table, table},
    limits::{self, Section},
    telemetry::metrics::{self, Metric},
};
use std::{fs, path::Path};
use tonic::Code;

/// The metrics of each crate.
const METRICS: &[&[Metric]] =
    &[metrics::METRICS, octavius_controller::metrics::METRICS, octavius_executor::metrics::METRICS];

/// The configuration files of each server, and the client's.
fn configurations() -> Vec<Table> {
    vec![table::<Controller>(), table::<Executor>(), octavius_cli::client_file()]
}

/// The bounds that each crate's callers meet.
pub(crate) fn all_limits() -> Vec<Section> {
    let parts = [
        octavius_controller::limits::limits(),
        octavius_executor::limits::limits(),
        limits::limits(),
        octavius_cli::limits(),
    ];
    parts.concat()
}

/// What is wrong with the rows of the table of limits itself.
fn faults_of_limits() -> Vec<String> {
    let files = configurations();
    let jobs = include_str!("../../docs/job-definitions.md");
    let knows = |key: &str| {
        let of_a_server = files.iter().flat_map(|file| &file.keys).any(|known| known.name == key);
        of_a_server || jobs.contains(&format!("| `{key}` |"))
    };
    let is_status = |name: &str| {
        let plain = name.replace('_', "");
        (0..=16).any(|code| format!("{:?}", Code::from(code)).eq_ignore_ascii_case(&plain))
    };
    limits::faults(&all_limits(), is_status, knows)
}

/// Each document: where it is, and what it holds.
fn documents() -> [(&'static str, String); 5] {
    [
        ("docs/commands.md", octavius_cli::commands_page()),
        ("docs/metrics.md", metrics::page(METRICS)),
        ("docs/configuration.md", configuration::page(&configurations())),
        ("docs/limits.md", limits::page(&all_limits())),
        ("docs/store.md", octavius_controller::store::layout_page()),
    ]
}

/// Writes the documents.
pub(crate) fn write(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("docs"))?;
    for (path, text) in documents() {
        fs::write(root.join(path), text).with_context(|| path.to_owned())?;
        println!("{path}");
    }
    Ok(())
}

/// Documents that are not what the code says, and tables that are wrong.
pub(crate) fn faults(root: &Path) -> Result<Vec<String>> {
    let mut faults = metrics::faults(METRICS);
    faults.extend(faults_of_limits());
    for (path, text) in documents() {
        let found = fs::read_to_string(root.join(path));
        if found.with_context(|| path.to_owned())? != text {
            faults.push(format!("{path} is not what the code says: run `cargo xtask docs`"));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_metrics_are_sound() {
        assert_eq!(metrics::faults(METRICS), Vec::<String>::new());
    }

    #[test]
    fn the_tables_of_limits_are_sound() {
        assert_eq!(faults_of_limits(), Vec::<String>::new());
    }

    #[test]
    fn every_server_and_the_client_are_in_the_documents() {
        let [(_, commands), (_, metrics), (_, keys), (_, limits), (_, store)] = documents();
        assert!(commands.contains("## octavius execute"), "{commands}");
        for metric in ["octavius_actor_up", "octavius_queue_pending", "octavius_executor_attempts"]
        {
            assert!(metrics.contains(metric), "{metric}");
        }
        for file in ["controller_config.json", "executor_config.json", "octavius_client.yaml"] {
            assert!(keys.contains(&format!("\n## `{file}`\n")), "{file}");
        }
        for key in ["CP_HOST", "EMAIL_ID", "ACCESS_TOKEN", "CONNECTION_TIMEOUT_SECS"] {
            assert!(keys.contains(&format!("\n| `{key}` |")), "{key}");
        }
        for section in [
            "## Job definitions",
            "## An executor and its file",
            "## Metrics and health",
            "## The command line",
        ] {
            assert!(limits.contains(section), "{section}");
        }
        for key in ["v1/schema", "v1/done/", "v1/log/"] {
            assert!(store.contains(&format!("\n| `{key}`")), "{key}");
        }
        // The same text on every machine: what depends on one is no default.
        assert!(keys.contains("| `capacity` | a whole number up to 4294967295 | none |"), "{keys}");
    }

    #[test]
    fn what_is_written_is_up_to_date_and_a_changed_word_is_found() {
        let root = tempfile::tempdir().unwrap();
        write(root.path()).unwrap();
        assert_eq!(faults(root.path()).unwrap(), Vec::<String>::new());
        let path = root.path().join("docs/metrics.md");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("gauge", "gouge")).unwrap();
        assert_eq!(faults(root.path()).unwrap().len(), 1);
    }
}
