//! Reads one log ahead of whoever asks: opens a read, and another one behind it, until the log is over.
//!
//! The end of a read is only a reason to open the next one. The log is over when the container has ended and one more
//! read, opened after that, brought nothing new. What of it cannot be had is said in the log.

use super::{
    api::{LogApi, LogBytes, LogRefusal, PodName},
    buffer::Buffer,
    cursor::{Cursor, Place},
    decode::{Decoder, Item},
    passed::{Passage, Passed},
    seam::{Rotation, Seam, Seen},
    silence::Silence,
    stamp::{Begins, Stamp},
    words,
};
use crate::link::backoff::Backoff;
use bytes::Bytes;
use futures::StreamExt;
use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// How long the API may take to begin with an answer.
const OPENING: Duration = Duration::from_secs(30);

/// How long a read that does not follow may bring nothing before it ends.
const STALLED: Duration = Duration::from_secs(30);

/// How long a read that follows may be silent once the container has ended.
const LINGER: Duration = Duration::from_millis(300);

/// The same where its pod is gone, so that no other read can be had: what is on its way from a busy node is there by then.
/// A kubelet (1.20) does not end the read of what is gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A read goes on where another ended if it is open so soon after it.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A read of less than this, with nothing new, counts as a failure.
const SHORT: Duration = Duration::from_secs(1);

/// Who has no right waits longer by this.
const FORBIDDEN: u32 = 6;

/// The longest pause once the container has ended.
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// The longest that the API may ask to be left alone.
const LEFT_ALONE: Duration = Duration::from_mins(1);

/// How long it may take to look with what the newest file begins.
const LOOKING: Duration = Duration::from_secs(5);

/// The end of the container, as it was told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// When that was, on the node's clock.
    pub(super) at: Option<Stamp>,
    /// When it was told.
    pub(super) told: Instant,
}

/// What a reader is made for.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) api: Arc<dyn LogApi>,
    pub(super) pod: PodName,
    pub(super) container: &'static str,
    pub(super) ended: watch::Sender<Option<Ended>>,
    /// There may be a log now.
    pub(super) started: Arc<Notify>,
    /// The container is known to have run.
    pub(super) has_run: Arc<AtomicBool>,
}

pub(super) struct Reader {
    source: Source,
    ended: watch::Receiver<Option<Ended>>,
    /// The last read listened while the container ran, and ended by itself; and nobody was kept from listening since.
    is_heard_out: bool,
    buffer: Arc<watch::Sender<Buffer>>,
    cursor: Cursor,
    silence: Silence,
    backoff: Backoff,
    before: Option<Before>,
    passed: Passed,
    /// What is to be said once the line is at its end.
    unsaid: Option<Passage>,
    /// What stood behind the last newline at the end of a read: if its file is rotated away, the end of that file. The
    /// runtime changes files in the middle of a line, too.
    tail: Vec<Item>,
    /// The read that follows the end of the container, where it is open already.
    behind: Option<LogBytes>,
    /// A read after the container's end was whole, and had this behind its last newline.
    end_seen: Option<Vec<Item>>,
}

/// The read before.
#[derive(Clone, Copy, Debug)]
struct Before {
    opened: Instant,
    closed: Instant,
    /// It listened until it was closed, and knew all before that.
    listened: bool,
    /// See [`Rotation::clear`].
    clear: bool,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself.
    Clean,
    /// In the middle.
    Cut,
    /// Nothing came for too long.
    Silent,
}

/// One read.
struct Read {
    end: End,
    took: bool,
    /// The container's end was told meanwhile.
    told: bool,
    opened: Instant,
    seam: Seam,
    rotation: Rotation,
    rest: Vec<Item>,
    words: Option<String>,
}

impl Reader {
    /// Goes on at `cursor`, into `buffer`, which begins there.
    pub(super) fn new(source: Source, cursor: Cursor, buffer: Arc<watch::Sender<Buffer>>) -> Self {
        Self {
            ended: source.ended.subscribe(),
            is_heard_out: false,
            source,
            buffer,
            cursor,
            silence: Silence::default(),
            backoff: Backoff::default(),
            before: None,
            passed: Passed::default(),
            unsaid: None,
            tail: Vec::new(),
            behind: None,
            end_seen: None,
        }
    }

    /// Reads until the log is over.
    pub(super) async fn run(mut self) {
        while self.cursor.place != Place::Over {
            let ended = *self.ended.borrow_and_update();
            let opened = match self.behind.take() {
                Some(bytes) => Ok(bytes),
                None => self.open(ended.is_none()).await,
            };
            let is_over = match opened {
                Ok(bytes) => {
                    let read = self.read(bytes, ended).await;
                    match ended {
                        None => self.go_on(&read).await,
                        Some(ended) => self.finish(read, ended).await,
                    }
                }
                Err(refusal) => {
                    if let Some(before) = &mut self.before {
                        before.listened = false;
                    }
                    if ended.is_none() && words::keeps_from_listening(&refusal) {
                        self.is_heard_out = false;
                    }
                    self.refused(&refusal, ended).await
                }
            };
            if is_over {
                break;
            }
        }
        self.buffer.send_modify(Buffer::end_here);
    }

    /// Opens a read that goes on from here.
    async fn open(&mut self, listens: bool) -> Result<LogBytes, LogRefusal> {
        let Source { api, pod, container, .. } = &self.source;
        let open = api.open(pod, container, self.cursor.place.since(), listens);
        timeout(OPENING, open).await.unwrap_or_else(|_| {
            let why = format!("the API gave no answer within {} s", OPENING.as_secs());
            Err(LogRefusal::Failed { why, after: None })
        })
    }

    /// What one read brings, until it ends.
    async fn read(&mut self, mut bytes: LogBytes, ended: Option<Ended>) -> Read {
        let opened = Instant::now();
        let rotation = self.rotation(opened);
        let mut seam = Seam::at(self.cursor.place);
        let mut decoder = Decoder::default();
        let (mut took, mut told, mut is_last) = (false, false, false);
        self.passed.opened();
        let end = loop {
            let limit = match (ended, told) {
                (Some(_), _) => STALLED,
                (None, true) if is_last => LAST_WORDS,
                (None, true) => LINGER,
                (None, false) => self.silence.limit(),
            };
            let next = tokio::select! {
                next = timeout(limit, bytes.next()) => next,
                _ = self.ended.changed(), if ended.is_none() && !told => {
                    told = true;
                    continue;
                }
            };
            match next {
                Ok(Some(Ok(chunk))) => {
                    let (mut seen, mut stamps, length) = (Vec::new(), None, chunk.len());
                    decoder.push(chunk);
                    while let Some(item) = decoder.next() {
                        let first = stamps.map_or(item.stamp, |(first, _)| first);
                        stamps = Some((first, item.stamp));
                        seam.pass(item, |each| seen.push(each));
                    }
                    if let Some((first, last)) = stamps {
                        // What was sent again tells of no other file.
                        self.passed.saw(first, last, if seen.is_empty() { 0 } else { length });
                    }
                    if !seen.is_empty() {
                        took = true;
                        self.silence.came(length, Instant::now());
                        self.take(seen, rotation, None).await;
                    }
                    if self.passed.is_due(Instant::now()) {
                        self.look().await;
                    }
                    self.say(false);
                }
                Ok(Some(Err(error))) => {
                    tracing::debug!(pod = %self.source.pod, %error, "a read of a log was cut");
                    break End::Cut;
                }
                Ok(None) => break End::Clean,
                Err(_) if told && !is_last => match self.open_behind().await {
                    Err(LogRefusal::Gone(_)) => is_last = true,
                    Ok(()) | Err(_) => break End::Silent,
                },
                Err(_) => break End::Silent,
            }
        };
        if self.passed.is_unlooked() {
            self.look().await;
        }
        self.say(true);
        let is_between = decoder.is_between();
        // The end is told in whole seconds, stamps are finer.
        let at =
            ended.and_then(|ended| ended.at).map(|at| Stamp(at.0.saturating_add(1_000_000_000)));
        let rest = if end == End::Cut { Vec::new() } else { decoder.rest(at) };
        // What is missing stays so, until something newer comes behind which it can be said.
        let (is_missing, is_lossy) = (seam.is_missing(), rotation.is_lossy());
        if !is_missing {
            self.tail = rest.clone();
        }
        // The kubelet sends whole pieces: in the middle of a stamp, something on the way is stuck.
        let listened = end != End::Cut && (is_between || !rest.is_empty());
        self.before = Some(Before {
            opened,
            closed: Instant::now(),
            listened: listened && !(is_missing && is_lossy),
            clear: is_missing && !is_lossy,
        });
        Read { end, took, told, opened, seam, rotation, rest, words: decoder.words() }
    }

    /// Opens the read that follows the end of the container, while the one before it is still there: of a pod that is gone
    /// there is no other.
    async fn open_behind(&mut self) -> Result<(), LogRefusal> {
        if let Ok(opened) = timeout(LOOKING, self.open(false)).await {
            self.behind = Some(opened?);
        }
        Ok(()) // else whoever opens the next one learns why
    }

    /// Looks whether this read went on into another file by itself.
    async fn look(&mut self) {
        let Source { api, pod, container, .. } = &self.source;
        let first = match timeout(LOOKING, api.first(pod, container)).await {
            Ok(Ok(first)) => Some(first),
            Ok(Err(_)) | Err(_) => None, // what is wrong is told by the next read
        };
        let newest = first.and_then(|first| match Stamp::at_start(&first) {
            Begins::With(stamp, _) => Some(stamp),
            Begins::Unclear | Begins::Otherwise => None,
        });
        if let Some(passage) = self.passed.looked(newest, Instant::now()) {
            self.unsaid = Some(match self.unsaid {
                Some(earlier) => Passage { from: earlier.from, ..passage },
                None => passage,
            });
        }
    }

    /// Says what may be missing: where a line ends, or here.
    fn say(&mut self, here: bool) {
        let is_cut = matches!(self.cursor.place, Place::Behind { left: 1.., .. });
        if is_cut || (self.cursor.mid_line && !here) {
            return;
        }
        let Some(Passage { from, to }) = self.unsaid.take() else { return };
        let text = words::passed_over(from, to);
        tracing::warn!(pod = %self.source.pod, "{text}");
        let entry = self.words(&text, self.cursor.place.latest().or(Some(to)), self.cursor.place);
        self.advance(&entry);
        let (millis, bytes, place, is_ours) = entry;
        self.buffer.send_modify(|buffer| buffer.push(millis, bytes, place, is_ours));
    }

    /// What is known, should it turn out that the log was rotated since the read before.
    fn rotation(&self, opened: Instant) -> Rotation {
        let is_cut = matches!(self.cursor.place, Place::Behind { left: 1.., .. });
        match self.before {
            Some(before) => Rotation {
                drained: before.listened && opened - before.closed < AT_ONCE && !is_cut,
                between: None,
                unseen: opened - before.opened,
                clear: before.clear,
            },
            None => Rotation { drained: false, between: None, unseen: Duration::MAX, clear: false },
        }
    }

    /// Keeps what was seen, once there is room.
    async fn take(&mut self, seen: Vec<Seen>, rotation: Rotation, end: Option<Stamp>) {
        let has_room = self.buffer.subscribe().wait_for(Buffer::has_room).await.is_ok();
        debug_assert!(has_room, "the buffer is held here");
        let mut entries: Vec<(i64, Bytes, Place, bool)> = Vec::with_capacity(seen.len());
        let mut seen = seen.into_iter().peekable();
        while let Some(each) = seen.next() {
            let entry = match each {
                Seen::New(item) => self.new_entry(item),
                Seen::Rest(item) => {
                    let mut place = self.cursor.place;
                    if let Place::Behind { left, .. } = &mut place {
                        *left = 0;
                    }
                    (item.stamp.millis(), item.content, place, false)
                }
                Seen::Dropped => {
                    let latest = self.cursor.place.latest();
                    let next = match seen.peek() {
                        Some(Seen::New(item)) => Some(item.stamp),
                        _ => None,
                    };
                    let text = words::set_back(latest, next.or(end));
                    tracing::warn!(pod = %self.source.pod, "{text}");
                    self.words(&text, latest, self.cursor.place)
                }
                Seen::Rotated => {
                    for item in mem::take(&mut self.tail) {
                        let entry = self.new_entry(item);
                        self.advance(&entry);
                        entries.push(entry);
                    }
                    let first = match seen.peek() {
                        Some(Seen::New(item) | Seen::Rest(item)) => Some(item.stamp),
                        _ => None,
                    };
                    let latest = self.cursor.place.latest();
                    let between = latest.zip(first).map(|(from, to)| {
                        Duration::from_nanos(u64::try_from(to.0 - from.0).unwrap_or(0))
                    });
                    let since = self.cursor.place.since().unwrap_or(i64::MIN);
                    let place = first.map_or(Place::Over, |until| Place::Gap { since, until });
                    if !(Rotation { between, ..rotation }).is_lossy() {
                        // Nothing to say: only the peak is another one from here on.
                        self.cursor.place = place;
                        continue;
                    }
                    let text = words::rotated_away(latest, first.or(end));
                    tracing::warn!(pod = %self.source.pod, "{text}");
                    self.words(&text, first.or(end).or(latest), place)
                }
            };
            self.advance(&entry);
            entries.push(entry);
        }
        self.buffer.send_modify(|buffer| {
            for (millis, bytes, place, is_ours) in entries {
                buffer.push(millis, bytes, place, is_ours);
            }
        });
    }

    fn new_entry(&self, item: Item) -> (i64, Bytes, Place, bool) {
        let place = self.cursor.place.behind(&item);
        (item.stamp.millis(), item.content, place, false)
    }

    fn advance(&mut self, (_, bytes, place, _): &(i64, Bytes, Place, bool)) {
        self.cursor.offset += bytes.len() as u64;
        self.cursor.mid_line = bytes.last() != Some(&b'\n');
        self.cursor.place = *place;
    }

    fn words(&self, text: &str, at: Option<Stamp>, place: Place) -> (i64, Bytes, Place, bool) {
        let line = words::line(self.cursor.mid_line, text);
        (at.map_or(0, Stamp::millis), Bytes::from(line), place, true)
    }

    /// After a read while the container runs. Never over.
    async fn go_on(&mut self, read: &Read) -> bool {
        self.is_heard_out = match (&read.words, read.took) {
            (None, _) => read.end == End::Clean || (read.told && read.end == End::Silent),
            // Nothing but words: that the container is removed, perhaps. What was heard before that stays heard.
            (Some(_), false) => self.is_heard_out,
            (Some(words), true) => words::is_removed(words),
        };
        if let Some(words) = &read.words {
            tracing::debug!(pod = %self.source.pod, words, "the kubelet spoke in a log");
        }
        if read.end == End::Silent && !read.took {
            self.silence.nothing_came();
        }
        if !read.took && read.opened.elapsed() < SHORT {
            let pause = self.backoff.pause();
            self.pause(pause).await;
        } else {
            self.backoff.reset();
        }
        false
    }

    /// After a read that was opened when the container had ended: over, if that brought nothing more.
    async fn finish(&mut self, mut read: Read, ended: Ended) -> bool {
        let broken = match (read.end, read.words.take()) {
            (_, Some(words)) => Some(words),
            (End::Cut | End::Silent, None) => Some("the connection was cut".to_owned()),
            (End::Clean, None) => None,
        };
        if let Some(why) = broken {
            if read.took {
                self.backoff.reset();
            }
            return self.refused(&LogRefusal::Failed { why, after: None }, Some(ended)).await;
        }
        self.is_heard_out = true;
        // A kubelet that is killed ends a read in the middle, and that looks like the end: so an end is seen twice.
        if read.took || self.end_seen.as_ref() != Some(&read.rest) {
            self.end_seen = Some(read.rest);
            return false;
        }
        let mut seen = Vec::new();
        for item in read.rest {
            read.seam.pass(item, |each| seen.push(each));
        }
        if read.seam.is_skipping() {
            let why = "a read ended before what was taken of the log".to_owned();
            return self.refused(&LogRefusal::Failed { why, after: None }, Some(ended)).await;
        }
        read.seam.finish(|each| seen.push(each));
        self.take(seen, read.rotation, ended.at).await;
        true
    }

    /// After a refusal: over, if nothing more is to be had.
    async fn refused(&mut self, refusal: &LogRefusal, ended: Option<Ended>) -> bool {
        // Of a pod that is stopped there is no second look. But its kubelet lived to tell when the container ended, and
        // before that sent all that there was.
        let is_told = ended.is_some_and(|ended| ended.at.is_some());
        if matches!(refusal, LogRefusal::Gone(_)) && is_told && self.is_heard_out {
            return true;
        }
        self.end_seen = None;
        let mut pause = self.backoff.pause();
        if let LogRefusal::Forbidden(_) = refusal {
            pause *= FORBIDDEN;
        }
        if self.backoff.failures() == 1 && !words::waits(refusal) {
            tracing::warn!(pod = %self.source.pod, %refusal, "a log cannot be read: it is tried again");
        }
        if let Some(ended) = ended {
            pause = pause.min(LAST_PAUSE);
            let is_late = ended.told.elapsed() >= words::patience(refusal);
            if is_late && self.backoff.failures() > 1 {
                self.give_up(refusal, ended);
                return true;
            }
        }
        if let LogRefusal::Failed { after: Some(after), .. } = refusal {
            pause = pause.max((*after).min(LEFT_ALONE));
        }
        self.pause(pause).await;
        false
    }

    fn give_up(&mut self, refusal: &LogRefusal, ended: Ended) {
        let latest = self.cursor.place.latest();
        // A runtime that was killed forgets of a container that it ran.
        let has_run = self.source.has_run.load(Relaxed);
        if latest.is_none() && !has_run && words::waits(refusal) {
            return;
        }
        let text = words::unreadable(latest, &self.source.pod, refusal);
        tracing::warn!(pod = %self.source.pod, "{text}");
        let (millis, bytes, place, is_ours) = self.words(&text, ended.at.or(latest), Place::Over);
        self.cursor.place = place;
        self.buffer.send_modify(|buffer| buffer.push(millis, bytes, place, is_ours));
    }

    /// Waits, but not for longer than until something is known that changes what comes next.
    async fn pause(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.source.started.notified() => {}
            _ = self.ended.changed() => {}
        }
    }
}
