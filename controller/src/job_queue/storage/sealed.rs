//! What was submitted, with the values of its arguments sealed.

use super::{super::record::Spec, Unreadable, decode_value};
use crate::{
    rotate::Failed,
    store::{Entry, keys, packed},
    vault::{DataKey, Place, Unopened, Vault},
};
use data_encoding::BASE64;
use octavius_protocol::{
    id::{ExecutionId, VariableName},
    secret::SecretValues,
};
use prost::Message as _;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is sealed: values by name.
#[derive(Clone, PartialEq, prost::Message)]
struct Values {
    #[prost(btree_map = "string, string", tag = "1")]
    values: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    spec: &'a Spec,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// What of a stored spec is sealed: base64. None: it has no arguments, or is of an earlier version.
#[derive(Deserialize)]
struct Sealed {
    #[serde(default)]
    sealed: Option<String>,
}

/// The bytes of what was submitted.
pub(super) fn encode(id: ExecutionId, spec: &Spec, key: &DataKey) -> serde_json::Result<Vec<u8>> {
    let named = spec.arguments.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let sealed = (!spec.arguments.is_empty())
        .then(|| BASE64.encode(&key.seal(&Place::Arguments(id), &packed(named))));
    serde_json::to_vec(&Stored { spec, sealed })
}

/// The bytes of the values that nobody may see.
pub(super) fn encode_secret_arguments(id: ExecutionId, spec: &Spec, key: &DataKey) -> Vec<u8> {
    key.seal(&Place::SecretArguments(id), &packed(spec.hidden.values.expose()))
}

fn packed<'a>(values: impl Iterator<Item = (&'a str, &'a str)>) -> Zeroizing<Vec<u8>> {
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Zeroizing::new(Values { values }.encode_to_vec())
}

fn unpacked(bytes: &[u8]) -> Result<BTreeMap<String, String>, Unopened> {
    Ok(Values::decode(bytes).map_err(|_| Unopened::Damaged)?.values)
}

/// What was submitted, from its bytes.
pub(in super::super) fn spec(
    id: ExecutionId,
    stored: &[u8],
    vault: &Vault,
) -> Result<Spec, Unreadable> {
    let key = keys::spec(id);
    let mut spec: Spec = decode_value(&key, stored)?;
    let Sealed { sealed } = decode_value(&key, stored)?;
    let Some(sealed) = sealed else { return Ok(spec) };
    let opened = BASE64.decode(sealed.as_bytes()).map_err(|_| Unopened::Damaged);
    let opened = opened.and_then(|sealed| vault.open_sealed(&Place::Arguments(id), &sealed));
    let values = opened.and_then(|opened| unpacked(&opened));
    let values = values.map_err(|why| Unreadable::Sealed { key, why })?;
    let named = |(name, value): (String, String)| Some((name.parse::<VariableName>().ok()?, value));
    spec.arguments = values.into_iter().filter_map(named).collect();
    Ok(spec)
}

/// What was submitted, from its bytes to its bytes, with its values sealed under the newer master key; none: they are
/// already, or there are none.
pub(crate) fn arguments_taken_over(
    entry: &Entry,
    vault: &Vault,
) -> Result<Option<Vec<u8>>, Failed> {
    let unreadable = |why: String| Failed::Unreadable(why);
    let json = packed::unpack(&entry.value).map_err(|error| unreadable(error.to_string()))?;
    let mut stored: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&json).map_err(|error| unreadable(error.to_string()))?;
    let Some(sealed) = stored.get("sealed").and_then(|sealed| sealed.as_str()) else {
        return Ok(None);
    };
    let sealed = BASE64.decode(sealed.as_bytes()).map_err(|_| Unopened::Damaged)?;
    let Some(sealed) = vault.taken_over(&sealed)? else { return Ok(None) };
    stored.insert("sealed".to_owned(), BASE64.encode(&sealed).into());
    let json = serde_json::to_vec(&stored).map_err(|error| unreadable(error.to_string()))?;
    Ok(Some(packed::pack(json).into()))
}

/// The values that nobody may see, from their bytes.
pub(in super::super) fn secret_arguments(
    id: ExecutionId,
    stored: &[u8],
    vault: &Vault,
) -> Result<SecretValues, Unreadable> {
    let opened = vault.open_sealed(&Place::SecretArguments(id), stored);
    let values = opened.and_then(|opened| unpacked(&opened));
    let key = keys::secret_arguments(id);
    let values = values.map_err(|why| Unreadable::Sealed { key, why })?;
    let mut secrets = SecretValues::default();
    for (name, value) in values {
        secrets.insert(name, value);
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ExecutionId {
        ExecutionId::from_bytes([byte; 16])
    }

    fn submitted() -> Spec {
        let secret: VariableName = "password".parse().unwrap();
        let mut spec = Spec {
            job: "greet".parse().unwrap(),
            arguments: [("name".parse().unwrap(), "Ada \u{1} \n Lovelace".to_owned())].into(),
            job_uid: "u".to_owned(),
            job_version: 1,
            user: "ada".to_owned(),
            image_name: String::new(),
            command: vec!["true".to_owned()],
            timeout_ms: None,
            hidden: Default::default(),
            defaulted: Default::default(),
            again: None,
            namespace: None,
            resources: None,
            kubernetes: String::new(),
            own: Default::default(),
        };
        spec.hidden.arguments.insert(secret.clone());
        spec.hidden.secrets.insert("TOKEN".parse().unwrap(), uuid::Uuid::from_bytes([3; 16]));
        spec.hidden.values.insert(secret.as_str(), "planted-password".to_owned());
        spec
    }

    #[test]
    fn what_was_submitted_comes_back_and_none_of_its_values_is_in_what_is_stored() {
        let vault = Vault::for_tests();
        let submitted = submitted();
        let stored = encode(id(1), &submitted, &vault.data_key()).unwrap();
        let apart = encode_secret_arguments(id(1), &submitted, &vault.data_key());
        for text in [&stored, &apart].map(|bytes| String::from_utf8_lossy(bytes)) {
            for planted in ["Ada", "Lovelace", "planted-password", "QWRh"] {
                assert!(!text.contains(planted), "{planted} is in {text}");
            }
        }
        let mut read = spec(id(1), &stored, &vault).unwrap();
        assert!(read.hidden.values.is_empty(), "what nobody may see was stored with the rest");
        read.hidden.values = secret_arguments(id(1), &apart, &vault).unwrap();
        assert_eq!(read, submitted);
        assert!(spec(id(2), &stored, &vault).is_err(), "it opened in another's place");
        assert!(secret_arguments(id(2), &apart, &vault).is_err());
    }

    #[test]
    fn what_an_earlier_version_stored_is_read() {
        let stored = br#"{"job":"greet","job_uid":"u","job_version":1,"user":"ada","image_name":"",
            "command":["true"],"arguments":{"name":"Ada"},"timeout_ms":null}"#;
        let read = spec(id(1), stored, &Vault::for_tests()).unwrap();
        assert_eq!(read.arguments.values().collect::<Vec<_>>(), ["Ada"]);
    }
}
