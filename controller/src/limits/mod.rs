//! The bounds that callers of a controller meet: one table, of which `docs/limits.md` is made.
//!
//! Each row takes its number from the constant that the code compares with. Not here: bounds that nobody outside meets,
//! such as those of a batch in the store, and the defaults of keys.

mod jobs;
mod serving;
#[cfg(test)]
mod tests;

use octavius_service::limits::{
    Amount,
    Beyond::{Instead, Refused},
    Limit, Section,
};

/// The most entries of a page, whatever is listed.
pub const LARGEST_PAGE: usize = 1_000;
/// The most bytes of entries in a page, unless one alone has more: a page has to fit into a message.
pub const LARGEST_PAGE_BYTES: usize = 1 << 20;

/// All of them.
pub fn limits() -> Vec<Section> {
    let section = |title, limits| Section { title, limits };
    vec![
        section("Names", jobs::names()),
        section("Job definitions", jobs::definitions()),
        section("Arguments and executions", jobs::executions()),
        section("Secrets", jobs::secrets()),
        section("Tokens and roles", jobs::access()),
        section("Lists", serving::lists()),
        section("Logs", serving::logs()),
        section("Calls to a controller", serving::calls()),
        section("Executors, as the controller takes them", serving::executors()),
    ]
}

/// What is refused because the request has to be changed.
const fn wrong(what: &'static str, most: Amount, words: &'static str) -> Limit {
    Limit::fixed(what, most, Refused("INVALID_ARGUMENT", words))
}

/// What is refused because there is too much of it now.
const fn full(what: &'static str, most: Amount, words: &'static str) -> Limit {
    Limit::fixed(what, most, Refused("RESOURCE_EXHAUSTED", words))
}

const fn instead(what: &'static str, most: Amount, sentence: &'static str) -> Limit {
    Limit::fixed(what, most, Instead(sentence))
}

/// A text that is too long.
const SHORTEN: &str = "has … bytes, and at most {} are taken: shorten it";
