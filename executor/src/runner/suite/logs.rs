//! What a program is given, and what it writes.

use super::{
    Place, SOON, check_code, check_log, command, ended, log_with, next_piece, run, script, start,
    unique, whole_log,
};
use crate::runner::RunnerError;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

/// P4: each byte once, in order, whatever it is.
pub async fn bytes_are_kept_as_written(place: &dyn Place) {
    let runner = place.open().await;
    let long_lines = "head -c 1048576 /dev/zero | tr '\\0' x; echo; head -c 1048576 /dev/zero";
    let mut two_long_lines = vec![b'x'; 1 << 20];
    two_long_lines.push(b'\n');
    two_long_lines.resize(two_long_lines.len() + (1 << 20), 0);
    let cases: [(&str, Vec<u8>); 5] = [
        (":", b"".to_vec()),
        ("printf 'no newline'", b"no newline".to_vec()),
        ("printf '\\000\\377\\001\\r\\n\\033[31m'", b"\0\xff\x01\r\n\x1b[31m".to_vec()),
        ("printf '\\n\\n\\n'", b"\n\n\n".to_vec()),
        (long_lines, two_long_lines),
    ];
    for (text, expected) in cases {
        let (exit, log) = run(&*runner, &script(text)).await;
        check_code(&exit, 0);
        assert!(log == expected, "`{text}` left {} bytes, not {}", log.len(), expected.len());
    }
}

/// More than any pipe holds, faster than any follower reads.
pub async fn much_and_fast(place: &dyn Place) {
    let runner = place.open().await;
    let (exit, log) = run(&*runner, &command(&["seq", "1", "1500000"])).await;
    check_code(&exit, 0);
    let mut expected = String::new();
    for number in 1..=1_500_000 {
        writeln!(expected, "{number}").unwrap();
    }
    assert!(log == expected.into_bytes(), "{} bytes", log.len());
}

/// Standard output and error are one log, in the order in which they were written.
pub async fn both_outputs_in_their_order(place: &dyn Place) {
    let runner = place.open().await;
    let text = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let (_, log) = run(&*runner, &script(text)).await;
    let mut expected = String::new();
    for number in 0..200 {
        write!(expected, "out {number}\nerr {number}\n").unwrap();
    }
    assert_eq!(String::from_utf8_lossy(&log), expected);
}

const HOSTILE: [&str; 11] = [
    "",
    " ",
    "-n",
    "--help",
    "two words",
    "$(HOME) $HOME `id`",
    "$(v0) $$(v1) pa$$w0rd $(nosuch) $(date +%Y)",
    "line\nbreak\n",
    "'\"\\'\"",
    "a=1,b=2;*?",
    "Grüße \u{1f600}",
];

/// In the command and in the environment, nothing is expanded, split or trimmed.
pub async fn arguments_arrive_byte_for_byte(place: &dyn Place) {
    let runner = place.open().await;
    let mut words = vec!["sh", "-c", "printf '%s\\0' \"$@\"", "sh"];
    words.extend(HOSTILE);
    // Also where a variable has the name that stands in brackets.
    let taken = ["v0", "v1", "date"].map(|name| (name.to_owned(), "taken".to_owned()));
    let work = super::Work { arguments: taken.into(), ..command(&words) };
    let (_, log) = run(&*runner, &work).await;
    let expected: String = HOSTILE.iter().flat_map(|word| [word, "\0"]).collect();
    assert_eq!(String::from_utf8_lossy(&log), expected);

    let mut text = String::new();
    let mut arguments = BTreeMap::new();
    for (number, value) in HOSTILE.iter().enumerate() {
        write!(text, "printf '%s\\0' \"$v{number}\";").unwrap();
        arguments.insert(format!("v{number}"), (*value).to_owned());
    }
    let (_, log) = run(&*runner, &super::Work { arguments, ..script(&text) }).await;
    assert_eq!(String::from_utf8_lossy(&log), expected);
}

/// The job's arguments, our four variables, what the kind always gives, and nothing of the executor's.
pub async fn the_environment_is_clean(place: &dyn Place) {
    let runner = place.open().await;
    let mut work = command(&["env"]);
    work.arguments.insert("name".to_owned(), "Ada".to_owned());
    let (_, log) = run(&*runner, &work).await;
    let log = String::from_utf8(log).unwrap();
    let mut seen: Vec<&str> = log.lines().map(|line| line.split_once('=').unwrap().0).collect();
    seen.sort_unstable();
    let mut expected = place.ambient_variables();
    expected.extend(["OCTAVIUS_EXECUTION_ID", "OCTAVIUS_ATTEMPT", "OCTAVIUS_JOB", "OCTAVIUS_USER"]);
    expected.push("name");
    expected.sort_unstable();
    assert_eq!(seen, expected);
    for (name, value) in [
        ("OCTAVIUS_EXECUTION_ID", work.attempt.execution.to_string()),
        ("OCTAVIUS_ATTEMPT", "1".to_owned()),
        ("OCTAVIUS_JOB", work.job),
        ("OCTAVIUS_USER", work.user),
        ("name", "Ada".to_owned()),
    ] {
        assert!(log.lines().any(|line| line == format!("{name}={value}")), "{name} in {log}");
    }
}

/// Two attempts do not see each other's files.
pub async fn a_working_folder_of_its_own(place: &dyn Place) {
    let runner = place.open().await;
    let work = script("ls; echo hello > file && cat file && [ -w \"${TMPDIR:-/tmp}\" ]");
    for _ in 0..2 {
        let (exit, log) = run(&*runner, &work_again(&work)).await;
        check_code(&exit, 0);
        assert_eq!(String::from_utf8_lossy(&log), "hello\n");
    }
}

fn work_again(work: &super::Work) -> super::Work {
    super::Work { attempt: script("").attempt, ..work.clone() }
}

/// P4: a reader that was cut off resumes where it stopped, with a fresh runner as well.
pub async fn resumes_at_any_cursor(place: &dyn Place) {
    let runner = place.open().await;
    let (exit, log) = run(&*runner, &script("seq 1 300; printf end")).await;
    assert!(log.starts_with(b"1\n2\n3\n") && log.ends_with(b"300\nend"));
    let attempt = runner.find().await.unwrap()[0].work.attempt;
    for most in [1, 7, 1000] {
        assert!(whole_log(&*runner, attempt, most).await == log);
    }
    let (mut read, mut cursor) = (Vec::new(), Bytes::new());
    loop {
        let runner = place.open().await;
        let piece = next_piece(&*runner, attempt, &cursor, 100).await;
        let Some(piece) = piece else { break };
        read.extend(piece.chunks.iter().flat_map(|(_, bytes)| bytes));
        cursor = piece.cursor;
    }
    check_log(&exit, &read);
}

/// It gets bytes soon after they are written, nothing before, and is not kept once the log is over.
pub async fn a_follower_waits_and_learns_the_end(place: &dyn Place) {
    let runner = place.open().await;
    let gate = place.shared().join(unique());
    let text =
        format!("echo first; while [ ! -e {} ]; do sleep 0.05; done; echo last", gate.display());
    let work = script(&text);
    runner.prepare(&work).await.unwrap();
    let follow = |cursor: Bytes, within: Duration| {
        let runner = runner.clone();
        async move { runner.follow(work.attempt, &cursor, 1 << 20, within).await.unwrap() }
    };
    let nothing = follow(Bytes::new(), Duration::from_millis(50)).await;
    assert_eq!(nothing, None, "of what did not go");
    runner.go(work.attempt, &Default::default()).await.unwrap();
    let (log, cursor) = log_with(&*runner, work.attempt, "\n").await;
    assert_eq!(log, "first\n");
    let asked = Instant::now();
    assert_eq!(follow(cursor.clone(), Duration::from_millis(300)).await, None);
    assert!(asked.elapsed() >= Duration::from_millis(300), "it did not wait");
    let (piece, ()) = tokio::join!(follow(cursor, SOON), async {
        tokio::fs::write(&gate, "").await.unwrap();
    });
    let piece = piece.unwrap();
    assert_eq!(
        piece.chunks.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect::<Vec<_>>(),
        b"last\n"
    );
    ended(&*runner, work.attempt).await;
    let asked = Instant::now();
    assert_eq!(follow(piece.cursor, SOON).await, None);
    assert!(asked.elapsed() < SOON / 2, "it was kept though the log was over");
}

/// Bytes that were written apart have times apart, of this machine's wall clock.
pub async fn times_are_those_of_writing(place: &dyn Place) {
    let runner = place.open().await;
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = wall();
    let gates = [unique(), unique()].map(|name| place.shared().join(name));
    let opens =
        |number: usize| format!("until [ -e {} ]; do sleep 0.05; done", gates[number].display());
    let work = script(&format!("echo one; {}; echo two; {}; echo three", opens(0), opens(1)));
    start(&*runner, &work).await;
    for (word, gate) in ["one\n", "two\n"].into_iter().zip(&gates) {
        // Read, and thus dated, long before what follows is written.
        log_with(&*runner, work.attempt, word).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        tokio::fs::write(gate, "").await.unwrap();
    }
    let exit = ended(&*runner, work.attempt).await;
    let after = wall();
    let (mut chunks, mut cursor) = (Vec::new(), Bytes::new());
    while let Some(piece) = next_piece(&*runner, work.attempt, &cursor, 1 << 20).await {
        chunks.extend(piece.chunks);
        cursor = piece.cursor;
    }
    let texts: Vec<&[u8]> = chunks.iter().map(|(_, bytes)| &bytes[..]).collect();
    assert_eq!(texts, [&b"one\n"[..], b"two\n", b"three\n"]);
    check_log(&exit, &texts.concat());
    assert!(before <= chunks[0].0 && chunks[2].0 <= after, "{before} {chunks:?} {after}");
    for pair in chunks.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 400, "{chunks:?}");
    }
}

/// A cursor that this kind did not make is refused, in words.
pub async fn a_cursor_of_somebody_else(place: &dyn Place) {
    let runner = place.open().await;
    let work = script(":");
    run(&*runner, &work).await;
    let bad = Bytes::from_static(b"no cursor of ours");
    let refused = runner.follow(work.attempt, &bad, 1, Duration::ZERO).await.unwrap_err();
    assert!(matches!(&refused, RunnerError::Refused(text) if text.contains("cursor")), "{refused}");
}
