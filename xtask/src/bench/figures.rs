//! What is made of many measurements.

use std::time::Duration;

/// Durations, to be asked for their ranks.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans(Vec<Duration>);

impl Spans {
    pub(super) fn new(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        Self(spans)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest one that so many percent are not above, in milliseconds; 0 where there is none.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(0.0, |span| span.as_secs_f64() * 1e3)
    }

    pub(super) fn median(&self) -> f64 {
        self.percentile(50)
    }
}

/// So many in that time, a second.
#[allow(clippy::cast_precision_loss)] // counts stay far below 2^52
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_measurements_and_no_fewer_are_below() {
        let spans = Spans::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(spans.count(), 200);
        assert_eq!(spans.median(), 100.0);
        assert_eq!(spans.percentile(99), 198.0);
        assert_eq!(spans.percentile(100), 200.0);
        assert_eq!(Spans::new(vec![Duration::from_millis(7)]).percentile(99), 7.0);
        assert_eq!(Spans::default().median(), 0.0);
    }
}
