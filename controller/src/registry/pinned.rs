//! A job's version as one execution takes it: everything that is needed to run it, read and with its defaults.

use super::{ArgumentType, Job, OnLimit, OnLost, Resources, Retry, USUAL_PRIORITY, order};
use jiff::SignedDuration;
use octavius_protocol::id::{JobName, Namespace, VariableName};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// The most attempts of one execution, whatever is asked for: the earlier ones are kept in its record.
pub const MOST_ATTEMPTS: u32 = 20;

/// A job's version with the arguments of one execution, all found to be right. Its `Debug` shows no values.
#[derive(Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The job's name.
    pub job: JobName,
    /// The job's uid.
    pub uid: String,
    /// The version that is pinned.
    pub version: u64,
    /// The container image.
    pub image_name: String,
    /// The program and its arguments; empty: the image's own.
    pub command: Vec<String>,
    /// How long the program may run; none: what the executor says.
    pub timeout: Option<Duration>,
    /// How long an attempt may take until its program runs; none: what the executor says.
    pub start_timeout: Option<Duration>,
    /// How long the execution may wait for an executor; none: no limit.
    pub queue_timeout: Option<Duration>,
    /// Which ends are tried again; none: what the executor says.
    pub retry: Option<RetryPolicy>,
    /// How many executions of the job run at once; 0: no limit.
    pub concurrency: u32,
    /// What runs one at a time of the job; none: nothing does.
    pub concurrency_key: Option<Arc<str>>,
    /// What becomes of an execution that is submitted while a limit is reached.
    pub on_limit: OnLimit,
    /// With whom it shares places; empty: with those of all jobs without a team.
    pub team: Arc<str>,
    /// From 0 to 9; none: the usual one.
    pub priority: Option<u8>,
    /// The most that a request may ask for.
    pub max_priority: u8,
    /// What becomes of it where an attempt is lost.
    pub on_lost: OnLost,
    /// Labels that an executor must have.
    pub executor_selector: BTreeMap<String, String>,
    /// What the program needs.
    pub resources: Option<Resources>,
    /// A partial pod template as a JSON object; empty: none.
    pub kubernetes: String,
    /// The namespace of what is made for it; none: what the executor says.
    pub namespace: Option<Namespace>,
    /// The secrets that the job wants.
    pub secrets: Vec<VariableName>,
    /// Values by argument name: as given, and the defaults of those that were not.
    pub arguments: BTreeMap<VariableName, String>,
    /// Which of them were not given: their values are defaults.
    pub defaulted: BTreeSet<VariableName>,
    /// Which of the values that were given are for some groups alone, and for which: by what this version says, and by
    /// what the newest does.
    pub for_groups: Vec<(VariableName, Vec<String>)>,
    /// Which of the arguments are secret.
    pub secret_arguments: BTreeSet<VariableName>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("job", &self.job)
            .field("version", &self.version)
            .field("secrets", &self.secrets)
            .field("arguments", &self.arguments.keys())
            .finish_non_exhaustive()
    }
}

impl Pinned {
    /// Puts a job and arguments that fit it together.
    pub(super) fn new(job: &Job, newest: &Job, arguments: BTreeMap<String, String>) -> Self {
        let definition = &job.definition;
        // Names were checked when the job was stored, and arguments are among them: none is left out here.
        let named = |name: &str| name.parse::<VariableName>().ok();
        let defaults = definition
            .arguments
            .iter()
            .filter_map(|argument| Some((named(&argument.name)?, argument.default.clone()?)));
        let defaulted = definition.arguments.iter().filter(|argument| {
            argument.default.is_some() && !arguments.contains_key(&argument.name)
        });
        let defaulted = defaulted.filter_map(|argument| named(&argument.name)).collect();
        let mut for_groups = Vec::new();
        for argument in [job, newest].into_iter().flat_map(|job| &job.definition.arguments) {
            let Some(value) = arguments.get(&argument.name) else { continue };
            let groups: Vec<_> =
                argument.groups_for(value).into_iter().map(str::to_owned).collect();
            if let Some(name) = named(&argument.name).filter(|_| !groups.is_empty()) {
                for_groups.push((name, groups));
            }
        }
        let given = arguments.into_iter().filter_map(|(name, value)| Some((named(&name)?, value)));
        let secret = definition.arguments.iter().filter(|one| one.kind == ArgumentType::Secret);
        let arguments: BTreeMap<_, _> = defaults.chain(given).collect();
        // Checked when the job was stored, and the words, too.
        let priority = |number: u32| u8::try_from(number).ok();
        let own_priority = definition.priority.and_then(priority);
        Self {
            job: job.name.clone(),
            uid: job.uid.clone(),
            version: job.version,
            image_name: definition.image_name.clone(),
            command: definition.command.clone(),
            timeout: definition.timeout.map(|span| span.unsigned_abs()),
            start_timeout: definition.start_timeout.map(|span| span.unsigned_abs()),
            queue_timeout: definition.queue_timeout.map(|span| span.unsigned_abs()),
            retry: definition.retry.as_ref().map(RetryPolicy::from),
            concurrency: definition.concurrency,
            concurrency_key: order::key(definition, &arguments),
            on_limit: OnLimit::read(&definition.on_limit).unwrap_or_default(),
            team: definition.team.as_str().into(),
            priority: own_priority,
            max_priority: definition
                .max_priority
                .and_then(priority)
                .unwrap_or(own_priority.unwrap_or(USUAL_PRIORITY)),
            on_lost: OnLost::read(&definition.on_lost).unwrap_or_default(),
            executor_selector: definition.executor_selector.clone(),
            resources: definition.resources.clone(),
            kubernetes: definition.kubernetes.clone(),
            namespace: definition.namespace.parse().ok(), // checked when the job was stored; empty: none
            secrets: definition.secrets.iter().filter_map(|secret| named(&secret.name)).collect(),
            arguments,
            defaulted,
            for_groups,
            secret_arguments: secret.filter_map(|argument| named(&argument.name)).collect(),
        }
    }
}

/// Which ends of an attempt are tried again, and after which pauses: what a definition says, with the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How many attempts there are in all: from 1.
    pub attempts: u32,
    /// The pause before the second attempt, in milliseconds.
    pub pause_ms: u64,
    /// By how much each pause is longer than the one before, in hundredths: from 100.
    pub factor_percent: u32,
    /// No pause is longer, in milliseconds.
    pub max_pause_ms: u64,
    /// Which ends.
    pub on: BTreeSet<RetryOn>,
}

impl RetryPolicy {
    /// The pause before the second attempt, where a job does not say.
    pub const PAUSE: Duration = Duration::from_secs(10);
    /// By how much pauses grow, in hundredths, where a job does not say.
    pub const FACTOR_PERCENT: u32 = 200;
    /// The longest pause, where a job does not say.
    pub const MAX_PAUSE: Duration = Duration::from_mins(5);

    /// The policy of so many attempts, where nothing else is said.
    pub fn of(attempts: u32) -> Self {
        Self::from(&Retry { attempts, ..Retry::default() })
    }
}

impl From<&Retry> for RetryPolicy {
    fn from(retry: &Retry) -> Self {
        let ms = |span: Option<SignedDuration>, absent: Duration| {
            let span = span.map_or(absent, |span| span.unsigned_abs());
            u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
        };
        // Checked when the job was stored: from 1 to `MOST_ATTEMPTS`. The words, too.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let percent = |factor: f64| (factor * 100.0).round() as u32;
        let words = retry.on.iter().filter_map(|word| word.parse().ok());
        let on: BTreeSet<RetryOn> = words.collect();
        Self {
            attempts: retry.attempts.max(1),
            pause_ms: ms(retry.pause, Self::PAUSE),
            factor_percent: retry.factor.map_or(Self::FACTOR_PERCENT, percent),
            max_pause_ms: ms(retry.max_pause, Self::MAX_PAUSE),
            on: if on.is_empty() { [RetryOn::Failed].into() } else { on },
        }
    }
}

/// One kind of end that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RetryOn {
    /// The program failed, whatever its exit code.
    Failed,
    /// The program ran for too long.
    TimedOut,
    /// Its executor went silent.
    Lost,
    /// The program did not run in time.
    StartTimeout,
    /// Its image could not be had.
    Image,
    /// Its pod was evicted.
    Evicted,
    /// Its pod had to make room for one of a higher priority.
    Preempted,
    /// Somebody deleted its pod.
    PodDeleted,
    /// The program exited with this code.
    ExitCode(u8),
}

/// A word that names no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of `failed`, `timed_out`, `lost`, `start_timeout`, `image`, `evicted`, `preempted`, `pod_deleted` and `exit_code:N` with N from 1 to 255"
)]
pub struct NoSuchEnd;

impl FromStr for RetryOn {
    type Err = NoSuchEnd;

    fn from_str(word: &str) -> Result<Self, NoSuchEnd> {
        match word {
            "failed" => Ok(Self::Failed),
            "timed_out" => Ok(Self::TimedOut),
            "lost" => Ok(Self::Lost),
            "start_timeout" => Ok(Self::StartTimeout),
            "image" => Ok(Self::Image),
            "evicted" => Ok(Self::Evicted),
            "preempted" => Ok(Self::Preempted),
            "pod_deleted" => Ok(Self::PodDeleted),
            _ => match word.strip_prefix("exit_code:").map(str::parse) {
                // 0 is a success, which nobody tries again.
                Some(Ok(code @ 1..)) => Ok(Self::ExitCode(code)),
                _ => Err(NoSuchEnd),
            },
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("failed"),
            Self::TimedOut => f.write_str("timed_out"),
            Self::Lost => f.write_str("lost"),
            Self::StartTimeout => f.write_str("start_timeout"),
            Self::Image => f.write_str("image"),
            Self::Evicted => f.write_str("evicted"),
            Self::Preempted => f.write_str("preempted"),
            Self::PodDeleted => f.write_str("pod_deleted"),
            Self::ExitCode(code) => write!(f, "exit_code:{code}"),
        }
    }
}

impl TryFrom<String> for RetryOn {
    type Error = NoSuchEnd;

    fn try_from(word: String) -> Result<Self, NoSuchEnd> {
        word.parse()
    }
}

impl From<RetryOn> for String {
    fn from(on: RetryOn) -> String {
        on.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_what_the_definition_leaves_out() {
        let written = RetryPolicy::of(3);
        assert_eq!(
            (written.attempts, written.pause_ms, written.factor_percent, written.max_pause_ms),
            (3, 10_000, 200, 300_000)
        );
        assert_eq!(written.on, [RetryOn::Failed].into());
        assert_eq!(RetryPolicy::of(0).attempts, 1);
        let own = Retry {
            attempts: 2,
            pause: Some(SignedDuration::from_millis(1)),
            factor: Some(1.5),
            max_pause: Some(SignedDuration::from_secs(1)),
            on: vec!["lost".to_owned(), "exit_code:75".to_owned()],
        };
        let own = RetryPolicy::from(&own);
        assert_eq!((own.pause_ms, own.factor_percent, own.max_pause_ms), (1, 150, 1_000));
        assert_eq!(own.on, [RetryOn::Lost, RetryOn::ExitCode(75)].into());
    }

    #[test]
    fn ends_have_one_spelling() {
        for word in ["failed", "timed_out", "lost", "start_timeout", "exit_code:1", "exit_code:255"]
        {
            assert_eq!(word.parse::<RetryOn>().unwrap().to_string(), word);
        }
        for word in
            ["", "Failed", "cancelled", "exit_code", "exit_code:0", "exit_code:256", "exit_code:-1"]
        {
            assert_eq!(word.parse::<RetryOn>(), Err(NoSuchEnd), "{word}");
        }
    }
}
