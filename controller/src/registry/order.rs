//! In which order executions are served, and what becomes of those that go beyond a limit: the words of a definition.

use super::JobDefinition;
use octavius_protocol::id::VariableName;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The priority of a job that does not say.
pub const USUAL_PRIORITY: u8 = 5;
/// The highest priority; the lowest is 0.
pub const HIGHEST_PRIORITY: u8 = 9;
/// The most bytes of what runs one at a time.
pub(crate) const MOST_KEY_BYTES: usize = 256;

/// What becomes of an execution that is submitted while a limit of its job is reached.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// It waits.
    #[default]
    Queue,
    /// It is not accepted.
    Refuse,
    /// It takes the place of those that wait.
    Replace,
}

impl OnLimit {
    /// What each word means.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("queue", Self::Queue), ("refuse", Self::Refuse), ("replace", Self::Replace)];

    /// Whether it is what a job that does not say has.
    pub fn is_usual(&self) -> bool {
        *self == Self::Queue
    }

    /// What a word means; the usual one where it is empty. None: it is no such word.
    pub(crate) fn read(word: &str) -> Option<Self> {
        meaning(&Self::WORDS, word)
    }
}

/// What becomes of an execution whose attempt is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLost {
    /// What `retry` says.
    #[default]
    AsRetrySays,
    /// It ends as lost.
    Fail,
    /// It is tried again.
    Rerun,
}

impl OnLost {
    /// What each word means.
    pub(crate) const WORDS: [(&str, Self); 2] = [("fail", Self::Fail), ("rerun", Self::Rerun)];

    /// What a word means; the usual one where it is empty. None: it is no such word.
    pub(crate) fn read(word: &str) -> Option<Self> {
        meaning(&Self::WORDS, word)
    }
}

fn meaning<T: Copy + Default>(words: &[(&str, T)], word: &str) -> Option<T> {
    if word.is_empty() {
        return Some(T::default());
    }
    words.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning)
}

/// What runs one at a time of a job: the values of its key's arguments; none: nothing does.
pub(super) fn key(
    definition: &JobDefinition,
    arguments: &BTreeMap<VariableName, String>,
) -> Option<Arc<str>> {
    let value = |name: &String| {
        arguments.iter().find(|(known, _)| known.as_str() == name).map_or("", |(_, value)| value)
    };
    let parts = definition.concurrency_key.iter().map(|name| format!("`{name}={}`", value(name)));
    let key = parts.collect::<Vec<_>>().join(" and ");
    (!key.is_empty()).then(|| key.into())
}
