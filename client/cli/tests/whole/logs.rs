//! Logs of any size and shape, through real servers: what arrives, what it costs, and what is left out.

use crate::{
    user::User,
    world::{PATIENCE, World, eventually},
};
use futures::StreamExt;
use octavius_client::{
    LogItem,
    v1::{self, ExecutionState, executions_client::ExecutionsClient},
};
use octavius_testbed::proxy::Proxy;
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};
use tonic::{Streaming, transport::Channel};

/// `seq 1 700000`, as the case has it.
fn numbers() -> Vec<u8> {
    (1..=700_000).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

/// What a process holds in memory, in bytes; `most`: the most that it ever held.
pub(crate) fn resident(id: u32, most: bool) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let name = if most { "VmHWM:" } else { "VmRSS:" };
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// What the files below a folder have, in bytes.
fn on_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => on_disk(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_larger_than_a_message_arrives_once_and_costs_what_it_is_large() {
    let mut world = World::new(24);
    let way = Proxy::to(world.address.clone()).await;
    world.controller.start();
    world.configure_executor("cp_host", way.address.clone().into());
    world.executor.start();
    world.ready().await;
    world.job("count", "seq 1 700000", &[]).await;
    world.job("line", "head -c 6291456 /dev/zero | tr '\\0' x", &[]).await;
    let (numbers, line) = (numbers(), vec![b'x'; 6 << 20]);

    // Many lines, and one long one.
    for (job, log) in [("count", &numbers), ("line", &line)] {
        let before = way.sent();
        let id = world.execute(job, &[]).await;
        assert!(followed(&world, &id).await == *log, "{job}: followed");
        assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
        assert!(world.log(&id).await == *log, "{job}: again after its end");
        let wire = way.sent() - before;
        assert!(wire * 10 < log.len() as u64 * 12, "{wire} bytes went for {}", log.len());
        let mut rest = world.client.follow_log(&id, 0, 3_000_001, false).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(LogItem::Bytes { data, .. }) = rest.next().await.transpose().unwrap() {
            bytes.extend_from_slice(&data);
        }
        assert!(bytes == log[3_000_001..], "{job}: from the middle");
    }

    // Twenty at once.
    let servers = [world.controller.id(), world.executor.id()];
    let before = servers.map(|id| resident(id, false));
    let (wire, mut ids) = (way.sent(), Vec::new());
    for _ in 0..20 {
        ids.push(world.execute("count", &[]).await);
    }
    let world = Arc::new(world);
    let following = ids.iter().map(|id| {
        let (world, id) = (world.clone(), id.clone());
        tokio::spawn(async move { followed(&world, &id).await })
    });
    for log in futures::future::join_all(following).await {
        assert!(log.unwrap() == numbers);
    }
    for id in &ids {
        assert_eq!(world.over(id).await.state(), ExecutionState::Succeeded);
    }
    let wire = way.sent() - wire;
    assert!(wire * 10 < 20 * numbers.len() as u64 * 12, "{wire} bytes went for 20 logs");
    for (id, before) in servers.into_iter().zip(before) {
        let grown = resident(id, true).saturating_sub(before);
        println!("process {id} grew by {grown} bytes from {before}; {wire} bytes on the wire");
        assert!(grown < 64 << 20, "a server grew by {grown} bytes");
    }
}

/// The bytes of a log that is followed to its end.
async fn followed(world: &World, id: &str) -> Vec<u8> {
    let mut items = world.client.follow_log(id, 0, 0, true).await.unwrap();
    let mut log = Vec::new();
    loop {
        match tokio::time::timeout(PATIENCE, items.next()).await.unwrap().unwrap().unwrap() {
            LogItem::Bytes { offset, data, .. } => {
                assert_eq!(offset, log.len() as u64);
                log.extend_from_slice(&data);
            }
            LogItem::Notice(notice) => panic!("{notice:?}"),
            LogItem::End(end) => {
                assert_eq!((end.size, end.cut.as_str()), (log.len() as u64, ""));
                return log;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_beyond_its_limit_is_shown_with_a_marker_and_costs_no_more_than_its_limit() {
    const WRITTEN: u64 = 32 << 20;
    let mut world = World::new(8);
    world.configure_controller("log_limit", json!("4MiB"));
    world.controller.start();
    world.executor.start();
    world.ready().await;
    let user = User::of(&world);
    // 64 bytes a line, which do not compress away.
    let script = "head -c 16777216 /dev/urandom | od -An -v -tx1 -w21 | head -c 33554432";
    world.job("much", script, &[]).await;
    let id = world.execute("much", &[]).await;
    let servers = [world.controller.id(), world.executor.id()];
    let (folder, mut most) = (world.path("data").join("logs"), 0);
    let over = async {
        loop {
            most = most.max(on_disk(&folder));
            let execution = world.client.execution(&id).await.unwrap();
            if octavius_client::is_final(execution.state()) {
                return execution;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let execution = tokio::time::timeout(4 * PATIENCE, over).await.expect("it takes too long");
    assert_eq!(execution.state(), ExecutionState::Succeeded, "{execution:?}");
    assert!(execution.log_size == WRITTEN && execution.log_cut.contains("`log_limit`"));
    println!("at most {most} bytes of the log were on disk");
    assert!(most < 8 << 20, "{most} bytes of it were on disk");
    for id in servers {
        let most = resident(id, true);
        println!("process {id} held {most} bytes at the most");
        assert!(most < 192 << 20, "a server held {most} bytes");
    }

    let file = user.path("log");
    let ran = user.run_into(&["getlogs", &id], &file).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("the log is not whole: ") && ran.err.contains("`log_limit`"),
        "{ran:?}"
    );
    let log = std::fs::read(&file).unwrap();
    let text = String::from_utf8(log).unwrap();
    let markers: Vec<_> = text.lines().filter(|line| line.starts_with("[octavius: ")).collect();
    let [marker] = markers[..] else { panic!("{markers:?}") };
    let left_out: u64 = marker.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(marker.contains("are left out here") && marker.contains("`log_limit`"), "{marker}");
    let ours = marker.len() as u64 + 1;
    let shown = text.len() as u64 - ours;
    assert!(
        shown + left_out == WRITTEN || shown + left_out == WRITTEN + 1,
        "{shown} and {left_out}"
    );
    assert!((4 << 20..8 << 20).contains(&shown), "{shown} bytes are kept");
    // What is kept is compressed: three characters of it say one byte.
    let small = || async {
        let kept = on_disk(&folder);
        let right = (shown / 4..shown * 2 / 3).contains(&kept);
        if right { Ok(kept) } else { Err(format!("{kept} of {shown} bytes")) }
    };
    let kept = eventually(small).await.unwrap_or_else(|kept| panic!("on disk are {kept}"));
    println!("{shown} bytes of it have {kept} on disk");
    let (document, _) = user.document(&["getlogs", &id]).await;
    assert_eq!(document["gaps"][0]["size"], left_out);
    let last = user.run(&["getlogs", &id, "--tail", "3"]).await;
    assert!(text.ends_with(&last.text()) && last.text().lines().count() == 3, "{last:?}");
}

/// A gibibyte, under the limit that a controller has where nobody sets one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_floods_its_log_costs_its_servers_no_more_memory_than_any_other() {
    let written: u64 = 1 << 30;
    let mut world = World::new(8);
    world.start_all();
    world.ready().await;
    world.job("flood", &format!("yes 'a line of a flood' | head -c {written}"), &[]).await;
    let before = [world.controller.id(), world.executor.id()].map(|id| (id, resident(id, false)));
    let id = world.execute("flood", &[]).await;
    let over = async {
        loop {
            let execution = world.client.execution(&id).await.unwrap();
            if octavius_client::is_final(execution.state()) {
                return execution;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let execution = tokio::time::timeout(10 * PATIENCE, over).await.expect("it takes too long");
    assert_eq!(execution.state(), ExecutionState::Succeeded, "{execution:?}");
    assert!(execution.log_size == written && execution.log_cut.contains("`log_limit`"));
    for (id, before) in before {
        let grown = resident(id, true).saturating_sub(before);
        println!("process {id} grew by {grown} bytes for a log of {written}");
        assert!(grown < 96 << 20, "a server grew by {grown} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_who_never_read_hold_up_nobody_and_cost_little() {
    const EACH: usize = 100;
    const WRITTEN: usize = 4 << 20;
    let world = World::start().await;
    let go = world.path("go");
    let script = "while [ ! -e \"$go\" ]; do sleep 0.02; done; head -c 4194304 /dev/urandom";
    world.job("write", script, &["go"]).await;
    let id = world.execute("write", &[("go", go.to_str().unwrap())]).await;
    world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;
    let before = resident(world.controller.id(), false);
    let (mut silent, mut reading) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        silent.push(follow(&world, &id).await);
        let mut log = follow(&world, &id).await;
        reading.push(tokio::spawn(async move {
            let mut bytes = 0;
            loop {
                match log.message().await.unwrap().unwrap().part.unwrap() {
                    v1::read_log_response::Part::Chunk(chunk) => {
                        assert_eq!(chunk.offset, bytes as u64);
                        bytes += chunk.data.len();
                    }
                    v1::read_log_response::Part::Gap(gap) => panic!("{gap:?}"),
                    v1::read_log_response::Part::End(end) => return (bytes, end.unfinished),
                }
            }
        }));
    }
    std::fs::write(&go, "").unwrap();
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded, "the job was held up");
    for reader in reading {
        let read = tokio::time::timeout(PATIENCE, reader).await.expect("held up").unwrap();
        assert_eq!(read, (WRITTEN, false));
    }
    let grown = resident(world.controller.id(), true).saturating_sub(before);
    println!("the controller grew by {grown} bytes for {} followers", 2 * EACH);
    assert!(grown < 192 << 20, "the controller grew by {grown} bytes");
    // One of the silent ones begins to read, and gets all of it.
    let mut late = silent.pop().unwrap();
    let mut bytes = 0;
    while let Some(message) = late.message().await.unwrap() {
        if let Some(v1::read_log_response::Part::Chunk(chunk)) = message.part {
            bytes += chunk.data.len();
        }
    }
    assert_eq!(bytes, WRITTEN);
    // The others go without a word: their places are free again.
    let metrics = world.metrics_address.clone();
    drop((silent, late));
    let gone = || async {
        let mut stream = TcpStream::connect(&metrics).await.unwrap();
        let ask = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        let line = page.lines().find(|line| line.starts_with("octavius_log_followers "));
        match line {
            Some("octavius_log_followers 0") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    eventually(gone).await.unwrap();
}

/// Follows a log on a connection of its own.
async fn follow(world: &World, id: &str) -> Streaming<v1::ReadLogResponse> {
    let channel = Channel::from_shared(format!("http://{}", world.address)).unwrap();
    let mut executions = ExecutionsClient::new(channel.connect().await.unwrap());
    let rest = v1::ReadLogRequest::default();
    let request = v1::ReadLogRequest { execution: id.to_owned(), follow: true, ..rest };
    executions.read_log(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_says_much_is_not_slowed_by_followers_who_never_read() {
    const WRITTEN: u64 = 30 << 20;
    let world = World::start().await;
    let script =
        format!("while [ ! -e \"$go\" ]; do sleep 0.02; done; head -c {WRITTEN} /dev/urandom",);
    world.job("write", &script, &["go"]).await;
    let mut times = Vec::new();
    for followers in [0, 100] {
        let go = world.path(&format!("go-{followers}"));
        let id = world.execute("write", &[("go", go.to_str().unwrap())]).await;
        world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;
        let mut silent = Vec::new();
        for _ in 0..followers {
            silent.push(follow(&world, &id).await);
        }
        let began = Instant::now();
        std::fs::write(&go, "").unwrap();
        let over = world.over(&id).await;
        times.push(began.elapsed());
        assert_eq!((over.state(), over.log_size), (ExecutionState::Succeeded, WRITTEN), "{over:?}");
        assert_eq!(over.log_cut, "", "{over:?}");
        // One of them begins to read: they were there, and had not read.
        if let Some(mut late) = silent.pop() {
            let mut read = 0;
            while let Some(message) = late.message().await.unwrap() {
                if let Some(v1::read_log_response::Part::Chunk(chunk)) = message.part {
                    read += chunk.data.len() as u64;
                }
            }
            assert_eq!(read, WRITTEN);
        }
    }
    println!("alone and with followers: {times:?}");
    // Who waited for them would never end.
    assert!(times[1] <= times[0] * 3 + Duration::from_secs(15), "{times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn getlogs_shows_lines_times_and_any_bytes() {
    let world = World::start().await;
    let user = User::of(&world);
    let script = "echo one; while [ ! -e \"$go\" ]; do sleep 0.02; done; echo two; \
                  while [ ! -e \"$go-on\" ]; do sleep 0.02; done; printf three";
    world.job("three", script, &["go"]).await;
    world.job("odd", "printf 'a\\000\\377\\r\\n\\n\\033[1m'; head -c 3000000 /dev/zero", &[]).await;
    world.job("silent", "true", &[]).await;
    let go = world.path("go");
    let three = world.execute("three", &[("go", go.to_str().unwrap())]).await;
    let follower = user.begin(&["getlogs", &three, "--follow", "--timestamps"]);
    let tail = user.begin(&["getlogs", &three, "--follow", "--tail", "50", "--since", "1h"]);
    // Each line is there before the next one is written, so that each has a time of its own.
    for (size, file) in [(4, "go"), (8, "go-on")] {
        world.reaches(&three, |now| now.log_size >= size).await;
        // What is written within a tenth of a second has one time.
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::fs::write(world.path(file), "").unwrap();
    }
    assert_eq!(world.over(&three).await.state(), ExecutionState::Succeeded);
    assert_eq!(tail.end().await.text(), "one\ntwo\nthree");
    let times = follower.end().await.text();
    let lines: Vec<_> = times.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let words: Vec<_> = lines.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, ["one", "two", "three"]);
    assert!(lines.windows(2).all(|two| two[0].0 < two[1].0 && two[0].0.ends_with('Z')), "{times}");
    assert!(!times.ends_with('\n'), "nothing is added");

    assert_eq!(user.says(&["getlogs", &three, "--tail", "2"]).await, "two\nthree");
    assert_eq!(user.says(&["getlogs", &three, "--tail", "0"]).await, "");
    assert_eq!(user.says(&["getlogs", &three, "--since", lines[1].0]).await, "two\nthree");
    assert_eq!(
        user.says(&["getlogs", &three, "--attempt", "1", "--offset", "4"]).await,
        "two\nthree"
    );
    let beyond = user.run(&["getlogs", &three, "--offset", "100"]).await;
    assert!(beyond.status == Some(3) && beyond.err.contains("the log has 13 bytes"), "{beyond:?}");

    let odd = world.execute("odd", &[]).await;
    let silent = world.execute("silent", &[]).await;
    world.over(&odd).await;
    world.over(&silent).await;
    let file = user.path("odd");
    let ran = user.run_into(&["getlogs", &odd], &file).await;
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let mut expected = b"a\0\xff\r\n\n\x1b[1m".to_vec();
    expected.resize(expected.len() + 3_000_000, 0);
    assert!(std::fs::read(&file).unwrap() == expected, "not byte for byte");
    let last = user.run(&["getlogs", &odd, "--tail", "1"]).await;
    assert!(last.out == expected[6..], "a line of megabytes");
    for words in [&["--tail", "3"][..], &["--since", "1h"], &["--timestamps"], &["--follow"]] {
        assert_eq!(user.says(&[&["getlogs", &silent], words].concat()).await, "", "{words:?}");
    }
    let mut head = user.begin(&["getlogs", &odd]);
    head.line().await;
    head.leave();
    let left = head.end().await;
    assert_eq!(left.err, "", "a closed pipe ends quietly: {left:?}");
}
