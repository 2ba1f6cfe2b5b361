//! What the store keeps of an executor: who it is, and its newest session. When it was heard is not kept.

use crate::{
    job_queue::{
        rules::{Join, RunnerKind},
        terms::ExecutorTerms,
    },
    store::{Write, keys},
};
use jiff::Timestamp;
use octavius_protocol::id::{ExecutorId, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// An executor as it registered last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutorRecord {
    /// Its id.
    pub id: ExecutorId,
    /// Where it runs: the id of its state folder.
    pub place: Uuid,
    /// The process that holds the session.
    pub instance: Uuid,
    /// Its session.
    pub session: Session,
    /// What it runs.
    pub runner: RunnerKind,
    /// How many attempts it takes at once.
    pub capacity: usize,
    /// For the placement of jobs.
    pub labels: BTreeMap<String, String>,
    /// What it adds to the terms of what it runs.
    #[serde(default)]
    pub offer: ExecutorTerms,
    /// Its version, for people.
    pub version: String,
    /// When its session began, by the controller's clock.
    pub registered_at: Timestamp,
    /// The processes that others took over from, the last one at the end. They stay away while the newest is heard.
    #[serde(default)]
    pub replaced: Vec<Uuid>,
    /// That it gets no new work, if somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<Drained>,
}

/// That an executor gets no new work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Who said so.
    pub by: String,
    /// When, by the controller's clock.
    pub at: Timestamp,
}

impl ExecutorRecord {
    /// Has the store keep it.
    pub(super) fn write(&self) -> serde_json::Result<Write> {
        Ok(Write::Put(keys::executor(&self.id), serde_json::to_vec(self)?.into()))
    }
}

impl From<&ExecutorRecord> for Join {
    fn from(record: &ExecutorRecord) -> Self {
        Self {
            executor: record.id.clone(),
            session: record.session,
            runner: record.runner,
            capacity: record.capacity,
            labels: record.labels.clone(),
            offer: record.offer.clone(),
            drained: record.drained.is_some(),
        }
    }
}
