//! Readers of logs.

use crate::world::{Executor, SOON, World, job, refusal, until};
use octavius_protocol::v1::{self, read_log_response::Part};
use std::time::Duration;
use tonic::{Code, Status, Streaming};

struct Story {
    world: World,
    executor: Executor,
    name: v1::LeaseName,
}

/// An execution that runs.
async fn running() -> Story {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 1).await;
    world.execute("hello").await;
    let name = executor.granted().await.name.unwrap();
    executor.run(&name).await;
    Story { world, executor, name }
}

impl Story {
    async fn read(&self, offset: u64, follow: bool) -> Streaming<v1::ReadLogResponse> {
        let execution = self.name.execution.clone();
        let request = v1::ReadLogRequest {
            execution,
            attempt: 0,
            offset,
            follow,
            ..v1::ReadLogRequest::default()
        };
        self.world.executions().await.read_log(request).await.unwrap().into_inner()
    }
}

/// The bytes up to the end, and the end.
async fn to_the_end(
    mut log: Streaming<v1::ReadLogResponse>,
) -> Result<(String, v1::LogEnd), Status> {
    let mut text = Vec::new();
    loop {
        let message = tokio::time::timeout(SOON, log.message()).await.expect("no end");
        match message?.and_then(|message| message.part) {
            Some(Part::Chunk(chunk)) => text.extend_from_slice(&chunk.data),
            Some(Part::End(end)) => return Ok((String::from_utf8(text).unwrap(), end)),
            Some(Part::Gap(gap)) => panic!("{gap:?} of a short log"),
            None => panic!("the stream ended without an end"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_all_bytes_as_they_come_and_then_the_end() {
    let mut story = running().await;
    story.executor.append(&story.name, 0, "one\n").await.unwrap();
    let mut log = story.read(0, true).await;
    let first = tokio::time::timeout(SOON, log.message()).await.unwrap().unwrap().unwrap();
    let Some(Part::Chunk(chunk)) = first.part else { panic!("{first:?}") };
    assert_eq!((chunk.offset, &chunk.data[..]), (0, &b"one\n"[..]));
    let rest = tokio::spawn(to_the_end(log));
    story.executor.append(&story.name, 4, "two\n").await.unwrap();
    story.executor.succeed(&story.name, "one\ntwo\n").await;
    let (text, end) = rest.await.unwrap().unwrap();
    assert_eq!(text, "two\n");
    assert_eq!((end.size, end.cut.as_str(), end.unfinished), (8, "", false));
    let (again, _) = to_the_end(story.read(4, true).await).await.unwrap();
    assert_eq!(again, "two\n");
    story.world.stop().await;
}

/// Reads chunks until all bytes before `end` came: up to where the last one said that the log is durable.
async fn durable_by(log: &mut Streaming<v1::ReadLogResponse>, end: u64) -> u64 {
    loop {
        let message = tokio::time::timeout(SOON, log.message()).await.expect("no chunk").unwrap();
        match message.and_then(|message| message.part) {
            Some(Part::Chunk(chunk)) if chunk.offset + chunk.data.len() as u64 == end => {
                return chunk.durable_offset;
            }
            Some(Part::Chunk(_)) => {}
            other => panic!("{other:?} before {end}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_follower_hears_what_became_durable_of_what_it_has() {
    let mut story = running().await;
    let mut log = story.read(0, true).await;
    // More than half a segment: it is stored when the next one like it comes.
    let part = "0123456789abcde\n".repeat(50_000);
    let size = part.len() as u64;
    story.executor.append(&story.name, 0, &part).await.unwrap();
    assert_eq!(durable_by(&mut log, size).await, 0);
    story.executor.append(&story.name, size, &part).await.unwrap();
    durable_by(&mut log, 2 * size).await;
    let ask = || async {
        let mut executor = story.executor.clone();
        executor.append(&story.name, 0, "").await.unwrap().durable_offset
    };
    until("stored", ask, |durable| *durable == size).await;
    story.executor.append(&story.name, 2 * size, "more\n").await.unwrap();
    assert_eq!(durable_by(&mut log, 2 * size + 5).await, size);
    story.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_follow_gets_what_is_there_and_hears_that_more_may_come() {
    let mut story = running().await;
    story.executor.append(&story.name, 0, "one\n").await.unwrap();
    let (text, end) = to_the_end(story.read(0, false).await).await.unwrap();
    assert_eq!((text.as_str(), end.size, end.unfinished), ("one\n", 4, true));
    story.executor.succeed(&story.name, "one\n").await;
    let (text, end) = to_the_end(story.read(2, false).await).await.unwrap();
    assert_eq!((text.as_str(), end.size, end.unfinished), ("e\n", 4, false));
    let behind = to_the_end(story.read(5, false).await).await;
    let (code, reason, _) = refusal(behind);
    assert_eq!((code, reason.as_str()), (Code::OutOfRange, "OFFSET"));
    story.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_nothing_is_refused() {
    let story = running().await;
    let mut executions = story.world.executions().await;
    let unknown = v1::ReadLogRequest { execution: "0".repeat(26), ..v1::ReadLogRequest::default() };
    assert_eq!(refusal(executions.read_log(unknown).await).0, Code::NotFound);
    let execution = story.name.execution.clone();
    let later = v1::ReadLogRequest { execution, attempt: 2, ..v1::ReadLogRequest::default() };
    let (code, _, faults) = refusal(executions.read_log(later).await);
    assert_eq!(code, Code::InvalidArgument);
    assert_eq!(faults, ["attempt: is 2, and the newest of this execution is 1"]);
    story.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_who_leaves_while_it_waits_is_gone_at_once() {
    let story = running().await;
    let follower = tokio::spawn(to_the_end(story.read(0, true).await));
    let followers = || async { story.world.running.followers() };
    until("followed", followers, |followers| *followers == 1).await;
    follower.abort();
    until("left", followers, |followers| *followers == 0).await;
    story.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reader_too_many_is_told_the_number() {
    let story = running().await;
    let places = story.world.running.faults().take_places_of_followers().unwrap();
    let mut executions = story.world.executions().await;
    let execution = story.name.execution.clone();
    let read = v1::ReadLogRequest { execution, ..v1::ReadLogRequest::default() };
    let status = executions.read_log(read.clone()).await.unwrap_err();
    assert!(status.message().contains("10000 readers"), "{}", status.message());
    let (code, reason, _) = refusal(Err::<(), _>(status));
    assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_FOLLOWERS"));
    drop(places);
    assert!(executions.read_log(read).await.is_ok());
    story.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_execution_that_never_ran_has_an_empty_log_that_ends() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let execution = world.execute("hello").await;
    let follow = v1::ReadLogRequest {
        execution: execution.id.clone(),
        follow: true,
        ..v1::ReadLogRequest::default()
    };
    let log = world.executions().await.read_log(follow).await.unwrap().into_inner();
    let following = tokio::spawn(to_the_end(log));
    let cancel = v1::CancelRequest { id: execution.id, force: false };
    world.executions().await.cancel(cancel).await.unwrap();
    let (text, end) = tokio::time::timeout(Duration::from_secs(15), following)
        .await
        .expect("the follower never heard that it is over")
        .unwrap()
        .unwrap();
    assert_eq!((text.as_str(), end.size, end.unfinished), ("", 0, false));
    world.stop().await;
}

/// Text that does not become small.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let mut number = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 16
    };
    (0..3_000).map(|_| format!("{:x}", number())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_segment_is_gone_is_told_by_name_and_all_others_are_there() {
    let mut first = running().await;
    let lost = noise(1);
    first.executor.append(&first.name, 0, &lost).await.unwrap();
    first.executor.succeed(&first.name, &lost).await;
    let kept = noise(2);
    first.world.execute("hello").await;
    let other = first.executor.granted().await.name.unwrap();
    first.executor.run(&other).await;
    first.executor.append(&other, 0, &kept).await.unwrap();
    first.executor.succeed(&other, &kept).await;
    for name in [&first.name, &other] {
        let look = || async { first.world.get(&name.execution).await.state() };
        until("over", look, |state| *state == v1::ExecutionState::Succeeded).await;
    }
    let Story { world, executor, name } = first;
    drop(executor);
    let folder = world.configuration.data_dir.join("logs").join(&name.execution).join("1");
    let segments: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [segment] = segments.as_slice() else { panic!("{segments:?}") };
    std::fs::remove_file(segment).unwrap();

    let world = world.restart().await;
    let read = async |execution: &str| {
        let execution = execution.to_owned();
        let request = v1::ReadLogRequest { execution, ..v1::ReadLogRequest::default() };
        to_the_end(world.executions().await.read_log(request).await?.into_inner()).await
    };
    let loss = read(&name.execution).await.unwrap_err();
    assert_eq!(loss.code(), Code::DataLoss, "{loss}");
    let file = segment.file_name().unwrap().to_str().unwrap();
    assert!(loss.message().contains(file), "{loss}");
    assert!(loss.message().contains("not there any more"), "{loss}");
    assert!(read(&other.execution).await.unwrap().0 == kept);
    world.stop().await;
}
