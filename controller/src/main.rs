//! `controller`: starts the control plane from its configuration, and ends it in order when it is told to.

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use octavius_controller::{
    backup::{self, BackedUp, Restored, Wanted},
    configuration::{Authentication, Configuration, StoreKind},
    init,
    rotate::{self, Rotated},
    server::{Controller, Running, StartError},
};
use octavius_service::{
    configuration::{self, Form, Loaded},
    signals::{End, Signals},
    telemetry::logging,
};
use std::{
    io::{self, Write as _},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// The configuration has to be changed, or the command was wrong.
const WRONG: u8 = 2;
/// It may work later as it is.
const NOT_NOW: u8 = 4;
/// For how long whatever is left may take after the last word.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The Octavius controller: which jobs exist, who runs them, what became of them, and their logs.
#[derive(Debug, Parser)]
#[command(name = "controller", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until it is told to end (SIGINT or SIGTERM; a second one leaves at once).
    #[command(after_help = START)]
    Start {
        #[command(flatten)]
        file: File,
        /// Only says whether the configuration is right.
        #[arg(long)]
        check_config: bool,
    },
    /// Makes what a controller needs that others reach: a small authority, a certificate, a configuration, and the token
    /// of the first administrator. Says what to hand to whom. Starts nothing.
    #[command(after_help = INIT)]
    Init {
        /// Who the first administrator is, for example an e-mail address.
        #[arg(long, value_name = "NAME")]
        administrator: String,
        /// A name or an address by which clients and executors reach the controller; `localhost` and `127.0.0.1` are
        /// among them in any case.
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// An executor that gets a certificate of its own, by its id. With one or more of them the controller takes calls
        /// of executors from those alone who show such a certificate.
        #[arg(long = "executor", value_name = "ID")]
        executors: Vec<String>,
        /// The folder that it is all written to; made if it is not there.
        #[arg(value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
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
    /// Writes all that the store holds at one moment to a file, also while controllers run.
    #[command(after_help = BACKUP)]
    Backup {
        /// Where it goes; made for its owner alone, and not before all of it is on disk.
        #[arg(value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        file: File,
        /// With the bytes of logs; else only logs of up to some KiB are whole in it.
        #[arg(long)]
        logs: bool,
        /// Replaces the file if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Puts a backup into an empty store, of either kind: this also moves a system to an etcd, or from one.
    #[command(after_help = RESTORE)]
    Restore {
        /// The backup.
        #[arg(value_name = "FILE")]
        from: PathBuf,
        #[command(flatten)]
        file: File,
    },
    /// Exchanges the master key, under which secrets and arguments are sealed, for a new one.
    #[command(after_help = ROTATE_KEY)]
    RotateKey {
        #[command(flatten)]
        file: File,
    },
}

const ROTATE_KEY: &str = "\
Example:
  controller rotate-key --config controller.yaml

No controller may run on the store. What is sealed gets its own key sealed under the new one; no value
is opened. The former key goes to `master.key.until-TIME` beside the new one: backups that were taken
before open with it alone, so keep it where you keep copies of `master.key`, and take it away here.
What broke off in the middle goes on with the next call; a controller opens everything meanwhile.
Where several controllers share an etcd, copy the new `master.key` to the others before they start.

Exit status: 0 the store has a new master key; 2 something has to be changed first; 4 it may work later
as it is.";

const START: &str = "\
Examples:
  OCTAVIUS_CONTROLLER_STORE=embedded controller start
  controller start --config controller.yaml --check-config

Exit status: 0 it was told to end, or the configuration is right; 2 the configuration has to be
changed, or somebody else has what it needs; 4 it may work later as it is.";

const INIT: &str = "\
Example:
  controller init --administrator ada@example.com --name octavius.example.com /etc/octavius
  controller start --config /etc/octavius/controller_config.json
  controller init --administrator ada@example.com --executor eu-1 --executor eu-2 /etc/octavius

Nothing that is there is overwritten. Files that hold a secret are for their owner alone.

Exit status: 0 all of it is there; 2 something has to be changed first, and nothing is left behind.";

const CONFIG: &str = "\
Example:
  OCTAVIUS_CONTROLLER_APP_PORT=4000 controller config --config controller.yaml

  KEY             VALUE           FROM
  app_port        4000            OCTAVIUS_CONTROLLER_APP_PORT
  listen_address  127.0.0.1       default
  store           embedded        derived from the lack of `etcd_` keys
  data_dir        /var/octavius   controller.yaml
  ...

Exit status: 0 it is right; 2 it is not, and all its faults are told.";

const BACKUP: &str = "\
Examples:
  controller backup /backups/octavius-$(date +%F) --config controller.yaml
  controller backup all.backup --logs --force

An etcd is read by itself, at one revision. An embedded store that a controller has open is read
through that controller, which has to listen where the configuration says; if it takes tokens, give
an administrator's in the variable ACCESS_TOKEN. Secrets stay sealed;
`master.key` in `data_dir` is not in the backup, and nothing sealed can be opened without it: keep
a copy of it, somewhere else.

Exit status: 0 the backup is on disk; 2 the configuration or the command has to be changed; 4 it
may work later as it is. Where it is not 0, FILE is as it was.";

const RESTORE: &str = "\
Examples:
  controller restore /backups/octavius-2026-11-28 --config controller.yaml
  OCTAVIUS_CONTROLLER_ETCD_ENDPOINTS=http://localhost:2379 controller restore all.backup

No controller may run on the store. Nothing is written before all of the file was read and found
whole. A restore that did not end is known as such: no controller starts on it, and the next restore
begins anew. Before a controller starts, put `master.key` into its `data_dir`. Executors keep what
they run: its end and its log arrive at the controller of the restored store.

Exit status: 0 the store is restored; 2 the file, the configuration or the command has to be
changed, as where the store is not empty; 4 it may work later as it is.";

#[derive(Debug, Args)]
struct File {
    /// The configuration file, JSON or YAML; else `controller_config.json`, `.yaml` or `.yml` in the working folder.
    /// Variables `OCTAVIUS_CONTROLLER_…` override its keys.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl File {
    fn load(&self) -> Result<Loaded<Configuration>, configuration::Problems> {
        configuration::load(self.config.as_deref())
    }
}

fn main() -> ExitCode {
    let (file, check_config) = match Arguments::parse().command {
        Command::Start { file, check_config } => (file, check_config),
        Command::Init { administrator, names, executors, folder } => {
            let wanted = init::Wanted {
                administrator: &administrator,
                names: &names,
                executors: &executors,
            };
            return match init::init(&wanted, &folder) {
                Ok(text) => match writeln!(io::stdout(), "{text}") {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(error) => tell(NOT_NOW, format_args!("{error}")),
                },
                Err(error) => tell(WRONG, format_args!("{:#}", anyhow::Error::new(error))),
            };
        }
        Command::Config { file, output } => return show(&file, output),
        Command::Backup { to, file, logs, force } => {
            let wanted = Wanted { file: to, logs, force };
            return alone(&file, async |configuration| {
                let taken = backup::back_up(&configuration, &wanted).await;
                taken
                    .map(|taken| taken_text(&taken, &wanted))
                    .map_err(|error| (error.is_lasting(), error.to_string()))
            });
        }
        Command::Restore { from, file } => {
            return alone(&file, async |configuration| {
                let restored = backup::restore(&configuration, &from).await;
                restored
                    .map(|restored| restored_text(&restored, &configuration))
                    .map_err(|error| (error.is_lasting(), error.to_string()))
            });
        }
        Command::RotateKey { file } => {
            return alone(&file, async |configuration| {
                let rotated = rotate::rotate(&configuration).await;
                rotated
                    .map(|rotated| rotated_text(&rotated))
                    .map_err(|error| (error.is_lasting(), error.to_string()))
            });
        }
    };
    let Loaded { section, warnings, .. } = match file.load() {
        Ok(loaded) => loaded,
        Err(problems) => return tell(WRONG, format_args!("{problems}")),
    };
    if check_config {
        let warnings = warnings.iter().map(|warning| format!("warning: {warning}\n"));
        let warnings = warnings.collect::<String>();
        return tell(0, format_args!("{warnings}the configuration is right"));
    }
    let logging = match logging::install(&section.logging()) {
        Ok(logging) => logging,
        Err(error) => return tell(WRONG, format_args!("{:#}", anyhow::Error::new(error))),
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let code = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(&section));
            runtime.shutdown_timeout(LEAVE_WITHIN);
            code
        }
        Err(error) => tell(NOT_NOW, format_args!("no threads to run on: {error}")),
    };
    drop(logging);
    code
}

/// Does one thing with a configuration, and says what came of it, on standard output; or why not, and whether that lasts.
fn alone(
    file: &File,
    work: impl AsyncFnOnce(Configuration) -> Result<String, (bool, String)>,
) -> ExitCode {
    let section = match file.load() {
        Ok(loaded) => loaded.section,
        Err(problems) => return tell(WRONG, format_args!("{problems}")),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tell(NOT_NOW, format_args!("no threads to run on: {error}")),
    };
    let code = match runtime.block_on(work(section)) {
        Ok(text) => match writeln!(io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => tell(NOT_NOW, format_args!("{text}\n{error}")),
        },
        Err((lasts, text)) => tell(if lasts { WRONG } else { NOT_NOW }, format_args!("{text}")),
    };
    runtime.shutdown_timeout(LEAVE_WITHIN);
    code
}

fn taken_text(taken: &BackedUp, wanted: &Wanted) -> String {
    let BackedUp { head, counts, gone, bytes } = taken;
    let logs = match (wanted.logs, gone) {
        (false, _) => "without the bytes of logs (`--logs` takes them along)".to_owned(),
        (true, 0) => format!("with the bytes of logs, in {} objects", counts.objects),
        (true, gone) => format!(
            "with the bytes of logs, in {} objects; {gone} were removed meanwhile, or are missing",
            counts.objects
        ),
    };
    format!(
        "installation {}: {} keys of one moment, {} bytes, {logs}, are in {}\n`master.key` is not in it, and nothing sealed can be opened without it: keep a copy of it somewhere else",
        head.installation,
        counts.entries,
        bytes,
        wanted.file.display()
    )
}

fn restored_text(restored: &Restored, configuration: &Configuration) -> String {
    let Restored { head, counts, again, master_key } = restored;
    let again = if *again { "; what an unfinished restore had left was removed first" } else { "" };
    let logs = match head.logs {
        true => format!("the bytes of logs are in {} objects", counts.objects),
        false => "the bytes of logs are not in it, but of short ones: bring them along as they lie in the log store".to_owned(),
    };
    let key = match master_key {
        None => "the master key fits: a controller can be started".to_owned(),
        Some(error) => format!(
            "before a controller is started, put the `master.key` of that installation into {}: {error}",
            configuration.data_dir.display()
        ),
    };
    format!(
        "installation {}, as it was at {}: {} keys are restored{again}\n{logs}\n{key}",
        head.installation, head.taken_at, counts.entries
    )
}

fn rotated_text(rotated: &Rotated) -> String {
    let Rotated { values, former } = rotated;
    let former = match former {
        Some(path) => format!(
            "the former one is in {}: keep it with the copies of `master.key`, for backups that were taken before, and take it away here",
            path.display()
        ),
        None => "there was no former one left".to_owned(),
    };
    format!("{values} values are sealed under a new master key\n{former}")
}

/// Shows what is in force, and all that is wrong with it.
fn show(file: &File, output: Form) -> ExitCode {
    let is_right = configuration::said(&file.load(), output, |_| Vec::new()).tell();
    if is_right { ExitCode::SUCCESS } else { ExitCode::from(WRONG) }
}

async fn run(configuration: &Configuration) -> ExitCode {
    let cancel = CancellationToken::new();
    let serve = async {
        // Whoever ends it while it starts does not wait for what is not needed any more.
        let running = tokio::select! {
            running = Controller::start(configuration) => running?,
            () = cancel.cancelled() => return Ok(()),
        };
        announce(&running, configuration);
        running.serve_until(cancel.clone()).await.context("the controller failed")
    };
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return tell(NOT_NOW, format_args!("signals cannot be heard: {error}")),
    };
    match signals.run(&cancel, serve).await {
        End::Ended(Ok(())) => ExitCode::SUCCESS,
        End::Ended(Err(error)) => {
            let start = error.downcast_ref::<StartError>();
            let code =
                if start.is_some_and(StartError::is_configuration) { WRONG } else { NOT_NOW };
            tracing::error!("{error:#}");
            tell(code, format_args!("{error:#}"))
        }
        End::Left(signal) => ExitCode::from(signal.exit_status()),
    }
}

/// Says where it listens, who can reach that, and how to change it.
fn announce(running: &Running, configuration: &Configuration) {
    let Running { address, metrics_address, .. } = running;
    let knows = configuration.authentication == Authentication::Tokens;
    let reach = reach(address.ip(), knows);
    let folder = configuration.data_dir.display();
    let state = match configuration.store() {
        StoreKind::Embedded => format!("its state is in {folder}"),
        StoreKind::Etcd => format!(
            "its state is in etcd, where it takes part in the election of the leader; its master key is in {folder}"
        ),
    };
    let over = if configuration.tls_cert_file.is_some() { " over TLS" } else { "" };
    tell(
        0,
        format_args!(
            "the controller serves{over} at {address} ({reach})\nmetrics and health are at http://{metrics_address}/metrics, /healthz and /readyz\n{state}; Ctrl-C ends it"
        ),
    );
}

/// Who can reach what listens at `address`.
fn reach(address: IpAddr, knows_who_asks: bool) -> &'static str {
    match (address.to_canonical().is_loopback(), knows_who_asks) {
        (true, false) => {
            "only this machine reaches it; whoever is on it may do everything. For others set `listen_address` (for example `0.0.0.0`, variable OCTAVIUS_CONTROLLER_LISTEN_ADDRESS), which takes TLS and tokens: `controller init` makes what is needed"
        }
        (true, true) => "only this machine reaches it, and who calls shows a token",
        (false, true) => {
            "who calls shows a token: an administrator makes those of people with `octavius token create`, and those of executors with `octavius executors invite`"
        }
        (false, false) => {
            "whoever reaches it may do everything, because nobody has to prove who they are: keep it in a network that you trust"
        }
    }
}

/// Writes to standard error, for whoever started it. The log may be a file.
fn tell(code: u8, text: std::fmt::Arguments<'_>) -> ExitCode {
    // Where nobody listens any more, the exit code still speaks.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_tokens_says_so_wherever_it_listens() {
        for address in ["0.0.0.0", "127.0.0.1"] {
            let told = reach(address.parse().unwrap(), true);
            assert!(told.contains("who calls shows a token"), "{address}: {told}");
            assert!(!told.contains("everything"), "{address}: {told}");
        }
    }

    /// No test listens where others could reach it: what is said of such an address is looked at here.
    #[test]
    fn an_address_that_others_reach_comes_with_a_warning() {
        for address in ["0.0.0.0", "::", "192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"] {
            let told = reach(address.parse().unwrap(), false);
            assert!(told.starts_with("whoever reaches it may do everything"), "{address}: {told}");
            assert!(told.contains("a network that you trust"), "{address}: {told}");
        }
        for address in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
            let told = reach(address.parse().unwrap(), false);
            assert!(told.starts_with("only this machine reaches it"), "{address}: {told}");
        }
    }
}
