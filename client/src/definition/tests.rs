use super::*;
use octavius_protocol::v1::{Argument, ArgumentType, ArgumentValues, Resources, Retry, SecretName};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

const SAMPLE: &str = include_str!("../../tests/files/metadata.json");

fn faults(text: &str) -> String {
    parse(text, "metadata.json").unwrap_err().to_string()
}

#[test]
fn the_sample_loads_unchanged() {
    let definition = parse(SAMPLE, "metadata.json").unwrap();
    assert_eq!(definition.name, "hello-friend");
    assert_eq!(definition.image_name, "hello-world");
    assert_eq!(definition.authorized_groups, ["demo-group"]);
    assert_eq!(definition.secrets[1].name, "TOP_SECRET_2");
    let required: Vec<_> =
        definition.arguments.iter().map(|argument| (&*argument.name, argument.required)).collect();
    assert_eq!(required, [("name", true), ("surname", true)]);
    assert!(definition.command.is_empty() && definition.timeout.is_none());
}

#[test]
fn a_file_of_proctor_loads_and_env_vars_may_be_absent() {
    let proctor = r#"{"name": "run-sample", "description": "Runs", "contributors": "A <a@b.c>",
        "organization": "demo", "image_name": "registry:5000/demo@sha256:00", "author": "B",
        "env_vars": {"secrets": null, "args": [{"name": "SAMPLE_ARG", "description": ""}]}}"#;
    let definition = parse(proctor, "metadata.json").unwrap();
    assert_eq!(definition.contributors, "A <a@b.c>");
    assert!(!definition.arguments[0].required);
    let bare = parse(r#"{"name": "a", "image_name": "b"}"#, "metadata.json").unwrap();
    assert!(bare.arguments.is_empty() && bare.secrets.is_empty());
}

#[test]
fn yaml_says_the_same() {
    let yaml = "
# greets
name: greet
command: [sh, -c, 'echo hello $name']
timeout: 1h30m
env_vars:
  args:
    - name: name
      required: true
";
    let definition = parse(yaml, "greet.yaml").unwrap();
    assert_eq!(definition.command, ["sh", "-c", "echo hello $name"]);
    assert_eq!(definition.timeout.unwrap().seconds, 5_400);
    assert!(definition.arguments[0].required);
    let seconds = parse("{name: a, command: [b], timeout: 90}", "a.yaml").unwrap();
    assert_eq!(seconds.timeout.unwrap().seconds, 90);
}

#[test]
fn times_tries_places_and_types_are_read_as_they_are_written() {
    let yaml = r#"
name: all
command: [true]
start_timeout: 90
queue_timeout: 2h
retry: { attempts: 3, pause: 500ms, factor: 1.5, max_pause: 1m, on: [failed, "exit_code:75"] }
concurrency: 2
concurrency_key: place
on_limit: replace
team: data
priority: 0
max_priority: 7
on_lost: rerun
executor_selector: { zone: eu, gpu: 'true' }
resources: { requests: { cpu: 2, memory: 1Gi }, limits: { memory: 2Gi } }
kubernetes: { spec: { nodeSelector: { disk: ssd } } }
namespace: reports
env_vars:
  args:
    - { name: count, type: int, default: 3, min: 1, max: "10" }
    - { name: place, type: enum, allowed: [a, b, 1] }
    - { name: loud, type: bool, default: false }
    - { name: share, type: float, default: "0.50" }
    - { name: text, pattern: "[a-z]+" }
"#;
    let all = parse(yaml.replace("[true]", "['true']").as_str(), "all.yaml").unwrap();
    assert_eq!(
        (all.start_timeout.unwrap().seconds, all.queue_timeout.unwrap().seconds),
        (90, 7_200)
    );
    let retry = all.retry.unwrap();
    assert_eq!((retry.attempts, retry.pause.unwrap().nanos, retry.factor), (3, 500_000_000, 1.5));
    assert_eq!(retry.on, ["failed", "exit_code:75"]);
    assert_eq!((all.concurrency, all.executor_selector["gpu"].as_str()), (2, "true"));
    assert_eq!((all.concurrency_key, &*all.on_limit), (vec!["place".to_owned()], "replace"));
    assert_eq!((all.priority, all.max_priority), (Some(0), Some(7)));
    assert_eq!((&*all.team, &*all.on_lost), ("data", "rerun"));
    assert_eq!(all.resources.unwrap().requests["cpu"], "2");
    assert_eq!(all.namespace, "reports");
    assert_eq!(all.kubernetes, r#"{"spec":{"nodeSelector":{"disk":"ssd"}}}"#);
    let [count, place, loud, share, text] = all.arguments.as_slice() else { panic!() };
    assert_eq!(count.r#type(), ArgumentType::Int);
    assert_eq!(
        [&count.default_value, &count.min, &count.max].map(Option::as_deref),
        [Some("3"), Some("1"), Some("10")]
    );
    assert_eq!(place.allowed, ["a", "b", "1"]);
    assert_eq!(loud.default_value.as_deref(), Some("false"));
    assert_eq!(
        share.default_value.as_deref(),
        Some("0.50"),
        "what is in quotes keeps its spelling"
    );
    assert_eq!((text.r#type(), text.pattern.as_str()), (ArgumentType::String, "[a-z]+"));
}

#[test]
fn several_documents_are_several_jobs_and_their_faults_name_them() {
    let two = "---\n{name: a, command: [a]}\n---\n---\nname: b\ncommand: [b]\n";
    let all = parse_all(two, "jobs.yaml").unwrap();
    let names: Vec<_> =
        all.iter().map(|(place, one)| (place.as_str(), one.name.as_str())).collect();
    assert_eq!(names, [("jobs.yaml, document 1", "a"), ("jobs.yaml, document 2", "b")]);
    assert!(parse(two, "jobs.yaml").unwrap_err().to_string().contains("more than one job"));
    let wrong = "{name: A, command: [a]}\n---\n{nam: b, command: [b]}\n";
    let found = parse_all(wrong, "jobs.yaml").unwrap_err().to_string();
    assert!(found.contains("document 1: `name` is wrong"), "{found}");
    assert!(
        found.contains("document 2: `nam` is not known: the nearest known key is `name`"),
        "{found}"
    );
}

#[test]
fn every_key_is_in_the_page_for_users_and_no_other() {
    let page = include_str!("../../../docs/job-definitions.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let told: Vec<String> = rows.map(|(key, _)| key.to_owned()).collect();
    let under = |prefix: &str, keys: &Keys| -> Vec<String> {
        keys.known.iter().map(|key| format!("{prefix}{key}")).collect()
    };
    let known = [
        under("", &JOB),
        under("retry.", &RETRY),
        under("resources.", &RESOURCES),
        under("env_vars.", &VARIABLES),
        under("env_vars.args[].", &ARGUMENT),
        under("env_vars.secrets[].", &SECRET),
    ];
    assert_eq!(told, known.concat());
}

#[test]
fn all_faults_are_told_at_once() {
    let wrong = r#"{
        "name": "Hello World", "descripton": "x", "command": "echo hello", "timeout": "soon",
        "allowed_for": 3, "priority": "high", "team": 7, "concurrency_key": {}, "author": 5, "concurrency": 0, "kubernetes": "spec", "namespace": "Team_A", "executor_selector": {"zone": ["eu"]},
        "retry": {"attemps": 3, "pause": "long", "factor": 0}, "resources": [],
        "env_vars": {
            "args": [
                {"name": "a-b", "required": "yes"},
                {"name": "city", "default": ["Berlin"], "type": "text", "allowed": "x"},
                {"nam": "x"}
            ],
            "secrets": [{"name": "city"}, "TOKEN"]
        }
    }"#;
    insta::assert_snapshot!(faults(wrong), @r#"
    metadata.json: 26 things are wrong
      `allowed_for` is not known: the nearest known key is `author`
      `descripton` is not known: the nearest known key is `description`
      `command` is the text "echo hello": write a list, here `["sh","-c","echo hello"]` if a shell should read it
      `env_vars.secrets[1]` is "TOKEN": write the keys `name`, `description` with their values
      `env_vars.args[0].name` is wrong: `a-b` is not a name for an environment variable: `[A-Za-z_][A-Za-z0-9_]*`, at most 255 characters, neither `OCTAVIUS_…` nor `LD_…`
      `env_vars.args[0].required` is "yes": write `true` or `false`
      `env_vars.args[1].allowed` is "x": write a list of values, for example `["a", "b"]`
      `env_vars.args[1].name` is `city`, which another argument or secret has already: give each its own name
      `env_vars.args[1].type` is "text": write one of `string`, `int`, `float`, `bool`, `enum`, `secret`
      `env_vars.args[1].default` is ["Berlin"]: write one value, in quotes
      `env_vars.args[2].nam` is not known: the nearest known key is `name`
      `env_vars.args[2].name` is missing: write the environment variable that the job reads
      `author` is 5: write a text, in quotes
      `timeout` is "soon": write how long the program may run, for example `"90s"`, `"1h30m"` or a number of seconds from 1 to a year's, or leave it out for what the executor says
      `retry.attemps` is not known: the nearest known key is `attempts`
      `retry.factor` is 0: write by how much each pause is longer than the one before, for example `2` or `1.5`
      `retry.pause` is "long": write a length of time, for example `"10s"` or `"5m"`, or a number of seconds
      `concurrency` is 0: write how many executions of the job run at once, a whole number from 1
      `concurrency_key` is {}: write the name of an argument, or a list of some, for example `["host"]`
      `team` is 7: write a text, in quotes
      `priority` is "high": write a whole number from 0, served last, to 9
      `executor_selector.zone` is ["eu"]: write one value, in quotes
      `resources` is []: write the keys `requests`, `limits` with their values
      `kubernetes` is "spec": write a partial pod template, as keys with values
      `namespace` is wrong: `Team_A` is not a namespace: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last; or leave it out for the executor's
      `name` is wrong: `Hello World` is not a job's name: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last
    "#);
}

#[test]
fn one_fault_is_one_line() {
    insta::assert_snapshot!(faults(r#"{"name": "a", "image_name": "b", "timeout": 0}"#), @r#"metadata.json: `timeout` is 0: write how long the program may run, for example `"90s"`, `"1h30m"` or a number of seconds from 1 to a year's, or leave it out for what the executor says"#);
    insta::assert_snapshot!(faults(r#"{"name": "a"}"#), @"metadata.json: `image_name` is missing, and so is `command`: write the image, or the program to run, or both");
    insta::assert_snapshot!(faults(r#"{"name": "a", "command": []}"#), @r#"metadata.json: `command` is an empty list: write a list of texts, for example `["sh", "-c", "echo hello"]`, or leave it out"#);
    insta::assert_snapshot!(faults(r#"{"image_name": "b"}"#), @"metadata.json: `name` is missing: write what the job is called, for example `hello-friend`");
    insta::assert_snapshot!(faults(r#"{"name": "a", "image_name": "b", "namespace": ""}"#), @"metadata.json: `namespace` is wrong: `` is not a namespace: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last; or leave it out for the executor's");
    insta::assert_snapshot!(faults(r#"{"name": "a", "image_name": "b", "namepsace": "c"}"#), @"metadata.json: `namepsace` is not known: the nearest known key is `namespace`");
    insta::assert_snapshot!(faults(r#"["name"]"#), @r#"metadata.json: holds ["name"] and no job: write the keys `name`, `description`, `image_name`, `command`, `timeout`, `start_timeout`, `queue_timeout`, `retry`, `concurrency`, `concurrency_key`, `on_limit`, `team`, `priority`, `max_priority`, `on_lost`, `executor_selector`, `resources`, `kubernetes`, `namespace`, `env_vars`, `authorized_groups`, `author`, `contributors`, `organization` with their values"#);
    insta::assert_snapshot!(faults(""), @"metadata.json: holds null and no job: write the keys `name`, `description`, `image_name`, `command`, `timeout`, `start_timeout`, `queue_timeout`, `retry`, `concurrency`, `concurrency_key`, `on_limit`, `team`, `priority`, `max_priority`, `on_lost`, `executor_selector`, `resources`, `kubernetes`, `namespace`, `env_vars`, `authorized_groups`, `author`, `contributors`, `organization` with their values");
}

#[test]
fn what_cannot_be_parsed_says_where() {
    insta::assert_snapshot!(faults("{\n  \"name\": \"a\",\n}"), @"metadata.json: is not as JSON should be: trailing comma at line 3 column 1");
    insta::assert_snapshot!(faults("{\"name\": \"a\", \"name\": \"b\"}"), @"metadata.json: is not as JSON should be: the key `name` stands there twice at line 1 column 26");
    let nested =
        "{\"name\": \"a\",\n\"executor_selector\": {\n\"zone\": \"eu\",\n\"zone\": \"us\"}}";
    let nested = parse(nested, "a.json").unwrap_err().to_string();
    assert!(nested.contains("the key `zone` stands there twice at line 4"), "{nested}");
    let nested = "name: a\ncommand: [a]\nexecutor_selector:\n  zone: eu\n  zone: us\n";
    let nested = parse(nested, "a.yaml").unwrap_err().to_string();
    assert!(nested.contains("zone") && nested.contains('5'), "{nested}");
    let twice = parse("name: a\nname: b\n", "a.yaml").unwrap_err().to_string();
    assert!(twice.contains("name") && twice.contains('2'), "{twice}");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,12}", "(yes|null|~|1e5|0x1f|- a|a: b|#c)"]
}

prop_compose! {
    fn definition()(
        name in "[a-z0-9]{1,9}",
        texts in prop::collection::vec(text(), 5),
        command in prop::collection::vec("[^\0]{1,9}", 1..4),
        groups in prop::collection::vec(text(), 0..3),
        names in prop::collection::btree_set("[a-z_][A-Za-z0-9_]{0,5}", 0..5),
        required in any::<bool>(),
        seconds in 0..100_000_u64,
        running in (any::<bool>(), 0..9_u32, text(), 0..6_i32, prop::option::of(text()), 1..400_u32),
    ) -> JobDefinition {
        let (has_retry, count, word, kind, value, factor) = running;
        let length = (seconds > 0).then(|| Duration::from_secs(seconds).try_into().unwrap());
        let pairs: std::collections::BTreeMap<_, _> =
            (0..count).map(|n| (format!("{word}{n}"), word.clone())).collect();
        let mut names: Vec<String> = names.into_iter().collect();
        let description = texts[0].clone();
        let secrets = names.split_off(names.len() / 2);
        let secrets = secrets.into_iter();
        JobDefinition {
            description: texts[1].clone(),
            image_name: texts[2].clone(),
            command,
            arguments: names
                .into_iter()
                .map(|name| Argument {
                    name,
                    description: description.clone(),
                    required,
                    r#type: kind + 1,
                    default_value: value.clone(),
                    allowed: (0..count).map(|_| word.clone()).collect(),
                    pattern: word.clone(),
                    min: value.clone(),
                    max: value.clone(),
                    allowed_for: (0..count)
                        .map(|index| (format!("{word}{index}"), word.clone()))
                        .map(|(group, value)| (group, ArgumentValues { values: vec![value] }))
                        .collect(),
                })
                .collect(),
            secrets: secrets
                .map(|name| SecretName { name, description: description.clone() })
                .collect(),
            authorized_groups: groups,
            author: texts[3].clone(),
            contributors: texts[4].clone(),
            organization: String::new(),
            timeout: length,
            start_timeout: length,
            queue_timeout: length,
            retry: has_retry.then(|| Retry {
                attempts: count,
                pause: length,
                factor: f64::from(factor) / 4.0,
                max_pause: length,
                on: (0..count).map(|_| word.clone()).collect(),
            }),
            concurrency: count,
            concurrency_key: (0..count).map(|_| word.clone()).collect(),
            on_limit: word.clone(),
            team: texts[3].clone(),
            priority: has_retry.then_some(count),
            max_priority: value.is_some().then_some(factor),
            on_lost: word.clone(),
            executor_selector: pairs.clone(),
            resources: (count > 0).then(|| Resources { requests: pairs.clone(), limits: pairs }),
            kubernetes: if has_retry { json!({"spec": {"a": word}}).to_string() } else { String::new() },
            namespace: if has_retry { name.clone() } else { String::new() },
            name,
        }
    }
}

proptest! {
    #[test]
    fn what_is_shown_of_a_job_is_read_as_the_same_job(definition in definition()) {
        let document = to_document(&definition);
        let json = serde_json::to_string_pretty(&document).unwrap();
        prop_assert_eq!(parse(&json, "a.json").unwrap(), definition.clone());
        let yaml = serde_saphyr::to_string(&document).unwrap();
        prop_assert_eq!(parse(&yaml, "a.yaml"), Ok(definition), "{}", yaml);
    }

    #[test]
    fn no_text_breaks_the_reader(text: String) {
        let _ = parse(&text, "a.yaml");
    }
}
