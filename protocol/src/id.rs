//! Ids as types. Texts become ids at the door and texts again at the door; in between nobody mixes them up.

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::LazyLock};
use uuid::Uuid;

/// base32hex (RFC 4648, section 7) in lower case: its alphabet is in byte order, so texts sort as the bytes do, and
/// it is legal in Kubernetes names.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789abcdefghijklmnopqrstuv");
    #[allow(clippy::expect_used)] // a constant: the tests of this file encode with it
    specification.encoding().expect("32 distinct symbols")
});

/// How many characters an execution's id has.
pub const TEXT: usize = 26;
/// The most characters of the name of a job or a namespace, and of an executor's id.
pub const MOST_NAME: usize = 63;
/// The most characters of the name of an argument or of a secret.
pub const MOST_VARIABLE: usize = 255;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct Invalid {
    text: String,
    wanted: &'static str,
}

impl Invalid {
    fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), wanted }
    }

    /// What it should be, to follow "not".
    pub fn wanted(&self) -> &'static str {
        self.wanted
    }
}

/// Names one execution: a UUID of version 7 as 26 lower-case base32 characters, sortable by time of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(Uuid);

impl ExecutionId {
    /// The id that these 16 bytes are.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id's bytes, in the order in which ids sort.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id behind this one; none: this is the last of all.
    pub fn successor(&self) -> Option<Self> {
        let next = u128::from_be_bytes(*self.as_bytes()).checked_add(1)?;
        Some(Self::from_bytes(next.to_be_bytes()))
    }

    /// The first id that could be made at this time, in milliseconds since 1970.
    pub fn first_at(milliseconds: u64) -> Self {
        let time = milliseconds.min((1 << 48) - 1);
        Self::from_bytes((u128::from(time) << 80).to_be_bytes())
    }

    /// When it was made, in milliseconds since 1970.
    pub fn made_at(&self) -> u64 {
        (u128::from_be_bytes(*self.as_bytes()) >> 80) as u64
    }

    /// The first id whose text begins with `part`, and the first one behind all of them; none where there is no end.
    /// None at all where no id begins so.
    pub fn beginning_with(part: &str) -> Option<(Self, Option<Self>)> {
        if part.len() > TEXT {
            return None;
        }
        // The last character has three bits: `s` has all of them.
        let filled = |fill: &str, last: &str| {
            let text: String = part.chars().chain(fill.repeat(TEXT).chars()).take(TEXT).collect();
            let last = if part.len() == TEXT { &text[TEXT - 1..] } else { last };
            text.get(..TEXT - 1).and_then(|start| format!("{start}{last}").parse::<Self>().ok())
        };
        Some((filled("0", "0")?, filled("v", "s")?.successor()))
    }

    /// The text of the bytes' complement: sorts the newest first.
    pub fn inverse(&self) -> String {
        BASE32.encode(&self.as_bytes().map(|byte| !byte))
    }
}

impl From<Uuid> for ExecutionId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32.encode(self.as_bytes()))
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ExecutionId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wanted = "an execution's id: 26 characters of `0-9` and `a-v`";
        let bytes = BASE32.decode(text.as_bytes()).map_err(|_| Invalid::new(text, wanted))?;
        let bytes: [u8; 16] = bytes.try_into().map_err(|_| Invalid::new(text, wanted))?;
        Ok(Self::from_bytes(bytes))
    }
}

/// Declares an id that is a text with rules.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(Invalid::new(text, $wanted)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Names a job: also a Kubernetes label value and a part of store keys.
    JobName,
    "a job's name: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last",
    is_dns_label
);

text_id!(
    /// Names those who share the places of executors with one another.
    TeamName,
    "a team: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last",
    is_dns_label
);

text_id!(
    /// Names a namespace of a Kubernetes cluster.
    Namespace,
    "a namespace: 1 to 63 characters of `a-z`, `0-9` and `-`, with `-` neither first nor last",
    is_dns_label
);

/// A label as RFC 1123 has it.
fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_NAME).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

text_id!(
    /// Names an executor: what its file says under `id`.
    ExecutorId,
    "an executor's id: 1 to 63 characters of `a-z`, `A-Z`, `0-9`, `-`, `_` and `.`, the first a letter or digit",
    |text| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=MOST_NAME).contains(&text.len())
            && text.bytes().all(inner)
            && text.as_bytes()[0].is_ascii_alphanumeric()
    }
);

text_id!(
    /// Names an argument or a secret: the environment variable that will hold it.
    VariableName,
    "a name for an environment variable: `[A-Za-z_][A-Za-z0-9_]*`, at most 255 characters, neither `OCTAVIUS_…` nor `LD_…`",
    |text| {
        (1..=MOST_VARIABLE).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.as_bytes()[0].is_ascii_digit()
            && !text.starts_with("OCTAVIUS_")
            && !text.starts_with("LD_")
    }
);

/// Declares an id that is a number.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $number:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// The n-th try of an execution: from 1.
    AttemptNumber,
    u32
);
number_id!(
    /// Grows at each grant of an attempt: from 1, with 0 before the first. An older one is refused.
    Epoch,
    u64
);
number_id!(
    /// One registration of an executor: from 1, never used twice.
    Session,
    u64
);

/// Names one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// Of which execution.
    pub execution: ExecutionId,
    /// Which try of it.
    pub attempt: AttemptNumber,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.execution, self.attempt)
    }
}

impl FromStr for AttemptId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wanted = "an attempt: an execution's id, `-`, and a number from 1";
        let (execution, attempt) =
            text.split_once('-').ok_or_else(|| Invalid::new(text, wanted))?;
        let attempt: u32 = attempt.parse().map_err(|_| Invalid::new(text, wanted))?;
        if attempt == 0 {
            return Err(Invalid::new(text, wanted));
        }
        Ok(Self { execution: execution.parse()?, attempt: AttemptNumber(attempt) })
    }
}

impl Serialize for ExecutionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExecutionId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "([a-v0-9]{26}|\\PC{0,70})") {
            let read = text.parse::<ExecutionId>().map(|id| id.to_string());
            prop_assert!(read.is_err() || read == Ok(text.clone()));
            let _ = (text.parse::<JobName>(), text.parse::<ExecutorId>());
        }

        #[test]
        fn an_execution_id_survives_its_text_and_sorts_as_its_bytes(a: [u8; 16], b: [u8; 16]) {
            let (a, b) = (ExecutionId::from_bytes(a), ExecutionId::from_bytes(b));
            prop_assert_eq!(a.to_string().parse::<ExecutionId>(), Ok(a));
            prop_assert_eq!(a.to_string().len(), 26);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(b.cmp(&a), a.inverse().cmp(&b.inverse()));
        }
    }

    #[test]
    fn names_say_what_they_wanted() {
        for bad in ["", "-a", "a-", "Hello", "a_b", &"a".repeat(64)] {
            let refused = bad.parse::<JobName>().unwrap_err().to_string();
            assert!(refused.contains("1 to 63 characters"), "{refused}");
        }
        for text in [
            "".parse::<JobName>().unwrap_err().to_string(),
            "".parse::<Namespace>().unwrap_err().to_string(),
            "".parse::<ExecutorId>().unwrap_err().to_string(),
        ] {
            assert!(text.contains(&format!("1 to {MOST_NAME} characters")), "{text}");
        }
        let variable = "".parse::<VariableName>().unwrap_err().to_string();
        assert!(variable.contains(&format!("at most {MOST_VARIABLE} characters")), "{variable}");
        assert!("hello-friend".parse::<JobName>().is_ok());
        assert!("random-ID".parse::<ExecutorId>().is_ok());
        for bad in ["", "1a", "OCTAVIUS_JOB", "LD_PRELOAD", "a-b", "a=b"] {
            assert!(bad.parse::<VariableName>().is_err(), "{bad}");
        }
        assert!("0".repeat(25).parse::<ExecutionId>().is_err());
        assert!(format!("{}-0", "0".repeat(26)).parse::<AttemptId>().is_err());
    }
}
