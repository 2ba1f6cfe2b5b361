//! Who is asked who we are, and when.

use super::*;
use crate::runner::kubernetes::{
    client::Cluster,
    stub::{Asked, Stub, refusal},
};
use kube::api::LogParams;
use serde_json::{Value, json};
use std::{
    fs,
    future::{Ready, ready},
    io,
};
use tokio::time::sleep;
use tonic::codegen::http::HeaderValue;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

#[test]
fn a_pause_is_asked_for_in_seconds_or_as_a_time() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(asked_pause(&headers(&[("retry-after", "7")])), seconds(7));
    let date = ("date", "Sun, 06 Nov 1994 08:49:00 GMT");
    let until = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(asked_pause(&headers(&[date, until])), seconds(37));
    assert_eq!(asked_pause(&headers(&[until])), None, "long ago");
    for nonsense in ["", "soon", "-1"] {
        assert_eq!(asked_pause(&headers(&[("retry-after", nonsense)])), None, "{nonsense}");
    }
    assert_eq!(asked_pause(&headers(&[date])), None);
}

/// An API server that knows only the token in this file, with kubelets that do not know it, and a cluster behind it whose program says what is in another
/// file, notes that it was started, and waits while there is a file `wait`.
async fn with_program(until: Option<Timestamp>) -> (Stub, Cluster) {
    let knows = |asked: &Asked| match &asked.token[..] {
        "known" if asked.what.ends_with("/log") => refusal(401, "Unauthorized"),
        "known" => (200, json!({})),
        _ => refusal(401, "Unauthorized"),
    };
    let stub = Stub::new(knows).await;
    let folder = stub.folder.path().display();
    let until = until.map_or(Value::Null, |until| json!(until.to_string()));
    let said = json!({"status": {"token": "TOKEN", "expirationTimestamp": until}}).to_string();
    let script = format!(
        "cd {folder}; echo >> starts; while [ -e wait ]; do sleep 0.02; done; echo '{said}' | sed s/TOKEN/$(cat token)/"
    );
    fs::write(stub.folder.path().join("token"), "known").unwrap();
    let kubeconfig = stub.kubeconfig("program", &json!({"username": "ada", "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
        "interactiveMode": "Never",
    }}));
    let options = Options { kubeconfig: Some(kubeconfig), ..Options::example("jobs") };
    let cluster = Cluster::connect(&options).await.unwrap();
    (stub, cluster)
}

fn starts(stub: &Stub) -> usize {
    let starts = fs::read_to_string(stub.folder.path().join("starts")).unwrap_or_default();
    starts.lines().count()
}

async fn until(met: impl Fn() -> bool) {
    let met = async {
        while !met() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), met).await.expect("it never comes");
}

#[tokio::test]
async fn a_program_is_asked_once_at_a_time_though_those_who_wait_for_it_give_up() {
    let (stub, cluster) = with_program(None).await;
    assert_eq!(starts(&stub), 1, "a client needs one answer");
    let wait = stub.folder.path().join("wait");
    fs::write(&wait, "").unwrap();
    // What was known is not known any more.
    let way = cluster.way_of_tests();
    way.login.lock().await.client = refused(&stub).await;
    for _ in 0..5 {
        let asked = timeout(Duration::from_millis(200), cluster.ask_clock()).await;
        assert!(asked.is_err(), "it did not wait for the program");
    }
    until(|| starts(&stub) > 1).await;
    fs::remove_file(&wait).unwrap();
    cluster.ask_clock().await.unwrap();
    assert_eq!(starts(&stub), 2);
    assert_eq!(stub.asked().last().unwrap().token, "known");
}

/// A client whose token is not known.
async fn refused(stub: &Stub) -> Client {
    let kubeconfig = Some(stub.kubeconfig("refused", &json!({"token": "refused"})));
    login(&Options { kubeconfig, ..Options::example("jobs") }).await.unwrap().0
}

#[tokio::test]
async fn what_still_holds_is_used_while_the_next_is_asked_for() {
    let soon = Timestamp::now().checked_add(Duration::from_secs(45)).unwrap();
    let (stub, cluster) = with_program(Some(soon)).await;
    fs::write(stub.folder.path().join("wait"), "").unwrap();
    // Long before it could have answered.
    timeout(PATIENCE, cluster.ask_clock()).await.unwrap().unwrap();
    until(|| starts(&stub) == 2).await;
    cluster.ask_clock().await.unwrap();
    assert_eq!(starts(&stub), 2);
}

#[tokio::test]
async fn a_kubelet_that_does_not_know_the_api_server_says_nothing_of_who_we_are() {
    let (stub, cluster) = with_program(None).await;
    cluster.ask_clock().await.unwrap();
    let pods = cluster.pods("jobs");
    for _ in 0..2 {
        cluster.call(pods.logs("p", &LogParams::default())).await.unwrap_err();
    }
    assert_eq!(*cluster.unknown().borrow(), None);
    assert_eq!((starts(&stub), stub.asked().len()), (1, 3), "{:?}", stub.asked());
}

/// Before an API server with a certificate of another authority.
#[derive(Clone)]
struct Strange;

impl Service<Request<Body>> for Strange {
    type Response = Response<Body>;
    type Error = io::Error;
    type Future = Ready<io::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        // As rustls says it.
        ready(Err(io::Error::other("invalid peer certificate: UnknownIssuer")))
    }
}

#[tokio::test]
async fn a_new_authority_of_the_cluster_is_read_where_the_old_one_was() {
    let (stub, cluster) = with_program(None).await;
    let way = cluster.way_of_tests();
    way.login.lock().await.client = Client::new(Strange, "jobs");
    cluster.ask_clock().await.unwrap_err();
    until(|| starts(&stub) == 2).await;
    let knows = async {
        while cluster.ask_clock().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), knows).await.unwrap();
    assert_eq!(starts(&stub), 2, "it was read again for each call");
}
