//! What a reader of the errors sees.

use super::*;
use crate::{choice, configuration::Bounds, section};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

choice! {
    /// How work is done.
    enum Runner {
        /// In a cluster.
        Kubernetes = "kubernetes",
        /// Here.
        Process = "process",
    }
}

section! {
    /// What a worker is told.
    struct Worker, file "worker.json", variables "WORKER_";

    /// Who it is.
    id: String;
    /// Proves who it is.
    access_token: Option<SecretString>;
    /// How work is done.
    runner: Runner = Runner::Kubernetes;
    /// Time between two pings.
    ping_interval: Duration = Duration::from_secs(2);
    /// The port.
    app_port: u16 = 3000;
    /// Which cluster.
    #[only_if(runner = "kubernetes")]
    kube_context: Option<String>;
    /// Where the log goes.
    log_file_path: Option<PathBuf>;

    without_effect {
        log_process_wait_time: "logs are read while they are written";
    }
}

impl Bounds for Worker {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.ping_interval.is_zero() {
            faults.push(Fault::new("ping_interval", "give a time above zero, for example `2s`"));
        }
        if self.access_token.as_ref().is_some_and(|token| token.expose_secret().len() < 4) {
            faults.push(Fault::new("access_token", "give at least 4 characters"));
        }
        faults
    }
}

const TOKEN: &str = "hunter2-planted";

fn with(file: &str, variables: &[(&str, &str)]) -> Result<Loaded<Worker>, Problems> {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    gather(Path::new("worker.json"), Ok(file.to_owned()), variables)
}

#[track_caller]
fn problems(file: &str, variables: &[(&str, &str)], wanted: &[&str]) {
    let Problems(found) = with(file, variables).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, wanted);
}

#[test]
fn what_is_not_given_has_its_default() {
    let Loaded { section, warnings, .. } = with(r#"{"id": "a", "app_port": null}"#, &[]).unwrap();
    assert_eq!((section.id.as_str(), section.app_port), ("a", 3000));
    assert_eq!(section.ping_interval, Duration::from_secs(2));
    assert!(section.access_token.is_none());
    assert_eq!(warnings, []);
}

#[test]
fn all_faults_come_at_once_each_with_place_key_value_and_remedy() {
    problems(
        r#"{"app_prot": 1, "app_port": 70000, "runner": "docker", "ping_interval": "soon"}"#,
        &[("WORKER_KUBE_CONTEX", "x")],
        &[
            "worker.json: `app_prot` is not a known key: did you mean `app_port`?",
            "WORKER_KUBE_CONTEX: `kube_contex` is not a known key: did you mean `WORKER_KUBE_CONTEXT`?",
            "worker.json: `id` is missing: give text",
            "worker.json: `runner` is `docker`: give `kubernetes` or `process`",
            "worker.json: `ping_interval` is `soon`: give seconds as a number, or text like `90s`, `5m` or `30d`",
            "worker.json: `app_port` is `70000`: give a whole number up to 65535",
        ],
    );
}

#[test]
fn bounds_are_reported_with_the_place_and_the_value_and_beside_unknown_keys() {
    problems(
        r#"{"id": "a", "ping_interval": 9, "colour": "blue"}"#,
        &[("WORKER_PING_INTERVAL", "0")],
        &[
            "worker.json: `colour` is not a known key: take it out; docs/configuration.md has every key of worker.json",
            "WORKER_PING_INTERVAL: `ping_interval` is `0`: give a time above zero, for example `2s`",
        ],
    );
}

#[test]
fn a_key_that_stands_twice_is_a_fault() {
    let twice = "worker.json: `id` is given twice: keep one of them";
    problems(r#"{"id": "a", "id": "b"}"#, &[], &[twice]);
}

#[test]
fn variables_override_the_file_and_others_are_not_looked_at() {
    let variables = [
        ("WORKER_ID", "007"),
        ("WORKER_APP_PORT", "4000"),
        ("WORKER_LOG_FILE_PATH", ""),
        ("WORKERS", "1"),
        ("OCTAVIUS_JOB", "greet"),
    ];
    let file = r#"{"id": "a", "app_port": 1, "log_file_path": "worker.log"}"#;
    let Worker { id, app_port, log_file_path, .. } = with(file, &variables).unwrap().section;
    assert_eq!((id.as_str(), app_port, log_file_path), ("007", 4000, None));
}

#[test]
fn a_variable_in_the_wrong_case_is_unknown() {
    let remedy = "WORKER_App_Port: `app_port` is not a known key: did you mean `WORKER_APP_PORT`?";
    problems(r#"{"id": "a"}"#, &[("WORKER_App_Port", "1")], &[remedy]);
}

#[test]
fn what_does_nothing_is_a_warning() {
    let file = r#"{"id": "a", "runner": "process", "kube_context": "minikube", "log_process_wait_time": 60}"#;
    let warnings = with(file, &[]).unwrap().warnings;
    let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "worker.json: `log_process_wait_time` has no effect: logs are read while they are written",
            "worker.json: `kube_context` has no effect: it needs `runner` `kubernetes`, and that is `process`",
        ]
    );
}

#[test]
fn broken_json_is_reported_with_line_and_column_and_variables_too() {
    problems(
        "{\n  \"id\": \"a\"\n  \"app_port\": 1\n}",
        &[("WORKER_APP_PORT", "x")],
        &[
            "worker.json: line 3, column 3 is not JSON (expected `,` or `}`): mend that line or the one before; \
             commas stand between keys alone, and there are no comments",
            "WORKER_APP_PORT: `app_port` is `x`: give a whole number up to 65535",
        ],
    );
    problems("[1]", &[], &["worker.json: does not hold an object: put the keys into `{` and `}`"]);
    let short = "worker.json: line 1, column 9 is not JSON: the file ends too early: close what is open with `\"`, `]` or `}`";
    problems(r#"{"id": "a"#, &[], &[short]);
}

#[test]
fn a_file_in_yaml_has_the_same_faults() {
    let yaml = "id: a\nid: b\napp_prot: 1\napp_port: 70000\nrunner: docker\nping_interval: soon\n";
    let Problems(found) =
        gather::<Worker>(Path::new("worker.yml"), Ok(yaml.to_owned()), []).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "worker.yml: `id` is given twice: keep one of them",
            "worker.yml: `app_prot` is not a known key: did you mean `app_port`?",
            "worker.yml: `runner` is `docker`: give `kubernetes` or `process`",
            "worker.yml: `ping_interval` is `soon`: give seconds as a number, or text like `90s`, `5m` or `30d`",
            "worker.yml: `app_port` is `70000`: give a whole number up to 65535",
        ]
    );
}

#[test]
fn a_missing_file_names_its_path_and_what_to_do() {
    let problems = load_with::<Worker>(Path::new("/nowhere/worker.json"), []).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "/nowhere/worker.json: there is no such file: write it (docs/configuration.md has every key), \
         or name another with `--config`"
    );
}

#[test]
fn a_file_on_disk_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"id": "disk"}"#).unwrap();
    assert_eq!(load_with::<Worker>(file.path(), []).unwrap().section.id, "disk");
}

#[test]
fn a_secret_is_in_no_text_whatever_is_wrong_with_it() {
    let token = |text: &str| format!(r#"{{"id": "a", {text}}}"#);
    let good = with(&token(&format!(r#""access_token": "{TOKEN}""#)), &[]).unwrap();
    assert_eq!(good.section.access_token.as_ref().unwrap().expose_secret(), TOKEN);
    let mut texts = vec![format!("{good:?} {:?}", good.section.shown())];
    for wrong in [
        token(&format!(r#""acess_token": "{TOKEN}""#)),
        token(&format!(r#""access_token": ["{TOKEN}"]"#)),
        token(&format!(r#""access_token": "{TOKEN}", "access_token": "{TOKEN}""#)),
        token(&format!(r#""access_token": "{TOKEN}" oops"#)),
        token(&format!(r#""access_token": {TOKEN}"#)),
        format!("\"{TOKEN}\""),
        token(&format!(r#""access_token": "{}""#, &TOKEN[..3])),
    ] {
        let problems = with(&wrong, &[]).unwrap_err();
        texts.push(format!("{problems} {problems:?}"));
    }
    let variables = [("WORKER_ACCESS_TOKE", TOKEN), ("WORKER_ACCESS_TOKEN", TOKEN)];
    let problems = with(&token(r#""app_port": "x""#), &variables).unwrap_err();
    texts.push(format!("{problems} {problems:?}"));
    for text in texts {
        assert!(!text.contains("hun"), "{text}");
    }
}
