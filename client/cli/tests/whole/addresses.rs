//! Executors and users who know of several controllers, one of which is gone.

use crate::{
    outages::followed_by,
    user::User,
    world::{Server, World, eventually, ready},
};
use octavius_client::{Client, Settings};
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::Instant;

/// Two controllers that know nothing of each other, with one executor and one user for both.
struct Two {
    world: World,
    second: Server,
    /// Who asks the second alone.
    there: Client,
    both: String,
}

impl Two {
    /// `ping_deadline` is how long an executor may be silent, in seconds. It leaves a controller that does not answer
    /// within a third of that.
    async fn start(ping_deadline: u32) -> Self {
        let mut world = World::new(8);
        world.configure_controller("executor_ping_deadline", ping_deadline.into());
        world.controller.start();
        world.serves().await;
        world.controller.end().await;
        let (mut second, address) = world.other_controller("second");
        let both = format!("{},{address}", world.address);
        world.configure_executor("cp_host", both.as_str().into());
        world.configure_executor("conn_time_out", 4.into());
        // The first is there before the second: each of an executor's two ways goes to one that answers, and to both of
        // these there is no session in common.
        world.start_all();
        world.ready().await;
        second.start();
        let settings = Settings {
            ca_file: None,
            address: format!("http://{address}"),
            email: None,
            token: None,
            timeout: Duration::from_secs(10),
        };
        let there = Client::new(&settings).unwrap();
        let version = || async { there.version().await.map_err(|error| error.to_string()) };
        eventually(version).await.unwrap();
        Self { world, second, there, both }
    }

    /// Waits until the executor is with the second, and answers how long that took.
    async fn executor_is_there(&self) -> Duration {
        let began = Instant::now();
        if let Err(last) = ready(&self.there).await {
            let (second, executor) = (self.second.said(), self.world.executor.said());
            panic!("never there: {last}\ncontroller: {second}\nexecutor: {executor}");
        }
        began.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_controller_has_executor_and_user_within_seconds_after_a_kill() {
    // It is a kill that is to be noticed soon: of one who is only slow nobody takes leave.
    let mut two = Two::start(60).await;
    assert!(two.there.executors().await.unwrap().is_empty(), "the first one was not enough");
    let user = User::new().with("CP_HOST", &two.both);
    two.world.controller.kill();
    let took = two.executor_is_there().await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(user.says(&["executors", "-o", "name"]).await, "test-executor\n");
    two.second.kill();
    let ran = user.run(&["executors"]).await;
    assert_eq!(ran.status, Some(4), "{ran:?}");
    for address in two.both.split(',') {
        assert!(ran.err.contains(&format!("http://{address}: Connection refused")), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_controller_is_left_by_executor_and_user_within_fifteen_seconds() {
    let two = Two::start(9).await;
    let user = User::new().with("CP_HOST", &two.both);
    // It ends with this test's folder.
    two.world.job("wait", "while [ -e \"$there\" ]; do sleep 0.05; done", &["there"]).await;
    let there = two.world.path("data");
    let id = two.world.execute("wait", &[("there", there.to_str().unwrap())]).await;
    let reading = user.begin(&["getlogs", &id, "--follow"]);
    followed_by(&two.world, 1).await;
    two.world.controller.signal(Signal::STOP);
    let stopped = Instant::now();
    let took = two.executor_is_there().await;
    assert!(took < Duration::from_secs(15), "{took:?}");
    // Who reads is parked, and hears of it from pings alone; the other one does not know the execution.
    let read = reading.end().await;
    assert!(stopped.elapsed() < Duration::from_secs(25), "{:?}", stopped.elapsed());
    assert!(read.err.contains("the controller is away"), "{}", read.err);
    assert_eq!(read.status, Some(3), "{}", read.err);
    let began = Instant::now();
    assert_eq!(user.says(&["executors", "-o", "name"]).await, "test-executor\n");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
