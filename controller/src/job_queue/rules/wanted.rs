//! Which executions somebody wants to see, and from where a list goes on.

use super::super::record::{Record, Step};
use octavius_protocol::id::{ExecutionId, ExecutorId, JobName};

/// A stretch of executions by their ids, which are in the order of submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Only those before this one; none: from the newest on.
    pub before: Option<ExecutionId>,
    /// None older than this one; none: to the oldest.
    pub from: Option<ExecutionId>,
}

impl Span {
    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let before = [self.before, other.before].into_iter().flatten().min();
        Self { before, from: self.from.max(other.from) }
    }

    /// Whether this one is in it.
    pub fn has(&self, id: ExecutionId) -> bool {
        self.before.is_none_or(|before| id < before) && self.from.is_none_or(|from| id >= from)
    }

    /// Whether nothing can be in it.
    pub fn is_empty(self) -> bool {
        let newest_of_all = ExecutionId::from_bytes([u8::MAX; 16]);
        self.from.is_some_and(|from| self.before.unwrap_or(newest_of_all) <= from)
    }
}

/// The executions that somebody wants; what is empty wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this job.
    pub job: Option<JobName>,
    /// Only those that this user submitted.
    pub user: Option<String>,
    /// Only those that this executor holds, or held last.
    pub executor: Option<ExecutorId>,
    /// Only those in one of these states.
    pub states: Vec<Step>,
    /// Only those that were submitted in this stretch.
    pub span: Span,
    /// Only those whose ids begin or end with this text.
    pub part: Option<String>,
}

impl Wanted {
    /// Whether this one is wanted, its place in the list and the part of its id aside.
    pub fn takes(&self, record: &Record) -> bool {
        self.job.as_ref().is_none_or(|job| record.job == *job)
            && self.user.as_ref().is_none_or(|user| record.user == *user)
            && self
                .executor
                .as_ref()
                .is_none_or(|executor| record.executor.as_ref() == Some(executor))
            && (self.states.is_empty() || self.states.contains(&record.attempt.state.into()))
    }

    /// Whether a live one can be wanted.
    pub fn may_be_live(&self) -> bool {
        self.states.is_empty() || self.states.iter().any(|step| !matches!(step, Step::Ended(_)))
    }

    /// Whether a final one can be wanted.
    pub fn may_be_final(&self) -> bool {
        self.states.is_empty() || self.states.iter().any(|step| matches!(step, Step::Ended(_)))
    }

    /// The searches that find what is wanted from `place` on, in their order. Those whose ids begin with a part are one
    /// stretch; those that end with it may be anywhere.
    pub fn searches(&self, place: Place) -> Vec<Search> {
        let rest = |before| Span { before, from: None }.and(self.span);
        let Some(part) = &self.part else {
            let before = match place {
                Place::Start => None,
                Place::Beginnings(id) | Place::Rest(id) => Some(id),
            };
            return vec![Search { span: rest(before), ending: None, place: Place::Rest }];
        };
        let beginnings = |before| {
            let stretch = ExecutionId::beginning_with(part)
                .map(|(first, behind)| Span { before: behind, from: Some(first) });
            let span = stretch.map(|stretch| stretch.and(rest(before)));
            span.map(|span| Search { span, ending: None, place: Place::Beginnings })
        };
        let endings =
            |before| Search { span: rest(before), ending: Some(part.clone()), place: Place::Rest };
        match place {
            Place::Start => beginnings(None).into_iter().chain([endings(None)]).collect(),
            Place::Beginnings(id) => {
                beginnings(Some(id)).into_iter().chain([endings(None)]).collect()
            }
            Place::Rest(id) => vec![endings(Some(id))],
        }
    }

    /// The token of the page behind one that ends with `id`, which is in it.
    pub fn token_behind(&self, id: &str) -> String {
        let begins = self.part.as_ref().is_some_and(|part| id.starts_with(part));
        if begins { format!("{BEGINNINGS}{id}") } else { id.to_owned() }
    }
}

/// A look for executions in one stretch.
#[derive(Clone, Debug)]
pub struct Search {
    /// Which stretch.
    pub span: Span,
    /// Only those whose ids end with this, and do not begin with it: those were in the search before.
    pub ending: Option<String>,
    /// What a page that ends in this search goes on with.
    pub place: fn(ExecutionId) -> Place,
}

impl Search {
    /// Whether this id is looked for.
    pub fn takes(&self, id: ExecutionId) -> bool {
        let Some(ending) = &self.ending else { return true };
        let id = id.to_string();
        id.ends_with(ending) && !id.starts_with(ending)
    }
}

/// Marks the tokens of pages that end among the ids that begin with a part.
const BEGINNINGS: char = '^';

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the newest.
    Start,
    /// Behind this one, among those whose ids begin with the part.
    Beginnings(ExecutionId),
    /// Behind this one.
    Rest(ExecutionId),
}

impl Place {
    /// The place that a token names; none: it names none.
    pub fn read(token: &str) -> Option<Self> {
        match (token.strip_prefix(BEGINNINGS), token) {
            (None, "") => Some(Self::Start),
            (None, id) => id.parse().ok().map(Self::Rest),
            (Some(id), _) => id.parse().ok().map(Self::Beginnings),
        }
    }

    /// The token that names it.
    pub fn token(self) -> String {
        match self {
            Self::Start => String::new(),
            Self::Beginnings(id) => format!("{BEGINNINGS}{id}"),
            Self::Rest(id) => id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_place_is_read_as_it_was_written(bytes: [u8; 16], kind in 0_usize..3) {
            let id = ExecutionId::from_bytes(bytes);
            let place: Place = [Place::Start, Place::Beginnings(id), Place::Rest(id)][kind];
            prop_assert_eq!(Place::read(&place.token()), Some(place));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "([a-z.:~-]{0,3}[a-v0-9]{26}|\\PC{0,40})") {
            if let Some(place) = Place::read(&text) {
                prop_assert_eq!(place.token(), text);
            }
        }

        #[test]
        fn each_id_is_in_one_search_for_its_part_and_in_no_search_for_another(
            bytes: [u8; 16], other: [u8; 16], length in 6_usize..=26, ends: bool,
        ) {
            let id = ExecutionId::from_bytes(bytes);
            let text = id.to_string();
            let part = if ends { &text[26 - length..] } else { &text[..length] };
            let wanted = Wanted { part: Some(part.to_owned()), ..Wanted::default() };
            let found = |id: ExecutionId| {
                let searches = wanted.searches(Place::Start);
                let finds = |search: &&Search| {
                    search.span.has(id) && search.takes(id)
                };
                searches.iter().filter(finds).count()
            };
            prop_assert_eq!(found(id), 1);
            let other = ExecutionId::from_bytes(other);
            let text = other.to_string();
            let same = text.starts_with(part) || text.ends_with(part);
            prop_assert_eq!(found(other), usize::from(same));
        }
    }

    #[test]
    fn what_is_no_token_names_no_place() {
        for token in ["x", "^", "^x", "0000000000000000000000000", "^^00000000000000000000000000"] {
            assert_eq!(Place::read(token), None, "{token}");
        }
    }

    #[test]
    fn a_stretch_that_ends_before_it_begins_is_empty() {
        let id = |number| ExecutionId::from_bytes([number; 16]);
        let span = |before, from| Span { before: Some(id(before)), from: Some(id(from)) };
        assert!(span(3, 3).is_empty() && span(3, 4).is_empty() && !span(4, 3).is_empty());
        assert!(span(9, 1).and(span(4, 3)) == span(4, 3) && !Span::default().is_empty());
    }
}
