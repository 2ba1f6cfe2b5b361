//! The way to the controller: every call of this executor goes through here.
//!
//! There are two connections: signs of life have their own, so that no log that fills the other one delays them. Where
//! several controllers are named, each goes to one that answers, and to the next when that does not any more.
//! Each call has a deadline, and each answer passes the [`TermGate`]: one of a deposed controller is ignored as if it
//! had not come. The session is known here, so that whoever learns that it is gone tells all others at once. What a
//! failure means is decided in `rules`; who tries again, and when, is the business of who called.

pub mod backoff;
mod calm;
mod certificate;
mod credentials;
mod failure;
pub mod rules;
mod translate;

pub use failure::{Failure, LinkError};

use crate::{
    attempts::{
        ending::Ending,
        shipping::rules::{Acknowledged, Sending},
    },
    lease::{Grant, Held, LeaseName, Order},
    metrics,
    proof::Proof,
    runner::Identity,
    watched::present,
};
use calm::Calm;
use certificate::{Renewal, Shown};
use credentials::Credentials;
use octavius_protocol::{
    DOMAIN, ENDING, LEADER_AWAY, LEVEL, MAX_MESSAGE, NO_LEADER, NOT_LEADING, STARTING, UNCONFIRMED,
    id::{ExecutorId, Session},
    pause,
    reach::{Address, Reach, ReachError, ReachOptions, addresses, tls},
    v1::{self, executors_client::ExecutorsClient},
};
use rules::{Term, TermGate};
use secrecy::SecretString;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Response, Status, service::interceptor::InterceptedService};
use tonic_types::StatusExt as _;

/// What it takes to call the controller.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Host and port of the controller, or of several with commas between them.
    pub controller: String,
    /// The PEM file of the authority whose certificates are trusted; none: those that this machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The files of the certificate that is shown, and of its key; none: none is.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// This executor's id.
    pub executor: ExecutorId,
    /// Proves who this executor is until [`Link::prove_with`] says otherwise; none: it was given nothing to prove it with.
    pub token: Option<SecretString>,
    /// How long a call may take.
    pub deadline: Duration,
}

/// Who registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The executor's id.
    pub executor: ExecutorId,
    /// Where it runs: a UUID that is kept there.
    pub place: String,
    /// This process: a UUID that is new at each start.
    pub instance: String,
    /// `process` or `kubernetes`.
    pub runner: &'static str,
    /// For the placement of jobs.
    pub labels: BTreeMap<String, String>,
    /// How many attempts it takes at once.
    pub capacity: u32,
    /// The installation that it belonged to so far; none: the first time.
    pub installation: Option<String>,
    /// What it adds to the terms of what it runs, where a job does not say.
    pub offer: Offer,
}

/// What an executor's file says of jobs that do not say it themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// How many attempts follow one that failed.
    pub job_retries: u32,
    /// How long a program may run; none: as long as it likes.
    pub timeout: Option<Duration>,
    /// How long an attempt may take until its program runs; none: as the controller says.
    pub start_timeout: Option<Duration>,
}

/// What the controller answered to a registration.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Goes with each later call.
    pub session: Session,
    /// The installation's id.
    pub installation: String,
    /// Silence for so long ends new work for this executor.
    pub ping_deadline: Duration,
    /// What this executor proves itself with from now on; none: with the same as before.
    pub credential: Option<SecretString>,
}

/// What the controller answered to a sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attended {
    /// What to do.
    pub orders: Vec<Order>,
    /// What is granted and was not named as held.
    pub grants: Vec<Grant>,
    /// Whether this executor gets no new work because somebody said so.
    pub drained: bool,
}

/// What is said of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What cannot run yet is made, and has this name.
    Prepared(Identity),
    /// Its program does not run yet: what it waits for, in the words of what it waits for; empty where nothing is known.
    Starting(String),
    /// Its program runs.
    Running,
    /// Its program ran when it was last seen: why it is not known whether it still does.
    Unseen(String),
    /// It is over.
    Ended(Ending),
}

impl Event {
    /// The event as a metric's label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Prepared(_) => "prepared",
            Self::Starting(_) => "starting",
            Self::Running | Self::Unseen(_) => "running",
            Self::Ended(_) => "ended",
        }
    }
}

/// What the controller made of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is on disk.
    Recorded,
    /// The end is on disk; the log is wanted from this offset on.
    LogIncomplete(u64),
    /// The attempt is no longer this holder's; with the reason.
    Superseded(String),
}

type Client = ExecutorsClient<InterceptedService<Reach, Credentials>>;

/// The connections to the controller, shared by all who call it.
#[derive(Clone, Debug)]
pub struct Link {
    /// For what keeps the session.
    signs: Client,
    /// For work, reports and logs.
    client: Client,
    /// Both ways, that of the signs of life first.
    ways: [Reach; 2],
    credentials: Credentials,
    /// Where what proves this executor comes from; none: it was said when this was made.
    proof: Option<Proof>,
    deadline: Duration,
    terms: Arc<watch::Sender<TermGate>>,
    session: Arc<watch::Sender<Option<Session>>>,
    /// When the newest Attend that was answered was sent; before any was, when this was made.
    heard: Arc<watch::Sender<Instant>>,
    calm: Calm,
    /// What the log was told of TLS that did not come about, since a call was answered last.
    told_of_tls: Arc<watch::Sender<Option<String>>>,
    /// It ends with the last clone of this.
    _renewal: Option<Arc<Renewal>>,
}

/// An answer, with the term of the controller that gave it.
trait Termed {
    fn term(&self) -> Option<v1::Term>;
}

macro_rules! termed {
    ($($answer:ident),+) => {$(
        impl Termed for v1::$answer {
            fn term(&self) -> Option<v1::Term> {
                self.term
            }
        }
    )+};
}
termed!(RegisterResponse, AttendResponse, PollResponse, ReportResponse, AppendResponse);

/// Whether the controller that led ends, is gone, or cannot lead at present.
fn leader_is_gone(status: &Status) -> bool {
    let info = status.get_details_error_info();
    let gone = [NOT_LEADING, NO_LEADER, LEADER_AWAY, STARTING, ENDING, UNCONFIRMED];
    info.is_some_and(|info| info.domain == DOMAIN && gone.contains(&info.reason.as_str()))
}

impl Link {
    /// Connections that are made when they are first used, and again whenever they are lost. Call it on a tokio runtime.
    pub fn new(options: &LinkOptions) -> Result<Self, LinkError> {
        let ca = options.ca_file.as_deref();
        let addresses = addresses(&options.controller, ca.is_some()).map_err(LinkError::Address)?;
        let tls = addresses.iter().any(Address::is_tls).then(|| tls::trusting(ca));
        let tls = tls.transpose().map_err(LinkError::Ca)?;
        let shown = match (&options.certificate, &tls) {
            (None, _) => None,
            (Some(_), None) => return Err(LinkError::Plain),
            (Some(files), Some(tls)) => Some(Shown::open(files, tls).map_err(LinkError::Own)?),
        };
        let reach = ReachOptions {
            addresses,
            tls: shown.as_ref().map(Shown::tls).or(tls),
            ca_key: "tls_ca_file",
            connect_within: options.deadline,
            user_agent: concat!("octavius-executor/", env!("CARGO_PKG_VERSION")),
        };
        let way = || Reach::new(reach.clone()).map_err(LinkError::Tls);
        let ways = [way()?, way()?];
        let renewal = shown.map(|shown| Arc::new(shown.renewed_for(ways.clone())));
        let credentials = Credentials::new(options)?;
        let client = |way: &Reach| {
            ExecutorsClient::with_interceptor(way.clone(), credentials.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE)
        };
        Ok(Self {
            signs: client(&ways[0]),
            client: client(&ways[1]),
            ways,
            credentials,
            proof: None,
            deadline: options.deadline,
            terms: Arc::default(),
            session: Arc::default(),
            heard: Arc::new(watch::Sender::new(Instant::now())),
            calm: Calm::default(),
            told_of_tls: Arc::default(),
            _renewal: renewal,
        })
    }

    /// How long a call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The same, with what this executor has got to prove itself with.
    #[must_use]
    pub fn proving(self, proof: Proof) -> Self {
        Self { proof: Some(proof), ..self }
    }

    /// Where what proves this executor comes from, if that was said.
    pub fn proof(&self) -> Option<&Proof> {
        self.proof.as_ref()
    }

    /// From now on all calls go with this token.
    pub fn prove_with(&self, token: Option<&SecretString>) {
        self.credentials.prove_with(token);
    }

    /// What follows the session: none while there is none.
    pub fn sessions(&self) -> watch::Receiver<Option<Session>> {
        self.session.subscribe()
    }

    /// The session; waits until there is one, for ever if need be: nothing can be said to the controller before.
    pub async fn session(&self) -> Session {
        present(&mut self.session.subscribe(), |_| true).await
    }

    /// When the newest Attend that was answered was sent; before any was, when this was made.
    pub fn heard(&self) -> watch::Receiver<Instant> {
        self.heard.subscribe()
    }

    /// From now on this is the session.
    pub fn open(&self, session: Session) {
        self.session.send_replace(Some(session));
    }

    /// This session is gone; if another one is open by now, that one stays.
    pub fn close(&self, gone: Session) {
        self.session.send_if_modified(|session| {
            let was = *session == Some(gone);
            if was {
                *session = None;
            }
            was
        });
    }

    /// Opens a session with the controller. Never fails as `SessionGone`: there was none.
    pub async fn register(&self, registration: &Registration) -> Result<Registered, Failure> {
        let request = v1::RegisterRequest {
            executor: registration.executor.to_string(),
            place: registration.place.clone(),
            instance: registration.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_level: LEVEL,
            runner: registration.runner.to_owned(),
            labels: registration.labels.clone().into_iter().collect(),
            capacity: registration.capacity,
            installation: registration.installation.clone().unwrap_or_default(),
            job_retries: registration.offer.job_retries,
            default_timeout: registration.offer.timeout.and_then(|time| time.try_into().ok()),
            default_start_timeout: registration
                .offer
                .start_timeout
                .and_then(|time| time.try_into().ok()),
        };
        let mut client = self.signs.clone();
        let answer = self.call("Register", self.deadline, client.register(request)).await;
        let answer = answer.map_err(Failure::of_registration)?;
        let ping_deadline = answer.ping_deadline.and_then(translate::duration);
        let Some(ping_deadline) = ping_deadline.filter(|deadline| !deadline.is_zero()) else {
            return Err(Failure::nonsense("a registration without a ping deadline"));
        };
        let session = Session(answer.session);
        let credential = Some(answer.credential).filter(|credential| !credential.is_empty());
        let credential = credential.map(SecretString::from);
        Ok(Registered { session, installation: answer.installation, ping_deadline, credential })
    }

    /// Says what is held here and what is not seen, and waits for orders: `wait` there, and for `within` here.
    pub async fn attend(
        &self,
        session: Session,
        held: &[Held],
        unseen: Option<String>,
        wait: Duration,
        within: Duration,
    ) -> Result<Attended, Failure> {
        let request = v1::AttendRequest {
            session: session.0,
            held: translate::named(held),
            wait: prost_types::Duration::try_from(wait).ok(),
            unseen: unseen.unwrap_or_default(),
        };
        let mut client = self.signs.clone();
        let sent = Instant::now();
        let answer = self.call("Attend", within, client.attend(request)).await;
        let answer = self.of_session(session, answer)?;
        self.heard.send_replace(sent);
        self.calm.spread(answer.spread.and_then(translate::duration).unwrap_or_default());
        let (orders, grants) =
            (translate::sensible(answer.orders), translate::sensible(answer.grants));
        Ok(Attended { orders, grants, drained: answer.drained })
    }

    /// Asks for work for `free` places, and waits for it, `wait` at the most.
    pub async fn poll(
        &self,
        session: Session,
        free: u32,
        held: &[Held],
        wait: Duration,
    ) -> Result<Vec<Grant>, Failure> {
        let request = v1::PollRequest {
            session: session.0,
            free,
            wait: prost_types::Duration::try_from(wait).ok(),
            held: translate::named(held),
        };
        let mut client = self.client.clone();
        let answer = self.call("Poll", self.deadline, client.poll(request)).await;
        Ok(translate::sensible(self.of_session(session, answer)?.grants))
    }

    /// Says what became of an attempt.
    pub async fn report(
        &self,
        session: Session,
        lease: LeaseName,
        event: &Event,
    ) -> Result<Verdict, Failure> {
        use v1::report_request::Event as Said;
        let said = match event.clone() {
            Event::Prepared(Identity(identity)) => Said::Prepared(v1::Prepared { identity }),
            Event::Starting(reason) => Said::Starting(v1::Starting { reason }),
            Event::Running => Said::Running(v1::Running::default()),
            Event::Unseen(unseen) => Said::Running(v1::Running { unseen }),
            Event::Ended(ending) => Said::Ended(ending.into()),
        };
        let request =
            v1::ReportRequest { session: session.0, lease: Some(lease.into()), event: Some(said) };
        let mut client = self.client.clone();
        let answer = self.call("Report", self.deadline, client.report(request)).await;
        let verdict = self.of_session(session, answer).and_then(|answer| match answer.verdict() {
            v1::ReportVerdict::Recorded => Ok(Verdict::Recorded),
            v1::ReportVerdict::LogIncomplete => Ok(Verdict::LogIncomplete(answer.log_offset)),
            v1::ReportVerdict::Superseded => Ok(Verdict::Superseded(answer.reason)),
            v1::ReportVerdict::Unspecified => Err(Failure::nonsense("an unknown verdict")),
        });
        metrics::reported(event, &verdict);
        verdict
    }

    /// Appends to the log of an attempt; with nothing to send it asks, at `next`, how far the log is.
    pub async fn append(
        &self,
        session: Session,
        lease: LeaseName,
        sending: Option<Sending>,
        next: u64,
    ) -> Result<Acknowledged, Failure> {
        let (offset, chunks, cursor) = match sending {
            None => (next, Vec::new(), Vec::new()),
            Some(sending) => (sending.offset, sending.chunks, sending.cursor.into()),
        };
        let request = v1::AppendRequest {
            session: session.0,
            lease: Some(lease.into()),
            offset,
            chunks: chunks.into_iter().map(translate::chunk).collect(),
            cursor,
        };
        let mut client = self.client.clone();
        let answer = self.call("Append", self.deadline, client.append(request)).await;
        let answer = self.of_session(session, answer)?;
        Ok(Acknowledged {
            next: answer.next_offset,
            next_crc: answer.next_crc,
            next_cursor: answer.next_cursor.into(),
            closed: answer.closed,
        })
    }

    fn of_session<T>(&self, session: Session, answer: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure::SessionGone(_)) = &answer {
            self.close(session);
        }
        answer
    }

    async fn call<T: Termed>(
        &self,
        method: &'static str,
        within: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.calm.wait().await;
        let began = Instant::now();
        let answer = match tokio::time::timeout(within, call).await {
            Ok(answer) => answer,
            Err(_) => {
                self.late(method).await;
                Err(Status::deadline_exceeded(format!("no answer within {within:?}")))
            }
        };
        let code = answer.as_ref().map_or_else(Status::code, |_| Code::Ok);
        metrics::called(method, code, began.elapsed());
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                self.failed(method, &status).await;
                return Err(Failure::from_status(&status));
            }
        };
        self.calm.found();
        self.told_of_tls.send_if_modified(|told| told.take().is_some());
        let term = answer.term().map(Term::from).unwrap_or_default();
        if self.admits(term) {
            Ok(answer)
        } else {
            let text = "a controller that no longer leads answered: ignored".to_owned();
            Err(Failure::Later { code: Code::Unavailable, text })
        }
    }

    /// A call had no answer in time. Who does not answer a sign of life may be frozen: another controller is asked, and
    /// for work as well.
    async fn late(&self, method: &str) {
        if matches!(method, "Register" | "Attend") {
            for way in &self.ways {
                way.leave().await;
            }
        }
    }

    /// Takes notice of a failure: of a connection that is lost, and of a controller that says when to come back.
    async fn failed(&self, method: &str, status: &Status) {
        if let Some(nobody) = ReachError::of(status).filter(|nobody| nobody.is_about_tls()) {
            self.tell_of_tls(nobody.to_string());
        }
        // A status that came over the wire has no cause here.
        if std::error::Error::source(status).is_some() {
            return self.calm.lost(rand::random());
        }
        if leader_is_gone(status) {
            self.calm.lost(rand::random()); // and everybody else hears the same in this moment
        }
        let hint = status.get_details_retry_info().and_then(|info| info.retry_delay);
        // Who has no session yet says what it was told; a sign of life is not put off.
        let waits = !matches!(method, "Register" | "Attend");
        if let Some(hint) = hint.filter(|_| waits) {
            tokio::time::sleep(pause::hinted(hint, rand::random())).await;
        }
    }

    /// Tells the log once what does not pass by itself, whatever was told before.
    fn tell_of_tls(&self, text: String) {
        let is_new = self.told_of_tls.send_if_modified(|told| {
            let is_new = told.as_ref() != Some(&text);
            *told = Some(text.clone());
            is_new
        });
        if is_new {
            tracing::error!("the controller cannot be asked: {text}");
        }
    }

    fn admits(&self, term: Term) -> bool {
        let mut admitted = false;
        self.terms.send_if_modified(|gate| {
            let highest = gate.highest();
            admitted = gate.admits(term);
            gate.highest() != highest
        });
        admitted
    }
}
