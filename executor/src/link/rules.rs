//! Which answers count, and what a failed call means.

/// Which controller gave an answer: compared by generation, then by revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// Grows when the store is restored from a backup.
    pub generation: u64,
    /// Grows whenever a controller begins to lead.
    pub revision: u64,
}

/// Remembers the highest term that was seen: a deposed controller is not obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TermGate {
    highest: Term,
}

impl TermGate {
    /// Whether an answer of this term counts. One of a lower term is to be ignored as if it had not come.
    pub fn admits(&mut self, term: Term) -> bool {
        let admitted = term >= self.highest;
        self.highest = self.highest.max(term);
        admitted
    }

    /// The highest term that was seen.
    pub fn highest(&self) -> Term {
        self.highest
    }
}

/// What a status code means for who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The session is gone: register again.
    SessionGone,
    /// Asking again changes nothing until somebody changes something.
    Refused,
    /// It may work later.
    Later,
}

/// What a gRPC status code, by its number, means.
pub fn meaning(code: i32) -> Meaning {
    match code {
        9 => Meaning::SessionGone,
        // INVALID_ARGUMENT, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED.
        3 | 5 | 6 | 7 | 12 | 16 => Meaning::Refused,
        _ => Meaning::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_an_ending_controller_did_not_take_may_work_later() {
        // CANCELLED is what a call gets that was not sent any more, UNAVAILABLE what was refused or had no connection.
        for code in [1, 14] {
            assert_eq!(meaning(code), Meaning::Later, "{code}");
        }
    }

    fn terms() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0u64..4, 0u64..4), 1..40)
    }

    proptest! {
        #[test]
        fn no_answer_is_obeyed_after_one_of_a_higher_term(terms in terms()) {
            let mut gate = TermGate::default();
            let mut obeyed = Vec::new();
            for (generation, revision) in terms {
                let term = Term { generation, revision };
                if gate.admits(term) {
                    obeyed.push((generation, revision));
                }
                prop_assert!(gate.highest() >= term);
            }
            prop_assert!(obeyed.is_sorted());
        }

        #[test]
        fn whoever_leads_is_always_obeyed(terms in terms()) {
            let mut gate = TermGate::default();
            let (generation, revision) = *terms.iter().max().unwrap();
            for (generation, revision) in terms {
                gate.admits(Term { generation, revision });
            }
            let leader = Term { generation, revision };
            prop_assert!(gate.admits(leader) && gate.admits(leader));
        }
    }
}
