//! The second port, asked over TCP, with real actors behind it.

#![cfg(feature = "fault-injection")]
#![allow(clippy::unwrap_used)] // clippy knows the functions that are tests, not their helpers

use actix::prelude::*;
use octavius_service::{
    actor::{ActorSystem, Handle, Limits, RestartPolicy},
    telemetry::{
        health::Health,
        metrics::{self, METRICS, Metrics},
    },
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

octavius_service::panics_when_told!(Idle);

/// An actor that can be built only while it may.
fn idle(system: &mut ActorSystem, name: &'static str, may: Arc<AtomicBool>) -> Handle<Idle> {
    let policy = RestartPolicy { first: Duration::from_millis(5), ..RestartPolicy::default() };
    let policy = RestartPolicy { longest: Duration::from_millis(20), ..policy };
    let build = move || {
        let may = may.load(SeqCst);
        async move {
            anyhow::ensure!(may, "not yet");
            Ok(Idle)
        }
    };
    system.supervise(name, Limits::default(), policy, build).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let asking = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(SOON, asking).await.expect("no answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn until(address: SocketAddr, path: &str, status: u16) -> String {
    let began = Instant::now();
    loop {
        let (found, body) = get(address, path).await;
        if found == status {
            return body;
        }
        assert!(began.elapsed() < SOON, "{path} is still {found}: {body}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn installed(cancel: &CancellationToken) -> Metrics {
    let metrics = metrics::install(cancel.clone()).unwrap();
    metrics::describe(&[METRICS]);
    metrics
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test]
async fn ready_is_who_has_all_actors_up_and_says_so_itself() {
    let cancel = CancellationToken::new();
    let mut system = ActorSystem::start("ready").unwrap();
    let may = Arc::new(AtomicBool::new(true));
    let first = idle(&mut system, "ready_first", may.clone());
    let second = idle(&mut system, "ready_second", Arc::new(AtomicBool::new(true)));
    first.up(SOON).await.unwrap();
    second.up(SOON).await.unwrap();
    let loaded = Arc::new(AtomicBool::new(false));
    let seen = loaded.clone();
    let health = Health::new(installed(&cancel), system.actors());
    let health = health.ready(move || {
        if seen.load(SeqCst) { Ok(()) } else { Err("the jobs are not loaded".to_owned()) }
    });
    let server = health.serve(loopback(), cancel.clone()).await.unwrap();
    let address = server.address();

    assert_eq!(get(address, "/healthz").await, (200, "ok\n".to_owned()));
    let unloaded = (503, "not ready: the jobs are not loaded\n".to_owned());
    assert_eq!(get(address, "/readyz").await, unloaded);
    loaded.store(true, SeqCst);
    assert_eq!(get(address, "/readyz").await, (200, "ready\n".to_owned()));

    may.store(false, SeqCst);
    assert!(first.inject_panic().await.is_err());
    assert_eq!(until(address, "/readyz", 503).await, "not ready: ready_first is starting\n");
    assert_eq!(get(address, "/healthz").await.0, 200);
    may.store(true, SeqCst);
    until(address, "/readyz", 200).await;

    cancel.cancel();
    tokio::time::timeout(SOON, server.ended()).await.expect("the server never ended");
    assert!(TcpStream::connect(address).await.is_err());
    system.stop().await;
}

#[tokio::test]
async fn a_scrape_has_the_vitals_the_restarts_and_the_servers_own_gauges() {
    let cancel = CancellationToken::new();
    let metrics = installed(&cancel); // before the actors: what happens earlier is not counted
    let mut system = ActorSystem::start("scrape").unwrap();
    let handle = idle(&mut system, "scraped", Arc::new(AtomicBool::new(true)));
    handle.up(SOON).await.unwrap();
    assert!(handle.inject_panic().await.is_err());
    let health = Health::new(metrics, system.actors());
    let health = health.collect(|| async { ::metrics::gauge!("octavius_test_depth").set(42.0) });
    let server = health.serve(loopback(), cancel.clone()).await.unwrap();

    let began = Instant::now();
    let wanted = [
        "octavius_actor_up{actor=\"scraped\"} 1",
        "octavius_actor_waiting{actor=\"scraped\"} 0",
        "octavius_actor_oldest_seconds{actor=\"scraped\"} 0",
        "octavius_actor_restarts_total{actor=\"scraped\",cause=\"panic\"} 1",
        "octavius_actor_restarts_total{actor=\"scraped\",cause=\"stop\"} 0",
        "octavius_actor_handling_seconds_count{actor=\"scraped\",message=\"Panic\"} 1",
        "octavius_test_depth 42",
        "# TYPE octavius_actor_restarts_total counter",
        "# HELP octavius_actor_waiting Calls that are queued or at work.",
    ];
    loop {
        let (_, text) = get(server.address(), "/metrics").await;
        let missing = wanted.iter().find(|line| !text.lines().any(|found| found == **line));
        let Some(missing) = missing else { break };
        assert!(began.elapsed() < SOON, "{missing}\n{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cancel.cancel();
    server.ended().await;
    system.stop().await;
}

#[tokio::test]
async fn a_hanging_collect_delays_a_scrape_and_does_not_stop_it() {
    let cancel = CancellationToken::new();
    let health = Health::new(installed(&cancel), &[]).collect(std::future::pending);
    let server = health.serve(loopback(), cancel.clone()).await.unwrap();
    assert_eq!(get(server.address(), "/metrics").await.0, 200);
    cancel.cancel();
    server.ended().await;
}

#[tokio::test]
async fn two_servers_have_a_port_each_and_a_taken_one_names_key_address_and_remedy() {
    let cancel = CancellationToken::new();
    let one = Health::new(installed(&cancel), &[]).serve(loopback(), cancel.clone());
    let one = one.await.unwrap();
    let other = Health::new(installed(&cancel), &[]).serve(loopback(), cancel.clone());
    let other = other.await.unwrap();
    assert_eq!(get(one.address(), "/readyz").await.0, 200);
    assert_eq!(get(other.address(), "/readyz").await.0, 200);
    let taken = Health::new(installed(&cancel), &[]).serve(one.address(), cancel.clone());
    let address = one.address();
    assert_eq!(
        taken.await.unwrap_err().to_string(),
        format!(
            "`metrics_address` is `{address}`, where another process listens: \
             stop that, or give `metrics_address` another port"
        )
    );
    cancel.cancel();
}

#[tokio::test]
async fn who_does_not_read_the_answer_does_not_hold_up_the_end() {
    let cancel = CancellationToken::new();
    let health = Health::new(installed(&cancel), &[]);
    let server = health.serve(loopback(), cancel.clone()).await.unwrap();
    for letter in 'a'..='p' {
        // 16 MiB in all: more than the buffers of a connection hold.
        let text = letter.to_string().repeat(1024 * 1024);
        ::metrics::gauge!("octavius_test_flood", "text" => text).set(1.0);
    }
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).await.unwrap(); // it is on its way, and nobody reads on
    cancel.cancel();
    tokio::time::timeout(SOON, server.ended()).await.expect("the end was held up");
}

#[tokio::test]
async fn twenty_panics_in_a_row_give_growing_pauses_in_which_it_is_not_ready() {
    let cancel = CancellationToken::new();
    let metrics = installed(&cancel);
    let mut system = ActorSystem::start("twenty").unwrap();
    let policy = RestartPolicy {
        first: Duration::from_millis(10),
        longest: Duration::from_millis(640),
        ..RestartPolicy::default()
    };
    // It is built when the test lets it be, so that somebody can look before; the first one at once.
    let (begins, mut begun) = mpsc::unbounded_channel();
    let may = Arc::new(Semaphore::new(1));
    let asked = may.clone();
    let build = move || {
        let (may, begins) = (asked.clone(), begins.clone());
        async move {
            begins.send(Instant::now())?;
            may.acquire().await?.forget();
            anyhow::Ok(Idle)
        }
    };
    let handle = system.supervise("twenty", Limits::default(), policy, build).unwrap();
    handle.up(SOON).await.unwrap();
    begun.recv().await.unwrap();
    let server = Health::new(metrics, system.actors()).serve(loopback(), cancel.clone());
    let address = server.await.unwrap().address();

    for panics in 0..20 {
        let began = Instant::now();
        assert!(handle.inject_panic().await.is_err());
        assert_eq!(until(address, "/readyz", 503).await, "not ready: twenty is starting\n");
        let again = tokio::time::timeout(SOON, begun.recv()).await.expect("it is never built");
        // With jitter of a fifth, and longer on a busy machine; never shorter.
        let pause = again.unwrap() - began;
        let least = (policy.first * 2_u32.pow(panics)).min(policy.longest) * 4 / 5;
        assert!(pause >= least, "{pause:?} of {least:?} after {panics} panics");
        may.add_permits(1);
        handle.up(SOON).await.unwrap();
    }
    let restarts = "octavius_actor_restarts_total{actor=\"twenty\",cause=\"panic\"} 20\n";
    let (_, scrape) = get(address, "/metrics").await;
    assert!(scrape.contains(restarts), "{scrape}");
    cancel.cancel();
    system.stop().await;
}

/// Reads until the other end closes it.
async fn is_closed(mut stream: TcpStream) {
    let reading = async {
        let mut bytes = [0; 64];
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    };
    tokio::time::timeout(SOON, reading).await.expect("it stays open");
}

#[tokio::test]
async fn who_comes_after_too_many_is_closed_and_gets_in_when_one_of_them_leaves() {
    let cancel = CancellationToken::new();
    let metrics = installed(&cancel);
    let health = Health::new(metrics.clone(), &[]);
    let server = health.serve(loopback(), cancel.clone()).await.unwrap();
    let address = server.address();
    let mut standing = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut status = [0; 12];
        let answer = tokio::time::timeout(SOON, stream.read_exact(&mut status)).await;
        answer.expect("no answer").unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        standing.push(stream);
    }
    for _ in 0..200 {
        is_closed(TcpStream::connect(address).await.unwrap()).await;
    }
    // The recorder is one for all tests of this process, and no other one fills the places of a port.
    let counted = metrics.render();
    let full = "octavius_metrics_connections_closed_total{reason=\"full\"} 200";
    assert!(counted.lines().any(|line| line == full), "{counted}");
    standing.pop();
    let began = Instant::now();
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Either fails while the place is not free yet.
        let _ = stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await;
        let mut answer = String::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap();
        if answer.starts_with("HTTP/1.0 200") {
            break;
        }
        assert!(began.elapsed() < SOON, "nobody gets in: {answer:?}");
    }
    cancel.cancel();
    drop(standing);
    server.ended().await;
}
