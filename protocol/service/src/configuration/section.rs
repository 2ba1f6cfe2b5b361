//! A section: the keys of one file, stated once.

use super::{Derived, Fault, Problem, Shown, load::Values};

/// A key, as errors and documents have it.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name in the file; the variable is the section's prefix and the name in upper case.
    pub name: &'static str,
    /// What a value looks like.
    pub wanted: String,
    /// What holds if nobody gives it; none if somebody must.
    pub default: Option<String>,
    /// What it does.
    pub meaning: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
    /// When it matters; none if always.
    pub only_if: Option<Condition>,
}

/// A key that matters only while another one has a certain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The other key.
    pub key: &'static str,
    /// The value that it must have, as text.
    pub value: &'static str,
}

/// A key that old files have and that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithoutEffect {
    /// The key.
    pub name: &'static str,
    /// Why it does nothing.
    pub why: &'static str,
}

/// Bounds that a type cannot state, and what keys demand of each other.
pub trait Bounds {
    /// Everything that is wrong, each with its remedy.
    fn faults(&self) -> Vec<Fault>;

    /// What those keys come to be that nobody gave and that have no fixed default.
    fn derived(&self) -> Vec<Derived> {
        Vec::new()
    }
}

/// The keys of one file. [`section!`](crate::section) writes this; [`Bounds`] is written by hand.
pub trait Section: Bounds + Sized {
    /// The file's usual name.
    const FILE: &'static str;
    /// What the variables that override keys begin with.
    const PREFIX: &'static str;
    /// What the section is for.
    const ABOUT: &'static str;
    /// Keys that are accepted and do nothing.
    const WITHOUT_EFFECT: &'static [WithoutEffect];

    /// The keys that do something, in the order of the documents.
    fn keys() -> Vec<Key>;

    /// The section from its values, or all that is wrong with them.
    #[doc(hidden)]
    fn from_values(values: &Values) -> Result<Self, Vec<Problem>>;

    /// Each key with its value; secrets are hidden.
    fn shown(&self) -> Vec<Shown>;
}

/// A section without its type, as documents need it.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file's usual name.
    pub file: &'static str,
    /// What the variables that override keys begin with.
    pub prefix: &'static str,
    /// What the section is for.
    pub about: &'static str,
    /// The keys that do something.
    pub keys: Vec<Key>,
    /// The keys that do nothing.
    pub without_effect: &'static [WithoutEffect],
}

/// The table of a section.
pub fn table<T: Section>() -> Table {
    Table {
        file: T::FILE,
        prefix: T::PREFIX,
        about: T::ABOUT,
        keys: T::keys(),
        without_effect: T::WITHOUT_EFFECT,
    }
}

/// Declares the keys of one configuration file: the struct, its checks and its documents come from this alone.
///
/// The doc comment of a key is its manual. A key without a default must be given, unless its type is an `Option`.
/// `#[only_if(other = "value")]` makes a warning of a key that is given while `other` has another value;
/// `without_effect` lists keys that old files have and that do nothing.
///
/// ```
/// use octavius_service::{configuration::{Bounds, Fault, from_values}, section};
/// use std::time::Duration;
///
/// section! {
///     /// What the pinger is told.
///     pub struct Pinger, file "pinger.json", variables "PINGER_";
///
///     /// Time between two pings.
///     ping_interval: Duration = Duration::from_secs(2);
///     /// How the ping is sent.
///     way: String = "tcp".to_owned();
///     /// The port, where there is one.
///     #[only_if(way = "tcp")]
///     port: Option<u16>;
///
///     without_effect {
///         patience: "a ping is given up after its interval";
///     }
/// }
///
/// impl Bounds for Pinger {
///     fn faults(&self) -> Vec<Fault> {
///         let zero = self.ping_interval.is_zero();
///         let fault = || Fault::new("ping_interval", "give a time above zero, for example `2s`");
///         zero.then(fault).into_iter().collect()
///     }
/// }
///
/// let problems = from_values::<Pinger>(r#"{"ping_interval": 0, "prot": 7}"#).unwrap_err();
/// assert_eq!(problems.0[0].to_string(), "pinger.json: `prot` is not a known key: did you mean `port`?");
/// assert_eq!(
///     problems.0[1].to_string(),
///     "pinger.json: `ping_interval` is `0`: give a time above zero, for example `2s`"
/// );
/// ```
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $visibility:vis struct $section:ident, file $file:literal, variables $prefix:literal;
        $(
            $(#[doc = $meaning:literal])+
            $(#[only_if($other:ident = $value:literal)])?
            $key:ident : $type:ty $(= $default:expr)?;
        )+
        $(without_effect { $($old:ident : $why:literal;)+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        $visibility struct $section {
            $(
                $(#[doc = $meaning])+
                $visibility $key: $type,
            )+
        }

        impl $crate::configuration::Section for $section {
            const FILE: &'static str = $file;
            const PREFIX: &'static str = $prefix;
            const ABOUT: &'static str = concat!($($about, "\n"),+);
            const WITHOUT_EFFECT: &'static [$crate::configuration::WithoutEffect] = &[
                $($($crate::configuration::WithoutEffect { name: stringify!($old), why: $why },)+)?
            ];

            fn keys() -> Vec<$crate::configuration::Key> {
                use $crate::configuration::Setting as _;
                vec![$({
                    let default: Option<$type> = $crate::section!(@default $type $(, $default)?);
                    let only_if: &[$crate::configuration::Condition] = &[$(
                        $crate::configuration::Condition { key: stringify!($other), value: $value }
                    )?];
                    $crate::configuration::Key {
                        name: stringify!($key),
                        wanted: <$type>::wanted(),
                        default: default.map(|value| value.shown()),
                        meaning: concat!($($meaning, "\n"),+),
                        secret: <$type>::SECRET,
                        only_if: only_if.first().copied(),
                    }
                }),+]
            }

            fn from_values(
                values: &$crate::configuration::private::Values,
            ) -> Result<Self, Vec<$crate::configuration::Problem>> {
                let mut problems = Vec::new();
                $(
                    let $key: Option<$type> = values.take(
                        stringify!($key),
                        || $crate::section!(@default $type $(, $default)?),
                        &mut problems,
                    );
                )+
                match ($($key,)+) {
                    ($(Some($key),)+) if problems.is_empty() => Ok(Self { $($key),+ }),
                    _ => Err(problems),
                }
            }

            fn shown(&self) -> Vec<$crate::configuration::Shown> {
                vec![$($crate::configuration::Shown::new(stringify!($key), &self.$key)),+]
            }
        }
    };
    (@default $type:ty) => { <$type as $crate::configuration::Setting>::absent() };
    (@default $type:ty, $default:expr) => { Some::<$type>($default) };
}

/// Declares an enum whose values are words of a configuration file.
///
/// ```
/// octavius_service::choice! {
///     /// How lines are written.
///     pub enum Format {
///         /// For people.
///         Text = "text",
///         /// For machines.
///         Json = "json",
///     }
/// }
/// assert_eq!(Format::Json.to_string(), "json");
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        $visibility:vis enum $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $word:literal),+ $(,)? }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name { $($(#[doc = $meaning])+ $variant),+ }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),+ })
            }
        }

        impl $crate::configuration::Setting for $name {
            fn wanted() -> String {
                [$(concat!("`", $word, "`")),+].join(" or ")
            }

            fn from_value(value: &$crate::configuration::private::Value) -> Result<Self, String> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)+
                    _ => Err(format!("give {}", Self::wanted())),
                }
            }

            fn shown(&self) -> String {
                self.to_string()
            }
        }
    };
}
