//! Looking at jobs: one, a page of them, and one with the arguments of an execution.

use super::{
    Job, Known, LookUpError, PinError, Pinned, Registry,
    rules::{check_arguments, nearest},
};
use crate::{access::Sight, limits::LARGEST_PAGE_BYTES, store::keys};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, fut};
use futures::future::join_all;
use octavius_protocol::id::{JobName, VariableName};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

/// A page of jobs, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListedJobs {
    /// The jobs.
    pub jobs: Vec<Arc<Job>>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

/// One version of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The version that was asked for.
    pub job: Arc<Job>,
    /// The job's newest version.
    pub newest_version: u64,
}

/// One version of a job; 0: the newest.
#[derive(Debug, Message)]
#[rtype(result = "Result<Described, LookUpError>")]
pub(super) struct Describe {
    pub(super) name: String,
    pub(super) version: u64,
}

impl Handler<Describe> for Registry {
    type Result = ResponseActFuture<Self, Result<Described, LookUpError>>;

    fn handle(&mut self, describe: Describe, _: &mut Context<Self>) -> Self::Result {
        let known = match self.known(&describe.name) {
            Ok(known) => known,
            Err(unknown) => return Box::pin(fut::err(unknown)),
        };
        let newest_version = known.job.version;
        let job = self.version(known, describe.version);
        Box::pin(
            fut::wrap_future(job).map(move |job, _, _| Ok(Described { job: job?, newest_version })),
        )
    }
}

impl Registry {
    fn known(&self, name: &str) -> Result<&Known, LookUpError> {
        let known = name.parse::<JobName>().ok().and_then(|name| self.jobs.get(&name));
        known.ok_or_else(|| self.unknown(name))
    }

    /// Says that there is no job of this name, and which one may have been meant.
    pub(super) fn unknown(&self, name: &str) -> LookUpError {
        let names = self.jobs.keys().map(JobName::as_str);
        let nearest = nearest(name, names).and_then(|name| name.parse().ok());
        LookUpError::Unknown { name: name.to_owned(), nearest }
    }

    /// A version of a job, once the store has it; 0: the newest.
    fn version(
        &self,
        known: &Known,
        version: u64,
    ) -> impl Future<Output = Result<Arc<Job>, LookUpError>> + use<> {
        let (job, confirmed, store) = (known.job.clone(), known.confirmed(), self.store.clone());
        async move {
            confirmed.await;
            if [0, job.version].contains(&version) {
                return Ok(job);
            }
            let kept = job.kept_versions();
            let (oldest, newest) = (*kept.start(), *kept.end());
            let no_version =
                || LookUpError::NoVersion { name: job.name.clone(), version, oldest, newest };
            if !kept.contains(&version) {
                return Err(no_version());
            }
            let key = keys::job_version(&job.uid, version);
            let value = store.get(&key).await?.ok_or_else(no_version)?;
            let unreadable = |error| LookUpError::Store(format!("`{key}` is no job: {error}"));
            serde_json::from_slice(&value).map(Arc::new).map_err(unreadable)
        }
    }
}

/// A page of jobs behind the one that is named.
#[derive(Debug, Message)]
#[rtype(result = "ListedJobs")]
pub(super) struct List {
    pub(super) most: usize,
    pub(super) after: Option<JobName>,
    /// Of those that are seen.
    pub(super) sight: Sight,
}

impl Handler<List> for Registry {
    type Result = ResponseActFuture<Self, ListedJobs>;

    fn handle(&mut self, list: List, _: &mut Context<Self>) -> Self::Result {
        let start = list.after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.jobs.range((start, Bound::Unbounded));
        let mut rest = rest.filter(|(name, _)| list.sight.sees(name)).peekable();
        let (mut listed, mut waited_for, mut size) = (ListedJobs::default(), Vec::new(), 0);
        while let Some((_, known)) = rest.peek() {
            size += known.size;
            let full = listed.jobs.len() >= list.most.max(1) || size > LARGEST_PAGE_BYTES;
            if full && let Some(last) = listed.jobs.last() {
                listed.next_page_token = last.name.to_string();
                break;
            }
            listed.jobs.push(known.job.clone());
            waited_for.extend(known.unconfirmed.is_some().then(|| known.confirmed()));
            rest.next();
        }
        Box::pin(fut::wrap_future(join_all(waited_for)).map(|_, _, _| listed))
    }
}

/// A job's version (0: the newest), with these arguments checked against it.
#[derive(Message)]
#[rtype(result = "Result<Pinned, PinError>")]
pub(super) struct Pin {
    pub(super) job: String,
    pub(super) version: u64,
    pub(super) arguments: BTreeMap<String, String>,
    /// Arguments that were given once and whose values are not kept any more.
    pub(super) not_kept: BTreeSet<VariableName>,
}

impl Handler<Pin> for Registry {
    type Result = ResponseActFuture<Self, Result<Pinned, PinError>>;

    fn handle(&mut self, pin: Pin, _: &mut Context<Self>) -> Self::Result {
        let known = match self.known(&pin.job) {
            Ok(known) if known.is_doomed() => {
                return Box::pin(fut::err(PinError::Doomed(known.job.name.clone())));
            }
            Ok(known) => known,
            Err(unknown) => return Box::pin(fut::err(unknown.into())),
        };
        // What is for some alone says the newest version, also of what an older one runs.
        let newest = known.job.clone();
        let version = self.version(known, pin.version);
        Box::pin(fut::wrap_future(version).map(move |job, _, _| {
            let (job, arguments) = (job?, pin.arguments);
            let violations = check_arguments(&job.definition, &arguments, &pin.not_kept);
            if violations.is_empty() {
                Ok(Pinned::new(&job, &newest, arguments))
            } else {
                Err(PinError::BadArguments { job: pin.job, violations })
            }
        }))
    }
}
