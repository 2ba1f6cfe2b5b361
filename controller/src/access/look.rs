//! What administrators see of tokens and roles.

use super::{
    Access, AccessError,
    record::{GrantRecord, TokenRecord},
    rules::Subject,
    token::TokenId,
};
use actix::prelude::*;
use octavius_protocol::id::JobName;
use std::ops::Bound;

/// A page of tokens behind the one that is named, and whether there are more, once all of it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Vec<TokenRecord>, bool), AccessError>")]
pub(super) struct Tokens {
    pub(super) most: usize,
    pub(super) after: Option<TokenId>,
}

impl Handler<Tokens> for Access {
    type Result = ResponseActFuture<Self, Result<(Vec<TokenRecord>, bool), AccessError>>;

    fn handle(&mut self, Tokens { most, after }: Tokens, _: &mut Context<Self>) -> Self::Result {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.known(|known| {
            let mut rest = known.tokens.range((start, Bound::Unbounded)).map(|(_, token)| token);
            let page: Vec<_> = rest.by_ref().take(most).cloned().collect();
            (page, rest.next().is_some())
        });
        Box::pin(self.commit(Vec::new()).map(|committed, _, _| committed.map(|()| page)))
    }
}

/// A role's place in the list.
pub(super) type RolePlace = (Subject, Option<JobName>);

/// A page of roles behind this place, and whether there are more, once all of it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Vec<(Subject, GrantRecord)>, bool), AccessError>")]
pub(super) struct Roles {
    pub(super) most: usize,
    pub(super) after: Option<RolePlace>,
}

impl Handler<Roles> for Access {
    type Result = ResponseActFuture<Self, Result<(Vec<(Subject, GrantRecord)>, bool), AccessError>>;

    fn handle(&mut self, Roles { most, after }: Roles, _: &mut Context<Self>) -> Self::Result {
        let start =
            after.as_ref().map_or(Bound::Unbounded, |(subject, _)| Bound::Included(subject));
        let page = self.known(|known| {
            let rest = known.grants.range((start, Bound::Unbounded));
            let mut rest = rest
                .flat_map(|(subject, grants)| {
                    grants.iter().map(move |(job, grant)| (subject, job, grant))
                })
                .filter(|(subject, job, _)| {
                    after.as_ref().is_none_or(|(last, of)| (*subject, *job) > (last, of))
                });
            let page = rest.by_ref().take(most);
            let page: Vec<_> =
                page.map(|(subject, _, grant)| (subject.clone(), grant.clone())).collect();
            (page, rest.next().is_some())
        });
        Box::pin(self.commit(Vec::new()).map(|committed, _, _| committed.map(|()| page)))
    }
}
