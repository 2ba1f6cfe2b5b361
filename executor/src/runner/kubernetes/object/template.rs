//! A job's own partial pod template: which of its fields an executor lets through.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// The template of a job that may only say what is `allowed`; or what is wrong, for its author.
///
/// Fields are named as Kubernetes does: those of the pod's `spec`, and those of its containers, by their own name; those of
/// `metadata` as well. Of containers a template can change the job's own one, `job`; others are allowed by `containers`.
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
                fields
                    .keys()
                    .try_for_each(|field| allow(field, &format!("metadata.{field}"), allowed))?;
            }
            ("spec", Value::Object(fields)) => {
                for (field, inner) in fields.iter() {
                    if field == "containers" {
                        containers(inner, container, allowed)?;
                    } else {
                        allow(field, &format!("spec.{field}"), allowed)?;
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

fn containers(value: &Value, own: &str, allowed: &[String]) -> Result<(), String> {
    for one in value.as_array().into_iter().flatten() {
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        if name != own {
            allow("containers", &format!("spec.containers[{name}]"), allowed)?;
            continue;
        }
        let fields = one.as_object().into_iter().flat_map(|fields| fields.keys());
        for field in fields.filter(|field| *field != "name") {
            allow(field, &format!("spec.containers[{own}].{field}"), allowed)?;
        }
    }
    Ok(())
}

fn allow(field: &str, path: &str, allowed: &[String]) -> Result<(), String> {
    if allowed.iter().any(|allowed| allowed == field) {
        return Ok(());
    }
    let listed = allowed.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
    let listed = if listed.is_empty() { "nothing".to_owned() } else { listed };
    Err(format!(
        "the job's key `kubernetes` has `{path}`, which this executor does not let through: its file allows {listed} \
         under `allowed_template_fields`; take the field out of the job, or let whoever runs the executor add `{field}` there"
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
        ] {
            let refused = allowed(text).unwrap_err();
            assert!(refused.contains(path), "{refused}");
            assert!(refused.contains("`allowed_template_fields`"), "{refused}");
            assert!(refused.contains("`resources`, `nodeSelector`, `tolerations`"), "{refused}");
            assert!(refused.ends_with(&format!("add {field} there")), "{refused}");
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
