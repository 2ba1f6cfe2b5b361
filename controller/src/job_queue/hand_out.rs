//! Handing out grants: with what was submitted, and with what nobody else may see.

use super::{
    JobQueue, Leased, QueueError,
    attempt::Outcome,
    record::{Ending, Spec},
    report::TakeReport,
    rules::{Grant, LeaseName, Report},
    show::{stored_secret_arguments, stored_spec},
};
use crate::{
    secrets::{RevealError, SecretsHandle},
    store::StoreHandle,
};
use actix::prelude::*;
use octavius_protocol::{
    id::{ExecutionId, Session},
    secret::SecretValues,
};

/// The most bytes of what was submitted that one answer carries, and the one that goes beyond.
const ANSWER_BYTES: usize = 2 << 20;

/// What is handed out.
#[derive(Debug, Default)]
pub(super) struct Handed {
    leased: Vec<Leased>,
    /// What can never be handed out, and why.
    broken: Vec<(LeaseName, String)>,
}

impl Handed {
    /// What is handed out; the rest ends here and now, for nobody else could end it.
    pub(super) fn without_broken(
        self,
        session: Session,
        context: &mut Context<JobQueue>,
    ) -> Vec<Leased> {
        for (lease, why) in self.broken {
            tracing::error!(attempt = %lease.attempt, why, "an execution cannot be handed out");
            let ending = Ending {
                outcome: Outcome::Failed,
                code: "secret_unreadable".to_owned(),
                reason: format!("{why}: set the secret again, and execute the job again"),
                exit_code: None,
                log: Some((0, 0)),
                log_cut: String::new(),
                note: String::new(),
            };
            context.notify(TakeReport { session, lease, report: Report::Ended(ending) });
        }
        self.leased
    }

    /// What is handed out again while it runs; the rest runs on, and its executor keeps its log to itself.
    pub(super) fn that_opened(self) -> Vec<Leased> {
        for (lease, why) in self.broken {
            tracing::error!(attempt = %lease.attempt, why, "what is to be masked in a log cannot be sent");
        }
        self.leased
    }
}

/// Grants with what was submitted, up to what an answer carries: the others are repeated in the next one.
pub(super) async fn handed_out(
    store: &StoreHandle,
    secrets: &SecretsHandle,
    grants: Vec<Grant>,
) -> Result<Handed, QueueError> {
    let mut handed = Handed::default();
    let mut bytes = 0;
    for grant in grants {
        let execution = grant.lease.attempt.execution;
        let spec = stored_spec(store, secrets.vault(), execution).await?;
        let missing = || QueueError::Store(format!("what was submitted as {execution} is gone"));
        let spec = spec.ok_or_else(missing)?;
        let hidden = match revealed(store, secrets, execution, &spec).await? {
            Ok(hidden) => hidden,
            Err(why) => {
                handed.broken.push((grant.lease, why));
                continue;
            }
        };
        bytes += spec.size() + hidden.size();
        handed.leased.push(Leased { grant, spec, secrets: hidden });
        if bytes >= ANSWER_BYTES {
            break;
        }
    }
    Ok(handed)
}

/// What nobody may see, for whoever was granted the execution; or why that will never be had.
async fn revealed(
    store: &StoreHandle,
    secrets: &SecretsHandle,
    execution: ExecutionId,
    spec: &Spec,
) -> Result<Result<SecretValues, String>, QueueError> {
    let mut values = match secrets.reveal(&spec.job_uid, &spec.hidden.secrets).await {
        Ok(values) => values,
        Err(RevealError::Read(error)) => return Err(error.into()),
        Err(error @ (RevealError::Gone(_) | RevealError::Unopened(..))) => {
            return Ok(Err(error.to_string()));
        }
    };
    if !spec.hidden.arguments.is_empty() {
        match stored_secret_arguments(store, secrets.vault(), execution).await? {
            Ok(arguments) => values.extend(arguments),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(values))
}
