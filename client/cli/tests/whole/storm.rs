//! A controller that is killed under hundreds who are connected: they come back one after the other, all of them, and
//! nothing that runs is touched.
//!
//! The executors are the real ones, with their links, heartbeats, pollers and drivers, in this process; what they run is
//! nothing, for ever, so that no thousand processes are needed.

use crate::world::{PATIENCE, World, eventually};
use bytes::Bytes;
use futures::StreamExt;
use octavius_client::{Client, LogItem, Notice, Settings, v1};
use octavius_executor::{
    attempts::{self, Attempts, AttemptsHandle},
    belonging::Belonging,
    heartbeat::{self, Heartbeat},
    link::{Link, LinkOptions, Offer, Registration},
    poller::{self, Poller},
    runner::{Found, Identity, LogPiece, Phase, Runner, RunnerError, Work},
    state_dir::StateDir,
};
use octavius_protocol::{id::AttemptId, secret::SecretValues};
use octavius_service::actor::{ActorSystem, Limits, RestartPolicy};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::async_trait;

pub(crate) const EXECUTORS: usize = 300;
/// What their ids begin with.
const PREFIX: &str = "storm-";
pub(crate) const FOLLOWERS: usize = 200;
const CLIENTS: usize = 20;
/// How many attempts run, two for each executor.
pub(crate) const ATTEMPTS: usize = 2 * EXECUTORS;
/// On a machine that is not too busy it is looked again within this.
const LOOKS_WITHIN: Duration = Duration::from_millis(500);
/// How long the controller is away.
const AWAY: Duration = Duration::from_secs(30);

/// Runs what does nothing and never ends.
#[derive(Debug)]
struct Parked;

#[async_trait]
impl Runner for Parked {
    async fn find(&self) -> Result<Vec<Found>, RunnerError> {
        Ok(Vec::new())
    }

    async fn look(&self, attempt: AttemptId) -> Result<Found, RunnerError> {
        Err(RunnerError::Unknown(attempt))
    }

    async fn prepare(&self, work: &Work) -> Result<Identity, RunnerError> {
        Ok(Identity(work.attempt.to_string()))
    }

    async fn go(&self, _: AttemptId, _: &SecretValues) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn wait(
        &self,
        _: AttemptId,
        seen: &Phase,
        within: Duration,
    ) -> Result<Phase, RunnerError> {
        if *seen == Phase::Running {
            tokio::time::sleep(within).await;
        }
        Ok(Phase::Running)
    }

    async fn stop(&self, _: AttemptId) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn follow(
        &self,
        _: AttemptId,
        _: &Bytes,
        _: usize,
        within: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        tokio::time::sleep(within).await;
        Ok(None)
    }

    async fn remove(&self, _: AttemptId) -> Result<(), RunnerError> {
        Ok(())
    }
}

/// Starts executors that run nothing, each with room for two attempts.
pub(crate) fn executors(controller: &str, folder: &Path) -> ActorSystem {
    octavius_service::raise_open_files();
    let mut system = ActorSystem::start("storm").unwrap();
    for number in 0..EXECUTORS {
        let id = format!("{PREFIX}{number}");
        executor(&mut system, controller, &id, &folder.join(&id));
    }
    system
}

fn executor(system: &mut ActorSystem, controller: &str, id: &str, folder: &Path) {
    let state_dir = Arc::new(StateDir::open(folder).unwrap());
    let executor: octavius_protocol::id::ExecutorId = id.parse().unwrap();
    let link = Link::new(&LinkOptions {
        ca_file: None,
        certificate: None,
        controller: controller.to_owned(),
        executor: executor.clone(),
        token: None,
        deadline: Duration::from_secs(10),
    });
    let link = link.unwrap();
    let registration = Registration {
        executor,
        place: state_dir.place().to_string(),
        instance: uuid::Uuid::new_v4().to_string(),
        runner: "process",
        labels: BTreeMap::new(),
        capacity: 3,
        installation: None,
        offer: Offer::default(),
    };
    let tools = Arc::new(attempts::Tools {
        runner: Arc::new(Parked),
        link: link.clone(),
        runtime: tokio::runtime::Handle::current(),
        drivers: TaskTracker::new(),
        belonging: Belonging::Folder(state_dir.clone()),
        default_timeout: None,
        log_wait: attempts::LOG_WAIT,
    });
    let (limits, policy) = (Limits::default(), RestartPolicy::default());
    let held = Arc::new(watch::Sender::new(None));
    let seen = held.subscribe();
    let build = move || Attempts::build(tools.clone(), held.clone());
    let actor = system.supervise("attempts", limits, policy, build).unwrap();
    let attempts = AttemptsHandle::new(actor, seen);
    let no_more_work = CancellationToken::new();
    let sight = watch::Sender::new(None).subscribe(); // nothing is ever in the way
    let tools = Arc::new(heartbeat::Tools {
        link: link.clone(),
        registration,
        belonging: Belonging::Folder(state_dir),
        attempts: attempts.clone(),
        sight: sight.clone(),
        drained: false.into(),
        ping_interval: Duration::from_secs(2),
        no_more_work: no_more_work.clone(),
    });
    let build = move || std::future::ready(Ok(Heartbeat::new(tools.clone())));
    system.supervise("heartbeat", limits, policy, build).unwrap();
    let tools = Arc::new(poller::Tools { link, attempts, sight, capacity: 3, no_more_work });
    let build = move || std::future::ready(Ok(Poller::new(tools.clone())));
    system.supervise("poller", limits, policy, build).unwrap();
}

/// A client with a connection of its own.
pub(crate) fn client(address: &str) -> Client {
    let settings = Settings {
        ca_file: None,
        address: address.to_owned(),
        email: None,
        token: None,
        timeout: PATIENCE,
    };
    Client::new(&settings).unwrap().with_patience(2 * PATIENCE)
}

/// Id, state and number of attempts of everything that is not of the job `late`.
pub(crate) async fn executions(client: &Client) -> BTreeMap<String, (v1::ExecutionState, u32)> {
    let all = client.executions(Some("park"), None).await.unwrap();
    all.into_iter().map(|one| (one.id.clone(), (one.state(), one.attempt))).collect()
}

/// Submits what runs for ever, two for each executor, and waits until all of it runs.
pub(crate) async fn all_run(client: &Client) -> BTreeMap<String, (v1::ExecutionState, u32)> {
    futures::stream::iter(0..ATTEMPTS)
        .for_each_concurrent(20, |_| async {
            client.execute("park", BTreeMap::new()).await.unwrap();
        })
        .await;
    let look = || async {
        let all = executions(client).await;
        let running = all.values().filter(|(state, _)| *state == v1::ExecutionState::Running);
        let count = running.count();
        if count == ATTEMPTS { Ok(all) } else { Err(format!("{count} run")) }
    };
    eventually(look).await.unwrap()
}

/// How many follow a log that is quiet, by a controller's metrics.
pub(crate) fn following(metrics: &str) -> usize {
    let line = metrics.lines().find_map(|line| line.strip_prefix("octavius_log_followers "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// When each of those who came back came, and the longest time in which nobody looked: who came in it may be seen at its end.
#[derive(Debug)]
pub(crate) struct Seen {
    times: Vec<Duration>,
    unseen: Duration,
}

/// Waits until `asking` sees every executor, `following` followers, and an answer for each of so many clients, and
/// answers when each of them came, since `began`. Nobody may be given up meanwhile.
pub(crate) async fn all_come_back(
    asking: &Client,
    following: impl AsyncFn() -> usize,
    accepted: &mut mpsc::UnboundedReceiver<Instant>,
    clients: usize,
    began: Instant,
) -> Seen {
    let mut heard: BTreeMap<String, Duration> = BTreeMap::new();
    let (mut times, mut unseen) = (Vec::new(), None);
    let (mut follow_again, mut asked_for, mut looked) = (0, 0, began.elapsed());
    while heard.len() < EXECUTORS || follow_again < FOLLOWERS || asked_for < clients {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "back are {} executors, {follow_again} followers and {asked_for} clients",
            heard.len(),
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Ok(executors) = asking.executors().await else { continue };
        let now = began.elapsed();
        for executor in executors.into_iter().filter(|one| one.id.starts_with(PREFIX)) {
            match executor.state() {
                v1::ExecutorState::Unknown => {}
                v1::ExecutorState::Ready => {
                    let silent: Duration = executor.silent_for.unwrap().try_into().unwrap();
                    if let Some(at) = now.checked_sub(silent) {
                        heard.entry(executor.id).or_insert(at);
                    }
                }
                other => panic!("{} is {other:?} after {now:?}", executor.id),
            }
        }
        let count = following().await;
        // Each at its own time since the look before.
        let (more, since) = (count.saturating_sub(follow_again), began.elapsed() - looked);
        times.extend((1..=more).map(|one| looked + since.mul_f64(one as f64 / more as f64)));
        (follow_again, looked) = (follow_again.max(count), looked + since);
        // Before the first look there was nobody to ask.
        unseen = Some(unseen.map_or(Duration::ZERO, |most: Duration| most.max(since)));
        while let Ok(at) = accepted.try_recv() {
            times.push(at - began);
            asked_for += 1;
        }
    }
    println!("all are back after {:?}", began.elapsed());
    times.extend(heard.values());
    Seen { times, unseen: unseen.unwrap_or_default() }
}

/// No second saw more than a fifth of them; one that began with a time in which nobody looked is as much longer.
#[track_caller]
pub(crate) fn came_one_after_the_other(seen: Seen) {
    let Seen { times, unseen } = seen;
    let (peers, most) = (times.len(), most_in_a_second(times));
    let second = Duration::from_secs(1) + unseen.saturating_sub(LOOKS_WITHIN);
    println!("of {peers} came {most} within a second; nobody looked for {unseen:?}");
    let wrong = most as f64 * 5.0 > peers as f64 * second.as_secs_f64();
    assert!(!wrong, "{most} of {peers} came within a second; nobody looked for {unseen:?}");
}

/// The most that happened within a second.
fn most_in_a_second(mut times: Vec<Duration>) -> usize {
    times.sort();
    let within = |first: usize| {
        times[first..].partition_point(|at| *at < times[first] + Duration::from_secs(1))
    };
    (0..times.len()).map(within).max().unwrap_or(0)
}

/// Follows a log over all cuts, and counts the first time that it is told of one.
pub(crate) async fn follow(client: Client, id: String, cut: Arc<AtomicUsize>) {
    let mut log = client.follow_log(&id, 0, 0, true).await.unwrap();
    while let Some(item) = log.next().await {
        match item.unwrap() {
            LogItem::Notice(Notice::Interrupted(_)) => {
                cut.fetch_add(1, Relaxed);
            }
            other => panic!("a log that is empty and goes on brought {other:?}"),
        }
    }
    panic!("a log that goes on ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_who_lose_their_controller_come_back_one_after_the_other_and_nothing_changes() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    for name in ["park", "late"] {
        world.job(name, "true", &[]).await;
    }
    let system = executors(&world.address, &world.path("executors"));
    let asking = client(&world.address);
    let before = all_run(&asking).await;
    let (mut followers, cut) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for id in before.keys().take(FOLLOWERS) {
        followers.spawn(follow(client(&world.address), id.clone(), cut.clone()));
    }
    let all_follow = || async {
        let count = following(&world.metrics().await);
        if count == FOLLOWERS { Ok(()) } else { Err(format!("{count} follow")) }
    };
    eventually(all_follow).await.unwrap();

    world.controller.kill();
    let (done, mut accepted) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, done) = (client(&world.address), done.clone());
        clients.spawn(async move {
            // They come while it is away.
            tokio::time::sleep(AWAY.mul_f64(number as f64 / CLIENTS as f64)).await;
            client.execute("late", BTreeMap::new()).await.unwrap();
            done.send(Instant::now()).unwrap();
        });
    }
    tokio::time::sleep(AWAY).await;
    let began = Instant::now();
    world.controller.start();
    let follow_now = async || following(&world.metrics().await);
    let seen = all_come_back(&asking, follow_now, &mut accepted, CLIENTS, began).await;
    came_one_after_the_other(seen);
    assert_eq!(cut.load(Relaxed), FOLLOWERS);

    assert_eq!(executions(&asking).await, before);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert!(followers.try_join_next().is_none(), "a follower ended");
    let metrics = world.metrics().await;
    let beats: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with(r#"octavius_rpc_seconds_count{method="Executors/Attend""#))
        .collect();
    assert!(!beats.is_empty(), "no sign of life was counted: {metrics}");
    let mut right = vec![r#"code="OK""#, r#"code="CANCELLED""#];
    if world.is_on_etcd() {
        // Until the lease of the one that was killed has run out nobody leads.
        right.push(r#"code="UNAVAILABLE""#);
    }
    for beat in beats {
        let well = right.iter().any(|code| beat.contains(code));
        assert!(well, "signs of life were refused: {beat}");
    }
    let most = crate::logs::resident(world.controller.id(), true);
    println!("the controller held {most} bytes at the most");
    assert!(most < 256 << 20, "the controller held {most} bytes");
    system.stop().await;
}
