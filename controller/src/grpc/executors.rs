//! The service `Executors`: the protocol of those who pull work.

use super::{
    Services,
    convert::{checked, executors, fitting, page_size},
    door::Rpc,
    spread,
};
use crate::liveness::record::Drained;
use jiff::Timestamp;
use octavius_protocol::{id::ExecutorId, v1};
use std::time::Duration;
use tonic::{Request, Response, Status, async_trait};

/// The longest that a call for work is parked.
pub(crate) const LONGEST_POLL: Duration = Duration::from_secs(30);

#[async_trait]
impl v1::executors_server::Executors for Services {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::Register, request)?;
        let registration = checked(|check| executors::registration(request, check))?;
        let session = self.parts.liveness.register(registration).await?;
        Ok(Response::new(v1::RegisterResponse {
            term: self.term(),
            session: session.0,
            installation: self.parts.leadership.installation.clone(),
            ping_deadline: Some(executors::duration(self.parts.ping_deadline)),
        }))
    }

    async fn attend(
        &self,
        request: Request<v1::AttendRequest>,
    ) -> Result<Response<v1::AttendResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::Attend, request)?;
        // Parked for longer, a living executor would look silent.
        let longest = self.parts.ping_deadline / 3;
        let attend = checked(|check| executors::attend(request, longest, check))?;
        let executors::Attend { session, held, wait, unseen } = attend;
        self.parts.liveness.heard(session, Some(unseen)).await?;
        let orders = self.while_serving(self.parts.queue.attend(session, held, wait)).await?;
        let known = self.parts.liveness.heard(session, None).await?;
        let installation = &self.parts.leadership.installation;
        Ok(Response::new(v1::AttendResponse {
            term: self.term(),
            orders: orders.orders.into_iter().map(executors::order).collect(),
            grants: executors::leases(orders.grants, installation),
            spread: Some(executors::duration(spread::of_executors(
                known,
                self.parts.ping_deadline,
            ))),
        }))
    }

    async fn poll(
        &self,
        request: Request<v1::PollRequest>,
    ) -> Result<Response<v1::PollResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::Poll, request)?;
        let poll = checked(|check| executors::poll(request, LONGEST_POLL, check))?;
        let executors::Poll { session, free, held, wait } = poll;
        let grants = self.while_serving(self.parts.queue.poll(session, free, held, wait)).await?;
        let grants = executors::leases(grants, &self.parts.leadership.installation);
        Ok(Response::new(v1::PollResponse { term: self.term(), grants }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::Report, request)?;
        let told = checked(|check| executors::told(request, check))?;
        let executors::Told { session, lease, report } = told;
        let verdict = self.parts.queue.report(session, lease, report).await?;
        Ok(Response::new(executors::verdict(verdict, self.term())))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::Append, request)?;
        let append = checked(|check| executors::append(request, check))?;
        let executors::Append { session, lease, offset, chunks, cursor } = append;
        if !self.parts.queue.holds(session, lease).await? {
            let info = self.parts.logs.info(lease.attempt).await?;
            return Ok(Response::new(executors::no_longer_held(&info, self.term())));
        }
        let appended = self.parts.logs.append(lease.attempt, offset, chunks, cursor).await?;
        Ok(Response::new(executors::appended(appended, self.term())))
    }

    async fn list_executors(
        &self,
        request: Request<v1::ListExecutorsRequest>,
    ) -> Result<Response<v1::ListExecutorsResponse>, Status> {
        let (_, request) = self.parts.door.enter(Rpc::ListExecutors, request)?;
        let v1::ListExecutorsRequest { page_size: size, page_token } = request;
        let page = self.parts.liveness.list(page_size(size), &page_token).await?;
        let ids = page.executors.iter().map(|seen| seen.record.id.clone()).collect();
        let held = self.parts.queue.held_by(ids).await?;
        let executors = page.executors.into_iter().zip(held);
        let executors = executors.map(|(seen, held)| executors::executor(seen, held)).collect();
        let (executors, next_page_token) =
            fitting(executors, page.next_page_token, |last: &v1::Executor| last.id.clone());
        Ok(Response::new(v1::ListExecutorsResponse { executors, next_page_token }))
    }

    async fn drain_executor(
        &self,
        request: Request<v1::DrainExecutorRequest>,
    ) -> Result<Response<v1::DrainExecutorResponse>, Status> {
        let (caller, request) = self.parts.door.enter(Rpc::DrainExecutor, request)?;
        let v1::DrainExecutorRequest { executor, undrain } = request;
        let executor: ExecutorId = checked(|check| check.id("executor", &executor))?;
        let by = caller.name().to_owned();
        let drained = (!undrain).then(|| Drained { by, at: Timestamp::now() });
        let seen = self.parts.liveness.drain(executor.clone(), drained).await?;
        let held = self.parts.queue.held_by(vec![executor]).await?;
        let held = held.first().copied().unwrap_or_default();
        let executor = Some(executors::executor(seen, held));
        Ok(Response::new(v1::DrainExecutorResponse { executor }))
    }
}
