//! Logs for tests of the rules: what a container wrote, and a kubelet of version 1.20 that sends it.

use super::{
    api::{LogApi, LogBytes, LogRefusal, PodName},
    decode::PIECE,
    stamp::Stamp,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use proptest::prelude::*;
use std::{collections::VecDeque, fmt, io, ops::Range};
use tokio::sync::watch;

/// What the runtime keeps of one write: at most [`PIECE`] bytes and a newline.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) stamp: Stamp,
    pub(super) content: Bytes,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, start) = (self.content.len(), &self.content[..self.content.len().min(20)]);
        write!(f, "{}: {length} bytes, {:?}", self.stamp.0, String::from_utf8_lossy(start))
    }
}

impl Written {
    /// One line, in pieces as the runtime makes them.
    pub(super) fn line(stamp: Stamp, line: &[u8], newline: bool) -> Vec<Self> {
        let mut pieces: Vec<Vec<u8>> = line.chunks(PIECE).map(<[u8]>::to_vec).collect();
        match pieces.last_mut() {
            Some(last) if newline => last.push(b'\n'),
            None if newline => pieces.push(b"\n".to_vec()),
            _ => {}
        }
        pieces.into_iter().map(|content| Self { stamp, content: content.into() }).collect()
    }
}

/// Lines of any bytes, some of several pieces, the last one perhaps without a newline; stamps that grow, or are equal, or
/// go back by little.
pub(super) fn written(lines: Range<usize>) -> impl Strategy<Value = Vec<Written>> {
    let byte = prop_oneof![8 => any::<u8>(), 1 => Just(b'\r'), 1 => Just(0u8)];
    let short = prop::collection::vec(byte, 0..80);
    let like_a_stamp = (0u8..60)
        .prop_map(|second| format!("x 2026-11-28T20:31:{second:02}.123456789Z y").into_bytes());
    let long = (prop_oneof![Just(PIECE), Just(2 * PIECE), Just(3 * PIECE)], 0..3usize, any::<u8>())
        .prop_map(|(length, less, byte)| vec![byte; length + 1 - less]);
    let line = prop_oneof![12 => short, 2 => like_a_stamp, 1 => long];
    let lines = prop::collection::vec((line, 0i64..40, 0i64..9), lines);
    (lines, any::<bool>()).prop_map(|(lines, newline)| {
        let mut clock = 1_795_897_886_000_000_000;
        let last = lines.len().saturating_sub(1);
        let mut pieces = Vec::new();
        for (number, (mut line, later, earlier)) in lines.into_iter().enumerate() {
            line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
            clock += later * 10_000_000;
            let stamp = Stamp(clock - earlier * 1_000_000);
            pieces.extend(Written::line(stamp, &line, newline || number < last));
        }
        pieces
    })
}

/// All that was written, as it was.
pub(super) fn content(pieces: &[Written]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.content.to_vec()).collect()
}

/// What the API sends of it, from a second on.
pub(super) fn sent(pieces: &[Written], since: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.stamp.second() >= since) {
        let time = jiff::Timestamp::from_nanosecond(i128::from(piece.stamp.0)).unwrap();
        bytes.extend(format!("{time:.9} ").bytes());
        bytes.extend_from_slice(&piece.content);
    }
    bytes
}

/// What comes of the next opening.
#[derive(Clone, Debug)]
pub(super) enum Opening {
    Refused(LogRefusal),
    /// The connection is cut after so many bytes.
    CutAfter(usize),
    /// The read ends after so many bytes, as if it were over.
    EndsAfter(usize),
    /// The kubelet says this, and the read ends.
    Words(&'static str),
}

#[derive(Debug)]
pub(super) struct State {
    /// Those before the last are rotated away.
    files: Vec<Vec<Written>>,
    ended: bool,
    /// Who follows goes on in the next file at once, and passes over what came into the old one meanwhile.
    pub(super) goes_on: bool,
    /// The pod is gone, and who follows its log listens on.
    pub(super) is_gone: bool,
    openings: VecDeque<Opening>,
    /// From which second on a read was opened, and whether to follow.
    pub(super) opened: Vec<(Option<i64>, bool)>,
    /// How many bytes were sent.
    pub(super) sent: usize,
}

/// A kubelet that keeps one log, as version 1.20 does: who follows goes on in the file that was there when he came.
#[derive(Debug)]
pub(super) struct Kubelet {
    pub(super) state: watch::Sender<State>,
    chunk: usize,
}

impl Kubelet {
    /// Sends at most so many bytes at once.
    pub(super) fn new(chunk: usize, openings: impl IntoIterator<Item = Opening>) -> Self {
        let state = State {
            files: vec![Vec::new()],
            ended: false,
            goes_on: false,
            is_gone: false,
            openings: openings.into_iter().collect(),
            opened: Vec::new(),
            sent: 0,
        };
        Self { state: watch::Sender::new(state), chunk }
    }

    pub(super) fn write(&self, pieces: impl IntoIterator<Item = Written>) {
        self.state.send_modify(|state| state.files.last_mut().unwrap().extend(pieces));
    }

    /// One line, so many milliseconds after the first.
    pub(super) fn line(&self, millis: i64, text: &str) {
        let stamp = Stamp((1_795_897_886_000 + millis) * 1_000_000);
        self.write(Written::line(stamp, text.as_bytes(), true));
    }

    pub(super) fn rotate(&self) {
        self.state.send_modify(|state| state.files.push(Vec::new()));
    }

    /// Followers see this and the rotation behind it at the same time.
    pub(super) fn line_and_rotation(&self, millis: i64, text: &str) {
        let stamp = Stamp((1_795_897_886_000 + millis) * 1_000_000);
        self.state.send_modify(|state| {
            state.files.last_mut().unwrap().extend(Written::line(stamp, text.as_bytes(), true));
            state.files.push(Vec::new());
        });
    }

    pub(super) fn end(&self) {
        self.state.send_modify(|state| state.ended = true);
    }

    pub(super) fn remove_pod(&self) {
        self.state.send_modify(|state| state.is_gone = true);
    }

    pub(super) fn next_openings(&self, openings: impl IntoIterator<Item = Opening>) {
        self.state.send_modify(|state| state.openings.extend(openings));
    }

    pub(super) fn opened(&self) -> usize {
        self.state.borrow().opened.len()
    }
}

fn gone() -> LogRefusal {
    LogRefusal::Gone("no pod".to_owned())
}

#[async_trait]
impl LogApi for Kubelet {
    async fn first(&self, _pod: &PodName, _container: &str) -> Result<Bytes, LogRefusal> {
        let state = self.state.borrow();
        if state.is_gone {
            return Err(gone());
        }
        let newest = state.files.last().unwrap();
        let mut bytes = sent(&newest[..newest.len().min(1)], i64::MIN);
        bytes.truncate(64);
        Ok(bytes.into())
    }

    async fn open(
        &self,
        _pod: &PodName,
        _container: &str,
        since: Option<i64>,
        follow: bool,
    ) -> Result<LogBytes, LogRefusal> {
        let mut opening = None;
        self.state.send_modify(|state| {
            opening = state.openings.pop_front();
            if state.is_gone {
                opening = Some(Opening::Refused(gone()));
            }
            state.opened.push((since, follow));
        });
        let budget = match &opening {
            Some(Opening::Refused(refusal)) => return Err(refusal.clone()),
            Some(Opening::CutAfter(bytes) | Opening::EndsAfter(bytes)) => *bytes,
            Some(Opening::Words(_)) | None => usize::MAX,
        };
        // Who follows hears it behind what there is, others instead of it.
        let speaks = matches!(opening, Some(Opening::Words(_)));
        let start = if speaks && !follow { usize::MAX } else { 0 };
        let follow = follow && !speaks;
        let watched = self.state.subscribe();
        let file = watched.borrow().files.len() - 1;
        let since = since.unwrap_or(i64::MIN);
        let position = (watched, file, start);
        let pieces = stream::unfold(position, move |(mut watched, mut file, mut at)| async move {
            loop {
                let (bytes, length, ended) = {
                    let state = watched.borrow_and_update();
                    if state.goes_on && follow && file + 1 < state.files.len() {
                        (file, at) = (state.files.len() - 1, 0);
                    }
                    let pieces = &state.files[file];
                    (sent(pieces.get(at..).unwrap_or_default(), since), pieces.len(), state.ended)
                };
                if !bytes.is_empty() {
                    return Some((bytes, (watched, file, length)));
                }
                if !follow || ended {
                    return None;
                }
                if watched.changed().await.is_err() {
                    return None;
                }
            }
        });
        let words = match opening {
            Some(Opening::Words(words)) => words.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let chunk = self.chunk;
        let chunks = pieces.chain(stream::iter([words])).flat_map(move |bytes| {
            let chunks: Vec<_> = bytes.chunks(chunk).map(Bytes::copy_from_slice).collect();
            stream::iter(chunks)
        });
        let cut = matches!(opening, Some(Opening::CutAfter(_)));
        let counter = self.state.clone();
        let within = stream::unfold((chunks.boxed(), budget), move |(mut chunks, budget)| {
            let counter = counter.clone();
            async move {
                let mut bytes = if budget > 0 { chunks.next().await? } else { return None };
                bytes.truncate(budget);
                counter.send_if_modified(|state| {
                    state.sent += bytes.len();
                    false
                });
                let budget = budget - bytes.len();
                Some((bytes, (chunks, budget)))
            }
        });
        let end = stream::iter(cut.then(|| Err(io::Error::from(io::ErrorKind::UnexpectedEof))));
        Ok(within.map(Ok).chain(end).boxed())
    }
}
