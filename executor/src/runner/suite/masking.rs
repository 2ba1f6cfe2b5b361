//! Masking: what leaves of the log of a program that prints its secrets.

use super::{Place, SOON, ended, start};
use crate::{
    mask::{LogEnd, MASK, Masker},
    runner::{Phase, Runner, RunnerError, Work},
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// Follows a masked log from a place on, as it is written, up to its end or until it holds `enough`. Where it stopped.
async fn follow(
    runner: &dyn Runner,
    work: &Work,
    log: &mut Vec<u8>,
    mut cursor: Bytes,
    enough: &str,
) -> Bytes {
    let masker = Masker::of(work.secrets.as_ref().unwrap());
    let deadline = Instant::now() + SOON;
    while enough.is_empty() || !String::from_utf8_lossy(log).contains(enough) {
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(log));
        // In this order: what is over before a look at the log is over with all of its log.
        let phase = runner.look(work.attempt).await.unwrap().phase;
        let is_over = matches!(phase, Phase::Ended(_));
        let end = if is_over { LogEnd::Silence } else { LogEnd::Unknown };
        let place = (log.len() as u64, &cursor);
        let within = Duration::from_millis(500);
        match masker.follow(runner, work.attempt, place, 1 << 20, within, end).await {
            Ok(Some(piece)) => {
                assert_eq!(piece.offset, log.len() as u64);
                assert!(piece.cursor.len() <= 256);
                piece.chunks.iter().for_each(|(_, bytes)| log.extend_from_slice(bytes));
                cursor = piece.cursor;
            }
            Ok(None) if is_over => break,
            Ok(None) | Err(RunnerError::Failed { .. }) => {}
            Err(error) => panic!("{} bytes were read: {error}", log.len()),
        }
    }
    cursor
}

/// P5: plain, in two writes, in base64 and escaped; a fresh start goes on at the cursor of the one before.
pub async fn what_a_program_prints_of_a_secret_is_masked(place: &dyn Place) {
    let gate = place.shared().join(super::unique());
    let mut work = super::script(&format!(
        "echo \"v=$TOKEN\"; printf %s \"$TOKEN\" | base64
        printf 'half plan'; while [ ! -e '{}' ]; do sleep 0.1; done; printf 'ted/secret\\n'
        echo url=planted%2Fsecret; printf planted",
        gate.display()
    ));
    work.secrets.get_or_insert_default().insert("TOKEN", "planted/secret".to_owned());
    let runner = place.open().await;
    start(&*runner, &work).await;
    let mut log = Vec::new();
    let cursor = follow(&*runner, &work, &mut log, Bytes::new(), "\n[masked]").await;
    std::fs::write(&gate, "").unwrap();
    let runner = place.open().await;
    follow(&*runner, &work, &mut log, cursor, "").await;
    ended(&*runner, work.attempt).await;
    let text = String::from_utf8(log).unwrap();
    // Of base64 the last characters depend on what follows.
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[0], format!("v={MASK}"));
    assert!(lines[1].starts_with(MASK) && lines[1].len() <= MASK.len() + 2, "{text}");
    assert_eq!(lines[2..5], ["half [masked]", "url=[masked]", "planted"]);
    assert_eq!(lines[5], "[octavius: 4 values of secrets are masked in this log]");
}
