//! Why tokens and roles were not changed or shown. The texts are for the caller; none holds a token.

use super::{
    rules::Subject,
    token::{NoRandom, TokenId},
};
use octavius_protocol::id::{ExecutorId, JobName};
use octavius_service::actor::Unanswered;

/// Why a token or a role was not made, shown or taken away.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    /// There is none of that id.
    #[error("there is no token {0}: `octavius token list` shows all")]
    NoToken(TokenId),
    /// It is not kept here.
    #[error(
        "token {0} is the one of `first_administrator`: take that key out of the configuration, and start the controller again"
    )]
    Configured(TokenId),
    /// They have none there.
    #[error(
        "{subject} has no role {}: `octavius role list` shows all",
        place(.job.as_ref())
    )]
    NoRole {
        /// Who.
        subject: Subject,
        /// Where.
        job: Option<JobName>,
    },
    /// So many are there.
    #[error("there are {limit} {what}, the most that are kept: revoke some that nobody needs")]
    Full {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// None can be made.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
    /// A page token that nobody gave out.
    #[error("`{0}` is no page token: begin with an empty one")]
    PageToken(String),
    /// The store certainly did not take it.
    #[error("nothing was changed: {0}")]
    NotStored(String),
    /// It may or may not be on disk.
    #[error("this may or may not have been done: look, and do it again if not ({0})")]
    Unconfirmed(String),
    /// The actor did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// Why an executor did not join, or may not register so.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JoinError {
    /// The token has ended, or was used up.
    #[error(
        "nobody joins with token {0} any more: ask for another one (`octavius executors invite`), and give it as `access_token`"
    )]
    Over(TokenId),
    /// Another one has the id.
    #[error(
        "executor {executor} has joined already, and has the credential {credential}: start it with the `state_dir` that it joined with, or give this one an `id` of its own; where that folder is gone for good, an administrator makes room with `octavius token revoke {credential}`"
    )]
    Taken {
        /// Who asked.
        executor: ExecutorId,
        /// What it has.
        credential: TokenId,
    },
    /// It is not what it was invited as.
    #[error(
        "executor {executor} may only have the label `{label}` as `{wanted}`, as its token or, in a cluster, `clusters` of the controller says: set it so in `labels`, or ask for another token"
    )]
    Label {
        /// Who asked.
        executor: ExecutorId,
        /// Which label.
        label: String,
        /// What it has to be.
        wanted: String,
    },
    /// It speaks for another one.
    #[error(
        "this is executor {own}, and registers as {other}: give it the `id` that it joined with, or a `state_dir` and a token of its own"
    )]
    Other {
        /// Whose credential it has.
        own: ExecutorId,
        /// As whom it registers.
        other: ExecutorId,
    },
    /// Its credential was not made or stored.
    #[error(transparent)]
    Access(#[from] AccessError),
}

fn place(job: Option<&JobName>) -> String {
    job.map_or_else(|| "in all".to_owned(), |job| format!("for job `{job}`"))
}
