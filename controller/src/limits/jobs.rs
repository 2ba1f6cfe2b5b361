//! Bounds of what is asked for: names, definitions, executions, secrets.

use super::{SHORTEN, full, instead, wrong};
use crate::{
    access::{
        MOST_GRANTS, MOST_OF_AN_ACCOUNT, MOST_TOKENS,
        issuer::{self, ASK_EVERY, FETCH_WITHIN, LARGEST_TOKEN, SETTLE_WITHIN},
    },
    configuration::SHORTEST_HISTORY,
    grpc::{
        convert::{
            access::{LONGEST_INVITATION, MOST_USES},
            executions::LONGEST_WAIT,
            executors::GRACE,
            listing::MOST_USER_BYTES,
        },
        door::MOST_NAME_BYTES,
        keys::MOST_WAITING,
    },
    job_queue::{
        MOST_REQUEST_ID_BYTES,
        handle::{PARKED, SUBMITTED_KIB},
        rules::QueueLimits,
        submit::STORED,
        terms::USUAL_START_TIMEOUT,
    },
    registry::{
        MOST_ATTEMPTS, MOST_VERSIONS,
        delete::MOST_GONE,
        handle::MOST_JOBS,
        rules::{declared, definition, running, value},
    },
    secrets::rules::LEAST_MASKED_BYTES,
    web::LARGEST_ANSWER,
};
use octavius_protocol::{
    LEAST_ID_PART, MAX_ARGUMENTS, MAX_TIME, MAX_VARIABLE,
    id::{MOST_NAME, MOST_VARIABLE},
};
use octavius_service::limits::{
    Amount,
    Beyond::{Instead, Refused, Stops},
    Limit,
};

pub(super) fn names() -> Vec<Limit> {
    vec![
        wrong("A job's name", Amount::characters(MOST_NAME), "a job's name: 1 to {} characters"),
        wrong(
            "An executor's id",
            Amount::characters(MOST_NAME),
            "an executor's id: 1 to {} characters",
        ),
        wrong(
            "The name of an argument or a secret",
            Amount::characters(MOST_VARIABLE),
            "a name for an environment variable: … at most {} characters",
        ),
        wrong(
            "The name of who asks",
            Amount::bytes(MOST_NAME_BYTES),
            "is no name: give 1 to {} visible ASCII characters",
        ),
        wrong("A request id", Amount::bytes(MOST_REQUEST_ID_BYTES), SHORTEN),
        wrong(
            "The part that stands for an execution's id, at the least",
            Amount::characters(LEAST_ID_PART),
            "is no part of an execution's id: give {} to … characters",
        ),
        wrong("The user whose executions are listed", Amount::bytes(MOST_USER_BYTES), SHORTEN),
        wrong(
            "Labels of an executor, of a job's `executor_selector`, and of `execute --on`, each",
            Amount::count(running::MOST_LABELS),
            "labels, and an executor has at most {}: take some out",
        ),
        wrong(
            "The name or the value of a label",
            Amount::bytes(running::MOST_LABEL_BYTES),
            "of which name or value is no label: a name has 1 to {} bytes, a value up to {}",
        ),
    ]
}

pub(super) fn definitions() -> Vec<Limit> {
    let some = "are …, and a job has at most {}: take some out";
    vec![
        full(
            "Jobs of a controller",
            Amount::count(MOST_JOBS),
            "there are {} jobs, the most that one controller keeps",
        ),
        instead(
            "Versions of a job that are kept",
            Amount::Count(MOST_VERSIONS),
            "The oldest one is removed. Executions of it have what they were submitted with.",
        ),
        instead(
            "Deleted jobs whose last version is remembered",
            Amount::count(MOST_GONE),
            "The one that was deleted first is forgotten: a job of its name begins at version 1 again.",
        ),
        wrong(
            "A definition, as JSON",
            Amount::bytes(definition::MOST_BYTES),
            "the definition has … bytes as JSON, and at most {} are taken",
        ),
        wrong("`description`", Amount::bytes(definition::MOST_DESCRIPTION_BYTES), SHORTEN),
        wrong("Any other text for people", Amount::bytes(definition::MOST_TEXT_BYTES), SHORTEN),
        wrong("`image_name`", Amount::bytes(definition::MOST_IMAGE_BYTES), SHORTEN),
        wrong(
            "`command`, with a NUL behind each word",
            Amount::bytes(definition::MOST_COMMAND_BYTES),
            "bytes with a NUL behind each word, and at most {} are taken",
        ),
        wrong("Arguments of a job", Amount::count(definition::MOST_ARGUMENTS), some),
        wrong("Secrets of a job", Amount::count(definition::MOST_SECRETS), some),
        wrong("`authorized_groups`", Amount::count(definition::MOST_GROUPS), some),
        wrong(
            "The name of a group",
            Amount::bytes(definition::MOST_GROUP_BYTES),
            "which is no group's name: 1 to {} bytes",
        ),
        wrong(
            "`allowed` values of an argument",
            Amount::count(declared::MOST_ALLOWED),
            "values, and an argument allows at most {}",
        ),
        wrong(
            "An `allowed` value, and a `pattern`",
            Amount::bytes(declared::MOST_RULE_BYTES),
            SHORTEN,
        ),
        wrong(
            "Patterns of a job",
            Amount::count(declared::MOST_PATTERNS),
            "patterns, and a job has at most {}: take some out",
        ),
        wrong(
            "A pattern when it is compiled",
            Amount::bytes(value::MOST_COMPILED_BYTES),
            "takes more than … KiB when it is compiled",
        ),
        wrong(
            "`timeout`, `start_timeout`, `queue_timeout`",
            Amount::Time(MAX_TIME),
            "give a time above zero of at most 365 days",
        ),
        wrong(
            "`retry.attempts`",
            Amount::Count(MOST_ATTEMPTS.into()),
            "give how many attempts there are in all, from 1 to {}",
        ),
        wrong(
            "`retry.pause`, `retry.max_pause`",
            Amount::Time(running::LONGEST_PAUSE.unsigned_abs()),
            "give a time of at most 24 hours",
        ),
        wrong(
            "`retry.factor`",
            Amount::Count(running::GREATEST_FACTOR as u64),
            "give by how much each pause is longer than the one before, from 1 to {}",
        ),
        wrong(
            "`resources.requests`, `resources.limits`, each",
            Amount::count(running::MOST_RESOURCES),
            "and a job names at most {}: take some out",
        ),
        wrong(
            "The name of a resource",
            Amount::bytes(running::MOST_RESOURCE_BYTES),
            "which is no resource's name: give one such as",
        ),
        wrong(
            "`kubernetes`, as JSON",
            Amount::bytes(running::MOST_TEMPLATE_BYTES),
            "bytes as JSON, and at most {} are taken: shorten it",
        ),
    ]
}

pub(super) fn executions() -> Vec<Limit> {
    let numbers = QueueLimits::default();
    vec![
        wrong(
            "An argument, as `NAME=value`",
            Amount::bytes(MAX_VARIABLE),
            "bytes with its name, and an environment variable holds at most {}: pass a place where the job finds the value",
        ),
        wrong(
            "All arguments of an execution, names and values",
            Amount::bytes(MAX_ARGUMENTS),
            "bytes together, and at most {} are taken: pass places where the job finds the values",
        ),
        wrong(
            "Values of arguments in a request",
            Amount::count(definition::MOST_ARGUMENTS),
            "are …, and no job takes more than {}",
        ),
        wrong(
            "What was submitted, sealed and with the job's command and pod template",
            Amount::bytes(STORED),
            "bytes as they are stored, with the job's command and pod template: give at most {}",
        ),
        full(
            "Arguments that are being accepted, of all callers",
            Amount::bytes((SUBMITTED_KIB as usize) << 10),
            "KiB of arguments are being accepted, the most at a time",
        ),
        Limit::key(
            "Executions that wait for an executor",
            Amount::Key,
            "max_pending",
            Refused(
                "RESOURCE_EXHAUSTED",
                "executions wait for an executor, the most that the queue takes",
            ),
        ),
        Limit::key(
            "Those of one team; those of jobs without a team are one, too",
            Amount::Key,
            "max_pending_of_team",
            Refused(
                "RESOURCE_EXHAUSTED",
                "wait for an executor, the most of one team that the queue takes",
            ),
        ),
        wrong(
            "The time limits of a request: `execute --timeout`, `--start-within`",
            Amount::Time(MAX_TIME),
            "give a time from 1 ms to 8760h",
        ),
        instead(
            "Attempts of an execution, whatever `job_retries` says",
            Amount::Count(MOST_ATTEMPTS.into()),
            "It is not tried again.",
        ),
        Limit::key(
            "The time until its program runs, where neither the job nor its executor says",
            Amount::Time(USUAL_START_TIMEOUT),
            "start_timeout",
            Instead("The attempt is stopped, and ends as `failed`."),
        ),
        instead(
            "The time between the terminate and the kill of what is stopped",
            Amount::Time(GRACE),
            "What is left of the program is killed.",
        ),
        instead(
            "The time beyond its `timeout` that an executor may take to end what is late",
            Amount::Time(numbers.stop_within),
            "It is told to stop it.",
        ),
        instead(
            "The wait for what comes of the order to stop what is late",
            Amount::Time(numbers.stop_within),
            "The attempt ends as `failed` where its program did not run as far as is known, and else as `lost`.",
        ),
        instead(
            "The wait of a cancel for the word of an executor that is silent",
            Amount::Time(numbers.cancel_within),
            "It ends as `cancelled`, unconfirmed: what runs there may go on. `octavius cancel --force` waits for nobody.",
        ),
        instead(
            "The wait of an end for the rest of its log",
            Amount::Time(numbers.log_within),
            "The log is cut, and says why; not while it grows, and not while the log store takes nothing.",
        ),
        Limit::key(
            "The time that a final execution is kept",
            Amount::Key,
            "keep_executions_for",
            Refused(
                "NOT_FOUND",
                "any more, if there was one: final ones are removed … after their end",
            ),
        ),
        Limit::key(
            "Final executions that are kept",
            Amount::Key,
            "keep_executions",
            Refused("NOT_FOUND", "and the oldest sooner where there are too many"),
        ),
        Limit::fixed(
            "`keep_executions_for`, at the least",
            Amount::Time(SHORTEST_HISTORY),
            Stops("give a time of at least `…`, for example `30d`"),
        ),
        instead(
            "The wait of one call for an end",
            Amount::Time(LONGEST_WAIT),
            "It is answered then, as it stands; our clients ask again.",
        ),
        full(
            "Calls that wait for an end",
            Amount::count(PARKED),
            "{} calls wait for work, orders or an end, the most of a kind that are parked",
        ),
    ]
}

pub(super) fn access() -> Vec<Limit> {
    vec![
        full(
            "Tokens of people and for joining",
            Amount::count(MOST_TOKENS),
            "there are {} …, the most that are kept",
        ),
        full(
            "Roles that are given",
            Amount::count(MOST_GRANTS),
            "there are {} …, the most that are kept",
        ),
        wrong(
            "Groups of a person",
            Amount::count(definition::MOST_GROUPS),
            "and a person has at most {}: take some out",
        ),
        Limit::fixed(
            "An identity token",
            Amount::bytes(LARGEST_TOKEN),
            Refused("UNAUTHENTICATED", "bytes, and {} are read at the most"),
        ),
        Limit::fixed(
            "Groups of an identity token",
            Amount::count(issuer::MOST_GROUPS),
            Refused("UNAUTHENTICATED", "names more than {} groups"),
        ),
        instead(
            "A document of the issuer of identity tokens",
            Amount::bytes(LARGEST_ANSWER),
            "It is not read; the keys that were known stay good.",
        ),
        instead(
            "The time that the issuer of identity tokens takes for its documents",
            Amount::Time(FETCH_WITHIN),
            "The keys that were known stay good, and it is asked again.",
        ),
        instead(
            "The time between two questions to the issuer because of keys that are not known",
            Amount::Time(ASK_EVERY),
            "The call waits for the next one.",
        ),
        Limit::fixed(
            "The time that a call waits for that",
            Amount::Time(SETTLE_WITHIN),
            Refused("UNAVAILABLE", "the keys of … are not known (…): try again in a moment"),
        ),
        Limit::fixed(
            "Calls that wait for that",
            Amount::count(MOST_WAITING),
            Refused("UNAVAILABLE", "the keys of … are not known (…): try again in a moment"),
        ),
        full(
            "Executors that have joined with one service account",
            Amount::count(MOST_OF_AN_ACCOUNT),
            "there are {} …, the most that are kept",
        ),
        wrong(
            "Executors that join with one token",
            Amount::count(MOST_USES as usize),
            "give from 1 to {} executors that may join",
        ),
        wrong(
            "How long executors may join with one token",
            Amount::Time(LONGEST_INVITATION),
            "is longer than {}: executors join soon after they are invited",
        ),
    ]
}

pub(super) fn secrets() -> Vec<Limit> {
    vec![
        wrong(
            "A secret, as `NAME=value`",
            Amount::bytes(MAX_VARIABLE),
            "bytes with its name, and an environment variable holds at most {}: give the job a place where it finds the value",
        ),
        wrong(
            "A secret's value, at the least, without `--unmasked`",
            Amount::bytes(LEAST_MASKED_BYTES),
            "fewer than {} cannot be masked in logs without masking much else",
        ),
        full(
            "Secrets of a job that are set",
            Amount::count(definition::MOST_SECRETS),
            "has {} secrets that are set, the most that are kept",
        ),
        full(
            "Former values of secrets of a job that are kept for its executions",
            Amount::count(definition::MOST_SECRETS),
            "{} former values of secrets of job … are kept for its executions",
        ),
    ]
}
