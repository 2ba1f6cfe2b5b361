//! What may be known of secrets, as the protocol has it.

use super::{Check, time};
use crate::secrets::SecretState;
use octavius_protocol::v1;

/// Which secret of which job is meant.
pub(in crate::grpc) fn named(job: &str, name: &str, check: &mut Check) -> Option<()> {
    let job = check.named("job", job);
    check.named("name", name).and(job)
}

/// A secret, without its value.
pub(in crate::grpc) fn state(state: SecretState) -> v1::SecretState {
    let SecretState { name, set } = state;
    let (set_at, set_by) = set.unzip();
    v1::SecretState {
        name: name.into(),
        set: set_at.is_some(),
        set_at: set_at.map(time::from_timestamp),
        set_by: set_by.unwrap_or_default(),
    }
}
