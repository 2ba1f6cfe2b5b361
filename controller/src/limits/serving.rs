//! Bounds of what is served: lists, logs, calls, executors.

use super::{LARGEST_PAGE, LARGEST_PAGE_BYTES, SHORTEN, full, instead, wrong};
use crate::{
    configuration::{LEAST_LOG_LIMIT, SHORTEST_PING_DEADLINE},
    grpc::{
        MOST_BYTES, MOST_CALLS, MOST_FOLLOWERS,
        bound::{MESSAGE_WITHIN, NOTHING_FOR},
        certificate::MOST_CERTIFICATE_BYTES,
        convert::{USUAL_PAGE, executors as reports},
        executors::LONGEST_POLL,
        forward::MOST_FORWARDED,
        peer::{FIRST_CALL_WITHIN, IDLE_FOR},
        status::MOST_TEXT_BYTES,
        system::{BACKUP_WITHIN, MOST_BACKUPS},
        unwritten::{MOST_UNWRITTEN, MOST_UNWRITTEN_OF_ONE, STILL_FOR},
    },
    job_queue::{LOOKED_AT, executors::POLLS_OF_ONE, handle::PARKED, rules::QueueLimits},
    liveness,
    log_store::LogLimits,
    registry::MOST_NAMED,
    server::{
        MOST_EXECUTORS, MOST_HEADER_BYTES, MOST_STREAMS,
        connections::{MOST_CONNECTIONS, MOST_SILENT, STUCK_FOR},
    },
    store::{embedded::room::RESERVE_MIB, rules::MOST_WAITING_BYTES},
};
use octavius_protocol::{MAX_APPEND, MAX_CURSOR, MAX_HELD, MAX_MESSAGE};
use octavius_service::{
    actor::Limits,
    limits::{
        Amount,
        Beyond::{Instead, Refused, Stops},
        Limit,
    },
};

pub(super) fn lists() -> Vec<Limit> {
    vec![
        instead(
            "Entries of a page",
            Amount::count(LARGEST_PAGE),
            "The page has so many, and a token for the next one.",
        ),
        instead(
            "Entries of a page where no size is asked for",
            Amount::count(USUAL_PAGE),
            "The page has so many, and a token for the next one.",
        ),
        instead(
            "The entries of a page together, unless one alone is larger",
            Amount::bytes(LARGEST_PAGE_BYTES),
            "The page is shorter, and has a token for the next one.",
        ),
        instead(
            "Executions that one call looks at to find those that are wanted, of live and of final ones each",
            Amount::count(LOOKED_AT),
            "The page may be short, or empty, and has a token to go on with; our clients do.",
        ),
    ]
}

pub(super) fn logs() -> Vec<Limit> {
    let numbers = LogLimits::default();
    vec![
        Limit::key(
            "What is kept of one log",
            Amount::Key,
            "log_limit",
            Instead(
                "The middle is left out while it grows, and the log says so there ([logs.md](logs.md)).",
            ),
        ),
        Limit::fixed(
            "`log_limit`, at the least",
            Amount::Bytes(LEAST_LOG_LIMIT.0),
            Stops("give at least `…`, for example `64MiB`"),
        ),
        Limit::key(
            "The time that a log is kept after it was closed",
            Amount::Key,
            "keep_logs_for",
            Refused(
                "NOT_FOUND",
                "is not kept any more: `keep_logs_for` in the controller's configuration",
            ),
        ),
        full(
            "Readers of logs",
            Amount::count(MOST_FOLLOWERS),
            "{} readers follow logs, the most that are served at a time",
        ),
        full(
            "What waits until it is stored, of one log",
            Amount::bytes(numbers.waiting),
            "no more of logs can be held until some of it is stored",
        ),
        full(
            "What waits until it is stored, of all logs",
            Amount::bytes(numbers.waiting_in_all),
            "no more of logs can be held until some of it is stored",
        ),
    ]
}

pub(super) fn calls() -> Vec<Limit> {
    let each = Limits::default();
    vec![
        full(
            "Backups",
            Amount::count(MOST_BACKUPS),
            "{} backup is being taken, the most at a time",
        ),
        Limit::fixed(
            "The time that a backup of a store may take whose controller runs",
            Amount::Time(BACKUP_WITHIN),
            Instead(
                "It breaks off, and begins again; the embedded store keeps all that it had until then.",
            ),
        ),
        wrong(
            "A message",
            Amount::bytes(MAX_MESSAGE),
            "the request has … bytes, and at most {} are taken: send less at a time",
        ),
        full(
            "Requests that were received and not read yet, of all callers",
            Amount::bytes(MOST_BYTES),
            "{} bytes of requests are being received, the most at a time",
        ),
        full(
            "Calls that are not answered yet, of all callers",
            Amount::count(MOST_CALLS),
            "{} calls are not answered yet, the most that are taken",
        ),
        Limit::key(
            "Calls of one person in a second, with `authentication: tokens`; five times as many come at once",
            Amount::Key,
            "calls_per_second",
            Refused(
                "RESOURCE_EXHAUSTED",
                "makes more than … calls a second, the most of one person",
            ),
        ),
        full(
            "Calls that wait for one part of the controller; half of them may read, three quarters read or ask for something new",
            Amount::count(each.waiting),
            "calls wait for …, the most that it takes",
        ),
        full(
            "Calls that are passed on to the controller that leads, and are not answered yet; of readers of logs as many as there may be",
            Amount::count(MOST_FORWARDED),
            "{} calls are being passed on, the most at a time",
        ),
        Limit::fixed(
            "The time that a part of the controller takes for an answer",
            Amount::Time(each.answer),
            Refused("UNAVAILABLE", "gave no answer within …: it may or may not happen yet"),
        ),
        instead(
            "Calls at a time on one connection",
            Amount::Count(MOST_STREAMS.into()),
            "Further ones wait at the caller's.",
        ),
        instead(
            "Connections; fewer where the system allows fewer open files",
            Amount::count(MOST_CONNECTIONS),
            "Further ones are closed at once.",
        ),
        instead(
            "Connections that never called",
            Amount::count(MOST_SILENT),
            "The first of them is closed for each newcomer.",
        ),
        instead(
            "The time until a connection's first call",
            Amount::Time(FIRST_CALL_WITHIN),
            "It is closed.",
        ),
        instead(
            "The time that a connection is kept without a call after one",
            Amount::Time(IDLE_FOR),
            "It is closed; our clients connect again when they call.",
        ),
        instead(
            "The time that a connection may take nothing of what is written to it",
            Amount::Time(STUCK_FOR),
            "It is closed; who reads a log comes back where it was.",
        ),
        instead(
            "Answers that wait to be written to one connection",
            Amount::bytes(MOST_UNWRITTEN_OF_ONE),
            "Its logs are read on when it has taken some.",
        ),
        instead(
            "Answers that wait to be written to all connections",
            Amount::bytes(MOST_UNWRITTEN),
            "Logs are read on when some were taken.",
        ),
        instead(
            "While that is exceeded, the time that a connection may take nothing of its answers",
            Amount::Time(STILL_FOR),
            "Those that have taken nothing for the longest are closed until a quarter is free; who reads a log comes back where it was.",
        ),
        instead(
            "What a connection shows as its certificate, with those of its authorities",
            Amount::bytes(MOST_CERTIFICATE_BYTES),
            "TLS does not come about.",
        ),
        instead(
            "The metadata of a call",
            Amount::bytes(MOST_HEADER_BYTES as usize),
            "The call is refused by HTTP/2 itself, before anything of it is looked at.",
        ),
        Limit::fixed(
            "The time in which nothing comes of the message of a call",
            Amount::Time(NOTHING_FOR),
            Refused("DEADLINE_EXCEEDED", "nothing more of the request came for {}: send it again"),
        ),
        Limit::fixed(
            "The time that the message of a call takes to come, however steadily",
            Amount::Time(MESSAGE_WITHIN),
            Refused(
                "DEADLINE_EXCEEDED",
                "the request did not come within …: send it again, less at a time",
            ),
        ),
        instead(
            "Faults that an answer names",
            Amount::count(MOST_NAMED),
            "The others are counted.",
        ),
        instead(
            "The text of an error",
            Amount::bytes(MOST_TEXT_BYTES),
            "It is cut, with `…` at its end.",
        ),
        Limit::fixed(
            "What waits to be written to the store",
            Amount::bytes(MOST_WAITING_BYTES),
            Refused("UNAVAILABLE", "bytes wait for the store, and it holds {} at the most"),
        ),
        full(
            "What stays free on the disk of `data_dir`",
            Amount::Bytes(RESERVE_MIB << 20),
            "the store is full: … MiB are free where",
        ),
    ]
}

pub(super) fn executors() -> Vec<Limit> {
    vec![
        full(
            "Executors of a controller",
            Amount::count(MOST_EXECUTORS),
            "there are {} executors, the most that this controller knows",
        ),
        full(
            "Executors that register, and wait for their turn, at once",
            Amount::count(liveness::handle::REGISTERING),
            "calls wait for …, the most that it takes",
        ),
        full(
            "Signs of life that are not answered yet",
            Amount::count(liveness::handle::LIMITS.waiting),
            "calls wait for …, the most that it takes",
        ),
        wrong(
            "Attempts that an executor holds",
            Amount::count(MAX_HELD),
            "attempts, and an executor holds at most {}",
        ),
        instead(
            "Grants in one answer",
            Amount::count(QueueLimits::default().grants),
            "The others are in the next one.",
        ),
        instead(
            "The time until an executor names what it was granted",
            Amount::Time(QueueLimits::default().acknowledge_within),
            "The execution is `pending` again.",
        ),
        full(
            "Calls for work that are parked, of all executors; calls for orders the same",
            Amount::count(PARKED),
            "{} calls wait for work, orders or an end, the most of a kind that are parked",
        ),
        full(
            "Calls for work that are parked, of one session",
            Amount::count(POLLS_OF_ONE),
            "{} calls of this executor wait for work, the most of one that are parked",
        ),
        instead(
            "The time that a call for work is parked",
            Amount::Time(LONGEST_POLL),
            "It is answered then, without work.",
        ),
        Limit::key(
            "The time that a call for orders is parked",
            Amount::Part(3, "`executor_ping_deadline`"),
            "executor_ping_deadline",
            Instead("It is answered then, without orders."),
        ),
        Limit::key(
            "The silence after which an executor gets no more work",
            Amount::Key,
            "executor_ping_deadline",
            Instead("It is `expired`; what it runs is not touched."),
        ),
        Limit::fixed(
            "`executor_ping_deadline`, at the least",
            Amount::Time(SHORTEST_PING_DEADLINE),
            Stops("give a time of at least `…`, for example `9s`"),
        ),
        Limit::key(
            "The silence after which an executor is given up",
            Amount::Key,
            "executor_lost_after",
            Instead("Its executions end as `lost`."),
        ),
        wrong("An executor's version", Amount::bytes(reports::MOST_VERSION_BYTES), SHORTEN),
        wrong(
            "The identity of what was prepared",
            Amount::bytes(reports::MOST_IDENTITY_BYTES),
            "bytes: give 1 to {}",
        ),
        wrong(
            "The log in one append",
            Amount::bytes(MAX_APPEND),
            "bytes, and one append takes at most {}: send the rest in the next",
        ),
        wrong(
            "The cursor of an append",
            Amount::bytes(MAX_CURSOR),
            "bytes, and at most {} are kept",
        ),
        instead(
            "The reason of an end, its note, and what is missing of its log",
            Amount::bytes(reports::MOST_REASON_BYTES),
            "It is cut, with `…` at its end.",
        ),
        instead(
            "What an attempt waits for until its program runs, as its executor says",
            Amount::bytes(reports::MOST_WAITS_FOR_BYTES),
            "It is cut, with `…` at its end.",
        ),
        instead(
            "What an executor says that it cannot see of its cluster",
            Amount::bytes(reports::MOST_UNSEEN_BYTES),
            "It is cut, with `…` at its end.",
        ),
        instead(
            "The code of an end",
            Amount::bytes(reports::MOST_CODE_BYTES),
            "It is cut, with `…` at its end.",
        ),
    ]
}
