//! Whether a value is one of those that an argument has. The value is looked at, and never changed.

use super::super::{Argument, ArgumentType, quoted};
use regex::{Regex, RegexBuilder};
use std::cmp::Ordering;

/// The most bytes that a pattern takes when it is compiled: it is compiled for each execution.
pub(crate) const MOST_COMPILED_BYTES: usize = 512 * 1024;
/// How many of the allowed values an error names.
const NAMED: usize = 10;

/// A value as a number, to be compared with the bounds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(super) enum Number {
    Whole(i64),
    Decimal(f64),
}

/// The number that `text` is for an argument of this type; none where the type has no numbers, or it is none of them.
pub(super) fn number(kind: ArgumentType, text: &str) -> Option<Number> {
    match kind {
        ArgumentType::Int => whole(text).map(Number::Whole),
        ArgumentType::Float => decimal(text).map(Number::Decimal),
        ArgumentType::String | ArgumentType::Bool | ArgumentType::Enum | ArgumentType::Secret => {
            None
        }
    }
}

/// Whether two values of this type are one, however they are written.
pub(crate) fn is_same(kind: ArgumentType, one: &str, other: &str) -> bool {
    match (number(kind, one), number(kind, other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => one == other,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn whole(text: &str) -> Option<i64> {
    is_digits(text.strip_prefix('-').unwrap_or(text)).then(|| text.parse().ok())?
}

/// One spelling, which every language reads: no `inf`, no `.5`, no `1.`, no `+1`.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa_is_right = match mantissa.split_once('.') {
        Some((before, behind)) => is_digits(before) && is_digits(behind),
        None => is_digits(mantissa),
    };
    let exponent_is_right = exponent
        .is_none_or(|exponent| is_digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.filter(|_| mantissa_is_right && exponent_is_right)
}

/// The pattern, for whole values.
fn compiled(pattern: &str) -> Result<Regex, String> {
    let compile = |text: &str| {
        RegexBuilder::new(text).size_limit(MOST_COMPILED_BYTES).build().map_err(|error| {
            match error {
                regex::Error::CompiledTooBig(_) => format!(
                    "takes more than {} KiB when it is compiled: make it simpler, for example with smaller counts or `(?-u)`",
                    MOST_COMPILED_BYTES >> 10
                ),
                // The last line says what is wrong; those before it point at the place.
                other => other.to_string().lines().last().unwrap_or_default().trim().to_owned(),
            }
        })
    };
    // By itself, too: `a)|(b` is none, and becomes one between brackets.
    compile(pattern)?;
    compile(&format!(r"\A(?:{pattern})\z"))
}

/// What an argument says of its values, ready to be used.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    argument: &'a Argument,
    pattern: Option<Regex>,
}

impl<'a> Rules<'a> {
    /// The error says what is wrong with the pattern.
    pub(super) fn of(argument: &'a Argument) -> Result<Self, String> {
        let pattern = match argument.pattern.as_str() {
            "" => None,
            pattern => Some(compiled(pattern)?),
        };
        Ok(Self { argument, pattern })
    }

    /// What is wrong with `value`: continues the sentence that the field begins. A secret is not quoted.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        let allowed = &self.argument.allowed;
        if allowed.is_empty() || allowed.iter().any(|one| one == value) {
            return self.check_apart_from_allowed(value);
        }
        // Its type first: what is wanted is clearer from it.
        self.check_apart_from_allowed(value)?;
        Err(format!("is {}, and allowed are {}", self.shown(value), listed(allowed)))
    }

    /// The same for one of the allowed values itself.
    pub(super) fn check_apart_from_allowed(&self, value: &str) -> Result<(), String> {
        let shown = self.shown(value);
        check_type(self.argument, value, &shown)?;
        check_bounds(self.argument, value, &shown)?;
        if self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value)) {
            return Ok(());
        }
        let pattern = quoted(&self.argument.pattern);
        Err(format!("is {shown}, and the whole value has to match the pattern {pattern}"))
    }

    fn shown(&self, value: &str) -> String {
        match self.argument.kind {
            ArgumentType::Secret => "a value (it is secret, and not shown)".to_owned(),
            _ => quoted(value),
        }
    }
}

fn check_type(argument: &Argument, value: &str, shown: &str) -> Result<(), String> {
    let wanted = match argument.kind {
        ArgumentType::Int if whole(value).is_none() => {
            "not a whole number of 64 bits: give one such as `12` or `-3`"
        }
        ArgumentType::Float if decimal(value).is_none() => {
            "not a decimal number: give one such as `0.5`, `-12` or `1e6`"
        }
        ArgumentType::Bool if !matches!(value, "true" | "false") => {
            "not a truth value: give `true` or `false`, in lower case"
        }
        _ => return Ok(()),
    };
    Err(format!("is {shown}, {wanted}"))
}

fn check_bounds(argument: &Argument, value: &str, shown: &str) -> Result<(), String> {
    let Some(found) = number(argument.kind, value) else { return Ok(()) };
    let bound = |text: &Option<String>| {
        text.as_deref().and_then(|text| Some((number(argument.kind, text)?, text.to_owned())))
    };
    match (bound(&argument.min), bound(&argument.max)) {
        (Some((least, text)), _) if found.partial_cmp(&least) == Some(Ordering::Less) => {
            Err(format!("is {shown}, and {text} is the least: give {text} or more"))
        }
        (_, Some((most, text))) if found.partial_cmp(&most) == Some(Ordering::Greater) => {
            Err(format!("is {shown}, and {text} is the most: give {text} or less"))
        }
        _ => Ok(()),
    }
}

fn listed(allowed: &[String]) -> String {
    let some: Vec<_> = allowed.iter().take(NAMED).map(|value| quoted(value)).collect();
    let more = allowed.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", some.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(kind: ArgumentType) -> Argument {
        Argument { name: "a".to_owned(), kind, ..Argument::default() }
    }

    fn check_value(argument: &Argument, value: &str) -> Result<(), String> {
        Rules::of(argument)?.check(value)
    }

    fn taken(argument: &Argument, values: &[&str]) {
        for value in values {
            assert_eq!(check_value(argument, value), Ok(()), "{value:?}");
        }
    }

    fn refused(argument: &Argument, values: &[&str]) -> String {
        let errors = values.iter().map(|value| check_value(argument, value).expect_err(value));
        errors.collect::<Vec<_>>().pop().unwrap()
    }

    #[test]
    fn a_whole_number_has_one_spelling_and_64_bits() {
        let int = of(ArgumentType::Int);
        taken(&int, &["0", "-0", "007", "9223372036854775807", "-9223372036854775808"]);
        let wrong =
            ["", "-", "+5", " 5", "5 ", "1.0", "1e3", "0x1f", "٣", "9223372036854775808", "x"];
        assert_eq!(
            refused(&int, &wrong),
            "is `x`, not a whole number of 64 bits: give one such as `12` or `-3`"
        );
    }

    #[test]
    fn a_decimal_number_is_finite_and_written_in_full() {
        let float = of(ArgumentType::Float);
        taken(&float, &["0", "-12", "0.5", "1e6", "1E-6", "1.5e+3", "1e308"]);
        let wrong =
            ["", ".5", "5.", "-", "e5", "1e", "1e+", "+1", "nan", "inf", "1e999", "1,5", "0x1p3"];
        assert_eq!(
            refused(&float, &wrong),
            "is `0x1p3`, not a decimal number: give one such as `0.5`, `-12` or `1e6`"
        );
    }

    #[test]
    fn a_truth_value_is_true_or_false_and_nothing_else() {
        let flag = of(ArgumentType::Bool);
        taken(&flag, &["true", "false"]);
        assert_eq!(
            refused(&flag, &["", "yes", "1", "TRUE", "true ", "True"]),
            "is `True`, not a truth value: give `true` or `false`, in lower case"
        );
    }

    #[test]
    fn allowed_values_are_compared_byte_for_byte() {
        let allowed = ["staging", "live"].map(str::to_owned).to_vec();
        let place = Argument { allowed, ..of(ArgumentType::Enum) };
        taken(&place, &["staging", "live"]);
        assert_eq!(
            refused(&place, &["", "Live", "live "]),
            "is `live `, and allowed are `staging`, `live`"
        );
        let many = (0..25).map(|n| n.to_string()).collect();
        let many = Argument { allowed: many, ..of(ArgumentType::Int) };
        assert!(refused(&many, &["07", "25"]).ends_with("`9` and 15 more"));
    }

    #[test]
    fn bounds_are_included_and_compared_as_numbers() {
        let bounds = |kind, min: &str, max: &str| Argument {
            min: Some(min.to_owned()),
            max: Some(max.to_owned()),
            ..of(kind)
        };
        let int = bounds(ArgumentType::Int, "-5", "9223372036854775807");
        taken(&int, &["-5", "10", "9223372036854775807"]);
        assert_eq!(refused(&int, &["-6"]), "is `-6`, and -5 is the least: give -5 or more");
        let float = bounds(ArgumentType::Float, "0", "0.5");
        taken(&float, &["0", "-0", "0.50", "5e-1"]);
        assert_eq!(refused(&float, &["0.51"]), "is `0.51`, and 0.5 is the most: give 0.5 or less");
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        let argument =
            |pattern: &str| Argument { pattern: pattern.to_owned(), ..of(ArgumentType::String) };
        taken(&argument("a|ab"), &["a", "ab"]);
        taken(&argument("[a-z]+"), &["abc"]);
        assert_eq!(
            refused(&argument("[a-z]+"), &["", "abc1", "abc\n"]),
            "is `abc\\n`, and the whole value has to match the pattern `[a-z]+`"
        );
    }

    #[test]
    fn a_pattern_that_cannot_be_used_says_why() {
        for wrong in ["(", "a)|(b", r"\8", "[z-a]", "(?x) a # comment"] {
            assert!(!compiled(wrong).unwrap_err().is_empty(), "{wrong}");
        }
        let large = compiled(r"\w{1000}").unwrap_err();
        assert!(large.contains("512 KiB"), "{large}");
    }

    #[test]
    fn a_secret_is_in_no_text() {
        let secret = Argument { pattern: "[a-z]+".to_owned(), ..of(ArgumentType::Secret) };
        let why = refused(&secret, &["HUNTER2"]);
        assert!(!why.contains("HUNTER2") && why.contains("[a-z]+"), "{why}");
    }

    proptest! {
        #[test]
        fn every_number_that_is_written_down_is_taken(whole: i64, decimal in -1e300..1e300f64) {
            prop_assert_eq!(number(ArgumentType::Int, &whole.to_string()), Some(Number::Whole(whole)));
            prop_assert_eq!(number(ArgumentType::Float, &decimal.to_string()), Some(Number::Decimal(decimal)));
        }

        #[test]
        fn no_value_breaks_a_check(value: String, pattern: String, bound: String) {
            for kind in [ArgumentType::String, ArgumentType::Int, ArgumentType::Float, ArgumentType::Bool] {
                let argument = Argument {
                    pattern: pattern.clone(),
                    min: Some(bound.clone()),
                    ..of(kind)
                };
                let _ = check_value(&argument, &value);
            }
        }
    }
}
