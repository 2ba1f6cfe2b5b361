//! A webhook that the API server asks before it makes pods, as a service mesh has one.

use super::{DONE, Failed, Namespace};
use data_encoding::BASE64;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Bytes, Incoming},
    server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::{
    fmt,
    fs::{self, File},
    io,
    net::TcpListener as Listener,
    os::fd::AsFd as _,
    path::Path,
    sync::Arc,
    thread,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// Whether a pod is changed, and how: operations of a JSON patch.
type Change = Arc<dyn Fn(&Value) -> Vec<Value> + Send + Sync>;

/// A webhook; it is asked about each new pod of its namespace as long as this is.
pub struct Webhook {
    task: JoinHandle<()>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Namespace {
    /// A webhook that changes each new pod of this namespace. Once it is gone no more pods can be made here: its
    /// configuration is there until the namespace is deleted.
    ///
    /// # Errors
    ///
    /// What the cluster said; that it is not the development cluster.
    ///
    /// # Panics
    ///
    /// If there is no room for a file, or no port is free.
    pub async fn webhook(
        &self,
        change: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static,
    ) -> Result<Webhook, Failed> {
        let Some(state) = &self.cluster().state else {
            return Err(Failed(
                "only the API server of the development cluster can be given a webhook".to_owned(),
            ));
        };
        let listener = inside(state).map_err(|error| Failed(format!("a webhook: {error}")))?;
        let port = listener.local_addr().unwrap().port();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .and_then(|tls| {
                tls.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key)
            })
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::from_std(listener).unwrap();
        let task = tokio::spawn(accept(listener, acceptor, Arc::new(change)));
        // From here on it ends with its maker.
        let webhook = Webhook { task };
        let name = self.name();
        let uid =
            self.kubectl(&["get", "namespace", name, "--output=jsonpath={.metadata.uid}"]).await?;
        let owner =
            json!({ "apiVersion": "v1", "kind": "Namespace", "name": name, "uid": uid.trim() });
        self.kubectl(&["label", "namespace", name, &format!("octavius-webhook={name}")]).await?;
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": name, "ownerReferences": [owner] },
            "webhooks": [{
                "name": "pods.octavius.test",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "namespaceSelector": { "matchLabels": { "octavius-webhook": name } },
                "rules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"],
                }],
                "clientConfig": {
                    "url": format!("https://127.0.0.1:{port}/"),
                    "caBundle": BASE64.encode(cert.pem().as_bytes()),
                },
            }],
        });
        self.apply(&configuration.to_string()).await?;
        Ok(webhook)
    }
}

/// A listener in the network namespace of the cluster, whose API server asks there.
fn inside(state: &Path) -> io::Result<Listener> {
    let init = fs::read_to_string(state.join("run/init.pid"))?;
    let network = File::open(format!("/proc/{}/ns/net", init.trim()))?;
    let bind = move || {
        // Of this thread alone, which ends here: what it has bound stays where it is.
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        let listener = Listener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    thread::spawn(bind).join().unwrap_or_else(|_| Err(io::Error::other("panicked")))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, change: Change) {
    let mut connections = JoinSet::new(); // they end with this task
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (acceptor, change) = (acceptor.clone(), change.clone());
        connections.spawn(async move {
            let Ok(Ok(stream)) = timeout(DONE, acceptor.accept(stream)).await else { return };
            let service = service_fn(move |request| {
                let change = change.clone();
                async move { review(request, &change).await }
            });
            let connection = server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await; // cut, or over
        });
    }
}

/// Lets a pod in, changed.
async fn review(request: Request<Incoming>, change: &Change) -> io::Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let mut review: Value = serde_json::from_slice(&body)?;
    let patch = Value::Array(change(&review["request"]["object"])).to_string();
    review["response"] = json!({
        "uid": review["request"]["uid"],
        "allowed": true,
        "patchType": "JSONPatch",
        "patch": BASE64.encode(patch.as_bytes()),
    });
    if let Some(review) = review.as_object_mut() {
        review.remove("request");
    }
    let answer = Response::builder().header("content-type", "application/json");
    answer.body(Full::from(review.to_string())).map_err(io::Error::other)
}
