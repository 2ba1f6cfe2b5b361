//! What this executor proves itself with: at first the token that it was invited with, and from its first registration
//! on the credential that it got for it, which is kept where the next process finds it.

use crate::{
    link::{Failure, Link, Registered, Registration},
    state_dir::{StateDir, StateDirError},
};
use secrecy::SecretString;
use std::sync::Arc;
use tonic::Code;

/// What it has. Clones share it.
#[derive(Clone, Debug)]
pub struct Proof {
    state_dir: Arc<StateDir>,
    /// `access_token`.
    joins_with: Option<SecretString>,
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
}

impl Proof {
    /// What is in the folder, and in the file.
    pub fn new(state_dir: Arc<StateDir>, joins_with: Option<SecretString>) -> Self {
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
        let registered = match (&kept, &self.joins_with) {
            (Some(kept), joins_with) => {
                link.prove_with(Some(kept));
                match (link.register(registration).await, joins_with) {
                    // It may have been revoked, and its executor invited again.
                    (Err(Failure::Refused { code: Code::Unauthenticated, .. }), Some(token)) => {
                        link.prove_with(Some(token));
                        link.register(registration).await?
                    }
                    (registered, _) => registered?,
                }
            }
            (None, joins_with) => {
                link.prove_with(joins_with.as_ref());
                link.register(registration).await?
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
}
