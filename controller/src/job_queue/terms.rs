//! What an execution runs under: how often it is tried, how long it may take, and where it may run.
//!
//! Its own terms are pinned when it is submitted, and those of its executor with each grant: what a file says later
//! changes nothing of what runs.

use crate::registry::{OnLimit, RetryOn, RetryPolicy, USUAL_PRIORITY};
use octavius_protocol::id::ExecutorId;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How long an attempt may take until its program runs, where nobody says.
pub const USUAL_START_TIMEOUT: Duration = Duration::from_mins(10);

/// What the job and the request to run it say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Which ends are tried again; none: what the executor says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryPolicy>,
    /// The job's `timeout`, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The job's `start_timeout`, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout_ms: Option<u64>,
    /// The job's `queue_timeout`, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
    /// How many executions of the job run at once; 0: no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub concurrency: u32,
    /// What becomes of one that is submitted while a limit of its job is reached.
    #[serde(skip_serializing_if = "OnLimit::is_usual")]
    pub on_limit: OnLimit,
    /// Whether an attempt that is lost is followed by another, whatever `retry` says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rerun_lost: bool,
    /// With whom it shares places; empty: with all that have no team.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub team: Arc<str>,
    /// The job's priority; none: the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// The labels of an executor that the job asks for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// What the request says.
    #[serde(skip_serializing_if = "Own::is_empty")]
    pub own: Own,
}

/// What a request to run a job says besides the arguments. Its limits only lower the job's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// How long the program may run, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How long it may wait for an executor, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// The labels that an executor must have, besides those that the job asks for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<String, String>,
    /// Its priority; none: the job's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

impl Own {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks with a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What many executions run under, the same only once: those of a job mostly differ in nothing of it.
#[derive(Debug, Default)]
pub(super) struct SharedTerms {
    shared: HashSet<Arc<Terms>>,
    /// How many there were after the last look for those that nobody shares any more.
    looked_at: usize,
}

impl SharedTerms {
    /// These terms, shared with all that have the same.
    pub(super) fn share(&mut self, terms: Terms) -> Arc<Terms> {
        if let Some(shared) = self.shared.get(&terms) {
            return shared.clone();
        }
        if self.shared.len() >= 2 * self.looked_at.max(32) {
            self.shared.retain(|terms| Arc::strong_count(terms) > 1);
            self.looked_at = self.shared.len();
        }
        let terms = Arc::new(terms);
        self.shared.insert(terms.clone());
        terms
    }
}

/// What an executor adds where a job does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecutorTerms {
    /// How many attempts follow one that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub job_retries: u32,
    /// How long a program may run, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How long an attempt may take until its program runs, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout_ms: Option<u64>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The job's definition.
    Job,
    /// The request to run it.
    Request,
    /// The executor's file.
    Executor,
    /// Nobody.
    Default,
}

/// A limit of time, and who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How long.
    pub time: Duration,
    /// Who says so.
    pub from: Source,
}

impl Limit {
    fn new(ms: u64, from: Source) -> Self {
        Self { time: Duration::from_millis(ms), from }
    }

    /// The lower one, and of two that are equal the first.
    fn lower(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) => {
                Some(if second.time < first.time { second } else { first })
            }
            (first, second) => first.or(second),
        }
    }
}

impl Terms {
    /// How long the program may run at an executor that adds `offer`; none: without limit.
    pub fn timeout(&self, offer: &ExecutorTerms) -> Option<Limit> {
        let job = self.timeout_ms.map(|ms| Limit::new(ms, Source::Job));
        let executor = || offer.timeout_ms.map(|ms| Limit::new(ms, Source::Executor));
        let own = self.own.timeout_ms.map(|ms| Limit::new(ms, Source::Request));
        Limit::lower(job.or_else(executor), own)
    }

    /// How long an attempt may take until its program runs.
    pub fn start_timeout(&self, offer: &ExecutorTerms) -> Limit {
        let job = self.start_timeout_ms.map(|ms| Limit::new(ms, Source::Job));
        let executor = offer.start_timeout_ms.map(|ms| Limit::new(ms, Source::Executor));
        job.or(executor).unwrap_or(Limit { time: USUAL_START_TIMEOUT, from: Source::Default })
    }

    /// How long it may wait for an executor; none: without limit.
    pub fn queue_timeout(&self) -> Option<Limit> {
        let job = self.queue_timeout_ms.map(|ms| Limit::new(ms, Source::Job));
        let own = self.own.start_within_ms.map(|ms| Limit::new(ms, Source::Request));
        Limit::lower(job, own)
    }

    /// Which ends are tried again, and who says so.
    pub fn retry(&self, offer: &ExecutorTerms) -> (RetryPolicy, Source) {
        let (mut policy, from) = match (&self.retry, offer.job_retries) {
            (Some(policy), _) => (policy.clone(), Source::Job),
            (None, 0) => (RetryPolicy::of(1), Source::Default),
            (None, retries) => (RetryPolicy::of(retries.saturating_add(1)), Source::Executor),
        };
        if !self.rerun_lost {
            return (policy, from);
        }
        if policy.attempts == 1 {
            policy.on.clear(); // nothing else is tried again
            policy.attempts = 2;
        }
        policy.on.insert(RetryOn::Lost);
        (policy, Source::Job)
    }

    /// From 0 to 9: more is served sooner.
    pub fn priority(&self) -> u8 {
        self.own.priority.or(self.priority).unwrap_or(USUAL_PRIORITY)
    }

    /// All labels that an executor must have. What the job asks for, the request cannot change.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.own.on.clone();
        labels.extend(self.selector.clone());
        labels
    }
}

/// Who says how long a program may run, as its owner finds it.
pub fn timeout_key(from: Source, executor: Option<&ExecutorId>) -> String {
    match from {
        Source::Job => "the job's `timeout`".to_owned(),
        Source::Request => "`--timeout` of this execution".to_owned(),
        Source::Executor => format!("`job_active_deadline_seconds` of {}", of(executor)),
        Source::Default => "the default".to_owned(),
    }
}

/// Who says how long an attempt may take until its program runs, as its owner finds it.
pub fn start_timeout_key(from: Source, executor: Option<&ExecutorId>) -> String {
    match from {
        Source::Job => "the job's `start_timeout`".to_owned(),
        Source::Request => "the request".to_owned(),
        Source::Executor => format!(
            "`wait_for_resource_poll_count` times `job_active_deadline_seconds` of {}",
            of(executor)
        ),
        Source::Default => "the default: the job has no `start_timeout`".to_owned(),
    }
}

/// Who says how often it is tried, as its owner finds it.
pub fn attempts_key(from: Source, executor: Option<&ExecutorId>) -> String {
    match from {
        Source::Job => "the job's `retry`".to_owned(),
        Source::Executor => format!("`job_retries` of {}", of(executor)),
        Source::Request | Source::Default => String::new(),
    }
}

/// Who says how long it may wait for an executor, as its owner finds it.
pub fn queue_timeout_key(from: Source) -> &'static str {
    match from {
        Source::Job => "the job's `queue_timeout`",
        Source::Request => "`--start-within` of this execution",
        Source::Executor => "the executor",
        Source::Default => "the default",
    }
}

fn of(executor: Option<&ExecutorId>) -> String {
    executor.map_or_else(|| "its executor".to_owned(), |executor| format!("executor {executor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(seconds: u64, from: Source) -> Option<Limit> {
        Some(Limit::new(seconds * 1000, from))
    }

    #[test]
    fn a_request_only_lowers_what_the_job_or_else_the_executor_says() {
        let offer = ExecutorTerms { timeout_ms: Some(60_000), ..ExecutorTerms::default() };
        let terms = |job: Option<u64>, own: Option<u64>| Terms {
            timeout_ms: job.map(|seconds| seconds * 1000),
            own: Own { timeout_ms: own.map(|seconds| seconds * 1000), ..Own::default() },
            ..Terms::default()
        };
        assert_eq!(terms(None, None).timeout(&offer), limit(60, Source::Executor));
        assert_eq!(terms(Some(90), None).timeout(&offer), limit(90, Source::Job));
        assert_eq!(terms(Some(90), Some(30)).timeout(&offer), limit(30, Source::Request));
        assert_eq!(terms(Some(90), Some(100)).timeout(&offer), limit(90, Source::Job));
        assert_eq!(terms(None, Some(100)).timeout(&offer), limit(60, Source::Executor));
        let nothing = ExecutorTerms::default();
        assert_eq!(terms(None, Some(100)).timeout(&nothing), limit(100, Source::Request));
        assert_eq!(terms(None, None).timeout(&nothing), None);
    }

    #[test]
    fn the_same_terms_are_kept_once_and_no_longer_than_somebody_has_them() {
        let mut terms = SharedTerms::default();
        let own = |number| Terms { timeout_ms: Some(number), ..Terms::default() };
        let kept = terms.share(own(0));
        assert!(Arc::ptr_eq(&kept, &terms.share(own(0))));
        for number in 1..10_000 {
            assert_eq!(*terms.share(own(number)), own(number));
        }
        assert!(terms.shared.len() <= 64, "{} are kept", terms.shared.len());
        assert!(Arc::ptr_eq(&kept, &terms.share(own(0))), "what somebody has was forgotten");
    }

    #[test]
    fn retries_come_from_the_job_or_else_from_the_executor() {
        let offer = ExecutorTerms { job_retries: 2, ..ExecutorTerms::default() };
        let silent = Terms::default();
        assert_eq!(silent.retry(&offer), (RetryPolicy::of(3), Source::Executor));
        assert_eq!(silent.retry(&ExecutorTerms::default()).0.attempts, 1);
        let own = Terms { retry: Some(RetryPolicy::of(1)), ..Terms::default() };
        assert_eq!(own.retry(&offer), (RetryPolicy::of(1), Source::Job));
    }
}
