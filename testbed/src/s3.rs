//! An S3-compatible server over a folder, that can fail, be slow, and be away.

use crate::proxy::{Proxy, Way};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{
    Body,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

const BUCKET: &str = "logs";
const KEY: &str = "AKIAOCTAVIUS";
const SECRET: &str = "a secret of the test bed";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status, and nothing is done.
    Status(u16),
    /// Its connection is closed, and nothing is done.
    Cut,
    /// It is done, and its connection is closed before the answer.
    Unanswered,
    /// It is done so much later.
    Late(Duration),
}

/// Which requests fail.
#[derive(Debug, Default)]
struct Plan {
    next: VecDeque<Fault>,
    /// One of so many, and the faults that they have in turn.
    often: Option<(usize, Vec<Fault>)>,
    requests: usize,
    failed: usize,
}

impl Plan {
    fn fate(&mut self) -> Option<Fault> {
        self.requests += 1;
        let often = self.often.as_ref().filter(|(of, _)| self.requests.is_multiple_of(*of));
        let often = often.and_then(|(_, faults)| faults.get(self.failed % faults.len().max(1)));
        let fate = self.next.pop_front().or(often.copied());
        self.failed += usize::from(fate.is_some());
        fate
    }
}

/// The server, with one bucket; it is there for as long as this is.
#[derive(Debug)]
pub struct S3 {
    folder: TempDir,
    plan: Arc<watch::Sender<Plan>>,
    proxy: Proxy,
    task: JoinHandle<()>,
}

impl S3 {
    /// One that works, with an empty bucket. Call it on a multi-threaded runtime.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port is free");
        let address = listener.local_addr().unwrap().to_string();
        let plan = Arc::new(watch::Sender::new(Plan::default()));
        let planned = plan.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new(); // they end with this task
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, service.clone(), planned.clone()));
            }
        });
        Self { folder, plan, proxy: Proxy::to(address).await, task }
    }

    /// What `log_store` has to be for a place below this prefix.
    #[must_use]
    pub fn url(&self, prefix: &str) -> String {
        self.url_of(BUCKET, prefix)
    }

    /// The same in a bucket that may not be there.
    #[must_use]
    pub fn url_of(&self, bucket: &str, prefix: &str) -> String {
        let endpoint = &self.proxy.address;
        format!("s3://{bucket}/{prefix}?endpoint=http://{endpoint}&region=test")
    }

    /// The variables that hold its keys.
    #[must_use]
    pub fn variables() -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![pair("AWS_ACCESS_KEY_ID", KEY), pair("AWS_SECRET_ACCESS_KEY", SECRET)]
    }

    /// The next requests have these fates, one each.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.send_modify(|plan| plan.next.extend(faults));
    }

    /// From now on one of `of` requests fails, with these faults in turn; without faults none does.
    pub fn often(&self, of: usize, faults: &[Fault]) {
        let often = (!faults.is_empty()).then(|| (of, faults.to_vec()));
        self.plan.send_modify(|plan| plan.often = often);
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.plan.borrow().requests
    }

    /// How many of them had a fault.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.plan.borrow().failed
    }

    /// How the way to it is: each byte later, hanging, or refusing.
    pub fn way(&self, way: Way) {
        self.proxy.set(way);
    }

    /// The names of all objects below a prefix, which are not a part of them, in order.
    #[must_use]
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        let root = self.folder.path().join(BUCKET).join(prefix);
        let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(&root).unwrap().display().to_string()),
                }
            }
        }
        found.retain(|name| !name.starts_with('.') && !name.contains("/.")); // what the server keeps for itself
        found.sort();
        found
    }

    /// Makes an object so much older.
    pub fn age(&self, prefix: &str, name: &str, by: Duration) {
        let path: PathBuf = self.folder.path().join(BUCKET).join(prefix).join(name);
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, service: S3Service, plan: Arc<watch::Sender<Plan>>) {
    let answer = service_fn(|request| answer(request, service.clone(), plan.clone()));
    // Who is cut off notices by itself.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

fn refusal(status: StatusCode, code: &str) -> Response<Body> {
    let text = format!("<Error><Code>{code}</Code><Message>it was told to</Message></Error>");
    let mut answer = Response::new(Body::from(Bytes::from(text)));
    *answer.status_mut() = status;
    answer
}

/// The answer; an error closes the connection without one.
async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    plan: Arc<watch::Sender<Plan>>,
) -> io::Result<Response<Body>> {
    let mut fate = None;
    plan.send_modify(|plan| fate = plan.fate());
    match fate {
        Some(Fault::Status(status)) => {
            return Ok(refusal(StatusCode::from_u16(status).unwrap(), "Injected"));
        }
        Some(Fault::Cut) => return Err(io::Error::other("told to cut")),
        Some(Fault::Late(by)) => tokio::time::sleep(by).await,
        Some(Fault::Unanswered) | None => {}
    }
    // The server would make it.
    if request.uri().path().split('/').nth(1) != Some(BUCKET) {
        return Ok(refusal(StatusCode::NOT_FOUND, "NoSuchBucket"));
    }
    let done = service.call(request.map(Body::from)).await;
    match fate {
        Some(Fault::Unanswered) => Err(io::Error::other("told not to answer")),
        _ => done.map_err(|error| io::Error::other(format!("{error:?}"))),
    }
}
