//! The page about the store: made from the table of the keys, so that it says what the code does.

use super::{
    backend::SCHEMA_VERSION,
    keys::{Backup, Kind, LAYOUT, Value},
};

/// `docs/store.md`.
pub fn page() -> String {
    let mut rows: Vec<String> = LAYOUT.iter().map(row).collect();
    rows.sort();
    format!("{BEFORE}{}\n{}", rows.join("\n"), after())
}

const BEFORE: &str = "\
# The store

All that a controller knows is in its store: the embedded one, a file in `data_dir`, or an etcd. Both hold the same
entries, keys and values of bytes, in the order of the keys' bytes; in an etcd each key has `etcd_prefix` before it. The
bytes of logs lie beside it ([logs.md](logs.md)). This page is made from the table in
`controller/src/store/keys.rs` by `cargo xtask docs`.

Who writes a key is the only one who does: five actors, each of its own, `Store` itself, and the controller when it
begins to lead. Nobody else may write there: what somebody changes by hand, a controller does not see until it starts
again, and may overwrite.

## Keys

An id is 26 characters that sort by time; its complement sorts the other way. Parts of keys that are callers' texts
have `%`, `/` and NUL as `%25`, `%2f` and `%00`.

| key | holds | written by | value | in a backup |
| --- | --- | --- | --- | --- |
";

fn row(kind: &Kind) -> String {
    let Kind { key, then, about, writer, value, backup } = kind;
    let value = match value {
        Value::Empty => "empty",
        Value::Text => "text",
        Value::Json => "JSON",
        Value::JsonPacked => "JSON, packed",
        Value::JsonPackedSealed => "JSON, packed, and sealed in it the values of arguments",
        Value::Protobuf => "protobuf",
        Value::ProtobufSealed => "protobuf, and sealed in it a value",
        Value::Sealed => "sealed",
    };
    let backup = match backup {
        Backup::Kept => "as it is",
        Backup::LeftOut => "left out",
        Backup::Raised => "put back higher",
    };
    let then = if then.is_empty() { String::new() } else { format!(" {then}") };
    let about = about.trim().replace('|', "\\|");
    format!("| `{key}`{then} | {about} | {writer} | {value} | {backup} |")
}

fn after() -> String {
    format!(
        "
## Values

- **JSON** records have fields by name. A field that a later version adds has a default where it is missing, so that
  records of earlier versions are read as they are; a record is written anew only when it changes.
- **packed** is what there is much of: a byte that says which dictionary, the size as JSON in four bytes, the lowest first,
  and a zstd frame. A dictionary is a file in the source that is never changed, for the first
  `controller/src/store/packed-1.json`; so a final execution with its log takes less than 1 KiB in all its keys. JSON as it is
  stays readable in the same place.
- **protobuf** messages have fields by number, and numbers are never used twice.
- **sealed** is ciphertext: each value under a data key of its own, and that under the master key, which is
  `master.key` in `data_dir` and never in the store. What is sealed opens at its own key alone.

## Versions

`v1/schema` is the version of this layout: {SCHEMA_VERSION}. Whoever opens a store looks at it before anything else. A
controller refuses a store of a newer version by name and leaves it as it is; so an older standby of an etcd does not
lead once a newer controller has changed the layout, and says why. A release that changes the layout raises the version, and whoever leads then
changes the entries before it serves: in batches that may be repeated, the version last. Entries whose meaning does not
change need none of that.

What opens a store that is empty makes `v1/schema` and `v1/store-id`, both in one transaction. A prefix of an etcd, or a
file, that has other keys and no version is somebody else's, and is left alone.

## Batches

Each write to the store is a transaction that compares and rewrites `v1/seq`, so that a batch which is sent twice
lands once; where controllers are elected, it also compares `v1/leader` with what its sender wrote there, so that one
who was deposed writes nothing.

## In a backup

`controller backup` takes all keys of one moment, but for those that belong to the place; [backups.md](backups.md)
says how it is used. Three kinds of keys are not put back as they were:

- **left out** is what another place has of its own: its id, its batches, who leads there. The version stands in the
  head of the backup.
- **`v1/term`** gets a higher generation. Executors obey the highest term that they have seen: a controller that was
  forgotten, and still runs on the old store, is not heard any more.
- **`v1/session`** goes up by a million, so that no session that was given out after the backup is given to somebody
  else.
"
    )
}

#[cfg(test)]
mod tests {
    use super::{super::keys, *};

    #[test]
    fn every_key_has_one_kind_and_its_row() {
        let page = page();
        for kind in LAYOUT {
            assert!(kind.key.starts_with(keys::ALL), "{kind:?}");
            assert!(page.contains(&format!("\n| `{}`", kind.key)), "{kind:?}");
            assert_eq!(kind.key.ends_with('/'), !kind.then.is_empty(), "{kind:?}");
            let key = format!("{}{}", kind.key, if kind.then.is_empty() { "" } else { "x/y" });
            assert_eq!(keys::kind(&key), Some(kind), "{key} is of two kinds");
            assert_eq!(LAYOUT.iter().filter(|other| other.key == kind.key).count(), 1);
        }
        assert_eq!(keys::kind("v1/other/x"), None);
    }
}
