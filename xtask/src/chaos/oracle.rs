//! What must hold, whatever was broken.

use super::answered;
use anyhow::{Context as _, Result};
use octavius_client::{Client, execution_word, is_final, v1};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};
use tokio::sync::watch;
use v1::ExecutionState;

/// So many wrong ones are told; one is enough to look for its cause.
const MOST_TOLD: usize = 100;

/// A run that is not shorter than this makes so many executions; with fewer it says little.
const SURELY_MANY: Duration = Duration::from_secs(600);
const MANY: usize = 1_000;
/// The same where each is a pod.
const MANY_PODS: usize = 200;

/// What is wrong with a run of this time in which so many executions were made, if something is.
pub(super) fn too_few(made: usize, time: Duration, on_cluster: bool) -> Option<String> {
    let many = if on_cluster { MANY_PODS } else { MANY };
    let few = time >= SURELY_MANY && made < many;
    few.then(|| format!("only {made} executions were made in {time:?}, and not {many}"))
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    seen: watch::Sender<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Each execution that the controller told somebody of, as it was last seen.
    executions: BTreeMap<String, Last>,
    counts: BTreeMap<String, u64>,
    /// Those of which nobody may be able to say how they ended.
    lost: BTreeSet<String>,
    wrong: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Last {
    attempt: u32,
    state: ExecutionState,
    exit_code: Option<i32>,
}

impl Last {
    fn of(execution: &v1::Execution) -> Self {
        let v1::Execution { attempt, exit_code, .. } = *execution;
        Self { attempt, state: execution.state(), exit_code }
    }

    /// In the order of life. A grant that nobody took goes back to the queue.
    fn rank(&self) -> (u32, u8) {
        let rank = match self.state {
            ExecutionState::Unspecified => 0,
            ExecutionState::Pending | ExecutionState::Leased => 1,
            ExecutionState::Starting => 2,
            ExecutionState::Running => 3,
            state if is_final(state) => 4,
            _ => 0,
        };
        (self.attempt, rank)
    }
}

impl Oracle {
    /// Something was not as it must be.
    pub(super) fn is_wrong(&self, what: String) {
        self.seen.send_modify(|seen| {
            if seen.wrong.len() < MOST_TOLD {
                println!("WRONG: {what}");
                seen.wrong.push(what);
            }
        });
    }

    /// All that was wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.seen.borrow().wrong.clone()
    }

    /// What keeps watch over this execution's program is about to be killed. Says whether that is news.
    pub(super) fn may_be_lost(&self, id: &str) -> bool {
        let mut news = false;
        self.seen.send_modify(|seen| news = seen.lost.insert(id.to_owned()));
        news
    }

    /// It was not killed after all.
    pub(super) fn may_not_be_lost(&self, id: &str) {
        self.seen.send_modify(|seen| {
            seen.lost.remove(id);
        });
    }

    /// Whether it is lost, and may be.
    pub(super) fn is_excused(&self, execution: &v1::Execution) -> bool {
        execution.state() == ExecutionState::Lost && self.seen.borrow().lost.contains(&execution.id)
    }

    /// One more of a kind that the summary tells of.
    pub(super) fn count(&self, kind: &str) {
        self.seen.send_modify(|seen| *seen.counts.entry(kind.to_owned()).or_default() += 1);
    }

    /// How many executions somebody was told of.
    pub(super) fn acknowledged(&self) -> usize {
        self.seen.borrow().executions.len()
    }

    /// How many of each kind there were.
    pub(super) fn summary(&self) -> String {
        let seen = self.seen.borrow();
        let counts = seen.counts.iter().map(|(kind, count)| format!("; {kind} {count}"));
        format!("{} acknowledged{}", seen.executions.len(), counts.collect::<String>())
    }

    /// The controller showed an execution so.
    pub(super) fn see(&self, execution: &v1::Execution) {
        let now = Last::of(execution);
        let mut back = None;
        self.seen.send_modify(|seen| {
            let was = seen.executions.insert(execution.id.clone(), now.clone());
            back =
                was.filter(|was| now.rank() < was.rank() || (is_final(was.state) && now != *was));
        });
        if let Some(was) = back {
            self.is_wrong(format!("{} went from {was:?} to {now:?}", execution.id));
        }
    }

    /// Once all is over: nothing is lost, nothing has changed, and nothing was started too often.
    pub(super) async fn look_at_all(&self, client: &Client, ran: &Path) -> Result<()> {
        let listed = answered(|| client.executions(None, None)).await?;
        let mut attempts = BTreeMap::new();
        for mut execution in listed {
            // Nobody was told of some of them; they end as well.
            if !is_final(execution.state()) {
                match answered(|| client.wait(&execution.id)).await {
                    Ok(ended) => execution = ended,
                    Err(error) => self.is_wrong(format!("{} does not end: {error}", execution.id)),
                }
            }
            attempts.insert(execution.id.clone(), execution.attempt);
            if self.seen.borrow().executions.contains_key(&execution.id) {
                self.see(&execution);
            }
        }
        let known: Vec<String> = self.seen.borrow().executions.keys().cloned().collect();
        for id in known.iter().filter(|id| !attempts.contains_key(*id)) {
            self.is_wrong(format!("{id} was acknowledged and is gone"));
        }
        for entry in fs::read_dir(ran)? {
            let id = entry?.file_name().to_string_lossy().into_owned();
            match attempts.get(&id) {
                None => self.is_wrong(format!("{id} was started, and nobody knows of it")),
                Some(most) => self.started(ran, &id, *most)?,
            }
        }
        Ok(())
    }

    /// An execution that has ended was started no more often than it had attempts, and none of them twice.
    pub(super) fn started(&self, ran: &Path, id: &str, most: u32) -> Result<()> {
        let begun = begun(ran, id)?;
        let mut once = begun.clone();
        once.sort_unstable();
        once.dedup();
        if once.len() != begun.len() || begun.iter().any(|attempt| *attempt > most) {
            self.is_wrong(format!("{id} with {most} attempts was started as {begun:?}"));
        }
        Ok(())
    }
}

/// The attempts of an execution that have begun.
pub(super) fn begun(ran: &Path, id: &str) -> Result<Vec<u32>> {
    let text = match fs::read_to_string(ran.join(id)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| id.to_owned()),
    };
    text.lines().map(|line| line.parse().with_context(|| text.clone())).collect()
}

/// How an execution has to end.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// The state and the exit code; no code: any.
    pub(super) end: (ExecutionState, Option<i32>),
    /// The whole log.
    pub(super) log: Vec<u8>,
    /// Whether somebody wished it to end before.
    pub(super) cancelled: bool,
    /// How many attempts its job's `retry` gives it until then.
    pub(super) attempts: u32,
    /// Whether the program of each attempt begins, and not only that of the last.
    pub(super) all_begin: bool,
}

impl Wanted {
    /// The same where attempts are pods: a cluster whose parts are killed may fail to start one.
    pub(super) fn of_pod(self) -> Self {
        Self { all_begin: false, ..self }
    }

    /// The same, if only these lines of the log are left, and none of them is another one's.
    pub(super) fn of_which_is_left(self, written: &[u8]) -> Self {
        let lines = |text: &[u8]| -> Vec<Vec<u8>> {
            text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
        };
        let mut all = lines(&self.log).into_iter();
        match lines(written).iter().all(|line| all.any(|each| each == *line)) {
            true => Self { log: written.to_vec(), ..self },
            false => self,
        }
    }

    /// What is wrong with the end of an execution of which nobody can say how it ended, if something is: what is kept
    /// of its log is its beginning, it says so if that is not all, and it is not tried more often than it may be.
    pub(super) fn wrong_though_lost(
        &self,
        execution: &v1::Execution,
        log: &[u8],
        begun: &[u32],
    ) -> Option<String> {
        let cut = &execution.log_cut;
        let told = self.log == log || !cut.is_empty();
        let right = told && self.log.starts_with(log);
        let tried = usize::try_from(execution.attempt).unwrap_or_default();
        let right = right && begun.len() <= tried && execution.attempt <= self.attempts;
        let (id, bytes, attempt) = (&execution.id, log.len(), execution.attempt);
        (!right).then(|| {
            format!("{id} is lost with {bytes} bytes ({cut:?}) by attempt {attempt}: {begun:?}")
        })
    }

    /// What is wrong with this end, if something is.
    pub(super) fn wrong(
        &self,
        execution: &v1::Execution,
        log: &[u8],
        begun: &[u32],
    ) -> Option<String> {
        let id = &execution.id;
        let cut = self.cancelled && execution.state() == ExecutionState::Cancelled;
        let (state, code) = self.end;
        let right = execution.state() == state && (code.is_none() || execution.exit_code == code);
        if !cut && !right {
            let was = execution_word(execution.state());
            let (code, why) = (execution.exit_code, &execution.reason);
            return Some(format!("{id} is {was} with {code:?} ({why}), not {:?}", self.end));
        }
        if !execution.log_cut.is_empty() {
            return Some(format!("{id} has lost some of its log: {}", execution.log_cut));
        }
        let whole = if cut { self.log.starts_with(log) } else { self.log == log };
        if !whole {
            let (wanted, found) = (self.log.len(), log.len());
            let same = self.log.iter().zip(log).take_while(|(one, other)| one == other).count();
            return Some(format!("{id} has {found} bytes of a log of {wanted}: {same} are right"));
        }
        let attempts: Vec<_> = (1..=self.attempts).collect();
        let right = match self.all_begin {
            true => begun == attempts,
            false => {
                begun.last() == attempts.last() && begun.iter().all(|one| attempts.contains(one))
            }
        };
        let other = !cut && (execution.attempt != self.attempts || !right);
        other.then(|| {
            let attempt = execution.attempt;
            format!("{id} is over with attempt {attempt}, and began as {begun:?}, not {attempts:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(state: ExecutionState, exit_code: Option<i32>) -> v1::Execution {
        let mut execution =
            v1::Execution { id: "it".to_owned(), attempt: 1, exit_code, ..Default::default() };
        execution.set_state(state);
        execution
    }

    #[test]
    fn steps_back_and_ends_that_change_are_wrong() {
        use ExecutionState::*;
        let oracle = Oracle::default();
        for state in [Pending, Leased, Pending, Starting, Running, Failed] {
            oracle.see(&execution(state, None));
        }
        assert_eq!(oracle.wrong(), Vec::<String>::new());
        for odd in
            [execution(Running, None), execution(Succeeded, None), execution(Succeeded, Some(1))]
        {
            let before = oracle.wrong().len();
            oracle.see(&odd);
            assert_eq!(
                oracle.wrong().len(),
                before + usize::from(odd.state() != Succeeded || odd.exit_code.is_some())
            );
        }
    }

    #[test]
    fn an_end_has_its_state_its_code_its_log_and_its_start() {
        use ExecutionState::*;
        let end = (Failed, Some(2));
        let wanted =
            Wanted { end, log: b"whole".to_vec(), cancelled: true, attempts: 1, all_begin: true };
        let wrong = |state, code, log: &[u8], begun: &[u32]| {
            wanted.wrong(&execution(state, code), log, begun).is_some()
        };
        assert!(!wrong(Failed, Some(2), b"whole", &[1]) && !wrong(Cancelled, None, b"who", &[]));
        assert!(wrong(Failed, Some(1), b"whole", &[1]) && wrong(Lost, None, b"whole", &[1]));
        assert!(wrong(Failed, Some(2), b"who", &[1]) && wrong(Cancelled, None, b"wha!", &[1]));
        assert!(wrong(Failed, Some(2), b"whole", &[]));
    }

    #[test]
    fn who_is_tried_again_is_tried_as_often_as_the_policy_says() {
        let end = (ExecutionState::Succeeded, Some(0));
        let wanted =
            Wanted { end, log: Vec::new(), cancelled: false, attempts: 2, all_begin: true };
        let ended = |attempt| v1::Execution { attempt, ..execution(end.0, end.1) };
        let wrong = |attempt, begun: &[u32]| wanted.wrong(&ended(attempt), b"", begun).is_some();
        assert!(!wrong(2, &[1, 2]));
        assert!(wrong(1, &[1]) && wrong(3, &[1, 2, 3]), "not as often");
        assert!(wrong(2, &[2]) && wrong(2, &[1]), "an attempt that never began");
        let of_pod = wanted.clone().of_pod();
        let wrong = |attempt, begun: &[u32]| of_pod.wrong(&ended(attempt), b"", begun).is_some();
        assert!(!wrong(2, &[1, 2]) && !wrong(2, &[2]));
        assert!(wrong(2, &[1]) && wrong(1, &[1]) && wrong(2, &[]) && wrong(2, &[3, 2]));
        let lost = |attempt, begun: &[u32]| {
            let lost = v1::Execution { attempt, ..execution(ExecutionState::Lost, None) };
            wanted.wrong_though_lost(&lost, b"", begun).is_some()
        };
        assert!(!lost(1, &[1]) && !lost(2, &[1, 2]) && !lost(2, &[1]));
        assert!(lost(3, &[1, 2, 3]) && lost(1, &[1, 2]));
    }

    #[test]
    fn what_is_left_of_a_log_is_lines_of_it_in_their_order() {
        let end = (ExecutionState::Succeeded, Some(0));
        let log = b"a\nb\nc\n".to_vec();
        let wanted = Wanted { end, log, cancelled: false, attempts: 1, all_begin: true };
        let left = |written: &[u8]| wanted.clone().of_which_is_left(written).log == written;
        assert!(left(b"") && left(b"a\nc\n") && left(b"a\nb\nc\n"));
        assert!(!left(b"c\na\n") && !left(b"a\na\n") && !left(b"x\n") && !left(b"a"));
    }

    #[test]
    fn a_long_run_of_few_executions_is_wrong() {
        for (many, on_cluster) in [(MANY, false), (MANY_PODS, true)] {
            assert!(too_few(many - 1, SURELY_MANY, on_cluster).is_some());
            assert!(too_few(many, SURELY_MANY, on_cluster).is_none());
            assert!(too_few(1, SURELY_MANY / 2, on_cluster).is_none());
        }
    }

    #[test]
    fn only_what_was_killed_may_be_lost_and_says_that_its_log_is_only_a_beginning() {
        let oracle = Oracle::default();
        let lost = execution(ExecutionState::Lost, None);
        assert!(!oracle.is_excused(&lost));
        assert!(oracle.may_be_lost("it") && !oracle.may_be_lost("it"));
        assert!(oracle.is_excused(&lost));
        oracle.may_not_be_lost("it");
        assert!(!oracle.is_excused(&lost));
        assert!(oracle.may_be_lost("it"));
        assert!(!oracle.is_excused(&execution(ExecutionState::Failed, None)));
        let end = (ExecutionState::Succeeded, Some(0));
        let wanted =
            Wanted { end, log: b"whole".to_vec(), cancelled: false, attempts: 1, all_begin: true };
        let cut = v1::Execution { log_cut: "its watch was killed".to_owned(), ..lost.clone() };
        let wrong =
            |log: &[u8], begun: &[u32]| wanted.wrong_though_lost(&cut, log, begun).is_some();
        assert!(!wrong(b"who", &[1]) && !wrong(b"", &[]));
        assert!(wrong(b"hole", &[1]) && wrong(b"who", &[1, 2]));
        let untold = |log: &[u8]| wanted.wrong_though_lost(&lost, log, &[1]).is_some();
        assert!(!untold(b"whole") && untold(b"who") && untold(b""));
        assert!(wanted.wrong(&lost, b"whole", &[1]).is_some());
    }

    #[test]
    fn an_attempt_that_began_twice_is_wrong() {
        let (oracle, folder) = (Oracle::default(), tempfile::tempdir().unwrap());
        for (text, wrong) in [("1\n", 0), ("1\n2\n", 0), ("1\n1\n", 1), ("3\n", 2)] {
            fs::write(folder.path().join("it"), text).unwrap();
            oracle.started(folder.path(), "it", 2).unwrap();
            assert_eq!(oracle.wrong().len(), wrong, "{text:?}");
        }
    }
}
