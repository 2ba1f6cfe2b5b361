//! Values that nobody may see: no `Debug` shows them, and their memory is wiped when they are dropped.

use crate::v1;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, fmt};

/// What is shown in the place of a value.
pub const HIDDEN: &str = "[secret]";

/// Secret values by the environment variables that will hold them.
#[derive(Clone, Default)]
pub struct SecretValues(BTreeMap<String, SecretString>);

impl SecretValues {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one; a former value of the name is dropped.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<SecretString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Adds all of `others`.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and values, in the order of the names. Whoever calls this shows no value to anybody.
    pub fn expose(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }

    /// The bytes of all names and values.
    pub fn size(&self) -> usize {
        self.expose().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PartialEq for SecretValues {
    fn eq(&self, other: &Self) -> bool {
        self.expose().eq(other.expose())
    }
}

impl Eq for SecretValues {}

impl fmt::Debug for v1::SetSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, name, value: _, unmasked } = self;
        f.debug_struct("SetSecretRequest")
            .field("job", job)
            .field("name", name)
            .field("value", &HIDDEN)
            .field("unmasked", unmasked)
            .finish()
    }
}

impl fmt::Debug for v1::Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("job", &self.job)
            .field("user", &self.user)
            .field("arguments", &self.arguments.keys())
            .field("secrets", &self.secrets.keys())
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::ExecuteRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecuteRequest")
            .field("job", &self.job)
            .field("arguments", &self.arguments.keys())
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::RerunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerunRequest")
            .field("id", &self.id)
            .field("same_version", &self.same_version)
            .field("arguments", &self.arguments.keys())
            .field("request_id", &self.request_id)
            .finish()
    }
}

/// A token that is not shown: whether there is one may be.
fn hidden(token: &str) -> &'static str {
    if token.is_empty() { "" } else { HIDDEN }
}

impl fmt::Debug for v1::CreateTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, about } = self;
        f.debug_struct("CreateTokenResponse")
            .field("token", &hidden(token))
            .field("about", about)
            .finish()
    }
}

impl fmt::Debug for v1::InviteExecutorsResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, about } = self;
        f.debug_struct("InviteExecutorsResponse")
            .field("token", &hidden(token))
            .field("about", about)
            .finish()
    }
}

impl fmt::Debug for v1::RegisterResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { term, session, installation, ping_deadline, credential } = self;
        f.debug_struct("RegisterResponse")
            .field("term", term)
            .field("session", session)
            .field("installation", installation)
            .field("ping_deadline", ping_deadline)
            .field("credential", &hidden(credential))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_carries_a_token_shows_it() {
        const PLANTED: &str = "octp_0123456789abcdef_planted";
        let about = Some(v1::Token { id: "0123456789abcdef".to_owned(), ..Default::default() });
        let token = PLANTED.to_owned();
        let shown = [
            format!("{:?}", v1::CreateTokenResponse { token: token.clone(), about: about.clone() }),
            format!("{:#?}", v1::InviteExecutorsResponse { token: token.clone(), about }),
            format!("{:?}", v1::RegisterResponse { credential: token, ..Default::default() }),
        ];
        for shown in shown {
            assert!(!shown.contains("planted") && shown.contains(HIDDEN), "{shown}");
        }
    }

    #[test]
    fn nothing_that_carries_a_secret_shows_it() {
        const PLANTED: &str = "S3cr3t-7f1c-Zq";
        let arguments = BTreeMap::from([("password".to_owned(), PLANTED.to_owned())]);
        let bytes = BTreeMap::from([("TOKEN".to_owned(), PLANTED.as_bytes().to_vec())]);
        let mut values = SecretValues::default();
        values.insert("TOKEN", PLANTED.to_owned());
        let set = v1::SetSecretRequest {
            name: "TOKEN".to_owned(),
            value: PLANTED.into(),
            ..Default::default()
        };
        let lease =
            v1::Lease { arguments: arguments.clone(), secrets: bytes, ..Default::default() };
        let rerun = v1::RerunRequest { arguments: arguments.clone(), ..Default::default() };
        let execute = v1::ExecuteRequest { arguments, ..Default::default() };
        let shown = [
            format!("{values:?}"),
            format!("{set:#?}"),
            format!("{lease:?} {execute:?} {rerun:?}"),
            format!("{:?}", v1::PollResponse { grants: vec![lease], ..Default::default() }),
        ];
        let hidden = PLANTED.as_bytes().iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        for shown in shown {
            assert!(shown.contains("TOKEN"), "{shown}");
            assert!(!shown.contains(PLANTED) && !shown.contains(&hidden), "{shown}");
        }
    }
}
