//! The service `Jobs`.

use super::{
    Services,
    convert::{checked, jobs, page_size, secrets},
    door::Rpc,
};
use crate::registry::{Changed, rules::Wish};
use octavius_protocol::v1;
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl v1::jobs_server::Jobs for Services {
    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let (caller, request) = self.enter(Rpc::CreateJob, request)?;
        let v1::CreateJobRequest { definition, dry_run } = request;
        let definition = checked(|check| jobs::definition(definition, check))?;
        self.about_job(Rpc::CreateJob, &caller, &definition.name)?;
        let registry = &self.parts.registry;
        let changed = registry.change(definition, Wish::Create, dry_run, caller).await?;
        let job = Some(jobs::job(&changed.job));
        Ok(Response::new(v1::CreateJobResponse { job, created: changed.created }))
    }

    async fn update_job(
        &self,
        request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        let (caller, request) = self.enter(Rpc::UpdateJob, request)?;
        let v1::UpdateJobRequest { definition, create, dry_run, expected_version } = request;
        let definition = checked(|check| jobs::definition(definition, check))?;
        self.about_job(Rpc::UpdateJob, &caller, &definition.name)?;
        let wish = Wish::Update { create, expected_version };
        let changed = self.parts.registry.change(definition, wish, dry_run, caller).await?;
        let Changed { job, changed, created } = changed;
        Ok(Response::new(v1::UpdateJobResponse { job: Some(jobs::job(&job)), changed, created }))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let (caller, request) = self.enter(Rpc::DeleteJob, request)?;
        let v1::DeleteJobRequest { name, force } = request;
        checked(|check| check.named("name", &name))?;
        self.about_job(Rpc::DeleteJob, &caller, &name)?;
        let cancelled = self.parts.queue.delete_job(name, force, caller).await?;
        let cancelled = u64::try_from(cancelled).unwrap_or(u64::MAX);
        Ok(Response::new(v1::DeleteJobResponse { cancelled }))
    }

    async fn describe_job(
        &self,
        request: Request<v1::DescribeJobRequest>,
    ) -> Result<Response<v1::DescribeJobResponse>, Status> {
        let (caller, request) = self.enter(Rpc::DescribeJob, request)?;
        let v1::DescribeJobRequest { name, version } = request;
        checked(|check| check.named("name", &name))?;
        self.about_job(Rpc::DescribeJob, &caller, &name)?;
        let described = self.parts.registry.describe(name, version).await?;
        let job = Some(jobs::job(&described.job));
        let newest_version = described.newest_version;
        let states = self.parts.secrets.list(&described.job).await?;
        let secrets = states.into_iter().map(secrets::state).collect();
        Ok(Response::new(v1::DescribeJobResponse { job, newest_version, secrets }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let (caller, request) = self.enter(Rpc::ListJobs, request)?;
        let v1::ListJobsRequest { page_size: size, page_token } = request;
        let sight = self.parts.door.sight(&caller);
        let page = self.parts.registry.list_seen(page_size(size), &page_token, sight).await?;
        let jobs = page.jobs.iter().map(|job| jobs::job(job)).collect();
        let next_page_token = page.next_page_token;
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }
}
