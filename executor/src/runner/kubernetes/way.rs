//! The way of each call to the API server: as whom it is made, and what its answer says to all who call.
//!
//! A token that is in a file is read from there again each minute, and whenever the API server does not know it. What is
//! empty or no token is not believed, and where a new one is not known, the last that was known is used on: it may be
//! half written. Whatever else names this executor (a program, a certificate, a kubeconfig that is written anew) is
//! asked for again when it has run out or is not known any more. A call that was not known is repeated once.

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
    time::{Instant, timeout},
};
use tonic::codegen::{
    Service,
    http::{
        HeaderMap, Request, Response, StatusCode,
        header::{AUTHORIZATION, DATE, RETRY_AFTER},
        request::Parts,
    },
};

/// How long it may take to make a client: a program may be asked who we are.
const MADE_WITHIN: Duration = Duration::from_secs(30);
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
    /// How often that was asked for, and in vain in a row.
    made: u64,
    vain: u32,
    asked: Instant,
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
        let (client, token) = login(options).await.map_err(RunnerError::Refused)?;
        let login = Login { client, token, made: 0, vain: 0, asked: Instant::now() };
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

    async fn send(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let again = body.try_clone();
        let name = self.name().await;
        let answer = self.ask(&name, parts.clone(), body).await?;
        let Some(body) = again.filter(|_| answer.status() == StatusCode::UNAUTHORIZED) else {
            return Ok(answer);
        };
        match self.other_name(&name).await {
            Some(name) => self.ask(&name, parts, body).await,
            None => Ok(answer),
        }
    }

    /// As whom a call is made now.
    async fn name(&self) -> Name {
        let mut login = self.login.lock().await;
        if let Some(file) = login.token.as_mut().filter(|file| file.read.elapsed() >= READ) {
            file.read().await;
        }
        let until = login.client.valid_until().and_then(|until| until.checked_sub(EARLIER).ok());
        if until.is_some_and(|until| until <= Timestamp::now()) {
            login.ask_again(&self.options).await;
        }
        login.name()
    }

    /// Another name than one that is not known; none: there is none at present.
    async fn other_name(&self, unknown: &Name) -> Option<Name> {
        let mut login = self.login.lock().await;
        if login.made == unknown.made {
            let other = match (&mut login.token, &unknown.token) {
                (Some(file), Some(token)) => file.other_than(token).await,
                _ => false,
            };
            if !other && !login.ask_again(&self.options).await {
                return None;
            }
        }
        Some(login.name())
    }

    async fn ask(&self, name: &Name, parts: Parts, body: Body) -> kube::Result<Response<Body>> {
        let mut request = Request::from_parts(parts, body);
        if let Some(value) = name.token.as_ref().and_then(bearer) {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = name.client.send(request).await;
        let Ok(answer) = answer else {
            metrics::asked_cluster(None);
            return answer;
        };
        let status = answer.status();
        metrics::asked_cluster(Some(status.as_u16()));
        if let Some(pause) = asked_pause(answer.headers()) {
            self.leave_alone(pause);
        }
        if status == StatusCode::UNAUTHORIZED {
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

    /// Asks whoever says who we are again, unless it was asked just now. Whether that worked.
    async fn ask_again(&mut self, options: &Options) -> bool {
        let pause = doubled(PAUSES, self.vain.saturating_add(1));
        if self.made > 0 && self.asked.elapsed() < pause {
            return false;
        }
        (self.asked, self.made) = (Instant::now(), self.made + 1);
        self.vain = self.vain.saturating_add(1);
        match login(options).await {
            Ok((client, token)) => {
                let known = self.token.take().and_then(|file| file.known);
                self.client = client;
                self.token = token;
                if let Some(file) = &mut self.token {
                    file.known = known;
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "who this executor is for the API server cannot be asked for again");
                false
            }
        }
    }
}

/// A client without the token that is in a file, and that file.
async fn login(options: &Options) -> Result<(Client, Option<TokenFile>), String> {
    let mut config = client::config(options).await?;
    config.connect_timeout = Some(client::CONNECT);
    // Each call is tried again by who made it, who knows what for.
    config.default_retry = false;
    let login = &mut config.auth_info;
    let other = login.token.is_some() || login.username.is_some() || login.auth_provider.is_some();
    let token = match login.token_file.take_if(|_| !other) {
        Some(path) => Some(TokenFile::open(Path::new(&path)).await?),
        None => None,
    };
    // A program may be run for that, which blocks.
    let made = tokio::task::spawn_blocking(move || made(config));
    let client = match timeout(MADE_WITHIN, made).await {
        Ok(Ok(client)) => client.map_err(|error| client::unusable(&client::said(&error)))?,
        Ok(Err(error)) => return Err(format!("the cluster's client cannot be made: {error}")),
        Err(_) => {
            return Err(client::unusable(&format!(
                "the program of its `exec` did not say within {MADE_WITHIN:?} who this executor is"
            )));
        }
    };
    Ok((client, token))
}

fn made(config: Config) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.build())
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
mod tests {
    use super::*;
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
}
