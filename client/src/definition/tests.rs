use super::*;
use proptest::prelude::*;

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
fn all_faults_are_told_at_once() {
    let wrong = r#"{
        "name": "Hello World", "descripton": "x", "command": "echo hello", "timeout": "soon",
        "retry": {"attempts": 3}, "author": 5,
        "env_vars": {
            "args": [
                {"name": "a-b", "required": "yes"},
                {"name": "city", "default": "Berlin"},
                {"nam": "x"}
            ],
            "secrets": [{"name": "city"}, "TOKEN"]
        }
    }"#;
    insta::assert_snapshot!(faults(wrong), @r#"
    metadata.json: 13 things are wrong
      `descripton` is not known: the nearest known key is `description`
      `retry` is a key that this version does not know yet: leave it out
      `command` is the text "echo hello": write a list, here `["sh","-c","echo hello"]` if a shell should read it
      `env_vars.secrets[1]` is "TOKEN": write the keys `name`, `description` with their values
      `env_vars.args[0].name` is wrong: `a-b` is not a name for an environment variable: `[A-Za-z_][A-Za-z0-9_]*`, at most 255 characters, neither `OCTAVIUS_…` nor `LD_…`
      `env_vars.args[0].required` is "yes": write `true` or `false`
      `env_vars.args[1].default` is a key that this version does not know yet: leave it out
      `env_vars.args[1].name` is `city`, which another argument or secret has already: give each its own name
      `env_vars.args[2].nam` is not known: the nearest known key is `name`
      `env_vars.args[2].name` is missing: write the environment variable that the job reads
      `author` is 5: write a text, in quotes
      `timeout` is "soon": write how long the program may run, for example `"90s"`, `"1h30m"` or a number of seconds from 1 to a year's, or leave it out for no limit
      `name` is wrong: `Hello World` is not a job's name: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last
    "#);
}

#[test]
fn one_fault_is_one_line() {
    insta::assert_snapshot!(faults(r#"{"name": "a", "image_name": "b", "timeout": 0}"#), @r#"metadata.json: `timeout` is 0: write how long the program may run, for example `"90s"`, `"1h30m"` or a number of seconds from 1 to a year's, or leave it out for no limit"#);
    insta::assert_snapshot!(faults(r#"{"name": "a"}"#), @"metadata.json: `image_name` is missing, and so is `command`: write the image, or the program to run, or both");
    insta::assert_snapshot!(faults(r#"{"name": "a", "command": []}"#), @r#"metadata.json: `command` is an empty list: write a list of texts, for example `["sh", "-c", "echo hello"]`, or leave it out"#);
    insta::assert_snapshot!(faults(r#"{"image_name": "b"}"#), @"metadata.json: `name` is missing: write what the job is called, for example `hello-friend`");
    insta::assert_snapshot!(faults(r#"["name"]"#), @r#"metadata.json: holds ["name"] and no job: write the keys `name`, `description`, `image_name`, `command`, `timeout`, `env_vars`, `authorized_groups`, `author`, `contributors`, `organization` with their values"#);
    insta::assert_snapshot!(faults(""), @"metadata.json: holds null and no job: write the keys `name`, `description`, `image_name`, `command`, `timeout`, `env_vars`, `authorized_groups`, `author`, `contributors`, `organization` with their values");
}

#[test]
fn what_cannot_be_parsed_says_where() {
    insta::assert_snapshot!(faults("{\n  \"name\": \"a\",\n}"), @"metadata.json: is not as JSON should be: trailing comma at line 3 column 1");
    insta::assert_snapshot!(faults("{\"name\": \"a\", \"name\": \"b\"}"), @"metadata.json: is not as JSON should be: the key `name` stands there twice at line 1 column 26");
    let twice = parse("name: a\nname: b\n", "a.yaml").unwrap_err().to_string();
    assert!(twice.contains("name") && twice.contains('2'), "{twice}");
}

#[test]
fn every_key_of_a_later_version_is_refused_by_name() {
    for key in JOB.later {
        let found = faults(&format!(r#"{{"name": "a", "image_name": "b", "{key}": 1}}"#));
        let told = format!("`{key}` is a key that this version does not know yet");
        assert!(found.contains(&told), "{found}");
    }
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
    ) -> JobDefinition {
        let mut names: Vec<String> = names.into_iter().collect();
        let description = texts[0].clone();
        let secrets = names.split_off(names.len() / 2);
        let secrets = secrets.into_iter();
        JobDefinition {
            name,
            description: texts[1].clone(),
            image_name: texts[2].clone(),
            command,
            arguments: names
                .into_iter()
                .map(|name| Argument { name, description: description.clone(), required, ..Argument::default() })
                .collect(),
            secrets: secrets
                .map(|name| SecretName { name, description: description.clone() })
                .collect(),
            authorized_groups: groups,
            author: texts[3].clone(),
            contributors: texts[4].clone(),
            organization: String::new(),
            timeout: (seconds > 0).then(|| Duration::from_secs(seconds).try_into().unwrap()),
            ..JobDefinition::default()
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
