//! How large a log is once it is masked, before it is sent.

use super::{FOLLOW, rules::crc_behind};
use crate::{
    attempts::ending::WholeLog,
    mask::{LogEnd, Masker, is_over},
    runner::{Runner, RunnerError},
};
use bytes::Bytes;
use octavius_protocol::id::AttemptId;

/// How much of a log is measured at once, in bytes.
const MEASURED: usize = 1 << 20;

/// Size and checksum of a log as it will be sent, of which the program wrote `size` bytes.
pub(in crate::attempts) async fn measured(
    runner: &dyn Runner,
    masker: &Masker,
    attempt: AttemptId,
    size: u64,
) -> Result<WholeLog, RunnerError> {
    let (mut log, mut cursor) = (WholeLog::default(), Bytes::new());
    while !is_over(&cursor, log.size, size) {
        let (place, end) = ((log.size, &cursor), LogEnd::At(size));
        let read = masker.follow(runner, attempt, place, MEASURED, FOLLOW, end).await?;
        let piece = read.ok_or_else(|| {
            RunnerError::NotYet(format!("of its log there are not {size} bytes to read"))
        })?;
        log.size += piece.size() as u64;
        log.crc = piece.chunks.iter().fold(log.crc, |crc, (_, bytes)| crc_behind(crc, bytes));
        cursor = piece.cursor;
    }
    Ok(log)
}
