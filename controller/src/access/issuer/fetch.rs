//! How the keys of an issuer are fetched: its discovery document says where they are; or a file has them.

use super::keys::{self, Key, NoKeys};
use crate::web::{LARGEST_ANSWER, SafeUrl, Web, WebError};
use serde::Deserialize;
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{fs::File, io::AsyncReadExt as _, time::timeout};

/// For how long both answers together may take.
pub(crate) const FETCH_WITHIN: Duration = Duration::from_secs(10);

/// Why the keys were not fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    /// It took too long.
    #[error("no whole answer within {FETCH_WITHIN:?}")]
    Late,
    /// Its discovery document was not to be had, or is that of somebody else.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The keys would come over a way that anybody can change them on.
    #[error("{url}: its `jwks_uri` is neither `https://…` nor of this machine")]
    Plain {
        /// What was asked for.
        url: String,
    },
    /// Its keys were not to be had.
    #[error(transparent)]
    Web(#[from] WebError),
    /// The file that has them cannot be read.
    #[error("`keys_file` is `{}`, which cannot be read ({why}): write into it what `kubectl get --raw /openid/v1/jwks` answers", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// There are none.
    #[error("{from}: {why}")]
    Keys {
        /// Where they were looked for.
        from: String,
        /// What is wrong with them.
        why: NoKeys,
    },
}

/// Why it is not known what an issuer offers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// The document was not to be had.
    #[error(transparent)]
    Web(#[from] WebError),
    /// It is something else.
    #[error("{url}: it is no discovery document of OpenID Connect")]
    Document {
        /// What was asked for.
        url: String,
    },
    /// It is that of somebody else.
    #[error("{url}: it is that of the issuer `{named}`: name the issuer as it names itself")]
    Other {
        /// What was asked for.
        url: String,
        /// Whose it is.
        named: String,
    },
}

/// What an issuer offers, as far as anybody here asks for it (OpenID Connect Discovery 1.0 and RFC 8628).
#[derive(Clone, Debug, Deserialize)]
pub struct Discovery {
    issuer: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where a sign-in from another device begins, if it offers that.
    pub device_authorization_endpoint: Option<String>,
    /// Where tokens are given out.
    pub token_endpoint: Option<String>,
    /// What can be asked for, if it says so.
    pub scopes_supported: Option<Vec<String>>,
}

impl Discovery {
    /// What an issuer offers.
    ///
    /// # Errors
    /// Where that is not to be had, or is what somebody else offers.
    pub async fn of(issuer: &SafeUrl, web: &Web) -> Result<Self, DiscoveryError> {
        let url = address(issuer);
        let document = web.get(&url).await?;
        let Ok(found) = serde_json::from_slice::<Self>(&document) else {
            return Err(DiscoveryError::Document { url });
        };
        if found.issuer != issuer.as_str() {
            let named = found.issuer.chars().take(200).collect();
            return Err(DiscoveryError::Other { url, named });
        }
        Ok(found)
    }
}

/// Where the discovery document is.
fn address(issuer: &SafeUrl) -> String {
    format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'))
}

/// Fetches the keys of an issuer.
#[derive(Clone, Debug)]
pub(super) enum Fetch {
    /// It is asked.
    Asked { issuer: SafeUrl, web: Box<Web> },
    /// They are in a file.
    Read(PathBuf),
}

impl Fetch {
    /// The keys that it has now.
    pub(super) async fn keys(self) -> Result<Vec<Key>, FetchError> {
        timeout(FETCH_WITHIN, self.fetched()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn fetched(self) -> Result<Vec<Key>, FetchError> {
        let (from, set) = match self {
            Self::Asked { issuer, web } => asked(&issuer, &web).await?,
            Self::Read(path) => match read(&path).await {
                Ok(set) => (format!("`keys_file` `{}`", path.display()), set),
                Err(error) => return Err(FetchError::File { path, why: error.to_string() }),
            },
        };
        keys::read(&set).map_err(|why| FetchError::Keys { from, why })
    }
}

async fn asked(issuer: &SafeUrl, web: &Web) -> Result<(String, Vec<u8>), FetchError> {
    let Discovery { jwks_uri, .. } = Discovery::of(issuer, web).await?;
    let Some(jwks) = SafeUrl::parse(&jwks_uri) else {
        return Err(FetchError::Plain { url: address(issuer) });
    };
    let set = web.get(jwks.as_str()).await?;
    Ok((jwks_uri, set.into()))
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut set = Vec::new();
    // What is larger is cut, and no set of keys then.
    let most = u64::try_from(LARGEST_ANSWER).unwrap_or(u64::MAX);
    File::open(path).await?.take(most).read_to_end(&mut set).await?;
    Ok(set)
}
