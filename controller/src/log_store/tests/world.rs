//! What the tests stand on: an embedded store and a folder on disk, which outlive their controller.

use crate::{
    log_store::{
        Appended, Chunk, LogError, LogFolder, LogHandle, LogLimits, LogReader, LogStoreUrl, Piece,
    },
    store::{
        Lead, Patience, StoreHandle,
        embedded::EmbeddedOpener,
        faulty::{Faults, FaultyOpener},
        keys,
    },
};
use bytes::Bytes;
use jiff::Timestamp;
use octavius_protocol::id::{AttemptId, AttemptNumber, ExecutionId};
use octavius_service::{actor::ActorSystem, configuration::Setting};
use octavius_testbed::s3::S3;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;

/// The installation of all worlds.
pub(super) const OURS: &str = "ours";
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct World {
    place: TempDir,
    system: ActorSystem,
    pub(super) store: StoreHandle,
    pub(super) faults: Faults,
    pub(super) folder: LogFolder,
    pub(super) logs: LogHandle,
    pub(super) term: u64,
    url: Option<LogStoreUrl>,
    limits: LogLimits,
}

/// Limits under which nothing is stored unless a test wants it.
pub(super) fn patient() -> LogLimits {
    let tick = Duration::from_millis(10);
    let flush_after = Duration::from_secs(3600);
    LogLimits { tick, flush_after, close_within: Duration::from_secs(5), ..LogLimits::default() }
}

/// Limits under which everything is stored at once.
pub(super) fn eager() -> LogLimits {
    LogLimits { flush_after: Duration::ZERO, ..patient() }
}

impl World {
    pub(super) async fn start(limits: LogLimits) -> Self {
        Self::at(tempfile::tempdir().unwrap(), 1, None, limits).await
    }

    /// The same with the segments in a place of this server.
    pub(super) async fn start_in(s3: &S3, prefix: &str, limits: LogLimits) -> Self {
        let url = Some(url(&s3.url(prefix)));
        Self::at(tempfile::tempdir().unwrap(), 1, url, limits).await
    }

    async fn at(place: TempDir, term: u64, url: Option<LogStoreUrl>, limits: LogLimits) -> Self {
        let mut system = ActorSystem::start("logs-test").unwrap();
        let (opener, faults) =
            FaultyOpener::new(Arc::new(EmbeddedOpener::new(place.path().join("store"))));
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default())
            .await
            .unwrap();
        let folder = LogFolder::with(url.as_ref(), place.path(), &S3::variables()).unwrap();
        let folder = folder.tried().await.unwrap().belonging_to(OURS).await.unwrap();
        let logs =
            LogHandle::start(&mut system, store.clone(), folder.clone(), term, limits).unwrap();
        logs.up(DEADLINE).await.unwrap();
        assert!(store.has_all(&[keys::TIME_FOR_LOGS]).await);
        Self { place, system, store, faults, folder, logs, term, url, limits }
    }

    /// The controller ends without a goodbye, and the next one begins on the same disk.
    pub(super) async fn restart(self) -> Self {
        let Self { place, system, store, logs, term, url, limits, .. } = self;
        system.stop().await;
        drop((store, logs));
        Self::at(place, term + 1, url, limits).await
    }

    pub(super) fn logs_folder(&self) -> PathBuf {
        self.place.path().join("logs")
    }

    /// The files in the folder, relative to it.
    pub(super) fn objects(&self) -> Vec<String> {
        let (root, mut found) = (self.logs_folder(), Vec::new());
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        found.push(path.strip_prefix(&root).unwrap().display().to_string());
                    }
                }
            }
        }
        found.sort();
        found
    }

    /// Appends at the offset, and expects that it is taken.
    pub(super) async fn append(&self, attempt: AttemptId, offset: u64, data: &[u8]) -> Appended {
        let end = offset + data.len() as u64;
        let appended = self.logs.append(attempt, offset, chunks(data), cursor(end)).await.unwrap();
        assert_eq!(appended.next, end, "{appended:?}");
        appended
    }

    /// Asks until everything before `offset` is durable.
    pub(super) async fn durable(&self, attempt: AttemptId, offset: u64) -> Appended {
        let mut last = None;
        let asking = async {
            loop {
                let asked = self.logs.append(attempt, 0, Vec::new(), Bytes::new()).await;
                if let Ok(appended) = &asked
                    && appended.durable >= offset
                {
                    return appended.clone();
                }
                last = Some(asked);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let answer = tokio::time::timeout(DEADLINE, asking).await;
        answer.unwrap_or_else(|_| panic!("not durable up to {offset}: {last:?}"))
    }

    /// How many bytes the files in the folder have.
    pub(super) fn on_disk(&self) -> u64 {
        let size = |name: &String| match self.logs_folder().join(name).metadata() {
            Ok(file) => file.len(),
            Err(_) => 0, // it went meanwhile
        };
        self.objects().iter().map(size).sum()
    }

    /// All bytes from `offset` to the end of a closed log, and why it was cut.
    pub(super) async fn read(&self, attempt: AttemptId, offset: u64) -> (Vec<u8>, String) {
        let mut reader = self.logs.read(attempt, offset);
        let (bytes, last) = drain(&mut reader, offset).await.unwrap();
        match last {
            Piece::End(info) => (bytes, info.cut),
            other => panic!("{other:?} instead of the end behind {} bytes", bytes.len()),
        }
    }
}

pub(super) fn url(text: &str) -> LogStoreUrl {
    LogStoreUrl::from_value(&text.into()).unwrap()
}

/// All bytes from `offset` on, where the reader stands, and what came behind them.
pub(super) async fn drain(
    reader: &mut LogReader,
    offset: u64,
) -> Result<(Vec<u8>, Piece), LogError> {
    let mut bytes = Vec::new();
    loop {
        match reader.next().await? {
            Piece::Bytes { offset: at, chunk, .. } => {
                assert_eq!(at, offset + bytes.len() as u64, "in order, without gaps");
                assert!((1..=256 << 10).contains(&chunk.data.len()));
                bytes.extend_from_slice(&chunk.data);
            }
            last => return Ok((bytes, last)),
        }
    }
}

pub(super) fn attempt(number: u8) -> AttemptId {
    let execution = ExecutionId::from_bytes([number; 16]);
    AttemptId { execution, attempt: AttemptNumber(1) }
}

pub(super) fn cursor(offset: u64) -> Bytes {
    Bytes::from(format!("cursor at {offset}"))
}

/// Chunks of at most 100,000 bytes.
pub(super) fn chunks(data: &[u8]) -> Vec<Chunk> {
    let chunk = |data| Chunk {
        observed_at: Timestamp::from_millisecond(1_700_000_000_123).unwrap(),
        data: Bytes::copy_from_slice(data),
    };
    data.chunks(100_000).map(chunk).collect()
}

/// Bytes that do not compress, always the same.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(7);
    (0..length).map(|_| random.random()).collect()
}

pub(super) fn crc(data: &[u8]) -> u64 {
    crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(data)
}
