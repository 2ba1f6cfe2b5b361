use super::*;
use crate::v1::{
    self,
    system_client::SystemClient,
    system_server::{System, SystemServer},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    time::Instant,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_types::ErrorDetails;

/// Longer than anything takes that works.
const SOON: Duration = Duration::from_secs(20);

/// A controller that answers with its name, or with a refusal.
struct Controller {
    address: SocketAddr,
    says: watch::Sender<Option<Status>>,
    /// Of its own, so that its connections end with it.
    runtime: Option<Runtime>,
}

struct Named(String, watch::Receiver<Option<Status>>);

#[tonic::async_trait]
impl System for Named {
    type BackupStream = tokio_stream::Empty<Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        _: tonic::Request<v1::BackupRequest>,
    ) -> Result<tonic::Response<Self::BackupStream>, Status> {
        Err(Status::unimplemented("nobody asks for that here"))
    }

    async fn get_version(
        &self,
        _: tonic::Request<v1::GetVersionRequest>,
    ) -> Result<tonic::Response<v1::GetVersionResponse>, Status> {
        match self.1.borrow().clone() {
            Some(refusal) => Err(refusal),
            None => {
                let version = self.0.clone();
                Ok(v1::GetVersionResponse { version, ..Default::default() }.into())
            }
        }
    }
}

impl Controller {
    async fn start(name: &str) -> Self {
        Self::at(name, TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn at(name: &str, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let (says, said) = watch::channel(None);
        let system = SystemServer::new(Named(name.to_owned(), said));
        let incoming = TcpListenerStream::new(listener);
        let runtime = Runtime::new().unwrap();
        runtime.spawn(Server::builder().add_service(system).serve_with_incoming(incoming));
        Self { address, says, runtime: Some(runtime) }
    }

    /// Nobody listens there any more, and all connections are cut.
    async fn kill(mut self) {
        self.end();
        let began = Instant::now();
        while TcpStream::connect(self.address).await.is_ok() {
            assert!(began.elapsed() < SOON, "it still listens");
            tokio::task::yield_now().await;
        }
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn refuses(&self, reason: &str, leader: Option<SocketAddr>) {
        let metadata = leader.map(|leader| (LEADER.to_owned(), format!("http://{leader}")));
        let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::from_iter(metadata));
        let status = Status::with_error_details(Code::Unavailable, "not here", details);
        self.says.send_replace(Some(status));
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end();
    }
}

/// Takes connections, and never says anything.
async fn frozen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

fn reach(addresses: &[SocketAddr]) -> Reach {
    let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    named(&addresses.join(","), names::as_the_system)
}

/// The way to those whom these addresses name, as `look_up` has it.
fn named(text: &str, look_up: LookUp) -> Reach {
    let addresses = addresses(text, false).unwrap();
    let options = ReachOptions {
        addresses,
        tls: None,
        ca_key: "CA",
        connect_within: Duration::from_secs(10),
        user_agent: "test",
    };
    Reach::looking_up(options, look_up).unwrap()
}

/// The name of the controller that answers.
async fn ask(reach: &Reach) -> Result<String, Status> {
    let mut system = SystemClient::new(reach.clone());
    let answer = tokio::time::timeout(SOON, system.get_version(v1::GetVersionRequest {}));
    Ok(answer.await.expect("no answer")?.into_inner().version)
}

#[tokio::test]
async fn the_first_that_answers_is_stayed_with_until_it_is_gone() {
    let gone = Controller::start("gone").await;
    let (a, b) = (Controller::start("a").await, Controller::start("b").await);
    let reach = reach(&[gone.address, a.address, b.address]);
    gone.kill().await;
    for _ in 0..3 {
        assert_eq!(ask(&reach).await.unwrap(), "a");
    }
    a.kill().await;
    // The call that meets the loss may fail; whatever comes after it does not.
    let _ = ask(&reach).await;
    for _ in 0..3 {
        assert_eq!(ask(&reach).await.unwrap(), "b");
    }
    let b_was = b.address;
    b.kill().await;
    let _ = ask(&reach).await;
    let error = ask(&reach).await.unwrap_err();
    assert!(ReachError::of(&error).is_some(), "{error:?}");
    assert!(error.message().contains(&format!("http://{b_was}: Connection refused")), "{error}");
    assert_eq!(error.message().matches("http://").count(), 3, "{error}");
}

#[tokio::test]
async fn who_takes_connections_and_says_nothing_is_left_for_the_next() {
    let (frozen, b) = (frozen().await, Controller::start("b").await);
    let began = Instant::now();
    let reach = reach(&[frozen.local_addr().unwrap(), b.address]);
    assert_eq!(ask(&reach).await.unwrap(), "b");
    assert!(began.elapsed() < 2 * HEARD_WITHIN, "{:?}", began.elapsed());
}

#[tokio::test]
async fn who_does_not_lead_is_left_and_a_hint_is_followed_to_those_alone_who_were_given() {
    let [a, b, c, stranger] = ["a", "b", "c", "stranger"].map(Controller::start);
    let (a, b, c, stranger) = (a.await, b.await, c.await, stranger.await);
    let reach = reach(&[a.address, b.address, c.address]);
    assert_eq!(ask(&reach).await.unwrap(), "a");
    a.refuses(NOT_LEADING, Some(c.address));
    assert_eq!(ask(&reach).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(ask(&reach).await.unwrap(), "c");
    c.refuses(NOT_LEADING, Some(stranger.address));
    assert!(ask(&reach).await.is_err());
    a.says.send_replace(None);
    assert_eq!(ask(&reach).await.unwrap(), "a");
    for reason in [NO_LEADER, ENDING] {
        a.refuses(reason, None);
        assert!(ask(&reach).await.is_err());
        assert_eq!(ask(&reach).await.unwrap(), "b");
        b.refuses(reason, None);
        c.refuses(reason, None);
        assert!(ask(&reach).await.is_err() && ask(&reach).await.is_err());
        a.says.send_replace(None);
        b.says.send_replace(None);
        assert_eq!(ask(&reach).await.unwrap(), "a");
    }
    // Whoever is only busy is stayed with.
    a.refuses("BUSY", None);
    assert!(ask(&reach).await.is_err() && ask(&reach).await.is_err());
}

#[tokio::test]
async fn who_is_alone_is_waited_for_and_found_again() {
    let first = Controller::start("first").await;
    let reach = reach(&[first.address]);
    assert_eq!(ask(&reach).await.unwrap(), "first");
    let address = first.address;
    first.kill().await;
    let _ = ask(&reach).await;
    let error = ask(&reach).await.unwrap_err();
    assert_eq!(error.message(), "Connection refused (os error 111)");
    let _next = Controller::at("next", TcpListener::bind(address).await.unwrap());
    assert_eq!(ask(&reach).await.unwrap(), "next");
}

#[tokio::test]
async fn names_that_nobody_answers_for_hold_up_nobody_and_are_told() {
    let hang: LookUp = |_, _| Box::pin(std::future::pending());
    let b = Controller::start("b").await;
    let reach = named(&format!("one.test:3000,{},other.test:3000", b.address), hang);
    let began = Instant::now();
    assert_eq!(ask(&reach).await.unwrap(), "b");
    assert!(began.elapsed() < NAMED_WITHIN, "{:?}", began.elapsed());
    b.kill().await;
    let _ = ask(&reach).await;
    let began = Instant::now();
    let error = ask(&reach).await.unwrap_err();
    assert!(began.elapsed() < 2 * NAMED_WITHIN, "{:?}: one after the other", began.elapsed());
    assert!(error.message().contains("http://one.test:3000: its name was not"), "{error}");
    assert!(error.message().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_name_that_is_slow_to_look_up_is_gone_to_when_nobody_else_answers() {
    let slow: LookUp = |_, port| {
        Box::pin(async move {
            tokio::time::sleep(2 * NAMED_SOON).await;
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        })
    };
    let gone = Controller::start("gone").await;
    let b = Controller::start("b").await;
    let reach = named(&format!("{},b.test:{}", gone.address, b.address.port()), slow);
    gone.kill().await;
    assert_eq!(ask(&reach).await.unwrap(), "b");
}

#[tokio::test]
async fn whom_a_name_named_last_is_gone_to_while_nobody_answers_for_it() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let once: LookUp = |_, port| {
        Box::pin(async move {
            if ASKED.swap(true, Relaxed) {
                std::future::pending::<()>().await;
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
        })
    };
    let first = Controller::start("first").await;
    let address = first.address;
    let reach = named(&format!("once.test:{}", address.port()), once);
    assert_eq!(ask(&reach).await.unwrap(), "first");
    first.kill().await;
    let _ = ask(&reach).await;
    let _next = Controller::at("next", TcpListener::bind(address).await.unwrap());
    assert_eq!(ask(&reach).await.unwrap(), "next");
}
