//! Why liveness says no. The texts are for the caller: what is wrong, where, and what to do.

use super::rules::{RegisterRefused, SessionUnknown};
use octavius_protocol::id::ExecutorId;
use octavius_service::actor::Unanswered;

/// Why an executor got no session. Registering again is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegisterError {
    /// It may not have one.
    #[error(transparent)]
    Refused(#[from] RegisterRefused),
    /// The store did not confirm it.
    #[error("executor {executor} could not be stored ({why}): register again")]
    Store {
        /// Who asked.
        executor: ExecutorId,
        /// What the store said.
        why: String,
    },
    /// The queue did not take it in.
    #[error("the queue did not take executor {executor} in ({why}): register again")]
    Queue {
        /// Who asked.
        executor: ExecutorId,
        /// What the queue said.
        why: String,
    },
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why an executor was not drained. Doing it again is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DrainError {
    /// There is none of that id.
    #[error("there is no executor {0}: `octavius executors` shows all")]
    NotFound(ExecutorId),
    /// The store did not confirm it.
    #[error("that executor {executor} gets work or none could not be stored ({why}): try again")]
    Store {
        /// Which.
        executor: ExecutorId,
        /// What the store said.
        why: String,
    },
    /// The queue did not hear of it.
    #[error("the queue did not hear that executor {executor} gets work or none ({why}): try again")]
    Queue {
        /// Which.
        executor: ExecutorId,
        /// What the queue said.
        why: String,
    },
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why an executor was not forgotten. Doing it again is always safe.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForgetError {
    /// There is none of that id.
    #[error("there is no executor {0}: `octavius executors` shows all")]
    NotFound(ExecutorId),
    /// It is there.
    #[error(
        "executor {0} is heard: stop it first, or drain it with `octavius executors drain {0}`"
    )]
    Heard(ExecutorId),
    /// The store did not confirm it.
    #[error("that executor {executor} is forgotten could not be stored ({why}): try again")]
    Store {
        /// Which.
        executor: ExecutorId,
        /// What the store said.
        why: String,
    },
    /// The queue did not give up what it holds.
    #[error("what executor {executor} holds could not be given up ({why}): try again")]
    Queue {
        /// Which.
        executor: ExecutorId,
        /// What the queue said.
        why: String,
    },
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why a sign of life was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HeardError {
    /// The session is not open.
    #[error(transparent)]
    Session(#[from] SessionUnknown),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why no executors can be shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ListExecutorsError {
    /// A page token that nobody gave out.
    #[error("`{0}` is no page token: begin with an empty one")]
    PageToken(String),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}
