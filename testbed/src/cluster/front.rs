//! A stand before a cluster's API server: it writes down what is asked, answers some of it itself, and lets the rest
//! through, over connections that can be cut and frozen.

use super::{DONE, Failed, Namespace};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::{
    body::{Body as _, Frame, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    fmt, fs,
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout, Command},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};

/// One question.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `POST`.
    pub method: String,
    /// What is asked for, with all parameters.
    pub path: String,
    /// As whom: the bearer token, or nothing.
    pub token: String,
    /// When.
    pub at: Instant,
}

impl Asked {
    /// Whether it opens a watch.
    #[must_use]
    pub fn is_watch(&self) -> bool {
        self.path.contains("watch=true")
    }
}

/// What becomes of a question.
#[derive(Clone, Debug)]
pub enum Fate {
    /// The API server answers it.
    Pass,
    /// It is answered here: status, headers, body.
    Say(u16, Vec<(&'static str, String)>, String),
}

type Rule = Arc<dyn Fn(&Asked) -> Fate + Send + Sync>;

/// What is done to answers that are under way, by the number of their questions.
#[derive(Clone, Copy, Debug, Default)]
struct Under {
    /// These and all before bring nothing any more, and do not end.
    frozen: usize,
    /// These and all before are cut.
    cut: usize,
}

struct Inner {
    rule: watch::Sender<Rule>,
    asked: watch::Sender<Vec<Asked>>,
    under: watch::Sender<Under>,
    behind: String,
}

/// The stand; it is there for as long as this is.
pub struct Front {
    /// Where it is, as `http://host:port`.
    pub address: String,
    /// The token of the executor's account.
    pub token: String,
    folder: PathBuf,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
    _kubectl: Child,
    _said: BufReader<ChildStdout>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Namespace {
    /// A stand before the API server, which lets all through. Behind it everybody is who his token says.
    ///
    /// # Errors
    ///
    /// What `kubectl` said instead.
    ///
    /// # Panics
    ///
    /// If there is no room for a file, or no port is free.
    pub async fn front(&self) -> Result<Front, Failed> {
        let view = ["config", "view", "--raw", "--minify", "--output=json"];
        let view = self.kubectl_as_executor(&view).await?;
        let mut view: Value = serde_json::from_str(&view).map_err(|e| Failed(e.to_string()))?;
        let token = view["users"][0]["user"]["token"].as_str().unwrap_or_default().to_owned();
        // Else it asks for a name. Whoever brings a token of his own is asked for that one.
        view["users"][0]["user"] = json!({"token": "nobody"});
        let folder = self.kubeconfig().parent().unwrap().to_owned();
        let nobody = folder.join("nobody");
        fs::write(&nobody, view.to_string()).unwrap();
        let mut kubectl = Command::new(&self.cluster().kubectl);
        kubectl.arg("--kubeconfig").arg(nobody).args(["proxy", "--port=0"]);
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut kubectl = kubectl.spawn().map_err(|error| Failed(error.to_string()))?;
        let mut said = BufReader::new(kubectl.stdout.take().unwrap());
        let mut line = String::new();
        // Starting to serve on 127.0.0.1:34567
        let read = timeout(DONE, said.read_line(&mut line)).await;
        let Some(behind) = line.trim().rsplit(' ').next().filter(|_| matches!(read, Ok(Ok(1..))))
        else {
            return Err(Failed(format!("kubectl proxy: {line}")));
        };
        let pass: Rule = Arc::new(|_| Fate::Pass);
        let inner = Arc::new(Inner {
            rule: watch::Sender::new(pass),
            asked: watch::Sender::new(Vec::new()),
            under: watch::Sender::new(Under::default()),
            behind: behind.to_owned(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port is free");
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(accept(listener, inner.clone()));
        Ok(Front { address, token, folder, inner, task, _kubectl: kubectl, _said: said })
    }
}

impl Front {
    /// A kubeconfig of that name that leads here, for a user of whom it says this.
    ///
    /// # Panics
    ///
    /// If there is no room for a file.
    #[must_use]
    pub fn kubeconfig(&self, name: &str, user: &Value) -> PathBuf {
        let file = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "front",
            "clusters": [{"name": "front", "cluster": {"server": self.address}}],
            "users": [{"name": "front", "user": user}],
            "contexts": [{"name": "front", "context": {"cluster": "front", "user": "front"}}],
        });
        let path = self.folder.join(name);
        fs::write(&path, file.to_string()).unwrap();
        path
    }

    /// A folder for files of the test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What becomes of each question from now on.
    pub fn rule(&self, rule: impl Fn(&Asked) -> Fate + Send + Sync + 'static) {
        self.inner.rule.send_replace(Arc::new(rule));
    }

    /// All that was asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.inner.asked.borrow().clone()
    }

    /// Answers that are under way bring nothing any more, and do not end; new ones are as they were.
    pub fn freeze(&self) {
        let all = self.inner.asked.borrow().len();
        self.inner.under.send_modify(|under| under.frozen = all);
    }

    /// Answers that are under way are cut.
    pub fn cut(&self) {
        let all = self.inner.asked.borrow().len();
        self.inner.under.send_modify(|under| under.cut = all);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, inner: Arc<Inner>) {
    let mut connections = JoinSet::new(); // they end with this task
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let inner = inner.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let inner = inner.clone();
                async move { inner.answer(request).await }
            });
            let connection = server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await; // cut, or over
        });
    }
}

impl Inner {
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<Answer>> {
        let token = request.headers().get(AUTHORIZATION).and_then(|token| token.to_str().ok());
        let token = token.and_then(|token| token.strip_prefix("Bearer ")).unwrap_or_default();
        let asked = Asked {
            method: request.method().to_string(),
            path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            token: token.to_owned(),
            at: Instant::now(),
        };
        let rule = self.rule.borrow().clone();
        let fate = rule(&asked);
        let mut number = 0;
        self.asked.send_modify(|all| {
            all.push(asked);
            number = all.len();
        });
        match fate {
            Fate::Pass => self.pass(request, number).await,
            Fate::Say(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                response.body(Answer::whole(body)).map_err(io::Error::other)
            }
        }
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        number: usize,
    ) -> io::Result<Response<Answer>> {
        let host = self.behind.parse().map_err(io::Error::other)?;
        request.headers_mut().insert("host", host);
        let stream = TcpStream::connect(&self.behind).await?;
        let handshake = client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        let connection = tokio::spawn(connection);
        let sent = sender.send_request(request).await;
        let Ok(response) = sent else {
            let response = Response::builder().status(StatusCode::BAD_GATEWAY);
            return response.body(Answer::whole(String::new())).map_err(io::Error::other);
        };
        let under = self.under.subscribe();
        Ok(response.map(|body| {
            let (put, take) = mpsc::channel(1);
            tokio::spawn(async move {
                let frozen = reaches(under.clone(), |under| under.frozen >= number);
                tokio::select! {
                    biased;
                    () = reaches(under, |under| under.cut >= number) => {
                        let _ = put.send(Err(io::Error::other("cut"))).await; // nobody reads any more
                    }
                    () = put.closed() => {}
                    () = pump(body, &put, frozen) => {}
                }
                connection.abort();
            });
            Answer(take)
        }))
    }
}

/// Carries an answer along until it ends, or for ever once it is frozen.
async fn pump(
    mut body: Incoming,
    put: &mpsc::Sender<io::Result<Frame<Bytes>>>,
    frozen: impl Future<Output = ()>,
) {
    let carried = async {
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            if put.send(frame.map_err(io::Error::other)).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = frozen => std::future::pending().await,
        () = carried => {}
    }
}

/// Waits until that is done to an answer; for ever if nobody is left who could do it.
async fn reaches(mut under: watch::Receiver<Under>, wanted: impl Fn(&Under) -> bool) {
    if under.wait_for(wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// An answer as it comes.
struct Answer(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Answer {
    fn whole(text: String) -> Self {
        let (put, take) = mpsc::channel(1);
        let _ = put.try_send(Ok(Frame::data(text.into()))); // there is room
        Self(take)
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context)
    }
}
