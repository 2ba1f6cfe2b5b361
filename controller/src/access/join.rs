//! Executors that join: a token that many may have is traded for a credential that one has.

use super::{
    Access, AccessError, JoinError,
    issuer::ServiceAccount,
    record::{Holder, JoinedWith, TokenRecord},
    token::{TokenHash, TokenId},
    view::Known,
};
use crate::{audit::About, caller::Caller, server::MOST_EXECUTORS};
use actix::prelude::*;
use jiff::{SignedDuration, Timestamp};
use octavius_protocol::id::ExecutorId;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What an executor joins with, which is proven.
#[derive(Clone, Debug)]
pub enum JoinsWith {
    /// A token that it was invited with.
    Token(TokenId),
    /// The service account that it runs as, in a cluster whose word counts.
    Account(ServiceAccount),
}

/// Trades that for a credential. The answer comes after it is on disk. Who asks again from the same place with the same
/// token, because the first answer was lost, gets another one instead of the first, and no use is counted for it. Who asks
/// with the same service account gets another one in any case: it has lost the first, as a pod does that is made anew.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), JoinError>")]
pub(super) struct Join {
    pub(super) with: JoinsWith,
    pub(super) executor: ExecutorId,
    pub(super) place: Uuid,
    pub(super) labels: BTreeMap<String, String>,
    /// The credential's.
    pub(super) id: TokenId,
    pub(super) hash: TokenHash,
    pub(super) by: Caller,
}

/// How many executors may have joined with one service account.
pub(crate) const MOST_OF_AN_ACCOUNT: usize = 1_000;
/// For so long after it has joined an executor may do so again at its place: it may not have heard the answer.
const AGAIN_WITHIN: SignedDuration = SignedDuration::from_mins(10);

/// What a trade changes.
struct Trade {
    credential: TokenRecord,
    /// The token, with a use less; none: it is the same executor again, or has no token.
    used: Option<TokenRecord>,
    /// What the executor had before.
    instead_of: Option<TokenRecord>,
}

impl Handler<Join> for Access {
    type Result = ResponseActFuture<Self, Result<(), JoinError>>;

    fn handle(&mut self, join: Join, _: &mut Context<Self>) -> Self::Result {
        let Trade { credential, used, instead_of } =
            match self.known(|known| trade(known, &join, Timestamp::now())) {
                Ok(trade) => trade,
                Err(refused) => return Box::pin(fut::err(refused)),
            };
        let written = std::iter::once(&credential).chain(&used).map(TokenRecord::write).collect();
        let mut writes: Vec<_> = match written {
            Ok(writes) => writes,
            Err(error) => {
                let error: serde_json::Error = error;
                let not_stored = AccessError::NotStored(error.to_string());
                return Box::pin(fut::err(not_stored.into()));
            }
        };
        writes.extend(instead_of.iter().map(TokenRecord::delete));
        let about = About::executor(&join.executor).and(format!("joined, credential {}", join.id));
        writes.extend(join.by.did(about));
        self.change(|known| {
            if let Some(former) = &instead_of {
                known.remove_token(&former.id);
            }
            for record in used.into_iter().chain([credential]) {
                known.insert_token(record);
            }
        });
        Box::pin(self.commit(writes).map(move |committed, _, _| {
            committed?;
            tracing::info!(executor = %join.executor, token = %join.id, joined_with = %joined_with(&join.with), "an executor has joined");
            Ok(())
        }))
    }
}

fn trade(known: &Known, join: &Join, now: Timestamp) -> Result<Trade, JoinError> {
    let with = joined_with(&join.with);
    let former = known.credential(&join.executor);
    let again = former.is_some_and(|former| match &former.holder {
        Holder::Executor { place, joined_with, .. } => {
            let age = now.duration_since(former.created_at);
            let is_anew = matches!(with, JoinedWith::Account(_))
                || *place == join.place && age < AGAIN_WITHIN;
            *joined_with == with && is_anew
        }
        Holder::Person { .. } | Holder::Join { .. } => false,
    });
    let other = former.filter(|_| !again);
    let (labels, used) = match &join.with {
        JoinsWith::Account(account) => {
            admit(join, &account.labels, other)?;
            let limit = MOST_OF_AN_ACCOUNT;
            if former.is_none() && known.joined_with(&with) >= limit {
                let what = "executors of this service account";
                return Err(AccessError::Full { what, limit }.into());
            }
            ((*account.labels).clone(), None)
        }
        JoinsWith::Token(id) => {
            let over = || JoinError::Over(id.clone());
            let token = known.tokens.get(id).filter(|token| !token.is_expired(now));
            let token = token.ok_or_else(over)?;
            let Holder::Join { uses_left, labels } = &token.holder else { return Err(over()) };
            admit(join, labels, other)?;
            let used = match (again, uses_left.checked_sub(1)) {
                (true, _) => None,
                (false, Some(uses_left)) => {
                    let holder = Holder::Join { uses_left, labels: labels.clone() };
                    Some(TokenRecord { holder, ..token.clone() })
                }
                (false, None) => return Err(over()),
            };
            (labels.clone(), used)
        }
    };
    if former.is_none() && known.executors.len() >= MOST_EXECUTORS {
        let full = AccessError::Full { what: "credentials of executors", limit: MOST_EXECUTORS };
        return Err(full.into());
    }
    let credential = TokenRecord {
        id: join.id.clone(),
        hash: join.hash.clone(),
        holder: Holder::Executor {
            executor: join.executor.clone(),
            place: join.place,
            labels,
            joined_with: with.clone(),
        },
        created_at: now,
        created_by: with.to_string(),
        expires_at: None,
    };
    Ok(Trade { credential, used, instead_of: former.cloned() })
}

/// Whether an executor may join that has these labels, where `other` has its id already.
fn admit(
    join: &Join,
    bound: &BTreeMap<String, String>,
    other: Option<&TokenRecord>,
) -> Result<(), JoinError> {
    has_labels(&join.executor, bound, &join.labels)?;
    match other {
        None => Ok(()),
        Some(TokenRecord { id, .. }) => {
            let (executor, credential) = (join.executor.clone(), id.clone());
            Err(JoinError::Taken { executor, credential })
        }
    }
}

/// What is kept of it.
fn joined_with(with: &JoinsWith) -> JoinedWith {
    match with {
        JoinsWith::Token(id) => JoinedWith::Token(id.clone()),
        JoinsWith::Account(account) => JoinedWith::Account(account.to_string()),
    }
}

/// Whether an executor has the labels that its token says.
pub(super) fn has_labels(
    executor: &ExecutorId,
    bound: &BTreeMap<String, String>,
    has: &BTreeMap<String, String>,
) -> Result<(), JoinError> {
    match bound.iter().find(|(label, wanted)| has.get(*label) != Some(wanted)) {
        None => Ok(()),
        Some((label, wanted)) => Err(JoinError::Label {
            executor: executor.clone(),
            label: label.clone(),
            wanted: wanted.clone(),
        }),
    }
}
