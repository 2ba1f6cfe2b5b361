use super::*;
use octavius_client::v1::{
    Argument, ArgumentType, Attempt, Candidate, DescribeJobResponse, Execution, Executor,
    ExecutorState, GetExecutionResponse, Job, JobDefinition, KnownLater, Nearness, SecretName,
    SecretState, StateChange,
};

const HOUR: i64 = 3_600;

/// So many seconds before the time of [`Style::fixed`].
fn ago(seconds: i64) -> Option<prost_types::Timestamp> {
    let now = Style::fixed().now.as_second();
    Some(prost_types::Timestamp { seconds: now - seconds, nanos: 0 })
}

fn steps(steps: &[(ExecutionState, i64)]) -> Vec<StateChange> {
    let step = |&(state, seconds): &(ExecutionState, i64)| StateChange {
        state: state.into(),
        at: ago(seconds),
    };
    steps.iter().map(step).collect()
}

fn failed() -> Execution {
    Execution {
        id: "06ac1q5gt9vk3e1b7m2n4p6r8s".to_owned(),
        job: "greet".to_owned(),
        job_version: 2,
        submitted_by: "ada@example.com".to_owned(),
        state: ExecutionState::Failed.into(),
        reason: "exited with 3".to_owned(),
        reason_code: "exit_code".to_owned(),
        exit_code: Some(3),
        attempt: 1,
        executor: "blue".to_owned(),
        history: steps(&[
            (ExecutionState::Pending, HOUR),
            (ExecutionState::Running, HOUR - 1),
            (ExecutionState::Failed, HOUR - 91),
        ]),
        notes: vec!["the secret TOKEN is not set".to_owned()],
        log_size: 2_048,
        arguments: [("a", "x=y=="), ("d", "line1\nline2\u{1b}[31m"), ("g", "")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Execution::default()
    }
}

fn cancelling() -> Execution {
    Execution {
        id: "06ac1q5gt9vk3e1b7m2n4p6r90".to_owned(),
        job: "a-job-with-a-long-name".to_owned(),
        state: ExecutionState::Running.into(),
        cancelling: true,
        submitted_by: "bob".to_owned(),
        history: steps(&[(ExecutionState::Pending, 3)]),
        ..Execution::default()
    }
}

fn job() -> Job {
    Job {
        definition: Some(JobDefinition {
            name: "greet".to_owned(),
            description: "Greets somebody\nby name\u{202e}".to_owned(),
            image_name: "registry:5000/hello@sha256:00".to_owned(),
            command: ["sh", "-c", "echo hello \"$name\""].map(str::to_owned).into(),
            arguments: vec![
                Argument {
                    name: "name".to_owned(),
                    description: "Who is greeted".to_owned(),
                    required: true,
                    r#type: ArgumentType::String.into(),
                    ..Argument::default()
                },
                Argument {
                    name: "loudly".to_owned(),
                    r#type: ArgumentType::Bool.into(),
                    default_value: Some("false".to_owned()),
                    ..Argument::default()
                },
            ],
            secrets: vec![SecretName { name: "TOKEN".to_owned(), description: "Opens".to_owned() }],
            timeout: Some(prost_types::Duration { seconds: 90, nanos: 0 }),
            authorized_groups: vec!["demo".to_owned(), "ops".to_owned()],
            ..JobDefinition::default()
        }),
        version: 2,
        uid: "u".to_owned(),
        created_at: ago(26 * HOUR),
        created_by: "ada@example.com".to_owned(),
    }
}

fn described(secrets: Vec<SecretState>) -> DescribeJobResponse {
    DescribeJobResponse { job: Some(job()), newest_version: 2, secrets }
}

#[test]
fn an_execution_says_how_it_ended_and_its_values_can_be_told_apart() {
    insta::assert_snapshot!(failed().text(&Style::fixed()), @r#"
    execution  06ac1q5gt9vk3e1b7m2n4p6r8s
    job        greet, version 2
    by         ada@example.com
    state      failed: exited with 3
    exit code  3
    attempt    1, on executor blue
    arguments  a="x=y=="
               d="line1\nline2\u{1b}[31m"
               g=""
    history    pending    2026-11-25 13:00:00 +02:00 (1h ago)
               running    2026-11-25 13:00:01 +02:00 (59m59s ago)
               failed     2026-11-25 13:01:31 +02:00 (58m29s ago)
    log        2.0 KiB
    notes      the secret TOKEN is not set
    "#);
}

#[test]
fn the_end_of_an_execution_is_one_sentence_that_names_its_code_once() {
    let unnamed = Execution { reason: String::new(), ..failed() };
    assert_eq!(
        [execution::ending(&failed()), execution::ending(&unnamed)],
        [
            "execution 06ac1q5gt9vk3e1b7m2n4p6r8s failed after 1m31s: exited with 3",
            "execution 06ac1q5gt9vk3e1b7m2n4p6r8s failed after 1m31s with exit code 3",
        ]
    );
}

#[test]
fn programs_get_all_of_an_execution() {
    insta::assert_json_snapshot!(failed().document(), @r#"
    {
      "arguments": {
        "a": "x=y==",
        "d": "line1\nline2\u001b[31m",
        "g": ""
      },
      "attempt": 1,
      "attempts": [],
      "attempts_from": "",
      "cancelling": false,
      "concurrency_key": "",
      "executor": "blue",
      "exit_code": 3,
      "final": true,
      "history": [
        {
          "at": "2026-11-25T11:00:00Z",
          "state": "pending"
        },
        {
          "at": "2026-11-25T11:00:01Z",
          "state": "running"
        },
        {
          "at": "2026-11-25T11:01:31Z",
          "state": "failed"
        }
      ],
      "id": "06ac1q5gt9vk3e1b7m2n4p6r8s",
      "job": "greet",
      "job_version": 2,
      "known_later": null,
      "log_cut": "",
      "log_size": 2048,
      "max_attempts": 0,
      "notes": [
        "the secret TOKEN is not set"
      ],
      "on": {},
      "priority": null,
      "reason": "exited with 3",
      "reason_code": "exit_code",
      "rerun_of": "",
      "retry_at": null,
      "runs_as": "",
      "start_timeout_from": "",
      "start_timeout_seconds": null,
      "state": "failed",
      "submitted_by": "ada@example.com",
      "team": "",
      "timeout_from": "",
      "timeout_seconds": null,
      "waits_for": ""
    }
    "#);
}

#[test]
fn what_a_start_waits_for_and_as_what_it_runs_is_shown() {
    let note = "a process of it was killed for memory".to_owned();
    let first = Attempt {
        number: 1,
        state: ExecutionState::Failed.into(),
        reason: "exited with 1".to_owned(),
        note: note.clone(),
        ..Attempt::default()
    };
    let starting = Execution {
        state: ExecutionState::Starting.into(),
        reason: "prepared at blue; its program does not run yet: no node\nhas 4 CPUs".to_owned(),
        reason_code: String::new(),
        exit_code: None,
        attempt: 2,
        attempts: vec![first],
        waits_for: "no node\nhas 4 CPUs".to_owned(),
        runs_as: "reports/octavius-06ac1q5gt9vk3e1b7m2n4p6r8s-2".to_owned(),
        start_timeout: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        history: steps(&[(ExecutionState::Starting, 3)]),
        notes: Vec::new(),
        arguments: Default::default(),
        log_size: 0,
        ..failed()
    };
    insta::assert_snapshot!(starting.text(&Style::fixed()), @r"
    execution  06ac1q5gt9vk3e1b7m2n4p6r8s
    job        greet, version 2
    by         ada@example.com
    state      starting: prepared at blue; its program does not run yet: no node\nhas 4 CPUs
    attempt    2, on executor blue
    runs as    reports/octavius-06ac1q5gt9vk3e1b7m2n4p6r8s-2
    earlier    1 failed: exited with 1; log 0 B; a process of it was killed for memory
    to start   10m
    history    starting   2026-11-25 13:59:57 +02:00 (3s ago)
    log        0 B so far
    ");
    let document = starting.document();
    assert_eq!(document["waits_for"], "no node\nhas 4 CPUs");
    assert_eq!(document["runs_as"], "reports/octavius-06ac1q5gt9vk3e1b7m2n4p6r8s-2");
    assert_eq!(document["attempts"][0]["note"], note);
}

#[test]
fn what_became_known_of_what_was_lost_stands_beside_its_end() {
    let known = KnownLater {
        state: ExecutionState::Succeeded.into(),
        reason: "the program exited\nwith 0".to_owned(),
        exit_code: Some(0),
        at: ago(2),
        ..KnownLater::default()
    };
    let coming = KnownLater {
        exit_code: None,
        log_is_coming: true,
        note: "a note".to_owned(),
        ..known.clone()
    };
    let first = Attempt {
        number: 1,
        state: ExecutionState::Lost.into(),
        reason: "was not heard".to_owned(),
        known_later: Some(coming),
        ..Attempt::default()
    };
    let lost = Execution {
        state: ExecutionState::Lost.into(),
        exit_code: None,
        reason: "was not heard".to_owned(),
        attempt: 2,
        attempts: vec![first],
        known_later: Some(known),
        arguments: Default::default(),
        notes: Vec::new(),
        history: steps(&[(ExecutionState::Lost, 3)]),
        ..failed()
    };
    insta::assert_snapshot!(lost.text(&Style::fixed()), @r"
    execution  06ac1q5gt9vk3e1b7m2n4p6r8s
    job        greet, version 2
    by         ada@example.com
    state      lost: was not heard
    later      succeeded, exit code 0, at 2026-11-25 13:59:58 +02:00; the program exited\nwith 0
    attempt    2, on executor blue
    earlier    1 lost: was not heard; log 0 B; known later: succeeded, at 2026-11-25 13:59:58 +02:00; the program exited\nwith 0; a note; the rest of its log is on its way
    history    lost       2026-11-25 13:59:57 +02:00 (3s ago)
    log        2.0 KiB
    ");
    let document = lost.document();
    assert_eq!(document["known_later"]["exit_code"], 0);
    assert_eq!(document["known_later"]["at"], "2026-11-25T11:59:58Z");
    assert_eq!(document["attempts"][0]["known_later"]["log_is_coming"], true);
    assert_eq!(failed().document()["known_later"], serde_json::Value::Null);
}

#[test]
fn executions_stand_in_columns() {
    let style = Style::fixed();
    let both = vec![cancelling(), failed()];
    insta::assert_snapshot!(both.text(&style), @r"
    ID                          JOB                     STATE                 AGE  SUBMITTED                   BY               REASON
    06ac1q5gt9vk3e1b7m2n4p6r90  a-job-with-a-long-name  running (cancelling)  3s   2026-11-25 13:59:57 +02:00  bob
    06ac1q5gt9vk3e1b7m2n4p6r8s  greet                   failed                1h   2026-11-25 13:00:00 +02:00  ada@example.com  exited with 3
    ");
    // In a terminal a long reason is cut, before it what says less is left out.
    let words = "waits for a free place of 1; 2 executions are before it";
    let waits = vec![Execution { reason: words.to_owned(), ..failed() }];
    insta::assert_snapshot!(waits.text(&Style { width: Some(80), ..style.clone() }), @r"
    ID                          JOB    STATE   AGE  REASON
    06ac1q5gt9vk3e1b7m2n4p6r8s  greet  failed  1h   waits for a free place of 1; 2…
    ");
    insta::assert_snapshot!(both.text(&Style { wide: true, ..style.clone() }), @r"
    ID                          JOB                     STATE                 AGE  SUBMITTED                   BY               ATTEMPT  EXECUTOR  EXIT  LOG      REASON
    06ac1q5gt9vk3e1b7m2n4p6r90  a-job-with-a-long-name  running (cancelling)  3s   2026-11-25 13:59:57 +02:00  bob              0                        0 B
    06ac1q5gt9vk3e1b7m2n4p6r8s  greet                   failed                1h   2026-11-25 13:00:00 +02:00  ada@example.com  1        blue      3     2.0 KiB  exited with 3
    ");
    assert_eq!(both.names().len(), 2);
    assert_eq!(Vec::<Execution>::new().text(&style), "");
}

#[test]
fn colour_is_there_only_where_it_is_wanted() {
    let plain = Style::fixed();
    let coloured = Style { colour: true, ..plain.clone() };
    let both = vec![cancelling(), failed()];
    for text in [failed().text(&plain), both.text(&plain), described(Vec::new()).text(&plain)] {
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(failed().text(&coloured).contains("\u{1b}[31mfailed"));
    assert!(both.text(&coloured).contains('\u{1b}'));
}

#[test]
fn a_job_says_what_it_takes_and_how_to_run_it() {
    let token = SecretState {
        name: "TOKEN".to_owned(),
        set: true,
        set_at: ago(HOUR),
        set_by: "ada@example.com".to_owned(),
    };
    insta::assert_snapshot!(described(vec![token]).text(&Style::fixed()), @r#"
    job           greet, version 2
    description   Greets somebody
                  by name\u{202e}
    image         registry:5000/hello@sha256:00
    command       sh -c 'echo hello "$name"'
    timeout       1m30s
    arguments     name    string  required                   Who is greeted
                  loudly  bool    optional  default "false"
    secrets       TOKEN  set 2026-11-25 13:00:00 +02:00 by ada@example.com  Opens
    groups        demo, ops
    stored        2026-11-24 12:00:00 +02:00 (1d2h ago), by ada@example.com
    run it with   octavius execute greet name=VALUE --follow
    "#);
}

#[test]
fn jobs_stand_in_columns() {
    let style = Style { wide: true, ..Style::fixed() };
    insta::assert_snapshot!(vec![job()].text(&style), @r"
    NAME   DESCRIPTION                       VERSION  AGE   STORED                      BY               IMAGE
    greet  Greets somebody\nby name\u{202e}  2        1d2h  2026-11-24 12:00:00 +02:00  ada@example.com  registry:5000/hello@sha256:00
    ");
}

#[test]
fn a_described_job_can_be_created_again() {
    let document = described(Vec::new()).document();
    let text = document["definition"].to_string();
    let again = octavius_client::definition::parse(&text, "a.json").unwrap();
    assert_eq!(Some(again), job().definition);
}

#[test]
fn created_jobs_say_whether_they_are_new() {
    let outcomes = [(true, true), (true, false), (false, false)]
        .map(|(changed, created)| Ok(stored::Outcome::of(Some(job()), changed, created)));
    let results = outcomes.into_iter().map(|outcome| ("a.yaml".to_owned(), outcome)).collect();
    let mut stored = stored::Stored { results, dry_run: false };
    insta::assert_snapshot!(stored.text(&Style::fixed()), @r"
    job `greet` is created, version 2
    job `greet` is changed, version 2
    job `greet` is there already, with equal content
    ");
    stored.dry_run = true;
    insta::assert_snapshot!(stored.text(&Style::fixed()), @r"
    job `greet` would be created, version 2
    job `greet` would be changed, version 2
    job `greet` is there already, with equal content
    ");
    assert_eq!(stored.document()["jobs"][1]["changed"], true);
}

#[test]
fn executors_say_when_they_were_heard() {
    let executor = Executor {
        id: "blue".to_owned(),
        state: ExecutorState::Ready.into(),
        runner: "process".to_owned(),
        version: "0.1.0".to_owned(),
        capacity: 4,
        held: 1,
        labels: [("zone".to_owned(), "eu".to_owned())].into(),
        silent_for: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        registered_at: ago(HOUR),
        ..Executor::default()
    };
    let silent = Executor {
        id: "red".to_owned(),
        state: ExecutorState::Unknown.into(),
        silent_for: None,
        held: 6,
        ended: 4,
        ..executor.clone()
    };
    let style = Style { wide: true, ..Style::fixed() };
    insta::assert_snapshot!(vec![executor, silent].text(&style), @r"
    ID    STATE    RUNS     HELD              HEARD    SINCE                       VERSION  LABELS
    blue  ready    process  1 of 4            2s ago   2026-11-25 13:00:00 +02:00  0.1.0    zone=eu
    red   unknown  process  2 of 4, 4 ending  not yet  2026-11-25 13:00:00 +02:00  0.1.0    zone=eu
    ");
}

#[test]
fn executors_say_what_they_cannot_see_as_long_as_they_are_heard() {
    let blind = Executor {
        id: "blue".to_owned(),
        state: ExecutorState::Ready.into(),
        runner: "kubernetes".to_owned(),
        capacity: 4,
        silent_for: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        registered_at: ago(HOUR),
        unseen: "pods in the namespace `jobs` cannot be seen: forbidden".to_owned(),
        ..Executor::default()
    };
    let gone =
        Executor { id: "red".to_owned(), state: ExecutorState::Lost.into(), ..blind.clone() };
    let both = vec![blind, gone];
    insta::assert_snapshot!(both.text(&Style::fixed()), @r"
    ID    STATE          RUNS        HELD    HEARD   SINCE
    blue  ready (blind)  kubernetes  0 of 4  2s ago  2026-11-25 13:00:00 +02:00
    red   lost           kubernetes  0 of 4  2s ago  2026-11-25 13:00:00 +02:00
    blue takes no new work: pods in the namespace `jobs` cannot be seen: forbidden
    ");
    let unseen = &both.document()["executors"][0]["unseen"];
    assert_eq!(unseen, "pods in the namespace `jobs` cannot be seen: forbidden");
}

#[test]
fn an_explanation_is_whole_on_a_narrow_terminal() {
    let waits = Execution {
        id: "06ac1q5gt9vk3e1b7m2n4p6r8s".to_owned(),
        job: "deploy".to_owned(),
        job_version: 2,
        state: ExecutionState::Pending.into(),
        reason: "no executor has the label `region=moon`".to_owned(),
        team: "web".to_owned(),
        priority: Some(5),
        history: steps(&[(ExecutionState::Pending, 3)]),
        ..Execution::default()
    };
    let candidate = |executor: &str, nearness: Nearness, words: &str| Candidate {
        executor: executor.to_owned(),
        nearness: nearness.into(),
        words: words.to_owned(),
    };
    let explained = GetExecutionResponse {
        execution: Some(waits),
        candidates: vec![
            candidate("berlin-1", Nearness::Unfit, "has region=berlin, not moon"),
            candidate(
                "paris-1",
                Nearness::Away,
                "silent since 2026-11-25T11:59:45Z, and gets nothing new",
            ),
        ],
        more_candidates: 3,
    };
    let narrow = Style { width: Some(40), ..Style::fixed() };
    insta::assert_snapshot!(explained.text(&narrow), @r"
    execution      06ac1q5gt9vk3e1b7m2n4p6r8s
    job            deploy, version 2
    state          pending: no executor has the label `region=moon`
    priority       5
    team           web

    EXECUTOR  IS     WHY
    berlin-1  unfit  has region=berlin, not moon
    paris-1   away   silent since 2026-11-25T11:59:45Z, and gets nothing new
    and 3 more executors
    ");
    assert_eq!(explained.names(), ["berlin-1", "paris-1"]);
    let bare = GetExecutionResponse { candidates: Vec::new(), ..explained };
    assert!(!bare.text(&narrow).contains("EXECUTOR"));
}
