//! The end of a server by signals: in order within ten seconds, whoever hangs on to it, and at once at the second one.

use crate::{
    user::{User, arguments},
    world::{Server, World, eventually},
};
use octavius_client::v1::ExecutionState;
use rustix::process::Signal;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};
use tokio::time::Instant;

/// A server ends within this.
const WITHIN: Duration = Duration::from_secs(10);

/// Connections that begin to say something and never go on. The server has taken all of them when this returns: it answers
/// the last one, and takes them in turn.
fn half_open(address: &str) -> Vec<TcpStream> {
    let beginnings = ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let open = |beginning: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(beginning.as_bytes()).unwrap();
        stream
    };
    let mut streams = beginnings.map(open);
    let [.., last] = &mut streams;
    last.set_read_timeout(Some(WITHIN)).unwrap();
    let mut settings = [0; 9]; // the head of a frame
    last.read_exact(&mut settings).unwrap();
    streams.into()
}

async fn says_times(server: &Server, words: &str, times: usize) {
    let look = || async {
        let said = server.said();
        if said.matches(words).count() >= times { Ok(()) } else { Err(said) }
    };
    eventually(look).await.unwrap();
}

/// Both signals lie there when the server goes on: sent one after the other, the second might come when it has ended. Its
/// exit status, which is that of any of the two if it left at the second one.
async fn both_signals(server: &mut Server) -> Option<i32> {
    for signal in [Signal::STOP, Signal::TERM, Signal::INT] {
        server.signal(signal);
    }
    server.end_by(Signal::CONT).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_on_to_a_controller_does_not_keep_it_from_ending_in_order() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let hanging = half_open(&world.address);
    let began = Instant::now();
    assert_eq!(world.controller.end().await, Some(0), "{}", world.controller.said());
    assert!(began.elapsed() < WITHIN, "{:?}: {}", began.elapsed(), world.controller.said());
    assert!(world.controller.said().contains("the controller has ended"));
    drop(hanging);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_controller_at_once() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let hanging = half_open(&world.address);
    let status = both_signals(&mut world.controller).await;
    let said = world.controller.said();
    assert!(matches!(status, Some(130 | 143)), "{status:?}: {said}");
    assert!(said.contains("leaving at once"), "{said}");
    assert!(!said.contains("the controller has ended"), "it waited for those who hang on: {said}");
    drop(hanging);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_without_its_controller_ends_in_time_and_at_the_second_signal_at_once() {
    let mut world = World::start().await;
    let user = User::of(&world);
    user.job("wait", "while [ ! -e \"$go\" ]; do sleep 0.02; done; echo done", arguments(&["go!"]))
        .await;
    let go = world.path("go");
    let id = user.execute(&["wait", &format!("go={}", go.display())]).await;
    world.reaches(&id, |execution| execution.state() == ExecutionState::Running).await;
    world.controller.kill();
    std::fs::write(&go, "").unwrap();
    // What is over has to be told, and nobody hears it: the end of the executor waits for that, for a while.
    let exit = || async {
        let attempts =
            std::fs::read_dir(world.path("state/attempts")).map_err(|e| e.to_string())?;
        let over = attempts.flatten().any(|attempt| attempt.path().join("exit").exists());
        if over { Ok(()) } else { Err("it is not over".to_owned()) }
    };
    eventually(exit).await.unwrap();
    let began = Instant::now();
    assert_eq!(world.executor.end().await, Some(0), "{}", world.executor.said());
    assert!(began.elapsed() < WITHIN, "{:?}: {}", began.elapsed(), world.executor.said());

    world.executor.start();
    // It hears signals by then. The start before was said once as well.
    says_times(&world.executor, "asks the controller at", 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await; // it says nothing when it has found what it holds
    let waited = |executor: &Server| executor.said().matches("not reported in time").count();
    let before = waited(&world.executor);
    let status = both_signals(&mut world.executor).await;
    assert!(matches!(status, Some(0 | 130 | 143)), "{status:?}: {}", world.executor.said());
    assert_eq!(waited(&world.executor), before, "{}", world.executor.said());

    world.controller.start();
    world.executor.start();
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
    assert_eq!(user.says(&["getlogs", &id]).await, "done\n");
}
