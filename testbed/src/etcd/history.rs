//! What became of a key, change by change, as etcd kept it.

use super::{
    Etcd,
    admin::{decoded, encoded, number},
};
use crate::http;
use serde_json::{Value, json};
use tokio::{io::AsyncBufReadExt as _, time::timeout};

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: changes of one transaction have the same.
    pub revision: i64,
    /// What the key holds from then on; none where it was taken away.
    pub value: Option<Vec<u8>>,
}

/// The changes of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// In their order.
    pub changes: Vec<Change>,
    /// All up to the change of this number are there.
    pub until: i64,
}

impl Etcd {
    /// All changes of a key since etcd began, in their order. Nothing must have been compacted.
    ///
    /// # Errors
    ///
    /// What etcd says: for example that it has forgotten some of them.
    pub async fn history(&self, key: &str) -> Result<Vec<Change>, String> {
        let mut history = History::default();
        self.go_on(key, &mut history).await?;
        Ok(history.changes)
    }

    /// Adds what came since: what is in `history` already may have been compacted.
    ///
    /// # Errors
    ///
    /// What etcd says; `history` is as it was.
    pub async fn go_on(&self, key: &str, history: &mut History) -> Result<(), String> {
        // Another key right behind it tells where its history ends.
        let end = format!("{key}\0end");
        let keys = (encoded(key), encoded(&format!("{end}\0")));
        let (changes, until) = self.changes(keys, history.until + 1, &end).await?;
        let own = changes.iter().filter(|change| decoded(&change["kv"]["key"]) == key.as_bytes());
        history.changes.extend(own.map(|change| Change {
            revision: number(&change["kv"]["mod_revision"]),
            value: (change["type"] != "DELETE").then(|| decoded(&change["kv"]["value"])),
        }));
        history.until = until;
        Ok(())
    }

    /// All that etcd gives to whoever asks: each key with each value that it has had since etcd began, as `key@revision`.
    /// Nothing must have been compacted.
    ///
    /// # Errors
    ///
    /// What etcd says.
    pub async fn everything(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let all = (encoded("\0"), encoded("\0"));
        let (changes, _) = self.changes(all, 1, "the end of what is looked at").await?;
        let one = |change: &Value| {
            let key = decoded(&change["kv"]["key"]);
            let revision = number(&change["kv"]["mod_revision"]);
            let name = format!("{}@{revision}", String::from_utf8_lossy(&key));
            (name, decoded(&change["kv"]["value"]))
        };
        Ok(changes.iter().map(one).collect())
    }

    /// All changes of some keys from a revision on, until `end`, one of them, is put, which is done here; and the number of
    /// that.
    async fn changes(
        &self,
        (key, range_end): (String, String),
        from: i64,
        end: &str,
    ) -> Result<(Vec<Value>, i64), String> {
        let put = self.ask("/v3/kv/put", &json!({ "key": encoded(end) })).await?;
        let until = number(&put["header"]["revision"]);
        let member = self.members.iter().find(|member| member.runs());
        let admin = member.ok_or("no member of etcd runs")?.admin();
        let token = self.login(admin).await?;
        let body = json!({ "create_request": { "key": key, "range_end": range_end,
            "start_revision": from.to_string() } });
        let mut answer = http::stream(admin, "/v3/watch", token.as_deref(), &body).await?;
        let mut changes = Vec::new();
        let mut line = String::new();
        'all: loop {
            line.clear();
            let read = timeout(http::ANSWER, answer.read_line(&mut line)).await;
            let read = read.map_err(|_| format!("the history until {end} does not go on"))?;
            if read.map_err(|error| error.to_string())? == 0 {
                return Err(format!("the history until {end} ended early"));
            }
            let piece: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
            let result = &piece["result"];
            if piece["error"].is_object() || result["canceled"] == true {
                return Err(line);
            }
            for event in result["events"].as_array().into_iter().flatten() {
                let is_end = decoded(&event["kv"]["key"]) == end.as_bytes();
                if is_end && number(&event["kv"]["mod_revision"]) == until {
                    break 'all;
                }
                changes.push(event.clone());
            }
        }
        // Whoever comes next puts it again.
        let _ = self.ask("/v3/kv/deleterange", &json!({ "key": encoded(end) })).await;
        Ok((changes, until))
    }
}
