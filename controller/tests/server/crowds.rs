//! Thousands of connections that nobody needs: that never call, or that ask for logs and never read them.

use crate::world::{SOON, World, job, until};
use octavius_protocol::v1;
use prost::Message;
use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

/// What each side of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&size[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is compressed by nothing; its parts are shorter than 127 bytes.
fn header(name: &str, value: &str) -> Vec<u8> {
    let part = |part: &str| [&[u8::try_from(part.len()).unwrap()], part.as_bytes()].concat();
    [vec![0], part(name), part(value)].concat()
}

/// Any number of bytes.
const NO_END: u32 = 0x7fff_ffff;

/// Calls to read this log from its beginning, on streams each of which may be answered with so many bytes.
fn reads(execution: &str, streams: u32, each: u32) -> Vec<u8> {
    let request = v1::ReadLogRequest { execution: execution.to_owned(), ..Default::default() };
    let request = request.encode_to_vec();
    let size = u32::try_from(request.len()).unwrap().to_be_bytes();
    let message = [&[0], &size[..], &request].concat();
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/octavius.v1.Executions/ReadLog"),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let headers = headers.map(|(name, value)| header(name, value)).concat();
    let window = [&4u16.to_be_bytes()[..], &each.to_be_bytes()].concat();
    let mut sent = [PREFACE, &frame(SETTINGS, 0, 0, &window)].concat();
    sent.extend(frame(WINDOW_UPDATE, 0, 0, &0x7ff0_0000_u32.to_be_bytes()));
    for stream in (1..2 * streams).step_by(2) {
        sent.extend(frame(HEADERS, END_HEADERS, stream, &headers));
        sent.extend(frame(DATA, END_STREAM, stream, &message));
    }
    sent
}

/// Whether the other end has closed it.
fn is_closed(stream: &TcpStream) -> bool {
    let mut bytes = [0; 4_096];
    loop {
        match stream.try_read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Whoever connects now is answered soon.
async fn is_served(world: &World) {
    let asking = async {
        let mut system = v1::system_client::SystemClient::new(world.channel().await);
        system.get_version(v1::GetVersionRequest {}).await.unwrap();
    };
    timeout(SOON, asking).await.expect("others are not served");
}

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thousands_who_never_call_the_first_give_way_and_who_calls_is_served() {
    let world = World::start().await;
    let mut caller = world.jobs().await;
    caller.list_jobs(v1::ListJobsRequest::default()).await.unwrap();
    let (began, mut silent) = (Instant::now(), Vec::new());
    for number in 0..2_000 {
        let mut stream = TcpStream::connect(world.running.address).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(PREFACE).await.unwrap();
            stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        }
        silent.push(stream);
    }
    is_served(&world).await;
    // 1,024 of them may stay for a while, and 2,000 that are taken take less than that.
    let closed = || async { silent.iter().filter(|stream| is_closed(stream)).count() };
    until("closed", closed, |closed| *closed >= 900).await;
    // Those of the last 1,024 are closed when they were silent for ten seconds, and not for others.
    let later = silent[1_000..].iter().filter(|stream| is_closed(stream)).count();
    let in_time = began.elapsed() < Duration::from_secs(10);
    assert!(later == 0 || !in_time, "{later} later ones gave way");
    // Those who are left have not called, either.
    until("closed", closed, |closed| *closed == 2_000).await;
    caller.list_jobs(v1::ListJobsRequest::default()).await.unwrap();
    world.stop().await;
}

/// An execution whose log has 8 MiB, and goes on.
async fn with_a_long_log(world: &World) -> String {
    world.create(job("hello")).await;
    let execution = world.execute("hello").await.id;
    let mut executor = world.executor("e", 1).await;
    let lease = executor.granted().await.name.unwrap();
    executor.run(&lease).await;
    let piece = "0123456789abcdef".repeat(1 << 14);
    for number in 0..32 {
        let append = || {
            let (mut executor, lease, piece) = (executor.clone(), &lease, &piece);
            async move { executor.append(lease, number * piece.len() as u64, piece).await }
        };
        until("appended", append, Result::is_ok).await.unwrap();
    }
    execution
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_reads_of_a_log_does_not_fill_the_memory() {
    let world = World::start().await;
    let execution = with_a_long_log(&world).await;
    let before = resident();
    let (mut slow, calls) = (Vec::new(), reads(&execution, 20, NO_END));
    for _ in 0..50 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(world.running.address).await.unwrap();
        stream.write_all(&calls).await.unwrap();
        slow.push(stream);
    }
    let all = || async { world.running.followers() };
    until("reading", all, |readers| *readers >= 700).await;
    is_served(&world).await;
    let (most, watched) = (AtomicU64::new(0), Instant::now() + SOON / 4);
    let growing = || async {
        most.fetch_max(resident().saturating_sub(before), Relaxed);
        Instant::now() >= watched
    };
    until("watched", growing, |over| *over).await;
    let most = most.into_inner();
    assert!(most < 200 << 20, "the memory grew by {most} bytes");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_paused_gives_way_to_who_reads_when_all_hold_too_much() {
    let world = World::start().await;
    let execution = with_a_long_log(&world).await;
    let room = world.running.faults().take_room_of_answers(4 << 20);
    // Each wants ten logs, and takes one byte of each: the rest waits here.
    let (mut paused, calls) = (Vec::new(), reads(&execution, 10, 1));
    for _ in 0..8 {
        let mut stream = TcpStream::connect(world.running.address).await.unwrap();
        stream.write_all(&calls).await.unwrap();
        paused.push(stream);
    }
    let full = || async {
        let open = paused.iter().filter(|stream| !is_closed(stream)).count();
        (room.is_full(), open)
    };
    until("full", full, |(full, open)| *full && *open == 8).await;
    let read = v1::ReadLogRequest { execution, ..Default::default() };
    let mut log = world.executions().await.read_log(read).await.unwrap().into_inner();
    let reading = async {
        let mut bytes = 0;
        loop {
            match log.message().await.unwrap().unwrap().part.unwrap() {
                v1::read_log_response::Part::Chunk(chunk) => bytes += chunk.data.len(),
                v1::read_log_response::Part::End(_) => return bytes,
                other => panic!("{other:?}"),
            }
        }
    };
    // Before the controller finds out that they do not answer its pings, either.
    let bytes = timeout(SOON * 3 / 2, reading).await.expect("who reads does not get on");
    assert_eq!(bytes, 8 << 20);
    // As many as make room for the others: who is left may be paused.
    until("closed", full, |(full, open)| !*full && *open < 8).await;
    drop(paused);
    let followers = || async { world.running.followers() };
    until("left", followers, |followers| *followers == 0).await;
    let (_, metrics) = world.look("/metrics").await;
    let closed = r#"octavius_connections_closed_total{reason="paused"} "#;
    assert!(metrics.lines().any(|line| line.starts_with(closed)), "{metrics}");
    drop(room);
    world.stop().await;
}
