//! Points in time and spans, between the protocol and us.

use super::Check;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

const NANOS: i32 = 1_000_000_000;

/// A point in time as the protocol has it.
pub(super) fn from_timestamp(at: Timestamp) -> prost_types::Timestamp {
    // The protocol counts nanoseconds forward, also before 1970.
    let nanos = at.as_nanosecond();
    let (seconds, nanos) = (nanos.div_euclid(NANOS.into()), nanos.rem_euclid(NANOS.into()));
    prost_types::Timestamp {
        // Years -9999 to 9999 fit.
        seconds: i64::try_from(seconds).unwrap_or_default(),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A point in time that has to be given.
pub(super) fn timestamp(
    field: &str,
    at: Option<prost_types::Timestamp>,
    check: &mut Check,
) -> Option<Timestamp> {
    let at = check.given(field, at)?;
    let wanted = || {
        "is no point in time: give seconds of the years 1 to 9999, and nanoseconds from 0 to 999,999,999".to_owned()
    };
    match Timestamp::new(at.seconds, at.nanos) {
        Ok(read) if (0..NANOS).contains(&at.nanos) => Some(read),
        Ok(_) | Err(_) => check.wrong(field, wanted),
    }
}

/// A span of time that may be negative; its bounds are judged elsewhere.
pub(super) fn signed(
    field: &str,
    span: prost_types::Duration,
    check: &mut Check,
) -> Option<SignedDuration> {
    let prost_types::Duration { seconds, nanos } = span;
    let agree = nanos.abs_diff(0) < NANOS.unsigned_abs()
        && (seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0));
    check.demand(agree, field, || {
        "is no span of time: seconds and nanoseconds have one sign, and nanoseconds stay below 1,000,000,000".to_owned()
    })?;
    Some(SignedDuration::new(seconds, nanos))
}

/// How long somebody wants to wait, `longest` at the most; not given: not at all.
pub(super) fn wait(
    field: &str,
    span: Option<prost_types::Duration>,
    longest: Duration,
    check: &mut Check,
) -> Option<Duration> {
    let Some(span) = span else { return Some(Duration::ZERO) };
    let wait = signed(field, span, check)?;
    check.demand(!wait.is_negative(), field, || {
        "is below zero: give a time to wait, or none".to_owned()
    })?;
    Some(wait.unsigned_abs().min(longest))
}

/// A span of time as the protocol has it.
pub(in crate::grpc) fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::status::RequestError, checked},
        *,
    };
    use proptest::prelude::*;

    fn waits(seconds: i64, nanos: i32) -> Result<Duration, RequestError> {
        let longest = Duration::from_secs(30);
        let span = Some(prost_types::Duration { seconds, nanos });
        checked(|check| wait("wait", span, longest, check))
    }

    #[test]
    fn a_wait_is_bounded_and_never_negative() {
        assert_eq!(waits(5, 1).unwrap(), Duration::new(5, 1));
        assert_eq!(waits(i64::MAX, 999_999_999).unwrap(), Duration::from_secs(30));
        for (seconds, nanos) in
            [(-1, 0), (0, -1), (1, -1), (0, 1_000_000_000), (i64::MIN, i32::MIN)]
        {
            assert!(waits(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }

    proptest! {
        #[test]
        fn a_point_in_time_survives_the_protocol(nanos in -62_135_596_800_000_000_000i128..=253_402_207_200_000_000_000) {
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            let read = checked(|check| timestamp("at", Some(from_timestamp(at)), check));
            prop_assert_eq!(read.unwrap(), at);
        }

        #[test]
        fn no_span_and_no_point_in_time_makes_us_panic(seconds: i64, nanos: i32) {
            let _ = waits(seconds, nanos);
            let at = prost_types::Timestamp { seconds, nanos };
            let _ = checked(|check| timestamp("at", Some(at), check));
        }
    }
}
