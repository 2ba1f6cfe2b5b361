//! The service `Secrets`. A value goes in, and no answer gives one back.

use super::{
    Services,
    convert::{checked, secrets},
    door::Rpc,
};
use octavius_protocol::v1;
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl v1::secrets_server::Secrets for Services {
    async fn set_secret(
        &self,
        request: Request<v1::SetSecretRequest>,
    ) -> Result<Response<v1::SetSecretResponse>, Status> {
        let (caller, request) = self.enter(Rpc::SetSecret, request)?;
        let v1::SetSecretRequest { job, name, value, unmasked } = request;
        checked(|check| secrets::named(&job, &name, check))?;
        self.about_job(Rpc::SetSecret, &caller, &job)?;
        let job = self.parts.registry.describe(job, 0).await?.job;
        let set = self.parts.secrets.set(&job, &name, value, unmasked, &caller).await?;
        Ok(Response::new(v1::SetSecretResponse { secret: Some(secrets::state(set)) }))
    }

    async fn list_secrets(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Result<Response<v1::ListSecretsResponse>, Status> {
        let (caller, request) = self.enter(Rpc::ListSecrets, request)?;
        checked(|check| check.named("job", &request.job))?;
        self.about_job(Rpc::ListSecrets, &caller, &request.job)?;
        let job = self.parts.registry.describe(request.job, 0).await?.job;
        let states = self.parts.secrets.list(&job).await?;
        let secrets = states.into_iter().map(secrets::state).collect();
        Ok(Response::new(v1::ListSecretsResponse { secrets }))
    }

    async fn unset_secret(
        &self,
        request: Request<v1::UnsetSecretRequest>,
    ) -> Result<Response<v1::UnsetSecretResponse>, Status> {
        let (caller, request) = self.enter(Rpc::UnsetSecret, request)?;
        let v1::UnsetSecretRequest { job, name } = request;
        checked(|check| secrets::named(&job, &name, check))?;
        self.about_job(Rpc::UnsetSecret, &caller, &job)?;
        let job = self.parts.registry.describe(job, 0).await?.job;
        self.parts.secrets.unset(&job, &name, &caller).await?;
        Ok(Response::new(v1::UnsetSecretResponse {}))
    }
}
