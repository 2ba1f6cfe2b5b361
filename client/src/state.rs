//! The words for states, and which of them are final.

use octavius_protocol::v1::{ExecutionState, ExecutorState};

/// Whether an execution in this state never changes any more.
pub fn is_final(state: ExecutionState) -> bool {
    use ExecutionState::*;
    match state {
        Unspecified | Pending | Leased | Starting | Running => false,
        Succeeded | Failed | Cancelled | TimedOut | Lost => true,
    }
}

/// The word for an execution's state, as commands and documents have it.
pub fn execution_word(state: ExecutionState) -> &'static str {
    use ExecutionState::*;
    match state {
        Unspecified => "unknown",
        Pending => "pending",
        Leased => "leased",
        Starting => "starting",
        Running => "running",
        Succeeded => "succeeded",
        Failed => "failed",
        Cancelled => "cancelled",
        TimedOut => "timed_out",
        Lost => "lost",
    }
}

/// All states of an execution, in the order of its life.
pub const EXECUTION_STATES: [ExecutionState; 9] = {
    use ExecutionState::*;
    [Pending, Leased, Starting, Running, Succeeded, Failed, Cancelled, TimedOut, Lost]
};

/// The word for an executor's state.
pub fn executor_word(state: ExecutorState) -> &'static str {
    use ExecutorState::*;
    match state {
        Unspecified | Unknown => "unknown",
        Ready => "ready",
        Expired => "expired",
        Lost => "lost",
    }
}
