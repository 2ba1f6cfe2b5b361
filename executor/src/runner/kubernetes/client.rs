//! The way to the API server: one client, a deadline on every call, and what an answer means.

use super::{Options, way::Way};
use crate::runner::RunnerError;
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        batch::v1::Job,
        core::v1::{Event, Pod, Secret},
    },
};
use kube::{
    Api, Client, Config, Resource,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use octavius_service::text::cut;
use serde::de::DeserializeOwned;
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tonic::codegen::http::Request;

/// How long a call may take.
const CALL: Duration = Duration::from_secs(15);
/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// Over what time those return who all waited for the API server.
const RETURN: Duration = Duration::from_millis(500);
/// How often the API server's clock is asked for.
pub(super) const CLOCK: Duration = Duration::from_secs(300);

/// The reason of an API server that has no such object. No other 404 is its own.
pub(super) const NOT_FOUND: &str = "NotFound";
/// Before what was said with another 404.
pub(super) const IN_BETWEEN: &str = "a 404 that is not the API server's own: something on the way to it, such as a proxy or \
     a load balancer, or another server at its address, says ";
/// The most bytes of a page that are told.
const MOST_SAID: usize = 200;

/// One cluster, as all who call it share it. Clones are one.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
    way: Arc<Way>,
    /// What the API server's clock said, and when that was here.
    clock: watch::Sender<(Timestamp, Instant)>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// Why a call did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such object, or no such namespace; in the API server's own words. Who stands between us and it cannot
    /// say so: what is taken for gone may be running.
    NotFound(String),
    /// There is one of that name.
    Exists,
    /// It was changed meanwhile.
    Conflict,
    /// What was seen is too old to go on from.
    Expired,
    /// It will not be done; in the API server's words.
    Refused(String),
    /// Who asks may not do it, or nobody may at present; in the API server's words, and with what to do.
    Forbidden(String),
    /// It may work later.
    Later(String),
}

impl Fault {
    /// The fault as a runner's, of what was tried.
    pub(super) fn during(self, what: &str) -> RunnerError {
        let failed = |text: String| RunnerError::Failed {
            what: what.to_owned(),
            source: io::Error::other(text),
        };
        match self {
            Self::Refused(text) | Self::Forbidden(text) => {
                RunnerError::Refused(format!("{what}: {text}"))
            }
            Self::Later(text) => failed(text),
            Self::NotFound(said) => failed(format!("it is not there: {said}")),
            Self::Exists => failed("it is there already".to_owned()),
            Self::Conflict => failed("it was changed meanwhile".to_owned()),
            Self::Expired => failed("what was seen of it is too old".to_owned()),
        }
    }
}

impl Cluster {
    /// Makes ready to call the cluster that the executor's file names. Calls nobody yet.
    pub(super) async fn connect(options: &Options) -> Result<Self, RunnerError> {
        let way = Way::new(options).await?;
        let clock = watch::Sender::new((Timestamp::now(), Instant::now()));
        Ok(Self { client: way.client(), way, clock })
    }

    #[cfg(test)]
    pub(super) fn way_of_tests(&self) -> &Way {
        &self.way
    }

    /// The client itself.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Why the API server does not know this executor, if it does not, as that changes.
    pub(super) fn unknown(&self) -> watch::Receiver<Option<String>> {
        self.way.unknown()
    }

    /// Before when no call is to leave, as the API server says it.
    pub(super) fn not_before(&self) -> watch::Receiver<Option<Instant>> {
        self.way.not_before()
    }

    pub(super) fn jobs(&self, namespace: &str) -> Api<Job> {
        self.api(namespace)
    }

    pub(super) fn pods(&self, namespace: &str) -> Api<Pod> {
        self.api(namespace)
    }

    pub(super) fn secrets(&self, namespace: &str) -> Api<Secret> {
        self.api(namespace)
    }

    pub(super) fn events(&self, namespace: &str) -> Api<Event> {
        self.api(namespace)
    }

    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn everywhere<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Calls, for a limited time, and not before the API server wants to be called.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Fault> {
        left_alone(&self.way.not_before()).await;
        match tokio::time::timeout(CALL, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => Err(Fault::Later(format!("no answer from the API server within {CALL:?}"))),
        }
    }

    /// The object of that name; none: the API server itself says that there is none.
    pub(super) async fn look<K>(&self, api: &Api<K>, name: &str) -> Result<Option<K>, Fault>
    where
        K: Clone + DeserializeOwned + fmt::Debug,
    {
        match self.call(api.get(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(Fault::NotFound(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// What an error means. Obeys the API server if it says when to come back.
    pub(super) fn fault(&self, error: &kube::Error) -> Fault {
        let kube::Error::Api(status) = error else {
            return Fault::Later(format!("the API server cannot be asked: {}", chain(error)));
        };
        let after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        if after > 0 {
            self.way.leave_alone(Duration::from_secs(u64::from(after)));
        }
        meaning(status.code, &status.reason, &status.message)
    }

    /// The time, by the clock of the API server. Whole seconds are what it tells.
    pub(super) fn now(&self) -> Timestamp {
        let (said, when) = *self.clock.borrow();
        said.checked_add(when.elapsed()).unwrap_or(said)
    }

    /// Asks for the API server's clock.
    pub(super) async fn ask_clock(&self) -> Result<(), Fault> {
        let request = Request::get("/version").body(Body::empty());
        let request = request.map_err(|error| Fault::Later(error.to_string()))?;
        let answer = self.call(self.client.send(request)).await?;
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| rfc2822::parse(date).ok()) {
            self.clock.send_replace((date.timestamp(), Instant::now()));
        }
        Ok(())
    }
}

/// Waits until the API server wants to be called again, and not for the same instant as all others.
pub(super) async fn left_alone(not_before: &watch::Receiver<Option<Instant>>) {
    loop {
        let at = (*not_before.borrow()).filter(|at| *at > Instant::now());
        let Some(at) = at else { return };
        tokio::time::sleep_until(at + RETURN.mul_f64(rand::random())).await;
    }
}

/// What a refusal of the API server means.
fn meaning(code: u16, reason: &str, message: &str) -> Fault {
    let said = if message.is_empty() { reason } else { message };
    match (code, reason) {
        (404, NOT_FOUND) => Fault::NotFound(said.to_owned()),
        (404, _) => Fault::Later(format!("{IN_BETWEEN}{}", cut(said.to_owned(), MOST_SAID))),
        (409, "AlreadyExists") => Fault::Exists,
        (409, _) => Fault::Conflict,
        (410, _) => Fault::Expired,
        (401, _) => {
            Fault::Later(format!("the API server says {code}: {said}: {}", super::way::UNKNOWN))
        }
        (403, _) => Fault::Forbidden(format!("{said}{}", granting(said))),
        (400 | 405 | 406 | 413 | 415 | 422, _) => Fault::Refused(said.to_owned()),
        _ => Fault::Later(format!("the API server says {code}: {said}")),
    }
}

/// What to do about a missing right; empty where it is something else that forbids.
fn granting(said: &str) -> &'static str {
    if said.contains(" cannot ") && said.contains("\"configmaps\"") {
        ": bind the role of `deploy/kubernetes/` to the executor's service account, with this name under its `resourceNames`"
    } else if said.contains(" cannot ") {
        ": bind the role of `deploy/kubernetes/` to the executor's service account"
    } else {
        ""
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// That a kubeconfig cannot be used.
pub(super) fn unusable(why: &str) -> String {
    format!(
        "the kubeconfig file cannot be used: {why}; `KUBECONFIG` names it, else it is `~/.kube/config`, and \
         `kube_context` the context in it; or set `runner` to `process` to run jobs as processes of this machine"
    )
}

/// What the executor's file, and the kubeconfig or the pod that it runs in, say of the cluster.
pub(super) async fn config(options: &Options) -> Result<Config, String> {
    if !options.out_of_cluster {
        return Config::incluster().map_err(|error| {
            format!(
                "`kube_config` is not `out-of-cluster`, so the executor has to run in a pod, and it does not seem to: \
                 {error}; set `kube_config` to `out-of-cluster` to read the kubeconfig file, or `runner` to `process` to run \
                 jobs as processes of this machine"
            )
        });
    }
    let file = match &options.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let file = file.map_err(|error| unusable(&error.to_string()))?;
    let chosen = KubeConfigOptions { context: options.context.clone(), ..Default::default() };
    let config = Config::from_custom_kubeconfig(file, &chosen).await;
    config.map_err(|error| unusable(&chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::kubernetes::stub::{Stub, refusal};
    use kube::api::DeleteParams;
    use serde_json::json;

    #[test]
    fn what_the_api_server_says_is_told_apart_by_what_to_do() {
        assert_eq!(meaning(404, "NotFound", "x"), Fault::NotFound("x".to_owned()));
        assert_eq!(meaning(409, "AlreadyExists", "x"), Fault::Exists);
        assert_eq!(meaning(409, "Conflict", "x"), Fault::Conflict);
        assert_eq!(meaning(410, "Expired", "x"), Fault::Expired);
        let invalid = "Job.batch \"octavius-x-1\" is invalid: spec.template: Invalid value";
        assert_eq!(meaning(422, "Invalid", invalid), Fault::Refused(invalid.to_owned()));
        let quota = "jobs.batch \"octavius-x-1\" is forbidden: exceeded quota: q, requested: count/jobs.batch=1";
        assert_eq!(meaning(403, "Forbidden", quota), Fault::Forbidden(quota.to_owned()));
        let rights = "jobs.batch is forbidden: User \"x\" cannot create resource \"jobs\" in API group \"batch\"";
        let Fault::Forbidden(text) = meaning(403, "Forbidden", rights) else { panic!() };
        assert!(text.starts_with(rights) && text.ends_with("service account"), "{text}");
        for code in [401, 429, 500, 503, 504] {
            assert!(matches!(meaning(code, "x", "y"), Fault::Later(text) if text.contains('y')));
        }
    }

    #[tokio::test]
    async fn only_the_api_server_itself_can_say_that_there_is_no_such_object() {
        let page = "<html><body>no healthy upstream</body></html>";
        let stub = Stub::new(move |asked| match &asked.what[..] {
            what if what.ends_with("/page") => (404, json!(page)),
            what if what.ends_with("/router") => (404, json!({"message": "no route", "code": 404})),
            _ => refusal(404, "NotFound"),
        })
        .await;
        let cluster = stub.tools().await.cluster;
        let jobs = cluster.jobs("jobs");
        assert_eq!(cluster.look(&jobs, "gone").await, Ok(None));
        for (name, said) in [("page", page), ("router", "no route")] {
            let looked = cluster.look(&jobs, name).await.unwrap_err();
            let deleted = cluster.call(jobs.delete(name, &DeleteParams::default())).await;
            for fault in [looked, deleted.unwrap_err()] {
                let Fault::Later(words) = &fault else { panic!("{fault:?}") };
                assert!(words.contains("proxy") && words.ends_with(said), "{words}");
            }
        }
    }
}
