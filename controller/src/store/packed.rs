//! JSON as it lies in the store where there is much of it: packed, with a dictionary of what such records have in common.
//!
//! A value is one byte that says which dictionary, its size as JSON in four, and a zstd frame. JSON as it is is a value as
//! well: it begins with `{`, and what packing would not make smaller stays so. A dictionary is never changed: what was
//! packed with it needs it for ever. Another one gets another number.

use bytes::Bytes;
use std::{borrow::Cow, cell::RefCell, io, sync::LazyLock};
use zstd::{
    bulk::{Compressor, Decompressor},
    dict::{DecoderDictionary, EncoderDictionary},
};

/// Records of executions as they were when this dictionary was made: what is most frequent is last.
const DICTIONARY: &[u8] = include_bytes!("packed-1.json");
/// Its number.
const NUMBER: u8 = 1;
const LEVEL: i32 = 6;
/// What stands before the frame.
const HEAD: usize = 5;
/// More than a record has.
const MOST: usize = 16 << 20;

static PACKING: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, LEVEL));
static UNPACKING: LazyLock<DecoderDictionary<'static>> =
    LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

thread_local! {
    // To make them for each record took a twelfth of a busy controller's time.
    static PACKER: io::Result<RefCell<Compressor<'static>>> =
        Compressor::with_prepared_dictionary(&PACKING).map(RefCell::new);
    static UNPACKER: io::Result<RefCell<Decompressor<'static>>> =
        Decompressor::with_prepared_dictionary(&UNPACKING).map(RefCell::new);
}

/// What zstd answers with this thread's context, or why there is none.
fn with<C, T>(
    context: &io::Result<RefCell<C>>,
    call: impl FnOnce(&mut C) -> io::Result<T>,
) -> io::Result<T> {
    match context {
        Ok(context) => call(&mut context.borrow_mut()),
        Err(why) => Err(io::Error::new(why.kind(), why.to_string())),
    }
}

/// A JSON document as it is stored.
pub fn pack(json: Vec<u8>) -> Bytes {
    let packed = PACKER.with(|packer| with(packer, |packer| packer.compress(&json)));
    match (packed, u32::try_from(json.len())) {
        (Ok(frame), Ok(size)) if frame.len() + HEAD < json.len() => {
            let mut value = Vec::with_capacity(HEAD + frame.len());
            value.push(NUMBER);
            value.extend(size.to_le_bytes());
            value.extend(frame);
            value.into()
        }
        (Ok(_) | Err(_), _) => json.into(),
    }
}

/// The JSON document that a value is.
pub fn unpack(value: &[u8]) -> io::Result<Cow<'_, [u8]>> {
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    match value {
        [NUMBER, a, b, c, d, frame @ ..] => {
            let size = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            if size > MOST {
                return Err(wrong("it says that it is too large"));
            }
            let json = UNPACKER
                .with(|unpacker| with(unpacker, |unpacker| unpacker.decompress(frame, size)))?;
            if json.len() != size {
                return Err(wrong("it is not as large as it says"));
            }
            Ok(Cow::Owned(json))
        }
        _ => Ok(Cow::Borrowed(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str =
        r#"{"id":"0","job":"hello","history":[["pending","2026-11-28T17:40:00Z"]]}"#;

    #[test]
    fn what_was_packed_is_unpacked_and_json_is_what_it_is() {
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000));
        for json in [RECORD, "{}", "", &long] {
            let packed = pack(json.as_bytes().to_vec());
            assert!(packed.len() <= json.len());
            assert_eq!(unpack(&packed).unwrap(), json.as_bytes());
            assert_eq!(unpack(json.as_bytes()).unwrap(), json.as_bytes());
        }
        assert_eq!(pack(RECORD.as_bytes().to_vec())[0], NUMBER);
    }

    #[test]
    fn a_damaged_value_is_an_error() {
        let packed = pack(RECORD.as_bytes().to_vec());
        for end in HEAD..packed.len() {
            assert!(unpack(&packed[..end]).is_err(), "cut at {end}");
        }
        for size in [0, 1, u32::MAX] {
            let mut other = packed.to_vec();
            other[1..HEAD].copy_from_slice(&size.to_le_bytes());
            assert!(unpack(&other).is_err(), "{size}");
        }
        assert_eq!(unpack(&packed).unwrap(), RECORD.as_bytes(), "the next one suffers");
    }

    /// Stores hold what was packed with it.
    #[test]
    fn the_dictionary_is_the_one_that_it_was() {
        let sum = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(DICTIONARY);
        assert_eq!(format!("{sum:016x}"), "c104fab604e27315");
    }
}
