//! An attempt as a Kubernetes Job and its Secret: a plain function of the work and of what the executor's file says.
//!
//! The Job is made with `parallelism: 0`, so that it cannot run yet. Each container needs a variable of the Secret, the
//! gate: once the program runs the Secret goes, and no container of a second pod of the Job ever starts. Only what others
//! put into the pod later, as a webhook does, has no gate.

pub(super) mod escape;
pub(super) mod kept;
pub(super) mod template;

use super::{
    Options,
    names::{
        ATTEMPT, CONTAINER, EPOCH, EXECUTION, EXECUTOR, GATE, INSTALLATION, JOB, MANAGED_BY,
        OCTAVIUS, SAFE_TO_EVICT, WORK, object_name, text,
    },
};
use crate::configuration::PodSecurity;
use crate::runner::Work;
use escape::escaped;
use k8s_openapi::{
    ByteString, DeepMerge,
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Capabilities, Container, EnvVar, EnvVarSource, PodSpec, PodTemplateSpec,
            ResourceRequirements, SeccompProfile, Secret, SecretKeySelector, SecurityContext,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, OwnerReference},
    },
};
use octavius_protocol::secret::SecretValues;
use std::{collections::BTreeMap, time::Duration};

/// How long an attempt may take until its program runs, where nobody says.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(600);

/// What the object's own deadline, the last resort, leaves to who enforces the limits.
const LAST_RESORT: Duration = Duration::from_secs(60);

/// The name under which the service account is one that every namespace has, and that means nothing.
const NO_ACCOUNT: &str = "default";

/// The Job of an attempt, unable to run yet. An error is for the user: what, where, remedy.
pub(super) fn job(work: &Work, options: &Options) -> Result<Job, String> {
    check(work)?;
    let labels = labels(work, options);
    let mut annotations = options.annotations.clone();
    annotations.insert(SAFE_TO_EVICT.to_owned(), "false".to_owned());
    let ours = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels.clone()),
            annotations: Some(annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(work, options)),
    };
    let mut template =
        template::parse(&work.template, CONTAINER, &options.allowed_template_fields)?;
    template.merge_from(ours);
    if let Some(spec) = &mut template.spec {
        hold_all(spec, work, options.pod_security);
    }
    annotations.insert(WORK.to_owned(), kept::encode(work));
    annotations.insert(EPOCH.to_owned(), work.epoch.0.to_string());
    Ok(Job {
        metadata: ObjectMeta {
            name: Some(object_name(work.attempt)),
            namespace: Some(options.namespace(work).to_owned()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            parallelism: Some(0),
            completions: Some(1),
            backoff_limit: Some(0),
            active_deadline_seconds: active_deadline(work),
            template,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// The Secret that the pods of `job` need: the values that nobody may see, and the gate.
pub(super) fn secret(job: &Job, secrets: &SecretValues) -> Secret {
    let mut data: BTreeMap<String, ByteString> = secrets
        .expose()
        .map(|(name, value)| (name.to_owned(), ByteString(value.as_bytes().to_vec())))
        .collect();
    data.insert(GATE.to_owned(), ByteString(b"open".to_vec()));
    Secret {
        metadata: ObjectMeta {
            name: job.metadata.name.clone(),
            namespace: job.metadata.namespace.clone(),
            labels: job.metadata.labels.clone(),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name: text(&job.metadata.name).to_owned(),
                uid: text(&job.metadata.uid).to_owned(),
                controller: Some(true),
                // Some clusters demand rights on the owner's finalizers for `true`.
                block_owner_deletion: Some(false),
            }]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// Refuses what no container could be started with.
fn check(work: &Work) -> Result<(), String> {
    if work.image_name.is_empty() {
        return Err(format!(
            "`image_name` of the job `{}` is empty: the runner `kubernetes` needs an image, for example `busybox:1.36`",
            work.job
        ));
    }
    if work.command.first().is_some_and(String::is_empty) {
        return Err(format!(
            "`command` of the job `{}` names no program: give one, or leave `command` out, so that the image's own runs",
            work.job
        ));
    }
    if let Some(word) = work.command.iter().find(|word| word.contains('\0')) {
        return Err(format!("`command` holds a NUL in {word:?}: no program can be given that"));
    }
    let arguments = work.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in arguments.chain(work.secrets.iter().flat_map(SecretValues::expose)) {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("the argument {name:?} cannot name an environment variable"));
        }
        if value.contains('\0') {
            return Err(format!("the argument `{name}` holds a NUL: leave it out, or encode it"));
        }
    }
    Ok(())
}

fn labels(work: &Work, options: &Options) -> BTreeMap<String, String> {
    [
        (MANAGED_BY, OCTAVIUS.to_owned()),
        (EXECUTION, work.attempt.execution.to_string()),
        (ATTEMPT, work.attempt.attempt.0.to_string()),
        (EXECUTOR, options.executor.clone()),
        (INSTALLATION, work.installation.clone()),
        (JOB, work.job.clone()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn pod(work: &Work, options: &Options) -> PodSpec {
    let account = &options.service_account_name;
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        termination_grace_period_seconds: Some(seconds(work.grace)),
        service_account_name: Some(account.clone()),
        automount_service_account_token: (account == NO_ACCOUNT).then_some(false),
        // Else each service of the namespace would be a handful of variables in the program's environment.
        enable_service_links: Some(false),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(work.image_name.clone()),
            command: (!work.command.is_empty())
                .then(|| work.command.iter().map(|word| escaped(word)).collect()),
            env: Some(environment(work)),
            resources: resources(work),
            ..Container::default()
        }],
        ..PodSpec::default()
    }
}

/// Has every container need the gate, also those that the job's template brings, so that none of a second pod starts, and
/// lets none do more than the job's own. That is the last: the kubelet starts them in this order, and once the program runs
/// the gate is shut.
fn hold_all(spec: &mut PodSpec, work: &Work, pod_security: PodSecurity) {
    spec.containers.sort_by_key(|container| container.name == CONTAINER);
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        let variables = container.env.get_or_insert_default();
        variables.retain(|variable| variable.name != GATE);
        variables.push(hidden(work, GATE));
        container.security_context.merge_from(security(pod_security));
    }
}

/// A variable whose value is in the attempt's Secret.
fn hidden(work: &Work, name: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: object_name(work.attempt),
                key: name.to_owned(),
                optional: Some(false),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn environment(work: &Work) -> Vec<EnvVar> {
    let plain = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(escaped(value)),
        ..EnvVar::default()
    };
    let mut variables: Vec<EnvVar> =
        work.arguments.iter().map(|(name, value)| plain(name, value)).collect();
    variables
        .extend(work.secrets.iter().flat_map(SecretValues::names).map(|name| hidden(work, name)));
    variables.push(plain("OCTAVIUS_EXECUTION_ID", &work.attempt.execution.to_string()));
    variables.push(plain("OCTAVIUS_ATTEMPT", &work.attempt.attempt.0.to_string()));
    variables.push(plain("OCTAVIUS_JOB", &work.job));
    variables.push(plain("OCTAVIUS_USER", &work.user));
    variables
}

fn resources(work: &Work) -> Option<ResourceRequirements> {
    let quantities = |given: &BTreeMap<String, String>| {
        let quantities: BTreeMap<_, _> =
            given.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone()))).collect();
        (!quantities.is_empty()).then_some(quantities)
    };
    let (requests, limits) =
        (quantities(&work.resources.requests), quantities(&work.resources.limits));
    (requests.is_some() || limits.is_some()).then(|| ResourceRequirements {
        requests,
        limits,
        ..ResourceRequirements::default()
    })
}

fn security(security: PodSecurity) -> Option<SecurityContext> {
    let baseline = SecurityContext {
        allow_privilege_escalation: Some(false),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    };
    match security {
        PodSecurity::AsImage => None,
        PodSecurity::Baseline => Some(baseline),
        PodSecurity::Restricted => Some(SecurityContext {
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..baseline
        }),
    }
}

/// When the cluster ends it though no executor does; none where the program may run as long as it likes.
fn active_deadline(work: &Work) -> Option<i64> {
    let start = work.start_timeout.unwrap_or(START_TIMEOUT);
    let all = start.saturating_add(work.timeout?).saturating_add(work.grace);
    Some(seconds(all.saturating_add(LAST_RESORT)))
}

/// Whole seconds, no less than the time.
fn seconds(time: Duration) -> i64 {
    let more = u64::from(time.subsec_nanos() > 0);
    i64::try_from(time.as_secs().saturating_add(more)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
