//! Who asks. Made at the door alone, and handed on in each message, so that whoever decides knows for whom.

/// Who asks, and what the caller belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: String,
    groups: Vec<String>,
}

impl Caller {
    /// Only the door makes callers, and tests.
    pub(crate) fn new(name: impl Into<String>, groups: Vec<String>) -> Self {
        Self { name: name.into(), groups }
    }

    /// The name that is stored and shown: at most 256 bytes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller's groups. Empty as long as nobody vouches for any.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}
