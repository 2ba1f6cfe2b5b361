//! What this executor proves itself with: at first a token that it was invited with, or that of its service account, and
//! from its first registration on the credential that it got for it, which is kept where the next process finds it.

use crate::{
    link::{Failure, Link, Registered, Registration},
    state_dir::{StateDir, StateDirError},
};
use secrecy::SecretString;
use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{fs::File, io::AsyncReadExt as _, time::timeout};

/// The most bytes of a file that are read: more than any token has.
const LARGEST_TOKEN: u64 = 64 << 10;
/// For how long a file may take to be read: it can lie where nobody answers.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// What it joins with.
#[derive(Clone, Debug)]
pub enum JoinsWith {
    /// Nothing: it has joined, or nobody is asked for a token.
    Nothing,
    /// `access_token`.
    Token(SecretString),
    /// `access_token_file`: whoever writes it renews what it holds.
    File(PathBuf),
}

impl JoinsWith {
    /// What that is now.
    async fn token(&self) -> Result<Option<SecretString>, UnreadToken> {
        match self {
            Self::Nothing => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::File(path) => {
                let read = timeout(READ_WITHIN, read(path)).await;
                let why = match read.unwrap_or(Err(ErrorKind::TimedOut.into())) {
                    Ok(text) if text.trim().is_empty() => "is empty".to_owned(),
                    Ok(text) => return Ok(Some(SecretString::from(text.trim()))),
                    Err(error) => format!("cannot be read ({error})"),
                };
                Err(UnreadToken { path: path.clone(), why })
            }
        }
    }
}

async fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path).await?.take(LARGEST_TOKEN).read_to_string(&mut text).await?;
    Ok(text)
}

/// What it has. Clones share it.
#[derive(Clone, Debug)]
pub struct Proof {
    state_dir: Arc<StateDir>,
    joins_with: JoinsWith,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The controller said so, or could not be asked.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The credential cannot be read or kept.
    #[error(transparent)]
    Folder(#[from] StateDirError),
    /// There is no token to join with.
    #[error(transparent)]
    File(#[from] UnreadToken),
}

/// Why the file of a token gives none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`access_token_file` is `{}`, which {why}: have the kubelet put the token of a service account there, or give `access_token`",
    path.display()
)]
pub struct UnreadToken {
    path: PathBuf,
    why: String,
}

impl Proof {
    /// What is in the folder, and what it joins with until something is.
    pub fn new(state_dir: Arc<StateDir>, joins_with: JoinsWith) -> Self {
        Self { state_dir, joins_with }
    }

    /// Whether what it joins with is renewed by whoever vouches for it, so that it may join again by itself.
    pub fn is_renewed(&self) -> bool {
        matches!(self.joins_with, JoinsWith::File(_))
    }

    /// Opens a session with the controller. A credential that it gives is kept before anything is done with it: whoever
    /// ends in between asks for another one.
    pub async fn register(
        &self,
        link: &Link,
        registration: &Registration,
    ) -> Result<Registered, ProofError> {
        let kept = self.state_dir.credential().await?;
        let registered = match &kept {
            None => self.join(link, registration).await?,
            Some(kept) => {
                link.prove_with(Some(kept));
                match link.register(registration).await {
                    // It may have been revoked, and its executor invited again.
                    Err(Failure::Unproven(_)) if !matches!(self.joins_with, JoinsWith::Nothing) => {
                        self.join(link, registration).await?
                    }
                    registered => registered?,
                }
            }
        };
        if let Some(credential) = &registered.credential {
            self.state_dir.keep_credential(credential.clone()).await?;
            link.prove_with(Some(credential));
            tracing::info!(
                executor = %registration.executor,
                "joined: the credential is kept in `state_dir`, and nothing else is needed as long as that is there"
            );
        }
        Ok(registered)
    }

    async fn join(
        &self,
        link: &Link,
        registration: &Registration,
    ) -> Result<Registered, ProofError> {
        link.prove_with(self.joins_with.token().await?.as_ref());
        Ok(link.register(registration).await?)
    }
}
