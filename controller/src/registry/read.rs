//! Looking at jobs: one, a page of them, and one with the arguments of an execution.

use super::{
    Job, LookUpError, PinError, Pinned, Registry,
    rules::{check_arguments, nearest},
};
use actix::{ActorFutureExt, Context, Handler, Message, ResponseActFuture, fut};
use futures::future::join_all;
use octavius_protocol::id::JobName;
use std::{collections::BTreeMap, ops::Bound, sync::Arc};

/// The most bytes of definitions in a page, unless one alone has more: a page has to fit into a message.
const MOST_PAGE_BYTES: usize = 1 << 20;

/// A page of jobs, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListedJobs {
    /// The jobs.
    pub jobs: Vec<Arc<Job>>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

/// One job's newest version.
#[derive(Debug, Message)]
#[rtype(result = "Result<Arc<Job>, LookUpError>")]
pub(super) struct Describe(pub(super) String);

impl Handler<Describe> for Registry {
    type Result = ResponseActFuture<Self, Result<Arc<Job>, LookUpError>>;

    fn handle(&mut self, Describe(name): Describe, _: &mut Context<Self>) -> Self::Result {
        let known = name.parse::<JobName>().ok().and_then(|name| self.jobs.get(&name));
        let Some(known) = known else {
            let names = self.jobs.keys().map(JobName::as_str);
            let nearest = nearest(&name, names).and_then(|name| name.parse().ok());
            return Box::pin(fut::err(LookUpError::Unknown { name, nearest }));
        };
        let job = known.job.clone();
        Box::pin(fut::wrap_future(known.confirmed()).map(|(), _, _| Ok(job)))
    }
}

/// A page of jobs behind the one that is named.
#[derive(Debug, Message)]
#[rtype(result = "ListedJobs")]
pub(super) struct List {
    pub(super) most: usize,
    pub(super) after: Option<JobName>,
}

impl Handler<List> for Registry {
    type Result = ResponseActFuture<Self, ListedJobs>;

    fn handle(&mut self, list: List, _: &mut Context<Self>) -> Self::Result {
        let start = list.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.jobs.range((start, Bound::Unbounded)).peekable();
        let (mut listed, mut waited_for, mut size) = (ListedJobs::default(), Vec::new(), 0);
        while let Some((_, known)) = rest.peek() {
            size += known.size;
            let full = listed.jobs.len() >= list.most.max(1) || size > MOST_PAGE_BYTES;
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

/// A job's newest version, with these arguments checked against it.
#[derive(Debug, Message)]
#[rtype(result = "Result<Pinned, PinError>")]
pub(super) struct Pin {
    pub(super) job: String,
    pub(super) arguments: BTreeMap<String, String>,
}

impl Handler<Pin> for Registry {
    type Result = ResponseActFuture<Self, Result<Pinned, PinError>>;

    fn handle(&mut self, Pin { job, arguments }: Pin, _: &mut Context<Self>) -> Self::Result {
        let known = job.parse::<JobName>().ok().and_then(|name| self.jobs.get(&name));
        let Some(known) = known else {
            return Box::pin(fut::err(PinError::UnknownJob(job)));
        };
        let violations = check_arguments(&known.job.definition, &arguments);
        if !violations.is_empty() {
            return Box::pin(fut::err(PinError::BadArguments { job, violations }));
        }
        let pinned = Pinned::new(&known.job, arguments);
        Box::pin(fut::wrap_future(known.confirmed()).map(|(), _, _| Ok(pinned)))
    }
}
