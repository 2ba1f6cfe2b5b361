//! The service `System`.

use super::{Services, door::Rpc};
use octavius_protocol::{LEVEL, v1};
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl v1::system_server::System for Services {
    async fn get_version(
        &self,
        request: Request<v1::GetVersionRequest>,
    ) -> Result<Response<v1::GetVersionResponse>, Status> {
        let (_, v1::GetVersionRequest {}) = self.parts.door.enter(Rpc::GetVersion, request)?;
        Ok(Response::new(v1::GetVersionResponse {
            version: crate::VERSION.to_owned(),
            protocol_level: LEVEL,
            installation: self.parts.leadership.installation.clone(),
        }))
    }
}
