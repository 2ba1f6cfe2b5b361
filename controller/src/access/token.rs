//! What a token is: its text, which is shown once, and what is kept to know it again.
//!
//! The text is `oct`, a letter for what it is for, an id and a secret of 256 random bits: `octp_<id>_<secret>`. The id
//! proves nothing, and is what people and logs call the token by. Of the whole text its SHA-256 is kept. A slow hash, as
//! passwords need it, would add nothing: nobody guesses 256 random bits, however fast they try, and each call would pay.

use data_encoding::{Encoding, HEXLOWER, Specification};
use ring::{
    digest,
    rand::{SystemRandom, generate},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::LazyLock};
use subtle::ConstantTimeEq;

/// How many characters an id has.
const ID: usize = 16;
/// How many characters a secret has.
const SECRET: usize = 52;
/// What every token begins with: scanners of repositories and logs look for it.
const PREFIX: &str = "oct";

/// base32 in lower case, with nothing that a double click would not take, and without padding.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
    #[allow(clippy::expect_used)] // a constant: the tests of this file encode with it
    specification.encoding().expect("32 distinct symbols")
});

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A person shows it with each call.
    Person,
    /// Executors join with it.
    Join,
    /// One executor shows it with each call.
    Executor,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Person, Self::Join, Self::Executor];

    fn letter(self) -> char {
        match self {
            Self::Person => 'p',
            Self::Join => 'j',
            Self::Executor => 'e',
        }
    }
}

/// Names a token, and proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// A text that is no token's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no token's id: {ID} characters of `0-9` and `a-v`, as `octavius token list` shows them")]
pub struct NoTokenId;

impl FromStr for TokenId {
    type Err = NoTokenId;

    fn from_str(text: &str) -> Result<Self, NoTokenId> {
        let fits = text.len() == ID && BASE32.decode(text.as_bytes()).is_ok();
        if fits { Ok(Self(text.to_owned())) } else { Err(NoTokenId) }
    }
}

impl TryFrom<String> for TokenId {
    type Error = NoTokenId;

    fn try_from(text: String) -> Result<Self, NoTokenId> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The SHA-256 of a token's text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }

    /// Whether both are of the same token, in a time that does not tell how far they agree.
    pub(super) fn proves(&self, kept: &Self) -> bool {
        self.0.ct_eq(&kept.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash")
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let wrong = "no SHA-256: 64 hexadecimal digits";
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| wrong)?;
        bytes.try_into().map(Self).map_err(|_| wrong)
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        HEXLOWER.encode(&hash.0)
    }
}

/// A token that was made: the only time that its text is there.
#[derive(Debug)]
pub struct NewToken {
    /// What is given to whom it is for.
    pub text: SecretString,
    /// Names it.
    pub id: TokenId,
    /// What is kept.
    pub hash: TokenHash,
}

/// The system gives no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine gives no random bytes")]
pub struct NoRandom;

impl NewToken {
    /// Makes one from the system's random bytes.
    pub fn make(kind: Kind) -> Result<Self, NoRandom> {
        let system = SystemRandom::new();
        let id: [u8; 10] = generate(&system).map_err(|_| NoRandom)?.expose();
        let secret: [u8; 32] = generate(&system).map_err(|_| NoRandom)?.expose();
        let id = TokenId(BASE32.encode(&id));
        let text = format!("{PREFIX}{}_{id}_{}", kind.letter(), BASE32.encode(&secret));
        let hash = TokenHash::of(&text);
        Ok(Self { text: SecretString::from(text), id, hash })
    }
}

/// A token that somebody shows. Holds nothing from which its text could be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownToken {
    /// What it says that it is for.
    pub kind: Kind,
    /// What it says that it is.
    pub id: TokenId,
    /// What proves it.
    pub hash: TokenHash,
}

impl ShownToken {
    /// The token that `text` is; none: it is not whole, or none of ours.
    pub fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let kind = Kind::ALL.into_iter().find(|kind| rest.starts_with(kind.letter()))?;
        let (id, secret) = rest.get(1..)?.strip_prefix('_')?.split_once('_')?;
        let whole = secret.len() == SECRET && BASE32.decode(secret.as_bytes()).is_ok();
        let id = id.parse().ok().filter(|_| whole)?;
        Some(Self { kind, id, hash: TokenHash::of(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_token_is_known_again_and_is_neither_in_what_is_kept_nor_shown() {
        for kind in Kind::ALL {
            let new = NewToken::make(kind).unwrap();
            let text = new.text.expose_secret();
            let shown = ShownToken::read(text).unwrap();
            assert_eq!((shown.kind, &shown.id), (kind, &new.id));
            assert!(shown.hash.proves(&new.hash));
            let secret = text.rsplit('_').next().unwrap();
            let kept = serde_json::to_string(&new.hash).unwrap();
            for said in [format!("{new:?}"), format!("{shown:?}"), kept.clone()] {
                assert!(!said.contains(secret), "{said}");
            }
            let again: TokenHash = serde_json::from_str(&kept).unwrap();
            assert!(again == new.hash);
            let other = NewToken::make(kind).unwrap();
            assert!(!shown.hash.proves(&other.hash) && other.id != new.id);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_read_or_refused(text in "(oct)?[pjex]?_?[0-9a-v]{0,20}_?\\PC{0,60}") {
            if let Some(shown) = ShownToken::read(&text) {
                prop_assert_eq!(shown.hash, TokenHash::of(&text));
                prop_assert!(text.contains(&shown.id.to_string()));
            }
        }

        #[test]
        fn a_token_of_which_a_character_is_another_proves_nothing(at in 0..74_usize, other in "[0-9a-v]") {
            let new = NewToken::make(Kind::Person).unwrap();
            let mut text = new.text.expose_secret().to_owned();
            prop_assert_eq!(text.len(), 74);
            if text[at..=at] == other {
                return Ok(()); // it is no other, which very many inputs make too often for an assumption
            }
            text.replace_range(at..=at, &other);
            prop_assert!(ShownToken::read(&text).is_none_or(|shown| !shown.hash.proves(&new.hash)));
        }
    }
}
