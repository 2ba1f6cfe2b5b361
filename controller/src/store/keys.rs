//! The layout of the keys. All data of a store begins with `v1/`; who writes a prefix is the only one who does.

use octavius_protocol::id::{
    AttemptId, AttemptNumber, ExecutionId, ExecutorId, JobName, VariableName,
};
use uuid::Uuid;

/// The layout's version: checked by whoever opens the store.
pub const SCHEMA: &str = "v1/schema";
/// The store's own id, a UUID: what lies beside it counts only if it names the same. Written by the backend.
pub const STORE_ID: &str = "v1/store-id";
/// The last committed batch: `<number> <life>`, its number in decimal and which life of which store's actor sent it,
/// so that two controllers never take each other's batch for their own; where they are elected, then ` <leader's life>`.
/// Written by the store's actor.
pub const SEQUENCE: &str = "v1/seq";
/// Who leads, where several controllers share a store: [`super::etcd::LeaderRecord`] in JSON, on the leader's lease.
pub const LEADER: &str = "v1/leader";
/// The installation's id: a UUID.
pub const INSTALLATION: &str = "v1/installation";
/// The term: `<generation> <revision>`, both decimal.
pub const TERM: &str = "v1/term";
/// Which log store the logs are in, where several controllers share a store: what the object that says whose it is names.
pub const LOG_STORE: &str = "v1/log-store";
/// Tells whether the store and the master key belong together: a known text, sealed.
pub const KEY_CHECK: &str = "v1/key-check";

/// Jobs by name. Written by `Registry`.
pub const JOBS: &str = "v1/job/";
/// The last versions of jobs that were deleted, by name. Written by `Registry`.
pub const JOBS_GONE: &str = "v1/job-gone/";
/// All versions of all jobs, by uid and version. Written by `Registry`.
pub const JOB_VERSIONS: &str = "v1/job-version/";
/// Which secrets are set, by the job's uid and their name. Written by `Secrets`.
pub const SECRETS: &str = "v1/secret/";
/// The values of secrets, sealed. Written by `Secrets`.
pub const SECRET_VALUES: &str = "v1/secret-value/";
/// How late it was when it was last looked for executions that were kept long enough. Written by `JobQueue`, as are the
/// next nine.
pub const TIME_FOR_EXECUTIONS: &str = "v1/time/executions";
/// The newest of all executions that were removed because they were kept long enough.
pub const NEWEST_REMOVED: &str = "v1/newest-removed";
/// What was submitted, once, by execution.
pub const SPECS: &str = "v1/spec/";
/// Values of arguments that nobody may see, sealed, by execution: gone with its end.
pub const SECRET_ARGUMENTS: &str = "v1/secret-arguments/";
/// Executions that are not final: small, and rewritten at each step.
pub const LIVE: &str = "v1/live/";
/// Final executions, the newest first.
pub const DONE: &str = "v1/done/";
/// Executions by job, the newest first.
pub const BY_JOB: &str = "v1/by-job/";
/// Executions by who submitted them, the newest first.
pub const BY_USER: &str = "v1/by-user/";
/// Executions by the end of their ids: by the ids' characters from the last to the first.
pub const BY_ENDING: &str = "v1/by-ending/";
/// Executions by their caller's request id.
pub const REQUESTS: &str = "v1/request/";
/// Executors. Written by `LivenessWatcher`.
pub const EXECUTORS: &str = "v1/executor/";
/// The number of the last session, in decimal. Written by `LivenessWatcher`.
pub const LAST_SESSION: &str = "v1/session";
/// Logs: their segments and ends, by attempt. Written by `LogStore`.
pub const LOGS: &str = "v1/log/";
/// How late it was when it was last looked for logs that were kept long enough. Written by `LogStore`.
pub const TIME_FOR_LOGS: &str = "v1/time/logs";

/// The newest version of a job.
pub fn job(name: &JobName) -> String {
    format!("{JOBS}{name}")
}

/// What is left of a job that was deleted.
pub fn job_gone(name: &JobName) -> String {
    format!("{JOBS_GONE}{name}")
}

/// One version of a job.
pub fn job_version(uid: &str, version: u64) -> String {
    format!("{JOB_VERSIONS}{uid}/{version:016x}")
}

/// What is known of a secret.
pub fn secret(job_uid: &str, name: &VariableName) -> String {
    format!("{SECRETS}{job_uid}/{name}")
}

/// One value of a secret.
pub fn secret_value(job_uid: &str, name: &VariableName, value: Uuid) -> String {
    format!("{SECRET_VALUES}{job_uid}/{name}/{value}")
}

/// The values of arguments that nobody may see.
pub fn secret_arguments(id: ExecutionId) -> String {
    format!("{SECRET_ARGUMENTS}{id}")
}

/// What was submitted.
pub fn spec(id: ExecutionId) -> String {
    format!("{SPECS}{id}")
}

/// An execution that is not final.
pub fn live(id: ExecutionId) -> String {
    format!("{LIVE}{id}")
}

/// A final execution.
pub fn done(id: ExecutionId) -> String {
    format!("{DONE}{}", id.inverse())
}

/// The execution that a key of history names: it ends with the id's complement.
pub fn id_in_history(key: &str) -> Option<ExecutionId> {
    let inverse: ExecutionId = key.rsplit('/').next()?.parse().ok()?;
    Some(ExecutionId::from_bytes(inverse.as_bytes().map(|byte| !byte)))
}

/// An execution among those of its job.
pub fn by_job(job: &JobName, id: ExecutionId) -> String {
    format!("{}{}", by_job_prefix(job), id.inverse())
}

/// All executions of a job begin with this.
pub fn by_job_prefix(job: &JobName) -> String {
    format!("{BY_JOB}{job}/")
}

/// An execution among those of who submitted it.
pub fn by_user(user: &str, id: ExecutionId) -> String {
    format!("{}{}", by_user_prefix(user), id.inverse())
}

/// All executions that a user submitted begin with this.
pub fn by_user_prefix(user: &str) -> String {
    format!("{BY_USER}{}/", escaped(user))
}

/// An execution among those whose ids end alike.
pub fn by_ending(id: ExecutionId) -> String {
    by_ending_prefix(&id.to_string())
}

/// All executions whose ids end so begin with this.
pub fn by_ending_prefix(ending: &str) -> String {
    BY_ENDING.chars().chain(ending.chars().rev()).collect()
}

/// The execution that a key of the index of endings names.
pub fn id_by_ending(key: &str) -> Option<ExecutionId> {
    key.strip_prefix(BY_ENDING)?.chars().rev().collect::<String>().parse().ok()
}

/// A caller's request id.
pub fn request(user: &str, request_id: &str) -> String {
    format!("{REQUESTS}{}/{}", escaped(user), escaped(request_id))
}

/// An executor.
pub fn executor(id: &ExecutorId) -> String {
    format!("{EXECUTORS}{id}")
}

/// All of an attempt's log entries begin with this.
pub fn log(attempt: AttemptId) -> String {
    format!("{LOGS}{}/{:08x}/", attempt.execution, attempt.attempt.0)
}

/// The attempt whose log a key belongs to; none where it is no log's.
pub fn log_attempt(key: &str) -> Option<AttemptId> {
    let mut parts = key.strip_prefix(LOGS)?.split('/');
    let execution = parts.next()?.parse().ok()?;
    let attempt = u32::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().map(|_| AttemptId { execution, attempt: AttemptNumber(attempt) })
}

/// All log entries of an execution's attempts begin with this.
pub fn logs_of(execution: ExecutionId) -> String {
    format!("{LOGS}{execution}/")
}

/// One segment of a log, by the offset of its first byte.
pub fn log_segment(attempt: AttemptId, offset: u64) -> String {
    format!("{}at/{offset:016x}", log(attempt))
}

/// The end of a log. Sorts behind its segments.
pub fn log_end(attempt: AttemptId) -> String {
    format!("{}end", log(attempt))
}

/// The first key behind all that begin with `prefix`.
pub fn prefix_end(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    match end.pop() {
        // Prefixes end in `/`, and `0` is the next character.
        Some('/') => end.push('0'),
        Some(last) => end.extend([last, char::MAX]),
        None => end.push(char::MAX),
    }
    end
}

/// A caller's text as one part of a key: `/` and `%` would be read as something else.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2f").replace('\0', "%00")
}
