//! Who may do what, as the door sees it: read for each call, without waiting for anybody.
//!
//! The actor changes it when it decides, so that whatever is taken away is gone with the next call. While the actor is
//! built again the view stays as it is; before it was ever built there is none, and nobody is let in.

use super::{
    record::{GrantRecord, Holder, JoinedWith, TokenRecord},
    rules::{Rights, Role, Subject},
    token::{Kind, ShownToken, TokenId},
};
use jiff::Timestamp;
use octavius_protocol::id::{ExecutorId, JobName};
use std::collections::{BTreeMap, HashMap};
use tokio::sync::watch;

/// The roles that one person or group has: in all at none, and for jobs.
pub(super) type Grants = BTreeMap<Option<JobName>, GrantRecord>;

/// All tokens and roles.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) tokens: BTreeMap<TokenId, TokenRecord>,
    /// Which token each executor has.
    pub(super) executors: HashMap<ExecutorId, TokenId>,
    pub(super) grants: BTreeMap<Subject, Grants>,
    /// The token of the first administrator, which the configuration names. It is in no store.
    pub(super) first: Option<TokenId>,
}

impl Known {
    pub(super) fn insert_token(&mut self, record: TokenRecord) {
        if let Holder::Executor { executor, .. } = &record.holder {
            self.executors.insert(executor.clone(), record.id.clone());
        }
        self.tokens.insert(record.id.clone(), record);
    }

    pub(super) fn remove_token(&mut self, id: &TokenId) -> Option<TokenRecord> {
        let record = self.tokens.remove(id)?;
        if let Holder::Executor { executor, .. } = &record.holder
            && self.executors.get(executor) == Some(id)
        {
            self.executors.remove(executor);
        }
        Some(record)
    }

    /// The credential of an executor.
    pub(super) fn credential(&self, executor: &ExecutorId) -> Option<&TokenRecord> {
        self.tokens.get(self.executors.get(executor)?)
    }

    /// How many executors have joined with this.
    pub(super) fn joined_with(&self, with: &JoinedWith) -> usize {
        let credentials = self.executors.values().filter_map(|id| self.tokens.get(id));
        let is_it = |record: &&TokenRecord| match &record.holder {
            Holder::Executor { joined_with, .. } => joined_with == with,
            Holder::Person { .. } | Holder::Join { .. } => false,
        };
        credentials.filter(is_it).count()
    }

    fn rights(&self, name: &str, groups: &[String]) -> Rights {
        let groups = groups.iter().map(|group| Subject::Group(group.clone()));
        let subjects = std::iter::once(Subject::Person(name.to_owned())).chain(groups);
        let mut rights = Rights::default();
        for (job, grant) in subjects.filter_map(|subject| self.grants.get(&subject)).flatten() {
            rights.add(job.as_ref(), grant.role);
        }
        rights
    }
}

/// Who somebody is who showed a token that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A person.
    Person {
        /// Their name.
        name: String,
        /// What they belong to.
        groups: Vec<String>,
        /// What they may do.
        rights: Rights,
    },
    /// An executor that may join.
    Join,
    /// An executor that has joined.
    Executor {
        /// Which.
        executor: ExecutorId,
        /// What it has to have.
        labels: BTreeMap<String, String>,
        /// What it joined with.
        joined_with: JoinedWith,
    },
}

/// Why a token does not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLetIn {
    /// It cannot be said yet.
    Loading,
    /// There is none like it.
    Unknown,
    /// It was right, and has ended.
    Expired {
        /// What it was for.
        kind: Kind,
        /// Which it was.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
}

/// Who may do what, for the door.
#[derive(Clone, Debug)]
pub struct AccessView(pub(super) watch::Receiver<Option<Known>>);

impl AccessView {
    /// Who shows this token.
    pub fn identify(&self, shown: &ShownToken, now: Timestamp) -> Result<Identity, NotLetIn> {
        let known = self.0.borrow();
        let known = known.as_ref().ok_or(NotLetIn::Loading)?;
        let record = known.tokens.get(&shown.id).ok_or(NotLetIn::Unknown)?;
        if !shown.hash.proves(&record.hash) {
            return Err(NotLetIn::Unknown);
        }
        if let Some(at) = record.expires_at.filter(|_| record.is_expired(now)) {
            return Err(NotLetIn::Expired { kind: shown.kind, id: shown.id.clone(), at });
        }
        Ok(known.identity(record))
    }

    /// What a person may do for whom somebody else vouches; none: nobody can say yet.
    pub fn rights(&self, name: &str, groups: &[String]) -> Option<Rights> {
        self.0.borrow().as_ref().map(|known| known.rights(name, groups))
    }

    /// Who has the token of this id, as long as it is taken.
    pub fn holder(&self, id: &TokenId, now: Timestamp) -> Option<Identity> {
        let known = self.0.borrow();
        let known = known.as_ref()?;
        let record = known.tokens.get(id).filter(|record| !record.is_expired(now))?;
        Some(known.identity(record))
    }
}

#[cfg(test)]
impl AccessView {
    /// Of which nothing is known yet.
    pub(crate) fn loading() -> Self {
        Self(watch::channel(None).1)
    }
}

impl Known {
    fn identity(&self, record: &TokenRecord) -> Identity {
        match &record.holder {
            Holder::Person { name, groups } => Identity::Person {
                name: name.clone(),
                groups: groups.clone(),
                rights: {
                    let mut rights = self.rights(name, groups);
                    if self.first.as_ref() == Some(&record.id) {
                        rights.add(None, Role::Admin);
                    }
                    rights
                },
            },
            Holder::Join { .. } => Identity::Join,
            Holder::Executor { executor, labels, joined_with, .. } => Identity::Executor {
                executor: executor.clone(),
                labels: labels.clone(),
                joined_with: joined_with.clone(),
            },
        }
    }
}
