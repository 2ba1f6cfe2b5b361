//! A job's own partial pod template: which of its fields an executor lets through.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use octavius_service::text::cut;
use serde_json::Value;

/// What a container that a template brings says of itself, where a job says it of its own one under keys of its own.
const WHAT_IT_RUNS: [&str; 3] = ["args", "command", "image"];

/// The most bytes of a value in a refusal.
const MOST_SHOWN: usize = 200;

/// The template of a job that may only say what is `allowed`; or what is wrong, for its author.
///
/// Fields are named as Kubernetes does: those of the pod's `spec`, and those of its containers, by their own name; those of
/// `metadata` as well. Of containers a template can change the job's own one, `job`; others are allowed by `containers` and
/// `initContainers`, and may say of themselves what they run, and else no more than the job's own.
pub(super) fn parse(
    text: &str,
    container: &str,
    allowed: &[String],
) -> Result<PodTemplateSpec, String> {
    if text.is_empty() {
        return Ok(PodTemplateSpec::default());
    }
    let wrong = |why: &str| format!("the job's key `kubernetes` is no pod template: {why}");
    let mut value: Value = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let Value::Object(parts) = &mut value else {
        return Err(wrong("write an object with the keys `metadata` and `spec`"));
    };
    for (part, inner) in parts.iter_mut() {
        match (part.as_str(), inner) {
            ("metadata", Value::Object(fields)) => {
                for (field, inner) in fields.iter() {
                    allow(field, &format!("metadata.{field}"), inner, allowed)?;
                }
            }
            ("spec", Value::Object(fields)) => {
                for (field, inner) in fields.iter() {
                    match field.as_str() {
                        "containers" => containers(field, inner, Some(container), allowed)?,
                        "initContainers" => containers(field, inner, None, allowed)?,
                        field => allow(field, &format!("spec.{field}"), inner, allowed)?,
                    }
                }
                // Which the API's own type demands.
                fields.entry("containers").or_insert_with(|| Value::Array(Vec::new()));
            }
            (other, _) => {
                return Err(wrong(&format!("`{other}`: write the objects `metadata` and `spec`")));
            }
        }
    }
    let template: PodTemplateSpec =
        serde_json::from_value(value.clone()).map_err(|error| wrong(&error.to_string()))?;
    let back = serde_json::to_value(&template).unwrap_or_default();
    match unknown(&value, &back, "") {
        Some(field) => Err(wrong(&format!("there is no field `{field}`"))),
        None => Ok(template),
    }
}

/// Looks at the containers under `list`, of which the job's own, if it is one of them, is called `own`.
fn containers(
    list: &str,
    value: &Value,
    own: Option<&str>,
    allowed: &[String],
) -> Result<(), String> {
    for one in value.as_array().into_iter().flatten() {
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        let is_own = own == Some(name);
        if !is_own {
            allow(list, &format!("spec.{list}[{name}]"), one, allowed)?;
        }
        let says = |field: &str| field == "name" || !is_own && WHAT_IT_RUNS.contains(&field);
        let fields = one.as_object().into_iter().flatten();
        for (field, inner) in fields.filter(|(field, _)| !says(field)) {
            allow(field, &format!("spec.{list}[{name}].{field}"), inner, allowed)?;
        }
    }
    Ok(())
}

fn allow(field: &str, path: &str, value: &Value, allowed: &[String]) -> Result<(), String> {
    if allowed.iter().any(|allowed| allowed == field) {
        return Ok(());
    }
    let listed = allowed.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    let listed = if listed.is_empty() { "nothing".to_owned() } else { listed };
    let value = cut(value.to_string(), MOST_SHOWN);
    Err(format!(
        "the job's key `kubernetes` has `{path}` ({value}), which this executor does not let through: its file allows \
         {listed} under `allowed_template_fields`; take the field out of the job, or let whoever runs the executor add \
         `{field}` there"
    ))
}

/// The first field that got lost on the way through the API's types.
fn unknown(said: &Value, back: &Value, path: &str) -> Option<String> {
    match (said, back) {
        (Value::Object(said), Value::Object(back)) => said.iter().find_map(|(name, inner)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match back.get(name) {
                Some(other) => unknown(inner, other, &path),
                None if is_empty(inner) => None,
                None => Some(path),
            }
        }),
        (Value::Array(said), Value::Array(back)) => {
            said.iter().zip(back).find_map(|(one, other)| unknown(one, other, path))
        }
        (_, _) => None,
    }
}

/// What is left out where it says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(inner) => inner.is_empty(),
        Value::Object(inner) => inner.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 3] = ["resources", "nodeSelector", "tolerations"];

    fn allowed(text: &str) -> Result<PodTemplateSpec, String> {
        parse(text, "job", &ALLOWED.map(str::to_owned))
    }

    #[test]
    fn what_is_allowed_is_let_through() {
        let text = r#"{"spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "containers": [{"name": "job", "resources": {"limits": {"cpu": "2"}}}]}}"#;
        let spec = allowed(text).unwrap().spec.unwrap();
        assert_eq!(spec.node_selector.unwrap()["disk"], "ssd");
        assert_eq!(
            spec.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap()["cpu"].0,
            "2"
        );
        assert_eq!(allowed("").unwrap(), PodTemplateSpec::default());
        assert_eq!(parse(r#"{"spec": {}}"#, "job", &[]).unwrap().metadata, None);
    }

    #[test]
    fn what_is_not_allowed_is_refused_by_name() {
        for (text, path, field) in [
            (r#"{"spec": {"hostNetwork": true}}"#, "`spec.hostNetwork`", "`hostNetwork`"),
            (r#"{"metadata": {"annotations": {}}}"#, "`metadata.annotations`", "`annotations`"),
            (
                r#"{"spec": {"containers": [{"name": "job", "securityContext": {"privileged": true}}]}}"#,
                "`spec.containers[job].securityContext`",
                "`securityContext`",
            ),
            (
                r#"{"spec": {"containers": [{"name": "spy", "image": "spy"}]}}"#,
                "`spec.containers[spy]`",
                "`containers`",
            ),
            (
                r#"{"spec": {"initContainers": [{"name": "spy", "image": "spy"}]}}"#,
                "`spec.initContainers[spy]`",
                "`initContainers`",
            ),
        ] {
            let refused = allowed(text).unwrap_err();
            assert!(refused.contains(path), "{refused}");
            assert!(refused.contains("`allowed_template_fields`"), "{refused}");
            assert!(refused.contains("`resources`, `nodeSelector`, `tolerations`"), "{refused}");
            assert!(refused.ends_with(&format!("add {field} there")), "{refused}");
        }
    }

    #[test]
    fn a_container_that_a_template_brings_may_say_no_more_than_the_jobs_own() {
        let brought = |list: &str, says: &str, more: &[&str]| {
            let text =
                format!(r#"{{"spec": {{"{list}": [{{"name": "job", "image": "x"{says}}}]}}}}"#);
            let text = text.replace("job", if list == "containers" { "spy" } else { "job" });
            let fields = ["containers", "initContainers"].iter().chain(more);
            parse(&text, "job", &fields.map(|field| (*field).to_owned()).collect::<Vec<_>>())
        };
        for list in ["containers", "initContainers"] {
            for (field, value) in [
                ("securityContext", r#"{"privileged":true}"#),
                ("envFrom", r#"[{"secretRef":{"name":"of-others"}}]"#),
                ("ports", r#"[{"containerPort":80,"hostPort":80}]"#),
            ] {
                let says = format!(r#", "{field}": {value}"#);
                let refused = brought(list, &says, &[]).unwrap_err();
                assert!(refused.contains(&format!("].{field}` ({value})")), "{refused}");
                assert!(refused.ends_with(&format!("add `{field}` there")), "{refused}");
                brought(list, &says, &[field]).unwrap();
            }
            brought(list, r#", "command": ["sh"], "args": ["-c", ":"]"#, &[]).unwrap();
        }
    }

    #[test]
    fn what_is_no_template_is_refused_in_words() {
        for (text, says) in [
            ("[]", "`metadata` and `spec`"),
            ("{", "no pod template"),
            (r#"{"nodeSelector": {}}"#, "`nodeSelector`"),
            (r#"{"spec": {"nodeSelector": "ssd"}}"#, "expected a map"),
            (
                r#"{"spec": {"tolerations": [{"kye": "gpu"}]}}"#,
                "there is no field `spec.tolerations.kye`",
            ),
        ] {
            let refused = allowed(text).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
