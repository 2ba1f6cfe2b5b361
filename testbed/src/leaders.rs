//! Who led when what was written, by what etcd has kept of it.

use crate::etcd::{Change, Etcd, History};
use serde_json::Value;
use std::collections::BTreeSet;

/// Who leads, and the batches that leaders wrote.
const LEADER: &str = "octavius/v1/leader";
const BATCHES: &str = "octavius/v1/seq";

/// What came of a look at all that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How many batches were written.
    pub batches: usize,
    /// How many lives of controllers wrote some.
    pub leaders: usize,
    /// All that must not be so: a batch of somebody who did not lead at that moment, a batch that is not the one after
    /// the last, a lead that was taken from somebody who held it.
    pub wrong: Vec<String>,
}

/// All that controllers wrote to an etcd, as far as it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Record {
    leader: History,
    batches: History,
}

impl Record {
    /// Looks at what came since. What was looked at may have been compacted.
    ///
    /// # Errors
    ///
    /// What etcd says: for example that it has forgotten some of it.
    pub async fn go_on(&mut self, etcd: &Etcd) -> Result<(), String> {
        etcd.go_on(LEADER, &mut self.leader).await?;
        etcd.go_on(BATCHES, &mut self.batches).await
    }

    /// Up to here etcd may forget.
    #[must_use]
    pub fn until(&self) -> i64 {
        self.leader.until.min(self.batches.until)
    }

    /// What came of it.
    #[must_use]
    pub fn judged(&self) -> Judged {
        judge(&self.leader.changes, &self.batches.changes)
    }
}

/// Looks at all that controllers wrote to this etcd. Nothing must have been compacted.
///
/// # Errors
///
/// What etcd says: for example that it has forgotten some of it.
pub async fn look(etcd: &Etcd) -> Result<Judged, String> {
    let mut record = Record::default();
    record.go_on(etcd).await?;
    Ok(record.judged())
}

fn judge(leader: &[Change], batches: &[Change]) -> Judged {
    let mut wrong = Vec::new();
    let mut wrote = BTreeSet::new();
    let mut changes = leader.iter().peekable();
    let (mut leads, mut last) = (None::<String>, 0_u64);
    for batch in batches {
        while let Some(change) = changes.next_if(|change| change.revision <= batch.revision) {
            let next = change.value.as_deref().map(life);
            if let (Some(was), Some(next)) = (&leads, &next) {
                wrong.push(format!("{next} took the lead from {was} at {}", change.revision));
            }
            leads = next;
        }
        let text = String::from_utf8_lossy(batch.value.as_deref().unwrap_or_default());
        let mut words = text.split(' ');
        let number = words.next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let by = words.nth(1).unwrap_or_default().to_owned();
        if leads.as_ref() != Some(&by) {
            let revision = batch.revision;
            wrong.push(format!("batch `{text}` at {revision} was written while {leads:?} led"));
        }
        if number != last + 1 {
            wrong.push(format!("batch `{text}` was written after batch {last}"));
        }
        wrote.insert(by);
        last = number;
    }
    Judged { batches: batches.len(), leaders: wrote.len(), wrong }
}

fn life(record: &[u8]) -> String {
    let record: Value = serde_json::from_slice(record).unwrap_or_default();
    record["life"].as_str().unwrap_or("nobody who says who it is").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: i64, value: &str) -> Change {
        Change { revision, value: Some(value.as_bytes().to_vec()) }
    }

    fn leads(revision: i64, life: &str) -> Change {
        change(revision, &serde_json::json!({ "life": life }).to_string())
    }

    #[test]
    fn batches_of_who_leads_are_right() {
        let leader = [leads(1, "a"), Change { revision: 4, value: None }, leads(5, "b")];
        let batches = [change(2, "1 x a"), change(3, "2 x a"), change(6, "3 y b")];
        let right = Judged { batches: 3, leaders: 2, wrong: Vec::new() };
        assert_eq!(judge(&leader, &batches), right);
    }

    #[test]
    fn a_batch_of_anybody_else_is_wrong_and_so_is_one_that_is_lost_or_said_twice() {
        let gone = Change { revision: 4, value: None };
        let leader = [leads(1, "a"), gone, leads(6, "b")];
        let wrong = |batches: &[Change]| judge(&leader, batches).wrong.len();
        assert_eq!(wrong(&[change(2, "1 x a"), change(5, "2 x a")]), 1, "nobody led");
        assert_eq!(wrong(&[change(2, "1 x a"), change(7, "2 x a")]), 1, "another one led");
        assert_eq!(wrong(&[change(2, "1 x b")]), 1, "it led later");
        assert_eq!(wrong(&[change(2, "1 x a"), change(3, "1 x a")]), 1, "twice");
        assert_eq!(wrong(&[change(2, "1 x a"), change(3, "3 x a")]), 1, "one is lost");
        assert_eq!(wrong(&[change(2, "1")]), 1, "nobody's");
    }

    #[test]
    fn a_lead_that_was_taken_from_its_holder_is_wrong() {
        let leader = [leads(1, "a"), leads(3, "b")];
        let wrong = judge(&leader, &[change(2, "1 x a"), change(4, "2 y b")]).wrong;
        assert!(matches!(&wrong[..], [why] if why.contains("b took the lead from a")), "{wrong:?}");
    }
}
