//! What may be known of secrets, as the protocol has it.

use super::time;
use crate::secrets::SecretState;
use octavius_protocol::v1;

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
