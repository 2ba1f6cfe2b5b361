//! Tokens that are made and revoked, and roles that are given and taken away.

use super::{
    Access, AccessError,
    handle::{MOST_GRANTS, MOST_TOKENS},
    record::{GrantRecord, Holder, TokenRecord, key_of},
    rules::{Role, Subject},
    token::TokenId,
    view::Known,
};
use crate::{audit::About, caller::Caller, store::Write};
use actix::prelude::*;
use jiff::{SignedDuration, Timestamp};
use octavius_protocol::id::{ExecutorId, JobName};

/// A token that ended stays in the list for so long: whoever is refused may ask why.
const ENDED_FOR: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The most tokens that one decision forgets because they ended long ago.
const AT_ONCE: usize = 100;

type Answer<T> = ResponseActFuture<Access, Result<T, AccessError>>;

fn not_stored<T: 'static>(error: &serde_json::Error) -> Answer<T> {
    Box::pin(fut::err(AccessError::NotStored(error.to_string())))
}

/// Keeps a token that was made, but for an executor's. The answer comes after it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<TokenRecord, AccessError>")]
pub(super) struct Keep(pub(super) TokenRecord, pub(super) Caller);

impl Handler<Keep> for Access {
    type Result = Answer<TokenRecord>;

    fn handle(&mut self, Keep(record, by): Keep, _: &mut Context<Self>) -> Self::Result {
        let ended = self.known(|known| long_ended(known, record.created_at));
        let is_given = |record: &&TokenRecord| !matches!(record.holder, Holder::Executor { .. });
        let given = self.known(|known| known.tokens.values().filter(is_given).count());
        if given - ended.len() >= MOST_TOKENS {
            let full = AccessError::Full { what: "tokens", limit: MOST_TOKENS };
            return Box::pin(fut::err(full));
        }
        let mut writes = match record.write() {
            Ok(write) => vec![write],
            Err(error) => return not_stored(&error),
        };
        writes.extend(ended.iter().map(TokenRecord::delete));
        writes.extend(by.did(record.about()));
        self.change(|known| {
            for one in &ended {
                known.remove_token(&one.id);
            }
            known.insert_token(record.clone());
        });
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            tracing::info!(token = %record.id, by = by.name(), "a token was made");
            Ok(record)
        }))
    }
}

fn long_ended(known: &Known, now: Timestamp) -> Vec<TokenRecord> {
    let is_old = |record: &&TokenRecord| {
        record.expires_at.is_some_and(|ended| now.duration_since(ended) > ENDED_FOR)
    };
    known.tokens.values().filter(is_old).take(AT_ONCE).cloned().collect()
}

/// Ends a token. The answer, what it was, comes after that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<TokenRecord, AccessError>")]
pub(super) struct Revoke {
    pub(super) id: TokenId,
    pub(super) by: Caller,
}

impl Handler<Revoke> for Access {
    type Result = Answer<TokenRecord>;

    fn handle(&mut self, Revoke { id, by }: Revoke, _: &mut Context<Self>) -> Self::Result {
        if self.known(|known| known.first.as_ref() == Some(&id)) {
            return Box::pin(fut::err(AccessError::Configured(id)));
        }
        let Some(record) = self.change(|known| known.remove_token(&id)) else {
            let none = move |committed: Result<(), _>| committed.and(Err(AccessError::NoToken(id)));
            return Box::pin(self.commit(Vec::new()).map(|committed, _, _| none(committed)));
        };
        let writes = std::iter::once(record.delete()).chain(by.did(record.about())).collect();
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            tracing::info!(token = %record.id, by = by.name(), "a token was revoked");
            Ok(record)
        }))
    }
}

/// Ends the credential of an executor that was forgotten, if it has one. The answer comes after that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), AccessError>")]
pub(super) struct Dismiss(pub(super) ExecutorId);

impl Handler<Dismiss> for Access {
    type Result = Answer<()>;

    fn handle(&mut self, Dismiss(executor): Dismiss, _: &mut Context<Self>) -> Self::Result {
        let ended = self.change(|known| {
            let id = known.executors.get(&executor).cloned()?;
            known.remove_token(&id)
        });
        self.commit(ended.iter().map(TokenRecord::delete).collect())
    }
}

/// Gives a role. The answer comes after it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<GrantRecord, AccessError>")]
pub(super) struct Grant {
    pub(super) subject: Subject,
    pub(super) job: Option<JobName>,
    pub(super) role: Role,
    pub(super) by: Caller,
}

impl Handler<Grant> for Access {
    type Result = Answer<GrantRecord>;

    fn handle(&mut self, grant: Grant, _: &mut Context<Self>) -> Self::Result {
        let Grant { subject, job, role, by } = grant;
        let has = |known: &Known| {
            known.grants.get(&subject).is_some_and(|grants| grants.contains_key(&job))
        };
        let all = |known: &Known| known.grants.values().map(|grants| grants.len()).sum::<usize>();
        if self.known(|known| !has(known) && all(known) >= MOST_GRANTS) {
            let full = AccessError::Full { what: "roles", limit: MOST_GRANTS };
            return Box::pin(fut::err(full));
        }
        let record = GrantRecord::new(subject.clone(), job, role, by.name());
        let write = match record.write(&subject) {
            Ok(write) => write,
            Err(error) => return not_stored(&error),
        };
        self.change(|known| {
            let grants = known.grants.entry(subject.clone()).or_default();
            grants.insert(record.job.clone(), record.clone());
        });
        let about = About::maybe_job(record.job.as_ref()).and(format!("{role} for {subject}"));
        let writes = std::iter::once(write).chain(by.did(about)).collect();
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            tracing::info!(%subject, job = ?record.job, %role, by = by.name(), "a role was given");
            Ok(record)
        }))
    }
}

/// Takes a role away. The answer comes after that is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), AccessError>")]
pub(super) struct Ungrant {
    pub(super) subject: Subject,
    pub(super) job: Option<JobName>,
    pub(super) by: Caller,
}

impl Handler<Ungrant> for Access {
    type Result = Answer<()>;

    fn handle(&mut self, ungrant: Ungrant, _: &mut Context<Self>) -> Self::Result {
        let Ungrant { subject, job, by } = ungrant;
        let had = self.change(|known| {
            let grants = known.grants.get_mut(&subject)?;
            let had = grants.remove(&job);
            if grants.is_empty() {
                known.grants.remove(&subject);
            }
            had
        });
        let writes = had.iter().flat_map(|had| {
            let about = About::maybe_job(job.as_ref()).and(format!("{} for {subject}", had.role));
            let deleted = Write::Delete(key_of(&subject, job.as_ref()));
            std::iter::once(deleted).chain(by.did(about))
        });
        let writes = writes.collect();
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            if had.is_none() {
                return Err(AccessError::NoRole { subject, job });
            }
            tracing::info!(%subject, ?job, by = by.name(), "a role was taken away");
            Ok(())
        }))
    }
}
