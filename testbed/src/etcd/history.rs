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
        let put = self.ask("/v3/kv/put", &json!({ "key": encoded(&end) })).await?;
        let until = number(&put["header"]["revision"]);
        let member = self.members.iter().find(|member| member.runs());
        let admin = member.ok_or("no member of etcd runs")?.admin();
        let token = self.login(admin).await?;
        let from = (history.until + 1).to_string();
        let body = json!({ "create_request": { "key": encoded(key), "start_revision": from,
            "range_end": encoded(&format!("{end}\0")) } });
        let mut answer = http::stream(admin, "/v3/watch", token.as_deref(), &body).await?;
        let mut changes = Vec::new();
        let mut line = String::new();
        'all: loop {
            line.clear();
            let read = timeout(http::ANSWER, answer.read_line(&mut line)).await;
            let read = read.map_err(|_| format!("the history of {key} does not go on"))?;
            if read.map_err(|error| error.to_string())? == 0 {
                return Err(format!("the history of {key} ended early"));
            }
            let piece: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
            let result = &piece["result"];
            if piece["error"].is_object() || result["canceled"] == true {
                return Err(line);
            }
            for event in result["events"].as_array().into_iter().flatten() {
                let kv = &event["kv"];
                let revision = number(&kv["mod_revision"]);
                match decoded(&kv["key"]) {
                    found if found == end.as_bytes() && revision == until => break 'all,
                    found if found == end.as_bytes() => {} // of the time before
                    found if found != key.as_bytes() => {}
                    _ => changes.push(Change {
                        revision,
                        value: (event["type"] != "DELETE").then(|| decoded(&kv["value"])),
                    }),
                }
            }
        }
        // Whoever comes next puts it again.
        let _ = self.ask("/v3/kv/deleterange", &json!({ "key": encoded(&end) })).await;
        history.changes.append(&mut changes);
        history.until = until;
        Ok(())
    }
}
