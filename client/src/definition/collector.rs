//! Takes values out of a tree by key and notes what is wrong, so that all faults are told at once.

use crate::{duration, fault::Fault, near::nearest};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, time::Duration};

/// The keys that one level takes.
pub(super) struct Keys {
    pub(super) known: &'static [&'static str],
}

/// All that was found wrong so far.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) faults: Vec<Fault>,
}

/// One level of a definition: its place, and what is there.
pub(super) struct Level<'a> {
    pub(super) path: String,
    pub(super) map: &'a Map<String, Value>,
}

impl Level<'_> {
    /// The place of `key` on this level.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// What stands at `key`. Null counts as absent.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }
}

/// A value as it is shown in an error: short, on one line.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

impl Collector {
    pub(super) fn fault(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.faults.push(Fault::new(key, problem));
    }

    /// Notes each key of `level` that is not known, with the nearest one that is.
    pub(super) fn unknown(&mut self, level: &Level<'_>, keys: &Keys) {
        for key in level.map.keys().filter(|key| !keys.known.contains(&key.as_str())) {
            let nearest = nearest(key, keys.known).unwrap_or_default();
            let problem = format!("is not known: the nearest known key is `{nearest}`");
            self.fault(level.at(key), problem);
        }
    }

    /// The text at `key`; empty where there is none.
    pub(super) fn text(&mut self, level: &Level<'_>, key: &str) -> String {
        match level.value(key) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                self.fault(level.at(key), format!("is {}: write a text, in quotes", shown(other)));
                String::new()
            }
        }
    }

    /// The value at `key` as its text: a number or a truth value in its usual spelling.
    pub(super) fn value_text(&mut self, level: &Level<'_>, key: &str) -> Option<String> {
        level.value(key).and_then(|value| self.scalar(level.at(key), value))
    }

    /// The text of the one value at `place`.
    pub(super) fn scalar(&mut self, place: String, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
            other => {
                self.fault(place, format!("is {}: write one value, in quotes", shown(other)));
                None
            }
        }
    }

    /// The number at `key`; 0 where there is none. `what` says what it counts.
    pub(super) fn count(&mut self, level: &Level<'_>, key: &str, what: &str) -> u32 {
        let Some(value) = level.value(key) else { return 0 };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        // 0 would be taken for absent.
        count.filter(|count| *count > 0).unwrap_or_else(|| {
            let problem = format!("is {}: write {what}, a whole number from 1", shown(value));
            self.fault(level.at(key), problem);
            0
        })
    }

    /// The length of time at `key`, where it is `right`; a bare number is seconds. `wanted` says what to write.
    pub(super) fn length(
        &mut self,
        level: &Level<'_>,
        key: &str,
        wanted: &str,
        right: impl Fn(Duration) -> bool,
    ) -> Option<Duration> {
        let value = level.value(key)?;
        let read = match value {
            Value::String(text) => duration::parse(text),
            number => number.as_u64().map(Duration::from_secs),
        };
        let read = read.filter(|length| right(*length));
        if read.is_none() {
            self.fault(level.at(key), format!("is {}: {wanted}", shown(value)));
        }
        read
    }

    /// The names with their values at `key`.
    pub(super) fn pairs(&mut self, level: &Level<'_>, key: &str) -> BTreeMap<String, String> {
        let Some(value) = level.value(key) else { return BTreeMap::new() };
        let Value::Object(map) = value else {
            let problem = format!("is {}: write names with their values", shown(value));
            self.fault(level.at(key), problem);
            return BTreeMap::new();
        };
        let pair = |(name, value): (&String, &Value)| {
            let value = self.scalar(format!("{}.{name}", level.at(key)), value)?;
            Some((name.clone(), value))
        };
        map.iter().filter_map(pair).collect()
    }

    /// The yes or no at `key`; no where there is none.
    pub(super) fn flag(&mut self, level: &Level<'_>, key: &str) -> bool {
        match level.value(key) {
            None => false,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.fault(level.at(key), format!("is {}: write `true` or `false`", shown(other)));
                false
            }
        }
    }

    /// The list at `key`, each value with its place; empty where there is none. `wanted` says what to write instead
    /// of something else.
    pub(super) fn list<'a>(
        &mut self,
        level: &Level<'a>,
        key: &str,
        wanted: &str,
    ) -> Vec<(String, &'a Value)> {
        let path = level.at(key);
        match level.map.get(key) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(values)) => {
                let place = |(index, value)| (format!("{path}[{index}]"), value);
                values.iter().enumerate().map(place).collect()
            }
            Some(other) => {
                self.fault(path, format!("is {}: write {wanted}", shown(other)));
                Vec::new()
            }
        }
    }

    /// The level that `value` at `path` is.
    pub(super) fn level<'a>(
        &mut self,
        path: String,
        value: &'a Value,
        keys: &Keys,
    ) -> Option<Level<'a>> {
        let Value::Object(map) = value else {
            let wanted = format!("write the keys `{}` with their values", keys.known.join("`, `"));
            let problem = match path.as_str() {
                "" => format!("holds {} and no job: {wanted}", shown(value)),
                _ => format!("is {}: {wanted}", shown(value)),
            };
            self.fault(path, problem);
            return None;
        };
        let level = Level { path, map };
        self.unknown(&level, keys);
        Some(level)
    }

    /// The texts of the list at `key`.
    pub(super) fn texts(&mut self, level: &Level<'_>, key: &str, wanted: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (path, value) in self.list(level, key, wanted) {
            match value {
                Value::String(text) => texts.push(text.clone()),
                other => self.fault(path, format!("is {}: write a text, in quotes", shown(other))),
            }
        }
        texts
    }
}
