//! The form of what is sealed. All keys are of 32 bytes, all sealing is XChaCha20-Poly1305 with random nonces.
//!
//! ```text
//! 1 byte    version: 1
//! 24 bytes  nonce  ┐ the data key, sealed under the master key;
//! 48 bytes  sealed ┘ bound to the version
//! 24 bytes  nonce  ┐ the value, sealed under the data key;
//! rest      sealed ┘ bound to the version and the place
//! ```

use chacha20poly1305::{
    Key, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, KeyInit, Payload},
};
use octavius_protocol::id::{ExecutionId, VariableName};
use secrecy::zeroize::Zeroizing;
use std::fmt;
use uuid::Uuid;

/// The version of the form.
const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
/// A key's bytes.
pub(super) const KEY: usize = 32;
/// What stands before the value's nonce.
const HEAD: usize = 1 + NONCE + KEY + TAG;
/// How much longer what is sealed is than the value.
const ADDED: usize = HEAD + NONCE + TAG;

/// What a sealed value is, and where it belongs. It opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// One value of a job's secret.
    Secret {
        /// The job's uid.
        job_uid: &'a str,
        /// The secret's name.
        name: &'a VariableName,
        /// Which of its values.
        value: Uuid,
    },
    /// The arguments of an execution that may be shown.
    Arguments(ExecutionId),
    /// The arguments of an execution that nobody may see.
    SecretArguments(ExecutionId),
    /// What tells whether a store and a master key belong together.
    KeyCheck,
}

impl Place<'_> {
    /// What is bound: no two places have the same bytes, for none of the parts holds a NUL.
    fn bound(&self) -> Vec<u8> {
        let text = match self {
            Self::Secret { job_uid, name, value } => {
                format!("secret\0{job_uid}\0{name}\0{value}")
            }
            Self::Arguments(id) => format!("arguments\0{id}"),
            Self::SecretArguments(id) => format!("secret-arguments\0{id}"),
            Self::KeyCheck => "key-check".to_owned(),
        };
        [&[VERSION], text.as_bytes()].concat()
    }
}

/// Why something sealed does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It is damaged, of another place, or sealed under another key.
    #[error("it is damaged, stands in another's place, or was sealed under another `master.key`")]
    Damaged,
    /// Its form is none that this version knows.
    #[error("it has the form {0}, and this version knows the form {VERSION}")]
    Newer(u8),
}

/// What seals data keys.
pub(super) struct MasterKey {
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    pub(super) fn new(bytes: &[u8; KEY]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(bytes.into()) }
    }

    #[cfg(test)]
    pub(super) fn generate() -> Self {
        Self { cipher: XChaCha20Poly1305::new(&Key::generate()) }
    }

    pub(super) fn data_key(&self) -> DataKey {
        let key = Zeroizing::new(<[u8; KEY]>::from(Key::generate()));
        DataKey { cipher: XChaCha20Poly1305::new((&*key).into()), head: self.head(&key) }
    }

    /// What stands before a value whose data key this is.
    fn head(&self, key: &[u8; KEY]) -> Vec<u8> {
        let nonce = XNonce::generate();
        let sealed = encrypt(&self.cipher, &nonce, &key[..], &[VERSION]);
        let mut head = Vec::with_capacity(HEAD);
        head.push(VERSION);
        head.extend_from_slice(&nonce);
        head.extend_from_slice(&sealed);
        head
    }

    /// The data key of what is sealed.
    fn data_key_of(&self, sealed: &[u8]) -> Result<Zeroizing<[u8; KEY]>, Unopened> {
        match sealed.first() {
            Some(&VERSION) if sealed.len() >= ADDED => {}
            Some(&VERSION) | None => return Err(Unopened::Damaged),
            Some(&other) => return Err(Unopened::Newer(other)),
        }
        let key = Zeroizing::new(decrypt(&self.cipher, &sealed[1..HEAD], &[VERSION])?);
        let key = <[u8; KEY]>::try_from(&key[..]).map_err(|_| Unopened::Damaged)?;
        Ok(Zeroizing::new(key))
    }

    /// Whether what is sealed has its data key from this one.
    pub(super) fn has_sealed(&self, sealed: &[u8]) -> bool {
        self.data_key_of(sealed).is_ok()
    }

    /// The same value, whose data key was sealed under `former`, with that sealed under this one. The value is not opened.
    pub(super) fn taken_over(&self, former: &Self, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let key = former.data_key_of(sealed)?;
        Ok([&self.head(&key), &sealed[HEAD..]].concat())
    }

    pub(super) fn open(
        &self,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let key = self.data_key_of(sealed)?;
        let cipher = XChaCha20Poly1305::new((&*key).into());
        decrypt(&cipher, &sealed[HEAD..], &place.bound()).map(Zeroizing::new)
    }
}

/// Seals values, and goes with each of them, sealed.
#[derive(Clone)]
pub struct DataKey {
    cipher: XChaCha20Poly1305,
    head: Vec<u8>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

impl DataKey {
    /// Seals a value for its place. 24 random bytes never come twice, so that one key serves any number of values.
    pub fn seal(&self, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
        let nonce = XNonce::generate();
        let body = encrypt(&self.cipher, &nonce, value, &place.bound());
        [&self.head[..], &nonce[..], &body].concat()
    }
}

#[allow(clippy::expect_used)] // only a message beyond 256 GiB cannot be sealed
fn encrypt(cipher: &XChaCha20Poly1305, nonce: &XNonce, msg: &[u8], aad: &[u8]) -> Vec<u8> {
    cipher.encrypt(nonce, Payload { msg, aad }).expect("a message below 256 GiB")
}

/// Opens a nonce and what was sealed with it.
fn decrypt(cipher: &XChaCha20Poly1305, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, Unopened> {
    let (nonce, msg) = sealed.split_at_checked(NONCE).ok_or(Unopened::Damaged)?;
    let nonce = XNonce::try_from(nonce).map_err(|_| Unopened::Damaged)?;
    cipher.decrypt(&nonce, Payload { msg, aad }).map_err(|_| Unopened::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn execution(byte: u8) -> ExecutionId {
        ExecutionId::from_bytes([byte; 16])
    }

    /// All kinds of places, with few enough parts that two are often nearly the same.
    fn check_in_places(
        at: usize,
        other: usize,
        check: impl FnOnce(&Place<'_>, &Place<'_>) -> Result<(), TestCaseError>,
    ) -> Result<(), TestCaseError> {
        let names: [VariableName; 2] = ["TOKEN".parse().unwrap(), "TOKEN_".parse().unwrap()];
        let mut places = vec![Place::KeyCheck];
        for byte in [0, 1] {
            places.extend([
                Place::Arguments(execution(byte)),
                Place::SecretArguments(execution(byte)),
            ]);
            for name in &names {
                for job_uid in ["one", "two"] {
                    let value = Uuid::from_bytes([byte; 16]);
                    places.push(Place::Secret { job_uid, name, value });
                }
            }
        }
        check(&places[at % places.len()], &places[other % places.len()])
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_in_its_own_place_and_nowhere_else(
            value: Vec<u8>, at: usize, other: usize,
        ) {
            check_in_places(at, other, |place, elsewhere| {
                let master = MasterKey::generate();
                let sealed = master.data_key().seal(place, &value);
                prop_assert_eq!(sealed.len(), value.len() + ADDED);
                let opened = master.open(place, &sealed);
                prop_assert_eq!(opened.as_deref(), Ok(&value));
                let moved = master.open(elsewhere, &sealed);
                prop_assert_eq!(moved.is_ok(), place == elsewhere);
                let stranger = MasterKey::generate().open(place, &sealed);
                prop_assert_eq!(stranger, Err(Unopened::Damaged));
                Ok(())
            })?;
        }

        #[test]
        fn what_is_damaged_does_not_open(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            bit: usize, length: usize, more: u8,
        ) {
            let (master, place) = (MasterKey::generate(), Place::Arguments(execution(7)));
            let sealed = master.data_key().seal(&place, &value);
            let mut flipped = sealed.clone();
            let bit = bit % (flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(master.open(&place, &flipped).is_err(), "bit {}", bit);
            let cut = &sealed[..length % sealed.len()];
            prop_assert!(master.open(&place, cut).is_err(), "{} bytes", cut.len());
            let mut longer = sealed.clone();
            longer.push(more);
            prop_assert!(master.open(&place, &longer).is_err());
        }

        #[test]
        fn halves_of_two_values_are_none(first: Vec<u8>, second: Vec<u8>) {
            let (master, place) = (MasterKey::generate(), Place::KeyCheck);
            let [first, second] = [first, second].map(|v| master.data_key().seal(&place, &v));
            let mixed = [&first[..HEAD], &second[HEAD..]].concat();
            prop_assert_eq!(master.open(&place, &mixed), Err(Unopened::Damaged));
        }
    }

    #[test]
    fn a_form_of_a_later_version_is_called_that() {
        let master = MasterKey::generate();
        let mut sealed = master.data_key().seal(&Place::KeyCheck, b"value");
        sealed[0] = 2;
        let error = master.open(&Place::KeyCheck, &sealed).unwrap_err();
        assert_eq!(error.to_string(), "it has the form 2, and this version knows the form 1");
    }

    #[test]
    fn the_same_value_is_never_sealed_to_the_same_bytes() {
        let key = MasterKey::generate().data_key();
        let seal = || key.seal(&Place::KeyCheck, b"value");
        assert_ne!(seal(), seal());
    }
}
