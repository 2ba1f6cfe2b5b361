//! The types that a key can have: what a value looks like, how it is read, how it is shown.

use super::{
    HIDDEN, duration,
    tree::{Tree, twice},
};
use secrecy::SecretString;
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

/// A type that a key can have.
pub trait Setting: Sized {
    /// Whether the value is never shown.
    const SECRET: bool = false;

    /// What a value looks like: "a whole number from 1 to 65535".
    fn wanted() -> String;

    /// Reads a value of the file; the error says what to give instead.
    fn from_value(value: &Value) -> Result<Self, String>;

    /// What holds if nobody gives the key; none if somebody must.
    fn absent() -> Option<Self> {
        None
    }

    /// The value as text, never a secret.
    fn shown(&self) -> String;

    /// The value as a file could have it, never a secret.
    fn json(&self) -> Value {
        Value::from(self.shown())
    }
}

/// Reads the text of an environment variable: as JSON, if that gives what is wanted, else as it stands.
pub fn parse_text<T: Setting>(text: &str) -> Result<T, String> {
    let json = serde_json::from_str(text).ok().and_then(|Tree(value)| T::from_value(&value).ok());
    json.map_or_else(|| T::from_value(&Value::String(text.to_owned())), Ok)
}

fn give<T: Setting>() -> String {
    format!("give {}", T::wanted())
}

macro_rules! whole_number {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn wanted() -> String {
                match <$type>::MAX as u64 {
                    u64::MAX => "a whole number".to_owned(),
                    most => format!("a whole number up to {most}"),
                }
            }

            fn from_value(value: &Value) -> Result<Self, String> {
                let number = value.as_u64().and_then(|number| number.try_into().ok());
                // Files of earlier versions may hold numbers in quotes.
                let text = || value.as_str().and_then(|text| text.trim().parse().ok());
                number.or_else(text).ok_or_else(give::<Self>)
            }

            fn shown(&self) -> String {
                self.to_string()
            }

            fn json(&self) -> Value {
                Value::from(*self)
            }
        }
    )+};
}
whole_number!(u16, u32, u64, usize);

impl Setting for bool {
    fn wanted() -> String {
        "`true` or `false`".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = || value.as_str().and_then(|text| text.trim().parse().ok());
        value.as_bool().or_else(text).ok_or_else(give::<Self>)
    }

    fn shown(&self) -> String {
        self.to_string()
    }

    fn json(&self) -> Value {
        Value::from(*self)
    }
}

impl Setting for String {
    fn wanted() -> String {
        "text".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| "give text, in quotes".to_owned())
    }

    fn shown(&self) -> String {
        self.clone()
    }
}

impl Setting for PathBuf {
    fn wanted() -> String {
        "a path".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let path = value.as_str().filter(|path| !path.is_empty());
        path.map(Self::from).ok_or_else(|| "give a path, in quotes".to_owned())
    }

    fn shown(&self) -> String {
        self.display().to_string()
    }
}

impl Setting for SocketAddr {
    fn wanted() -> String {
        "an address with a port, for example `127.0.0.1:9600` or `[::1]:9600`".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(give::<Self>)
    }

    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Setting for Duration {
    fn wanted() -> String {
        "a time: seconds as a number, or text like `90s`, `5m` or `30d`".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let time = match value {
            Value::Number(seconds) => {
                seconds.as_f64().and_then(|seconds| Self::try_from_secs_f64(seconds).ok())
            }
            Value::String(text) => duration::parse(text),
            _ => None,
        };
        time.ok_or_else(|| "give seconds as a number, or text like `90s`, `5m` or `30d`".to_owned())
    }

    fn shown(&self) -> String {
        duration::text(*self)
    }
}

impl Setting for SecretString {
    const SECRET: bool = true;

    fn wanted() -> String {
        "text, never shown".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().map(Self::from).ok_or_else(|| "give text, in quotes".to_owned())
    }

    fn shown(&self) -> String {
        HIDDEN.to_owned()
    }
}

impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn wanted() -> String {
        T::wanted()
    }

    /// Empty text is nothing, so that a variable can take away what the file gives.
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) if text.is_empty() => Ok(None),
            given => T::from_value(given).map(Some),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::shown)
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::json)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const SECRET: bool = T::SECRET;

    fn wanted() -> String {
        format!("a list, each {}", T::wanted())
    }

    /// Text is a list with commas, so that a variable can hold it.
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(all) => all.iter().map(T::from_value).collect(),
            Value::String(text) if text.trim().is_empty() => Ok(Self::new()),
            Value::String(text) => text.split(',').map(|part| parse_text(part.trim())).collect(),
            _ => Err(give::<Self>()),
        }
    }

    fn shown(&self) -> String {
        match self.as_slice() {
            [] => "none".to_owned(),
            all => all.iter().map(T::shown).collect::<Vec<_>>().join(", "),
        }
    }

    fn json(&self) -> Value {
        self.iter().map(T::json).collect()
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    const SECRET: bool = T::SECRET;

    fn wanted() -> String {
        format!("an object, each value {}", T::wanted())
    }

    /// Files of earlier versions have the object as text inside of text.
    fn from_value(value: &Value) -> Result<Self, String> {
        let one = |(name, value): (&String, &Value)| Ok((name.clone(), T::from_value(value)?));
        match value {
            Value::Object(all) => all.iter().map(one).collect(),
            Value::String(text) if text.trim().is_empty() => Ok(Self::new()),
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Tree(Value::Object(all))) => all.iter().map(one).collect(),
                Ok(_) => Err(give::<Self>()),
                Err(error) => Err(twice(&error)
                    .map_or_else(give::<Self>, |twice| format!("give each name once: {twice}"))),
            },
            _ => Err(give::<Self>()),
        }
    }

    fn shown(&self) -> String {
        let one = |(name, value): (&String, &T)| format!("{name}={}", value.shown());
        match self.len() {
            0 => "none".to_owned(),
            _ => self.iter().map(one).collect::<Vec<_>>().join(", "),
        }
    }

    fn json(&self) -> Value {
        self.iter().map(|(name, value)| (name.clone(), value.json())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::fmt::Debug;

    #[track_caller]
    fn reads<T: Setting + PartialEq + Debug>(value: Value, wanted: T) {
        assert_eq!(T::from_value(&value), Ok(wanted), "{value}");
    }

    #[track_caller]
    fn refuses<T: Setting + Debug>(value: Value) -> String {
        T::from_value(&value).expect_err(&value.to_string())
    }

    #[test]
    fn numbers_are_read_plain_and_in_quotes_and_never_cut() {
        reads(json!(3000), 3000u16);
        reads(json!("3000"), 3000u16);
        for wrong in [json!(65536), json!(-1), json!(1.5), json!("many"), json!([1])] {
            assert_eq!(refuses::<u16>(wrong), "give a whole number up to 65535");
        }
        assert_eq!(refuses::<u64>(json!(-1)), "give a whole number");
    }

    #[test]
    fn times_are_seconds_or_friendly_text() {
        reads(json!(9), Duration::from_secs(9));
        reads(json!(0.5), Duration::from_millis(500));
        reads(json!("90"), Duration::from_secs(90));
        reads(json!("90s"), Duration::from_secs(90));
        reads(json!("1h 30m"), Duration::from_secs(5400));
        for wrong in [json!(-1), json!("-5s"), json!("soon"), json!(1e300), json!(true)] {
            refuses::<Duration>(wrong);
        }
    }

    #[test]
    fn a_map_may_stand_as_text_inside_of_text() {
        let annotations = BTreeMap::from([("key.one".to_owned(), "true".to_owned())]);
        reads(json!({"key.one": "true"}), annotations.clone());
        reads(json!("{\"key.one\":\"true\"}"), annotations);
        reads(json!(""), BTreeMap::<String, String>::new());
        refuses::<BTreeMap<String, String>>(json!({"key.one": true}));
    }

    #[test]
    fn a_variable_is_json_if_that_is_what_is_wanted_and_text_otherwise() {
        assert_eq!(parse_text::<String>("123"), Ok("123".to_owned()));
        assert_eq!(parse_text::<String>("\"quoted\""), Ok("quoted".to_owned()));
        assert_eq!(parse_text::<u16>("123"), Ok(123));
        assert_eq!(parse_text::<Vec<String>>("a, b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(parse_text::<Vec<String>>("[\"a,b\"]"), Ok(vec!["a,b".to_owned()]));
        assert_eq!(parse_text::<Vec<u16>>("1,2"), Ok(vec![1, 2]));
        assert_eq!(parse_text::<Option<u16>>(""), Ok(None));
        assert_eq!(parse_text::<bool>("true"), Ok(true));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = SecretString::from_value(&json!("s3cr3t")).unwrap();
        assert_eq!(Some(secret.clone()).shown(), HIDDEN);
        assert!(!format!("{secret:?}").contains("s3cr3t"));
        const { assert!(Option::<SecretString>::SECRET && Vec::<SecretString>::SECRET) };
        assert!(!refuses::<SecretString>(json!(["s3cr3t"])).contains("s3cr3t"));
    }
}
