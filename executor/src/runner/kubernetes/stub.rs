//! For tests of what is asked of an API server, and when: one that says what it is told to say, in recorded shapes. What a
//! cluster itself makes of it is tried on a real one.

use super::{Options, Tools, client::Cluster, names::Owner, supervise::Faults, table::Table};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// As in `GET /version`, without what stands behind `?`.
    pub(super) what: String,
    pub(super) token: String,
    pub(super) body: Value,
}

type Answers = Arc<dyn Fn(&Asked) -> (u16, Value) + Send + Sync>;

/// An API server; it is there for as long as this is.
pub(super) struct Stub {
    pub(super) folder: TempDir,
    address: String,
    asked: watch::Sender<Vec<Asked>>,
    task: JoinHandle<()>,
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stub {
    /// One that answers so: a status, and an object; or a page, as it is, where that is a text.
    pub(super) async fn new(
        answers: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answers): (_, Answers) = (watch::Sender::new(Vec::new()), Arc::new(answers));
        let told = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers.clone(), told.clone()));
            }
        });
        Self { folder: tempfile::tempdir().unwrap(), address, asked, task }
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.borrow().clone()
    }

    /// A kubeconfig, of this name, for who this user is.
    pub(super) fn kubeconfig(&self, name: &str, user: &Value) -> PathBuf {
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "stub",
            "clusters": [{"name": "stub", "cluster": {"server": self.address}}],
            "users": [{"name": "stub", "user": user}],
            "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
        });
        let path = self.folder.path().join(name);
        fs::write(&path, file.to_string()).unwrap();
        path
    }

    /// What all parts of a runner share, of one in the namespace `jobs`.
    pub(super) async fn tools(&self) -> Tools {
        let kubeconfig = Some(self.kubeconfig("nobody", &json!({})));
        let options = Options { kubeconfig, ..Options::example("jobs") };
        let owner = Owner { executor: options.executor.clone(), installation: String::new() };
        let cluster = Cluster::connect(&options).await.unwrap();
        Tools { options, cluster, table: Table::new(owner).0, faults: Faults::new() }
    }
}

/// As an API server refuses.
pub(super) fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason,
        "code": code,
    });
    (code, status)
}

async fn serve(stream: TcpStream, answers: Answers, told: watch::Sender<Vec<Asked>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).unwrap();
        let header = |name: &str| {
            let named = |line: &str| {
                let (found, value) = line.split_once(": ")?;
                found.eq_ignore_ascii_case(name).then(|| value.to_owned())
            };
            head.lines().find_map(named).unwrap_or_default()
        };
        let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        let what = head.split(" HTTP/").next().unwrap().split('?').next().unwrap().to_owned();
        let token = header("authorization").trim_start_matches("Bearer ").to_owned();
        let asked = Asked { what, token, body: serde_json::from_slice(&body).unwrap_or_default() };
        let (code, answer) = answers(&asked);
        told.send_modify(|told| told.push(asked));
        let answer = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
        let length = answer.len();
        let answer = format!(
            "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}"
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
