//! The wire protocol of Octavius: package `octavius.v1`, and the ids that its texts carry.
//!
//! The `.proto` files are the reference and document every service, method and field. What is generated from
//! them is in [`v1`]; [`id`] turns the texts into types at the door and back into texts at the door; [`secret`] holds
//! what nobody may see; [`pause`] says how long who was refused waits; [`reach`] is the way to a controller.
//! Not here: what a state may follow, who may do what. Those are the controller's rules.

pub mod id;
pub mod pause;
pub mod reach;
pub mod secret;

use std::time::Duration;

/// What `proto/octavius/v1/` defines.
#[allow(missing_docs, clippy::all, clippy::pedantic)] // generated; the .proto files hold the documentation
pub mod v1 {
    tonic::include_proto!("octavius.v1");
}

/// The descriptors of [`v1`], encoded, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The level of the executors' protocol that this crate speaks. A controller serves its own and the one before.
pub const LEVEL: u32 = 1;

/// The most bytes of log that one append carries.
pub const MAX_APPEND: usize = 1 << 20;

/// The most bytes of an append's cursor.
pub const MAX_CURSOR: usize = 256;

/// The largest message that either side decodes. Above the 4 MiB that tonic takes by itself, so that a too large
/// argument is refused by name and not by the transport.
pub const MAX_MESSAGE: usize = 5 << 20;

/// The most bytes of one argument or secret as `NAME=value`: what Linux takes for one environment variable, without its
/// NUL.
pub const MAX_VARIABLE: usize = 131_071;

/// The most bytes of all arguments of an execution, names and values together.
pub const MAX_ARGUMENTS: usize = 512 << 10;

/// The most attempts that an executor may hold, and name as held.
pub const MAX_HELD: usize = 10_000;

/// The longest limit of time that can be asked for: 365 days.
pub const MAX_TIME: Duration = Duration::from_secs(365 * 86_400);

/// The fewest characters of an execution's id that may stand for it.
pub const LEAST_ID_PART: usize = 6;

/// The metadata of an answer that streams a log: over how many milliseconds who follows it spreads its return, should it
/// lose its controller.
pub const SPREAD: &str = "octavius-spread";

/// Whose words the reasons in a status's `ErrorInfo` are.
pub const DOMAIN: &str = "octavius";

/// The reason of an answer that leaves open whether what was asked for was done. An `UNAVAILABLE` for any other reason
/// is a certain no of what must not be done twice.
pub const UNCONFIRMED: &str = "UNCONFIRMED";

/// The reason of a registration that is refused because a newer process of the executor took over.
pub const REPLACED: &str = "EXECUTOR_REPLACED";

/// The reason of a controller that does not lead, and does not pass on what came from another one.
pub const NOT_LEADING: &str = "NOT_LEADING";

/// The reason of a controller that does not lead, and knows of none that does.
pub const NO_LEADER: &str = "NO_LEADER";

/// Why a call was refused: the controller that leads is not reached from the one that was asked. Nothing was done.
pub const LEADER_AWAY: &str = "LEADER_AWAY";

/// Why a call was refused: what answers it is being started, and is there in a moment. Nothing was done.
pub const STARTING: &str = "STARTING";

/// The reason of a controller that ends.
pub const ENDING: &str = "ENDING";

/// In the metadata of a reason: the address of the controller that leads.
pub const LEADER: &str = "leader";

/// The reason of a call that proves nothing, where that is asked for.
pub const NO_TOKEN: &str = "NO_TOKEN";

/// The reason of a call whose token is none that counts, or was revoked.
pub const BAD_TOKEN: &str = "BAD_TOKEN";

/// The reason of a call whose token has ended.
pub const TOKEN_EXPIRED: &str = "TOKEN_EXPIRED";

/// In the metadata of [`NO_TOKEN`]: the issuer whose identity tokens are taken, where there is one.
pub const OIDC_ISSUER: &str = "oidc_issuer";

/// In the metadata of [`NO_TOKEN`]: what that issuer knows the installation as.
pub const OIDC_CLIENT_ID: &str = "oidc_client_id";

/// The metadata of a call that a controller passed on: how often it was. A controller that does not lead does not pass
/// it on again.
pub const FORWARDED: &str = "octavius-forwarded";

/// A status code as gRPC's own documents write it, for metrics and texts.
pub fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
