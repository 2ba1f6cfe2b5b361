//! What a wish to store a job comes to.

use super::super::{Job, JobDefinition};

/// What somebody wants of a job of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That there be one: another one is not touched.
    Create,
    /// That it have this content.
    Update {
        /// Also where there is none yet.
        create: bool,
        /// Only where this is its newest version; 0: whichever is.
        expected_version: u64,
    },
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it has this content already.
    Keep,
    /// It becomes a job of its own, with this version as its first.
    Begin(u64),
    /// This version follows.
    Follow(u64),
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDecided {
    /// There is one, of other content.
    Exists,
    /// There is none.
    Unknown,
    /// Its newest version is not the one that was expected.
    OtherVersion,
}

/// Decides about `definition`, where `known` is the job of that name, and `before` the last version of one that was
/// deleted; 0: there was none.
pub fn decide(
    known: Option<&Job>,
    before: u64,
    definition: &JobDefinition,
    wish: Wish,
) -> Result<Decision, NotDecided> {
    let Some(known) = known else {
        return match wish {
            Wish::Create | Wish::Update { create: true, expected_version: 0 } => {
                Ok(Decision::Begin(before + 1))
            }
            Wish::Update { create: true, .. } => Err(NotDecided::OtherVersion),
            Wish::Update { create: false, .. } => Err(NotDecided::Unknown),
        };
    };
    // Whichever version was expected: who asks again because no answer came finds the own content.
    if known.definition == *definition {
        return Ok(Decision::Keep);
    }
    match wish {
        Wish::Create => Err(NotDecided::Exists),
        Wish::Update { expected_version, .. }
            if ![0, known.version].contains(&expected_version) =>
        {
            Err(NotDecided::OtherVersion)
        }
        Wish::Update { .. } => Ok(Decision::Follow(known.version + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn definition(description: &str) -> JobDefinition {
        JobDefinition { description: description.to_owned(), ..JobDefinition::default() }
    }

    fn known() -> Job {
        Job {
            name: "hello".parse().unwrap(),
            uid: "uid".to_owned(),
            version: 7,
            first_version: 5,
            created_at: Timestamp::UNIX_EPOCH,
            created_by: "ada".to_owned(),
            definition: definition("old"),
        }
    }

    fn update(create: bool, expected_version: u64) -> Wish {
        Wish::Update { create, expected_version }
    }

    #[test]
    fn where_there_is_none_one_begins_behind_the_last_version_of_that_name() {
        let decide = |wish| decide(None, 4, &definition("new"), wish);
        assert_eq!(decide(Wish::Create), Ok(Decision::Begin(5)));
        assert_eq!(decide(update(true, 0)), Ok(Decision::Begin(5)));
        assert_eq!(decide(update(true, 4)), Err(NotDecided::OtherVersion));
        assert_eq!(decide(update(false, 0)), Err(NotDecided::Unknown));
    }

    #[test]
    fn equal_content_is_no_new_version_whatever_was_expected() {
        for wish in [Wish::Create, update(true, 0), update(false, 7), update(false, 6)] {
            assert_eq!(decide(Some(&known()), 0, &definition("old"), wish), Ok(Decision::Keep));
        }
    }

    #[test]
    fn other_content_follows_the_version_that_was_expected_and_no_other() {
        let decide = |wish| decide(Some(&known()), 0, &definition("new"), wish);
        assert_eq!(decide(Wish::Create), Err(NotDecided::Exists));
        assert_eq!(decide(update(false, 0)), Ok(Decision::Follow(8)));
        assert_eq!(decide(update(true, 7)), Ok(Decision::Follow(8)));
        for expected in [1, 6, 8] {
            assert_eq!(decide(update(true, expected)), Err(NotDecided::OtherVersion));
        }
    }
}
