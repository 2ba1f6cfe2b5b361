//! Faults for a controller that runs as a process of its own: a file says what becomes of its commits.
//!
//! The file is looked at before each commit. One that is missing, or cannot be read as orders, means no faults.

use crate::store::{
    Page, Range,
    backend::{
        Backend, CommitError, OpenError, Opener, Outcome, RangeError, Snapshot, Transaction,
    },
};
use async_trait::async_trait;
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// The variable that names the file.
pub const VARIABLE: &str = "OCTAVIUS_STORE_FAULTS";

/// What becomes of commits from now on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Each takes longer by this many milliseconds.
    pub delay_millis: u64,
    /// Nothing is written, because there is no space.
    pub full: bool,
    /// How many of a thousand are refused.
    pub refused: u32,
    /// How many of a thousand do not happen, and nobody knows.
    pub forgotten_before: u32,
    /// How many of a thousand happen, and nobody knows.
    pub forgotten_after: u32,
}

/// Puts faults around `inner`, if the process was started with [`VARIABLE`].
pub fn from_environment(inner: Arc<dyn Opener>) -> Arc<dyn Opener> {
    match std::env::var_os(VARIABLE) {
        None => inner,
        Some(file) => {
            let file = PathBuf::from(file);
            tracing::warn!(file = %file.display(), "faults are injected into the store");
            Arc::new(ToldOpener { inner, file })
        }
    }
}

/// Opens backends that do what a file says around those that `inner` opens.
#[derive(Debug)]
struct ToldOpener {
    inner: Arc<dyn Opener>,
    file: PathBuf,
}

#[async_trait]
impl Opener for ToldOpener {
    async fn open(&self) -> Result<Arc<dyn Backend>, OpenError> {
        let inner = self.inner.open().await?;
        let (file, broken) = (self.file.clone(), AtomicBool::new(false));
        Ok(Arc::new(Told { inner, file, broken }))
    }

    fn is_exclusive(&self) -> bool {
        self.inner.is_exclusive()
    }

    async fn full(&self, thoroughly: bool) -> Option<String> {
        // Not at once: the first commit finds out.
        match thoroughly && orders(&self.file).await.full {
            true => Some("the store is full: a file told it so".to_owned()),
            false => self.inner.full(thoroughly).await,
        }
    }
}

#[derive(Debug)]
struct Told {
    inner: Arc<dyn Backend>,
    file: PathBuf,
    /// As a real one does, it answers nothing more after an error.
    broken: AtomicBool,
}

impl Told {
    fn breaks<T>(&self, error: T) -> T {
        self.broken.store(true, SeqCst);
        error
    }
}

#[async_trait]
impl Backend for Told {
    async fn range(&self, range: Range) -> Result<Page, RangeError> {
        if self.broken.load(SeqCst) {
            return Err(RangeError("it has failed before".to_owned()));
        }
        self.inner.range(range).await
    }

    async fn snapshot(&self) -> Result<Snapshot, RangeError> {
        self.inner.snapshot().await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, CommitError> {
        if self.broken.load(SeqCst) {
            return Err(CommitError::Refused("it has failed before".to_owned()));
        }
        let orders = orders(&self.file).await;
        tokio::time::sleep(Duration::from_millis(orders.delay_millis)).await;
        let luck = rand::random_range(0..1000);
        let forgotten = || "a file told it to forget this".to_owned();
        if orders.full {
            return Err(self.breaks(CommitError::Full("No space left on device".to_owned())));
        }
        if luck < orders.refused {
            let why = "a file told it to refuse this".to_owned();
            return Err(self.breaks(CommitError::Refused(why)));
        }
        if luck < orders.refused + orders.forgotten_before {
            return Err(self.breaks(CommitError::Unknown(forgotten())));
        }
        let outcome = self.inner.commit(transaction).await?;
        if luck < orders.refused + orders.forgotten_before + orders.forgotten_after {
            return Err(self.breaks(CommitError::Unknown(forgotten())));
        }
        Ok(outcome)
    }
}

async fn orders(file: &Path) -> Orders {
    let text = tokio::fs::read(file).await.unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
