//! What an administrator does with etcd.

use super::Etcd;
use crate::http;
use data_encoding::BASE64;
use serde_json::{Value, json};

impl Etcd {
    /// Asks the first member that answers, at the path of etcd's own gateway, for example `/v3/kv/range`.
    ///
    /// # Errors
    ///
    /// What etcd says, or why it cannot be reached.
    pub async fn ask(&self, path: &str, body: &Value) -> Result<Value, String> {
        let mut last = "no member of etcd runs".to_owned();
        for number in (0..self.members.len()).filter(|number| self.members[*number].runs()) {
            match self.ask_member(number, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// The same of one member alone.
    ///
    /// # Errors
    ///
    /// What etcd says, or why it cannot be reached.
    pub async fn ask_member(
        &self,
        number: usize,
        path: &str,
        body: &Value,
    ) -> Result<Value, String> {
        let admin = self.members[number].admin();
        let token = self.login(admin).await?;
        http::post(admin, path, token.as_deref(), body).await
    }

    /// What stands for a login as `root`, where one is wanted.
    pub(super) async fn login(&self, admin: &str) -> Result<Option<String>, String> {
        let Some(password) = &self.root else { return Ok(None) };
        let body = json!({ "name": "root", "password": password });
        let answer = http::post(admin, "/v3/auth/authenticate", None, &body).await?;
        Ok(answer["token"].as_str().map(str::to_owned))
    }

    async fn must(&self, path: &str, body: Value) -> Value {
        self.ask(path, &body).await.unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// Gives a key a value.
    pub async fn put(&self, key: &str, value: &[u8]) {
        let value = BASE64.encode(value);
        self.must("/v3/kv/put", json!({ "key": encoded(key), "value": value })).await;
    }

    /// The value of a key, if there is one.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.must("/v3/kv/range", json!({ "key": encoded(key) })).await;
        let value = answer["kvs"].as_array()?.first()?["value"].as_str().unwrap_or_default();
        Some(BASE64.decode(value.as_bytes()).unwrap())
    }

    /// All keys that begin so, in their order.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let body = json!({ "key": encoded(prefix), "range_end": BASE64.encode(&after(prefix)),
            "keys_only": true });
        let answer = self.must("/v3/kv/range", body).await;
        let found = answer["kvs"].as_array().cloned().unwrap_or_default();
        let key = |kv: &Value| decoded(&kv["key"]);
        found.iter().map(|kv| String::from_utf8_lossy(&key(kv)).into_owned()).collect()
    }

    /// Takes a key away.
    pub async fn delete(&self, key: &str) {
        self.must("/v3/kv/deleterange", json!({ "key": encoded(key) })).await;
    }

    /// The number of the last change.
    pub async fn revision(&self) -> i64 {
        let answer = self.must("/v3/kv/range", json!({ "key": encoded("\0") })).await;
        number(&answer["header"]["revision"])
    }

    /// What the members say of themselves at `/metrics`, added up over all values whose name, with the labels behind it,
    /// begins with `name`: for example `etcd_network_client_grpc_received_bytes_total`, or
    /// `grpc_server_handled_total{grpc_code="OK",grpc_method="Txn"`.
    ///
    /// # Panics
    ///
    /// If no member that runs says such a thing, or one does not answer.
    pub async fn metric(&self, name: &str) -> f64 {
        let mut values = Vec::new();
        for member in self.members.iter().filter(|member| member.runs()) {
            let text = http::get_text(member.admin(), "/metrics").await;
            let text = text.unwrap_or_else(|why| panic!("/metrics: {why}"));
            let text = String::from_utf8_lossy(&text);
            let said = text.lines().filter(|line| line.starts_with(name));
            values.extend(said.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()));
        }
        assert!(!values.is_empty(), "etcd says nothing of {name}");
        values.into_iter().sum()
    }

    /// How many logins were tried so far, those of whoever administers it among them.
    pub async fn logins(&self) -> f64 {
        self.metric("grpc_server_started_total{grpc_method=\"Authenticate\"").await
    }

    /// Forgets all that was before this change.
    pub async fn compact(&self, revision: i64) {
        self.must("/v3/kv/compaction", json!({ "revision": revision, "physical": true })).await;
    }

    /// Gives back what compaction made free, at each member that runs.
    pub async fn defragment(&self) {
        for number in (0..self.members.len()).filter(|number| self.members[*number].runs()) {
            let path = "/v3/maintenance/defragment";
            let answer = self.ask_member(number, path, &json!({})).await;
            answer.unwrap_or_else(|why| panic!("{path}: {why}"));
        }
    }

    /// The alarms that are raised, for example `NOSPACE`.
    pub async fn alarms(&self) -> Vec<String> {
        let alarms = self.raised().await;
        alarms.iter().filter_map(|alarm| alarm["alarm"].as_str().map(str::to_owned)).collect()
    }

    /// Ends all alarms.
    pub async fn disarm(&self) {
        for mut alarm in self.raised().await {
            alarm["action"] = "DEACTIVATE".into();
            self.must("/v3/maintenance/alarm", alarm).await;
        }
    }

    async fn raised(&self) -> Vec<Value> {
        let answer = self.must("/v3/maintenance/alarm", json!({ "action": "GET" })).await;
        answer["alarms"].as_array().cloned().unwrap_or_default()
    }

    /// From now on everybody must log in; `root` may do all, and has this password.
    pub async fn enable_auth(&mut self, password: &str) {
        self.must("/v3/auth/user/add", json!({ "name": "root", "password": password })).await;
        self.must("/v3/auth/role/add", json!({ "name": "root" })).await;
        self.must("/v3/auth/user/grant", json!({ "user": "root", "role": "root" })).await;
        self.must("/v3/auth/enable", json!({})).await;
        self.root = Some(password.to_owned());
    }

    /// Nobody need log in any more.
    pub async fn disable_auth(&mut self) {
        self.must("/v3/auth/disable", json!({})).await;
        self.root = None;
    }

    /// Somebody who may read and write the keys that begin with `prefix`.
    pub async fn add_user(&self, name: &str, password: &str, prefix: &str) {
        self.must("/v3/auth/user/add", json!({ "name": name, "password": password })).await;
        self.must("/v3/auth/role/add", json!({ "name": name })).await;
        let perm = json!({ "permType": "READWRITE", "key": encoded(prefix),
            "range_end": BASE64.encode(&after(prefix)) });
        self.must("/v3/auth/role/grant", json!({ "name": name, "perm": perm })).await;
        self.must("/v3/auth/user/grant", json!({ "user": name, "role": name })).await;
    }

    /// Somebody has another password from now on.
    pub async fn change_password(&self, name: &str, password: &str) {
        let body = json!({ "name": name, "password": password });
        self.must("/v3/auth/user/changepw", body).await;
    }
}

pub(super) fn encoded(key: &str) -> String {
    BASE64.encode(key.as_bytes())
}

pub(super) fn decoded(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).unwrap()
}

/// The gateway has its numbers as text.
pub(super) fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The first key behind all that begin so.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0] // all keys
}
