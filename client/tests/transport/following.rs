//! Logs that are cut while somebody reads them.

use crate::{
    refusal,
    scripted::{Asked, Controller, Say, Then, chunk, client, end, execution},
    silence,
    wire::Wire,
};
use futures::StreamExt;
use octavius_client::{
    Client, Error, LogItem, LogStream, Notice, Silence,
    v1::{ExecutionState, ReadLogResponse},
};
use std::{ops::Range, time::Duration};
use tokio::time::Instant;
use tonic::Status;

fn known() -> Say {
    Say::Execution(Box::new(execution(ExecutionState::Running)))
}

async fn follow(client: &Client) -> LogStream {
    client.follow_log("x", 0, 0, true).await.unwrap()
}

/// Where each read of the log began.
async fn offsets(controller: &Controller) -> Vec<u64> {
    let asked = controller.asked().await;
    let read = |asked: &Asked| match asked {
        Asked::Read(request) => Some(request.offset),
        _ => None,
    };
    asked.iter().filter_map(read).collect()
}

/// What a reader got: the bytes, the notices that are no interruptions, and how it ended.
#[derive(Debug, Default)]
struct Got {
    bytes: Vec<u8>,
    notices: Vec<Notice>,
    interruptions: usize,
    size: Option<u64>,
    error: Option<Error>,
}

impl Got {
    /// Takes items until `enough` bytes came, or the log is over.
    async fn take(&mut self, log: &mut LogStream, enough: usize) {
        let limit = Duration::from_secs(30);
        while self.bytes.len() < enough {
            match tokio::time::timeout(limit, log.next()).await.expect("the log goes on") {
                Some(Ok(LogItem::Bytes { offset, data, .. })) => {
                    assert!(offset <= self.bytes.len() as u64, "a hole before {offset}");
                    self.bytes.extend_from_slice(&data);
                }
                Some(Ok(LogItem::Notice(Notice::Interrupted(_)))) => self.interruptions += 1,
                Some(Ok(LogItem::Notice(notice))) => self.notices.push(notice),
                Some(Ok(LogItem::End(end))) => self.size = Some(end.size),
                Some(Err(error)) => self.error = Some(error),
                None => return,
            }
        }
    }

    async fn whole(log: &mut LogStream) -> Self {
        let mut got = Self::default();
        got.take(log, usize::MAX).await;
        got
    }
}

/// Chunks of a part of a log that is written meanwhile: each is provisional, and those before it are durable, but for
/// what lies behind `settled`.
fn live(log: &[u8], part: Range<usize>, length: usize, settled: usize) -> Vec<ReadLogResponse> {
    let pieces = log[part.clone()].chunks(length).enumerate();
    let pieces = pieces.map(|(index, piece)| {
        let offset = part.start + index * length;
        chunk(offset, piece, offset.min(settled))
    });
    pieces.collect()
}

#[tokio::test]
async fn a_follower_whose_wire_is_cut_gets_each_byte_once() {
    let log: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    // Each connection hangs after its bytes until it is cut; the last quarter of them is provisional.
    let cuts = [100_000, 350_000, 350_100, 700_000];
    let mut script = vec![known()];
    let (mut durable, mut resumed) = (0, vec![0]);
    for cut in cuts {
        let settled = durable + (cut - durable) / 4 * 3;
        script.push(Say::Log(live(&log, durable..cut, 9_999, settled), Then::Hangs));
        durable = settled;
        resumed.push(settled as u64);
    }
    let mut rest = live(&log, durable..log.len(), 50_000, log.len());
    rest.push(end(log.len()));
    script.push(Say::Log(rest, Then::Ends));
    let controller = Controller::start(script).await;
    let wire = Wire::to(controller.address).await;
    let mut stream = follow(&client(wire.address, Duration::from_secs(10))).await;
    let mut got = Got::default();
    for cut in cuts {
        got.take(&mut stream, cut).await;
        assert_eq!(got.bytes.len(), cut);
        wire.cut();
    }
    got.take(&mut stream, usize::MAX).await;
    assert!(got.bytes == log, "{} bytes came, and not the log's", got.bytes.len());
    assert_eq!((got.size, got.interruptions), (Some(log.len() as u64), cuts.len()));
    assert_eq!((got.notices, got.error.is_none()), (vec![], true));
    assert_eq!(offsets(&controller).await, resumed);
}

#[tokio::test]
async fn the_end_of_a_stream_is_not_the_end_of_the_log() {
    let busy = Status::unavailable("this controller stops");
    let full = Status::resource_exhausted("1,000 follow already, the most that are served");
    let script = [
        known(),
        Say::Log(vec![chunk(0, b"one\n", 4)], Then::Ends),
        Say::Log(vec![chunk(4, b"two\n", 8)], Then::Fails(busy.clone())),
        Say::No(busy),
        Say::No(full),
        Say::Log(vec![chunk(8, b"three\n", 14), end(14)], Then::Ends),
    ];
    let controller = Controller::start(script).await;
    let got = Got::whole(&mut follow(&controller.client()).await).await;
    assert_eq!(String::from_utf8_lossy(&got.bytes), "one\ntwo\nthree\n");
    assert_eq!((got.size, got.error.is_none()), (Some(14), true));
    assert_eq!(offsets(&controller).await, [0, 4, 8, 8, 8]);
}

#[tokio::test]
async fn a_reader_resumes_behind_durable_bytes_and_hears_what_a_crash_changed() {
    let script = [
        known(),
        Say::Log(vec![chunk(0, b"sure;", 5), chunk(5, b"maybe", 5)], Then::Ends),
        Say::Log(vec![chunk(5, b"mayhem", 11), end(11)], Then::Ends),
    ];
    let controller = Controller::start(script).await;
    let got = Got::whole(&mut follow(&controller.client()).await).await;
    assert_eq!(String::from_utf8_lossy(&got.bytes), "sure;maybehem");
    assert_eq!(got.notices, [Notice::Changed { from: 8 }]);
    assert_eq!(offsets(&controller).await, [0, 5]);
}

#[tokio::test]
async fn a_log_that_ends_below_what_was_shown_says_so() {
    let script = [
        known(),
        Say::Log(vec![chunk(0, b"sure;", 5), chunk(5, b"maybe", 5)], Then::Ends),
        Say::Log(vec![end(5)], Then::Ends),
    ];
    let controller = Controller::start(script).await;
    let got = Got::whole(&mut follow(&controller.client()).await).await;
    assert_eq!(got.notices, [Notice::Shorter { size: 5, shown: 10 }]);
    assert_eq!(got.size, Some(5));
}

#[tokio::test]
async fn a_refusal_ends_the_reading() {
    let gone = Status::out_of_range("the log ends at 3, before the offset 5: read again from 3");
    let script = [known(), Say::Log(vec![chunk(0, b"sure;", 5)], Then::Ends), Say::No(gone)];
    let controller = Controller::start(script).await;
    let got = Got::whole(&mut follow(&controller.client()).await).await;
    let refusal = refusal(got.error.unwrap());
    assert!(refusal.message.contains("read again from 3"), "{refusal}");
    assert_eq!(got.size, None);

    let unknown =
        Controller::start([Say::No(Status::not_found("there is no execution `x`"))]).await;
    let refused = unknown.client().follow_log("x", 0, 0, true).await.map(drop).unwrap_err();
    assert_eq!(crate::refusal(refused).code, tonic::Code::NotFound);
}

#[tokio::test]
async fn a_later_attempt_does_not_continue_the_log_of_this_one() {
    let script = [
        known(),
        Say::Log(vec![chunk(0, b"a", 1)], Then::Ends),
        Say::Log(vec![end(1)], Then::Ends),
    ];
    let controller = Controller::start(script).await;
    Got::whole(&mut follow(&controller.client()).await).await;
    let asked = controller.asked().await;
    let attempts = asked.iter().filter_map(|asked| match asked {
        Asked::Read(request) => Some(request.attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test]
async fn a_reader_gives_up_when_its_patience_ends() {
    let script = [known(), Say::Log(vec![chunk(0, b"a", 1)], Then::Hangs)];
    let controller = Controller::start(script).await;
    let wire = Wire::to(controller.address).await;
    let timeout = Duration::from_secs(10);
    let client = client(wire.address, timeout).with_patience(Duration::from_secs(1));
    let mut stream = follow(&client).await;
    let mut got = Got::default();
    got.take(&mut stream, 1).await;
    wire.end().await;
    got.take(&mut stream, usize::MAX).await;
    let error = got.error.unwrap();
    assert!(matches!(silence(&error), Silence::NoConnection(_)), "{error}");
    assert_eq!((got.bytes.as_slice(), got.interruptions), (b"a".as_slice(), 1));
}

#[tokio::test]
async fn time_in_which_a_log_is_open_and_quiet_is_no_outage() {
    let quiet = || Say::Log(vec![], Then::Hangs);
    let rest = Say::Log(vec![chunk(1, b"b", 2), end(2)], Then::Ends);
    let first = Say::Log(vec![chunk(0, b"a", 1)], Then::Hangs);
    let controller = Controller::start([known(), first, quiet(), rest]).await;
    let wire = Wire::to(controller.address).await;
    let patience = Duration::from_millis(500);
    let client = client(wire.address, Duration::from_secs(10)).with_patience(patience);
    let mut stream = follow(&client).await;
    let mut got = Got::default();
    got.take(&mut stream, 1).await;
    wire.cut();
    let reading = tokio::spawn(async move {
        got.take(&mut stream, usize::MAX).await;
        got
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    while offsets(&controller).await.len() < 2 {
        assert!(Instant::now() < deadline, "the log was not opened again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What is waited for is nothing but time: longer than an outage may last.
    tokio::time::sleep(patience * 2).await;
    wire.cut();
    let got = reading.await.unwrap();
    assert!(got.error.is_none(), "{:?}", got.error);
    assert_eq!((got.bytes.as_slice(), got.size), (b"ab".as_slice(), Some(2)));
    assert_eq!(offsets(&controller).await, [0, 1, 1]);
}
