//! The bounds that whoever runs an executor meets: a part of `docs/limits.md`.

use crate::{
    attempts::{LOG_WAIT, ending::MOST_TEXT_BYTES},
    configuration::{LEAST_SPOOL, LONGEST_CALL, MOST_LOG_FILE_MIB, MOST_PLACES, SHORTEST_CALL},
    runner::process::LOG_PIECE_SPAN,
};
use octavius_service::{
    limits::{
        Amount,
        Beyond::{Instead, Stops},
        Limit, Section,
    },
    telemetry::KEPT_LOG_FILES,
};

/// All of them.
pub fn limits() -> Vec<Section> {
    let call = Stops("give a time from `…` to `…`, for example");
    let limits = vec![
        Limit::key(
            "Attempts that run at once",
            Amount::Key,
            "capacity",
            Instead("Others wait at the controller, or run at other executors."),
        ),
        Limit::fixed(
            "`capacity`",
            Amount::Count(MOST_PLACES.into()),
            Stops("give a number from 1 to {}; whoever wants no work here stops the executor"),
        ),
        Limit::key(
            "What an executor keeps of one log, with the runner `process`",
            Amount::Key,
            "spool_max",
            Instead("The middle is left out, and the log says so there ([logs.md](logs.md))."),
        ),
        Limit::fixed(
            "`spool_max`, at the least",
            Amount::Bytes(LEAST_SPOOL.0),
            Stops("give at least `…`"),
        ),
        Limit::fixed(
            "`conn_time_out`, `ping_interval`, at the least",
            Amount::Time(SHORTEST_CALL),
            call,
        ),
        Limit::fixed("`conn_time_out`, `ping_interval`", Amount::Time(LONGEST_CALL), call),
        Limit::fixed(
            "`log_file_max_size_in_mb`",
            Amount::Bytes(MOST_LOG_FILE_MIB << 20),
            Stops("give a number from 1 to"),
        ),
        Limit::fixed(
            "Log files that are kept beside the one that is written, of an executor and of a controller",
            Amount::count(KEPT_LOG_FILES),
            Instead("The oldest is deleted."),
        ),
        Limit::fixed(
            "The wait of an end for a log of which nobody knows how much there is, while nothing of it can be stored",
            Amount::Time(LOG_WAIT),
            Instead("The log is cut, and says why."),
        ),
        Limit::fixed(
            "The time between the first and the last byte that share one time in a log",
            Amount::Time(LOG_PIECE_SPAN),
            Instead("A new piece begins, with a time of its own. Lines have no bound."),
        ),
        Limit::fixed(
            "The reason of an end",
            Amount::bytes(MOST_TEXT_BYTES),
            Instead("It is cut, with `…` at its end."),
        ),
    ];
    vec![Section { title: "An executor and its file", limits }]
}
