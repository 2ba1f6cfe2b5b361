//! What a shell offers while a command is typed: names and ids as the controller knows them at this moment.
//!
//! A shell calls this program with what was typed so far. Whatever goes wrong, and whoever does not answer in time, the
//! shell is told nothing and its user sees nothing: who types is not to be disturbed.

use crate::{
    cli::Cli,
    render::{Style, execution, text::one_line},
};
use clap::{CommandFactory, builder::StyledStr};
use clap_complete::{
    CompleteEnv, CompletionCandidate,
    engine::ArgValueCompleter,
    env::{EnvCompleter, Shells},
};
use octavius_client::{
    Choice, Client, Error, Settings, Surroundings,
    v1::{Argument, ArgumentType},
};
use std::{
    ffi::{OsStr, OsString},
    future::Future,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

/// The variable by which a shell says that it wants to be told, and which shell it is.
const ASKED: &str = "OCTAVIUS_COMPLETE";
/// After this time there is nothing to offer.
const DEADLINE: Duration = Duration::from_millis(800);
/// How many of the newest executions are offered.
const OFFERED: usize = 30;

/// Answers a shell, if it is one that asks.
pub(crate) fn answer(arguments: &[OsString]) -> Option<ExitCode> {
    std::env::var_os(ASKED).filter(|shell| !shell.is_empty())?;
    let complete = CompleteEnv::with_factory(Cli::command).var(ASKED);
    let told = complete.try_complete(arguments.iter(), None);
    Some(if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The script that makes a shell ask this program, called by `program`.
pub(crate) fn script(shell: &str, program: &str) -> io::Result<String> {
    let shells = Shells::builtins();
    let unknown = || io::Error::other(format!("no completion for {shell}"));
    let shell: &dyn EnvCompleter = shells.completer(shell).ok_or_else(unknown)?;
    let mut script = Vec::new();
    shell.write_registration(ASKED, "octavius", "octavius", program, &mut script)?;
    script.flush()?;
    String::from_utf8(script).map_err(io::Error::other)
}

/// Offers the jobs that the user may see.
pub(crate) fn jobs() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offered(current, async |client| {
            let jobs = client.jobs().await?.into_iter().filter_map(|job| job.definition);
            Ok(jobs.map(|job| (job.name, one_line(&job.description))).collect())
        })
    })
}

/// Offers the newest executions, and `@last`.
pub(crate) fn executions() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offered(current, async |client| {
            let style = Style::now(false, false);
            let newest = client.executions(None, Some(OFFERED)).await?;
            let newest = newest.into_iter().map(|found| {
                let about = execution::in_short(&style, &found);
                (found.id, about)
            });
            let last = ("@last".to_owned(), "your newest execution".to_owned());
            Ok([last].into_iter().chain(newest).collect())
        })
    })
}

/// Offers the executors that the controller knows.
pub(crate) fn executors() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        offered(current, async |client| {
            let executors = client.executors().await?.into_iter();
            Ok(executors.map(|executor| (executor.id, String::new())).collect())
        })
    })
}

/// Offers the contexts of the user's files.
pub(crate) fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let contexts = Surroundings::of_this_process().contexts().unwrap_or_default();
        let offers = contexts.into_iter().map(|listed| {
            let host = listed.contents.ok().and_then(|contents| contents.host);
            (listed.name.to_string(), one_line(&host.unwrap_or_default()))
        });
        candidates(current, offers.collect())
    })
}

/// Offers the names of the arguments that the job which stands before takes and that are not given yet, each with its
/// `=`; and behind one, the values that it allows.
pub(crate) fn arguments() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let typed = Typed::of_this_process();
        let Some(job) = typed.job.clone() else { return Vec::new() };
        let whole = current.to_string_lossy().into_owned();
        offered(current, async |client| {
            let job = client.describe_job(&job).await?;
            let arguments = job.definition.map(|definition| definition.arguments);
            Ok(offers(&arguments.unwrap_or_default(), &typed.before, &whole))
        })
    })
}

fn offers(arguments: &[Argument], before: &[String], current: &str) -> Vec<(String, String)> {
    // Bash hands over `title`, `=` and what stands behind it as words of their own, others one word.
    let cut = before.iter().map(String::as_str).rfind(|word| *word != "=");
    let named = |name: &&str| arguments.iter().find(|argument| argument.name == **name);
    let values = |argument: &Argument| match argument.r#type() {
        ArgumentType::Bool => vec!["true".to_owned(), "false".to_owned()],
        _ => argument.allowed.clone(),
    };
    if let Some((name, _)) = current.split_once('=') {
        let values = named(&name).map(values).unwrap_or_default().into_iter();
        return values.map(|value| (format!("{name}={value}"), String::new())).collect();
    }
    if let Some(argument) = cut.as_ref().and_then(named) {
        return values(argument).into_iter().map(|value| (value, String::new())).collect();
    }
    let is_given = |name: &str| before.iter().any(|word| word.split('=').next() == Some(name));
    arguments
        .iter()
        .filter(|argument| !is_given(&argument.name))
        .map(|argument| (format!("{}=", argument.name), one_line(&argument.description)))
        .collect()
}

/// What the user has typed so far, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Typed {
    choice: Choice,
    /// The job that `execute` names.
    job: Option<String>,
    /// The words behind it, without the one that is being typed.
    before: Vec<String>,
}

impl Typed {
    fn of_this_process() -> Self {
        let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
        let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|text| text.parse().ok());
        // Fish hands over no index: what is typed stands last.
        Self::of(&words, index.unwrap_or(words.len().saturating_sub(1)))
    }

    /// Of these words, of which the one at `index` is being typed.
    fn of(words: &[String], index: usize) -> Self {
        let mut typed = Self::default();
        let mut executes = false;
        let mut words = words.iter().take(index).skip(1);
        while let Some(word) = words.next() {
            let (flag, joined) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let mut value = || joined.clone().or_else(|| words.next().cloned());
            match flag {
                "--config" => {
                    typed.choice = value().map_or(Choice::Usual, |path| Choice::File(path.into()));
                }
                "--context" => {
                    let name = value().and_then(|name| name.parse().ok());
                    typed.choice = name.map_or(Choice::Usual, Choice::Context);
                }
                "--job-name" => typed.job = value(),
                "-o" | "--output" | "-f" | "--file" | "--args" | "--wait-timeout" | "--timeout"
                | "--start-within" | "--on" => drop(value()),
                _ if flag.starts_with('-') => {}
                "execute" if !executes => executes = true,
                _ if executes && typed.job.is_none() => typed.job = Some(word.clone()),
                _ => typed.before.push(word.clone()),
            }
        }
        typed
    }
}

/// What `ask` learns from the controller in time, as far as it begins with what is there already.
fn offered(
    current: &OsStr,
    ask: impl AsyncFnOnce(Client) -> Result<Vec<(String, String)>, Error>,
) -> Vec<CompletionCandidate> {
    let typed = Typed::of_this_process();
    let asking = async {
        let mut settings = Settings::load(&typed.choice).ok()?;
        settings.timeout = settings.timeout.min(DEADLINE);
        ask(Client::new(&settings).ok()?).await.ok()
    };
    candidates(current, in_time(asking).flatten().unwrap_or_default())
}

fn in_time<T>(asking: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answer = runtime.block_on(async { tokio::time::timeout(DEADLINE, asking).await.ok() });
    // A name that is still being looked up does not hold up the shell.
    runtime.shutdown_background();
    answer
}

fn candidates(current: &OsStr, offers: Vec<(String, String)>) -> Vec<CompletionCandidate> {
    let begins = current.to_string_lossy();
    let offers = offers.into_iter().filter(|(word, _)| word.starts_with(begins.as_ref()));
    offers
        .enumerate()
        .map(|(order, (word, about))| {
            let about = (!about.is_empty()).then(|| StyledStr::from(about));
            CompletionCandidate::new(word).help(about).display_order(Some(order))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Typed::of(&words, words.len() - 1)
    }

    #[test]
    fn the_job_and_the_controller_are_found_among_the_words() {
        let found = typed("octavius --context staging execute -o json greet name=Ada --follow t");
        assert_eq!(found.choice, Choice::Context("staging".parse().unwrap()));
        assert_eq!(found.job.as_deref(), Some("greet"));
        assert_eq!(found.before, ["name=Ada"]);
        let old = typed("octavius execute --config=a.yaml --job-name greet na");
        assert_eq!(
            (old.choice, old.job.as_deref()),
            (Choice::File("a.yaml".into()), Some("greet"))
        );
        assert_eq!(typed("octavius execute gr").job, None, "it is still being typed");
        assert_eq!(typed("octavius"), Typed::default());
    }

    #[test]
    fn arguments_are_offered_until_they_are_given() {
        let argument = |name: &str| Argument { name: name.to_owned(), ..Argument::default() };
        let allowed = vec!["Dr.".to_owned(), "Prof.".to_owned()];
        let arguments = [argument("name"), Argument { allowed, ..argument("title") }];
        let offered = |before: &[&str], current: &str| {
            let before: Vec<_> = before.iter().map(|word| (*word).to_owned()).collect();
            let offers = offers(&arguments, &before, current);
            offers.into_iter().map(|(word, _)| word).collect::<Vec<_>>()
        };
        assert_eq!(offered(&[], ""), ["name=", "title="]);
        assert_eq!(offered(&["name=Ada"], "t"), ["title="]);
        // Bash cuts words at `=`.
        assert_eq!(offered(&["name", "=", "Ada"], ""), ["title="]);
        assert_eq!(offered(&["title", "="], "D"), ["Dr.", "Prof."]);
        assert_eq!(offered(&[], "title=D"), ["title=Dr.", "title=Prof."]);
    }

    #[test]
    fn there_is_a_script_for_each_shell() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell, "octavius").unwrap();
            assert!(script.contains(ASKED), "{script}");
        }
    }
}
