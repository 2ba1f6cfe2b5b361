//! How a log ended, and why it is not whole.

use super::{LogInfo, middle::LeftOut, rules::Point};

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) size: u64,
    pub(super) crc: u64,
    /// Why it is not whole, beside what is left out of its middle; empty where it is.
    pub(super) cut: String,
    /// What is left out of its middle.
    pub(super) left_out: Option<LeftOut>,
}

impl End {
    /// The same of a log that has come further, and is not whole yet.
    pub(super) fn moved_to(&self, until: &Point) -> Self {
        Self { size: until.offset, crc: until.crc, ..self.clone() }
    }

    pub(super) fn info(&self) -> LogInfo {
        LogInfo { size: self.size, closed: true, cut: in_words(self.left_out, &self.cut) }
    }
}

/// Why a log is not whole, in one text; empty where it is.
pub(super) fn in_words(left_out: Option<LeftOut>, cut: &str) -> String {
    let middle = left_out.map(|left_out| left_out.cut());
    let parts: Vec<_> =
        middle.as_deref().into_iter().chain(Some(cut).filter(|cut| !cut.is_empty())).collect();
    parts.join("; ")
}
