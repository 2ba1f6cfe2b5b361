//! Following a log over cuts: the stream ends when the log does, and not when a connection does.

mod reader;

use crate::{
    client::Client,
    error::{Error, Silence},
    pause,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use octavius_protocol::{
    LEADER_AWAY, NO_LEADER, NOT_LEADING, STARTING,
    v1::{self, read_log_response::Part},
};
use reader::Reader;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

/// A controller that ends cuts all who follow in one instant: they come back over the time that it told, or over this one.
const SPREAD: Duration = Duration::from_secs(5);
/// The longest that a controller may tell.
const LONGEST_SPREAD: Duration = Duration::from_secs(30);
/// The second pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two tries where nobody listens, which costs nobody anything.
const LONGEST_WHERE_NOBODY_IS: Duration = Duration::from_millis(250);
/// The longest pause between two tries while no controller leads: another one does within seconds.
const LONGEST_WHERE_NOBODY_LEADS: Duration = Duration::from_secs(1);
/// The longest pause between two tries where somebody does.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A log, piece by piece. An error is its last item.
pub type LogStream = BoxStream<'static, Result<LogItem, Error>>;

/// A piece of a log, something to know about it, or its end.
#[derive(Clone, Debug, PartialEq)]
pub enum LogItem {
    /// Bytes of the log that were not delivered before.
    Bytes {
        /// The place of the first byte in the log.
        offset: u64,
        /// The bytes as the job wrote them.
        data: Bytes,
        /// When the executor read them, by its own clock; they were written within 100 ms of it.
        at: Option<prost_types::Timestamp>,
    },
    /// Something that the reader should know.
    Notice(Notice),
    /// The end: nothing follows.
    End(v1::LogEnd),
}

/// What a reader of a log should know besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The connection was lost, and is being sought again.
    Interrupted(Silence),
    /// Bytes from this offset on were shown, did not survive a crash of the controller, and are others now. What holds
    /// follows.
    Changed {
        /// The place of the first byte that is another one now.
        from: u64,
    },
    /// These bytes of the log are not kept.
    Missing {
        /// The place of the first missing byte.
        from: u64,
        /// The place behind the last.
        to: u64,
    },
    /// These bytes are left out of the middle of the log. What comes before it and behind it was delivered, so that who
    /// shows the log shows this in its place.
    LeftOut {
        /// The place of the first of them.
        from: u64,
        /// The place behind the last.
        to: u64,
        /// Why, in words that name the key.
        reason: String,
    },
    /// The log ends at `size`, and more was shown: the rest did not survive a crash of the controller.
    Shorter {
        /// The log's size in bytes.
        size: u64,
        /// How far it was shown.
        shown: u64,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Notice::Interrupted(silence) => {
                let cause = match silence {
                    Silence::NoConnection(cause) | Silence::Tls(cause) | Silence::Broken(cause) => {
                        cause.clone()
                    }
                    Silence::Late(_) => "no answer in time".to_owned(),
                    Silence::Unavailable(cause) => cause.clone(),
                };
                write!(f, "the controller is away ({cause}); the log goes on when it is back")
            }
            Notice::Changed { from } => write!(
                f,
                "what was shown from byte {from} on did not survive a crash of the controller: what the log holds there follows"
            ),
            Notice::Missing { from, to } => {
                write!(f, "{} bytes of the log are not kept, from byte {from} on", to - from)
            }
            Notice::LeftOut { from, to, reason } => {
                write!(f, "{} bytes are left out here, from byte {from} on: {reason}", to - from)
            }
            Notice::Shorter { size, shown } => write!(
                f,
                "the log ends at byte {size}, and {shown} were shown: the last ones did not survive a crash of the controller"
            ),
        }
    }
}

/// The log that `request` asks for, over all cuts.
pub(crate) fn stream(client: Client, request: v1::ReadLogRequest) -> LogStream {
    let follower = Follower {
        reader: Reader::new(request.offset),
        placed: request.since.is_none() && request.tail_lines.is_none(),
        client,
        request,
        source: None,
        spread: SPREAD,
        ready: VecDeque::new(),
        outage: None,
        over: false,
    };
    Box::pin(stream::unfold(follower, |mut follower| async move {
        let item = follower.next().await?;
        Some((item, follower))
    }))
}

struct Follower {
    client: Client,
    request: v1::ReadLogRequest,
    reader: Reader,
    /// Whether it is known where the reader begins.
    placed: bool,
    source: Option<Streaming<v1::ReadLogResponse>>,
    /// Over what time it comes back when it is cut.
    spread: Duration,
    /// What was made of the last message and is not delivered yet: three items at the most.
    ready: VecDeque<LogItem>,
    outage: Option<Outage>,
    over: bool,
}

/// What a cut began: it is over once a message has come.
struct Outage {
    /// Since when there is no stream; none while there is one, however long it has nothing to say.
    since: Option<Instant>,
    /// How often it was tried. Pauses go on growing while streams are opened and bring nothing.
    tries: u32,
}

/// How long to wait before the next try: first any part of the spread, then each time about as long as it, so that the
/// tries of many stay evenly spread; or longer and longer, where the spread is short. `random` is from 0 to 1.
fn pause(tries: u32, spread: Duration, longest: Duration, random: f64) -> Duration {
    let Some(later) = tries.checked_sub(1) else { return spread.mul_f64(random) };
    let grown = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(later)).min(longest);
    grown.max(spread).mul_f64(0.9 + 0.2 * random)
}

/// Whether it was refused because the controller that leads is not there, or begins only now.
fn nobody_leads(status: &Status) -> bool {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    reason.is_some_and(|reason| [NOT_LEADING, NO_LEADER, LEADER_AWAY, STARTING].contains(&reason))
}

impl Follower {
    async fn next(&mut self) -> Option<Result<LogItem, Error>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.over {
                return None;
            }
            if let Err(status) = self.advance().await
                && let Err(error) = self.cut(&status).await
            {
                self.over = true;
                return Some(Err(error));
            }
        }
    }

    /// Reads one message, from a new stream if there is none.
    async fn advance(&mut self) -> Result<(), Status> {
        let mut source = match self.source.take() {
            Some(source) => source,
            None => {
                let (source, spread) = self.open().await?;
                self.spread = spread.unwrap_or(self.spread);
                if let Some(outage) = &mut self.outage {
                    outage.since = None;
                }
                source
            }
        };
        let ended = || Status::unavailable("the stream ended before the log did");
        let message = source.message().await?.ok_or_else(ended)?;
        self.source = Some(source);
        self.outage = None;
        match message.part {
            Some(Part::Chunk(chunk)) => self.take(chunk),
            Some(Part::Gap(gap)) => self.pass(gap),
            Some(Part::End(end)) => self.end(end),
            None => {} // a newer controller says something that this client does not know
        }
        Ok(())
    }

    /// A new stream, and the spread that came with it.
    async fn open(&self) -> Result<(Streaming<v1::ReadLogResponse>, Option<Duration>), Status> {
        let request =
            v1::ReadLogRequest { offset: self.reader.resume_at(), ..self.request.clone() };
        let mut service = self.client.executions_service();
        let opened = tokio::time::timeout(self.client.timeout(), service.read_log(request)).await;
        let opened = opened.map_err(|_| Status::deadline_exceeded(""))??;
        let told = opened.metadata().get(octavius_protocol::SPREAD);
        let told = told.and_then(|told| told.to_str().ok()?.parse().ok());
        let spread = told.map(|told| Duration::from_millis(told).min(LONGEST_SPREAD));
        Ok((opened.into_inner(), spread))
    }

    /// The answer begins at `offset`: if it is the first one, so does the reader.
    fn place(&mut self, offset: u64) {
        if !std::mem::replace(&mut self.placed, true) {
            self.reader = Reader::new(offset);
            // What comes later is behind those lines, and is wanted also if there are many by then.
            self.request.tail_lines = None;
        }
    }

    fn take(&mut self, chunk: v1::LogChunk) {
        // The answer names the segment where the time lies, and begins with the bytes from that time on.
        if !chunk.data.is_empty() && self.request.since.take().is_some() {
            self.placed = false;
        }
        self.place(chunk.offset);
        let taken = self.reader.take(chunk.offset, chunk.data, chunk.durable_offset);
        if let Some(from) = taken.changed_from {
            self.ready.push_back(LogItem::Notice(Notice::Changed { from }));
        }
        if let Some(from) = taken.missing_from {
            self.ready.push_back(LogItem::Notice(Notice::Missing { from, to: taken.offset }));
        }
        if !taken.show.is_empty() {
            self.ready.push_back(LogItem::Bytes {
                offset: taken.offset,
                data: taken.show,
                at: chunk.observed_at,
            });
        }
    }

    fn pass(&mut self, gap: v1::LogGap) {
        let v1::LogGap { offset, size, reason } = gap;
        self.place(offset);
        self.request.since = None;
        let to = offset.saturating_add(size);
        if let Some(from) = self.reader.pass(to) {
            self.ready.push_back(LogItem::Notice(Notice::LeftOut { from, to, reason }));
        }
    }

    fn end(&mut self, end: v1::LogEnd) {
        if self.reader.ends_below(end.size) {
            let (size, shown) = (end.size, self.reader.shown());
            self.ready.push_back(LogItem::Notice(Notice::Shorter { size, shown }));
        }
        self.ready.push_back(LogItem::End(end));
        self.over = true;
    }

    /// The stream ended with `status`: waits before the next try, or says why there is none.
    async fn cut(&mut self, status: &Status) -> Result<(), Error> {
        self.source = None;
        let error = Error::from_status(self.client.address(), status, self.client.timeout());
        let silence = match &error {
            Error::Unanswered { silence, .. } => silence.clone(),
            // The controller is full, and says so: of a reader that was there before it asks for patience only.
            Error::Refused(refusal) if refusal.passes() && self.outage.is_some() => {
                Silence::Unavailable(refusal.message.clone())
            }
            _ => return Err(error),
        };
        let longest = match &silence {
            Silence::NoConnection(_) => LONGEST_WHERE_NOBODY_IS,
            Silence::Unavailable(_) if nobody_leads(status) => LONGEST_WHERE_NOBODY_LEADS,
            Silence::Tls(_) | Silence::Broken(_) | Silence::Late(_) | Silence::Unavailable(_) => {
                LONGEST_PAUSE
            }
        };
        let outage = match &mut self.outage {
            Some(outage) => outage,
            None => {
                self.ready.push_back(LogItem::Notice(Notice::Interrupted(silence)));
                self.outage.insert(Outage { since: None, tries: 0 })
            }
        };
        if outage.since.get_or_insert_with(Instant::now).elapsed() >= self.client.patience() {
            return Err(error);
        }
        let random = || rand::random_range(0.0..1.0);
        let own = pause(outage.tries, self.spread, longest, random());
        let hinted = pause::hint(status).map(|hint| pause::hinted(hint, random()));
        outage.tries = outage.tries.saturating_add(1);
        tokio::time::sleep(hinted.map_or(own, |hinted| own.max(hinted))).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_almost_alone_is_back_soon_and_many_stay_spread() {
        let alone = Duration::from_millis(50);
        let pauses = |spread, longest| {
            let each = (0..40).map(move |tries| pause(tries, spread, longest, 1.0));
            each.collect::<Vec<_>>()
        };
        let longest = pauses(alone, LONGEST_WHERE_NOBODY_IS).into_iter().max().unwrap();
        assert!(longest < Duration::from_millis(300), "{longest:?}");
        let refused = pauses(alone, LONGEST_PAUSE);
        assert!(refused.is_sorted() && refused[39] > LONGEST_PAUSE, "{refused:?}");
        let many = Duration::from_secs(10);
        assert_eq!(pause(0, many, LONGEST_WHERE_NOBODY_IS, 0.0), Duration::ZERO);
        assert!(
            pauses(many, LONGEST_WHERE_NOBODY_IS)[1..].iter().all(|one| *one == many * 11 / 10)
        );
        assert!(pause(u32::MAX, alone, LONGEST_PAUSE, 1.0) < 2 * LONGEST_PAUSE);
    }
}
