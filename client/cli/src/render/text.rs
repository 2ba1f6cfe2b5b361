//! Text that others wrote, made safe to print; values in quotes; words for a shell.

/// Whether a terminal would do something else with it than show it.
fn steers(sign: char) -> bool {
    let turns_direction = matches!(sign, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(sign, '\u{2028}' | '\u{2029}');
    sign.is_control() || turns_direction || breaks_line
}

fn escaped(text: &str, also: impl Fn(char) -> bool, except: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for sign in text.chars() {
        if also(sign) || (steers(sign) && !except(sign)) {
            safe.extend(sign.escape_default());
        } else {
            safe.push(sign);
        }
    }
    safe
}

/// `text` on one line, with whatever would steer the terminal written out.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, |_| false, |_| false)
}

/// `text` with its lines, and with whatever else would steer the terminal written out.
pub(crate) fn paragraph(text: &str) -> String {
    escaped(text, |_| false, |sign| sign == '\n' || sign == '\t')
}

/// `text` in quotes, so that blanks at its ends and empty values can be told apart.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, |sign| sign == '"' || sign == '\\', |_| false))
}

/// `text` as one word of a shell's command line, to be copied.
pub(crate) fn shell_word(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(bare) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        assert_eq!(one_line("a\u{1b}[31mb\nc\u{202e}"), r"a\u{1b}[31mb\nc\u{202e}");
        assert_eq!(paragraph("a\n\tb\r\u{9b}"), "a\n\tb\\r\\u{9b}");
        assert_eq!(one_line("é🙂नि"), "é🙂नि");
    }

    #[test]
    fn values_can_be_told_apart() {
        assert_eq!(quoted(""), r#""""#);
        assert_eq!(quoted("  x "), r#""  x ""#);
        assert_eq!(quoted("a\"b\\n\n"), r#""a\"b\\n\n""#);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536)], ["0 B", "1023 B", "1.5 KiB"]);
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }

    proptest! {
        #[test]
        fn no_text_steers_the_terminal(text: String) {
            let one = one_line(&text);
            let value = quoted(&text);
            prop_assert!(!one.chars().any(steers));
            prop_assert!(!value.chars().any(steers));
            prop_assert!(!paragraph(&text).chars().any(|sign| steers(sign) && sign != '\n' && sign != '\t'));
        }

        #[test]
        fn two_values_never_look_the_same(a: String, b: String) {
            prop_assert_eq!(a == b, quoted(&a) == quoted(&b));
        }
    }
}
