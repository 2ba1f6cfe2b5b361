//! How long who was refused waits.

use std::time::Duration;

/// The longest pause that a refusal may ask for.
pub const LONGEST_HINT: Duration = Duration::from_secs(10);

/// How long who was asked for the pause `hint` waits: up to a quarter more, so that those who were refused together do not
/// come back together; of a hint at most [`LONGEST_HINT`] counts. `random` is from 0 to 1.
pub fn hinted(hint: Duration, random: f64) -> Duration {
    hint.min(LONGEST_HINT).mul_f64(1.0 + random / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_obeyed_with_jitter_and_within_a_bound() {
        assert_eq!(hinted(Duration::from_secs(4), 1.0), Duration::from_secs(5));
        assert_eq!(hinted(Duration::from_secs(3600), 0.0), LONGEST_HINT);
    }
}
