//! A backend that fails when it is told to, around one that works. Only test builds have it.
//!
//! As a real one does, it answers nothing more after a commit that nobody knows of, until it is opened anew.

pub mod outside;

use super::{
    Page, Range, Write,
    backend::{
        Backend, Capacity, CommitError, OpenError, Opener, Outcome, RangeError, Snapshot,
        Transaction,
    },
};
use async_trait::async_trait;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc, watch};

/// What becomes of the next commit.
#[derive(Debug)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It is refused.
    Refused,
    /// There is no room for it.
    Full,
    /// It does not happen, and nobody knows.
    UnknownBefore,
    /// It happens, and nobody knows.
    UnknownAfter,
    /// Nobody knows, and it happens only just before the next one.
    UnknownLate,
    /// It takes this long, and never happens if it is given up before.
    Slow(Duration),
    /// Somebody else makes this write first.
    Intruder(Write),
    /// The backend panics.
    Panic,
}

/// The other end of a faulty backend: tells it what to do, and sees what it did.
#[derive(Clone, Debug)]
pub struct Faults {
    script: mpsc::Sender<Fault>,
    gate: watch::Sender<bool>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    commits: AtomicUsize,
    opens: AtomicUsize,
    begun_opens: AtomicUsize,
    open_millis: AtomicU64,
    failing_reads: AtomicUsize,
    failing_opens: AtomicUsize,
    full: AtomicBool,
}

impl Faults {
    /// What becomes of the commits that follow, one each; those behind the last go through.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            assert!(self.script.try_send(fault).is_ok(), "the script of faults is full");
        }
    }

    /// From now on commits wait at a gate.
    pub fn shut(&self) {
        self.gate.send_replace(false);
    }

    /// Those at the gate, and those to come, go on.
    pub fn open(&self) {
        self.gate.send_replace(true);
    }

    /// The next `count` reads fail.
    pub fn fail_reads(&self, count: usize) {
        self.seen.failing_reads.store(count, SeqCst);
    }

    /// The next `count` times it cannot be opened.
    pub fn fail_opens(&self, count: usize) {
        self.seen.failing_opens.store(count, SeqCst);
    }

    /// From now on opening takes this long, and begins from nothing if it is given up before.
    pub fn slow_opens(&self, pause: Duration) {
        let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        self.seen.open_millis.store(millis, SeqCst);
    }

    /// From now on it says of itself that it is full, or that it is not.
    pub fn full(&self, full: bool) {
        self.seen.full.store(full, SeqCst);
    }

    /// How many transactions came so far, those at the gate among them.
    pub fn commits(&self) -> usize {
        self.seen.commits.load(SeqCst)
    }

    /// How often somebody began to open it, whatever came of it.
    pub fn begun_opens(&self) -> usize {
        self.seen.begun_opens.load(SeqCst)
    }

    /// How often it was opened.
    pub fn opens(&self) -> usize {
        self.seen.opens.load(SeqCst)
    }
}

/// Opens faulty backends around those that `inner` opens.
#[derive(Debug)]
pub struct FaultyOpener {
    inner: Arc<dyn Opener>,
    script: Arc<Mutex<mpsc::Receiver<Fault>>>,
    late: Arc<Mutex<Option<Transaction>>>,
    gate: watch::Receiver<bool>,
    seen: Arc<Seen>,
}

impl FaultyOpener {
    /// Puts itself around `inner`.
    pub fn new(inner: Arc<dyn Opener>) -> (Arc<Self>, Faults) {
        let (script, faults) = mpsc::channel(1024);
        let (gate, passage) = watch::channel(true);
        let seen = Arc::new(Seen::default());
        let opener = Self {
            inner,
            script: Arc::new(Mutex::new(faults)),
            late: Arc::default(),
            gate: passage,
            seen: seen.clone(),
        };
        (Arc::new(opener), Faults { script, gate, seen })
    }
}

#[async_trait]
impl Opener for FaultyOpener {
    async fn open(&self) -> Result<Arc<dyn Backend>, OpenError> {
        self.seen.begun_opens.fetch_add(1, SeqCst);
        if one_of(&self.seen.failing_opens) {
            let why = "a test told it to fail".to_owned();
            return Err(OpenError::Away { place: "a faulty backend".to_owned(), why });
        }
        tokio::time::sleep(Duration::from_millis(self.seen.open_millis.load(SeqCst))).await;
        let inner = self.inner.open().await?;
        self.seen.opens.fetch_add(1, SeqCst);
        Ok(Arc::new(Faulty {
            inner,
            script: self.script.clone(),
            late: self.late.clone(),
            gate: self.gate.clone(),
            seen: self.seen.clone(),
            broken: AtomicBool::new(false),
        }))
    }

    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }

    fn is_exclusive(&self) -> bool {
        self.inner.is_exclusive()
    }

    async fn full(&self, thoroughly: bool) -> Option<String> {
        if self.seen.full.load(SeqCst) {
            return Some("the store is full: a test told it so".to_owned());
        }
        self.inner.full(thoroughly).await
    }
}

/// Counts down; whether there was one left.
fn one_of(count: &AtomicUsize) -> bool {
    count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Backend>,
    script: Arc<Mutex<mpsc::Receiver<Fault>>>,
    late: Arc<Mutex<Option<Transaction>>>,
    gate: watch::Receiver<bool>,
    seen: Arc<Seen>,
    broken: AtomicBool,
}

impl Faulty {
    fn unknown(&self) -> Result<Outcome, CommitError> {
        self.broken.store(true, SeqCst);
        Err(CommitError::Unknown("a test told it to forget this".to_owned()))
    }
}

#[async_trait]
impl Backend for Faulty {
    async fn range(&self, range: Range) -> Result<Page, RangeError> {
        if self.broken.load(SeqCst) {
            return Err(RangeError("it has failed before".to_owned()));
        }
        if one_of(&self.seen.failing_reads) {
            self.broken.store(true, SeqCst);
            return Err(RangeError("a test told it to fail".to_owned()));
        }
        self.inner.range(range).await
    }

    async fn snapshot(&self) -> Result<Snapshot, RangeError> {
        self.inner.snapshot().await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, CommitError> {
        self.seen.commits.fetch_add(1, SeqCst);
        if self.broken.load(SeqCst) {
            return Err(CommitError::Refused("it has failed before".to_owned()));
        }
        // An error means that the test which held the gate is over.
        let _ = self.gate.clone().wait_for(|open| *open).await;
        let fault = self.script.lock().await.try_recv().unwrap_or(Fault::None);
        if let Some(late) = self.late.lock().await.take() {
            self.inner.commit(late).await?;
        }
        match fault {
            Fault::None => self.inner.commit(transaction).await,
            Fault::Refused => {
                self.broken.store(true, SeqCst);
                Err(CommitError::Refused("a test told it to refuse".to_owned()))
            }
            Fault::Full => {
                self.broken.store(true, SeqCst);
                Err(CommitError::Full("a test told it so".to_owned()))
            }
            Fault::UnknownBefore => self.unknown(),
            Fault::UnknownAfter => {
                self.inner.commit(transaction).await?;
                self.unknown()
            }
            Fault::UnknownLate => {
                *self.late.lock().await = Some(transaction);
                self.unknown()
            }
            Fault::Slow(pause) => {
                tokio::time::sleep(pause).await;
                self.inner.commit(transaction).await
            }
            Fault::Intruder(write) => {
                let intrusion = Transaction::new(Vec::new(), vec![write])
                    .map_err(|limit| CommitError::Refused(limit.to_string()))?;
                self.inner.commit(intrusion).await?;
                self.inner.commit(transaction).await
            }
            #[allow(clippy::panic)]
            Fault::Panic => panic!("a test told this backend to panic"),
        }
    }
}
