//! The service `Executors`: the protocol of those who pull work.

use super::{
    Services,
    convert::{checked, executors, fitting, page_size},
    door::Rpc,
    spread,
};
use crate::{job_queue::rules::Right, liveness::ForgetError};
use octavius_protocol::{id::ExecutorId, v1};
use secrecy::ExposeSecret;
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
        let (caller, request) = self.enter(Rpc::Register, request)?;
        let registration = checked(|check| executors::registration(request, check))?;
        if caller.is_service_account() {
            // It may have joined before, and a new credential ends that one: not for who would get no session.
            self.parts.liveness.admit(registration.clone()).await?;
        }
        let credential = self.joined(&caller, &registration).await?;
        let session = self.parts.liveness.register(registration).await?;
        Ok(Response::new(v1::RegisterResponse {
            term: self.term(),
            session: session.0,
            installation: self.parts.leadership.installation.clone(),
            ping_deadline: Some(executors::duration(self.parts.ping_deadline)),
            credential: credential.map(|text| text.expose_secret().to_owned()).unwrap_or_default(),
        }))
    }

    async fn attend(
        &self,
        request: Request<v1::AttendRequest>,
    ) -> Result<Response<v1::AttendResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Attend, request)?;
        // Parked for longer, a living executor would look silent.
        let longest = self.parts.ping_deadline / 3;
        let attend = checked(|check| executors::attend(request, longest, check))?;
        let executors::Attend { session, held, lacking, wait, unseen } = attend;
        self.in_its_session(&caller, session)?;
        self.parts.liveness.heard(session, Some(unseen.clone())).await?;
        let orders = self.parts.queue.attend(session, held, lacking, unseen, wait);
        let orders = self.while_serving(orders).await?;
        self.still(Rpc::Attend, &caller, None)?;
        let standing = self.parts.liveness.heard(session, None).await?;
        let installation = &self.parts.leadership.installation;
        Ok(Response::new(v1::AttendResponse {
            term: self.term(),
            orders: orders.orders.into_iter().map(executors::order).collect(),
            grants: executors::leases(orders.grants, installation),
            spread: Some(executors::duration(spread::of_executors(
                standing.executors,
                self.parts.ping_deadline,
            ))),
            drained: standing.is_drained,
        }))
    }

    async fn poll(
        &self,
        request: Request<v1::PollRequest>,
    ) -> Result<Response<v1::PollResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Poll, request)?;
        let poll = checked(|check| executors::poll(request, LONGEST_POLL, check))?;
        let executors::Poll { session, free, held, wait } = poll;
        self.in_its_session(&caller, session)?;
        let grants = self.while_serving(self.parts.queue.poll(session, free, held, wait)).await?;
        self.still(Rpc::Poll, &caller, None)?;
        let grants = executors::leases(grants, &self.parts.leadership.installation);
        Ok(Response::new(v1::PollResponse { term: self.term(), grants }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Report, request)?;
        let told = checked(|check| executors::told(request, check))?;
        let executors::Told { session, lease, report } = told;
        self.in_its_session(&caller, session)?;
        let verdict = self.parts.queue.report(session, lease, report).await?;
        Ok(Response::new(executors::verdict(verdict, self.term())))
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let (caller, request) = self.enter(Rpc::Append, request)?;
        let append = checked(|check| executors::append(request, check))?;
        let executors::Append { session, lease, offset, chunks, cursor } = append;
        self.in_its_session(&caller, session)?;
        let (logs, attempt) = (&self.parts.logs, lease.attempt);
        let appended = match self.parts.queue.holds(session, lease).await? {
            Right::Append => logs.append(attempt, offset, chunks, cursor).await?,
            Right::Extend => logs.extend(attempt, offset, chunks, cursor).await?,
            Right::Nothing => {
                let info = logs.info(attempt).await?;
                return Ok(Response::new(executors::no_longer_held(&info, self.term())));
            }
        };
        Ok(Response::new(executors::appended(appended, self.term())))
    }

    async fn list_executors(
        &self,
        request: Request<v1::ListExecutorsRequest>,
    ) -> Result<Response<v1::ListExecutorsResponse>, Status> {
        let (_, request) = self.enter(Rpc::ListExecutors, request)?;
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
        let (caller, request) = self.enter(Rpc::DrainExecutor, request)?;
        let v1::DrainExecutorRequest { executor, undrain } = request;
        let executor: ExecutorId = checked(|check| check.id("executor", &executor))?;
        let seen = self.parts.liveness.drain(executor.clone(), !undrain, caller).await?;
        let held = self.parts.queue.held_by(vec![executor]).await?;
        let held = held.first().copied().unwrap_or_default();
        let executor = Some(executors::executor(seen, held));
        Ok(Response::new(v1::DrainExecutorResponse { executor }))
    }

    async fn forget_executor(
        &self,
        request: Request<v1::ForgetExecutorRequest>,
    ) -> Result<Response<v1::ForgetExecutorResponse>, Status> {
        let (caller, request) = self.enter(Rpc::ForgetExecutor, request)?;
        let executor: ExecutorId = checked(|check| check.id("executor", &request.executor))?;
        let forgotten = self.parts.liveness.forget(executor.clone(), caller).await;
        // Also where it is not there: the credential may be what was left when this broke off before.
        if matches!(forgotten, Ok(_) | Err(ForgetError::NotFound(_))) {
            self.parts.access.dismiss(executor).await?;
        }
        let lost = forgotten?;
        let lost = u32::try_from(lost).unwrap_or(u32::MAX);
        Ok(Response::new(v1::ForgetExecutorResponse { lost }))
    }
}
