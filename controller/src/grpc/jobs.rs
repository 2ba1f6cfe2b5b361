//! The service `Jobs`.

use super::{
    Services,
    convert::{checked, jobs, page_size},
    door::Rpc,
};
use octavius_protocol::v1;
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl v1::jobs_server::Jobs for Services {
    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let (caller, request) = self.parts.door.enter(Rpc::CreateJob, request)?;
        let definition = checked(|check| jobs::definition(request.definition, check))?;
        let created = self.parts.registry.create(definition, caller).await?;
        let job = Some(jobs::job(&created.job));
        Ok(Response::new(v1::CreateJobResponse { job, created: created.created }))
    }

    async fn describe_job(
        &self,
        request: Request<v1::DescribeJobRequest>,
    ) -> Result<Response<v1::DescribeJobResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::DescribeJob, request)?;
        let job = self.parts.registry.describe(request.name).await?;
        Ok(Response::new(v1::DescribeJobResponse { job: Some(jobs::job(&job)) }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::ListJobs, request)?;
        let v1::ListJobsRequest { page_size: size, page_token } = request;
        let page = self.parts.registry.list(page_size(size), &page_token).await?;
        let jobs = page.jobs.iter().map(|job| jobs::job(job)).collect();
        let next_page_token = page.next_page_token;
        Ok(Response::new(v1::ListJobsResponse { jobs, next_page_token }))
    }
}
