//! The bounds that whoever types a command meets before a controller does: a part of `docs/limits.md`.

use crate::commands::{executions, secret};
use octavius_client::{Client, Contents};
use octavius_protocol::{
    LEAST_ID_PART, MAX_ARGUMENTS, MAX_TIME, MAX_VARIABLE,
    reach::{KEEP_ALIVE, KEEP_ALIVE_WITHIN, MOST_ADDRESSES},
};
use octavius_service::limits::{
    Amount,
    Beyond::{Instead, Stops},
    Limit, Section,
};

/// All of them.
pub fn limits() -> Vec<Section> {
    let limits = vec![
        Limit::fixed(
            "`CONNECTION_TIMEOUT_SECS`",
            Amount::Count(Contents::LONGEST_TIMEOUT.as_secs()),
            Stops("write a number of seconds from 0 to {}, where 0 means"),
        ),
        Limit::fixed(
            "Addresses in `CP_HOST`, and in an executor's `cp_host`",
            Amount::count(MOST_ADDRESSES),
            Stops("addresses, and at most {} are tried: leave some out"),
        ),
        Limit::fixed(
            "The time that clients and executors wait at a controller that is frozen, until they go to the next one",
            Amount::Time(KEEP_ALIVE + KEEP_ALIVE_WITHIN),
            Instead("Their connection ends, and what it carried is asked again."),
        ),
        Limit::fixed(
            "An argument, as `NAME=value`",
            Amount::bytes(MAX_VARIABLE),
            Stops(
                "bytes with its name, and an environment variable holds {}: pass large inputs by reference",
            ),
        ),
        Limit::fixed(
            "All arguments of an execution, names and values",
            Amount::bytes(MAX_ARGUMENTS),
            Stops("all values have … bytes, and {} are the most: pass large inputs by reference"),
        ),
        Limit::fixed(
            "A length of time in a job's file",
            Amount::Time(MAX_TIME),
            Stops("or a number of seconds from 1 to a year's, or leave it out"),
        ),
        Limit::fixed(
            "The part that stands for an execution's id, at the least",
            Amount::characters(LEAST_ID_PART),
            Stops(
                "is not an execution's id: write its 26 characters of `0-9` and `a-v`, {} or more from its end",
            ),
        ),
        Limit::fixed(
            "Executions in one JSON or YAML document",
            Amount::count(executions::MOST),
            Stops("there are more than {} executions, and one document holds no more"),
        ),
        Limit::fixed(
            "What is read of a secret's value",
            Amount::Bytes(secret::MOST),
            Instead("The rest is not read, and the controller refuses what is that large."),
        ),
        Limit::fixed(
            "The pause that a full controller may ask for, so that a command asks again by itself",
            Amount::Time(Client::LONGEST_TURN),
            Instead("The command ends with 3."),
        ),
        Limit::fixed(
            "The outage that waiting and following last through",
            Amount::Time(Client::PATIENCE),
            Instead("The command ends with 4."),
        ),
    ];
    vec![Section { title: "The command line", limits }]
}
