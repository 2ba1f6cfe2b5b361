//! What the Job itself says of the work that it was made from: enough to go on with it, and no value of a secret.

use super::{
    super::names::{ATTEMPT, CONTAINER, EPOCH, EXECUTION, WORK, annotation, text},
    escape::plain,
};
use crate::runner::{Resources, Work};
use k8s_openapi::api::{batch::v1::Job, core::v1::Container};
use octavius_protocol::id::{AttemptId, AttemptNumber, Epoch};
use octavius_protocol::secret::SecretValues;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The version of what this code writes. One that it does not know is refused.
const FORMAT: u32 = 1;

/// The annotation. Command and arguments stand in the container, where they are needed anyway.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    format: u32,
    job: String,
    user: String,
    image_name: String,
    arguments: Vec<String>,
    secrets: Vec<String>,
    timeout_ms: Option<u64>,
    grace_ms: u64,
    stop_if_unheard_ms: Option<u64>,
    namespace: Option<String>,
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
    template: String,
    start_timeout_ms: Option<u64>,
    installation: String,
}

/// The annotation's text.
pub(in crate::runner::kubernetes) fn encode(work: &Work) -> String {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let secrets = work.secrets.iter().flat_map(SecretValues::names).map(str::to_owned).collect();
    let kept = Kept {
        format: FORMAT,
        job: work.job.clone(),
        user: work.user.clone(),
        image_name: work.image_name.clone(),
        arguments: work.arguments.keys().cloned().collect(),
        secrets,
        timeout_ms: work.timeout.map(millis),
        grace_ms: millis(work.grace),
        stop_if_unheard_ms: work.stop_if_unheard.map(millis),
        namespace: work.namespace.clone(),
        requests: work.resources.requests.clone(),
        limits: work.resources.limits.clone(),
        template: work.template.clone(),
        start_timeout_ms: work.start_timeout.map(millis),
        installation: work.installation.clone(),
    };
    serde_json::to_string(&kept).unwrap_or_default()
}

/// What a Job was made from, and the names of its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runner::kubernetes) struct Made {
    /// The work; its secrets are known only if it has none.
    pub(in crate::runner::kubernetes) work: Work,
    /// Which secrets it wants.
    pub(in crate::runner::kubernetes) secrets: Vec<String>,
}

/// What a Job of ours says that it was made from; or what is wrong with it, in words.
pub(in crate::runner::kubernetes) fn decode(job: &Job) -> Result<Made, String> {
    let named = format!("the Job {}/{}", text(&job.metadata.namespace), text(&job.metadata.name));
    let wrong = |what: &str| format!("{named} {what}: it was not made by this version, or changed");
    let said =
        annotation(&job.metadata, WORK).ok_or_else(|| wrong("has no `octavius.dev/work`"))?;
    let kept: Kept =
        serde_json::from_str(said).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
    if kept.format != FORMAT {
        return Err(wrong(&format!("has the format {}, and {FORMAT} is known", kept.format)));
    }
    let epoch = annotation(&job.metadata, EPOCH).and_then(|epoch| epoch.parse().ok());
    let epoch = Epoch(epoch.ok_or_else(|| wrong("has no `octavius.dev/epoch`"))?);
    let labels = job.metadata.labels.as_ref();
    let label = |name: &str| labels.and_then(|labels| labels.get(name));
    let execution = label(EXECUTION).and_then(|label| label.parse().ok());
    let number = label(ATTEMPT).and_then(|label| label.parse().ok());
    let (Some(execution), Some(number)) = (execution, number) else {
        return Err(wrong("does not say whose attempt it is"));
    };
    let container = container(job).ok_or_else(|| wrong("has no container `job`"))?;
    let values: BTreeMap<&str, &str> = (container.env.iter().flatten())
        .filter_map(|variable| Some((variable.name.as_str(), variable.value.as_deref()?)))
        .collect();
    let arguments = kept.arguments.into_iter().map(|name| {
        // An empty value is not sent back.
        let value = plain(values.get(name.as_str()).copied().unwrap_or_default());
        (name, value)
    });
    let work = Work {
        attempt: AttemptId { execution, attempt: AttemptNumber(number) },
        epoch,
        job: kept.job,
        user: kept.user,
        image_name: kept.image_name,
        command: container.command.iter().flatten().map(|word| plain(word)).collect(),
        arguments: arguments.collect(),
        secrets: kept.secrets.is_empty().then(SecretValues::default),
        timeout: kept.timeout_ms.map(Duration::from_millis),
        grace: Duration::from_millis(kept.grace_ms),
        stop_if_unheard: kept.stop_if_unheard_ms.map(Duration::from_millis),
        namespace: kept.namespace,
        resources: Resources { requests: kept.requests, limits: kept.limits },
        template: kept.template,
        start_timeout: kept.start_timeout_ms.map(Duration::from_millis),
        installation: kept.installation,
    };
    Ok(Made { work, secrets: kept.secrets })
}

/// The job's own container.
fn container(job: &Job) -> Option<&Container> {
    let pod = job.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.iter().find(|container| container.name == CONTAINER)
}
