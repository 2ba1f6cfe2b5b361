//! Numbers of bytes as people write them: `64MiB`, `1GiB`.

use super::Setting;
use serde_json::Value;

/// A number of bytes: `1073741824`, `"64MiB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl Setting for Bytes {
    fn wanted() -> String {
        "a number of bytes, or text like `64MiB` or `1GiB`".to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let wrong = || format!("give {}", Self::wanted());
        if let Some(bytes) = value.as_u64() {
            return Ok(Self(bytes));
        }
        let text = value.as_str().map(str::trim).ok_or_else(wrong)?;
        let read = UNITS.iter().find_map(|(unit, bytes)| {
            let number = text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?;
            number.checked_mul(*bytes)
        });
        read.map(Self).ok_or_else(wrong)
    }

    fn shown(&self) -> String {
        let whole = |bytes: u64| self.0 >= bytes && self.0.is_multiple_of(bytes);
        let unit = UNITS.iter().find(|(_, bytes)| whole(*bytes));
        unit.map_or_else(|| self.0.to_string(), |(unit, bytes)| format!("{}{unit}", self.0 / bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        let read = |text: &str| Bytes::from_value(&Value::from(text)).ok();
        assert_eq!(read("64MiB"), Some(Bytes(64 << 20)));
        assert_eq!(read("1 GiB"), Some(Bytes(1 << 30)));
        assert_eq!(read("17"), Some(Bytes(17)));
        for wrong in ["", "many", "-1", "1XB", "99999999999GiB"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        for bytes in [0, 17, 1 << 10, 3 << 20, 1 << 30] {
            assert_eq!(read(&Bytes(bytes).shown()), Some(Bytes(bytes)));
        }
    }
}
