//! The protocol's messages as this crate's types, and back. What comes from outside is refused by name.

use super::rules::Term;
use crate::{
    attempts::ending::{Ending, Outcome},
    lease::{Grant, Held, HeldPhase, LeaseName, Order, OrderKind},
    runner::{Identity, Resources, Work},
};
use bytes::Bytes;
use octavius_protocol::{
    id::{AttemptId, AttemptNumber, Epoch},
    secret::SecretValues,
    v1,
};
use std::time::Duration;

/// How long a terminated program has, where the controller does not say.
const GRACE: Duration = Duration::from_secs(10);

impl From<v1::Term> for Term {
    fn from(term: v1::Term) -> Self {
        Self { generation: term.generation, revision: term.revision }
    }
}

impl From<LeaseName> for v1::LeaseName {
    fn from(lease: LeaseName) -> Self {
        Self {
            execution: lease.attempt.execution.to_string(),
            attempt: lease.attempt.attempt.0,
            epoch: lease.epoch.0,
        }
    }
}

/// A message of the controller that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller sent {0}: it may be of another version")]
pub struct Nonsense(String);

impl TryFrom<v1::LeaseName> for LeaseName {
    type Error = Nonsense;

    fn try_from(name: v1::LeaseName) -> Result<Self, Nonsense> {
        let execution = name.execution.parse().map_err(|error| Nonsense(format!("{error}")))?;
        if name.attempt == 0 {
            return Err(Nonsense(format!("attempt 0 of {execution}; they are counted from 1")));
        }
        let attempt = AttemptId { execution, attempt: AttemptNumber(name.attempt) };
        Ok(Self { attempt, epoch: Epoch(name.epoch) })
    }
}

fn lease_name(name: Option<v1::LeaseName>, of: &str) -> Result<LeaseName, Nonsense> {
    name.ok_or_else(|| Nonsense(format!("{of} without a name")))?.try_into()
}

/// A time of the protocol; none if it is not one, or below zero.
pub(super) fn duration(time: prost_types::Duration) -> Option<Duration> {
    Duration::try_from(time).ok()
}

impl TryFrom<v1::Lease> for Grant {
    type Error = Nonsense;

    fn try_from(lease: v1::Lease) -> Result<Self, Nonsense> {
        let name = lease_name(lease.name, "a grant")?;
        let attempt = name.attempt;
        let limit = |time: Option<prost_types::Duration>| match time {
            None => Ok(None),
            Some(time) => duration(time)
                .map(Some)
                .ok_or_else(|| Nonsense(format!("a time limit below zero for attempt {attempt}"))),
        };
        let (timeout, start_timeout) = (limit(lease.timeout)?, limit(lease.start_timeout)?);
        let stop_if_unheard = limit(lease.stop_if_unheard)?;
        let v1::Resources { requests, limits } = lease.resources.unwrap_or_default();
        let mut secrets = SecretValues::default();
        for (name, value) in lease.secrets {
            let value = String::from_utf8(value).map_err(|_| {
                Nonsense(format!("the secret {name} of attempt {attempt}, which is no text"))
            })?;
            secrets.insert(name, value);
        }
        let work = Work {
            attempt: name.attempt,
            epoch: name.epoch,
            job: lease.job,
            user: lease.user,
            image_name: lease.image_name,
            command: lease.command,
            arguments: lease.arguments.into_iter().collect(),
            secrets: Some(secrets),
            timeout,
            grace: lease.grace.and_then(duration).unwrap_or(GRACE),
            stop_if_unheard,
            namespace: Some(lease.namespace).filter(|namespace| !namespace.is_empty()),
            resources: Resources { requests, limits },
            template: lease.kubernetes,
            start_timeout,
            installation: lease.installation,
        };
        let identity = Some(lease.identity).filter(|identity| !identity.is_empty());
        Ok(Self { work, identity: identity.map(Identity) })
    }
}

impl TryFrom<v1::Order> for Order {
    type Error = Nonsense;

    fn try_from(order: v1::Order) -> Result<Self, Nonsense> {
        let kind = match order.kind() {
            v1::OrderKind::Stop => OrderKind::Stop,
            v1::OrderKind::Release => OrderKind::Release,
            v1::OrderKind::Unspecified => {
                return Err(Nonsense(format!("an order of the unknown kind {}", order.kind)));
            }
        };
        let lease = lease_name(order.lease, "an order")?;
        Ok(Self { lease, kind, reason: order.reason })
    }
}

/// Those that make sense; the others are told to the log, and come again.
pub(super) fn sensible<T, U: TryFrom<T, Error = Nonsense>>(all: Vec<T>) -> Vec<U> {
    let one = |message| match U::try_from(message) {
        Ok(sensible) => Some(sensible),
        Err(error) => {
            tracing::error!(%error, "a part of an answer is left out");
            None
        }
    };
    all.into_iter().filter_map(one).collect()
}

/// What is named to the controller as held.
pub(super) fn named(held: &[Held]) -> Vec<v1::HeldAttempt> {
    held.iter().filter_map(|held| named_as(*held)).collect()
}

fn named_as(held: Held) -> Option<v1::HeldAttempt> {
    let phase = match held.phase {
        HeldPhase::Bare => return None,
        HeldPhase::Accepted => v1::HeldPhase::Accepted,
        HeldPhase::Prepared => v1::HeldPhase::Prepared,
        HeldPhase::Running => v1::HeldPhase::Running,
        HeldPhase::Ended => v1::HeldPhase::Ended,
    };
    let lacks_secrets = held.lacks_secrets;
    Some(v1::HeldAttempt { lease: Some(held.lease.into()), phase: phase.into(), lacks_secrets })
}

impl From<Ending> for v1::Ended {
    fn from(ending: Ending) -> Self {
        let state = match ending.outcome {
            Outcome::Succeeded => v1::ExecutionState::Succeeded,
            Outcome::Failed => v1::ExecutionState::Failed,
            Outcome::Cancelled => v1::ExecutionState::Cancelled,
            Outcome::TimedOut => v1::ExecutionState::TimedOut,
            Outcome::Lost => v1::ExecutionState::Lost,
        };
        Self {
            state: state.into(),
            reason_code: ending.code.to_owned(),
            reason: ending.reason,
            exit_code: ending.exit_code,
            log_size: ending.log.size,
            log_crc: ending.log.crc,
            log_cut: ending.log.cut,
            note: ending.note,
        }
    }
}

/// One chunk of a log, from a time in milliseconds since 1970.
pub(super) fn chunk((observed_ms, data): (i64, Bytes)) -> v1::AppendChunk {
    let observed_at = prost_types::Timestamp {
        seconds: observed_ms.div_euclid(1000),
        nanos: (observed_ms.rem_euclid(1000) * 1_000_000) as i32,
    };
    v1::AppendChunk { observed_at: Some(observed_at), data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_protocol::id::ExecutionId;

    fn lease() -> v1::Lease {
        let execution = ExecutionId::from_bytes([7; 16]).to_string();
        v1::Lease {
            name: Some(v1::LeaseName { execution, attempt: 1, epoch: 1 }),
            ..v1::Lease::default()
        }
    }

    fn seconds(seconds: i64) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos: 0 })
    }

    #[test]
    fn a_grant_has_all_that_its_lease_says_of_the_cluster() {
        let pairs = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
        let (requests, limits) = (pairs("cpu", "500m"), pairs("memory", "1Gi"));
        let said = v1::Lease {
            namespace: "reports".to_owned(),
            resources: Some(v1::Resources { requests, limits }),
            kubernetes: r#"{"spec":{}}"#.to_owned(),
            start_timeout: seconds(90),
            stop_if_unheard: seconds(450),
            installation: "ours".to_owned(),
            ..lease()
        };
        let work = Grant::try_from(said).unwrap().work;
        assert_eq!(work.namespace.as_deref(), Some("reports"));
        let Resources { requests, limits } = &work.resources;
        assert_eq!((requests["cpu"].as_str(), limits["memory"].as_str()), ("500m", "1Gi"));
        assert_eq!(
            (work.template.as_str(), work.installation.as_str()),
            (r#"{"spec":{}}"#, "ours")
        );
        assert_eq!(work.start_timeout, Some(Duration::from_secs(90)));
        assert_eq!(work.stop_if_unheard, Some(Duration::from_secs(450)));
        let silent = Grant::try_from(lease()).unwrap().work;
        assert_eq!((silent.namespace, silent.start_timeout), (None, None));
    }

    #[test]
    fn a_grant_with_a_limit_below_zero_is_refused_by_name() {
        for lease in [
            v1::Lease { timeout: seconds(-1), ..lease() },
            v1::Lease { start_timeout: seconds(-1), ..lease() },
            v1::Lease { stop_if_unheard: seconds(-1), ..lease() },
        ] {
            let refused = Grant::try_from(lease).unwrap_err().to_string();
            assert!(refused.contains("a time limit below zero for attempt"), "{refused}");
        }
    }
}
