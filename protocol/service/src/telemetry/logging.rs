//! The log of a server: to standard error, or to a file that is set aside when it is full.
//!
//! No line is dropped: where the disk is slow, who logs waits. The file is written by a thread of its own, which ends
//! with [`Logging`]: keep that until the end of `main`.

use super::rolling_file::RollingFile;
use crate::{choice, configuration::Setting};
use serde_json::Value;
use std::{fmt, io, io::IsTerminal as _, path::PathBuf};
use tracing::Dispatch;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt as _,
};

/// Which lines are written: a level, or directives as `tracing` has them.
///
/// A bare level is that of our own code; libraries below it say no more than `info`, because their detail would
/// bury ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level(String);

/// Each word, and how much of the libraries goes with it. HTTP/2 warns of each connection that breaks its rules, and
/// who breaks them on purpose would fill the log.
const LEVELS: [(&str, &str); 6] = [
    ("off", "off"),
    ("error", "error"),
    ("warn", "warn,h2=error"),
    ("info", "info,h2=error"),
    ("debug", "info,h2=error"),
    ("trace", "info,h2=error"),
];

/// What these libraries say of answers that they do not understand holds all of the answer, and so the values of Secrets:
/// whatever the level, only their errors are written, which hold none.
const TOO_OPEN: [&str; 2] = ["kube_client", "kube_runtime"];

/// What the targets of our own lines begin with.
const OURS: [&str; 3] = ["octavius", "controller", "executor"];

impl Level {
    /// One of `off`, `error`, `warn`, `info`, `debug`, `trace`, or directives; the error says what to give.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim().to_lowercase();
        let bare = LEVELS.iter().any(|(level, _)| *level == text);
        let directives = text.contains('=') && EnvFilter::try_new(&text).is_ok();
        if bare || directives { Ok(Self(text)) } else { Err(format!("give {}", Self::wanted())) }
    }

    fn filter(&self) -> EnvFilter {
        let libraries = LEVELS.iter().find(|(level, _)| *level == self.0);
        let directives = libraries.map(|(level, libraries)| {
            let ours = OURS.map(|target| format!("{target}={level}"));
            format!("{libraries},{}", ours.join(","))
        });
        EnvFilter::new(directives.unwrap_or_else(|| self.0.clone()))
    }
}

impl Default for Level {
    /// `info`.
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Setting for Level {
    fn wanted() -> String {
        let levels = LEVELS.map(|(level, _)| format!("`{level}`"));
        format!("{}, or directives like `info,octavius_controller=debug`", levels.join(", "))
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        Self::new(value.as_str().unwrap_or_default())
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

choice! {
    /// How lines are written.
    pub enum Format {
        /// For people.
        Text = "text",
        /// One JSON object a line, for machines.
        Json = "json",
    }
}

/// What the log is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `log_level`.
    pub level: Level,
    /// `log_format`.
    pub format: Format,
    /// `log_file_path`; standard error if there is none.
    pub file: Option<PathBuf>,
    /// `log_file_max_size_in_mb`, in mebibytes: how large a file may grow.
    pub largest_in_mb: u64,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The file cannot be opened.
    #[error(
        "`log_file_path` is `{}`, which cannot be opened: let this user write there, or give another path",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This process logs already.
    #[error("this process has a log already: install one log for all servers in it")]
    Installed,
}

/// The log of this process. Whoever drops it waits until the last line is in the file.
#[derive(Debug)]
#[must_use = "lines that are on their way to the file are lost without it"]
pub struct Logging {
    _file: Option<WorkerGuard>,
}

/// Opens the log and makes it that of the whole process.
pub fn install(settings: &Settings) -> Result<Logging, LoggingError> {
    let (dispatch, logging) = build(settings)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LoggingError::Installed)?;
    Ok(logging)
}

fn build(settings: &Settings) -> Result<(Dispatch, Logging), LoggingError> {
    let Some(path) = &settings.file else {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        return Ok((dispatch(settings, io::stderr, colour), Logging { _file: None }));
    };
    let largest = settings.largest_in_mb.max(1).saturating_mul(1024 * 1024);
    let file = RollingFile::open(path, largest)
        .map_err(|source| LoggingError::File { path: path.clone(), source })?;
    let (writer, guard): (NonBlocking, _) = NonBlockingBuilder::default().lossy(false).finish(file);
    Ok((dispatch(settings, writer, false), Logging { _file: Some(guard) }))
}

fn dispatch<W>(settings: &Settings, writer: W, colour: bool) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(writer);
    let lines = tracing_subscriber::registry().with(settings.level.filter());
    let lines = lines.with(filter_fn(|line| {
        let too_open = TOO_OPEN.iter().any(|target| line.target().starts_with(target));
        !too_open || *line.level() == tracing::Level::ERROR
    }));
    match settings.format {
        Format::Text => Dispatch::new(lines.with(layer)),
        Format::Json => Dispatch::new(lines.with(layer.json())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use std::path::Path;

    fn settings(level: &str, format: Format, file: &Path) -> Settings {
        let level = Level::new(level).unwrap();
        Settings { level, format, file: Some(file.to_owned()), largest_in_mb: 1 }
    }

    fn logged(level: &str, format: Format, say: impl FnOnce()) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let (dispatch, logging) = build(&settings(level, format, &path)).unwrap();
        tracing::dispatcher::with_default(&dispatch, say);
        drop(logging);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_level_is_that_of_our_code_and_libraries_stay_at_info() {
        let text = logged("debug", Format::Text, || {
            tracing::debug!("ours");
            tracing::trace!("too fine");
            tracing::debug!(target: "h2::codec", "frame");
            tracing::info!(target: "hyper::proto", "connection");
            tracing::warn!(target: "h2::proto", "a peer's fault");
        });
        assert!(text.contains("ours") && text.contains("connection"), "{text}");
        assert!(!text.contains("too fine") && !text.contains("frame"), "{text}");
        assert!(!text.contains("fault"), "a line for each of a peer's faults: {text}");
    }

    #[test]
    fn directives_are_taken_as_they_are() {
        let text = logged("warn,h2=debug", Format::Text, || {
            tracing::info!("ours");
            tracing::debug!(target: "h2::codec", "frame");
        });
        assert!(text.contains("frame") && !text.contains("ours"), "{text}");
    }

    #[test]
    fn libraries_that_print_whole_answers_are_heard_only_of_errors_whatever_is_asked_for() {
        for level in ["trace", "kube_client=trace", "trace,kube_client::client=trace"] {
            let text = logged(level, Format::Text, || {
                tracing::warn!(target: "kube_client::client", "an answer: {{\"data\": \"planted\"}}");
                tracing::debug!(target: "kube_client::client::builder", "planted");
                tracing::error!(target: "kube_client::client::builder", "failed");
            });
            assert!(text.contains("failed") && !text.contains("planted"), "{level}: {text}");
        }
    }

    #[test]
    fn json_lines_hold_their_fields() {
        let text = logged("info", Format::Json, || tracing::info!(executor = "a", "registered"));
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["fields"]["executor"], "a");
        assert_eq!(line["fields"]["message"], "registered");
    }

    #[test]
    fn a_secret_in_a_field_is_hidden() {
        let token = SecretString::from("hunter2");
        let text = logged("info", Format::Text, || tracing::info!(?token, "registered"));
        assert!(text.contains("registered") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_bad_level_is_refused_with_the_words_that_there_are() {
        for wrong in ["loud", "", "info,=", "octavius=loud"] {
            let remedy = Level::from_value(&Value::from(wrong)).unwrap_err();
            assert!(remedy.starts_with("give `off`, `error`, `warn`, `info`"), "{wrong}: {remedy}");
        }
        assert!(Level::from_value(&Value::from(3)).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_opened_names_key_path_and_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let error = build(&settings("info", Format::Text, folder.path())).unwrap_err();
        let path = folder.path().display();
        assert_eq!(
            error.to_string(),
            format!(
                "`log_file_path` is `{path}`, which cannot be opened: let this user write there, or give another path"
            )
        );
    }
}
