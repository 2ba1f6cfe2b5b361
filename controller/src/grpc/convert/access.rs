//! Tokens and roles, between the protocol and the actor.

use super::{
    Check,
    executions::limit,
    executors::labels,
    time::{self},
};
use crate::{
    access::{
        record::{GrantRecord, Holder, TokenRecord},
        rules::{Role, Subject},
        token::TokenId,
    },
    caller::{MOST_NAME_BYTES, is_person},
    registry::{
        quoted,
        rules::definition::{MOST_GROUP_BYTES, MOST_GROUPS},
    },
};
use jiff::Timestamp;
use octavius_protocol::{id::JobName, v1};
use std::{collections::BTreeMap, time::Duration};

/// How many executors may join with one token.
pub(crate) const MOST_USES: u32 = 1_000;
/// For how long executors may join with one token.
pub(crate) const LONGEST_INVITATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A person's token that is asked for.
#[derive(Debug)]
pub(in crate::grpc) struct Person {
    pub(in crate::grpc) name: String,
    pub(in crate::grpc) groups: Vec<String>,
    pub(in crate::grpc) expires_in: Option<Duration>,
}

/// Reads whose token is asked for.
pub(in crate::grpc) fn person(given: v1::CreateTokenRequest, check: &mut Check) -> Option<Person> {
    let v1::CreateTokenRequest { name, groups, expires_in } = given;
    let right = person_name("name", &name, check);
    let count = groups.len();
    let few = check.demand(count <= MOST_GROUPS, "groups", || {
        format!("are {count}, and a person has at most {MOST_GROUPS}: take some out")
    });
    let each: Vec<_> = (0..).zip(&groups).take(MOST_GROUPS).collect();
    let each: Vec<_> = each
        .into_iter()
        .map(|(index, group): (usize, _)| group_name(&format!("groups[{index}]"), group, check))
        .collect();
    let expires_in = limit("expires_in", expires_in, check);
    right.and(few)?;
    each.into_iter().collect::<Option<()>>()?;
    Some(Person { name, groups, expires_in: expires_in?.map(Duration::from_millis) })
}

fn person_name(field: &str, name: &str, check: &mut Check) -> Option<()> {
    check.demand(is_person(name), field, || {
        format!(
            "is {}, which is no person's name: give 1 to {MOST_NAME_BYTES} visible ASCII characters, for example an e-mail address",
            quoted(name)
        )
    })
}

fn group_name(field: &str, group: &str, check: &mut Check) -> Option<()> {
    let right = !group.trim().is_empty() && group.len() <= MOST_GROUP_BYTES;
    check.demand(right, field, || {
        format!("is {}, which is no group's name: 1 to {MOST_GROUP_BYTES} bytes", quoted(group))
    })
}

/// A token for joining that is asked for.
#[derive(Debug)]
pub(in crate::grpc) struct Invitation {
    pub(in crate::grpc) uses: u32,
    pub(in crate::grpc) expires_in: Duration,
    pub(in crate::grpc) labels: BTreeMap<String, String>,
}

/// Reads who is invited.
pub(in crate::grpc) fn invitation(
    given: v1::InviteExecutorsRequest,
    check: &mut Check,
) -> Option<Invitation> {
    let v1::InviteExecutorsRequest { uses, expires_in, labels: wanted } = given;
    let right = check.demand((1..=MOST_USES).contains(&uses), "uses", || {
        format!("is {uses}: give from 1 to {MOST_USES} executors that may join")
    });
    let expires_in = check.given("expires_in", expires_in);
    let expires_in = expires_in.and_then(|span| limit("expires_in", Some(span), check));
    let expires_in = expires_in.flatten().map(Duration::from_millis).and_then(|expires_in| {
        let short = check.demand(expires_in <= LONGEST_INVITATION, "expires_in", || {
            let days = LONGEST_INVITATION.as_secs() / (24 * 60 * 60);
            format!("is longer than {days} days: executors join soon after they are invited")
        });
        short.map(|()| expires_in)
    });
    right.and(labels("labels", &wanted, check))?;
    Some(Invitation { uses, expires_in: expires_in?, labels: wanted })
}

/// Reads which token is meant.
pub(in crate::grpc) fn token_id(id: &str, check: &mut Check) -> Option<TokenId> {
    id.parse().ok().or_else(|| {
        let wanted = crate::access::token::NoTokenId;
        check.wrong("id", || format!("is {}, which is {wanted}", quoted(id)))
    })
}

/// Reads whom a role is given to or taken from.
pub(in crate::grpc) fn subject(given: Option<v1::Subject>, check: &mut Check) -> Option<Subject> {
    use v1::subject::Is;
    match check.given("subject", given)?.is {
        Some(Is::Person(name)) => {
            person_name("subject.person", &name, check).map(|()| Subject::Person(name))
        }
        Some(Is::Group(name)) => {
            group_name("subject.group", &name, check).map(|()| Subject::Group(name))
        }
        None => check.wrong("subject", || "is nobody: give a person or a group".to_owned()),
    }
}

/// Reads which role is meant.
pub(in crate::grpc) fn role(given: i32, check: &mut Check) -> Option<Role> {
    match v1::Role::try_from(given) {
        Ok(v1::Role::Viewer) => Some(Role::Viewer),
        Ok(v1::Role::Operator) => Some(Role::Operator),
        Ok(v1::Role::Admin) => Some(Role::Admin),
        Ok(v1::Role::Unspecified) | Err(_) => {
            check.wrong("role", || "is none: give viewer, operator or admin".to_owned())
        }
    }
}

/// Reads for which job a role is; none: in all.
pub(in crate::grpc) fn job(name: &str, check: &mut Check) -> Option<Option<JobName>> {
    match name {
        "" => Some(None),
        name => check.id("job", name).map(Some),
    }
}

/// What is known of a token.
pub(in crate::grpc) fn token(record: TokenRecord) -> v1::Token {
    let expired = record.is_expired(Timestamp::now());
    let TokenRecord { id, hash: _, holder, created_at, created_by, expires_at } = record;
    let about = match holder {
        Holder::Person { name, groups } => {
            v1::Token { kind: v1::TokenKind::Person.into(), name, groups, ..Default::default() }
        }
        Holder::Join { uses_left, labels } => {
            v1::Token { kind: v1::TokenKind::Join.into(), uses_left, labels, ..Default::default() }
        }
        Holder::Executor { executor, labels, .. } => v1::Token {
            kind: v1::TokenKind::Executor.into(),
            name: executor.to_string(),
            labels,
            ..Default::default()
        },
    };
    v1::Token {
        id: id.to_string(),
        created_at: Some(time::from_timestamp(created_at)),
        created_by,
        expires_at: expires_at.map(time::from_timestamp),
        expired,
        ..about
    }
}

/// A role that was given.
pub(in crate::grpc) fn grant((subject, record): (Subject, GrantRecord)) -> v1::RoleGrant {
    use v1::subject::Is;
    let is = match subject {
        Subject::Person(name) => Is::Person(name),
        Subject::Group(name) => Is::Group(name),
    };
    let role = match record.role {
        Role::Viewer => v1::Role::Viewer,
        Role::Operator => v1::Role::Operator,
        Role::Admin => v1::Role::Admin,
    };
    v1::RoleGrant {
        subject: Some(v1::Subject { is: Some(is) }),
        role: role.into(),
        job: record.job.map(String::from).unwrap_or_default(),
        granted_at: Some(time::from_timestamp(record.granted_at)),
        granted_by: record.granted_by,
    }
}
