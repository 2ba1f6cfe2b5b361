//! Clients: they submit, cancel and follow, and hold what comes of it against what must come of it.

use super::{
    answered, cluster,
    oracle::{Oracle, Wanted, begun},
    witness::{self, Witness},
    world::World,
};
use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use octavius_client::{Client, LogItem, Notice, v1};
use rand::{RngExt as _, rngs::SmallRng};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{process::Command, sync::watch};
use v1::ExecutionState;

/// How many clients there are; each has one execution at a time.
pub(super) const CLIENTS: usize = 16;
/// The same where each execution is a pod, of which a small machine starts three a second.
pub(super) const CLIENTS_OF_PODS: usize = 8;

const COUNT: &str = r#"echo "$OCTAVIUS_ATTEMPT" >> "$RAN/$OCTAVIUS_EXECUTION_ID"
i=0
while [ $i -lt "$LINES" ]; do i=$((i + 1)); echo "line $i of $NUMBER"; sleep 0.05; done
exit "$CODE""#;
const FLOOD: &str = r#"echo "$OCTAVIUS_ATTEMPT" >> "$RAN/$OCTAVIUS_EXECUTION_ID"
wide=$(head -c 5000 /dev/zero | tr '\0' x); i=0
while [ $i -lt "$LINES" ]; do i=$((i + 1)); echo "$i of $NUMBER $wide"; done
exit "$CODE""#;
const LATE: &str = r#"echo "$OCTAVIUS_ATTEMPT" >> "$RAN/$OCTAVIUS_EXECUTION_ID"
echo "line 1 of $NUMBER"
sleep 60"#;
/// Ends well once it was tried more often than `CODE` says.
const AGAIN: &str = r#"echo "$OCTAVIUS_ATTEMPT" >> "$RAN/$OCTAVIUS_EXECUTION_ID"
i=0
while [ $i -lt "$LINES" ]; do i=$((i + 1)); echo "line $i of $NUMBER"; sleep 0.05; done
[ "$OCTAVIUS_ATTEMPT" -gt "$CODE" ]"#;
/// How often that is tried at the most.
const TRIES: u32 = 3;

/// What one client needs.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) client: Client,
    address: String,
    folder: PathBuf,
    ran: PathBuf,
    /// Who keeps what pods wrote, if executions are pods.
    witness: Option<Witness>,
    oracle: Arc<Oracle>,
    over: watch::Receiver<bool>,
    numbers: Arc<AtomicU64>,
}

impl Load {
    pub(super) fn new(
        world: &World,
        witness: Option<Witness>,
        oracle: Arc<Oracle>,
        over: watch::Receiver<bool>,
    ) -> Self {
        Self {
            client: world.client.clone(),
            address: world.address.clone(),
            folder: world.folder().to_owned(),
            ran: world.ran.clone(),
            witness,
            oracle,
            over,
            numbers: Arc::default(),
        }
    }

    /// The jobs that are run.
    pub(super) async fn create_jobs(&self) -> Result<()> {
        let seconds = |seconds| Duration::from_secs(seconds).try_into().ok();
        let again =
            v1::Retry { attempts: TRIES, pause: seconds(1), factor: 1.0, ..v1::Retry::default() };
        for (name, script, timeout, retry) in [
            ("count", COUNT, None, None),
            ("flood", FLOOD, None, None),
            ("late", LATE, Some(2), None),
            ("again", AGAIN, None, Some(again)),
        ] {
            let argument = |name: &str| v1::Argument {
                name: name.to_owned(),
                required: true,
                ..v1::Argument::default()
            };
            let definition = v1::JobDefinition {
                name: name.to_owned(),
                command: ["sh", "-c", script].map(str::to_owned).to_vec(),
                arguments: ["RAN", "NUMBER", "LINES", "CODE"].map(argument).to_vec(),
                timeout: timeout.and_then(seconds),
                retry,
                ..v1::JobDefinition::default()
            };
            let definition = match self.witness {
                None => definition,
                Some(_) => v1::JobDefinition {
                    image_name: cluster::IMAGE.to_owned(),
                    kubernetes: cluster::template(&self.ran),
                    ..definition
                },
            };
            self.client.create_job(definition).await.map_err(|error| anyhow::anyhow!("{error}"))?;
        }
        Ok(())
    }

    /// One execution after the other, until it is over.
    pub(super) async fn go_on(self, mut random: SmallRng) {
        while !*self.over.borrow() {
            if let Err(error) = self.one(&mut random).await {
                self.oracle.is_wrong(format!("{error:#}"));
            }
        }
    }

    async fn one(&self, random: &mut SmallRng) -> Result<()> {
        let number = self.numbers.fetch_add(1, Relaxed);
        let (job, lines) = match random.random_range(0..20) {
            0 => ("late", 1),
            1 | 2 => ("flood", random.random_range(1..300)),
            3 | 4 => ("again", random.random_range(0..10)),
            _ => ("count", random.random_range(0..40)),
        };
        let code = random.random_range(0..=TRIES);
        // Who is no more wanted is not tried again: how often it was tried would say nothing.
        let cancelled = random.random_ratio(1, 8) && job != "again";
        let wanted = wanted(job, lines, number, code, cancelled);
        let ran = self.ran.to_str().context("a folder's name")?.to_owned();
        let values = [
            ("RAN", ran),
            ("NUMBER", number.to_string()),
            ("LINES", lines.to_string()),
            ("CODE", code.to_string()),
        ];
        let values: BTreeMap<String, String> =
            values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let accepted = match self.client.execute(job, values).await {
            Ok(accepted) => accepted,
            Err(error) => {
                self.oracle.count("not acknowledged");
                let text = error.to_string();
                if !(text.contains("full") || text.contains("answer") || text.contains("try again"))
                {
                    self.oracle.count(&format!("not acknowledged ({text})"));
                }
                tokio::time::sleep(Duration::from_millis(random.random_range(100..500))).await;
                return Ok(());
            }
        };
        self.oracle.see(&accepted);
        let id = accepted.id;
        // Who follows is shown all attempts, one after the other, which is not what is looked at here.
        let follower = match random.random_ratio(1, 6) && job != "again" {
            true => Some(self.follow(&id, random).await?),
            false => None,
        };
        if wanted.cancelled {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
            // Nobody may have heard it: then it ends by itself, and that is right, too.
            match self.client.cancel(&id).await {
                Ok(_) => self.oracle.count("wishes to cancel"),
                Err(_) => self.oracle.count("unheard wishes to cancel"),
            }
        }
        let see = |execution: &v1::Execution| {
            self.oracle.see(execution);
            false
        };
        let ended = answered(|| self.client.wait_until(&id, see)).await;
        let execution = ended.with_context(|| format!("{id} does not end"))?;
        self.oracle.see(&execution);
        let log = self.log(&id).await.with_context(|| format!("the log of {id}"))?;
        let begun = begun(&self.ran, &id)?;
        let wrong = match (self.oracle.is_excused(&execution), &self.witness) {
            (true, _) => wanted.wrong_though_lost(&execution, &log, &begun),
            (false, None) => wanted.wrong(&execution, &log, &begun),
            (false, Some(witness)) => {
                let written = witness.log(&id, execution.attempt)?;
                self.of_pod(wanted, &written, &execution, &log, &begun)
            }
        };
        if let Some(wrong) = wrong {
            self.oracle.is_wrong(wrong);
        }
        self.oracle.started(&self.ran, &id, execution.attempt)?;
        self.oracle.count(octavius_client::execution_word(execution.state()));
        if let Some(follower) = follower {
            self.followed(follower, &id, &log).await?;
        }
        Ok(())
    }

    /// What is wrong with the end of an execution whose program wrote, as its node knows it, only this.
    fn of_pod(
        &self,
        wanted: Wanted,
        written: &[u8],
        execution: &v1::Execution,
        log: &[u8],
        begun: &[u32],
    ) -> Option<String> {
        let (log, words) = witness::without_words(log);
        let never_began =
            !begun.contains(&execution.attempt) && written.is_empty() && log.is_empty();
        match (execution.state(), execution.exit_code) {
            (ExecutionState::Failed, None) if never_began => {
                self.oracle.count("attempts that their cluster did not start");
                return None;
            }
            // No API tells how a container ended whose runtime was killed and has forgotten it.
            (ExecutionState::Lost, None) => {
                self.oracle.count("ends that their node does not know");
                return wanted.wrong_though_lost(execution, &log, begun);
            }
            _ => {}
        }
        let is_told = if words.is_empty() { "without a word" } else { "and told so" };
        let whole = wanted.log == written || wanted.cancelled;
        let is_gone = words.iter().any(|words| witness::is_not_given(words));
        if whole && !words.is_empty() && !is_gone {
            self.oracle.count("whole logs with words of ours");
        }
        let wanted = match (whole, is_gone) {
            (true, false) => wanted,
            (false, false) => {
                self.oracle.count(&format!("logs that their node lost in part {is_told}"));
                wanted.of_which_is_left(written)
            }
            (_, true) => {
                self.oracle.count("logs that the API did not give, and told so");
                wanted.of_which_is_left(&log)
            }
        };
        let wrong = wanted.of_pod().wrong(execution, &log, begun)?;
        let written = written.len();
        Some(format!("{wrong} (its node has {written} bytes; words in it: {words:?})"))
    }

    /// A process that follows the log, and is itself killed or stopped now and then.
    async fn follow(&self, id: &str, random: &mut SmallRng) -> Result<Following> {
        let mut command = Command::new(self.folder.join("bin/octavius"));
        command.args(["getlogs", id, "--follow"]).env_clear().kill_on_drop(true);
        command.env("HOME", &self.folder).env("CP_HOST", &self.address);
        command.env("EMAIL_ID", "ada@example.com").env("CONNECTION_TIMEOUT_SECS", "60");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let fate =
            (random.random_range(0..8), random.random_range(0..2000), random.random_range(0..4000));
        let oracle = self.oracle.clone();
        Ok(tokio::spawn(async move {
            let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            let mut output = Box::pin(child.wait_with_output());
            let (what, after, time) = fate;
            let after = Duration::from_millis(after);
            // Its number is its own until it was waited for.
            let signal = |signal| pid.is_some_and(|pid| kill_process(pid, signal).is_ok());
            if what > 1 {
                return Ok(output.await?);
            }
            if let Ok(ended) = tokio::time::timeout(after, &mut output).await {
                return Ok(ended?);
            }
            if what == 0 {
                oracle.count("clients killed");
                signal(Signal::KILL);
            } else {
                oracle.count("clients stopped");
                signal(Signal::STOP);
                tokio::time::sleep(Duration::from_millis(time)).await;
                signal(Signal::CONT);
            }
            Ok(output.await?)
        }))
    }

    /// What a process has shown is the log, or its beginning where it was killed or found no controller.
    async fn followed(&self, following: Following, id: &str, log: &[u8]) -> Result<()> {
        let output = following.await??;
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("did not survive") {
            // It has shown what was not durable yet, and says so.
            self.oracle.count("followers told of a change");
            return Ok(());
        }
        let whole = output.status.code() == Some(0);
        let right = if whole { output.stdout == log } else { log.starts_with(&output.stdout) };
        if !right || !matches!(output.status.code(), Some(0 | 3 | 4) | None) {
            let (shown, all, status) = (output.stdout.len(), log.len(), output.status);
            let what =
                format!("a follower of {id} showed {shown} bytes of {all}, {status}: {said}");
            self.oracle.is_wrong(what);
        }
        self.oracle.count(if whole { "followed to the end" } else { "followed not to the end" });
        Ok(())
    }

    async fn log(&self, id: &str) -> Result<Vec<u8>> {
        let mut log = Vec::new();
        let broken = |error: octavius_client::Error| anyhow::anyhow!("{error}");
        let mut items = answered(|| self.client.follow_log(id, 0, 0, false)).await?;
        while let Some(item) = items.next().await {
            match item.map_err(broken)? {
                LogItem::Bytes { data, .. } => log.extend_from_slice(&data),
                LogItem::Notice(Notice::Interrupted(_)) => {}
                LogItem::Notice(notice) => anyhow::bail!("{notice}"),
                LogItem::End(_) => break,
            }
        }
        Ok(log)
    }
}

type Following = tokio::task::JoinHandle<Result<std::process::Output>>;

fn wanted(job: &str, lines: u32, number: u64, code: u32, cancelled: bool) -> Wanted {
    let wide = "x".repeat(5000);
    let line = |line: u32| match job {
        "flood" => format!("{line} of {number} {wide}\n"),
        _ => format!("line {line} of {number}\n"),
    };
    let end = match (job, code) {
        ("late", _) => (ExecutionState::TimedOut, None),
        ("again", TRIES..) => (ExecutionState::Failed, Some(1)),
        ("again", _) | (_, 0) => (ExecutionState::Succeeded, Some(0)),
        (_, code) => (ExecutionState::Failed, i32::try_from(code).ok()),
    };
    let attempts = if job == "again" { TRIES.min(code + 1) } else { 1 };
    let log = (1..=lines).map(line).collect::<String>().into_bytes();
    Wanted { end, log, cancelled, attempts, all_begin: true }
}
