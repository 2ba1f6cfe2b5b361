//! A controller that follows a script: it keeps the protocol, and breaks it where a test says so.
//!
//! The real controller cannot be told to lose an answer or to answer in an old term; that is what this is for.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod service;

use crc::{CRC_64_XZ, Crc, Table};
use octavius_protocol::{
    id::ExecutionId,
    v1::{self, executors_server::ExecutorsServer},
};
use service::Service;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_stream::wrappers::TcpListenerStream;
use uuid::Uuid;

/// How long a test waits for something to come about, also where a pod has to start for it on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What an executor said of one attempt, and what it was told.
#[derive(Debug, Default)]
pub struct Attempt {
    pub lease: v1::Lease,
    pub reports: Vec<&'static str>,
    pub identity: Option<String>,
    /// What it last said that it waits for.
    pub waits_for: String,
    pub ended: Option<v1::Ended>,
    pub log: Vec<u8>,
    pub durable: usize,
    /// Where appends ended: their cursor, and CRC-64/XZ of all before.
    places: BTreeMap<usize, (Vec<u8>, u64)>,
    /// End and log are here.
    pub over: bool,
    /// Somebody else's.
    pub taken_back: bool,
    /// Nobody says so until the executor reports.
    pub unsaid: bool,
    pub stop: bool,
}

impl Attempt {
    /// Where the first append ended.
    pub fn first_end(&self) -> usize {
        *self.places.keys().next().unwrap()
    }
}

/// What goes wrong, and how often.
#[derive(Debug, Default)]
pub struct Faults {
    /// The next so many calls of a method are refused as UNAVAILABLE.
    pub refuse: BTreeMap<&'static str, u32>,
    /// The next so many answers of a method are lost: what was asked for is done.
    pub lose: BTreeMap<&'static str, u32>,
    /// Attends are never answered.
    pub hang_attends: bool,
    /// Answers to Attend carry an old term, and orders to release everything.
    pub old_term: bool,
    /// Who asks the next so many times how much of a log is there finds that it is forgotten.
    pub forget_logs: u32,
    /// Logs are not made durable.
    pub nothing_durable: bool,
    /// Polls are answered at once, with what is held already.
    pub grant_what_is_held: bool,
    /// Ends are invalid if their reason is not one that only a refusal brings about.
    pub refuse_reasons: bool,
    /// Secrets that are asked for again are not sent.
    pub keep_secrets: bool,
    /// The next so many calls of a method are refused for this reason, because nothing proves who calls.
    pub unproven: BTreeMap<&'static str, (u32, &'static str)>,
    /// Registrations are refused with this text.
    pub refuse_registration: Option<String>,
}

#[derive(Debug, Default)]
pub struct State {
    pub installation: String,
    pub session: u64,
    pub registrations: Vec<v1::RegisterRequest>,
    pub attempts: BTreeMap<String, Attempt>,
    pub faults: Faults,
    pub refused: BTreeMap<&'static str, u32>,
    pub attends: Vec<Instant>,
    pub held: Vec<v1::HeldAttempt>,
    /// What the first sign of life of the newest session named.
    pub first_held: Option<Vec<v1::HeldAttempt>>,
    /// In seconds; 0 means 3.
    pub ping_deadline: i64,
    pub polled: Vec<u32>,
    pub authorization: Option<String>,
    /// What the next registration is answered as the executor's own.
    pub credential: Option<String>,
    /// From where a method was called last.
    pub callers: BTreeMap<&'static str, SocketAddr>,
}

#[derive(Clone, Debug)]
pub struct Controller {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    pub address: SocketAddr,
    server: Arc<Server>,
}

#[derive(Debug)]
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The wish for one attempt.
pub fn lease(command: &[&str]) -> v1::Lease {
    v1::Lease {
        name: Some(v1::LeaseName {
            execution: ExecutionId::from(Uuid::now_v7()).to_string(),
            attempt: 1,
            epoch: 1,
        }),
        job: "greet".to_owned(),
        user: "ada".to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        grace: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..v1::Lease::default()
    }
}

impl Controller {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { installation: Uuid::new_v4().to_string(), ..State::default() };
        let (state, changed) = (Arc::new(Mutex::new(state)), watch::Sender::new(0));
        let service = Service { state: state.clone(), changed: changed.clone() };
        let serving = tonic::transport::Server::builder()
            .add_service(ExecutorsServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = Arc::new(Server(tokio::spawn(async move { serving.await.unwrap() })));
        Self { state, changed, address, server }
    }

    /// Looks at the state, or changes it.
    pub async fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut *self.state.lock().await);
        self.changed.send_modify(|changes| *changes += 1);
        done
    }

    /// Grants one attempt; its execution's id.
    pub async fn grant(&self, lease: v1::Lease) -> String {
        let id = lease.name.clone().unwrap().execution;
        let attempt = Attempt { lease, ..Attempt::default() };
        self.with(|state| state.attempts.insert(id.clone(), attempt)).await;
        id
    }

    /// Waits until something holds, and says what it saw last if it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if holds(&*self.state.lock().await) {
                    return;
                }
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("never {what}: {:#?}", self.state.lock().await);
        }
    }

    /// Waits until an attempt is over, and takes what there is to say about it.
    pub async fn over(&self, id: &str) -> v1::Ended {
        self.until("over", |state| state.attempts[id].over).await;
        let (ended, log) = self
            .with(|state| {
                let attempt = &state.attempts[id];
                (attempt.ended.clone().unwrap(), attempt.log.clone())
            })
            .await;
        assert_eq!(ended.log_size, log.len() as u64);
        assert_eq!(ended.log_crc, crc(&log), "the checksum is not that of the log");
        ended
    }

    pub async fn log(&self, id: &str) -> String {
        self.with(|state| String::from_utf8(state.attempts[id].log.clone()).unwrap()).await
    }

    pub async fn reports(&self, id: &str) -> Vec<&'static str> {
        self.with(|state| state.attempts[id].reports.clone()).await
    }
}

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_XZ);

pub fn crc(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}
