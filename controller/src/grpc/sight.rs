//! What a caller may do with a job, asked once a handler knows which job a call is about. What somebody may not see is
//! answered as what does not exist is.

use super::{
    Peer, Services, certificate,
    door::{self, Demand, DoorError, Rpc},
};
use crate::{
    access::{AccessHandle, JoinError, JoinsWith, Sight, issuer::NotIssued, rules::Role},
    audit::About,
    caller::{Caller, Proof},
    job_queue::QueueError,
    liveness::Registration,
    registry::LookUpError,
};
use octavius_protocol::{
    FORWARDED,
    id::{ExecutionId, JobName, Session},
};
use secrecy::SecretString;
use tonic::{Request, Status};

impl Services {
    /// The caller and the message of a request that may be made, as far as that can be said without its job.
    pub(super) fn enter<T>(&self, rpc: Rpc, request: Request<T>) -> Result<(Caller, T), Status> {
        let peer = request.extensions().get::<Peer>();
        let from = peer.and_then(Peer::address);
        let calling = |caller: Caller| caller.calling(rpc.name(), from);
        let caller = self.parts.door.caller(rpc, request.metadata()).map(calling);
        let caller = caller.inspect_err(|why| {
            let about = match why {
                DoorError::NoToken { .. } | DoorError::BadToken { .. } => About::default(),
                DoorError::Expired { id, .. } => About::default().and(format!("token {id}")),
                DoorError::Issued(NotIssued::Expired { token, .. }) => {
                    About::default().and(format!("token {token}"))
                }
                DoorError::Name
                | DoorError::Loading
                | DoorError::Issued(NotIssued::Away { .. }) => return,
                DoorError::Issued(_) => About::default(),
                // What follows is about callers who were let in.
                DoorError::Uncertified(_)
                | DoorError::PassedOnUncertified(_)
                | DoorError::NotFor { .. }
                | DoorError::NoMore { .. }
                | DoorError::NotAllowed { .. } => return,
            };
            let nobody = calling(Caller::new("", Vec::new()));
            self.parts.audit.refused(&nobody, about, &why.to_string());
        })?;
        if let Some(pace) = &self.parts.pace {
            pace.keep(&caller)?;
        }
        let passed_on = request.metadata().contains_key(FORWARDED);
        let certified = || certificate::certified(rpc, peer, passed_on);
        door::check(rpc, &caller).and_then(|()| certified()).inspect_err(|why| {
            self.parts.audit.refused(&caller, About::default(), &why.to_string());
        })?;
        Ok((caller, request.into_inner()))
    }

    /// Whether the caller may do with the job of this name what `rpc` does.
    pub(super) fn about_job(&self, rpc: Rpc, caller: &Caller, name: &str) -> Result<(), Status> {
        let sight = self.parts.door.sight(caller);
        if let Sight::All = sight {
            return Ok(()); // whoever answers knows best what is there
        }
        let jobs = self.parts.registry.view();
        let unknown = || {
            // The registry would suggest any job, also one that they may not see.
            let nearest = jobs.nearest(name, |job| sight.sees(job));
            Err(LookUpError::Unknown { name: name.to_owned(), nearest }.into())
        };
        let Ok(job) = name.parse::<JobName>() else { return unknown() };
        match self.demand(rpc, caller, &sight, About::job(&job), &job) {
            Demand::Granted if jobs.is_there(&job) || makes_it(rpc) => Ok(()),
            // Whoever wants to make one is told the same whether it is there or not.
            Demand::Hidden if makes_it(rpc) => {
                let (caller, job, role) = (caller.name().to_owned(), Some(job), Role::Admin);
                Err(DoorError::NotAllowed { caller, rpc, role, job }.into())
            }
            Demand::Granted | Demand::Hidden => unknown(),
            Demand::Refused(refused) => Err(refused.into()),
        }
    }

    /// Whether the caller may do with an execution what `rpc` does.
    pub(super) async fn about_execution(
        &self,
        rpc: Rpc,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<(), Status> {
        let sight = self.parts.door.sight(caller);
        if let Sight::All = sight {
            return Ok(());
        }
        let job = self.parts.queue.get(id).await?.record.job;
        match self.demand(rpc, caller, &sight, About::job(&job).execution(id), &job) {
            Demand::Granted => Ok(()),
            Demand::Hidden => {
                Err(self.parts.queue.why_unknown(QueueError::Unknown(id)).await.into())
            }
            Demand::Refused(refused) => Err(refused.into()),
        }
    }

    /// What the caller may do with a job. What is refused is recorded, also where the caller is told that nothing is there.
    fn demand(
        &self,
        rpc: Rpc,
        caller: &Caller,
        sight: &Sight,
        about: About,
        job: &JobName,
    ) -> Demand {
        let demand = door::demand(rpc, caller, sight, job);
        match &demand {
            Demand::Granted => {}
            Demand::Hidden => {
                let why = "they have no role for this job, and are told that it is not there";
                self.parts.audit.refused(caller, about, why);
            }
            Demand::Refused(why) => self.parts.audit.refused(caller, about, &why.to_string()),
        }
        demand
    }

    /// Whether a caller who waited, and was let in before that, still may.
    pub(super) fn still(
        &self,
        rpc: Rpc,
        caller: &Caller,
        job: Option<&JobName>,
    ) -> Result<(), DoorError> {
        let door = &self.parts.door;
        let caller = door.is_open_for(rpc, caller)?;
        match job.map(|job| door::demand(rpc, &caller, &door.sight(&caller), job)) {
            None | Some(Demand::Granted) => Ok(()),
            Some(Demand::Hidden) => {
                Err(DoorError::NoMore { caller: caller.name().to_owned(), rpc })
            }
            Some(Demand::Refused(refused)) => Err(refused),
        }
    }

    /// Whether an executor calls in its own session.
    pub(super) fn in_its_session(&self, caller: &Caller, session: Session) -> Result<(), Status> {
        match caller.executor() {
            Some(executor) => {
                let is_its = self.parts.liveness.is_of(session, executor);
                Ok(is_its.inspect_err(|why| {
                    let about = About::executor(executor);
                    self.parts.audit.refused(caller, about, &why.to_string());
                })?)
            }
            None => Ok(()),
        }
    }

    /// What an executor proves itself with from now on, where it joins with this registration.
    pub(super) async fn joined(
        &self,
        caller: &Caller,
        registration: &Registration,
    ) -> Result<Option<SecretString>, JoinError> {
        let Registration { executor, labels, .. } = registration;
        let joined = match caller.proof() {
            Proof::None | Proof::Person(..) | Proof::Issued(..) => Ok(None),
            Proof::Executor(_, own, bound) => {
                AccessHandle::may_register(own, bound, executor, labels).map(|()| None)
            }
            Proof::Join(with) => {
                self.join(JoinsWith::Token(with.clone()), caller, registration).await
            }
            Proof::ServiceAccount(account, _) => {
                self.join(JoinsWith::Account(account.clone()), caller, registration).await
            }
        };
        joined.inspect_err(|why| {
            let about = About::executor(executor);
            self.parts.audit.refused(caller, about, &why.to_string());
        })
    }

    async fn join(
        &self,
        with: JoinsWith,
        caller: &Caller,
        registration: &Registration,
    ) -> Result<Option<SecretString>, JoinError> {
        let Registration { executor, place, labels, .. } = registration;
        let access = &self.parts.access;
        access.join(with, executor.clone(), *place, labels.clone(), caller).await.map(Some)
    }
}

/// Whether a call may be about a job that is not there.
fn makes_it(rpc: Rpc) -> bool {
    matches!(rpc, Rpc::CreateJob | Rpc::UpdateJob)
}
