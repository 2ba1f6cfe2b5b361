//! Looking for values that must lie nowhere: as they are, encoded, escaped, and within what is packed.
//!
//! A search that finds nothing shows nothing unless it would have found: whoever looks also plants a value that may be seen,
//! and looks for that.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXUPPER};
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::Read as _,
    iter,
    path::Path,
};
use zstd::stream::read::Decoder;

/// The least that is looked for: less would be found everywhere.
const LEAST: usize = 8;
/// So much of the beginning of a value says enough of it.
const BEGINNING: usize = 11;
/// How a frame of zstd begins.
const FRAME: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// No frame of ours holds more.
const LARGEST: u64 = 256 << 20;
/// Where the dictionaries are that the store packs its records with, and how their names begin.
const DICTIONARIES: (&str, &str) =
    (concat!(env!("CARGO_MANIFEST_DIR"), "/../controller/src/store"), "packed-");

/// Something that was kept or said.
#[derive(Clone, Debug)]
pub struct Place {
    /// What it is called: the path of a file, a key, a command.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl Place {
    /// What was said.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// What the value is called.
    pub value: String,
    /// In which form it is there.
    pub form: &'static str,
}

#[derive(Debug)]
struct Form {
    leak: Leak,
    bytes: Vec<u8>,
}

/// Values that are looked for together.
#[derive(Debug)]
pub struct Values {
    forms: Vec<Form>,
    /// Which forms begin so.
    by_head: HashMap<[u8; LEAST], Vec<usize>>,
    /// Whether a form begins with these three bytes. Nearly everywhere none does, and nothing else is looked at.
    begins: Vec<bool>,
    /// The first is none.
    dictionaries: Vec<Vec<u8>>,
}

impl Values {
    /// Looks for these, each with what it is called.
    ///
    /// # Panics
    ///
    /// If one is so short that it would be found everywhere.
    pub fn of<'a>(values: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut forms = Vec::new();
        for (name, value) in values {
            assert!(value.len() >= LEAST, "{name} is too short to be looked for");
            for (form, bytes) in self::forms(value) {
                forms.push(Form { leak: Leak { value: name.to_owned(), form }, bytes });
            }
        }
        let (mut by_head, mut begins) = (HashMap::<_, Vec<_>>::new(), vec![false; 1 << 24]);
        for (index, form) in forms.iter().enumerate() {
            let head = *form.bytes.first_chunk::<LEAST>().unwrap();
            by_head.entry(head).or_default().push(index);
            begins[three(&form.bytes)] = true;
        }
        Self { forms, by_head, begins, dictionaries: dictionaries() }
    }

    /// What these bytes hold.
    pub fn within(&self, bytes: &[u8]) -> BTreeSet<Leak> {
        let mut found = BTreeSet::new();
        self.look(bytes, &mut found);
        for frame in frames(bytes) {
            for dictionary in &self.dictionaries {
                self.look(&unpacked(frame, dictionary), &mut found);
            }
        }
        found
    }

    /// Those places that hold some, and what they hold.
    pub fn among<'a>(&self, places: &'a [Place]) -> Vec<(&'a str, BTreeSet<Leak>)> {
        let look = |place: &'a Place| {
            let mut found = self.within(&place.bytes);
            self.look(place.name.as_bytes(), &mut found);
            (place.name.as_str(), found)
        };
        places.iter().map(look).filter(|(_, found)| !found.is_empty()).collect()
    }

    fn look(&self, bytes: &[u8], found: &mut BTreeSet<Leak>) {
        let plain = unescaped(bytes);
        // JSON in JSON is escaped twice.
        let plainer = unescaped(&plain);
        for bytes in [
            bytes,
            &decoded_of_url(bytes, b'+'),
            &decoded_of_url(bytes, b' '),
            &without_blanks(&plain),
            &plain,
            &plainer,
        ] {
            self.look_at(bytes, found);
        }
    }

    // Plain loops here and below: tests are built without optimisation, and look at many megabytes.
    fn look_at(&self, bytes: &[u8], found: &mut BTreeSet<Leak>) {
        let mut at = 0;
        while at + LEAST <= bytes.len() {
            if self.begins[three(&bytes[at..])] {
                self.compare(&bytes[at..], found);
            }
            at += 1;
        }
    }

    fn compare(&self, bytes: &[u8], found: &mut BTreeSet<Leak>) {
        let head = bytes.first_chunk::<LEAST>().unwrap();
        for index in self.by_head.get(head).into_iter().flatten() {
            let form = &self.forms[*index];
            if bytes.starts_with(&form.bytes) {
                found.insert(form.leak.clone());
            }
        }
    }
}

fn three(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

/// In which forms a value is looked for. What is escaped is none of them: whoever looks undoes that.
fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("as it is", value.to_vec())];
    if value.len() > BEGINNING {
        forms.push(("its beginning", value[..BEGINNING].to_vec()));
    }
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<_> = lines.filter(|line| line.len() >= LEAST && *line != value).collect();
    forms.extend(lines.iter().map(|line| ("a line of it", line.to_vec())));
    for part in lines.into_iter().chain([value]) {
        for before in 0..3 {
            forms.push(("base64", base64(part, before, &BASE64_NOPAD)));
            forms.push(("base64 of URLs", base64(part, before, &BASE64URL_NOPAD)));
        }
        forms.push(("hexadecimal", HEXLOWER.encode(part).into()));
        forms.push(("hexadecimal", HEXUPPER.encode(part).into()));
        let numbers: Vec<_> = part.iter().map(u8::to_string).collect();
        // Blanks between them are taken away by whoever looks.
        forms.push(("a list of bytes", numbers.join(",").into()));
    }
    forms
}

/// The characters that depend on `value` alone where `before` bytes, or three more, or six, stand before it.
fn base64(value: &[u8], before: usize, encoding: &Encoding) -> Vec<u8> {
    let all = encoding.encode(&[&vec![0; before][..], value].concat());
    let (first, last) = ((8 * before).div_ceil(6), 8 * (before + value.len()) / 6);
    all[first..last].into()
}

/// What stands behind a backslash in Rust, JSON, YAML, C or a shell: the bytes that are meant, and how many characters it has.
fn escape(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let number = |digits: &[u8], radix| -> Option<u32> {
        u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()
    };
    let byte = |digits: &[u8], radix| Some(vec![u8::try_from(number(digits, radix)?).ok()?]);
    let character =
        |digits: &[u8]| Some(char::from_u32(number(digits, 16)?)?.to_string().into_bytes());
    Some(match text {
        [b'u', b'{', rest @ ..] => {
            let digits = rest.iter().take(LEAST).position(|byte| *byte == b'}')?;
            (character(&rest[..digits])?, digits + 3)
        }
        [b'u', rest @ ..] => (character(rest.get(..4)?)?, 5),
        [b'x', rest @ ..] => (byte(rest.get(..2)?, 16)?, 3),
        [b'0'..=b'3', b'0'..=b'7', b'0'..=b'7', ..] => (byte(&text[..3], 8)?, 3),
        [b'n', ..] => (vec![b'\n'], 1),
        [b'r', ..] => (vec![b'\r'], 1),
        [b't', ..] => (vec![b'\t'], 1),
        [b'0', ..] => (vec![0], 1),
        [same @ (b'"' | b'\'' | b'\\' | b'/'), ..] => (vec![*same], 1),
        _ => return None,
    })
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    replaced(
        text,
        |byte| byte == b'\\',
        |text| escape(&text[1..]).map(|(meant, length)| (meant, length + 1)),
    )
}

/// With what a `+` stands for there.
fn decoded_of_url(text: &[u8], plus: u8) -> Vec<u8> {
    let meant = |text: &[u8]| match text {
        [b'+', ..] => Some((vec![plus], 1)),
        [_, digits @ ..] => {
            let digits = str::from_utf8(digits.get(..2)?).ok()?;
            Some((vec![u8::from_str_radix(digits, 16).ok()?], 3))
        }
        [] => None,
    };
    replaced(text, |byte| byte == b'%' || byte == b'+', meant)
}

fn without_blanks(text: &[u8]) -> Vec<u8> {
    replaced(text, |byte| byte.is_ascii_whitespace(), |_| Some((Vec::new(), 1)))
}

/// A text in which something else is meant where such a byte stands: what, and instead of how many bytes.
fn replaced(
    text: &[u8],
    may_be: impl Fn(u8) -> bool,
    meant: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>,
) -> Vec<u8> {
    let (mut plain, mut from, mut at) = (Vec::with_capacity(text.len()), 0, 0);
    while at < text.len() {
        let found = if may_be(text[at]) { meant(&text[at..]) } else { None };
        if let Some((bytes, length)) = found {
            plain.extend_from_slice(&text[from..at]);
            plain.extend(bytes);
            from = at + length;
            at = from;
        } else {
            at += 1;
        }
    }
    plain.extend_from_slice(&text[from..]);
    plain
}

/// From where on a frame of zstd may be.
fn frames(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut behind = bytes;
    iter::from_fn(move || {
        while let Some(at) = behind.iter().position(|byte| *byte == FRAME[0]) {
            let frame = &behind[at..];
            behind = &frame[1..];
            if frame.starts_with(&FRAME) {
                return Some(frame);
            }
        }
        None
    })
}

/// What a frame holds, as far as it can be read: whatever stands behind its beginning, that is no frame, too.
fn unpacked(frame: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    if let Ok(frame) = Decoder::with_dictionary(frame, dictionary) {
        let _ = frame.single_frame().take(LARGEST).read_to_end(&mut all); // what was read counts
    }
    all
}

fn dictionaries() -> Vec<Vec<u8>> {
    let (folder, names) = DICTIONARIES;
    let mut all = vec![Vec::new()];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with(names) {
            all.push(fs::read(entry.path()).unwrap());
        }
    }
    assert!(all.len() > 1, "no dictionary is in {folder}");
    all
}

/// All files below a folder. One that goes meanwhile is left out.
pub fn files(folder: &Path) -> Vec<Place> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    let read =
                        fs::read(&path).map(|bytes| Place::new(path.to_string_lossy(), bytes));
                    found.extend(read);
                }
                Ok(_) | Err(_) => {} // whoever reads a FIFO waits for ever
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "pl4nted \"Zq/ä?&=+%\\ \nsecond-line €7";

    fn found(bytes: &[u8]) -> BTreeSet<Leak> {
        Values::of([("it", VALUE.as_bytes())]).within(bytes)
    }

    /// Between others, so that it begins anywhere.
    fn between(value: &[u8]) -> Vec<u8> {
        [b"\0\xff%\\before ", value, b" behind\\\xff"].concat()
    }

    #[test]
    fn a_value_is_found_in_each_form() {
        let by_hand = |byte: u8| match byte {
            b'\n' => r"\n".to_owned(),
            b'"' => r#"\""#.to_owned(),
            b'\\' => r"\\".to_owned(),
            byte if byte.is_ascii() => char::from(byte).to_string(),
            byte => format!(r"\{byte:03o}"),
        };
        let ascii = |c: char| match c {
            '"' | '\\' => format!(r"\{c}"),
            c if c.is_ascii_graphic() => c.to_string(),
            c => format!(r"\u{:04x}", u32::from(c)),
        };
        let percent = |byte: u8| format!("%{byte:02x}");
        let form = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let json = serde_json::to_string(VALUE).unwrap();
        let packed = |dictionary: &[u8]| {
            let mut packer = zstd::bulk::Compressor::with_dictionary(6, dictionary).unwrap();
            packer.compress(VALUE.as_bytes()).unwrap()
        };
        let cases: Vec<(&str, Vec<u8>)> = vec![
            ("as it is", VALUE.into()),
            ("a line", "second-line €7".into()),
            ("the beginning", VALUE[..BEGINNING].into()),
            ("percent", VALUE.bytes().map(percent).collect::<String>().into()),
            ("a form", VALUE.bytes().map(form).collect::<String>().into()),
            ("JSON", json.clone().into()),
            ("JSON in JSON", serde_json::to_string(&json).unwrap().into()),
            ("JSON in ASCII", VALUE.chars().map(ascii).collect::<String>().into()),
            ("Debug", format!("{VALUE:?}").into()),
            ("Debug in ASCII", VALUE.escape_default().to_string().into()),
            ("Debug of bytes", format!("{:?}", VALUE.as_bytes()).into()),
            ("bytes in ASCII", VALUE.as_bytes().escape_ascii().to_string().into()),
            ("C", VALUE.bytes().map(by_hand).collect::<String>().into()),
            ("hexadecimal", HEXLOWER.encode(VALUE.as_bytes()).into()),
            ("HEXADECIMAL", HEXUPPER.encode(VALUE.as_bytes()).into()),
            ("packed", packed(&[])),
            ("packed as the store does", packed(&dictionaries()[1])),
        ];
        for (what, bytes) in cases {
            assert!(!found(&bytes).is_empty(), "{what} alone");
            assert!(!found(&between(&bytes)).is_empty(), "{what}");
        }
    }

    #[test]
    fn base64_is_found_wherever_the_value_stands_in_it_and_over_the_ends_of_lines() {
        for before in 0..7 {
            let all = [&vec![b'-'; before][..], VALUE.as_bytes(), b"..."].concat();
            for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
                let encoded = encoding.encode(&all);
                assert!(!found(&between(encoded.as_bytes())).is_empty(), "{encoded}");
                let lines: Vec<_> = encoded.as_bytes().chunks(13).collect();
                assert!(!found(&lines.join(&b"\r\n"[..])).is_empty(), "{encoded}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let other = VALUE.replace('4', "5").replace("second", "sekond");
        for bytes in
            [other.as_bytes(), &VALUE.as_bytes()[..BEGINNING - 1], b"", b"%", b"\\", &FRAME]
        {
            assert_eq!(found(&between(bytes)), BTreeSet::new());
        }
        assert_eq!(found(&zstd::encode_all(other.as_bytes(), 3).unwrap()), BTreeSet::new());
    }

    #[test]
    fn places_are_told_by_their_names_which_are_looked_at_too() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), VALUE).unwrap();
        fs::write(folder.path().join("other"), "nothing").unwrap();
        fs::write(folder.path().join("second-line €7"), "nothing").unwrap();
        let values = Values::of([("it", VALUE.as_bytes())]);
        let files = files(folder.path());
        let among = values.among(&files);
        let mut names: Vec<_> =
            among.iter().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
        names.sort_unstable();
        assert_eq!((files.len(), names), (3, vec!["file", "second-line €7"]));
    }
}
