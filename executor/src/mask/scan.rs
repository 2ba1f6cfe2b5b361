//! Finding the forms of values in a text that comes in pieces.
//!
//! A text is looked through from its start. Where one or more forms begin, the longest is replaced, and it goes on behind
//! that; else it goes on with the next byte. So what becomes of a byte depends on the text alone and not on the pieces
//! that it comes in, as long as nothing is decided before it is known how the text goes on: where it ends in what may
//! still become a form, it is *decided* only up to the first such place. From there on what follows is found as if the text
//! began there. That is what makes it possible to stop at such a place and go on with nothing in hand but the text
//! behind it.

use super::{
    escapes::Escapes,
    forms::{self, Forms},
};
use std::ops::Range;

/// How many characters may stand between two of base64: the end of a line.
const LINE_END: usize = 2;

/// What is looked for.
pub(super) struct Finder {
    plain: Forms,
    base64: Forms,
    /// A bit for each pair of bytes with which anything that is looked for may begin; empty where nothing is.
    begins: Box<[u64]>,
}

/// What was found in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Where forms are, in order.
    pub(super) places: Vec<Range<usize>>,
    /// Up to here nothing depends on what follows the text.
    pub(super) decided: usize,
}

/// What begins at one place.
#[derive(Clone, Copy, Default)]
struct Here {
    /// The length of the longest form, as it stands in the text; 0: there is none.
    longest: usize,
    /// A longer one may be there, if the text goes on so.
    open: bool,
    /// There may be escapes in what was looked at.
    escapes: bool,
}

impl Finder {
    /// Looks for all forms of these values.
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (plain, base64) = forms::of(values);
        let mut begins = vec![0; if plain.len() == 0 { 0 } else { (1 << 16) / 64 }];
        let mut may_begin = |first, second| {
            let pair = usize::from(u16::from_be_bytes([first, second]));
            begins[pair / 64] |= 1 << (pair % 64);
        };
        for form in plain.iter().chain(base64.iter()) {
            may_begin(form[0], form[1]);
            may_begin(form[0], b'\r');
            may_begin(form[0], b'\n');
            for escape in Escapes::BEGIN {
                may_begin(form[0], escape);
                (0..=u8::MAX).for_each(|second| may_begin(escape, second));
            }
        }
        Self { plain, base64, begins: begins.into() }
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.plain.len() == 0
    }

    /// Looks through a text, of which `is_end` says that nothing follows it.
    pub(super) fn find(&self, text: &[u8], is_end: bool) -> Found {
        let mut found = Found::default();
        if self.is_empty() {
            return Found { decided: text.len(), ..found };
        }
        while let Some(next) = self.next_beginning(text, found.decided) {
            found.decided = next;
            let here = self.here(&text[next..]);
            if here.open && !is_end {
                return found;
            }
            if here.longest > 0 {
                found.places.push(next..next + here.longest);
            }
            found.decided += here.longest.max(1);
        }
        found.decided = text.len();
        found
    }

    /// The next place at which something may begin.
    fn next_beginning(&self, text: &[u8], from: usize) -> Option<usize> {
        let pairs = text[from..].windows(2);
        let begins = |pair: &[u8]| {
            let pair = usize::from(u16::from_be_bytes([pair[0], pair[1]]));
            self.begins[pair / 64] >> (pair % 64) & 1 == 1
        };
        let found = pairs.map(begins).position(|begins| begins);
        // What the last byte begins is not known.
        found.map(|at| from + at).or_else(|| text.len().checked_sub(1).filter(|last| *last >= from))
    }

    /// The longest form with which a text begins.
    fn here(&self, text: &[u8]) -> Here {
        let mut here = self.under(Escapes::None, text);
        if here.escapes {
            for escapes in Escapes::SOME {
                let other = self.under(escapes, text);
                here.longest = here.longest.max(other.longest);
                here.open |= other.open;
            }
        }
        here
    }

    fn under(&self, escapes: Escapes, text: &[u8]) -> Here {
        let plain = walk(&self.plain, false, escapes, text);
        let base64 = walk(&self.base64, true, escapes, text);
        Here {
            longest: plain.longest.max(base64.longest),
            open: plain.open || base64.open,
            escapes: plain.escapes || base64.escapes,
        }
    }
}

/// Goes along a text for as long as there is a form that goes the same way. Base64 may be `folded`: in lines.
fn walk(forms: &Forms, folded: bool, escapes: Escapes, text: &[u8]) -> Here {
    let mut here = Here::default();
    let (mut low, mut high, mut depth) = (0, forms.len(), 0);
    let (mut at, mut line_end) = (0, 0);
    while low < high {
        let Some(unit) = escapes.first(&text[at..]) else {
            here.open = true;
            return here;
        };
        here.escapes |= Escapes::BEGIN.contains(&text[at]);
        at += unit.takes;
        if folded && depth > 0 && matches!(unit.bytes(), b"\r" | b"\n") && line_end < LINE_END {
            line_end += 1;
            continue;
        }
        line_end = 0;
        for &byte in unit.bytes() {
            (low, high) = forms.with(low, high, depth, byte);
            depth += 1;
            if low == high {
                return here;
            }
            // The shortest comes first, and none is there twice.
            if forms.at(low).len() == depth {
                here.longest = at;
                low += 1;
            }
        }
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str], text: &str, is_end: bool) -> (Vec<String>, usize) {
        let found = Finder::of(values.iter().copied()).find(text.as_bytes(), is_end);
        let texts = found.places.into_iter().map(|place| text[place].to_owned());
        (texts.collect(), found.decided)
    }

    fn all(values: &[&str], text: &str) -> Vec<String> {
        found(values, text, true).0
    }

    #[test]
    fn a_value_is_found_in_every_form() {
        let value = "S3cr3t/ä?& =\"x";
        for text in [
            "S3cr3t/ä?& =\"x",
            "S3cr3t%2F%C3%A4%3F%26%20%3D%22x",
            "S3cr3t/%c3%a4?&%20=%22x",
            "%533cr3t%2F%C3%A4%3F%26+%3D%22x",
            r#"S3cr3t/ä?& =\"x"#,
            r"S3cr3t\/\u00e4?\u0026 =\u0022x",
        ] {
            assert_eq!(all(&[value], &format!("a={text}; b={text}.")), [text, text]);
        }
        for before in ["", "u", "u:"] {
            let text = data_encoding::BASE64.encode(format!("{before}{value}::").as_bytes());
            let of_it = all(&[value], &text);
            assert!(of_it.len() == 1 && of_it[0].len() >= text.len() - 10, "{of_it:?} of {text}");
        }
    }

    #[test]
    fn base64_is_found_where_it_is_in_lines_and_where_it_is_escaped() {
        let value = "0123456789abcdefghijklmnopqrstuvwxyz?>?>";
        let text = data_encoding::BASE64.encode(value.as_bytes());
        let whole = text.trim_end_matches('=');
        assert!(whole.contains('/'));
        let whole = &whole[..value.len() * 8 / 6];
        for end in ["\n", "\r\n"] {
            let folded = format!("{}{end}{}{end}{}", &whole[..20], &whole[20..40], &whole[40..]);
            assert_eq!(all(&[value], &format!("a{folded}{end}b")), [folded]);
        }
        let escaped = whole.replace('/', "%2F");
        assert_eq!(all(&[value], &escaped), [escaped]);
        assert_eq!(all(&[value], &format!("{}\n\n\n{}", &whole[..20], &whole[20..])).len(), 0);
    }

    #[test]
    fn the_longest_form_is_taken_and_what_follows_is_looked_at_anew() {
        let values = ["password", "password-two", "two-three"];
        assert_eq!(all(&values, "password password-two-three"), ["password", "password-two"]);
        assert_eq!(found(&values, "is password-tw", false), (vec![], 3));
        assert_eq!(found(&values, "is password-tw", true), (vec!["password".to_owned()], 14));
        assert_eq!(found(&values, "is password-x", false), (vec!["password".to_owned()], 13));
    }

    #[test]
    fn only_what_may_become_a_form_is_held_back() {
        for (text, held) in
            [("nothing\n", 0), ("50%", 1), ("a\\", 1), ("no pass", 4), ("a%7", 2), ("a%7x", 0)]
        {
            assert_eq!(found(&["password"], text, false).1, text.len() - held, "{text}");
        }
    }

    #[test]
    fn where_there_is_nothing_to_look_for_nothing_is_found() {
        let finder = Finder::of(["1234567"]);
        assert!(finder.is_empty());
        assert_eq!(finder.find(b"1234567%", false).decided, 8);
    }
}
