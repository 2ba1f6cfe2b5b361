//! Pouring a log out: raw bytes for people and pipes, or one JSON object a line.

use crate::{
    exit::Failure,
    lines::{Lines, stamp},
    output::{Output, reader_left},
    render::text::{one_line, paragraph},
};
use bytes::Bytes;
use data_encoding::BASE64;
use futures::StreamExt;
use octavius_client::{LogItem, LogStream, Notice, v1::LogEnd};
use prost_types::Timestamp;
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for `work`, unless the user interrupts: then says `how_to_come_back`, and what runs goes on.
pub(crate) async fn interruptible<T>(
    output: &Output,
    how_to_come_back: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Listened for before the first word is out: who has read it may interrupt.
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        biased;
        done = work => done,
        _ = interrupt.recv() => {
            output.note(how_to_come_back);
            Err(Failure::Interrupted)
        }
    }
}

/// Waits for `work`, and not for longer than `limit`: then says what `goes_on`.
pub(crate) async fn bounded<T>(
    limit: Option<Duration>,
    goes_on: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(limit) = limit else { return work.await };
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(Failure::Waited { limit, goes_on: goes_on.to_owned() }))
}

/// Writes each byte of the log to standard output as it is, and tells on standard error what there is to know.
pub(crate) async fn pour(output: &Output, log: LogStream) -> Result<LogEnd, Failure> {
    pour_lines_of(output, log, Lines::default()).await
}

/// The same, with the time before each line.
pub(crate) async fn pour_with_times(output: &Output, log: LogStream) -> Result<LogEnd, Failure> {
    pour_lines_of(output, log, Lines::with_times()).await
}

async fn pour_lines_of(
    output: &Output,
    mut log: LogStream,
    mut lines: Lines,
) -> Result<LogEnd, Failure> {
    let pouring = async {
        while let Some(item) = log.next().await {
            match item? {
                LogItem::Bytes { data, at, .. } => output.bytes(lines.take(data, at)).await?,
                // A part of what is shown, wherever it goes: two ends that were joined in silence would be a lie.
                LogItem::Notice(gap @ Notice::LeftOut { .. }) => {
                    output.bytes(lines.marker(&gap.to_string())).await?;
                }
                LogItem::Notice(notice) => output.note(&paragraph(&notice.to_string())),
                LogItem::End(end) => {
                    tell_cut(output, &end);
                    return Ok(end);
                }
            }
        }
        Ok(LogEnd::default())
    };
    until_reader_left(pouring).await
}

/// Writes each piece of the log as a JSON object on a line of its own.
pub(crate) async fn pour_lines(output: &Output, mut log: LogStream) -> Result<(), Failure> {
    let pouring = async {
        let mut text = TextPieces::default();
        while let Some(item) = log.next().await {
            let object = match item? {
                LogItem::Bytes { offset, data, at } => match text.take(offset, data, at) {
                    Some(object) => object,
                    None => continue,
                },
                LogItem::Notice(Notice::LeftOut { from, to, reason }) => {
                    json!({"type": "gap", "offset": from, "size": to - from, "reason": reason})
                }
                LogItem::Notice(notice) => json!({"type": "notice", "text": notice.to_string()}),
                LogItem::End(end) => {
                    if let Some(rest) = text.rest() {
                        output.line(&rest).await?;
                    }
                    let mut object = end_document(&end);
                    object["type"] = json!("end");
                    object
                }
            };
            output.line(&object).await?;
        }
        Ok(())
    };
    until_reader_left(pouring).await
}

/// The whole log as one document. Holds it in memory: the controller keeps a bounded part of each log.
pub(crate) async fn collect(output: &Output, mut log: LogStream) -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    let (mut gaps, mut last) = (Vec::new(), LogEnd::default());
    while let Some(item) = log.next().await {
        match item? {
            LogItem::Bytes { data, .. } => bytes.extend_from_slice(&data),
            LogItem::Notice(Notice::LeftOut { from, to, reason }) => {
                gaps.push(json!({"offset": from, "size": to - from, "reason": reason}));
            }
            LogItem::Notice(notice) => output.note(&paragraph(&notice.to_string())),
            LogItem::End(end) => last = end,
        }
    }
    let mut document = end_document(&last);
    document["gaps"] = json!(gaps);
    put_bytes(&mut document, &bytes);
    Ok(document)
}

async fn until_reader_left<T>(
    pouring: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = pouring => done,
        () = reader_left() => Err(Failure::ReaderLeft),
    }
}

fn tell_cut(output: &Output, end: &LogEnd) {
    if !end.cut.is_empty() {
        output.note(&format!("the log is not whole: {}", one_line(&end.cut)));
    }
}

fn end_document(end: &LogEnd) -> Value {
    json!({"size": end.size, "cut": end.cut, "unfinished": end.unfinished})
}

/// Bytes as text where they are UTF-8, else as base64.
fn put_bytes(object: &mut Value, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object["text"] = json!(text),
        Err(_) => object["base64"] = json!(BASE64.encode(bytes)),
    }
}

/// Makes pieces of text of pieces of bytes: a character that a piece cuts in two waits for the next one.
#[derive(Default)]
struct TextPieces {
    waiting: Vec<u8>,
    offset: u64,
    /// When the first of what waits was read.
    at: Option<Timestamp>,
}

impl TextPieces {
    fn take(&mut self, offset: u64, data: Bytes, at: Option<Timestamp>) -> Option<Value> {
        let joined = if self.waiting.is_empty() || self.offset + self.waiting.len() as u64 != offset
        {
            (self.offset, self.at) = (offset, at);
            data.to_vec()
        } else {
            [std::mem::take(&mut self.waiting).as_slice(), &data].concat()
        };
        let whole = match std::str::from_utf8(&joined) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => joined.len(),
        };
        let from = self.offset;
        self.waiting = joined[whole..].to_vec();
        self.offset += whole as u64;
        let read_at = if whole > 0 { std::mem::replace(&mut self.at, at) } else { None };
        (whole > 0).then(|| object(from, read_at, &joined[..whole]))
    }

    fn rest(&mut self) -> Option<Value> {
        let rest = std::mem::take(&mut self.waiting);
        (!rest.is_empty()).then(|| object(self.offset, self.at, &rest))
    }
}

fn object(offset: u64, at: Option<Timestamp>, bytes: &[u8]) -> Value {
    let mut object = json!({"type": "log", "offset": offset, "at": at.and_then(stamp)});
    put_bytes(&mut object, bytes);
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(objects: &[Value]) -> Vec<u8> {
        let bytes = |object: &Value| match (&object["text"], &object["base64"]) {
            (Value::String(text), _) => text.clone().into_bytes(),
            (_, Value::String(text)) => BASE64.decode(text.as_bytes()).unwrap(),
            _ => panic!("{object}"),
        };
        objects.iter().flat_map(bytes).collect()
    }

    fn pieces(bytes: &[u8], length: usize) -> Vec<Value> {
        let mut text = TextPieces::default();
        let mut offset = 0;
        let mut objects = Vec::new();
        for piece in bytes.chunks(length) {
            objects.extend(text.take(offset, Bytes::copy_from_slice(piece), None));
            offset += piece.len() as u64;
        }
        objects.extend(text.rest());
        objects
    }

    proptest! {
        #[test]
        fn any_log_survives_its_lines(bytes: Vec<u8>, length in 1..9_usize) {
            let objects = pieces(&bytes, length);
            let mut expected = 0;
            for object in &objects {
                prop_assert_eq!(object["offset"].as_u64(), Some(expected));
                expected += joined(std::slice::from_ref(object)).len() as u64;
            }
            prop_assert_eq!(joined(&objects), bytes);
        }

        #[test]
        fn text_stays_text_however_it_is_cut(text: String, length in 1..9_usize) {
            let objects = pieces(text.as_bytes(), length);
            prop_assert!(objects.iter().all(|object| object["base64"].is_null()));
        }
    }
}
