//! What the executor may do in the cluster, asked before it takes any work.

use super::{Tools, client::Fault};
use crate::runner::RunnerError;
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::ServiceAccount,
};
use kube::api::PostParams;
use std::fmt;

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

/// What is needed besides in the default namespace, where the executor keeps who it is.
const NEEDED_AT_HOME: (&str, &str, &str, &[&str]) =
    ("", "configmaps", "", &["get", "create", "update"]);

/// A right that the executor lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// In which namespace.
    pub(super) namespace: String,
    /// On what: `jobs.batch`, `pods/log`.
    pub(super) resource: String,
    /// To do what.
    pub(super) verb: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, resource, verb } = self;
        write!(
            f,
            "this executor may not {verb} {resource} in the namespace `{namespace}`: apply the role of \
             `deploy/kubernetes/` there, or `kubectl -n {namespace} create role octavius-{verb} --verb={verb} \
             --resource={resource}` and bind it to the executor's service account"
        )
    }
}

/// What this executor may not do, and needs to.
pub(super) async fn missing(tools: &Tools) -> Result<Vec<Missing>, RunnerError> {
    let mut missing = Vec::new();
    for namespace in &tools.options.namespaces {
        let home = (*namespace == tools.options.default_namespace).then_some(NEEDED_AT_HOME);
        for (group, resource, part, verbs) in NEEDED.into_iter().chain(home) {
            for &verb in verbs {
                let may = may(tools, namespace, group, resource, part, verb).await;
                if !may.map_err(|fault| fault.during("asking what this executor may do"))? {
                    let resource = match (group, part) {
                        ("", "") => resource.to_owned(),
                        ("", part) => format!("{resource}/{part}"),
                        (group, _) => format!("{resource}.{group}"),
                    };
                    missing.push(Missing { namespace: namespace.clone(), resource, verb });
                }
            }
        }
    }
    Ok(missing)
}

async fn may(
    tools: &Tools,
    namespace: &str,
    group: &str,
    resource: &str,
    part: &str,
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
        if let Ok(None) = tools.cluster.call(accounts.get_opt(name)).await {
            without.push(namespace.clone());
        }
    }
    without
}
