//! What goes with each call, and says who calls.

use super::{LinkError, LinkOptions};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, sync::Arc};
use tokio::sync::watch;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// The header that says which executor calls, beside the token.
const EXECUTOR: &str = "octavius-executor";

/// What goes with each call.
#[derive(Clone)]
pub(super) struct Credentials {
    /// None where the executor has no token. All clones follow what is changed.
    authorization: Arc<watch::Sender<Option<MetadataValue<Ascii>>>>,
    executor: MetadataValue<Ascii>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = self.authorization.borrow().clone() {
            request.metadata_mut().insert("authorization", authorization);
        }
        request.metadata_mut().insert(EXECUTOR, self.executor.clone());
        Ok(request)
    }
}

impl Credentials {
    /// The token and the executor's id, as headers hold them.
    pub(super) fn new(options: &LinkOptions) -> Result<Self, LinkError> {
        let bearer = |token| bearer(token).ok_or(LinkError::Token);
        let authorization = options.token.as_ref().map(bearer).transpose()?;
        let authorization = Arc::new(watch::Sender::new(authorization));
        // Ids are ASCII, and so always headers.
        let executor = options.executor.as_str().parse().map_err(|_| LinkError::Token)?;
        Ok(Self { authorization, executor })
    }

    /// From now on calls go with this token; none, or one that no header can hold: with nothing.
    pub(super) fn prove_with(&self, token: Option<&SecretString>) {
        self.authorization.send_replace(token.and_then(bearer));
    }
}

fn bearer(token: &SecretString) -> Option<MetadataValue<Ascii>> {
    let mut bearer: MetadataValue<Ascii> =
        format!("Bearer {}", token.expose_secret()).parse().ok()?;
    bearer.set_sensitive(true);
    Some(bearer)
}
