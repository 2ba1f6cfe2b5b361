//! What goes with each call, and says who calls.

use super::{LinkError, LinkOptions};
use secrecy::ExposeSecret;
use std::fmt;
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
    authorization: MetadataValue<Ascii>,
    executor: MetadataValue<Ascii>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request.metadata_mut().insert(EXECUTOR, self.executor.clone());
        Ok(request)
    }
}

impl Credentials {
    /// The token and the executor's id, as headers hold them.
    pub(super) fn new(options: &LinkOptions) -> Result<Self, LinkError> {
        let bearer = format!("Bearer {}", options.token.expose_secret());
        let mut authorization: MetadataValue<Ascii> =
            bearer.parse().map_err(|_| LinkError::Token)?;
        authorization.set_sensitive(true);
        // Ids are ASCII, and so always headers.
        let executor = options.executor.as_str().parse().map_err(|_| LinkError::Token)?;
        Ok(Self { authorization, executor })
    }
}
