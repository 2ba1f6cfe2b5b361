//! The calls of the script.

use super::{Attempt, CRC, State};
use octavius_protocol::{
    DOMAIN,
    v1::{self, ReportVerdict, executors_server::Executors},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::Instant,
};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

#[derive(Debug)]
pub(super) struct Service {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) changed: watch::Sender<u64>,
}

const TERM: v1::Term = v1::Term { generation: 1, revision: 5 };
const OLD_TERM: v1::Term = v1::Term { generation: 1, revision: 4 };

impl State {
    fn admit(&mut self, method: &'static str) -> Result<(), Status> {
        let left = self.faults.refuse.entry(method).or_default();
        if *left > 0 {
            *left -= 1;
            *self.refused.entry(method).or_default() += 1;
            return Err(Status::unavailable("the script refuses this"));
        }
        if let Some((left @ 1.., reason)) = self.faults.unproven.get_mut(method) {
            *left -= 1;
            let details = ErrorDetails::with_error_info(*reason, DOMAIN, HashMap::new());
            let code = Code::Unauthenticated;
            return Err(Status::with_error_details(code, "the script does not know this", details));
        }
        Ok(())
    }

    fn check(&self, session: u64) -> Result<(), Status> {
        match session == self.session && session > 0 {
            true => Ok(()),
            false => Err(Status::failed_precondition("this session is not open")),
        }
    }

    fn answer<T>(&mut self, method: &'static str, answer: T) -> Result<Response<T>, Status> {
        let left = self.faults.lose.entry(method).or_default();
        if *left > 0 {
            *left -= 1;
            return Err(Status::unavailable("the script loses this answer"));
        }
        Ok(Response::new(answer))
    }

    /// The leases of those of which the secrets are asked for.
    fn lacking(&self, held: &[v1::HeldAttempt]) -> Vec<v1::Lease> {
        let lacking = held.iter().filter(|held| held.lacks_secrets && !self.faults.keep_secrets);
        let names = lacking.filter_map(|held| held.lease.as_ref());
        let attempts = names.filter_map(|name| self.attempts.get(&name.execution));
        attempts.filter(|attempt| !attempt.over).map(|attempt| attempt.lease.clone()).collect()
    }

    fn unnamed(&self, held: &[v1::HeldAttempt]) -> Vec<v1::Lease> {
        let named: BTreeSet<_> =
            held.iter().filter_map(|held| Some(held.lease.as_ref()?.execution.clone())).collect();
        let open = self.attempts.iter().filter(|(id, attempt)| {
            attempt.ended.is_none() && !attempt.taken_back && !named.contains(*id)
        });
        let again = |attempt: &Attempt| v1::Lease {
            identity: attempt.identity.clone().unwrap_or(attempt.lease.identity.clone()),
            ..attempt.lease.clone()
        };
        open.map(|(_, attempt)| again(attempt)).collect()
    }

    fn orders(&self, held: &[v1::HeldAttempt]) -> Vec<v1::Order> {
        let leases = held.iter().filter_map(|held| held.lease.clone());
        leases
            .filter_map(|lease| {
                let attempt = self.attempts.get(&lease.execution)?;
                let kind = match (
                    attempt.taken_back && !attempt.unsaid,
                    attempt.stop && attempt.ended.is_none(),
                ) {
                    (true, _) => v1::OrderKind::Release,
                    (false, true) => v1::OrderKind::Stop,
                    (false, false) => return None,
                };
                let reason = "the script says so".to_owned();
                Some(v1::Order { lease: Some(lease), kind: kind.into(), reason })
            })
            .collect()
    }

    fn attempt(&mut self, lease: Option<v1::LeaseName>) -> Option<&mut Attempt> {
        let lease = lease.unwrap();
        let attempt = self.attempts.get_mut(&lease.execution)?;
        (attempt.lease.name == Some(lease) && !attempt.taken_back).then_some(attempt)
    }
}

impl Service {
    async fn state(&self) -> MutexGuard<'_, State> {
        self.changed.send_modify(|changes| *changes += 1);
        self.state.lock().await
    }

    /// Waits until there is an answer, `wait` at the most.
    async fn park<T>(
        &self,
        wait: Option<prost_types::Duration>,
        answer: impl Fn(&State) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + Duration::try_from(wait.unwrap()).unwrap();
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(answer) = answer(&*self.state.lock().await) {
                return Some(answer);
            }
            if tokio::time::timeout_at(end, changed.changed()).await.is_err() {
                return None;
            }
        }
    }
}

#[tonic::async_trait]
impl Executors for Service {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let mut state = self.state().await;
        state.admit("Register")?;
        if let Some(text) = &state.faults.refuse_registration {
            return Err(Status::failed_precondition(text.clone()));
        }
        let authorization = request.metadata().get("authorization");
        state.authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let request = request.into_inner();
        let known =
            state.registrations.last().is_some_and(|last| last.instance == request.instance);
        if !known || state.session == 0 {
            state.session = state.registrations.len() as u64 + 1;
        }
        state.registrations.push(request);
        state.first_held = None;
        let seconds = if state.ping_deadline == 0 { 3 } else { state.ping_deadline };
        let answer = v1::RegisterResponse {
            term: Some(TERM),
            session: state.session,
            installation: state.installation.clone(),
            ping_deadline: Some(prost_types::Duration { seconds, nanos: 0 }),
            credential: state.credential.take().unwrap_or_default(),
        };
        state.answer("Register", answer)
    }

    async fn attend(
        &self,
        request: Request<v1::AttendRequest>,
    ) -> Result<Response<v1::AttendResponse>, Status> {
        let caller = request.remote_addr().unwrap();
        let request = request.into_inner();
        {
            let mut state = self.state().await;
            state.callers.insert("Attend", caller);
            state.admit("Attend")?;
            state.check(request.session)?;
            state.attends.push(Instant::now());
            state.held = request.held.clone();
            state.first_held.get_or_insert(request.held.clone());
            if state.faults.old_term {
                let order = |held: v1::HeldAttempt| v1::Order {
                    lease: held.lease,
                    kind: v1::OrderKind::Release.into(),
                    reason: "a deposed controller says so".to_owned(),
                };
                let orders = request.held.into_iter().map(order).collect();
                let answer = v1::AttendResponse {
                    term: Some(OLD_TERM),
                    orders,
                    grants: Vec::new(),
                    spread: None,
                    drained: false,
                };
                return Ok(Response::new(answer));
            }
            if state.faults.hang_attends {
                drop(state);
                std::future::pending::<()>().await;
            }
        }
        let held = request.held;
        let answer = self.park(request.wait, |state| {
            let (orders, mut grants) = (state.orders(&held), state.unnamed(&held));
            grants.extend(state.lacking(&held));
            let gone = state.check(request.session).is_err();
            (gone || !orders.is_empty() || !grants.is_empty()).then_some((orders, grants))
        });
        let (orders, grants) = answer.await.unwrap_or_default();
        let mut state = self.state().await;
        state.check(request.session)?;
        state.answer(
            "Attend",
            v1::AttendResponse { term: Some(TERM), orders, grants, spread: None, drained: false },
        )
    }

    async fn poll(
        &self,
        request: Request<v1::PollRequest>,
    ) -> Result<Response<v1::PollResponse>, Status> {
        let request = request.into_inner();
        {
            let mut state = self.state().await;
            state.admit("Poll")?;
            state.check(request.session)?;
            state.polled.push(request.free);
        }
        let answer = self.park(request.wait, |state| {
            let repeated = state.faults.grant_what_is_held;
            let mut grants = state.unnamed(if repeated { &[] } else { &request.held });
            grants.truncate(request.free as usize);
            let gone = state.check(request.session).is_err();
            (gone || !grants.is_empty()).then_some(grants)
        });
        let grants = answer.await.unwrap_or_default();
        let mut state = self.state().await;
        state.check(request.session)?;
        state.answer("Poll", v1::PollResponse { term: Some(TERM), grants })
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let request = request.into_inner();
        let event = request.event.unwrap();
        let method = match &event {
            v1::report_request::Event::Prepared(_) => "Prepared",
            v1::report_request::Event::Starting(_) => "Starting",
            v1::report_request::Event::Running(_) => "Running",
            v1::report_request::Event::Ended(_) => "Ended",
        };
        let mut state = self.state().await;
        state.check(request.session)?;
        state.admit(method)?;
        if let v1::report_request::Event::Ended(ended) = &event
            && state.faults.refuse_reasons
            && !ended.reason.starts_with("the controller refused")
        {
            return Err(Status::invalid_argument("`reason` is not to the script's taste"));
        }
        let mut answer = v1::ReportResponse { term: Some(TERM), ..v1::ReportResponse::default() };
        answer.set_verdict(ReportVerdict::Recorded);
        match (state.attempt(request.lease), event) {
            (None, _) => answer.set_verdict(ReportVerdict::Superseded),
            (Some(attempt), event) => {
                attempt.reports.push(method);
                match event {
                    v1::report_request::Event::Prepared(prepared) => {
                        let known = attempt.identity.get_or_insert(prepared.identity.clone());
                        if *known != prepared.identity {
                            answer.set_verdict(ReportVerdict::Superseded);
                        }
                    }
                    v1::report_request::Event::Starting(starting) => {
                        attempt.waits_for = starting.reason;
                    }
                    v1::report_request::Event::Running(_) => {}
                    v1::report_request::Event::Ended(ended) => {
                        if (attempt.log.len() as u64) < ended.log_size {
                            answer.set_verdict(ReportVerdict::LogIncomplete);
                            answer.log_offset = attempt.log.len() as u64;
                        } else {
                            attempt.over = true;
                        }
                        attempt.ended = Some(ended);
                    }
                }
            }
        }
        state.answer(method, answer)
    }

    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let caller = request.remote_addr().unwrap();
        let request = request.into_inner();
        let mut state = self.state().await;
        state.check(request.session)?;
        state.callers.insert("Append", caller);
        state.admit("Append")?;
        let durable = !state.faults.nothing_durable;
        let forgets = state.faults.forget_logs > 0 && request.chunks.is_empty();
        if forgets {
            state.faults.forget_logs -= 1;
        }
        let Some(attempt) = state.attempt(request.lease) else {
            return Err(Status::permission_denied("not yours"));
        };
        if forgets {
            attempt.log.clear();
        }
        if request.offset == attempt.log.len() as u64 {
            // The crate begins with the reflected register, which is the complement of what it gave before.
            let (_, before) = attempt.places.get(&attempt.log.len()).cloned().unwrap_or_default();
            let mut digest = CRC.digest_with_initial((!before).reverse_bits());
            for chunk in &request.chunks {
                digest.update(&chunk.data);
                assert!(chunk.observed_at.is_some() && !chunk.data.is_empty());
                attempt.log.extend_from_slice(&chunk.data);
            }
            if !request.chunks.is_empty() {
                attempt.places.insert(attempt.log.len(), (request.cursor, digest.finalize()));
            }
        }
        if durable {
            attempt.durable = attempt.log.len();
        }
        let (next_cursor, next_crc) =
            attempt.places.get(&attempt.log.len()).cloned().unwrap_or_default();
        let answer = v1::AppendResponse {
            term: Some(TERM),
            next_offset: attempt.log.len() as u64,
            durable_offset: attempt.durable as u64,
            next_crc,
            next_cursor,
            closed: false,
        };
        state.answer("Append", answer)
    }

    async fn list_executors(
        &self,
        _: Request<v1::ListExecutorsRequest>,
    ) -> Result<Response<v1::ListExecutorsResponse>, Status> {
        Err(Status::unimplemented("an executor does not ask this"))
    }

    async fn drain_executor(
        &self,
        _: Request<v1::DrainExecutorRequest>,
    ) -> Result<Response<v1::DrainExecutorResponse>, Status> {
        Err(Status::unimplemented("an executor does not ask this"))
    }

    async fn forget_executor(
        &self,
        _: Request<v1::ForgetExecutorRequest>,
    ) -> Result<Response<v1::ForgetExecutorResponse>, Status> {
        Err(Status::unimplemented("an executor does not ask this"))
    }
}
