//! What our objects are called, and by what they are known to be ours.

use crate::runner::Identity;
use crc::{CRC_64_XZ, Crc};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use octavius_protocol::id::{AttemptId, AttemptNumber};
use std::collections::BTreeMap;

/// The job's own container.
pub(super) const CONTAINER: &str = "job";
/// The variable that each container needs from the Secret: without it none starts.
pub(super) const GATE: &str = "OCTAVIUS_GATE";

/// Labels.
pub(super) const EXECUTION: &str = "octavius.dev/execution";
pub(super) const ATTEMPT: &str = "octavius.dev/attempt";
pub(super) const EXECUTOR: &str = "octavius.dev/executor";
pub(super) const INSTALLATION: &str = "octavius.dev/installation";
pub(super) const JOB: &str = "octavius.dev/job";
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(super) const OCTAVIUS: &str = "octavius";

/// Annotations. What an attempt was made from, without values of secrets.
pub(super) const WORK: &str = "octavius.dev/work";
/// By which grant it is held.
pub(super) const EPOCH: &str = "octavius.dev/epoch";
/// It was let go.
pub(super) const WENT: &str = "octavius.dev/went";
/// It is to end, and why.
pub(super) const STOP: &str = "octavius.dev/stop";
/// The pod whose container ran, as `name/uid`: no other one ever does.
pub(super) const POD: &str = "octavius.dev/pod";
/// How it ended, as it was first seen.
pub(super) const ENDED: &str = "octavius.dev/ended";
/// Since when the controller has its end and its log, where it is left after that.
pub(super) const SETTLED: &str = "octavius.dev/settled";
/// What keeps the cluster's autoscaler from moving it.
pub(super) const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Whose objects are ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The executor's id.
    pub(super) executor: String,
    /// The installation that it belongs to; empty: none, and what belongs to one is not its.
    pub(super) installation: String,
}

impl Owner {
    /// What the API server selects our objects by.
    pub(super) fn selector(&self) -> String {
        let Self { executor, installation } = self;
        format!("{MANAGED_BY}={OCTAVIUS},{EXECUTOR}={executor},{INSTALLATION}={installation}")
    }

    /// The attempt that an object belongs to, if it is one of ours.
    pub(super) fn attempt(&self, meta: &ObjectMeta) -> Option<AttemptId> {
        let labels = meta.labels.as_ref()?;
        let is = |name: &str, value: &str| labels.get(name).is_some_and(|label| label == value);
        let ours = is(MANAGED_BY, OCTAVIUS)
            && is(EXECUTOR, &self.executor)
            && is(INSTALLATION, &self.installation);
        if ours { attempt(labels) } else { None }
    }
}

fn attempt(labels: &BTreeMap<String, String>) -> Option<AttemptId> {
    let execution = labels.get(EXECUTION)?.parse().ok()?;
    let number = labels.get(ATTEMPT)?.parse().ok().filter(|number| *number > 0)?;
    Some(AttemptId { execution, attempt: AttemptNumber(number) })
}

/// The name of an attempt's Job and of its Secret.
pub(super) fn object_name(attempt: AttemptId) -> String {
    format!("octavius-{}-{}", attempt.execution, attempt.attempt.0)
}

/// The name of the ConfigMap that says who the executor of this id is. Ids of other letters than names may have get a
/// checksum, so that no two of them share one by chance; who made it, its label says.
pub(super) fn place_name(executor: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if executor.bytes().all(plain) {
        return format!("octavius-{executor}");
    }
    let near = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let near: String = executor.to_ascii_lowercase().chars().map(near).collect();
    let sum = Crc::<u64>::new(&CRC_64_XZ).checksum(executor.as_bytes());
    format!("octavius-{near}-{sum:016x}")
}

/// The attempt that an object is about, by its name: that of a Job, or of a pod of it.
pub(super) fn attempt_of(name: &str) -> Option<AttemptId> {
    let (execution, rest) = name.strip_prefix("octavius-")?.split_once('-')?;
    let number = rest.split_once('-').map_or(rest, |(number, _)| number);
    let number = number.parse().ok().filter(|number| *number > 0)?;
    Some(AttemptId { execution: execution.parse().ok()?, attempt: AttemptNumber(number) })
}

/// Whether an object was made for this very Job, and not for another one of its name, or by somebody else.
pub(super) fn is_made_for(meta: &ObjectMeta, job: &Job) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    owners.any(|owner| owner.kind == "Job" && Some(&owner.uid) == job.metadata.uid.as_ref())
}

/// The name that a Job has for ever.
pub(super) fn identity(job: &Job) -> Identity {
    Identity(format!("{}/{}", text(&job.metadata.namespace), text(&job.metadata.uid)))
}

/// What may be absent as text.
pub(super) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// An annotation, if it is there.
pub(super) fn annotation<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_protocol::id::ExecutionId;

    #[test]
    fn an_attempt_is_known_by_the_name_of_its_job_and_of_its_pods() {
        let attempt =
            AttemptId { execution: ExecutionId::from_bytes([9; 16]), attempt: AttemptNumber(12) };
        let name = object_name(attempt);
        assert!(name.len() < 58, "{name} leaves no room for the end of a pod's name");
        assert_eq!(attempt_of(&name), Some(attempt));
        assert_eq!(attempt_of(&format!("{name}-x7k2p")), Some(attempt));
        for other in ["octavius", "octavius-executor-5d", "octavius--1", &name[1..]] {
            assert_eq!(attempt_of(other), None, "{other}");
        }
    }

    #[test]
    fn each_id_has_a_place_of_a_name_that_the_cluster_takes() {
        assert_eq!(place_name("berlin-1"), "octavius-berlin-1");
        let ids = ["random-ID", "random-id", "random_ID", "random.ID", "a.b"];
        let names: std::collections::BTreeSet<_> = ids.map(place_name).into();
        assert_eq!(names.len(), ids.len(), "{names:?}");
        for name in names {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(name.bytes().all(plain) && name.len() <= 253, "{name}");
        }
    }

    #[test]
    fn what_is_shipped_has_no_name_that_the_place_of_an_executor_may_have() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
        let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
        let (controller, executor) = (read("controller.yaml"), read("executor.yaml"));
        let maps = [&controller, &executor].map(|file| {
            let map = file.split("kind: ConfigMap\nmetadata:\n  name: ").nth(1).unwrap();
            map.split_whitespace().next().unwrap().to_owned()
        });
        assert_eq!(maps, ["controller-config", "executor-config"]);
        for (map, file) in maps.iter().zip([&controller, &executor]) {
            assert!(!map.starts_with("octavius-"), "{map}");
            assert!(file.contains(&format!("configMap:\n            name: {map}\n")), "{map}");
        }
        for id in ["executor", "controller", "executor.config", "executor-config"] {
            assert!(place_name(id).starts_with("octavius-"), "{id}");
        }
        // The role that is shipped beside it gives what that executor needs.
        let id = executor.split("\"id\": \"").nth(1).unwrap().split('"').next().unwrap();
        let names = format!("resourceNames: [{}]\n", place_name(id));
        assert!(read("executor-role.yaml").contains(&names), "{names}");
    }

    #[test]
    fn an_object_is_made_for_the_job_that_owns_it_and_for_no_other_of_its_name() {
        let mut job = crate::runner::kubernetes::seen::fixtures::job();
        let secret = super::super::object::secret(&job, &Default::default());
        assert!(is_made_for(&secret.metadata, &job));
        let mut foreign = secret.metadata.clone();
        foreign.owner_references = None;
        assert!(
            !is_made_for(&foreign, &job),
            "it has our name and our labels, and is somebody else's"
        );
        job.metadata.uid = Some("a later one".to_owned());
        assert!(!is_made_for(&secret.metadata, &job));
    }

    #[test]
    fn only_what_has_all_our_labels_is_ours() {
        let attempt =
            AttemptId { execution: ExecutionId::from_bytes([9; 16]), attempt: AttemptNumber(1) };
        let labels: BTreeMap<String, String> = [
            (MANAGED_BY, OCTAVIUS.to_owned()),
            (EXECUTION, attempt.execution.to_string()),
            (ATTEMPT, "1".to_owned()),
            (EXECUTOR, "berlin-1".to_owned()),
            (INSTALLATION, "ours".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let of = |labels: BTreeMap<String, String>, installation: &str| {
            let owner =
                Owner { executor: "berlin-1".to_owned(), installation: installation.to_owned() };
            owner.attempt(&ObjectMeta { labels: Some(labels), ..ObjectMeta::default() })
        };
        assert_eq!(of(labels.clone(), "ours"), Some(attempt));
        assert_eq!(of(labels.clone(), ""), None);
        assert_eq!(of(labels.clone(), "theirs"), None);
        for name in [MANAGED_BY, EXECUTION, ATTEMPT, EXECUTOR, INSTALLATION] {
            let mut fewer = labels.clone();
            fewer.remove(name);
            assert_eq!(of(fewer, "ours"), None, "without {name}");
        }
    }
}
