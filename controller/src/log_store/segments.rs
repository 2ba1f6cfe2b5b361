//! The segments that are read, unpacked, with those of them that were read last.
//!
//! A reader keeps nothing of a segment between two pieces: one that does not go on holds no memory, however many there
//! are, and those who read the same log unpack it once.

use super::{
    LogError, LogFolder,
    index::{self, Place, SegmentEntry},
    rules::Placed,
    segment::{self, Damaged, ObjectName},
};
use octavius_protocol::id::AttemptId;
use quick_cache::{Weighter, sync::Cache};
use std::sync::Arc;

/// The most bytes of unpacked segments that are kept for others to read.
const KEPT: u64 = 8 << 20;
/// How many segments that is, when they are whole ones.
const USUALLY: usize = 8;
/// Names a segment. What is committed at an offset never changes.
type Key = (AttemptId, u64, u64);

/// A segment as it is read.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) chunks: Vec<Placed>,
    weight: u64,
}

impl Unpacked {
    fn new(chunks: Vec<Placed>) -> Arc<Self> {
        let bytes = |placed: &Placed| placed.chunk.data.len() + size_of::<Placed>();
        let weight = chunks.iter().map(bytes).sum::<usize>() as u64 + 1;
        Arc::new(Self { chunks, weight })
    }
}

/// Weighs segments.
#[derive(Clone, Debug)]
struct InBytes;

impl Weighter<Key, Arc<Unpacked>> for InBytes {
    fn weight(&self, _: &Key, unpacked: &Arc<Unpacked>) -> u64 {
        unpacked.weight
    }
}

/// Reads segments.
#[derive(Clone, Debug)]
pub(super) struct Segments {
    folder: LogFolder,
    read: Arc<Cache<Key, Arc<Unpacked>, InBytes>>,
}

/// Why the chunks of a segment are not to be had.
#[derive(Clone, Debug)]
pub(super) enum Missed {
    /// Its object is not there.
    Gone,
    /// Something else.
    Failed(LogError),
}

impl Segments {
    pub(super) fn new(folder: LogFolder) -> Self {
        // So few that they are not divided: else one would have to fit into a part.
        let read = Cache::with_weighter(USUALLY, KEPT, InBytes);
        Self { folder, read: Arc::new(read) }
    }

    pub(super) fn folder(&self) -> &LogFolder {
        &self.folder
    }

    /// The chunks of a segment, from wherever they are.
    pub(super) async fn get(
        &self,
        attempt: AttemptId,
        entry: &SegmentEntry,
    ) -> Result<Arc<Unpacked>, Missed> {
        let key = (attempt, entry.offset, entry.crc);
        self.read.get_or_insert_async(&key, self.fetch(entry)).await
    }

    async fn fetch(&self, entry: &SegmentEntry) -> Result<Arc<Unpacked>, Missed> {
        let (offset, size) = (entry.offset, entry.size);
        let here = format!("the segment at {offset}");
        let damaged = |what: &str, why: &Damaged| Missed::Failed(index::damaged(what, why));
        let (what, packed, name) = match &entry.place {
            Some(Place::Inline(packed)) => (here, packed.clone(), None),
            Some(Place::Object(name)) => {
                let packed = self.folder.get(name).await.map_err(Missed::Failed)?;
                (name.clone(), packed.ok_or(Missed::Gone)?, Some(name.clone()))
            }
            Some(Place::LeftOut(_)) | None => {
                let why = "it is in a place that this version does not know".to_owned();
                return Err(damaged(&here, &Damaged(why)));
            }
        };
        let unpacked = self.folder.packing(move || {
            if let Some(name) = name {
                let name = ObjectName::parse(&name);
                name.ok_or_else(|| Damaged("a strange name".to_owned()))?.fits(&packed)?;
            }
            segment::unpacked(offset, size, &packed)
        });
        let unpacked = unpacked.await.unwrap_or_else(|error| Err(Damaged(error.to_string())));
        let behind = |Damaged(why): Damaged| {
            Damaged(format!("{why}; what comes behind it can be read from byte {} on", entry.end()))
        };
        unpacked.map(Unpacked::new).map_err(|why| damaged(&what, &behind(why)))
    }
}
