//! How tokens and roles lie in the store: as JSON, and of a token only what proves it.

use super::{
    rules::{Role, Subject},
    token::{TokenHash, TokenId},
};
use crate::{
    audit::About,
    store::{Entry, Write, keys},
};
use jiff::Timestamp;
use octavius_protocol::id::{ExecutorId, JobName};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};
use uuid::Uuid;

/// A token that is taken until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Names it.
    pub id: TokenId,
    /// Proves it.
    pub hash: TokenHash,
    /// Whose it is.
    pub holder: Holder,
    /// When it was made, by the controller's clock.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends, by the controller's clock; none: when it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// A person's.
    Person {
        /// Who.
        name: String,
        /// What they belong to.
        groups: Vec<String>,
    },
    /// Executors join with it.
    Join {
        /// How many still may.
        uses_left: u32,
        /// What they have to have.
        labels: BTreeMap<String, String>,
    },
    /// An executor's own.
    Executor {
        /// Which.
        executor: ExecutorId,
        /// Where it joined.
        place: Uuid,
        /// What it has to have.
        labels: BTreeMap<String, String>,
        /// What it joined with.
        joined_with: JoinedWith,
    },
}

/// What an executor joined with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum JoinedWith {
    /// A token for joining.
    Token(TokenId),
    /// A service account: `CLUSTER/NAMESPACE:NAME`, which no token's id is.
    Account(String),
}

impl From<String> for JoinedWith {
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Account(text), Self::Token)
    }
}

impl From<JoinedWith> for String {
    fn from(with: JoinedWith) -> Self {
        with.to_string()
    }
}

impl fmt::Display for JoinedWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Account(account) => f.write_str(account),
        }
    }
}

impl TokenRecord {
    /// Whether it has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|ends| ends <= now)
    }

    /// Has the store keep it.
    pub(super) fn write(&self) -> serde_json::Result<Write> {
        Ok(Write::Put(keys::token(&self.id.to_string()), serde_json::to_vec(self)?.into()))
    }

    /// Has the store forget it.
    pub(super) fn delete(&self) -> Write {
        Write::Delete(keys::token(&self.id.to_string()))
    }

    /// What the audit calls it.
    pub(super) fn about(&self) -> About {
        let id = &self.id;
        match &self.holder {
            Holder::Person { name, .. } => About::default().and(format!("token {id} of `{name}`")),
            Holder::Join { .. } => About::default().and(format!("token {id} for joining")),
            Holder::Executor { executor, .. } => {
                About::executor(executor).and(format!("credential {id}"))
            }
        }
    }

    /// What the store keeps below `v1/access/token/`.
    pub(super) fn read(entry: &Entry) -> serde_json::Result<Self> {
        serde_json::from_slice(&entry.value)
    }
}

/// A role that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// To whom: this person, unless it is a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// To whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// For which job; none: in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Which.
    pub role: Role,
    /// When, by the controller's clock.
    pub granted_at: Timestamp,
    /// By whom.
    pub granted_by: String,
}

impl GrantRecord {
    /// A role that is given now.
    pub(super) fn new(subject: Subject, job: Option<JobName>, role: Role, by: &str) -> Self {
        let (person, group) = match subject {
            Subject::Person(name) => (Some(name), None),
            Subject::Group(name) => (None, Some(name)),
        };
        let granted_at = Timestamp::now();
        Self { person, group, job, role, granted_at, granted_by: by.to_owned() }
    }

    /// To whom; none: to nobody, as no version of ours writes it.
    pub fn subject(&self) -> Option<Subject> {
        match (&self.person, &self.group) {
            (Some(person), None) => Some(Subject::Person(person.clone())),
            (None, Some(group)) => Some(Subject::Group(group.clone())),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// Has the store keep it.
    pub(super) fn write(&self, subject: &Subject) -> serde_json::Result<Write> {
        let key = key_of(subject, self.job.as_ref());
        Ok(Write::Put(key, serde_json::to_vec(self)?.into()))
    }
}

/// Where the store keeps the role that somebody has.
pub(super) fn key_of(subject: &Subject, job: Option<&JobName>) -> String {
    match subject {
        Subject::Person(name) => keys::role("person", name, job),
        Subject::Group(name) => keys::role("group", name, job),
    }
}
