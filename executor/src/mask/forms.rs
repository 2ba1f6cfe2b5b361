//! In which forms a value is looked for: as it is, line by line, and in base64.
//!
//! What is escaped, as in a URL or in JSON, is no form of its own: whoever looks undoes the escapes ([`super::escapes`]).

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// The least that is looked for: less would be found everywhere, and what stands in its place would be longer than it.
pub(super) const LEAST: usize = super::MASK.len();

/// The most that is looked for at once. A longer form is looked for in parts of at most so much, each replaced by itself:
/// what it takes to look at one byte of a log is bounded by this.
const MOST: usize = 512;

/// What is looked for, in its order.
#[derive(Default)]
pub(super) struct Forms(Vec<SecretSlice<u8>>);

/// Collects what is looked for of some values: plain, and in base64.
pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> (Forms, Forms) {
    let (mut plain, mut base64) = (Vec::new(), Vec::new());
    for part in values.into_iter().flat_map(parts) {
        plain.extend(blocks(part));
        for before in 0..3 {
            for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
                let encoded = encoded(part, before, encoding);
                base64.extend(blocks(encoded.expose_secret()));
            }
        }
    }
    (Forms::sorted(plain), Forms::sorted(base64))
}

/// The value and its lines, without the blanks around them: whoever prints it often leaves them out.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    std::iter::once(value)
        .chain(value.lines())
        .filter_map(|part| [part.trim_ascii(), part].into_iter().find(|part| part.len() >= LEAST))
}

/// The characters of base64 that depend on `value` alone where `before` bytes stand before it, of which there are three
/// cases. Of eight bytes these are ten.
fn encoded(value: &str, before: usize, encoding: &Encoding) -> SecretString {
    let mut padded = vec![0; before];
    padded.extend(value.as_bytes());
    let padded = SecretSlice::from(padded);
    let all = SecretString::from(encoding.encode(padded.expose_secret()));
    // Each has six bits.
    let (first, last) = ((8 * before).div_ceil(6), 8 * (before + value.len()) / 6);
    SecretString::from(&all.expose_secret()[first..last])
}

/// Parts of nearly the same length, so that the last is not too short.
fn blocks(form: &str) -> Vec<SecretSlice<u8>> {
    let length = form.len().div_ceil(form.len().div_ceil(MOST).max(1));
    let (mut blocks, mut rest) = (Vec::new(), form);
    while !rest.is_empty() {
        let end = (length..rest.len()).find(|end| rest.is_char_boundary(*end));
        let (block, behind) = rest.split_at(end.unwrap_or(rest.len()));
        blocks.push(SecretSlice::from(block.as_bytes().to_vec()));
        rest = behind;
    }
    blocks
}

impl Forms {
    fn sorted(mut forms: Vec<SecretSlice<u8>>) -> Self {
        forms.sort_by(|one, other| one.expose_secret().cmp(other.expose_secret()));
        forms.dedup_by(|one, other| one.expose_secret() == other.expose_secret());
        Self(forms)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|form| form.expose_secret())
    }

    /// The one at this place of the order.
    pub(super) fn at(&self, place: usize) -> &[u8] {
        self.0[place].expose_secret()
    }

    /// Those of `low..high` that have `byte` next: some, which agree in their first `depth` bytes and have more.
    pub(super) fn with(&self, low: usize, high: usize, depth: usize, byte: u8) -> (usize, usize) {
        let next = |form: &SecretSlice<u8>| form.expose_secret()[depth];
        let range = &self.0[low..high];
        if next(&range[0]) == byte && next(&range[range.len() - 1]) == byte {
            return (low, high); // often there is only one left
        }
        let below = range.partition_point(|form| next(form) < byte);
        let equal = range[below..].partition_point(|form| next(form) == byte);
        (low + below, low + below + equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(forms: &Forms) -> Vec<&str> {
        forms.iter().map(|form| str::from_utf8(form).unwrap()).collect()
    }

    #[test]
    fn lines_are_parts_and_short_ones_are_not() {
        let (plain, _) = of([" first line\nshort\r\n  second line\n"]);
        let whole = "first line\nshort\r\n  second line";
        assert_eq!(texts(&plain), ["first line", whole, "second line"]);
        let (plain, base64) = of(["1234567", ""]);
        assert_eq!((plain.len(), base64.len()), (0, 0));
        let (plain, _) = of(["   abc   "]);
        assert_eq!(texts(&plain), ["   abc   "], "without its blanks it is too short");
    }

    #[test]
    fn a_long_value_is_looked_for_in_parts_that_are_not_too_short() {
        let value: String = ('a'..='ÿ').cycle().take(20_000).collect();
        let blocks: Vec<String> = blocks(&value)
            .iter()
            .map(|block| str::from_utf8(block.expose_secret()).unwrap().to_owned())
            .collect();
        assert_eq!(blocks.concat(), value);
        assert!(blocks.iter().all(|block| (MOST / 2..MOST + 4).contains(&block.len())));
        let (plain, base64) = of([value.as_str()]);
        assert_eq!(plain.len(), blocks.len());
        assert!(base64.iter().all(|form| (LEAST..=MOST).contains(&form.len())));
    }

    proptest! {
        /// Whatever stands beside it: what is left out are the characters at the seams.
        #[test]
        fn base64_holds_the_form_wherever_the_value_stands(
            before in prop::collection::vec(any::<u8>(), 0..7),
            value in "[ -~ä]{8,40}",
            behind in prop::collection::vec(any::<u8>(), 0..7),
        ) {
            let all = [&before[..], value.as_bytes(), &behind].concat();
            for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
                let form = encoded(&value, before.len() % 3, encoding);
                let form = form.expose_secret();
                prop_assert!(form.len() >= value.len() * 8 / 6 - 1 && form.len() > LEAST);
                let encoded = encoding.encode(&all);
                prop_assert!(encoded.contains(form), "{form} is not in {encoded}");
            }
        }
    }
}
