//! Processes and who descends from whom, as `/proc` tells.

/// One process as `/proc/<pid>/stat` shows it. A pid names it only together with the time of its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runner::process) struct Process {
    /// Its number.
    pub(in crate::runner::process) pid: i32,
    /// Its parent's number.
    pub(in crate::runner::process) parent: i32,
    /// Its process group.
    pub(in crate::runner::process) group: i32,
    /// When it started, in ticks since boot.
    pub(in crate::runner::process) started: u64,
    /// It is dead, and waits for its parent to ask.
    pub(in crate::runner::process) dead: bool,
}

/// What a line of `/proc/<pid>/stat` says. The name in it may hold anything, `)` and spaces included.
pub(in crate::runner::process) fn parse(stat: &str) -> Option<Process> {
    let pid = stat.split_once(' ')?.0.parse().ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        dead: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// All that descends from `root`, parents before their children: a shell that is signalled first does not live to
/// see its child die and go on to its next command.
pub(in crate::runner::process) fn descendants(root: i32, all: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while !parents.is_empty() {
        let seen = |process: &Process| found.iter().any(|known| known.pid == process.pid);
        let children: Vec<Process> = all
            .iter()
            .filter(|process| parents.contains(&process.parent) && process.pid != root)
            .filter(|process| !seen(process))
            .copied()
            .collect();
        parents = children.iter().map(|child| child.pid).collect();
        found.extend(children);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = "42 (a) Z 1 (b c)) S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 678 9";
        let expected = Process { pid: 42, parent: 7, group: 8, started: 12345, dead: false };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("42 (cut"), None);
        assert_eq!(parse(""), None);
    }

    proptest! {
        /// `/proc` is read while it changes, so parents may be missing and numbers may form circles.
        #[test]
        fn descendants_are_those_whose_parents_lead_to_the_root(
            parents in prop::collection::vec(0i32..12, 0..12),
        ) {
            let all: Vec<Process> = (1..)
                .zip(&parents)
                .map(|(pid, &parent)| Process { pid, parent, group: 0, started: 0, dead: false })
                .collect();
            let parent = |pid: i32| all.iter().find(|p| p.pid == pid).map(|p| p.parent);
            let leads_to_root = |pid: i32| {
                let mut at = parent(pid);
                for _ in 0..=all.len() {
                    match at {
                        Some(1) => return true,
                        Some(next) => at = parent(next),
                        None => return false,
                    }
                }
                false
            };
            let found = descendants(1, &all);
            for process in &all {
                let expected = process.pid != 1 && leads_to_root(process.pid);
                prop_assert_eq!(found.contains(process), expected, "{:?} in {:?}", process, all);
            }
            for (place, process) in found.iter().enumerate() {
                let before = &found[..place];
                prop_assert!(process.parent == 1 || before.iter().any(|p| p.pid == process.parent));
            }
        }
    }
}
