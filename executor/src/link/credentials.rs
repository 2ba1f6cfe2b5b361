//! What goes with each call, and says who calls.

use super::{LinkError, LinkOptions};
use secrecy::{ExposeSecret, SecretString};
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
    /// None where the executor was given no token.
    authorization: Option<MetadataValue<Ascii>>,
    executor: MetadataValue<Ascii>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request.metadata_mut().insert(EXECUTOR, self.executor.clone());
        Ok(request)
    }
}

impl Credentials {
    /// The token and the executor's id, as headers hold them.
    pub(super) fn new(options: &LinkOptions) -> Result<Self, LinkError> {
        let bearer = |token: &SecretString| {
            let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", token.expose_secret())
                .parse()
                .map_err(|_| LinkError::Token)?;
            bearer.set_sensitive(true);
            Ok(bearer)
        };
        let authorization = options.token.as_ref().map(bearer).transpose()?;
        // Ids are ASCII, and so always headers.
        let executor = options.executor.as_str().parse().map_err(|_| LinkError::Token)?;
        Ok(Self { authorization, executor })
    }
}
