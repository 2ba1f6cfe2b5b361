//! Who asks. Made at the door alone, and handed on in each message, so that whoever decides knows for whom.

use crate::access::{
    issuer::{IssuedToken, ServiceAccount},
    rules::{Rights, Role},
    token::TokenId,
};
use octavius_protocol::id::ExecutorId;
use std::{collections::BTreeMap, net::IpAddr};

/// The most bytes of a caller's name.
pub const MOST_NAME_BYTES: usize = 256;

/// Whether a person can be called so.
pub(crate) fn is_person(name: &str) -> bool {
    (1..=MOST_NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Who asks, and what the caller belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: String,
    groups: Vec<String>,
    proof: Proof,
    call: &'static str,
    from: Option<IpAddr>,
}

/// What proves who a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing, and nothing is asked for.
    None,
    /// The token of a person.
    Person(TokenId, Rights),
    /// The identity token of a person, of the issuer that is trusted.
    Issued(IssuedToken, Rights),
    /// A token with which executors join.
    Join(TokenId),
    /// The token of a service account, of a cluster whose executors join so.
    ServiceAccount(ServiceAccount, IssuedToken),
    /// The credential of an executor, and the labels that it has to have.
    Executor(TokenId, ExecutorId, BTreeMap<String, String>),
}

impl Caller {
    /// Only the door makes callers, and tests.
    pub(crate) fn new(name: impl Into<String>, groups: Vec<String>) -> Self {
        Self { name: name.into(), groups, proof: Proof::None, call: "", from: None }
    }

    /// A caller who has shown a token.
    pub(crate) fn proven(name: impl Into<String>, groups: Vec<String>, proof: Proof) -> Self {
        Self { proof, ..Self::new(name, groups) }
    }

    /// The same, with what it asks for, as the protocol calls it, and from where.
    pub(crate) fn calling(self, call: &'static str, from: Option<IpAddr>) -> Self {
        Self { call, from, ..self }
    }

    /// What it asks for, as the protocol calls it; empty: nobody said.
    pub(crate) fn call(&self) -> &'static str {
        self.call
    }

    /// From which address it asks, if that is known.
    pub(crate) fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// What the token that it has shown is called: its id.
    pub(crate) fn token(&self) -> Option<String> {
        match &self.proof {
            Proof::None => None,
            Proof::Person(id, _) | Proof::Join(id) | Proof::Executor(id, ..) => {
                Some(id.to_string())
            }
            Proof::Issued(token, _) | Proof::ServiceAccount(_, token) => Some(token.name.clone()),
        }
    }

    /// The name that is stored and shown: at most 256 bytes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller's groups. Empty as long as nobody vouches for any.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Whether it belongs to one of these groups, as far as anybody has to prove that: administrators stand in for all.
    pub(crate) fn is_of_any(&self, groups: &[String]) -> bool {
        let is_free = match &self.proof {
            Proof::None => true,
            Proof::Person(_, rights) | Proof::Issued(_, rights) => {
                rights.in_all() == Some(Role::Admin)
            }
            Proof::Join(_) | Proof::ServiceAccount(..) | Proof::Executor(..) => false,
        };
        is_free || groups.iter().any(|group| self.groups.contains(group))
    }

    /// What proves who it is.
    pub(crate) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Whether it is an executor that joins with its service account.
    pub(crate) fn is_service_account(&self) -> bool {
        matches!(self.proof, Proof::ServiceAccount(..))
    }

    /// The executor that it has proven to be; none: it has proven nothing, or is no executor.
    pub(crate) fn executor(&self) -> Option<&ExecutorId> {
        match &self.proof {
            Proof::Executor(_, executor, _) => Some(executor),
            Proof::None
            | Proof::Person(..)
            | Proof::Issued(..)
            | Proof::Join(_)
            | Proof::ServiceAccount(..) => None,
        }
    }
}
