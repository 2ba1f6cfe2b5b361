//! The executor's binary: `start`, `register`, `config`, and, hidden, the supervisor of one attempt.

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use octavius_executor::{
    configuration::{Configuration, RunnerKind},
    heartbeat::{RegisterError, register_once},
    link::Failure,
    runner::process::{SupervisorCommand, supervise},
    server::{Executor, Place, StartError},
};
use octavius_service::{
    configuration::{Form, InForce, Loaded, Problems, load, said},
    signals::{End, Signals},
    telemetry::logging,
};
use std::{fmt, io, path::PathBuf, process::ExitCode, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long what has ended may take to reach the controller when the executor ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(4);

/// How long what still runs on the runtime may take after that.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(2);

/// The exit statuses that this binary has, beside 0.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Wrong usage: the command line, the file, this machine.
    Usage = 2,
    /// The controller refused.
    Refused = 3,
    /// Nobody answered in time.
    Unanswered = 4,
}

/// The agent of one place: pulls jobs from an Octavius controller, and runs them here.
#[derive(Debug, Parser)]
#[command(name = "executor", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the executor until it is told to end. Jobs that run then go on without it.
    #[command(after_help = START)]
    Start {
        #[command(flatten)]
        file: File,
        /// Only checks the configuration, and shows what is in force.
        #[arg(long)]
        check_config: bool,
    },
    /// Registers once, and says what the controller answered.
    #[command(after_help = REGISTER)]
    Register {
        #[command(flatten)]
        file: File,
    },
    /// Shows the configuration in force: each key, its value, and where that comes from. Starts and touches nothing.
    #[command(after_help = CONFIG)]
    Config {
        #[command(flatten)]
        file: File,
        /// How it is written: `text`, or `json` for one document.
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Form,
    },
}

const START: &str = "\
Examples:
  OCTAVIUS_EXECUTOR_RUNNER=process executor start
  executor start --config executor.yaml --check-config

Exit status: 0 it was told to end, or the configuration is right; 2 configuration or machine have
to be changed.";

const REGISTER: &str = "\
Example:
  executor register --config executor.yaml

  Executor berlin-1 is registered with the controller at localhost:3000: session 7; ...

Exit status: 0 it is registered; 2 configuration or machine have to be changed;
3 the controller refused; 4 nobody answered in time.";

const CONFIG: &str = "\
Example:
  OCTAVIUS_EXECUTOR_LABELS='zone=eu' executor config --config executor.yaml

  KEY           VALUE           FROM
  cp_host       localhost:3000  default
  id            berlin-1        executor.yaml
  access_token  (hidden)        executor.yaml
  capacity      8               derived from the cores of this machine
  labels        zone=eu         OCTAVIUS_EXECUTOR_LABELS
  ...

Exit status: 0 it is right; 2 it is not, and all its faults are told.";

#[derive(Debug, Args)]
struct File {
    /// The configuration file, JSON or YAML; else `executor_config.json`, `.yaml` or `.yml` in the working folder.
    /// Variables `OCTAVIUS_EXECUTOR_…` override its keys.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    fn load(&self) -> Result<Loaded<Configuration>, Problems> {
        load(self.config.as_deref())
    }
}

fn main() -> ExitCode {
    // Hidden, and first: one is started for each attempt, before any thread exists.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == "supervise") {
        return supervise(&Vec::from_iter(arguments));
    }
    let done = match Cli::parse().command {
        Command::Start { file, check_config: true } => check(&file),
        Command::Start { file, check_config: false } => start(&file),
        Command::Register { file } => register(&file),
        Command::Config { file, output } => return show(&file, output),
    };
    done.unwrap_or_else(|(fault, error)| {
        say(io::stderr(), format_args!("Error: {error:#}"));
        ExitCode::from(fault as u8)
    })
}

type Done = Result<ExitCode, (Fault, anyhow::Error)>;

fn usage(error: impl Into<anyhow::Error>) -> (Fault, anyhow::Error) {
    (Fault::Usage, error.into())
}

/// Writes a line; whoever closed the other end does not want it.
fn say(mut to: impl io::Write, line: fmt::Arguments<'_>) {
    let _ = writeln!(to, "{line}");
}

/// Shows what is in force, and all that is wrong with it.
fn show(file: &File, output: Form) -> ExitCode {
    let beyond = |section: &Configuration| {
        refused(section).map(|refused| refused.to_string()).into_iter().collect()
    };
    let is_right = said(&file.load(), output, beyond).tell();
    if is_right { ExitCode::SUCCESS } else { ExitCode::from(Fault::Usage as u8) }
}

/// What `start` refuses although the file is right.
fn refused(section: &Configuration) -> Option<StartError> {
    let absent = !cfg!(feature = "kubernetes");
    (absent && section.runner == RunnerKind::Kubernetes).then_some(StartError::Kubernetes)
}

fn check(file: &File) -> Done {
    let Loaded { section, warnings, in_force } = file.load().map_err(usage)?;
    for warning in warnings {
        say(io::stderr(), format_args!("Warning: {warning}"));
    }
    for InForce { shown, .. } in in_force {
        say(io::stdout(), format_args!("{}: {}", shown.key, shown.text));
    }
    refused(&section).map_or(Ok(ExitCode::SUCCESS), |refused| Err(usage(refused)))
}

fn start(file: &File) -> Done {
    let Loaded { section, warnings, .. } = file.load().map_err(usage)?;
    let _logging = logging::install(&section.logging()).map_err(usage)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let runtime = runtime().map_err(usage)?;
    let ended = runtime.block_on(serve(&section));
    runtime.shutdown_timeout(SHUTDOWN_WITHIN);
    if let Err((_, error)) = &ended {
        tracing::error!(error = format!("{error:#}"), "the executor does not start");
    }
    ended
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.thread_name("executor").enable_all().build().context("no runtime could be started")
}

async fn serve(configuration: &Configuration) -> Done {
    let mut signals = Signals::listen().context("signals cannot be heard").map_err(usage)?;
    let program =
        std::env::current_exe().context("this program cannot find itself").map_err(usage)?;
    let supervisor = SupervisorCommand { program, arguments: vec!["supervise".into()] };
    let cancel = CancellationToken::new();
    let start = async {
        tokio::select! {
            started = Executor::start(configuration, supervisor) => Some(started),
            () = cancel.cancelled() => None,
        }
    };
    // It may wait for a controller that is not there yet.
    let running = match signals.run(&cancel, start).await {
        End::Ended(Some(started)) => started.map_err(usage)?,
        End::Ended(None) => return Ok(ExitCode::SUCCESS),
        End::Left(signal) => return Ok(ExitCode::from(signal.exit_status())),
    };
    tracing::info!(
        executor = configuration.id,
        controller = configuration.cp_host,
        capacity = configuration.capacity(),
        "started"
    );
    let log = configuration.log_file_path.as_ref();
    let log = log.map_or_else(String::new, |path| format!("; its log is in {}", path.display()));
    say(
        io::stderr(),
        format_args!(
            "executor {} asks the controller at {} for work{log}; Ctrl-C ends it, and not its jobs",
            configuration.id, configuration.cp_host
        ),
    );
    let cancel = CancellationToken::new();
    let server = async {
        cancel.cancelled().await;
        running.stop(FLUSH_WITHIN).await;
    };
    Ok(match signals.run(&cancel, server).await {
        End::Ended(()) => ExitCode::SUCCESS,
        End::Left(signal) => ExitCode::from(signal.exit_status()),
    })
}

fn register(file: &File) -> Done {
    let Loaded { section, warnings, .. } = file.load().map_err(usage)?;
    for warning in warnings {
        say(io::stderr(), format_args!("Warning: {warning}"));
    }
    let runtime = runtime().map_err(usage)?;
    let registered = runtime.block_on(async {
        let place = Place::open(&section).await.map_err(usage)?;
        register_once(&place.link, &place.registration, &place.belonging).await.map_err(fault_of)
    });
    runtime.shutdown_timeout(SHUTDOWN_WITHIN);
    let (session, ping_deadline) = registered?;
    let controller = &section.cp_host;
    say(
        io::stdout(),
        format_args!(
            "Executor {} is registered with the controller at {controller}: session {session}; \
             it counts as ready while it is heard within {ping_deadline:?}.",
            section.id
        ),
    );
    Ok(ExitCode::SUCCESS)
}

fn fault_of(error: RegisterError) -> (Fault, anyhow::Error) {
    let fault = match &error {
        RegisterError::Failure(Failure::Later { .. }) => Fault::Unanswered,
        RegisterError::Failure(
            Failure::Refused { .. }
            | Failure::Replaced(_)
            | Failure::Unproven(_)
            | Failure::SessionGone(_),
        ) => Fault::Refused,
        RegisterError::OtherInstallation { .. } => Fault::Refused,
        RegisterError::Belonging(error) if error.is_later() => Fault::Unanswered,
        RegisterError::Belonging(_) | RegisterError::Token(_) => Fault::Usage,
    };
    (fault, anyhow::Error::new(error).context("the executor is not registered"))
}
