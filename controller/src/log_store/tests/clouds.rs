//! Logs in a bucket of a real S3: what it does wrong costs time, and no bytes.

use super::world::{
    DEADLINE, World, attempt, chunks, crc, cursor, drain, eager, noise, patient, url,
};
use crate::log_store::{LogFolder, LogHandle, LogLimits, Piece, Sealed, sweep::sweep};
use bytes::Bytes;
use octavius_protocol::id::AttemptId;
use octavius_testbed::{
    proxy::Way,
    s3::{Fault, S3},
};
use std::{path::Path, time::Duration};
use tokio::time::Instant;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Small segments, so that there are many.
fn small() -> LogLimits {
    LogLimits { segment: 40_000, behind_after: Duration::from_millis(300), ..eager() }
}

async fn until(wanted: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "never {wanted}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Appends all of it as an executor does, from wherever the log is, and seals it.
async fn send(logs: &LogHandle, log: AttemptId, data: &[u8]) {
    let (began, mut next) = (Instant::now(), 0);
    loop {
        assert!(began.elapsed() < 2 * DEADLINE, "{log} is at {next}");
        let end = (next + 30_000).min(data.len());
        let part = chunks(&data[next..end]);
        if let Ok(appended) = logs.append(log, next as u64, part, cursor(end as u64)).await {
            next = usize::try_from(appended.next).unwrap();
        }
        if next == data.len() {
            let sealed = logs.seal(log, data.len() as u64, crc(data), String::new()).await;
            if matches!(sealed, Ok(Sealed::Whole)) {
                return;
            }
        }
    }
}

/// Follows a log to its end, as far as it is there.
async fn follow(logs: LogHandle, log: AttemptId) -> Vec<u8> {
    let (mut reader, mut bytes) = (logs.read(log, 0), Vec::new());
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < 2 * DEADLINE, "no end behind {} bytes", bytes.len());
        // What cannot be read now can be read from there on later.
        match drain(&mut reader, bytes.len() as u64).await {
            Ok((more, Piece::End(_))) => {
                bytes.extend(more);
                return bytes;
            }
            Ok((more, _)) => {
                bytes.extend(more);
                reader.more().await.unwrap();
            }
            Err(_) => reader = logs.read(log, bytes.len() as u64),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_a_bucket_is_whole_although_requests_fail_are_cut_off_and_come_late() {
    let s3 = S3::start().await;
    let world = World::start_in(&s3, "a/b", small()).await;
    let late = Fault::Late(Duration::from_millis(100));
    let faults = [Fault::Status(500), Fault::Cut, late, Fault::Status(503), Fault::Unanswered];
    s3.often(3, &faults);
    let (log, data) = (attempt(1), noise(700_000));
    let follower = tokio::spawn(follow(world.logs.clone(), log));
    send(&world.logs, log, &data).await;
    assert!(follower.await.unwrap() == data, "what a follower saw");
    assert!(s3.failed() > 2 * faults.len(), "{} of {} failed", s3.failed(), s3.requests());
    s3.often(1, &[]);
    let world = world.restart().await;
    assert!(world.read(log, 0).await.0 == data, "what is kept");
    assert!(world.read(log, 123_456).await.0 == data[123_456..], "what is kept, from within");
    assert!(s3.objects("a/b").len() > 10, "{:?}", s3.objects("a/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_delays_acknowledgements_says_so_and_loses_nothing() {
    let s3 = S3::start().await;
    let world = World::start_in(&s3, "p", small()).await;
    for (number, way, told) in
        [(1, Way::Refuses, "could not be written"), (2, Way::Hangs, "it does not answer")]
    {
        let (log, data) = (attempt(number), noise(300_000));
        world.append(log, 0, &data[..100_000]).await;
        world.durable(log, 100_000).await;
        until("not behind", async || world.logs.behind().is_none()).await;
        s3.way(way);
        let other = attempt(10 + number);
        world.append(other, 0, &data[..50_000]).await;
        world.append(log, 100_000, &data[100_000..]).await;
        until(told, async || world.logs.behind().is_some_and(|why| why.contains(told))).await;
        let why = world.logs.behind().unwrap();
        assert!(why.starts_with("the log store `s3://logs/p?endpoint=http://127.0.0.1:"), "{why}");
        let waits = world.logs.append(log, 0, Vec::new(), Bytes::new()).await.unwrap();
        assert_eq!((waits.next, waits.durable), (300_000, 100_000), "{way:?}");
        s3.way(Way::Open(Duration::ZERO));
        world.durable(log, 300_000).await;
        world.durable(other, 50_000).await;
        until("not behind", async || world.logs.behind().is_none()).await;
        world.logs.cut(log, String::new()).await.unwrap();
        assert!(world.read(log, 0).await.0 == data, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_starts_while_its_bucket_is_away_goes_on_at_the_durable_offset() {
    let s3 = S3::start().await;
    let world = World::start_in(&s3, "p", small()).await;
    let (log, data) = (attempt(1), noise(150_000));
    world.append(log, 0, &data[..60_000]).await;
    world.durable(log, 60_000).await;
    s3.way(Way::Refuses);
    world.append(log, 60_000, &data[60_000..100_000]).await;
    let world = world.restart().await;
    let asked = world.logs.append(log, 0, Vec::new(), Bytes::new()).await.unwrap();
    assert_eq!((asked.next, asked.durable, asked.next_crc), (60_000, 60_000, crc(&data[..60_000])));
    assert_eq!(asked.next_cursor, cursor(60_000));
    until("behind", async || world.logs.behind().is_some()).await;
    s3.way(Way::Open(Duration::ZERO));
    until("asked again although no log tries", async || world.logs.behind().is_none()).await;
    send(&world.logs, log, &data).await;
    assert!(world.read(log, 0).await.0 == data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_done_and_not_answered_is_done_once() {
    let s3 = S3::start().await;
    let world = World::start_in(&s3, "p", eager()).await;
    let before = s3.requests();
    s3.next([Fault::Unanswered]);
    world.append(attempt(1), 0, &noise(50_000)).await;
    world.durable(attempt(1), 50_000).await;
    assert!(s3.requests() >= before + 2, "it was tried again");
    let segments = s3.objects("p").into_iter().filter(|name| name != "installation");
    assert_eq!(segments.count(), 1, "{:?}", s3.objects("p"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_an_error_at_the_start_with_key_value_and_remedy() {
    let s3 = S3::start().await;
    let refused = async |text: &str, variables: &[(String, String)]| {
        let folder = LogFolder::with(Some(&url(text)), Path::new("unused"), variables).unwrap();
        let began = Instant::now();
        let refused = folder.tried().await.unwrap_err().to_string();
        assert!(began.elapsed() < DEADLINE, "{refused}");
        assert!(refused.starts_with(&format!("`log_store` is `{text}`, and ")), "{refused}");
        refused
    };
    let missing = refused(&s3.url_of("nowhere", "p"), &S3::variables()).await;
    assert!(missing.contains("there is no such bucket"), "{missing}");
    assert!(missing.ends_with("make it, or give another `log_store`"), "{missing}");
    let mut wrong = S3::variables();
    wrong[1].1 = "not the secret".to_owned();
    let wrong = refused(&s3.url("p"), &wrong).await;
    assert!(wrong.contains("AWS_SECRET_ACCESS_KEY"), "{wrong}");
    assert!(!wrong.contains("not the secret"), "{wrong}");
    assert_eq!(s3.objects(""), Vec::<String>::new(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_belongs_to_the_installation_that_wrote_there_first() {
    let s3 = S3::start().await;
    let world = World::start_in(&s3, "p", eager()).await;
    world.append(attempt(1), 0, &noise(50_000)).await;
    world.durable(attempt(1), 50_000).await;
    let ours = s3.objects("p");
    for name in &ours {
        s3.age("p", name, 2 * DAY);
    }
    let theirs = url(&s3.url("p"));
    let theirs = || LogFolder::with(Some(&theirs), Path::new("unused"), &S3::variables()).unwrap();
    let refused = theirs().belonging_to("theirs").await.unwrap_err().to_string();
    assert!(refused.contains("it holds the logs of another installation, ours"), "{refused}");
    assert!(refused.contains("a prefix of its own"), "{refused}");
    // Where that cannot be found out at the start, it is before anything is written or swept.
    s3.way(Way::Refuses);
    let theirs = theirs().belonging_to("theirs").await.unwrap();
    s3.way(Way::Open(Duration::ZERO));
    let name = format!("{}/1/{:016x}-9-{:016x}", attempt(2).execution, 0, 5);
    let written = theirs.put(&name, Bytes::from_static(b"x")).await.unwrap_err().to_string();
    assert!(written.contains("another installation"), "{written}");
    let empty = World::start(patient()).await;
    let swept = sweep(&empty.store, &theirs, 9, DAY).await.unwrap_err().to_string();
    assert!(swept.contains("another installation"), "{swept}");
    assert_eq!(s3.objects("p"), ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_deletes_what_an_earlier_term_left_a_day_ago_and_nothing_else() {
    let s3 = S3::start().await;
    let world = World::start_in(&s3, "p", eager()).await;
    let log = attempt(1);
    world.append(log, 0, &noise(50_000)).await;
    world.durable(log, 50_000).await;
    let world = world.restart().await;
    assert_eq!(world.term, 2);
    let beside = |term, hash| format!("{}/1/{:016x}-{term}-{hash:016x}", log.execution, 50_000);
    let (old, young, ours, newer) = (beside(1, 1), beside(1, 2), beside(2, 3), beside(3, 4));
    let probe = "probe-00000000deadbeef".to_owned();
    for name in [&old, &young, &ours, &newer, &probe] {
        world.folder.put(name, Bytes::from_static(b"x")).await.unwrap();
    }
    let mut left = s3.objects("p");
    for name in left.iter().filter(|name| **name != young) {
        s3.age("p", name, 2 * DAY);
    }
    assert_eq!(sweep(&world.store, &world.folder, world.term, DAY).await.unwrap(), 2);
    left.retain(|name| *name != old && *name != probe);
    assert_eq!(s3.objects("p"), left);
    world.logs.cut(log, String::new()).await.unwrap();
    assert!(world.read(log, 0).await.0 == noise(50_000));
    world.logs.remove_all(log.execution).await.unwrap();
    let left: Vec<_> = left.iter().filter(|name| name.contains("-1-") && **name != young).collect();
    assert!(left.iter().all(|name| !s3.objects("p").contains(name)), "the log's own went with it");
}
