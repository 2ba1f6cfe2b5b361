//! Times and labels as they are written on a command line.

use jiff::SignedDuration;
use std::time::Duration;

/// A time such as `90s`, `5m` or `1h 30m`; a bare number is seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wanted = || format!("`{text}` is no time: write for example `90s`, `5m` or `1h 30m`");
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok())
        }
    };
    parsed.filter(|span| !span.is_zero()).ok_or_else(wanted)
}

/// A label such as `zone=eu`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no label: write NAME=VALUE, for example `zone=eu`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_do() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("5m", 300), ("1h 30m", 5400), ("1h30m", 5400)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "0s", "-5s", "soon", "5 apples"] {
            assert!(span(text).unwrap_err().contains("is no time"), "{text}");
        }
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn a_label_has_a_name_and_a_value() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(label("a").is_err() && label("=b").is_err());
    }
}
