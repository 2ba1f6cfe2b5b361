//! An issuer of identity tokens on loopback, as OpenID Connect has it: discovery, keys that rotate, tokens of any claims,
//! and the sign-in from another device of RFC 8628. It can be away, and counts how often it was asked.

use crate::ports::free_port;
use data_encoding::BASE64URL_NOPAD as BASE64URL;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring as provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// For how long a client of it may take to speak TLS.
const DONE: Duration = Duration::from_secs(10);
/// How soon somebody asks who is about to.
const SOON: Duration = Duration::from_secs(20);
/// Whom its tokens are for, unless they say something else.
pub const AUDIENCE: &str = "octavius-tests";

/// The code that it has people enter.
pub const USER_CODE: &str = "WDJB-MJHT";
const DEVICE_CODE: &str = "GmRhmhcxhwAzkoEqiMEg";

/// What it answers to who asks whether somebody has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An error of RFC 8628, such as `authorization_pending`.
    Error(&'static str),
    /// Somebody has, and this is their identity token.
    Token(String),
}

impl Default for Answer {
    fn default() -> Self {
        Self::Error("authorization_pending")
    }
}

/// A key that it signs with.
struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: String) -> Self {
        let (random, how) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        Self { id, pair: EcdsaKeyPair::from_pkcs8(how, made.as_ref(), &random).unwrap() }
    }

    /// As the set of keys has it.
    fn public(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|number| BASE64URL.encode(number));
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y })
    }

    fn signs(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] =
        [header, claims].map(|part| BASE64URL.encode(part.to_string().as_bytes()));
    format!("{header}.{claims}")
}

/// What it answers, and how often it was asked.
#[derive(Debug, Default)]
struct Answers {
    discovery: watch::Sender<Value>,
    keys: watch::Sender<Value>,
    asked: AtomicUsize,
    device: watch::Sender<Answer>,
    /// How often it was asked whether somebody has signed in.
    polled: watch::Sender<usize>,
}

/// The issuer; it answers for as long as this is there, unless it is stopped.
pub struct Issuer {
    /// Its name, and where it is asked.
    pub url: String,
    port: u16,
    key: Key,
    rotated: usize,
    answers: Arc<Answers>,
    tls: Option<TlsAcceptor>,
    /// The certificate that is to be trusted where it speaks TLS, as PEM.
    pub certificate: Option<String>,
    task: Option<JoinHandle<()>>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Issuer {
    /// One that answers without TLS.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn start() -> Self {
        let mut issuer = Self::away();
        issuer.come().await;
        issuer
    }

    /// One that answers over TLS, with a certificate that nobody trusts unless he is told to.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn start_with_tls() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(provider::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|tls| {
                tls.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key)
            });
        let mut issuer = Self::away();
        issuer.url = format!("https://localhost:{}", issuer.port);
        issuer.tls = Some(TlsAcceptor::from(Arc::new(tls.unwrap())));
        issuer.certificate = Some(cert.pem());
        issuer.publish();
        issuer.come().await;
        issuer
    }

    /// One that does not answer yet.
    #[must_use]
    pub fn away() -> Self {
        Self::away_with_key("key-0")
    }

    /// One that does not answer yet, and calls its first key so.
    #[must_use]
    pub fn away_with_key(key: &str) -> Self {
        let port = free_port();
        let issuer = Self {
            url: format!("http://127.0.0.1:{port}"),
            port,
            key: Key::new(key.to_owned()),
            rotated: 0,
            answers: Arc::default(),
            tls: None,
            certificate: None,
            task: None,
        };
        issuer.publish();
        issuer
    }

    fn publish(&self) {
        let url = &self.url;
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") });
        self.answers.discovery.send_replace(discovery);
        // Real ones publish keys that others use for something else, too.
        let others = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "shared" });
        let unknown = json!({ "kty": "PQC", "kid": "new" });
        self.answers.keys.send_replace(json!({ "keys": [others, unknown, self.key.public()] }));
    }

    /// Answers from now on.
    ///
    /// # Panics
    ///
    /// If somebody took its port.
    pub async fn come(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        let (answers, tls) = (self.answers.clone(), self.tls.clone());
        self.task = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new(); // they end with this task
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(talk(stream, tls.clone(), answers.clone()));
            }
        }));
    }

    /// Does not answer from now on: who asks is refused.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await; // it was aborted
        }
    }

    /// How often its keys were fetched, or it was tried.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.answers.asked.load(Relaxed)
    }

    /// Says something else in its discovery document.
    pub fn discovers(&self, document: Value) {
        self.answers.discovery.send_replace(document);
    }

    /// The set of keys that it publishes.
    #[must_use]
    pub fn keys(&self) -> Value {
        self.answers.keys.borrow().clone()
    }

    /// Offers the sign-in from another device, too.
    pub fn offers_device_flow(&self) {
        let url = &self.url;
        self.answers.discovery.send_modify(|document| {
            document["device_authorization_endpoint"] = json!(format!("{url}/device"));
            document["token_endpoint"] = json!(format!("{url}/token"));
            document["scopes_supported"] = json!(["openid", "email", "groups", "phone"]);
        });
    }

    /// Answers so to who asks whether somebody has signed in.
    pub fn answers(&self, answer: Answer) {
        self.answers.device.send_replace(answer);
    }

    /// How often it was asked that.
    #[must_use]
    pub fn polls(&self) -> usize {
        *self.answers.polled.borrow()
    }

    /// Waits until it was asked that, counted from its start.
    ///
    /// # Panics
    ///
    /// If nobody does for long.
    pub async fn polled(&self, times: usize) {
        let mut polled = self.answers.polled.subscribe();
        let waiting = timeout(SOON, polled.wait_for(|polled| *polled >= times));
        waiting.await.expect("nobody asks").unwrap();
    }

    /// Signs with a new key from now on, and publishes that alone.
    pub fn rotate(&mut self) {
        self.rotated += 1;
        self.key = Key::new(format!("key-{}", self.rotated));
        self.publish();
    }

    /// Claims that are right for five minutes.
    ///
    /// # Panics
    ///
    /// If the clock is before 1970.
    #[must_use]
    pub fn claims(&self, name: &str, groups: &[&str]) -> Value {
        json!({
            "iss": self.url, "aud": AUDIENCE, "sub": format!("sub-of-{name}"), "email": name,
            "email_verified": true, "groups": groups, "exp": now() + 300, "iat": now(),
        })
    }

    /// A token that says this, signed with the key of the moment.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.key.signs(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.key.id }), claims)
    }

    /// One that says so in its head what it is not, signed with the key of the moment.
    #[must_use]
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.key.signs(header, claims)
    }

    /// One that somebody else has signed, who says that it was this issuer's key, or one of another name.
    #[must_use]
    pub fn forged(&self, key: Option<&str>, claims: &Value) -> String {
        Key::new(key.unwrap_or(&self.key.id).to_owned()).signs(
            &json!({ "alg": "ES256", "typ": "JWT", "kid": key.unwrap_or(&self.key.id) }),
            claims,
        )
    }

    /// One that nobody has signed, and says so.
    #[must_use]
    pub fn unsigned(&self, claims: &Value) -> String {
        format!("{}.", message(&json!({ "alg": "none", "kid": self.key.id }), claims))
    }

    /// One that takes the public key, which everybody has, for a shared secret.
    #[must_use]
    pub fn by_public_key(&self, claims: &Value) -> String {
        let message = message(&json!({ "alg": "HS256", "kid": self.key.id }), claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.key.pair.public_key().as_ref());
        let signature = hmac::sign(&secret, message.as_bytes());
        format!("{message}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

/// The seconds since 1970, as claims have them.
///
/// # Panics
///
/// If the clock is before that.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

async fn talk(stream: TcpStream, tls: Option<TlsAcceptor>, answers: Arc<Answers>) {
    let service = service_fn(move |request| answer(request, answers.clone()));
    let connection = http1::Builder::new();
    // Cut, or over: whoever asks knows.
    match tls {
        None => {
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        }
        Some(tls) => {
            let Ok(Ok(stream)) = timeout(DONE, tls.accept(stream)).await else { return };
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: Arc<Answers>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let form = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(&form).into_owned().collect();
    let says = |key: &str| form.get(key).map(String::as_str);
    let is_ours = head.method == Method::POST && says("client_id") == Some(AUDIENCE);
    let (status, body) = match head.uri.path() {
        "/.well-known/openid-configuration" => {
            answers.asked.fetch_add(1, Relaxed);
            (StatusCode::OK, answers.discovery.borrow().clone())
        }
        "/keys" => (StatusCode::OK, answers.keys.borrow().clone()),
        "/device" if is_ours && says("scope") == Some("openid email groups") => {
            let page = "http://127.0.0.1:1/activate";
            let body = json!({
                "device_code": DEVICE_CODE, "user_code": USER_CODE, "verification_uri": page,
                "verification_uri_complete": format!("{page}?code={USER_CODE}"),
                "expires_in": 300, "interval": 1,
            });
            (StatusCode::OK, body)
        }
        "/token" if is_ours && says("device_code") == Some(DEVICE_CODE) => {
            answers.polled.send_modify(|polled| *polled += 1);
            match answers.device.borrow().clone() {
                Answer::Error(error) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
                Answer::Token(token) => {
                    let other = json!({ "access_token": "other", "token_type": "Bearer", "id_token": token });
                    (StatusCode::OK, other)
                }
            }
        }
        "/device" | "/token" => (StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" })),
        _ => (StatusCode::NOT_FOUND, Value::Null),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::from(body.to_string())).unwrap_or_default())
}
