//! The service `Executions`.

use super::{
    MOST_FOLLOWERS, Peer, Services,
    convert::{checked, executions, fitting, listing, page_size},
    door::Rpc,
    read_log, spread,
};
use crate::{
    access::Sight,
    job_queue::{ListRequest, RerunRequest, Shown, SubmitRequest},
};
use futures::stream::BoxStream;
use octavius_protocol::{SPREAD, v1};
use tonic::{Request, Response, Status, async_trait, metadata::MetadataValue};

#[async_trait]
impl v1::executions_server::Executions for Services {
    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Execute, request)?;
        let v1::ExecuteRequest {
            job,
            arguments,
            request_id,
            timeout,
            start_within,
            on,
            priority,
            require_executor,
            ..
        } = request;
        let own = checked(|check| {
            let right = check.named("job", &job);
            let right = executions::arguments_of_some_job(&arguments, check).and(right);
            let right = executions::request_id(&request_id, check).and(right);
            let own = executions::own(timeout, start_within, on, priority, check);
            right.and(own)
        })?;
        self.about_job(Rpc::Execute, &caller, &job)?;
        let submit = SubmitRequest {
            job,
            arguments,
            request_id,
            by: caller,
            own,
            require_executor,
            rerun: None,
        };
        let accepted = self.parts.queue.submit(submit).await?;
        let execution = Some(self.execution(accepted.execution).await);
        Ok(Response::new(v1::ExecuteResponse { execution, created: accepted.created }))
    }

    async fn rerun(
        &self,
        request: Request<v1::RerunRequest>,
    ) -> Result<Response<v1::RerunResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Rerun, request)?;
        let id = checked(|check| {
            let right = executions::arguments_of_some_job(&request.arguments, check);
            let right = executions::request_id(&request.request_id, check).and(right);
            let id = check.id("id", &request.id);
            right.and(id)
        })?;
        self.about_execution(Rpc::Rerun, &caller, id).await?;
        let v1::RerunRequest { request_id, same_version, arguments, .. } = request;
        let rerun = RerunRequest { id, same_version, arguments, request_id, by: caller };
        let accepted = self.parts.queue.rerun(rerun).await?;
        let execution = Some(self.execution(accepted.execution).await);
        Ok(Response::new(v1::RerunResponse { execution, created: accepted.created }))
    }

    async fn get_execution(
        &self,
        request: Request<v1::GetExecutionRequest>,
    ) -> Result<Response<v1::GetExecutionResponse>, Status> {
        let (caller, request) = self.enter(Rpc::GetExecution, request)?;
        let (id, wait) = checked(|check| executions::awaited(&request, check))?;
        self.about_execution(Rpc::GetExecution, &caller, id).await?;
        let shown = if wait.is_zero() {
            self.parts.queue.get(id).await?
        } else {
            let shown = self.while_serving(self.parts.queue.wait(id, wait)).await?;
            self.still(Rpc::GetExecution, &caller, Some(&shown.record.job))?;
            shown
        };
        let execution = Some(self.execution(shown).await);
        let (candidates, more) = match request.explain {
            true => self.parts.queue.explain(id).await?,
            false => Default::default(),
        };
        let candidates = candidates.into_iter().map(executions::candidate).collect();
        let more_candidates = u32::try_from(more).unwrap_or(u32::MAX);
        Ok(Response::new(v1::GetExecutionResponse { execution, candidates, more_candidates }))
    }

    async fn list_executions(
        &self,
        request: Request<v1::ListExecutionsRequest>,
    ) -> Result<Response<v1::ListExecutionsResponse>, Status> {
        let (caller, request) = self.enter(Rpc::ListExecutions, request)?;
        let wanted = checked(|check| listing::wanted(&request, caller.name(), check))?;
        let v1::ListExecutionsRequest { page_size: size, page_token, .. } = request;
        let list = ListRequest { page_size: page_size(size), page_token, wanted: wanted.clone() };
        let sight = self.parts.door.sight(&caller);
        let sees_all = matches!(sight, Sight::All);
        let page = self.parts.queue.list_seen(list, sight).await?;
        // How much there is of what somebody may not see is not told either.
        let looked_at = if sees_all { page.looked_at } else { page.executions.len() };
        let looked_at = u32::try_from(looked_at).unwrap_or(u32::MAX);
        let executions = page.executions.into_iter().map(executions::execution).collect();
        let (executions, next_page_token) =
            fitting(executions, page.next_page_token, |last: &v1::Execution| {
                wanted.token_behind(&last.id)
            });
        Ok(Response::new(v1::ListExecutionsResponse { executions, next_page_token, looked_at }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Cancel, request)?;
        let id = checked(|check| check.id("id", &request.id))?;
        self.about_execution(Rpc::Cancel, &caller, id).await?;
        let shown = match request.force {
            true => self.parts.queue.force(id, caller).await?,
            false => self.parts.queue.cancel(id, caller).await?,
        };
        let execution = Some(self.execution(shown).await);
        Ok(Response::new(v1::CancelResponse { execution }))
    }

    type ReadLogStream = BoxStream<'static, Result<v1::ReadLogResponse, Status>>;

    async fn read_log(
        &self,
        request: Request<v1::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let (caller, request) = self.enter(Rpc::ReadLog, request)?;
        let mut answer = Response::new(read_log::open(self, request, caller, peer).await?);
        let readers = MOST_FOLLOWERS.saturating_sub(self.parts.followers.available_permits());
        let spread = spread::of_readers(self.parts.liveness.known(), readers);
        let spread = MetadataValue::from(u64::try_from(spread.as_millis()).unwrap_or(u64::MAX));
        answer.metadata_mut().insert(SPREAD, spread);
        Ok(answer)
    }
}

impl Services {
    /// An execution with the size that its log has now. Where that cannot be said, the rest still can.
    async fn execution(&self, mut shown: Shown) -> v1::Execution {
        let record = &mut shown.record;
        if record.attempt.outcome().is_none() && record.attempt.held().is_some() {
            match self.parts.logs.info(record.attempt_id()).await {
                Ok(info) => {
                    record.log_size = record.log_size.max(info.size);
                    record.log_cut = info.cut;
                }
                Err(error) => tracing::debug!(execution = %record.id, %error, "no size of a log"),
            }
        }
        executions::execution(shown)
    }
}
