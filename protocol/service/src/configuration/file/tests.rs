//! Which file is read, and what is in it.

use super::*;
use serde_json::json;

fn folder(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::write(folder.path().join(file), file).unwrap();
    }
    folder
}

/// The name of the file that is found, and its text or what is wrong with it.
fn found(files: &[&str], named: Option<&str>) -> (String, Result<String, String>) {
    let folder = folder(files);
    let named = named.map(|named| folder.path().join(named));
    let (path, text) = find(folder.path(), "worker.json", named.as_deref());
    let name = path.strip_prefix(folder.path()).unwrap().display().to_string();
    let place = format!("{}/", folder.path().display());
    (name, text.map_err(|problem| problem.to_string().replace(&place, "")))
}

#[test]
fn the_usual_name_is_found_with_either_ending_of_yaml_too() {
    for file in ["worker.json", "worker.yaml", "worker.yml"] {
        assert_eq!(found(&[file, "other.json"], None), (file.to_owned(), Ok(file.to_owned())));
    }
    let (name, text) = found(&["other.yaml"], None);
    assert_eq!(name, "worker.json");
    assert!(text.unwrap_err().contains("worker.json: there is no such file"));
}

#[test]
fn of_two_files_neither_is_taken_and_both_are_named() {
    for (first, second) in [
        ("worker.json", "worker.yaml"),
        ("worker.json", "worker.yml"),
        ("worker.yaml", "worker.yml"),
    ] {
        let text = found(&[first, second], None).1.unwrap_err();
        let wanted = format!(
            "{first}: is not the only one: there is `{second}` as well: keep one of them, or name the one that is meant with `--config`"
        );
        assert_eq!(text, wanted);
        assert_eq!(found(&[first, second], Some(second)).1, Ok(second.to_owned()));
    }
    let three = found(&["worker.json", "worker.yaml", "worker.yml"], None).1.unwrap_err();
    assert!(three.contains("`worker.yaml` and `worker.yml`"), "{three}");
}

#[track_caller]
fn yaml_is(text: &str, wanted: Value) {
    let Value::Object(wanted) = wanted else { panic!("not an object: {wanted}") };
    let read = entries(Path::new("w.yaml"), text).unwrap();
    assert_eq!(read.into_iter().collect::<serde_json::Map<_, _>>(), wanted);
}

#[test]
fn yaml_gives_what_json_gives() {
    yaml_is(
        "# who\nid: a\nport: 3000\nlabels: {zone: eu}\nlist:\n- 1\n- b\nnothing:\n",
        json!({"id": "a", "port": 3000, "labels": {"zone": "eu"}, "list": [1, "b"], "nothing": null}),
    );
    yaml_is(
        "level: off\nyes: on\ntrue: true\n",
        json!({"level": "off", "yes": "on", "true": true}),
    );
    yaml_is("{\"id\": \"a\"}", json!({"id": "a"}));
    yaml_is("\u{feff}id: a", json!({"id": "a"}));
    for nothing in ["", "# only a comment\n", "---\n"] {
        yaml_is(nothing, json!({}));
    }
}

#[test]
fn the_ending_says_what_a_file_holds() {
    for (name, holds) in [("a.yaml", true), ("a.YML", true), ("a.json", false), ("a", false)] {
        assert_eq!(entries(Path::new(name), "id: a").is_ok(), holds, "{name}");
    }
}

#[test]
fn a_key_that_stands_twice_inside_of_a_value_is_told_with_its_line() {
    let wrong = |name: &str, text: &str| entries(Path::new(name), text).unwrap_err().to_string();
    let told = |name| format!("{name}: line 4: the key `zone` is given twice: keep one of them");
    let json = "{\n\"labels\": {\n\"zone\": \"eu\",\n\"zone\": \"us\"}}";
    assert_eq!(wrong("w.json", json), told("w.json"));
    let deep = "{\"a\": [{},\n\n{\"zone\": 1,\n\"zone\": 1}]}";
    assert_eq!(wrong("w.json", deep), told("w.json"));
    let yaml = "id: a\nlabels:\n  zone: eu\n  zone: us\nport: 1\n";
    assert_eq!(wrong("w.yaml", yaml), told("w.yaml"));
    let deep = "a:\n- b\n- zone: 1\n  zone: 1\n";
    assert_eq!(wrong("w.yaml", deep), told("w.yaml"));
    assert!(entries(Path::new("w.yaml"), "a: {zone: 1}\nb: {zone: 1}\n").is_ok());
}

#[test]
fn what_is_no_yaml_is_told_with_its_line_and_without_its_words() {
    let wrong = |text: &str| entries(Path::new("w.yaml"), text).unwrap_err().to_string();
    let text = wrong("id: a\n  hunter2: [\nb: c");
    assert!(
        text.starts_with("w.yaml: line ") && text.contains("is not YAML: mend that line"),
        "{text}"
    );
    assert!(!text.contains("hun"), "{text}");
    let text = wrong("id: a\nkey: \"hunter2\n");
    assert!(text.contains("is not YAML") && !text.contains("hun"), "{text}");
    let text = wrong("id: a\n---\nid: b\n");
    assert!(text.contains("w.yaml: ") && !text.contains("id"), "{text}");
    for list in ["[1]", "- hunter2", "hunter2"] {
        let wanted = "w.yaml: does not hold keys with values: write one `key: value` on each line";
        assert_eq!(wrong(list), wanted);
    }
}
