//! The keys of an issuer: what is taken of the set that it publishes, and what they open.

use super::{NotIssued, error::Whose, signature};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The most keys of an issuer that are looked at.
const MOST_KEYS: usize = 100;

/// A key that an issuer signs with.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoKeys {
    /// It is something else.
    #[error("it is no set of keys")]
    Form,
    /// They are too many.
    #[error("it has more than {MOST_KEYS} keys")]
    Many,
    /// None is of use.
    #[error("it has no key for RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA")]
    None,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The keys of a set that can be used; of others an issuer may have any.
pub(super) fn read(set: &[u8]) -> Result<Vec<Key>, NoKeys> {
    let Set { keys } = serde_json::from_slice(set).map_err(|_| NoKeys::Form)?;
    if keys.len() > MOST_KEYS {
        return Err(NoKeys::Many);
    }
    let keys: Vec<_> = keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() { Err(NoKeys::None) } else { Ok(keys) }
}

fn usable(key: Value) -> Option<Key> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let jwk: Jwk = serde_json::from_value(key).ok()?;
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let of_its_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(of) if of.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(of) if of.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    };
    let common = &jwk.common;
    let is_for_this =
        common.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let named = common.key_algorithm.map(Algorithm::try_from).transpose().ok()?;
    let is_taken = |algorithm: &Algorithm| named.is_none_or(|named| named == *algorithm);
    let algorithms: Vec<_> = of_its_kind
        .iter()
        .copied()
        .filter(|algorithm| is_for_this && is_taken(algorithm))
        .collect();
    if algorithms.is_empty() {
        return None;
    }
    Some(Key { id: common.key_id.clone(), algorithms, key })
}

/// How a token says that it is signed. Nothing proves it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SaidKey {
    id: Option<String>,
    algorithm: Algorithm,
}

impl SaidKey {
    /// What the token says.
    pub(super) fn of(token: &str) -> Result<Self, NotIssued> {
        let Header { alg, kid, .. } = decode_header(token).map_err(|_| NotIssued::Form)?;
        if !signature::is_taken(alg) {
            return Err(NotIssued::Form);
        }
        Ok(Self { id: kid, algorithm: alg })
    }

    /// The keys that may be meant. One that has no name is meant by who names none, where it is the only one.
    fn among<'a>(&self, keys: &'a [Key]) -> Vec<&'a Key> {
        match &self.id {
            Some(_) => keys.iter().filter(|key| key.id == self.id).collect(),
            None => keys.iter().collect(),
        }
    }

    /// Whether the key is among these.
    pub(super) fn is_among(&self, keys: &[Key]) -> bool {
        !self.among(keys).is_empty()
    }

    /// The claims of a token that one of these keys has signed.
    pub(super) fn open(
        &self,
        token: &str,
        keys: &[Key],
        issuer: &Whose,
    ) -> Result<Map<String, Value>, NotIssued> {
        let key = match &*self.among(keys) {
            [] => return Err(NotIssued::UnknownKey { issuer: issuer.clone() }),
            [_, _, ..] if self.id.is_none() => {
                return Err(NotIssued::NoKey { issuer: issuer.to_string() });
            }
            // Keys of two kinds may have one name.
            some => some.iter().find(|key| key.algorithms.contains(&self.algorithm)).copied(),
        };
        let key = key.ok_or(NotIssued::Algorithm)?;
        // The claims are looked at by `claims`, which knows the time that it is and says what is wrong.
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        match decode(token, &key.key, &validation) {
            Ok(data) => Ok(data.claims),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidSignature => NotIssued::Signature,
                _ => NotIssued::Form,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
