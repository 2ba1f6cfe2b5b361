//! A disk without a byte left, under a controller that runs: it says so, keeps nothing from anybody who reads, and goes
//! on by itself.

use crate::{
    user::{User, arguments},
    world::{World, eventually},
};
use octavius_client::v1::ExecutionState;
use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::Instant;

/// Writes five lines a second until it is told to end.
const SCRIPT: &str =
    "i=0; while [ ! -e \"$go\" ]; do i=$((i + 1)); echo \"line $i\"; sleep 0.2; done; echo end";

/// A file system of its own at a folder, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount one.
    fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=64m", "test"]).arg(folder).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }

    fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while ballast.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status(); // the folder goes anyway
    }
}

fn get(world: &World, path: &str) -> Result<String, String> {
    get_at(&world.metrics_address, path)
}

fn get_at(address: &str, path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(failed)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    Ok(answer)
}

async fn is_ready(world: &World, wanted: &str) {
    let look = || async {
        let answer = get(world, "/readyz")?;
        if answer.contains(wanted) { Ok(()) } else { Err(answer) }
    };
    eventually(look).await.unwrap();
}

/// How often actors were built again.
fn restarts(world: &World) -> f64 {
    restarts_in(&get(world, "/metrics").unwrap())
}

fn restarts_in(metrics: &str) -> f64 {
    let restarts = metrics.lines().filter(|line| line.starts_with("octavius_actor_restarts_total"));
    restarts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_what_runs_is_whole_once_there_is_room() {
    let mut world = World::new(8);
    let Some(disk) = Disk::mount(&world.path("data")) else {
        println!("left out: only root may mount a disk that can be filled");
        return;
    };
    world.controller.start();
    world.executor.start();
    world.ready().await;
    let user = User::of(&world);
    user.job("write", SCRIPT, arguments(&["go!"])).await;
    let go = world.path("go");
    let word = format!("go={}", go.display());
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(user.execute(&["write", &word]).await);
    }
    for id in &running {
        world.reaches(id, |execution| execution.state() == ExecutionState::Running).await;
    }
    is_ready(&world, "200 OK").await;

    disk.fill();
    is_ready(&world, "the store is full").await;
    assert!(get(&world, "/metrics").unwrap().contains("octavius_store_full 1"));
    // What was under way when the last byte went may have cost a restart; once all are there again nothing does.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let settled = || async {
        let metrics = get(&world, "/metrics")?;
        let mut actors = metrics.lines().filter(|line| line.starts_with("octavius_actor_up{"));
        let all_up = actors.all(|line| line.ends_with(" 1"));
        if all_up { Ok(restarts_in(&metrics)) } else { Err(metrics) }
    };
    let before = eventually(settled).await.unwrap();
    let refused = user.run(&["execute", "write", &word]).await;
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.err.contains("the store is full"), "{}", refused.err);
    assert!(refused.err.contains("make room"), "{}", refused.err);
    for words in
        [&["list"][..], &["executions"], &["status", &running[0]], &["getlogs", &running[0]]]
    {
        let ran = user.run(words).await;
        assert_eq!(ran.status, Some(0), "{words:?}: {ran:?}");
    }
    std::fs::write(&go, "").unwrap();
    // The jobs end meanwhile; their executor keeps that, and says it again and again.
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        let refused = user.run(&["execute", "write", &word]).await;
        assert_eq!(refused.status, Some(3), "{refused:?}");
        assert!(refused.err.contains("the store is full"), "{}", refused.err);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for id in &running {
        let execution = world.client.execution(id).await.unwrap();
        assert_eq!(execution.state(), ExecutionState::Running, "{execution:?}");
    }
    assert_eq!(restarts(&world), before, "{}", world.controller.said());

    disk.empty();
    let began = Instant::now();
    for id in &running {
        let execution = world.over(id).await;
        assert_eq!(execution.state(), ExecutionState::Succeeded, "{execution:?}");
        assert_eq!((execution.attempt, execution.log_cut.as_str()), (1, ""), "{execution:?}");
        let log = String::from_utf8(world.log(id).await).unwrap();
        let lines = log.lines().count();
        let whole = (1..lines).map(|line| format!("line {line}\n")).collect::<String>() + "end\n";
        assert_eq!(log, whole);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    is_ready(&world, "200 OK").await;
    user.execute(&["write", &word]).await;
}
