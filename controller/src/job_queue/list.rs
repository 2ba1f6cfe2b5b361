//! Lists of executions: live ones from the view, final ones from the store, as they were at one moment.

use super::{
    JobQueue, QueueError, QueueHandle, Shown,
    record::Record,
    rules::{Looked, Place, Search, Span, Wanted},
    show::{shown_among, shown_from_history, stored_record},
    storage,
};
use crate::{
    access::Sight,
    store::{Entry, Range, StoreHandle, keys},
};
use actix::prelude::*;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use octavius_protocol::id::ExecutionId;
use octavius_service::actor::Priority;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// The most executions that one call looks at, of the live ones and of the final ones each.
pub const LOOKED_AT: usize = 10_000;
/// How many keys of history are read at a time.
const READ: usize = 1_000;
/// How far back the first read of history goes, in milliseconds, and how many times further each next one. An etcd counts
/// all keys of a range before it gives the first ones: for a page of a million that takes a hundred times longer than for
/// one of ten thousand.
const FIRST_LOOK: u64 = 10_000;
const WIDER: u64 = 8;
/// How many records are read at a time where an index names them.
const AT_ONCE: usize = 32;

/// Which executions a list wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// How many at the most.
    pub page_size: usize,
    /// Where the page before ended; empty for the first.
    pub page_token: String,
    /// Only these.
    pub wanted: Wanted,
}

/// A page of executions, the newest first. It may be short, or empty, and go on nevertheless.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The executions.
    pub executions: Vec<Shown>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
    /// How many were looked at to find these.
    pub looked_at: usize,
}

/// What is wanted of one stretch, and up to where it was looked through.
#[derive(Default)]
struct Found {
    executions: Vec<Shown>,
    /// The last one that was looked at, where there may be more; none: there is no more.
    stopped: Option<ExecutionId>,
    looked_at: usize,
}

impl Found {
    /// Takes what was found at a final execution that was looked at; whether the look ends with it.
    fn is_enough_with(&mut self, id: ExecutionId, record: Option<Record>, most: usize) -> bool {
        self.looked_at += 1;
        self.executions.extend(record.map(shown_from_history));
        let enough = self.executions.len() >= most || self.looked_at >= LOOKED_AT;
        if enough {
            self.stopped = Some(id);
        }
        enough
    }
}

impl QueueHandle {
    /// Executions, the newest first. What is shown is as it was at one moment of this call: live ones are looked at
    /// before history is read, so that one that ends meanwhile is in the list once, and never missing.
    pub async fn list(&self, request: ListRequest) -> Result<Listed, QueueError> {
        self.list_seen(request, Sight::All).await
    }

    /// The same, of those whose jobs somebody may see.
    pub async fn list_seen(
        &self,
        request: ListRequest,
        sight: Sight,
    ) -> Result<Listed, QueueError> {
        let ListRequest { page_size, page_token, wanted } = request;
        let unknown = || QueueError::PageToken(page_token.chars().take(80).collect());
        let place = Place::read(&page_token).ok_or_else(unknown)?;
        let mut listed = Listed::default();
        for search in wanted.searches(place) {
            let room = page_size.max(1) - listed.executions.len();
            let goes_on = search.place;
            let found = self.search(&wanted, &sight, search, room).await?;
            listed.looked_at += found.looked_at;
            listed.executions.extend(found.executions);
            if let Some(stopped) = found.stopped {
                listed.next_page_token = goes_on(stopped).token();
                break;
            }
            if let Some(last) = listed.executions.last()
                && listed.executions.len() >= page_size.max(1)
                && wanted.part.is_some()
            {
                listed.next_page_token = goes_on(last.record.id).token();
                break;
            }
        }
        Ok(listed)
    }

    async fn search(
        &self,
        wanted: &Wanted,
        sight: &Sight,
        search: Search,
        most: usize,
    ) -> Result<Found, QueueError> {
        if search.span.is_empty() {
            return Ok(Found::default());
        }
        let look = LookThrough {
            wanted: wanted.clone(),
            sight: sight.clone(),
            search: search.clone(),
            most: most + 1,
        };
        let Live { found: live, newest } = self.actor.query(Priority::Read, look).await??;
        // What was submitted since then is not of that moment, and what is older than the last one that was looked at
        // belongs to a later page.
        let before = newest.successor();
        let span = search.span.and(Span { before, from: live.stopped });
        let done = match &search.ending {
            _ if !wanted.may_be_final() || span.is_empty() => Found::default(),
            None => history(&self.store, wanted, sight, span, most + 1).await?,
            Some(ending) => {
                let search = Search { span, ..search.clone() };
                by_ending(&self.store, wanted, sight, &search, ending, most + 1).await?
            }
        };
        let looked_at = live.looked_at + done.looked_at;
        let mut stopped = live.stopped.max(done.stopped);
        let both = live.executions.into_iter().chain(done.executions);
        let both: BTreeMap<_, _> = both.map(|shown| (Reverse(shown.record.id), shown)).collect();
        let mut executions: Vec<_> = both.into_values().collect();
        executions.retain(|shown| stopped.is_none_or(|stopped| shown.record.id >= stopped));
        if executions.len() > most {
            executions.truncate(most);
            stopped = executions.last().map(|shown| shown.record.id);
        }
        Ok(Found { executions, stopped, looked_at })
    }
}

/// Live executions, the newest first, shown once what is shown is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<Live, QueueError>")]
pub(super) struct LookThrough {
    wanted: Wanted,
    sight: Sight,
    search: Search,
    /// How many at the most.
    most: usize,
}

/// What was found of the live ones, and which execution was the newest of all then.
pub(super) struct Live {
    found: Found,
    newest: ExecutionId,
}

impl Handler<LookThrough> for JobQueue {
    type Result = ResponseActFuture<Self, Result<Live, QueueError>>;

    fn handle(&mut self, look: LookThrough, _: &mut Self::Context) -> Self::Result {
        let LookThrough { wanted, sight, search, most } = look;
        let (mut found, mut looked) = (Found::default(), Looked::default());
        let live = wanted.may_be_live().then(|| self.view.newest_first(search.span));
        for record in live.into_iter().flatten() {
            found.looked_at += 1;
            if search.takes(record.id) && wanted.takes(record) && sight.sees(&record.job) {
                found.executions.push(shown_among(&self.view, record, &mut looked));
            }
            if found.executions.len() >= most || found.looked_at >= LOOKED_AT {
                found.stopped = Some(record.id);
                break;
            }
        }
        let live = Live { found, newest: self.last_id };
        Box::pin(self.commit(&[]).map(|stored, _, _| stored.map(|()| live)))
    }
}

/// Final executions, the newest first: by the index of jobs or of users where one is named, else all of them.
async fn history(
    store: &StoreHandle,
    wanted: &Wanted,
    sight: &Sight,
    span: Span,
    most: usize,
) -> Result<Found, QueueError> {
    let prefix = match (&wanted.job, &wanted.user) {
        (Some(job), _) => keys::by_job_prefix(job),
        (None, Some(user)) => keys::by_user_prefix(user),
        (None, None) => keys::DONE.to_owned(),
    };
    let mut range = Range::prefix(&prefix, most.min(READ));
    if let Some(before) = span.before {
        range = range.after(&format!("{prefix}{}", before.inverse()));
    }
    if let Some(from) = span.from {
        range.end = format!("{prefix}{}\0", from.inverse());
    }
    let end = range.end.clone();
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
    let newest = span.before.map_or(now, |before| before.made_at());
    let mut back = FIRST_LOOK;
    let bound = |back: u64| match newest.checked_sub(back) {
        Some(oldest) => {
            let oldest = ExecutionId::first_at(oldest).inverse();
            end.clone().min(format!("{prefix}{oldest}\0"))
        }
        None => end.clone(),
    };
    range.end = bound(back);
    let is_wanted = |record: &Record| wanted.takes(record) && sight.sees(&record.job);
    let mut found = Found::default();
    loop {
        let page = store.range(range.clone()).await?;
        let last = page.entries.last().map(|entry| entry.key.clone());
        let records = stream::iter(page.entries.into_iter().filter_map(|entry| {
            let id = keys::id_in_history(&entry.key)?;
            Some(async move { Ok::<_, QueueError>((id, record(store, id, &entry).await?)) })
        }));
        let mut records = records.buffered(AT_ONCE);
        while let Some((id, record)) = records.try_next().await? {
            if found.is_enough_with(id, record.filter(is_wanted), most) {
                return Ok(found);
            }
        }
        range.limit = READ;
        range = match last {
            Some(last) if page.more => range.after(&last),
            _ if range.end == end => return Ok(found),
            _ => {
                back = back.saturating_mul(WIDER);
                Range { start: range.end, end: bound(back), limit: READ }
            }
        };
    }
}

/// Final executions whose ids end so, the newest first, by the index of endings. It is in the order of those, so that
/// the keys of all that end alike are read before it is known which are the newest. No bound is set to that, because chance
/// sets one: ids are made here, and one of 268 million has the same six characters, the fewest that are asked for. Records
/// are read of as many as a call may look at.
async fn by_ending(
    store: &StoreHandle,
    wanted: &Wanted,
    sight: &Sight,
    search: &Search,
    ending: &str,
    most: usize,
) -> Result<Found, QueueError> {
    let mut range = Range::prefix(&keys::by_ending_prefix(ending), READ);
    let (mut newest, mut left_out) = (BTreeSet::new(), false);
    loop {
        let page = store.range(range.clone()).await?;
        let ids = page.entries.iter().filter_map(|entry| keys::id_by_ending(&entry.key));
        for id in ids.filter(|id| search.span.has(*id) && search.takes(*id)) {
            newest.insert(id);
            if newest.len() > LOOKED_AT {
                left_out = newest.pop_first().is_some();
            }
        }
        match page.entries.last() {
            Some(last) if page.more => range = range.after(&last.key),
            Some(_) | None => break,
        }
    }
    let is_wanted = |record: &Record| wanted.takes(record) && sight.sees(&record.job);
    let mut found = Found::default();
    let oldest = newest.first().copied();
    let records = newest
        .into_iter()
        .rev()
        .map(|id| async move { Ok::<_, QueueError>((id, stored_record(store, id).await?)) });
    let mut records = stream::iter(records).buffered(AT_ONCE);
    while let Some((id, record)) = records.try_next().await? {
        if found.is_enough_with(id, record.filter(is_wanted), most) {
            return Ok(found);
        }
    }
    found.stopped = oldest.filter(|_| left_out);
    Ok(found)
}

/// The record that an entry of history is or names. None: it was removed since.
async fn record(
    store: &StoreHandle,
    id: ExecutionId,
    entry: &Entry,
) -> Result<Option<Record>, QueueError> {
    if entry.value.is_empty() {
        return stored_record(store, id).await;
    }
    let record = storage::decode(entry);
    record.map(Some).map_err(|unreadable| QueueError::Store(unreadable.to_string()))
}
