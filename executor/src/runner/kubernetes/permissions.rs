//! What the executor may do in the cluster, asked before it takes any work.

use super::{
    Tools,
    client::Fault,
    names::place_name,
    watch::{RIGHTS, Sight},
};
use crate::{link::backoff::growing, runner::RunnerError};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ServiceAccount,
};
use kube::api::PostParams;
use std::{fmt, sync::Arc, time::Duration};

/// The first pause until it is asked again for a right that is missing, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is needed in each namespace: group, resource, part of it, verbs.
const NEEDED: [(&str, &str, &str, &[&str]); 6] = [
    ("batch", "jobs", "", &["get", "list", "watch", "create", "patch", "delete"]),
    ("", "pods", "", &["get", "list", "watch", "delete"]),
    ("", "pods", "log", &["get"]),
    ("", "events", "", &["list", "watch"]),
    ("", "secrets", "", &["get", "create", "delete"]),
    // To say at the start that the pods' account is not there.
    ("", "serviceaccounts", "", &["get"]),
];

/// What is needed besides in the default namespace, where the executor keeps who it is: of one object alone, except that
/// nobody can be allowed to make only that.
const NEEDED_AT_HOME: (&str, &str, &str, &[&str]) = ("", "configmaps", "", &["create"]);
const NEEDED_OF_PLACE: (&str, &str, &str, &[&str]) = ("", "configmaps", "", &["get", "update"]);

/// A right that the executor lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// In which namespace.
    pub(super) namespace: String,
    /// On what: `jobs.batch`, `pods/log`.
    pub(super) resource: String,
    /// On which of them alone; empty: on all.
    pub(super) name: String,
    /// To do what.
    pub(super) verb: &'static str,
}

impl Missing {
    /// Whether an attempt cannot be looked after without it, so that none is taken: without logs and warnings it can.
    fn is_needed(&self) -> bool {
        matches!(&self.resource[..], "jobs.batch" | "pods" | "secrets")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, resource, name, verb } = self;
        let (named, only) = match &name[..] {
            "" => (String::new(), String::new()),
            name => (format!(" `{name}`"), format!(" --resource-name={name}")),
        };
        write!(
            f,
            "this executor may not {verb} {resource}{named} in the namespace `{namespace}`: apply the role of \
             `deploy/kubernetes/` there, or `kubectl -n {namespace} create role octavius-{verb} --verb={verb} \
             --resource={resource}{only}` and bind it to the executor's service account"
        )
    }
}

/// What this executor may not do, and needs to.
pub(super) async fn missing(tools: &Tools) -> Result<Vec<Missing>, RunnerError> {
    let mut missing = Vec::new();
    let place = place_name(&tools.options.executor);
    for namespace in &tools.options.namespaces {
        let mut needed: Vec<_> = NEEDED.into_iter().map(|needed| (needed, "")).collect();
        if *namespace == tools.options.default_namespace {
            needed.extend([(NEEDED_AT_HOME, ""), (NEEDED_OF_PLACE, &place)]);
        }
        for ((group, resource, part, verbs), name) in needed {
            for &verb in verbs {
                let may = may(tools, namespace, (group, resource, part), name, verb).await;
                if !may.map_err(|fault| fault.during("asking what this executor may do"))? {
                    let resource = match (group, part) {
                        ("", "") => resource.to_owned(),
                        ("", part) => format!("{resource}/{part}"),
                        (group, _) => format!("{resource}.{group}"),
                    };
                    let (namespace, name) = (namespace.clone(), name.to_owned());
                    missing.push(Missing { namespace, resource, name, verb });
                }
            }
        }
    }
    Ok(missing)
}

/// Tells which rights are missing without which no work is taken. Whether there are any.
pub(super) fn tell(sight: &Sight, missing: &[Missing]) -> bool {
    let mut needed = missing.iter().filter(|missing| missing.is_needed());
    let (first, more) = (needed.next(), needed.count());
    let why = first.map(|first| match more {
        0 => first.to_string(),
        more => format!("{first} (and {more} more, as its log says)"),
    });
    let is_missing = why.is_some();
    sight.set(RIGHTS, why);
    is_missing
}

/// Asks until all that is needed may be done. Ends then.
pub(super) async fn ask_until_all(tools: Arc<Tools>, sight: Arc<Sight>) {
    let mut asked = 0u32;
    loop {
        asked = asked.saturating_add(1);
        tokio::time::sleep(growing(PAUSES, asked, rand::random())).await;
        match missing(&tools).await {
            Ok(missing) if tell(&sight, &missing) => {}
            Ok(_) => {
                tracing::info!("this executor may do now what it needs to");
                return;
            }
            Err(error) => tracing::debug!(%error, "what this executor may do was not told"),
        }
    }
}

async fn may(
    tools: &Tools,
    namespace: &str,
    (group, resource, part): (&str, &str, &str),
    name: &str,
    verb: &str,
) -> Result<bool, Fault> {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: said(namespace),
                group: said(group),
                resource: said(resource),
                subresource: said(part),
                name: said(name),
                verb: said(verb),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews = tools.cluster.everywhere::<SelfSubjectAccessReview>();
    let answer = tools.cluster.call(reviews.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// The namespaces where the service account of the pods is not there, where that can be seen.
pub(super) async fn without_account(tools: &Tools) -> Vec<String> {
    let mut without = Vec::new();
    for namespace in &tools.options.namespaces {
        let accounts = tools.cluster.api::<ServiceAccount>(namespace);
        let name = &tools.options.service_account_name;
        if let Ok(None) = tools.cluster.look(&accounts, name).await {
            without.push(namespace.clone());
        }
    }
    without
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Runner as _;
    use crate::runner::kubernetes::{KubeRunner, Options, stub::Stub};
    use serde_json::json;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[tokio::test]
    async fn who_may_not_shut_a_gate_takes_no_work_until_it_may() {
        let mended = Arc::new(AtomicBool::new(false));
        let now = mended.clone();
        let stub = Stub::new(move |asked| match asked.what.split_once(' ') {
            Some(("GET", _)) => (200, json!({"metadata": {"resourceVersion": "1"}, "items": []})),
            _ => {
                let asked = &asked.body["spec"]["resourceAttributes"];
                let of_gate = asked["resource"] == "secrets" && asked["verb"] == "delete";
                // Without these two it works.
                let of_less = asked["resource"] == "events" || asked["subresource"] == "log";
                let allowed = !of_less && (!of_gate || now.load(Relaxed));
                (201, json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}}))
            }
        })
        .await;
        let kubeconfig = Some(stub.kubeconfig("nobody", &json!({})));
        let options = Options { kubeconfig, ..Options::example("jobs") };
        let runner = KubeRunner::open(options).await.unwrap();
        let mut sight = runner.sight();
        let lacks = |why: &Option<String>| {
            why.as_ref().is_some_and(|why| why.contains("may not delete secrets"))
        };
        let why = sight.borrow().clone().unwrap();
        assert!(why.contains("may not delete secrets in the namespace `jobs`"), "{why}");
        assert!(why.contains("create role octavius-delete --verb=delete"), "{why}");
        assert!(!why.contains("more, as its log says"), "{why}");
        mended.store(true, Relaxed);
        let soon = Duration::from_secs(20);
        tokio::time::timeout(soon, sight.wait_for(|why| !lacks(why))).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_says_who_the_executor_is_is_asked_for_by_its_name_and_nothing_more() {
        let place = "octavius-executor";
        let stub = Stub::new(move |asked| {
            let asked = &asked.body["spec"]["resourceAttributes"];
            let named = asked["name"] == json!(place) || asked["verb"] == json!("create");
            let allowed = asked["resource"] != json!("configmaps") || named;
            (201, json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}}))
        })
        .await;
        let tools = stub.tools().await;
        assert_eq!(missing(&tools).await.unwrap(), []);
        let named = stub
            .asked()
            .into_iter()
            .filter(|asked| asked.body["spec"]["resourceAttributes"]["name"] == json!(place));
        assert_eq!(named.count(), 2);
        let missing = Missing {
            namespace: "jobs".to_owned(),
            resource: "configmaps".to_owned(),
            name: place.to_owned(),
            verb: "get",
        };
        let said = missing.to_string();
        assert!(
            said.contains("--resource=configmaps --resource-name=octavius-executor`"),
            "{said}"
        );
    }
}
