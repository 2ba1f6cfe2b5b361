//! Secrets: they come to the program whole, and lie nowhere else.

use super::{Place, check_log, ended, log_with, script, start, unique, whole_log};
use crate::runner::RunnerError;
use octavius_protocol::secret::SecretValues;
use std::fmt::Write as _;

/// Values that a shell, a JSON file or a line-based form would spoil; the last is larger than a pipe holds.
fn hostile() -> Vec<String> {
    let mut values: Vec<String> =
        ["planted-$$(x)", "planted-=a\nb=c", " planted \u{1} ", "planted-\"'\\`ä"]
            .map(str::to_owned)
            .to_vec();
    values.push("planted-".to_owned() + &"x".repeat(131_000));
    values
}

/// P5: byte for byte in the program's environment, and in none of the files that are kept, before and after.
pub async fn secrets_arrive_byte_for_byte_and_lie_nowhere(place: &dyn Place) {
    let runner = place.open().await;
    let (mut text, mut expected) = (String::new(), String::new());
    let mut secrets = SecretValues::default();
    for (number, value) in hostile().into_iter().enumerate() {
        write!(text, "printf %s \"$S{number}\" | od -An -v -tx1 | tr -d ' \\n'; echo;").unwrap();
        value.bytes().for_each(|byte| write!(expected, "{byte:02x}").unwrap());
        expected.push('\n');
        secrets.insert(format!("S{number}"), value);
    }
    // It stays until all is read: a container runtime may lose what it has not read when a program ends.
    let gate = place.shared().join(unique());
    write!(text, "while [ ! -e {} ]; do sleep 0.1; done", gate.display()).unwrap();
    let mut work = script(&text);
    work.secrets = Some(secrets);
    runner.prepare(&work).await.unwrap();
    let holds = |kept: &[u8]| kept.windows(7).any(|part| part == b"planted");
    assert!(!holds(&place.kept(work.attempt)), "in a file before it ran");
    start(&*runner, &work).await;
    log_with(&*runner, work.attempt, &expected).await;
    tokio::fs::write(&gate, "").await.unwrap();
    let exit = ended(&*runner, work.attempt).await;
    let log = whole_log(&*runner, work.attempt, 1 << 20).await;
    check_log(&exit, &log);
    assert_eq!(String::from_utf8_lossy(&log), expected);
    assert!(!holds(&place.kept(work.attempt)), "in a file after it ran");
}

/// What an earlier process had in memory alone is asked for, and nothing runs without it.
pub async fn who_has_lost_the_secrets_says_so(place: &dyn Place) {
    let mut work = script("echo \"$TOKEN\"");
    work.secrets.get_or_insert_default().insert("TOKEN", "planted-token".to_owned());
    place.open().await.prepare(&work).await.unwrap();
    let runner = place.open().await;
    assert_eq!(runner.find().await.unwrap()[0].work.secrets, None);
    let refused = runner.go(work.attempt, &SecretValues::default()).await.unwrap_err();
    assert!(matches!(&refused, RunnerError::Refused(why) if why.contains("TOKEN")), "{refused}");
    runner.go(work.attempt, &work.secrets.unwrap()).await.unwrap();
    ended(&*runner, work.attempt).await;
    assert_eq!(whole_log(&*runner, work.attempt, 1 << 20).await, b"planted-token\n");
    // Whoever starts again now needs them no more.
    place.open().await.go(work.attempt, &SecretValues::default()).await.unwrap();
}
