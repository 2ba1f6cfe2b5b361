//! Undoing the escapes of URLs, forms and JSON, one character after the other.

/// How a text may be escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// Not at all.
    None,
    /// As in a URL: any byte may stand as `%2F`.
    Url,
    /// As in a form that is sent: the same, and a blank is `+`.
    Form,
    /// As in a string of JSON: `\"`, `\n`, `\u00e4`.
    Json,
}

impl Escapes {
    /// Those that change something.
    pub(super) const SOME: [Self; 3] = [Self::Url, Self::Form, Self::Json];

    /// What an escape begins with.
    pub(super) const BEGIN: [u8; 3] = *b"%+\\";

    /// The first character of a text; none: it is cut off, and what it is depends on what follows.
    pub(super) fn first(self, text: &[u8]) -> Option<Unit> {
        let &byte = text.first()?;
        match (self, byte) {
            (Self::Url | Self::Form, b'%') => percent(text),
            (Self::Form, b'+') => Some(Unit::one(b' ', 1)),
            (Self::Json, b'\\') => backslash(text),
            (Self::None | Self::Url | Self::Form | Self::Json, byte) => Some(Unit::one(byte, 1)),
        }
    }
}

/// A character: what it stands for, and how much of the text it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    bytes: [u8; 4],
    count: usize,
    /// How many bytes of the text it takes.
    pub(super) takes: usize,
}

impl Unit {
    fn one(byte: u8, takes: usize) -> Self {
        Self { bytes: [byte, 0, 0, 0], count: 1, takes }
    }

    fn of(char: char, takes: usize) -> Self {
        let mut bytes = [0; 4];
        let count = char.encode_utf8(&mut bytes).len();
        Self { bytes, count, takes }
    }

    /// What it stands for.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

fn percent(text: &[u8]) -> Option<Unit> {
    let itself = Some(Unit::one(b'%', 1));
    match number(&text[1..], 2) {
        Number::Is(byte) => Some(Unit::one(u8::try_from(byte).unwrap_or_default(), 3)),
        Number::Open => None,
        Number::No => itself,
    }
}

fn backslash(text: &[u8]) -> Option<Unit> {
    let escaped = match text.get(1)? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        same @ (b'"' | b'\\' | b'/') => *same,
        b'u' => return unicode(text),
        _ => return Some(Unit::one(b'\\', 1)),
    };
    Some(Unit::one(escaped, 2))
}

/// `\u00e4`, or two of them for what does not fit into one.
fn unicode(text: &[u8]) -> Option<Unit> {
    let itself = Some(Unit::one(b'\\', 1));
    let first = match number(&text[2..], 4) {
        Number::Is(first) => first,
        Number::Open => return None,
        Number::No => return itself,
    };
    if let Some(char) = char::from_u32(first) {
        return Some(Unit::of(char, 6));
    }
    let behind = &text[6..];
    if !b"\\u".starts_with(&behind[..behind.len().min(2)]) {
        return itself;
    }
    if behind.len() < 2 {
        return None;
    }
    let second = match number(&behind[2..], 4) {
        Number::Is(second) => second,
        Number::Open => return None,
        Number::No => return itself,
    };
    match (first, second) {
        (0xd800..0xdc00, 0xdc00..0xe000) => {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).map(|char| Unit::of(char, 12)).or(itself)
        }
        _ => itself,
    }
}

/// What so many digits are.
enum Number {
    Is(u32),
    /// The text ends in the middle of them.
    Open,
    No,
}

fn number(text: &[u8], digits: usize) -> Number {
    let mut number = 0;
    for place in 0..digits {
        let Some(&byte) = text.get(place) else { return Number::Open };
        let Some(digit) = char::from(byte).to_digit(16) else { return Number::No };
        number = number << 4 | digit;
    }
    Number::Is(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(escapes: Escapes, mut text: &[u8]) -> Option<Vec<u8>> {
        let mut undone = Vec::new();
        while !text.is_empty() {
            let unit = escapes.first(text)?;
            undone.extend(unit.bytes());
            text = &text[unit.takes..];
        }
        Some(undone)
    }

    #[test]
    fn escapes_are_undone_and_what_is_none_stays() {
        for (escapes, text, expected) in [
            (Escapes::None, r"a%2fb\n+", r"a%2fb\n+"),
            (Escapes::Url, "a%2f%2Fb+%%41%zz", "a//b+%A%zz"),
            (Escapes::Form, "a+b%20c", "a b c"),
            (Escapes::Json, r#"\"\\\/\n\r\t\x"#, "\"\\/\n\r\t\\x"),
            (Escapes::Json, r"\u00e4\ud83d\ude00\u0041", "ä😀A"),
            (Escapes::Json, r"\ud83d\u0041\ud83dx\udc00zz", "\\ud83dA\\ud83dx\\udc00zz"),
        ] {
            let undone = undone(escapes, text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&undone), expected, "{escapes:?} {text}");
        }
    }

    #[test]
    fn what_is_cut_off_may_become_anything() {
        for (escapes, text) in [
            (Escapes::Url, "%"),
            (Escapes::Form, "%2"),
            (Escapes::Json, "\\"),
            (Escapes::Json, "\\u00"),
            (Escapes::Json, "\\ud83d"),
            (Escapes::Json, "\\ud83d\\"),
            (Escapes::Json, "\\ud83d\\ude0"),
        ] {
            assert_eq!(escapes.first(text.as_bytes()), None, "{text}");
        }
    }
}
