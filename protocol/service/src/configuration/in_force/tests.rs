//! What somebody sees who asks what is in force.

use super::*;
use crate::{
    configuration::{Bounds, Fault, load_with},
    section,
};
use secrecy::SecretString;
use std::{collections::BTreeMap, time::Duration};

section! {
    /// What a worker is told.
    struct Worker, file "worker.json", variables "WORKER_";

    /// Who it is.
    id: String;
    /// Proves who it is.
    access_token: Option<SecretString>;
    /// Time between two pings.
    ping_interval: Duration = Duration::from_secs(2);
    /// What it is.
    labels: BTreeMap<String, String> = BTreeMap::new();
    /// How much it does.
    capacity: Option<u32>;

    without_effect {
        patience: "it has none";
    }
}

impl Bounds for Worker {
    fn faults(&self) -> Vec<Fault> {
        let empty = self.id.is_empty().then(|| Fault::new("id", "give a name"));
        empty.into_iter().collect()
    }

    fn derived(&self) -> Vec<Derived> {
        let eight = || Derived::new("capacity", &8u32, "the cores of this machine");
        self.capacity.is_none().then(eight).into_iter().collect()
    }
}

const TOKEN: &str = "hunter2-planted";

fn says(file: &str, variables: &[(&str, &str)], form: Form, beyond: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker.yaml");
    std::fs::write(&path, file).unwrap();
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let loaded = load_with::<Worker>(&path, variables);
    let beyond = beyond.iter().copied().map(str::to_owned).collect();
    let Said { out, err, is_right } = said(&loaded, form, |_| beyond);
    let place = format!("{}/", folder.path().display());
    Said { out: out.replace(&place, ""), err: err.replace(&place, ""), is_right }
}

#[test]
fn each_key_has_its_value_and_where_that_comes_from() {
    let file = format!(
        "id: \"a\\nb\"\naccess_token: {TOKEN}\npatience: 3\nlabels: {{zone: eu, gpu: \"2\"}}"
    );
    let variables = [("WORKER_PING_INTERVAL", "90")];
    let Said { out, err, is_right } = says(&file, &variables, Form::Text, &[]);
    assert_eq!(
        out,
        "KEY            VALUE           FROM\n\
         id             a\\nb            worker.yaml\n\
         access_token   (hidden)        worker.yaml\n\
         ping_interval  90s             WORKER_PING_INTERVAL\n\
         labels         gpu=2, zone=eu  worker.yaml\n\
         capacity       8               derived from the cores of this machine\n"
    );
    assert_eq!(err, "warning: worker.yaml: `patience` has no effect: it has none\n");
    assert!(is_right);
    let given = says("id: a\n", &[("WORKER_CAPACITY", "3")], Form::Text, &[]).out;
    assert!(given.contains("capacity       3      WORKER_CAPACITY\n"), "{given}");
    assert!(given.contains("access_token   none   default\n"), "{given}");
}

#[test]
fn a_program_gets_one_document_whose_values_a_file_could_have() {
    let file = format!("id: a\naccess_token: {TOKEN}\npatience: 3\nlabels: {{zone: eu}}");
    let Said { out, err, is_right } = says(&file, &[], Form::Json, &["no"]);
    let given = |value: Value| json!({"value": value, "from": "worker.yaml"});
    assert_eq!(
        serde_json::from_str::<Value>(&out).unwrap(),
        json!({
            "keys": {
                "id": given(json!("a")),
                "access_token": given(json!("(hidden)")),
                "ping_interval": {"value": "2s", "from": "default"},
                "labels": given(json!({"zone": "eu"})),
                "capacity": {"value": 8, "from": "derived from the cores of this machine"},
            },
            "warnings": ["worker.yaml: `patience` has no effect: it has none"],
            "faults": [{"text": "no"}],
        })
    );
    assert_eq!((err.as_str(), is_right), ("", false));
    let nothing = says("id: a", &[], Form::Json, &[]).out;
    let nothing: Value = serde_json::from_str(&nothing).unwrap();
    assert_eq!(nothing["keys"]["access_token"]["value"], Value::Null);
}

#[test]
fn all_faults_are_told_in_words_or_in_one_document() {
    let file = format!("di: a\nping_interval: soon\nacess_token: {TOKEN}");
    let Said { out, err, is_right } = says(&file, &[], Form::Text, &[]);
    assert_eq!((out.as_str(), is_right), ("", false));
    for wanted in ["`di` is not a known key: did you mean `id`?", "`ping_interval` is `soon`: give"]
    {
        assert!(err.contains(wanted), "{err}");
    }
    let document = says(&file, &[], Form::Json, &[]);
    assert_eq!((document.err.as_str(), document.is_right), ("", false));
    let read: Value = serde_json::from_str(&document.out).unwrap();
    let faults = read["faults"].as_array().unwrap();
    let keys: Vec<_> = faults.iter().map(|fault| fault["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["di", "acess_token", "id", "ping_interval"]);
    assert_eq!(faults[3]["value"], "soon");
    assert_eq!(faults[3]["from"], "worker.yaml");
    assert!(faults[3]["remedy"].as_str().unwrap().contains("`90s`"));
    for text in [err, document.out] {
        assert!(!text.contains("hun"), "{text}");
    }
}

#[test]
fn what_is_refused_beyond_the_keys_is_told_beside_them() {
    let Said { out, err, is_right } = says("id: a", &[], Form::Text, &["not with this version"]);
    assert!(out.contains("id             a"), "{out}");
    assert_eq!((err.as_str(), is_right), ("not with this version\n", false));
}
