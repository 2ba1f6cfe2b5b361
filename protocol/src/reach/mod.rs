//! How controllers are reached: of several that may be asked, the one that answers.
//!
//! Any of them will do, because one that does not lead passes calls on. So a [`Reach`] looks for one that answers, stays
//! with it, and goes to the next when its connection breaks, when it is silent, or when it says that it does not lead,
//! knows of nobody who does, or ends. Only addresses that were given are gone to, whatever a controller hints at: what
//! goes with a call may be a token.
//!
//! A connection counts only once something came through it. Who is frozen still takes connections, and nothing that is
//! not safe to say twice may be said to it in vain. Where there is but one to go to, that is not waited for.

mod address;
mod connection;
mod error;
mod names;
mod order;
pub mod tls;

pub use address::{Address, MOST_ADDRESSES, WrongAddress, addresses};
pub use error::ReachError;

use crate::{DOMAIN, ENDING, LEADER, NO_LEADER, NOT_LEADING};
use connection::{Line, open};
use error::{Cause, What};
use http_body_util::{BodyExt as _, Full};
use names::{Known, LookUp, NAMED_SOON, NAMED_WITHIN, Names};
use order::{Begin, Candidate, ordered};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::{HeaderMap, Request, Response},
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt as _;
use tower::{Service, ServiceExt as _};

/// How often a quiet connection is tried. Together with [`KEEP_ALIVE_WITHIN`] it bounds for how long a call may wait at
/// a controller that is frozen, and it is less than what networks take to forget a silent connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// How long a connection may leave that unanswered.
pub const KEEP_ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How much may be under way before the other side has to wait. Large, because a connection whose reader is slow is
/// killed by the transport when many small frames wait in a small window.
const WINDOW: u32 = 8 << 20;
/// How long one of several may take until something comes of it.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// How long a name of another controller's making may take to be looked up.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(1);

/// How long is waited for others who look who is asked; they look for longer only while nobody is.
const LEAVE_WITHIN: Duration = Duration::from_millis(250);

/// Whom to reach, and how.
#[derive(Clone, Debug)]
pub struct ReachOptions {
    /// Who may be gone to, the first one first.
    pub addresses: Vec<Address>,
    /// What TLS is spoken with; needed where an address says `https`.
    pub tls: Option<ClientTlsConfig>,
    /// Where the user says which authorities are trusted, for texts.
    pub ca_key: &'static str,
    /// How long a connection may take to come about.
    pub connect_within: Duration,
    /// Who asks, as HTTP says it.
    pub user_agent: &'static str,
}

/// The way to whichever controller answers. Cheap to clone; clones share a connection.
#[derive(Clone, Debug)]
pub struct Reach(Arc<Way>);

#[derive(Debug)]
struct Way {
    addresses: Vec<Address>,
    /// The ways to them, without TLS.
    plain: Vec<Endpoint>,
    ca_key: &'static str,
    connect_within: Duration,
    look_up: LookUp,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How the connections to each address are made.
    endpoints: Vec<Endpoint>,
    /// Where calls go at present.
    turn: Option<Turn>,
    /// How many turns there were.
    turns: u64,
    begin: Begin,
    /// Whom names stood for when they were looked up last.
    known: Known,
    /// What the last search came to, if to nothing: who waited for it does not search again.
    failed: Option<ReachError>,
}

/// One connection, for as long as it is the one.
#[derive(Clone, Debug)]
struct Turn {
    number: u64,
    channel: Channel,
    line: Line,
    candidate: Candidate,
    /// Whether there was nobody else to go to.
    alone: bool,
}

impl Reach {
    /// The way to those whom `options` name. Nothing is sent yet: the first call connects.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(options: ReachOptions) -> Result<Self, tonic::transport::Error> {
        Self::looking_up(options, names::as_the_system)
    }

    fn looking_up(options: ReachOptions, look_up: LookUp) -> Result<Self, tonic::transport::Error> {
        let ReachOptions { addresses, tls, ca_key, connect_within, user_agent } = options;
        let endpoint = |address: &Address| {
            let endpoint = Endpoint::from(address.uri().clone())
                .user_agent(user_agent)?
                .connect_timeout(connect_within)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE_WITHIN)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(WINDOW)
                .initial_connection_window_size(WINDOW);
            Ok::<_, tonic::transport::Error>(endpoint)
        };
        let plain = addresses.iter().map(endpoint).collect::<Result<Vec<_>, _>>()?;
        let state =
            State { endpoints: over(&addresses, &plain, tls.as_ref())?, ..State::default() };
        let state = Mutex::new(state);
        Ok(Self(Arc::new(Way { addresses, plain, ca_key, connect_within, look_up, state })))
    }

    /// From the next call on TLS is spoken with this, over a connection of its own. What is under way stays.
    ///
    /// # Errors
    /// Where TLS cannot be set up: then nothing changes.
    pub async fn renew(&self, tls: &ClientTlsConfig) -> Result<(), tonic::transport::Error> {
        let endpoints = over(&self.0.addresses, &self.0.plain, Some(tls))?;
        let mut state = self.0.state.lock().await;
        state.endpoints = endpoints;
        if let Some(turn) = state.turn.take() {
            state.begin = Begin::With(turn.candidate.socket);
        }
        Ok(())
    }

    /// Goes to the next one from the next call on: who is asked at present did not answer in time. What is under way
    /// there stays.
    pub async fn leave(&self) {
        let state = timeout(LEAVE_WITHIN, self.0.state.lock()).await;
        let number = state.ok().and_then(|state| state.turn.as_ref().map(|turn| turn.number));
        if let Some(number) = number {
            self.0.leave(number, None).await;
        }
    }
}

/// The ways to these addresses, with TLS to those that speak it.
fn over(
    addresses: &[Address],
    plain: &[Endpoint],
    tls: Option<&ClientTlsConfig>,
) -> Result<Vec<Endpoint>, tonic::transport::Error> {
    let each = addresses.iter().zip(plain).map(|(address, endpoint)| {
        match tls.filter(|_| address.is_tls()) {
            Some(tls) => endpoint.clone().tls_config(tls.clone()),
            None => Ok(endpoint.clone()),
        }
    });
    each.collect()
}

impl Way {
    /// Where calls go: who was found, or whoever is found now.
    async fn present(&self) -> Result<Turn, ReachError> {
        let (mut state, waited) = match self.state.try_lock() {
            Ok(state) => (state, false),
            Err(_) => (self.state.lock().await, true),
        };
        match (&state.turn, &state.failed) {
            (Some(turn), _) if turn.line.is_there() => return Ok(turn.clone()),
            (_, Some(failed)) if waited => return Err(failed.clone()),
            _ => {}
        }
        state.failed = None; // or it would be told to those who wait, if this search is given up
        if let Some(gone) = state.turn.take() {
            state.begin = Begin::With(gone.candidate.socket);
        }
        let found = self.search(&mut state).await;
        match &found {
            Ok(turn) => (state.turn, state.failed) = (Some(turn.clone()), None),
            Err(error) => state.failed = Some(error.clone()),
        }
        found
    }

    async fn search(&self, state: &mut State) -> Result<Turn, ReachError> {
        let mut names = Names::look_up(&self.addresses, self.look_up);
        let (mut gone_to, mut tried) = (Vec::new(), Vec::new());
        // A name that nobody answers for holds up nobody who is known.
        for patience in [NAMED_SOON, NAMED_WITHIN] {
            let all = names.wait(patience).await || patience == NAMED_WITHIN;
            let mut candidates = names.candidates(&mut state.known);
            let alone = all && candidates.len() == 1;
            candidates.retain(|candidate| !gone_to.contains(candidate));
            for candidate in ordered(candidates, &state.begin) {
                gone_to.push(candidate);
                match self.open(candidate, alone, state).await {
                    Ok(turn) => return Ok(turn),
                    Err(cause) => tried.push(cause),
                }
            }
            if all {
                break;
            }
        }
        let unknown = names.unknown();
        let mut causes: Vec<_> = unknown
            .map(|(index, why)| Cause::of(&self.addresses[index], None, What::Other(why)))
            .collect();
        causes.append(&mut tried);
        Err(ReachError::new(&self.addresses, causes))
    }

    async fn open(
        &self,
        candidate: Candidate,
        alone: bool,
        state: &mut State,
    ) -> Result<Turn, Cause> {
        // Whoever goes on after this search was given up goes on with the next.
        state.begin = Begin::After(candidate.socket);
        let address = &self.addresses[candidate.address];
        let endpoint = &state.endpoints[candidate.address].clone();
        let line = Line::default();
        let opened = open(endpoint, address, candidate.socket, &line, (!alone, self.ca_key));
        let within = match alone {
            true => self.connect_within,
            false => self.connect_within.min(HEARD_WITHIN),
        };
        let cause = match timeout(within, opened).await {
            Ok(Ok(channel)) => {
                state.turns += 1;
                state.begin = Begin::With(candidate.socket);
                return Ok(Turn { number: state.turns, channel, line, candidate, alone });
            }
            Ok(Err(cause)) => cause,
            Err(_) => What::Other(format!("nothing came from there within {within:?}")),
        };
        Err(Cause::of(address, Some(candidate.socket), cause))
    }

    /// Ends a turn, if it is still the one; `hint` says who leads.
    async fn leave(&self, number: u64, hint: Option<String>) {
        let hinted = match hint {
            Some(hint) => look_up(&hint).await,
            None => None,
        };
        // Where somebody searches, nobody is to be left.
        let Ok(mut state) = timeout(LEAVE_WITHIN, self.state.lock()).await else { return };
        let Some(turn) = state.turn.take_if(|turn| turn.number == number) else { return };
        state.begin = match hinted {
            Some((address, sockets)) => {
                let named = self.addresses.iter().position(|given| given.is_place_of(&address));
                Begin::Hinted { named, sockets, after: turn.candidate.socket }
            }
            None => Begin::After(turn.candidate.socket),
        };
    }

    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        // Whole, and so at hand for the next one where it was certainly not sent: our requests are one message.
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut left = self.addresses.len() + 1;
        loop {
            left -= 1;
            let turn = self.present().await.map_err(ReachError::into_status)?;
            let mut request = Request::new(Body::new(Full::new(body.clone())));
            *request.method_mut() = parts.method.clone();
            *request.uri_mut() = parts.uri.clone();
            *request.headers_mut() = parts.headers.clone();
            let mut channel = turn.channel.clone();
            let answer = async { channel.ready().await?.call(request).await }.await;
            match answer {
                Ok(answer) => {
                    if let Some(hint) = goes_elsewhere(answer.headers()) {
                        self.leave(turn.number, hint).await;
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    self.leave(turn.number, None).await;
                    let address = &self.addresses[turn.candidate.address];
                    if let Some(why) = turn.line.explain(address, self.ca_key) {
                        let cause = Cause::of(address, Some(turn.candidate.socket), why);
                        return Err(ReachError::new(&self.addresses, vec![cause]).into_status());
                    }
                    if left == 0 || turn.alone || !error::is_of_connecting(&error) {
                        return Err(Status::from_error(error.into()));
                    }
                }
            }
        }
    }
}

/// The address that a hint is, and all whom it names.
async fn look_up(hint: &str) -> Option<(Address, Vec<std::net::SocketAddr>)> {
    let address = Address::parse(hint, false).ok()?;
    let looked = tokio::net::lookup_host((address.host(), address.port()));
    let sockets = match timeout(LOOK_UP_WITHIN, looked).await {
        Ok(Ok(sockets)) => sockets.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    Some((address, sockets))
}

/// Whether an answer says that another controller has to be asked, and which one leads.
fn goes_elsewhere(headers: &HeaderMap) -> Option<Option<String>> {
    let unavailable = headers.get(Status::GRPC_STATUS)?;
    if Code::from_bytes(unavailable.as_bytes()) != Code::Unavailable {
        return None;
    }
    let info = Status::from_header_map(headers)?.get_details_error_info()?;
    let ours = info.domain == DOMAIN;
    let elsewhere = [NOT_LEADING, NO_LEADER, ENDING].contains(&info.reason.as_str());
    (ours && elsewhere).then(|| info.metadata.get(LEADER).cloned())
}

impl Service<Request<Body>> for Reach {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = self.0.clone();
        Box::pin(async move { way.call(request).await })
    }
}

#[cfg(test)]
mod tests;
