//! What the kind `process` decides, as pure functions: no file, no process and no clock in here.
//!
//! - [`phase`]: how far an attempt is, from what lies in its folder.
//! - [`ending`]: when the supervisor sends which signal, and what ended the program (promises 2 and 3).
//! - [`bound`]: which bytes of a log are kept (promise 4).
//! - [`chunks`]: which bytes of a log were written when.
//! - [`tree`]: which processes descend from which.

pub(super) mod bound;
pub(super) mod chunks;
pub(super) mod ending;
pub(super) mod tree;

use crate::runner::{Exit, Phase};

/// What lies in an attempt's folder, looked at in the order of these fields. The order matters: a supervisor takes
/// the lock, then writes `started`, then `running`, later `exit`, and only then lets the lock go. So who saw `started` and *then* a
/// free lock knows that the supervisor is gone, and finds `exit` if it will ever be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// The file `started` is there.
    pub(super) started: bool,
    /// The file `running` is there.
    pub(super) running: bool,
    /// Somebody holds the lock.
    pub(super) kept: bool,
    /// What the file `exit` says, if it is there.
    pub(super) exit: Option<Exit>,
}

/// How far the attempt is.
pub(super) fn phase(facts: Facts) -> Phase {
    match (facts.exit, facts.started, facts.kept) {
        (Some(exit), _, _) => Phase::Ended(exit),
        (None, true, true) if facts.running => Phase::Running,
        // Its process is there, and may yet fail to become the program.
        (None, true, true) => Phase::Starting(String::new()),
        (None, true, false) => Phase::Vanished(String::new()),
        (None, false, true) => Phase::Starting(String::new()),
        (None, false, false) => Phase::Prepared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::{ExitCause, ExitLog};
    use proptest::prelude::*;

    /// What a supervisor does, one step after the other. It may die after any of them.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Lock,
        Started,
        Running,
        Exit,
        Unlock,
    }
    const LIFE: [Step; 5] = [Step::Lock, Step::Started, Step::Running, Step::Exit, Step::Unlock];

    /// The folder after the first `done` steps, with a supervisor that is dead (its lock is free then) or alive.
    fn folder(done: usize, dead: bool) -> Facts {
        let mut facts = Facts { started: false, running: false, kept: false, exit: None };
        for step in LIFE.iter().take(done) {
            match step {
                Step::Lock => facts.kept = true,
                Step::Started => facts.started = true,
                Step::Running => facts.running = true,
                Step::Exit => facts.exit = Some(exit()),
                Step::Unlock => facts.kept = false,
            }
        }
        facts.kept &= !dead;
        facts
    }

    fn exit() -> Exit {
        Exit {
            cause: ExitCause::Exited,
            code: Some(0),
            signal: None,
            log: ExitLog::NOTHING,
            note: String::new(),
        }
    }

    proptest! {
        /// A look takes four readings, while the supervisor goes on between any two of them. It must never see
        /// `Vanished` of one that did not die, nor `Running` before the program was started.
        #[test]
        fn a_look_that_the_supervisor_overtakes_never_calls_it_vanished_or_running_too_soon(
            mut at in prop::array::uniform4(0usize..=5),
        ) {
            at.sort_unstable();
            let [first, second, third, fourth] = at.map(|done| folder(done, false));
            let seen = Facts {
                started: first.started,
                running: second.running,
                kept: third.kept,
                exit: fourth.exit,
            };
            let phase = phase(seen.clone());
            prop_assert!(!matches!(phase, Phase::Vanished(_)), "{seen:?}");
            prop_assert!(phase != Phase::Running || at[1] >= 3, "{seen:?}");
        }

        /// And of one that died it says what can be known: ended if it got that far, else vanished, else to be let
        /// go again.
        #[test]
        fn a_supervisor_that_died_is_told_by_how_far_it_got(done in 0usize..=5) {
            let expected = match done {
                0 | 1 => Phase::Prepared,
                2 | 3 => Phase::Vanished(String::new()),
                _ => Phase::Ended(exit()),
            };
            prop_assert_eq!(phase(folder(done, true)), expected);
        }
    }
}
