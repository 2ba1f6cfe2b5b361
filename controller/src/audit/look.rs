//! What administrators see of the audit: the newest first, a page at a time.

use super::{
    AuditError, AuditHandle,
    entry::{newest_before, oldest_since, read},
};
use crate::store::{Range, keys};
use jiff::Timestamp;
use octavius_protocol::v1;

/// How many entries one call looks at, at the most: of what nobody is looking for there may be much.
pub(super) const MOST_LOOKED_AT: usize = 5_000;
/// How many are read at a time.
const AT_ONCE: usize = 500;

/// Which entries are wanted; what is empty or none wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Those of who has this name.
    pub by: String,
    /// Those about this job.
    pub job: String,
    /// Those about this execution.
    pub execution: String,
    /// Those of then or later.
    pub since: Option<Timestamp>,
    /// Those of before.
    pub until: Option<Timestamp>,
    /// Only what was refused.
    pub refused: bool,
}

impl Wanted {
    fn fits(&self, entry: &v1::AuditEntry) -> bool {
        let is = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
        is(&self.by, &entry.by)
            && is(&self.job, &entry.job)
            && is(&self.execution, &entry.execution)
            && (!self.refused || !entry.refused.is_empty())
    }

    /// Where they lie.
    fn range(&self) -> Range {
        let all = Range::prefix(keys::AUDIT, AT_ONCE);
        Range {
            start: self.until.map_or(all.start, newest_before),
            end: self.since.map_or(all.end, |since| format!("{}\0", oldest_since(since))),
            limit: AT_ONCE,
        }
    }
}

/// A page of entries, the newest first. It may be empty where there are more.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<v1::AuditEntry>,
    /// Where each of them lies, to go on behind it.
    pub tokens: Vec<String>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

impl AuditHandle {
    /// Entries behind the page that ended with `page_token`.
    pub async fn list(
        &self,
        wanted: &Wanted,
        most: usize,
        page_token: &str,
    ) -> Result<AuditPage, AuditError> {
        let mut range = wanted.range();
        if !page_token.is_empty() {
            let is_ours = page_token.len() == 32
                && page_token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_ours {
                return Err(AuditError::PageToken(page_token.chars().take(80).collect()));
            }
            let start = format!("{}{page_token}\0", keys::AUDIT);
            range.start = range.start.max(start);
        }
        let mut page = AuditPage::default();
        let mut looked_at = 0;
        loop {
            let found = self.store.range(range.clone()).await?;
            let mut last = String::new();
            for entry in found.entries {
                last.clone_from(&entry.key);
                looked_at += 1;
                let Some(read) = read(&entry).filter(|read| wanted.fits(read)) else { continue };
                page.entries.push(read);
                page.tokens.push(token(&entry.key));
                if page.entries.len() >= most {
                    page.next_page_token = token(&entry.key);
                    return Ok(page);
                }
            }
            if !found.more {
                return Ok(page);
            }
            if looked_at >= MOST_LOOKED_AT {
                page.next_page_token = token(&last);
                return Ok(page);
            }
            range = range.after(&last);
        }
    }
}

fn token(key: &str) -> String {
    key.strip_prefix(keys::AUDIT).unwrap_or_default().to_owned()
}
