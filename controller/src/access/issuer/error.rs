//! Why a token of an issuer does not let in. No text holds anything of the token but what names it, once it was right.

use super::{LARGEST_TOKEN, MOST_GROUPS};
use crate::caller::MOST_NAME_BYTES;
use jiff::Timestamp;
use std::fmt;

/// Who issues tokens, as people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The issuer of people's identity tokens: its URL.
    People(String),
    /// A cluster: what it is called here.
    Cluster(String),
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::People(url) => f.write_str(url),
            Self::Cluster(name) => write!(f, "the cluster `{name}`"),
        }
    }
}

impl Whose {
    /// How somebody gets another token.
    fn remedy(&self) -> &'static str {
        match self {
            Self::People(_) => {
                "sign in again with `octavius login`, or give another one as ACCESS_TOKEN"
            }
            Self::Cluster(_) => {
                "have the kubelet renew the one in `access_token_file` of the executor"
            }
        }
    }

    fn remedy_for_keys(&self) -> &'static str {
        match self {
            Self::People(_) => self.remedy(),
            Self::Cluster(_) => {
                "renew its `keys_file` in `clusters` of the controller, if it has one"
            }
        }
    }
}

/// Why an identity token does not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    /// It is too large to be looked at.
    #[error(
        "the identity token is not taken: it has {size} bytes, and {LARGEST_TOKEN} are read at the most: have the issuer put less into it, for example fewer groups"
    )]
    Large {
        /// How many it has.
        size: usize,
    },
    /// It is no signed token at all.
    #[error(
        "the identity token is not taken: it is no whole JSON Web Token that is signed with RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA"
    )]
    Form,
    /// Its key does not sign so.
    #[error("the identity token is not taken: the key that it names does not sign so")]
    Algorithm,
    /// It says nothing of its key.
    #[error(
        "the identity token is not taken: it does not name its key (`kid`), and {issuer} has several"
    )]
    NoKey {
        /// Who has them.
        issuer: String,
    },
    /// Nobody has its key.
    #[error(
        "the identity token is not taken: {issuer} has no such key: {}", issuer.remedy_for_keys()
    )]
    UnknownKey {
        /// Who would have it.
        issuer: Whose,
    },
    /// Somebody else made it, or changed it.
    #[error("the identity token is not taken: its signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("the identity token is not taken: it is not of the issuer {issuer}")]
    Issuer {
        /// Who would have issued it.
        issuer: String,
    },
    /// It is for somebody else.
    #[error(
        "the identity token is not taken: it is not for `{audience}`: have the issuer make one that is"
    )]
    Audience {
        /// Whom it would be for.
        audience: String,
    },
    /// A claim is missing or wrong.
    #[error("the identity token is not taken: its claim `{claim}` {what}")]
    Claim {
        /// Which.
        claim: String,
        /// What is wrong with it.
        what: Wrong,
    },
    /// The issuer does not vouch for the address.
    #[error(
        "the identity token is not taken: the issuer has not verified its `email` (`email_verified`)"
    )]
    Unverified,
    /// It is of a service account that may not join.
    #[error(
        "the token of the service account {account} of cluster {cluster} is not taken: run the executor as one that `clusters` of the controller names, or name this one there"
    )]
    Account {
        /// What the cluster is called here.
        cluster: String,
        /// `NAMESPACE:NAME`.
        account: String,
    },
    /// It does not hold yet.
    #[error(
        "the identity token is not taken: it holds from {at:.0} on: see whether the clocks of the issuer and of the controller are right"
    )]
    NotYet {
        /// From when on it does.
        at: Timestamp,
    },
    /// It was right, and is over.
    #[error(
        "the identity token {token} of {issuer} ended at {at:.0}: {}", issuer.remedy()
    )]
    Expired {
        /// What the audit calls it.
        token: String,
        /// Who issued it.
        issuer: Whose,
        /// When.
        at: Timestamp,
    },
    /// Nobody can say, because the issuer's keys are not to be had.
    #[error("the keys of {issuer} are not known ({why}): try again in a moment")]
    Away {
        /// Whose.
        issuer: String,
        /// Why not.
        why: String,
    },
}

impl NotIssued {
    /// A token that is of no service account.
    pub(super) fn no_account() -> Self {
        Self::Claim { claim: "sub".to_owned(), what: Wrong::Account }
    }

    /// Of several who may have issued it, who says most: first who knows that it is theirs, then who may yet know, then
    /// who has a key of that name.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::UnknownKey { .. } => 0,
            Self::Large { .. }
            | Self::Form
            | Self::Algorithm
            | Self::NoKey { .. }
            | Self::Signature => 1,
            Self::Away { .. } => 2,
            Self::Issuer { .. }
            | Self::Audience { .. }
            | Self::Claim { .. }
            | Self::Unverified
            | Self::Account { .. }
            | Self::NotYet { .. }
            | Self::Expired { .. } => 3,
        }
    }
}

/// What is wrong with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is no time.
    #[error("is no time in seconds")]
    Time,
    /// It names nobody.
    #[error("is no name: 1 to {MOST_NAME_BYTES} visible ASCII characters")]
    Name,
    /// It names no groups.
    #[error("is neither a text nor a list of texts")]
    Groups,
    /// It names no service account.
    #[error("names no service account: `system:serviceaccount:NAMESPACE:NAME`")]
    Account,
    /// It names too many.
    #[error("names more than {MOST_GROUPS} groups")]
    Many,
}
