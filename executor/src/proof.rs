//! What this executor proves itself with: at first the token that it was invited with, and from its first registration
//! on the credential that it got for it, which is kept where the next process finds it.

use crate::{
    link::{Failure, Link, Registered, Registration},
    state_dir::{StateDir, StateDirError},
};
use secrecy::SecretString;
use std::{
    io::{self, ErrorKind},
    path::PathBuf,
    sync::Arc,
};
use tokio::{fs::File, io::AsyncReadExt as _};
use tonic::Code;

/// The most bytes of a file that are read: more than any token has.
const LARGEST_TOKEN: u64 = 64 << 10;

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
                let unread = |source| UnreadToken { path: path.clone(), source };
                let mut text = String::new();
                let file = File::open(path).await.map_err(unread)?;
                file.take(LARGEST_TOKEN).read_to_string(&mut text).await.map_err(unread)?;
                match text.trim() {
                    "" => Err(unread(ErrorKind::UnexpectedEof.into())),
                    token => Ok(Some(SecretString::from(token))),
                }
            }
        }
    }
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
#[error("`access_token_file` is `{}`, which cannot be read: {source}", path.display())]
pub struct UnreadToken {
    path: PathBuf,
    source: io::Error,
}

impl Proof {
    /// What is in the folder, and what it joins with until something is.
    pub fn new(state_dir: Arc<StateDir>, joins_with: JoinsWith) -> Self {
        Self { state_dir, joins_with }
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
                    Err(Failure::Refused { code: Code::Unauthenticated, .. })
                        if !matches!(self.joins_with, JoinsWith::Nothing) =>
                    {
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
                "joined: the credential is kept in `state_dir`, and `access_token` is not needed any more"
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
