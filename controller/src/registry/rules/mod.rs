//! What the registry decides: plain functions, without I/O, clocks or actors.

mod arguments;
mod change;
pub(crate) mod declared;
pub(crate) mod definition;
pub(crate) mod running;
pub(crate) mod value;

pub use arguments::check_arguments;
pub use change::{Decision, NotDecided, Wish, decide};
pub use definition::{MOST_ARGUMENTS, check_definition};

/// What is further away than this is no slip of a finger.
const FARTHEST: usize = 3;

/// The candidate nearest to `name`, if it is near enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A name that long is no slip of a finger, and measuring it is not free.
    if name.len() > 255 {
        return None;
    }
    let lower = name.to_lowercase();
    let length = lower.chars().count();
    // Who differs more in length is further away, and need not be measured: there may be thousands.
    let candidates = candidates.filter(|known| known.chars().count().abs_diff(length) <= FARTHEST);
    let measured =
        candidates.map(|known| (strsim::osa_distance(&known.to_lowercase(), &lower), known));
    let (distance, known) = measured.min()?;
    // Of one or two letters each other word is a slip away.
    (distance <= (known.len() / 3).min(FARTHEST)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_what_was_meant_and_anything_else_finds_nothing() {
        let known = ["name", "surname", "n"];
        let near = |name| nearest(name, known.into_iter());
        assert_eq!(near("nmae"), Some("name"));
        assert_eq!(near("SURNAME"), Some("surname"));
        assert_eq!(near("colour"), None);
        assert_eq!((near("N"), near("m")), (Some("n"), None));
        assert_eq!(near(&"n".repeat(10_000)), None);
        let known = ["backup-of-everything"];
        let near = |name| nearest(name, known.into_iter());
        assert_eq!(near("backup-of-everyth"), Some("backup-of-everything"), "three are missing");
        assert_eq!(near("backup-of-everythingggg"), Some("backup-of-everything"));
        assert_eq!(near("backup-of-everyt"), None);
    }
}
