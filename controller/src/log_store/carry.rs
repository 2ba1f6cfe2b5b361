//! What a backup has to know of logs: which objects the index names, and whether bytes are those of an object.

use super::{index, segment::ObjectName};
use crate::store::{Entry, keys};

/// The object that holds the bytes of a segment, where the entry is of one and its bytes are not in it.
pub(crate) fn object_of(entry: &Entry) -> Option<String> {
    entry.key.starts_with(keys::LOGS).then(|| index::object_named(entry)).flatten()
}

/// Whether this is the name of an object, and these are its bytes.
pub(crate) fn is_object(name: &str, bytes: &[u8]) -> bool {
    ObjectName::parse(name).is_some_and(|name| name.fits(bytes).is_ok())
}
