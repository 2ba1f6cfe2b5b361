//! The conformance suite on the kind `process`, with the real binary as supervisor, and what is special of this kind.

#![allow(clippy::unwrap_used)] // all of this file is tests, also what no `#[test]` stands above

mod held_up;

use async_trait::async_trait;
use bytes::Bytes;
use octavius_executor::runner::{
    Exit, ExitCause, ExitLog, Phase, Runner, RunnerError, Work,
    process::{ProcessRunner, SupervisorCommand},
    suite::{self, Place},
};
use octavius_protocol::id::AttemptId;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use std::{
    fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio, sync::Arc, time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// A state directory of its own, and a folder that test and programs share. With the directory all ends that runs in it.
struct Machine {
    state: TempDir,
    shared: TempDir,
    spool_max: u64,
}

impl Machine {
    fn new() -> Self {
        Self::with_spool(1 << 30)
    }

    fn with_spool(spool_max: u64) -> Self {
        let folder = || tempfile::tempdir().unwrap();
        Self { state: folder(), shared: folder(), spool_max }
    }

    fn runner(&self, program: &str, arguments: &[&str]) -> ProcessRunner {
        let arguments = arguments.iter().map(Into::into).collect();
        let command = SupervisorCommand { program: program.into(), arguments };
        ProcessRunner::open(self.state.path(), command, self.spool_max).unwrap()
    }

    fn real(&self) -> ProcessRunner {
        self.runner(env!("CARGO_BIN_EXE_executor"), &["supervise"])
    }

    fn folder(&self, attempt: AttemptId) -> PathBuf {
        self.state.path().join("attempts").join(attempt.to_string())
    }

    fn supervisor(&self, attempt: AttemptId) -> Pid {
        let started = fs::read(self.folder(attempt).join("started")).unwrap();
        let started: serde_json::Value = serde_json::from_slice(&started).unwrap();
        Pid::from_raw(started["pid"].as_i64().unwrap() as i32).unwrap()
    }
}

#[async_trait]
impl Place for Machine {
    async fn open(&self) -> Arc<dyn Runner> {
        Arc::new(self.real())
    }

    async fn destroy_keeper(&self, attempt: AttemptId) {
        kill_process(self.supervisor(attempt), Signal::KILL).unwrap();
    }

    fn kept(&self, attempt: AttemptId) -> Vec<u8> {
        let (mut bytes, mut folders) = (Vec::new(), vec![self.folder(attempt)]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    bytes.extend(fs::read(entry.path()).unwrap());
                }
            }
        }
        bytes
    }

    fn shared(&self) -> PathBuf {
        self.shared.path().to_owned()
    }

    async fn running_with(&self, text: &str) -> Vec<String> {
        suite::running_here(text, |line| line.contains(text) && line.contains("supervise\0"))
    }

    fn ambient_variables(&self) -> Vec<&'static str> {
        vec!["HOME", "LANG", "PATH", "TMPDIR"]
    }
}

octavius_executor::runner_conformance!(Machine::new());

fn refused(error: &RunnerError) -> String {
    assert!(matches!(error, RunnerError::Refused(_)), "{error:?}");
    error.to_string()
}

fn cut(exit: &Exit) -> &str {
    let ExitLog::Whole { cut, .. } = &exit.log else { panic!("{exit:?}") };
    cut
}

fn failed(error: &RunnerError) -> String {
    assert!(matches!(error, RunnerError::Failed { .. }), "{error:?}");
    error.to_string()
}

/// Waits for a file without any runner.
async fn file(path: PathBuf) -> Vec<u8> {
    let deadline = Instant::now() + suite::SOON;
    loop {
        match fs::read(&path) {
            Ok(bytes) => return bytes,
            Err(error) => assert!(Instant::now() < deadline, "{}: {error}", path.display()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn of_a_log_that_is_too_long_the_beginning_and_the_end_are_kept() {
    let machine = Machine::with_spool(64 << 10);
    let runner = machine.real();
    let work = suite::command(&["seq", "100000", "150000"]);
    let (exit, log) = suite::run(&runner, &work).await;
    assert_eq!((&exit.cause, exit.code), (&ExitCause::Exited, Some(0)));
    let whole: String = (100_000..=150_000).map(|number| format!("{number}\n")).collect();
    let left_out = whole.len() - (64 << 10);
    assert!(cut(&exit).starts_with(&format!("{left_out} bytes are left out")), "{exit:?}");
    let (head, tail) = (&whole[..32 << 10], &whole[whole.len() - (32 << 10)..]);
    let expected = format!("{head}\n[octavius: {}]\n{tail}", cut(&exit));
    assert!(log == expected.into_bytes(), "{}", String::from_utf8_lossy(&log));

    let (exit, log) = suite::run(&runner, &suite::command(&["seq", "-w", "1", "10000"])).await;
    assert_eq!((cut(&exit), log.len()), ("", 60_000), "below the bound nothing is cut");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_says_so_and_harms_nothing_else() {
    let machine = Machine::new();
    // No file may grow beyond 32 KiB (64 blocks), and an attempt to is an error.
    let limited = r#"trap "" XFSZ; ulimit -f 64; exec "$0" supervise "$1""#;
    let runner = machine.runner("sh", &["-c", limited, env!("CARGO_BIN_EXE_executor")]);
    let work = suite::script("seq 100000 120000; exit 5");
    let (exit, log) = suite::run(&runner, &work).await;
    assert_eq!((&exit.cause, exit.code), (&ExitCause::Exited, Some(5)), "{exit:?}");
    assert!(cut(&exit).contains("could not be written: File too large"), "{exit:?}");
    let whole: String = (100_000..=120_000).map(|number| format!("{number}\n")).collect();
    assert!(whole.as_bytes().starts_with(&log) && log.len() > 30_000, "{} bytes", log.len());
}

#[tokio::test]
async fn a_supervisor_that_does_not_come_up_leaves_it_to_be_let_go_again() {
    let machine = Machine::new();
    let work = suite::script("echo ran");
    machine.real().prepare(&work).await.unwrap();
    // The last one comes up, and finds the disk full before it has started anything.
    let full = r#"trap "" XFSZ; ulimit -f 0; exec "$0" supervise "$1""#;
    let cases: [(&str, &[&str], &str); 3] = [
        ("/nowhere/executor", &[], "`/nowhere/executor`"),
        ("false", &[], "supervisor.log"),
        ("sh", &["-c", full, env!("CARGO_BIN_EXE_executor")], "supervisor.log"),
    ];
    for (program, arguments, says) in cases {
        let error = machine
            .runner(program, arguments)
            .go(work.attempt, &Default::default())
            .await
            .unwrap_err();
        assert!(failed(&error).contains(says), "{error}");
        let phase = machine.real().look(work.attempt).await.unwrap().phase;
        assert_eq!(phase, Phase::Prepared, "after {program}");
    }
    let runner = machine.real();
    runner.go(work.attempt, &Default::default()).await.unwrap();
    suite::check_code(&suite::ended(&runner, work.attempt).await, 0);
    assert_eq!(suite::whole_log(&runner, work.attempt, 99).await, b"ran\n");
}

/// Whoever starts it, whenever: the folder itself says that it ran.
#[tokio::test]
async fn a_second_supervisor_of_one_attempt_does_nothing() {
    let machine = Machine::new();
    let runner = machine.real();
    let (ended, vanished) = (suite::script("echo ran"), suite::script("echo ran; exec sleep 300"));
    suite::run(&runner, &ended).await;
    suite::start(&runner, &vanished).await;
    suite::log_with(&runner, vanished.attempt, "ran").await;
    machine.destroy_keeper(vanished.attempt).await;
    runner.wait(vanished.attempt, &Phase::Running, suite::SOON).await.unwrap();
    for attempt in [ended.attempt, vanished.attempt] {
        let before = runner.look(attempt).await.unwrap();
        let status = tokio::process::Command::new(env!("CARGO_BIN_EXE_executor"))
            .arg("supervise")
            .arg(machine.folder(attempt))
            .status()
            .await
            .unwrap();
        assert!(status.success(), "{status}");
        assert_eq!(runner.look(attempt).await.unwrap(), before);
        assert_eq!(suite::whole_log(&runner, attempt, 99).await, b"ran\n");
    }
}

/// Once it is about to start the program, and once it has: who listens looks into the folder then.
#[tokio::test]
async fn a_supervisor_says_when_there_is_something_to_see() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo ran"));
    runner.prepare(&work).await.unwrap();
    let mut supervisor = tokio::process::Command::new(env!("CARGO_BIN_EXE_executor"));
    supervisor.arg("supervise").arg(machine.folder(work.attempt)).stdin(Stdio::null());
    let said = supervisor.output().await.unwrap();
    assert_eq!((said.status.code(), &said.stdout[..]), (Some(0), &b".."[..]));
    assert_eq!(suite::whole_log(&runner, work.attempt, 99).await, b"ran\n");
}

#[tokio::test]
async fn its_time_is_up_though_no_executor_is_there() {
    let machine = Machine::new();
    // So much that it has begun by then, also on a machine that has other work.
    let work =
        Work { timeout: Some(Duration::from_secs(6)), ..suite::script("echo begun; sleep 300") };
    let runner = machine.real();
    suite::start(&runner, &work).await;
    drop(runner);
    let exit = file(machine.folder(work.attempt).join("exit")).await;
    assert!(String::from_utf8_lossy(&exit).contains("timed_out"), "{exit:?}");
    let runner = machine.real();
    assert_eq!(suite::ended(&runner, work.attempt).await.cause, ExitCause::TimedOut);
    assert_eq!(suite::whole_log(&runner, work.attempt, 99).await, b"begun\n");
}

#[tokio::test]
async fn a_stop_is_heard_by_its_file_alone() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo begun; exec sleep 300"));
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "begun").await;
    // As if the executor had died between the file and the wake.
    fs::write(machine.folder(work.attempt).join("stop"), "terminate").unwrap();
    assert_eq!(suite::ended(&runner, work.attempt).await.cause, ExitCause::Stopped);
}

#[tokio::test]
async fn a_program_whose_folder_was_taken_away_does_not_go_on_unseen() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo begun; trap '' TERM; sleep 300; :"));
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "begun").await;
    let supervisor = machine.supervisor(work.attempt);
    fs::remove_dir_all(machine.state.path().join("attempts")).unwrap();
    suite::gone(&machine, &work.attempt.execution.to_string()).await;
    let deadline = Instant::now() + suite::SOON;
    while rustix::process::test_kill_process(supervisor).is_ok() {
        assert!(Instant::now() < deadline, "the supervisor goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stop_that_was_cut_off_before_go_still_never_runs_it() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo ran"));
    runner.prepare(&work).await.unwrap();
    fs::write(machine.folder(work.attempt).join("stop"), "terminate").unwrap();
    runner.go(work.attempt, &Default::default()).await.unwrap();
    let exit = suite::ended(&runner, work.attempt).await;
    assert_eq!((&exit.cause, &exit.log), (&ExitCause::Stopped, &ExitLog::NOTHING));
}

#[tokio::test]
async fn the_supervisor_has_nothing_of_the_executors() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo begun; exec sleep 300"));
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "begun").await;
    let pid = machine.supervisor(work.attempt).as_raw_nonzero();
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(String::from_utf8_lossy(&read("environ")), "");
    let stat = String::from_utf8_lossy(&read("stat")).into_owned();
    let session = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(3).unwrap();
    assert_eq!(session, pid.to_string(), "it shares the executor's session");
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets: Vec<String> = links
        .filter_map(|link| Some(fs::read_link(link.path()).ok()?.display().to_string()))
        .collect();
    let own = machine.folder(work.attempt).canonicalize().unwrap().display().to_string();
    for target in &targets {
        let known = target.starts_with(&own)
            || ["pipe:", "anon_inode:", "/dev/null"].iter().any(|k| target.starts_with(k));
        assert!(known, "it has {target} open, of {targets:?}");
    }
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test]
async fn a_program_may_open_as_many_files_as_before_the_executor_asked_for_more() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(300), maximum }).unwrap();
    octavius_service::raise_open_files();
    let script = suite::script("ulimit -S -n; ulimit -H -n");
    let (_, log) = suite::run(&Machine::new().real(), &script).await;
    let maximum = maximum.map_or("unlimited".to_owned(), |maximum| maximum.to_string());
    assert_eq!(String::from_utf8_lossy(&log), format!("300\n{maximum}\n"));
}

#[tokio::test]
async fn nobody_else_can_read_what_is_kept() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo secret"));
    suite::run(&runner, &work).await;
    let folder = machine.folder(work.attempt);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&machine.state.path().join("attempts")), 0o700);
    assert_eq!(mode(&folder), 0o700);
    for entry in fs::read_dir(&folder).unwrap().flatten() {
        assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
    }
}

#[tokio::test]
async fn what_crashes_left_half_done_is_cleared_at_the_next_start() {
    let machine = Machine::new();
    let work = suite::script(":");
    machine.real().prepare(&work).await.unwrap();
    let attempts = machine.state.path().join("attempts");
    for name in [".making-another-one", ".trash-of-another"] {
        fs::create_dir_all(attempts.join(name).join("work")).unwrap();
    }
    let found = machine.real().find().await.unwrap();
    assert_eq!(found.len(), 1);
    let names: Vec<_> = fs::read_dir(&attempts).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, [work.attempt.to_string().as_str()]);
}

#[tokio::test]
async fn a_prepare_that_fails_leaves_nothing_behind() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script(":"));
    // The attempt's name is taken, by what no folder can replace.
    std::os::unix::fs::symlink("nowhere", machine.folder(work.attempt)).unwrap();
    let error = runner.prepare(&work).await.unwrap_err();
    assert!(failed(&error).contains("preparing"), "{error}");
    let attempts = machine.state.path().join("attempts");
    let names: Vec<_> = fs::read_dir(&attempts).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, [work.attempt.to_string().as_str()]);
    // And nothing stands in the way of the next one.
    fs::remove_file(machine.folder(work.attempt)).unwrap();
    runner.prepare(&work).await.unwrap();
}

/// A program may write where its attempt is kept; that it lives is not for it to say.
#[tokio::test]
async fn what_a_program_puts_beside_its_files_does_not_make_it_look_gone() {
    let machine = Machine::new();
    let script = "touch ../lock ../identity ../running; echo made; exec sleep 300";
    let (runner, work) = (machine.real(), suite::script(script));
    runner.prepare(&work).await.unwrap();
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "made").await;
    assert_eq!(runner.look(work.attempt).await.unwrap().phase, Phase::Running);
    machine.destroy_keeper(work.attempt).await;
    let gone = runner.wait(work.attempt, &Phase::Running, suite::SOON).await.unwrap();
    assert_eq!(gone, Phase::Vanished(String::new()));
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test]
async fn a_damaged_attempt_hides_no_other_and_can_be_removed() {
    let machine = Machine::new();
    let (runner, good, bad) = (machine.real(), suite::script(":"), suite::script(":"));
    for work in [&good, &bad] {
        runner.prepare(work).await.unwrap();
    }
    fs::write(machine.folder(bad.attempt).join("work.json"), "{").unwrap();
    let found = runner.find().await.unwrap();
    assert_eq!(found.iter().map(|found| &found.work).collect::<Vec<_>>(), [&good]);
    let error = runner.look(bad.attempt).await.unwrap_err();
    assert!(failed(&error).contains("work.json"), "{error}");
    runner.remove(bad.attempt).await.unwrap();
    assert!(!machine.folder(bad.attempt).exists());
}

#[tokio::test]
async fn a_bound_that_holds_nothing_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let command = SupervisorCommand { program: "executor".into(), arguments: Vec::new() };
    let error = ProcessRunner::open(state.path(), command, 10).unwrap_err();
    let text = refused(&error);
    assert!(
        text.contains("`spool_max`") && text.contains("`10`") && text.contains("65536"),
        "{text}"
    );
}

#[tokio::test]
async fn the_hidden_command_is_not_for_people() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_executor"))
        .arg("supervise")
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("`supervise` is for the executor itself"), "{text}");
}

#[tokio::test]
async fn a_log_that_was_lost_in_a_crash_of_the_machine_ends_where_it_ends() {
    let machine = Machine::new();
    let (runner, work) = (machine.real(), suite::script("echo some text"));
    suite::run(&runner, &work).await;
    let beyond = Bytes::from_static(b"1000");
    assert_eq!(runner.follow(work.attempt, &beyond, 99, suite::SOON).await.unwrap(), None);
}
