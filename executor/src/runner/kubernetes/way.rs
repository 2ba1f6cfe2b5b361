//! The way of each call to the API server: as whom it is made, and what its answer says to all who call.
//!
//! A token that is in a file is read from there again each minute, and whenever the API server does not know it. What is
//! empty or no token is not believed, and where a new one is not known, the last that was known is used on: it may be
//! half written. Whatever else names this executor (a program, a certificate, a kubeconfig that is written anew) is
//! asked for again when it has run out or is not known any more. A call that was not known is repeated once. An API server
//! whose certificate is of an authority that is not known leads to the same: it may be a new one, and stand there by now.
//!
//! Whoever says who we are is asked by one task at a time, however many calls wait for that, and goes on where they give
//! up. A call waits for it for a part of its own time, and not at all while what is known still holds.

mod program;
mod token;

use super::{Options, client};
use crate::{link::backoff::doubled, metrics, runner::RunnerError};
use futures::{FutureExt as _, future::BoxFuture};
use jiff::{Timestamp, fmt::rfc2822};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use secrecy::SecretString;
use std::{
    path::Path,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use token::{READ, TokenFile, bearer, same};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, timeout, timeout_at},
};
use tonic::codegen::{
    Service,
    http::{
        HeaderMap, Request, Response, StatusCode, Uri,
        header::{AUTHORIZATION, DATE, RETRY_AFTER},
        request::Parts,
    },
};

/// How long it may take to make a client, and before that a program to say who we are.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// How long a call waits for that: less than it may take in all.
const PATIENCE: Duration = Duration::from_secs(8);
/// The pauses between two tries to get another name: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));
/// The longest pause that an API server is obeyed in.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How much earlier than it runs out a client's certificate is asked for again.
const EARLIER: Duration = Duration::from_secs(60);

/// What an executor is told that the API server does not know.
pub(super) const UNKNOWN: &str = "it does not know this executor any more (401): its token may have run out; look at what \
     the kubeconfig or the pod's service account gives it";

/// The way of all calls.
pub(super) struct Way {
    options: Options,
    login: Mutex<Login>,
    /// Why the API server does not know us, if it does not.
    unknown: watch::Sender<Option<String>>,
    /// No call leaves before: the API server said so.
    not_before: watch::Sender<Option<Instant>>,
}

/// As whom calls are made.
struct Login {
    client: Client,
    token: Option<TokenFile>,
    /// When that runs out, if that is known.
    until: Option<Timestamp>,
    /// How often another one was had.
    made: u64,
    /// How often that was asked for since it was last known, when that last began or ended, and the end of it, if it is
    /// asked for now.
    vain: u32,
    asked: Option<Instant>,
    asking: Option<watch::Receiver<()>>,
}

/// As whom one call is made.
#[derive(Clone)]
struct Name {
    client: Client,
    token: Option<SecretString>,
    made: u64,
}

impl Way {
    /// Makes ready to call. Calls nobody but a program that the kubeconfig names.
    pub(super) async fn new(options: &Options) -> Result<Arc<Self>, RunnerError> {
        let (client, token, until) = login(options).await.map_err(RunnerError::Refused)?;
        let login = Login { client, token, until, made: 0, vain: 0, asked: None, asking: None };
        Ok(Arc::new(Self {
            options: options.clone(),
            login: Mutex::new(login),
            unknown: watch::Sender::new(None),
            not_before: watch::Sender::new(None),
        }))
    }

    /// A client whose calls go this way.
    pub(super) fn client(self: &Arc<Self>) -> Client {
        Client::new(Caller(self.clone()), self.options.default_namespace.clone())
    }

    /// Why the API server does not know this executor, if it does not, as that changes.
    pub(super) fn unknown(&self) -> watch::Receiver<Option<String>> {
        self.unknown.subscribe()
    }

    /// Before when no call is to leave, as the API server says it.
    pub(super) fn not_before(&self) -> watch::Receiver<Option<Instant>> {
        self.not_before.subscribe()
    }

    /// The API server wants to be left alone for so long.
    pub(super) fn leave_alone(&self, pause: Duration) {
        let pause = pause.min(LONGEST_PAUSE).mul_f64(1.0 + rand::random::<f64>() / 10.0);
        let until = Instant::now() + pause;
        self.not_before.send_if_modified(|at| {
            let later = at.is_none_or(|at| at < until);
            if later {
                *at = Some(until);
            }
            later
        });
    }

    async fn send(self: &Arc<Self>, request: Request<Body>) -> kube::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let again = body.try_clone();
        let patience = Instant::now() + PATIENCE;
        let name = self.name(patience).await;
        let answer = self.ask(&name, parts.clone(), body).await?;
        let is_unknown = answer.status() == StatusCode::UNAUTHORIZED && !is_of_kubelet(&parts.uri);
        let Some(body) = again.filter(|_| is_unknown) else { return Ok(answer) };
        match self.other_name(&name, patience).await {
            Some(name) => self.ask(&name, parts, body).await,
            None => Ok(answer),
        }
    }

    /// As whom a call is made now.
    async fn name(self: &Arc<Self>, patience: Instant) -> Name {
        let mut login = self.login.lock().await;
        if let Some(file) = login.token.as_mut().filter(|file| file.read.elapsed() >= READ) {
            file.read().await;
        }
        let now = Timestamp::now();
        let is_due = |until: &Timestamp| until.checked_sub(EARLIER).is_ok_and(|at| at <= now);
        let Some(until) = login.until.filter(is_due) else { return login.name() };
        let asking = self.begin_to_ask(&mut login);
        let Some(asking) = asking.filter(|_| until <= now) else { return login.name() };
        drop(login);
        is_over(asking, patience).await;
        self.login.lock().await.name()
    }

    /// Another name than one that is not known; none: there is none at present.
    async fn other_name(self: &Arc<Self>, unknown: &Name, patience: Instant) -> Option<Name> {
        let mut login = self.login.lock().await;
        if login.made == unknown.made {
            let other = match (&mut login.token, &unknown.token) {
                (Some(file), Some(token)) => file.other_than(token).await,
                _ => false,
            };
            if !other {
                let asking = self.begin_to_ask(&mut login)?;
                drop(login);
                is_over(asking, patience).await;
                login = self.login.lock().await;
                if login.made == unknown.made {
                    return None;
                }
            }
        }
        Some(login.name())
    }

    /// Has whoever says who we are asked again, unless that was just now. The end of it.
    fn begin_to_ask(self: &Arc<Self>, login: &mut Login) -> Option<watch::Receiver<()>> {
        if let Some(asking) = login.asking.as_ref().filter(|asking| asking.has_changed().is_ok()) {
            return Some(asking.clone());
        }
        let pause = doubled(PAUSES, login.vain.saturating_add(1));
        if login.asked.is_some_and(|asked| asked.elapsed() < pause) {
            return None;
        }
        login.asked = Some(Instant::now());
        login.vain = login.vain.saturating_add(1);
        let (over, asking) = watch::channel(());
        login.asking = Some(asking.clone());
        let way = self.clone();
        // A task of its own: who calls may give up, and would only have the next one begin anew.
        tokio::spawn(async move {
            let made = self::login(&way.options).await;
            way.login.lock().await.made(made);
            drop(over);
        });
        Some(asking)
    }

    async fn ask(
        self: &Arc<Self>,
        name: &Name,
        parts: Parts,
        body: Body,
    ) -> kube::Result<Response<Body>> {
        let is_of_kubelet = is_of_kubelet(&parts.uri);
        let mut request = Request::from_parts(parts, body);
        if let Some(value) = name.token.as_ref().and_then(bearer) {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = name.client.send(request).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                metrics::asked_cluster(None);
                let mut login = self.login.lock().await;
                if login.made == name.made && is_of_other_authority(&error) {
                    // The end of it is for the next call: until then this one has failed.
                    let _ = self.begin_to_ask(&mut login);
                }
                return Err(error);
            }
        };
        let status = answer.status();
        metrics::asked_cluster(Some(status.as_u16()));
        if let Some(pause) = asked_pause(answer.headers()) {
            self.leave_alone(pause);
        }
        if status == StatusCode::UNAUTHORIZED {
            if is_of_kubelet {
                return Ok(answer);
            }
            if self.unknown.send_replace(Some(UNKNOWN.to_owned())).is_none() {
                tracing::warn!("the API server: {UNKNOWN}");
            }
        } else if !status.is_server_error() {
            self.known(name).await;
        }
        Ok(answer)
    }

    /// The API server knows this name.
    async fn known(&self, name: &Name) {
        let was_unknown = self.unknown.send_if_modified(|unknown| unknown.take().is_some());
        if was_unknown {
            tracing::info!("the API server knows this executor again");
        }
        let mut login = self.login.lock().await;
        login.vain = 0;
        if let (Some(file), Some(token)) = (&mut login.token, &name.token)
            && file.known.as_ref().is_none_or(|known| !same(known, token))
        {
            file.known = Some(token.clone());
        }
    }
}

impl Login {
    fn name(&self) -> Name {
        let token = self.token.as_ref().map(|file| file.token.clone());
        Name { client: self.client.clone(), token, made: self.made }
    }

    /// Whoever says who we are was asked.
    fn made(&mut self, made: Result<Made, String>) {
        self.asked = Some(Instant::now());
        match made {
            Ok((client, token, until)) => {
                let known = self.token.take().and_then(|file| file.known);
                (self.client, self.token, self.until) = (client, token, until);
                self.made += 1;
                if let Some(file) = &mut self.token {
                    file.known = known;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "who this executor is for the API server cannot be asked for again");
            }
        }
    }
}

/// Waits until something is over, but not for longer than until then.
async fn is_over(mut asking: watch::Receiver<()>, patience: Instant) {
    // Who asks says nothing, and closes it at the end. What comes of it is seen where it is kept.
    let _ = timeout_at(patience, asking.changed()).await;
}

/// A client, the file of its token, and when it runs out.
type Made = (Client, Option<TokenFile>, Option<Timestamp>);

/// A client without the token that is in a file, that file, and when that client runs out.
async fn login(options: &Options) -> Result<Made, String> {
    let mut config = client::config(options).await?;
    config.connect_timeout = Some(client::CONNECT);
    // Each call is tried again by who made it, who knows what for.
    config.default_retry = false;
    let login = &mut config.auth_info;
    // A name without its password is nobody's.
    let basic = login.username.is_some() && login.password.is_some();
    let other = login.token.is_some() || basic || login.auth_provider.is_some();
    let token = match login.token_file.take_if(|_| !other) {
        Some(path) => Some(TokenFile::open(Path::new(&path)).await?),
        None => None,
    };
    let exec = login.exec.take().filter(|_| !other && token.is_none());
    let until = match exec {
        Some(exec) => {
            let until = program::ask(login, &exec, MADE_WITHIN).await;
            until.map_err(|why| client::unusable(&why))?
        }
        None => None,
    };
    // For a few kinds of kubeconfig a program is run here, too, which blocks.
    let made = tokio::task::spawn_blocking(move || made(config));
    let client = match timeout(MADE_WITHIN, made).await {
        Ok(Ok(client)) => client.map_err(|error| client::unusable(&client::chain(&error)))?,
        Ok(Err(error)) => return Err(format!("the cluster's client cannot be made: {error}")),
        Err(_) => {
            return Err(client::unusable(&format!("no client was made within {MADE_WITHIN:?}")));
        }
    };
    let until = until.or(*client.valid_until());
    Ok((client, token, until))
}

fn made(config: Config) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.build())
}

/// Whether whoever is at the API server's address proves it with a certificate that we have no reason to believe.
fn is_of_other_authority(error: &kube::Error) -> bool {
    client::chain(error).contains("invalid peer certificate")
}

/// Whether a kubelet answers, through the API server: where it does not know the API server, that says nothing of us.
fn is_of_kubelet(asked: &Uri) -> bool {
    asked.path().ends_with("/log")
}

/// How long an answer asks to be left alone: in seconds, or until a time by the clock of who answered.
fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let time = |text: &str| rfc2822::parse(text).ok().map(|time| time.timestamp());
    let now = headers.get(DATE).and_then(|date| date.to_str().ok()).and_then(time);
    let pause = time(text)?.duration_since(now.unwrap_or_else(Timestamp::now));
    Duration::try_from(pause).ok()
}

/// Who calls for [`Client`].
#[derive(Clone)]
struct Caller(Arc<Way>);

impl Service<Request<Body>> for Caller {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, kube::Result<Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = self.0.clone();
        async move { way.send(request).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
