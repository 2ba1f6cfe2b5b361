//! The objects as they are sent.

use super::*;
use crate::runner::Resources;
use octavius_protocol::id::{AttemptId, AttemptNumber, Epoch, ExecutionId};

fn options() -> Options {
    Options {
        executor: "berlin-1".to_owned(),
        annotations: [("team".to_owned(), "ops".to_owned())].into(),
        ..Options::example("jobs")
    }
}

fn work() -> Work {
    let mut secrets = SecretValues::default();
    secrets.insert("TOKEN", "planted-secret".to_owned());
    Work {
        attempt: AttemptId {
            execution: ExecutionId::from_bytes([7; 16]),
            attempt: AttemptNumber(2),
        },
        epoch: Epoch(3),
        job: "greet".to_owned(),
        user: "ada@example.org".to_owned(),
        image_name: "registry.example.org:5000/greet@sha256:0".to_owned(),
        command: ["sh", "-c", "echo $$ $(date)"].map(str::to_owned).to_vec(),
        arguments: [("name".to_owned(), "pa$$w0rd $(HOME)".to_owned())].into(),
        secrets: Some(secrets),
        timeout: Some(Duration::from_secs(90)),
        grace: Duration::from_millis(9_500),
        stop_if_unheard: Some(Duration::from_secs(450)),
        namespace: None,
        resources: Resources {
            requests: [("cpu".to_owned(), "500m".to_owned())].into(),
            limits: [("memory".to_owned(), "1Gi".to_owned())].into(),
        },
        template: r#"{"spec": {"nodeSelector": {"disk": "ssd"}}}"#.to_owned(),
        start_timeout: Some(Duration::from_secs(120)),
        installation: "0191".to_owned(),
    }
}

#[test]
fn a_job_says_all_that_its_pod_needs() {
    let job = serde_json::to_string_pretty(&job(&work(), &options()).unwrap()).unwrap();
    insta::assert_snapshot!(job);
    assert!(!job.contains("planted"), "a secret's value is in the Job");
}

#[test]
fn a_secret_belongs_to_its_job_and_holds_the_gate() {
    let mut made = job(&work(), &options()).unwrap();
    made.metadata.uid = Some("the-uid".to_owned());
    let secret = secret(&made, &work().secrets.unwrap());
    let owner = &secret.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.block_owner_deletion), ("the-uid", Some(false)));
    let data = secret.data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), [GATE, "TOKEN"]);
    assert_eq!(data["TOKEN"].0, b"planted-secret");
}

#[test]
fn what_a_job_was_made_from_is_read_from_it_again() {
    let mut made = job(&work(), &options()).unwrap();
    let kept::Made { work: read, secrets } = kept::decode(&made).unwrap();
    assert_eq!(read, Work { secrets: None, ..work() });
    assert_eq!(secrets, ["TOKEN"]);
    let plain = Work { secrets: Some(SecretValues::default()), ..work() };
    let again = kept::decode(&job(&plain, &options()).unwrap()).unwrap();
    assert_eq!(again.work, plain);
    let annotations = made.metadata.annotations.as_mut().unwrap();
    annotations.insert(WORK.to_owned(), r#"{"format": 9}"#.to_owned());
    let wrong = kept::decode(&made).unwrap_err();
    assert!(
        wrong.contains("jobs/octavius-") && wrong.contains("not made by this version"),
        "{wrong}"
    );
}

#[test]
fn a_template_does_not_overrule_what_is_ours() {
    let everything = Options {
        allowed_template_fields: [
            "containers",
            "image",
            "env",
            "restartPolicy",
            "labels",
            "volumes",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..options()
    };
    let template = r#"{"metadata": {"labels": {"octavius.dev/execution": "hijacked", "own": "label"}},
        "spec": {"restartPolicy": "Always", "volumes": [{"name": "scratch", "emptyDir": {}}], "containers": [
            {"name": "job", "image": "evil", "env": [{"name": "name", "value": "evil"}, {"name": "more", "value": "1"}]},
            {"name": "proxy", "image": "proxy"}]}}"#;
    let work = Work { template: template.to_owned(), ..work() };
    let pod = job(&work, &everything).unwrap().spec.unwrap().template;
    let labels = pod.metadata.unwrap().labels.unwrap();
    assert_eq!(labels[EXECUTION], work.attempt.execution.to_string());
    assert_eq!(labels["own"], "label");
    let spec = pod.spec.unwrap();
    assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
    assert_eq!(spec.volumes.unwrap()[0].name, "scratch");
    let own = spec.containers.iter().find(|container| container.name == CONTAINER).unwrap();
    assert_eq!(own.image.as_deref(), Some(work.image_name.as_str()));
    let variables = own.env.as_ref().unwrap();
    let value = |name: &str| {
        let found = variables.iter().find(|variable| variable.name == name).unwrap();
        found.value.clone().unwrap_or_default()
    };
    assert_eq!((value("name").as_str(), value("more").as_str()), ("pa$$$$w0rd $$(HOME)", "1"));
    assert_eq!(spec.containers.len(), 2);
}

#[test]
fn every_container_that_a_template_brings_needs_the_gate_and_the_jobs_own_starts_last() {
    let fields = ["containers", "initContainers", "env", "volumes"].map(str::to_owned).to_vec();
    let options = Options { allowed_template_fields: fields, ..options() };
    let template = r#"{"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}],
        "initContainers": [
            {"name": "clone", "image": "git", "env": [{"name": "OCTAVIUS_GATE", "value": "forged"}]},
            {"name": "seed", "image": "seed"}],
        "containers": [
            {"name": "job", "env": [{"name": "OCTAVIUS_GATE", "value": "forged"}]},
            {"name": "proxy", "image": "proxy", "env": [{"name": "PORT", "value": "1"}]}]}}"#;
    let work = Work { template: template.to_owned(), ..work() };
    let job = job(&work, &options).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&job).unwrap());
    let spec = job.spec.unwrap().template.spec.unwrap();
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    for container in all {
        let gates = container.env.iter().flatten().filter(|variable| variable.name == GATE);
        let gates: Vec<_> = gates.collect();
        assert_eq!(gates.len(), 1, "{}", container.name);
        assert_eq!(gates[0].value, None, "{}", container.name);
    }
    assert_eq!(spec.containers.last().unwrap().name, CONTAINER);
}

#[test]
fn the_deadline_of_the_object_comes_after_all_others() {
    let deadline =
        |work: &Work| job(work, &options()).unwrap().spec.unwrap().active_deadline_seconds;
    assert_eq!(deadline(&work()), Some(120 + 90 + 10 + 60));
    assert_eq!(deadline(&Work { start_timeout: None, ..work() }), Some(600 + 90 + 10 + 60));
    assert_eq!(deadline(&Work { timeout: None, ..work() }), None);
}

#[test]
fn only_a_service_account_of_its_own_gets_a_token() {
    let pod = |account: &str| {
        let options = Options { service_account_name: account.to_owned(), ..options() };
        job(&work(), &options).unwrap().spec.unwrap().template.spec.unwrap()
    };
    assert_eq!(pod("default").automount_service_account_token, Some(false));
    assert_eq!(pod("reports").automount_service_account_token, None);
    assert_eq!(pod("reports").service_account_name.as_deref(), Some("reports"));
}

#[test]
fn pods_may_be_held_more_or_less_strictly() {
    let context = |pod_security| {
        let options = Options { pod_security, ..options() };
        let pod = job(&work(), &options).unwrap().spec.unwrap().template.spec.unwrap();
        pod.containers[0].security_context.clone()
    };
    assert_eq!(context(PodSecurity::AsImage), None);
    let baseline = context(PodSecurity::Baseline).unwrap();
    assert_eq!(
        (baseline.allow_privilege_escalation, baseline.run_as_non_root),
        (Some(false), None)
    );
    let restricted = context(PodSecurity::Restricted).unwrap();
    assert_eq!(restricted.run_as_non_root, Some(true));
    assert_eq!(restricted.capabilities.unwrap().drop.unwrap(), ["ALL"]);
}

#[test]
fn what_a_template_brings_may_do_no_more_than_the_jobs_own_container() {
    let fields = ["containers", "initContainers", "securityContext"].map(str::to_owned).to_vec();
    let template = r#"{"spec": {
        "initContainers": [{"name": "clone", "image": "git"}],
        "containers": [{"name": "proxy", "image": "proxy", "securityContext": {
            "allowPrivilegeEscalation": true, "runAsUser": 7, "capabilities": {"add": ["SYS_ADMIN"], "drop": []}}}]}}"#;
    let work = Work { template: template.to_owned(), ..work() };
    let spec = |pod_security| {
        let options =
            Options { pod_security, allowed_template_fields: fields.clone(), ..options() };
        job(&work, &options).unwrap().spec.unwrap().template.spec.unwrap()
    };
    for pod_security in [PodSecurity::Baseline, PodSecurity::Restricted] {
        let spec = spec(pod_security);
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        for container in all {
            let held = container.security_context.as_ref().unwrap();
            assert_eq!(held.allow_privilege_escalation, Some(false), "{}", container.name);
            let restricted = (pod_security == PodSecurity::Restricted).then_some(true);
            assert_eq!(held.run_as_non_root, restricted, "{}", container.name);
            if restricted.is_some() {
                let dropped = held.capabilities.as_ref().unwrap().drop.as_ref().unwrap();
                assert_eq!(*dropped, ["ALL"], "{}", container.name);
            }
        }
        assert_eq!(spec.containers[0].security_context.as_ref().unwrap().run_as_user, Some(7));
    }
    let spec = spec(PodSecurity::AsImage);
    assert_eq!(spec.init_containers.unwrap()[0].security_context, None);
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |work: Work| job(&work, &options()).unwrap_err();
    assert!(refused(Work { image_name: String::new(), ..work() }).contains("`image_name`"));
    assert!(refused(Work { command: vec![String::new()], ..work() }).contains("`command`"));
    assert!(job(&Work { command: Vec::new(), ..work() }, &options()).is_ok(), "the image's own");
}
