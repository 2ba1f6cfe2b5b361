//! The layout of the keys. All data of a store begins with `v1/`; who writes a prefix is the only one who does.

use octavius_protocol::id::{
    AttemptId, AttemptNumber, ExecutionId, ExecutorId, JobName, VariableName,
};
use uuid::Uuid;

/// All data of a store begins with this.
pub const ALL: &str = "v1/";

/// What a key, or all that begin with it, are: a row of the table that [`layout_page`](super::layout_page) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The key; where it ends in `/`, what all of them begin with.
    pub key: &'static str,
    /// What comes behind it, where it ends in `/`.
    pub then: &'static str,
    /// What it holds.
    pub about: &'static str,
    /// Who writes it.
    pub writer: &'static str,
    /// How its value is encoded.
    pub value: Value,
    /// What becomes of it in a backup.
    pub backup: Backup,
}

/// How a value is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: the key says it all.
    Empty,
    /// Plain text.
    Text,
    /// A JSON document; fields are added, and what is missing has its default.
    Json,
    /// The same, packed with a dictionary: see [`super::packed`].
    JsonPacked,
    /// The same, and in it, sealed under the master key, the values of arguments.
    JsonPackedSealed,
    /// A protobuf message; numbers of fields are never used twice.
    Protobuf,
    /// The same, and in it, sealed under the master key, a value.
    ProtobufSealed,
    /// Sealed under the master key.
    Sealed,
}

/// What becomes of a key in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// It is put back as it was.
    Kept,
    /// It is left out: it belongs to the place where the store is, and another place has its own.
    LeftOut,
    /// It is put back higher than it was, so that nothing which was given out after the backup is given out again.
    Raised,
}

macro_rules! layout {
    ($($(#[doc = $about:literal])+ $name:ident = $key:literal $(then $then:literal)?, by $writer:literal, $value:ident, $backup:ident;)+) => {
        $($(#[doc = $about])+ pub const $name: &str = $key;)+

        /// All kinds of keys, in no order.
        pub const LAYOUT: &[Kind] = &[$(Kind {
            key: $key,
            then: concat!("", $($then)?),
            about: concat!($($about),+),
            writer: $writer,
            value: Value::$value,
            backup: Backup::$backup,
        }),+];
    };
}

layout! {
    /// The layout's version, in decimal: checked by whoever opens the store. While a backup is put back, `restoring` and
    /// which restore that is.
    SCHEMA = "v1/schema", by "whoever makes the store", Text, LeftOut;
    /// The store's own id, a UUID: what lies beside it counts only if it names the same.
    STORE_ID = "v1/store-id", by "whoever makes the store", Text, LeftOut;
    /// The last committed batch: `<number> <life>`, its number in decimal and which life of which store's actor sent it,
    /// so that two controllers never take each other's batch for their own; where they are elected, then
    /// ` <leader's life>`.
    SEQUENCE = "v1/seq", by "`Store`", Text, LeftOut;
    /// Who leads, where several controllers share a store: its life and its address, on the leader's lease.
    LEADER = "v1/leader", by "the election", Json, LeftOut;
    /// The installation's id: a UUID.
    INSTALLATION = "v1/installation", by "the controller", Text, Kept;
    /// The term: `<generation> <revision>`, both in decimal.
    TERM = "v1/term", by "the controller", Text, Raised;
    /// Which log store the logs are in, where several controllers share a store: what the object there names that says whose
    /// it is.
    LOG_STORE = "v1/log-store", by "the controller", Text, LeftOut;
    /// Tells whether the store and the master key belong together: a known text.
    KEY_CHECK = "v1/key-check", by "the controller", Sealed, Kept;

    /// The newest version of each job.
    JOBS = "v1/job/" then "`<name>`", by "`Registry`", Json, Kept;
    /// The last versions of jobs that were deleted.
    JOBS_GONE = "v1/job-gone/" then "`<name>`", by "`Registry`", Json, Kept;
    /// All versions of all jobs.
    JOB_VERSIONS = "v1/job-version/" then "`<uid>/<version>`, 16 hexadecimal digits", by "`Registry`", Json, Kept;
    /// Which secrets are set.
    SECRETS = "v1/secret/" then "`<job's uid>/<name>`", by "`Secrets`", Json, Kept;
    /// The values of secrets.
    SECRET_VALUES = "v1/secret-value/" then "`<job's uid>/<name>/<value's id>`", by "`Secrets`", ProtobufSealed, Kept;
    /// Tokens of people and executors: of each who has it, and what proves it, which does not give it back.
    TOKENS = "v1/access/token/" then "`<id>`", by "`Access`", Json, Kept;
    /// The roles that people and groups were given.
    ROLES = "v1/access/role/" then "`person/<name>/<job>` or `group/…`; no job: in all", by "`Access`", Json, Kept;
    /// Who did what, and who was refused, the newest first: one entry for each, in the batch of what was done.
    AUDIT = "v1/audit/" then "`<complement of its id>`, 32 hexadecimal digits", by "whoever does it", Protobuf, Kept;
    /// How late it was when it was last looked for entries of the audit that were kept long enough.
    TIME_FOR_AUDIT = "v1/time/audit", by "`Audit`", Json, Kept;
    /// How late it was when it was last looked for executions that were kept long enough.
    TIME_FOR_EXECUTIONS = "v1/time/executions", by "`JobQueue`", Json, Kept;
    /// The newest of all executions that were removed because they were kept long enough.
    NEWEST_REMOVED = "v1/newest-removed", by "`JobQueue`", Json, Kept;
    /// What was submitted, once.
    SPECS = "v1/spec/" then "`<id>`", by "`JobQueue`", JsonPackedSealed, Kept;
    /// Values of arguments that nobody may see: gone with the end of their execution.
    SECRET_ARGUMENTS = "v1/secret-arguments/" then "`<id>`", by "`JobQueue`", Sealed, Kept;
    /// Executions that are not final: small, and rewritten at each step.
    LIVE = "v1/live/" then "`<id>`", by "`JobQueue`", Json, Kept;
    /// Final executions, the newest first.
    DONE = "v1/done/" then "`<complement of the id>`", by "`JobQueue`", JsonPacked, Kept;
    /// How many final executions there are, in decimal.
    DONE_COUNT = "v1/done-count", by "`JobQueue`", Text, Kept;
    /// Final executions by job, the newest first.
    BY_JOB = "v1/by-job/" then "`<name>/<complement of the id>`", by "`JobQueue`", Empty, Kept;
    /// Final executions by who submitted them, the newest first.
    BY_USER = "v1/by-user/" then "`<user>/<complement of the id>`", by "`JobQueue`", Empty, Kept;
    /// Final executions by the end of their ids.
    BY_ENDING = "v1/by-ending/" then "`<id, from its last character to its first>`", by "`JobQueue`", Empty, Kept;
    /// Executions by their caller's request id.
    REQUESTS = "v1/request/" then "`<user>/<request id>`", by "`JobQueue`", Json, Kept;
    /// Executors.
    EXECUTORS = "v1/executor/" then "`<id>`", by "`LivenessWatcher`", Json, Kept;
    /// The number of the last session, in decimal.
    LAST_SESSION = "v1/session", by "`LivenessWatcher`", Text, Raised;
    /// Logs: their segments, each with its bytes or the name of the object that has them, and their ends.
    LOGS = "v1/log/" then "`<id>/<attempt>/at/<offset>` or `…/end`, in hexadecimal", by "`LogStore`", Protobuf, Kept;
    /// How late it was when it was last looked for logs that were kept long enough.
    TIME_FOR_LOGS = "v1/time/logs", by "`LogStore`", Json, Kept;
}

/// The kind of a key; none: this version knows none like it.
pub fn kind(key: &str) -> Option<&'static Kind> {
    LAYOUT.iter().find(|kind| match kind.key.ends_with('/') {
        true => key.starts_with(kind.key),
        false => key == kind.key,
    })
}

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

/// What is known of a token.
pub fn token(id: &str) -> String {
    format!("{TOKENS}{id}")
}

/// The role that a person or a group has, in all or for a job.
pub fn role(kind: &str, name: &str, job: Option<&JobName>) -> String {
    format!("{ROLES}{kind}/{}/{}", escaped(name), job.map_or("", JobName::as_str))
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
