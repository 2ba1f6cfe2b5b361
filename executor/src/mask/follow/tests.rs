//! The masked log of a runner that gives its log in any pieces.

use super::*;
use crate::runner::{Found as Kept, Identity, Phase, Work};
use async_trait::async_trait;
use octavius_protocol::{
    id::{AttemptNumber, ExecutionId},
    secret::SecretValues,
};
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::{runtime::Builder, sync::watch};

/// A log of which so much is there by now. It gives at most `step` bytes at once, in chunks of three, and the words
/// `[gap]` in one piece. Its cursors are offsets.
#[derive(Debug)]
struct Source {
    log: Vec<u8>,
    there: AtomicUsize,
    step: usize,
    asked: watch::Sender<Vec<(usize, usize)>>,
}

impl Source {
    fn of(log: &[u8], step: usize) -> Self {
        let there = AtomicUsize::new(log.len());
        Self { log: log.to_vec(), there, step, asked: watch::Sender::default() }
    }
}

#[async_trait]
impl Runner for Source {
    async fn follow(
        &self,
        _: AttemptId,
        cursor: &Bytes,
        most: usize,
        _: Duration,
    ) -> Result<Option<LogPiece>, RunnerError> {
        assert!(most > 0);
        let from = str::from_utf8(cursor).unwrap();
        let from: usize = if from.is_empty() { 0 } else { from.parse().unwrap() };
        self.asked.send_modify(|asked| asked.push((from, most)));
        let there = &self.log[..self.there.load(Relaxed)];
        let to = match there[from..].starts_with(b"[gap]") {
            true => from + 5,
            false => (from + self.step.min(most)).min(there.len()),
        };
        let chunks = there[from..to].chunks(3).zip(from as i64..);
        let chunks = chunks.map(|(bytes, time)| (time, Bytes::copy_from_slice(bytes))).collect();
        let piece = LogPiece { offset: from as u64, chunks, cursor: Bytes::from(to.to_string()) };
        Ok((from < to).then_some(piece))
    }

    async fn find(&self) -> Result<Vec<Kept>, RunnerError> {
        Ok(Vec::new())
    }
    async fn look(&self, attempt: AttemptId) -> Result<Kept, RunnerError> {
        Err(RunnerError::Unknown(attempt))
    }
    async fn prepare(&self, work: &Work) -> Result<Identity, RunnerError> {
        Err(RunnerError::Unknown(work.attempt))
    }
    async fn go(&self, attempt: AttemptId, _: &SecretValues) -> Result<(), RunnerError> {
        Err(RunnerError::Unknown(attempt))
    }
    async fn wait(&self, of: AttemptId, _: &Phase, _: Duration) -> Result<Phase, RunnerError> {
        Err(RunnerError::Unknown(of))
    }
    async fn stop(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        Err(RunnerError::Unknown(attempt))
    }
    async fn remove(&self, attempt: AttemptId) -> Result<(), RunnerError> {
        Err(RunnerError::Unknown(attempt))
    }
}

fn masker(values: &[&str]) -> Masker {
    let mut secrets = SecretValues::default();
    for (number, value) in values.iter().enumerate() {
        secrets.insert(format!("S{number}"), (*value).to_owned());
    }
    Masker::of(&secrets)
}

/// A masked log that was read as far as it goes: its bytes, the places at which a piece began, and where it stopped.
#[derive(Debug, Default)]
struct Log {
    bytes: Vec<u8>,
    places: Vec<(u64, Bytes)>,
    cursor: Bytes,
}

impl Log {
    fn at(&self) -> (u64, &Bytes) {
        (self.bytes.len() as u64, &self.cursor)
    }

    async fn read(&mut self, masker: &Masker, source: &Source, most: usize, end: LogEnd) {
        let attempt =
            AttemptId { execution: ExecutionId::from_bytes([7; 16]), attempt: AttemptNumber(1) };
        loop {
            self.places.push((self.at().0, self.cursor.clone()));
            let piece = masker.follow(source, attempt, self.at(), most, Duration::ZERO, end).await;
            let Some(piece) = piece.unwrap() else { return };
            assert_eq!(piece.offset, self.bytes.len() as u64);
            assert!(piece.size() > 0 && piece.cursor.len() <= 256);
            // What is held back of one form is far less than what is ever asked for at once.
            assert!(
                piece.size() <= most.max(400),
                "{} bytes, and {most} were asked for",
                piece.size()
            );
            piece.chunks.iter().for_each(|(_, bytes)| self.bytes.extend_from_slice(bytes));
            self.cursor = piece.cursor;
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn whole(masker: &Masker, log: &[u8], step: usize, most: usize) -> Log {
    let mut read = Log::default();
    run(read.read(masker, &Source::of(log, step), most, LogEnd::Silence));
    read
}

fn run<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The log as it should be, found at once in the whole of it.
fn expected(masker: &Masker, log: &[u8]) -> Vec<u8> {
    let found = masker.0.find(log, true);
    let (mut masked, mut from) = (Vec::new(), 0);
    for place in &found.places {
        masked.extend_from_slice(&log[from..place.start]);
        masked.extend_from_slice(MASK.as_bytes());
        from = place.end;
    }
    masked.extend_from_slice(&log[from..]);
    masked.extend_from_slice(words(&masked, found.places.len()).as_bytes());
    masked
}

fn words(masked: &[u8], count: usize) -> String {
    let line = if masked.ends_with(b"\n") { "" } else { "\n" };
    match count {
        0 => String::new(),
        1 => format!("{line}[octavius: 1 value of a secret is masked in this log]\n"),
        _ => format!("{line}[octavius: {count} values of secrets are masked in this log]\n"),
    }
}

/// In which forms a program may print a value.
fn form(value: &str, kind: usize, beside: &str) -> String {
    let percent = |upper: bool, every: bool| -> String {
        let one = |byte: u8| match (every || !byte.is_ascii_alphanumeric(), upper) {
            (false, _) => char::from(byte).to_string(),
            (true, true) => format!("%{byte:02X}"),
            (true, false) => format!("%{byte:02x}"),
        };
        value.bytes().map(one).collect()
    };
    let around = format!("{beside}{value}{beside}");
    match kind % 8 {
        0 => value.to_owned(),
        1 => data_encoding::BASE64.encode(around.as_bytes()),
        2 => data_encoding::BASE64URL_NOPAD.encode(around.as_bytes()),
        3 => percent(true, false),
        4 => percent(false, false),
        5 => percent(true, true).replace("%20", "+"),
        6 => serde_json::to_string(value).unwrap(),
        _ => data_encoding::BASE64_MIME.encode(around.as_bytes()),
    }
}

/// Pieces of a log: text, values in some form, beginnings of values.
fn logs(values: usize) -> impl Strategy<Value = Vec<(u8, usize, usize, String)>> {
    let part = (0u8..4, 0..values, 0usize..64, "[ab1%+\\\\ \n]{0,6}");
    prop::collection::vec(part, 0..12)
}

fn log_of(values: &[String], parts: &[(u8, usize, usize, String)]) -> Vec<u8> {
    let mut log = String::new();
    for (what, of, kind, text) in parts {
        let value = &values[*of];
        match what {
            0 => log.push_str(text),
            1 => log.push_str(&form(value, *kind, &text[..text.len().min(2)])),
            2 => log.extend(value.chars().take(*kind % value.chars().count())),
            _ => log.push_str("[gap]"),
        }
    }
    log.into_bytes()
}

fn values() -> impl Strategy<Value = Vec<String>> {
    // Of few letters, so that values are parts of each other, of themselves and of their forms.
    let value = prop_oneof!["[ab1]{8,12}", "[ab1%+\\\\ \"\n]{8,24}", "[a-zA-Z0-9äé/?&=_-]{8,40}"];
    prop::collection::vec(value, 1..4)
}

/// So many, unless `PROPTEST_CASES` says more.
fn at_least(cases: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases.max(cases), ..usual }
}

proptest! {
    #![proptest_config(at_least(1_000))]

    /// What is masked depends on the log alone, and not on how it comes; and whoever goes on at any cursor that was
    /// handed out, with nothing else in hand, reads the same.
    #[test]
    fn over_any_chunking_and_from_any_cursor_the_masked_log_is_the_same(
        (values, parts) in values().prop_flat_map(|values| {
            let count = values.len();
            (Just(values), logs(count))
        }),
        step in 1usize..40,
        most in 1usize..60,
        again in (1usize..40, 1usize..60),
        known in any::<bool>(),
    ) {
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let (masker, log) = (masker(&texts), log_of(&values, &parts));
        let expected = expected(&masker, &log);
        let mut read = Log::default();
        let source = Source::of(&log, step);
        let end = if known { LogEnd::At(log.len() as u64) } else { LogEnd::Silence };
        run(read.read(&masker, &source, most, end));
        prop_assert_eq!(String::from_utf8_lossy(&expected), read.text());
        for (offset, cursor) in &read.places {
            let mut other = Log {
                bytes: read.bytes[..*offset as usize].to_vec(),
                places: Vec::new(),
                cursor: cursor.clone(),
            };
            run(other.read(&masker, &Source::of(&log, again.0), again.1, LogEnd::Silence));
            prop_assert_eq!(read.text(), other.text(), "from {:?}", cursor);
        }
    }

    /// No value and no line of one is left in any form, wherever it stands and however it comes.
    #[test]
    fn no_form_of_a_value_is_left(
        value in "[a-zA-Z0-9äé/?&=_ -]{8,40}",
        line in "[a-zA-Z0-9äé/?&=_ -]{8,20}",
        kinds in prop::collection::vec((0usize..64, "[^\\[\\]]{0,3}", any::<bool>()), 1..6),
        step in 1usize..50,
    ) {
        let several = format!("{value}\n{line}\n");
        let masker = masker(&[&several]);
        let mut log = String::new();
        for (kind, beside, whole) in &kinds {
            log.push_str(&form(if *whole { &several } else { &line }, *kind, beside));
            log.push('~');
        }
        let masked = whole(&masker, log.as_bytes(), step, 1 << 20).text();
        let count = masked.matches(MASK).count();
        prop_assert!(count >= kinds.len(), "{count} of {kinds:?}: {masked}");
        for part in [&several[..], value.trim(), line.trim()] {
            if part.len() < 8 {
                continue;
            }
            for kind in [0, 3, 4, 5, 6] {
                let form = form(part, kind, "");
                let form = form.trim_matches(['"', '\n']);
                prop_assert!(!masked.contains(form), "{form} of {log} in {masked}");
            }
            for before in ["", "x", "xx"] {
                let all = data_encoding::BASE64_NOPAD.encode(format!("{before}{part}").as_bytes());
                let inner = &all[(before.len() * 8).div_ceil(6)..all.len() - 2];
                prop_assert!(!masked.contains(inner), "{inner} of {log} in {masked}");
            }
        }
    }

    /// A log without values is the same byte for byte, and so are the runner's cursors.
    #[test]
    fn a_log_without_values_is_untouched(
        log in prop::collection::vec(any::<u8>(), 0..200),
        step in 1usize..40,
        most in 1usize..60,
    ) {
        let read = whole(&masker(&["S3cr3t-7f1c-Zq/ä?&="]), &log, step, most);
        prop_assert_eq!(&read.bytes, &log);
        for (offset, cursor) in &read.places {
            prop_assert!(cursor.is_empty() || cursor == &offset.to_string(), "{:?}", cursor);
        }
    }

    /// While it is written only what may become a value is missing, and it comes once it is none.
    #[test]
    fn what_is_held_back_is_the_beginning_of_a_form(
        cuts in prop::collection::vec(0usize..60, 0..6),
        step in 1usize..30,
    ) {
        let log = b"a planted-secret, a planted-half and %70lanted%2Dsecre";
        let (masker, mut source) = (masker(&["planted-secret"]), Source::of(log, step));
        let mut read = Log::default();
        let mut cuts = cuts;
        cuts.push(log.len());
        cuts.sort_unstable();
        for cut in cuts {
            source.there = AtomicUsize::new(cut.min(log.len()));
            run(read.read(&masker, &source, 1 << 20, LogEnd::Unknown));
            let there = &log[..cut.min(log.len())];
            let found = masker.0.find(there, false);
            let masked = found.places.len();
            let shown = found.decided - masked * ("planted-secret".len() - MASK.len());
            prop_assert_eq!(read.bytes.len(), shown, "{:?}", read.text());
        }
        prop_assert_eq!(read.text(), "a [masked], a planted-half and ");
        run(read.read(&masker, &source, 1 << 20, LogEnd::At(log.len() as u64)));
        prop_assert_eq!(read.text(), "a [masked], a planted-half and %70lanted%2Dsecre\n[octavius: 1 value of a secret is masked in this log]\n");
    }
}

#[test]
fn a_value_in_two_halves_is_masked_whatever_is_between_them_in_time() {
    let (masker, source) = (masker(&["planted-secret"]), Source::of(b"planted-secret\n", 1 << 20));
    let mut read = Log::default();
    source.there.store(7, Relaxed);
    run(read.read(&masker, &source, 100, LogEnd::Unknown));
    assert_eq!(read.text(), "");
    // Somebody else goes on.
    source.there.store(15, Relaxed);
    run(read.read(&masker, &source, 100, LogEnd::Unknown));
    assert_eq!(read.text(), "[masked]\n");
}

#[test]
fn times_stay_with_their_bytes() {
    let log = b"ab planted-secret cd";
    let (masker, source) = (masker(&["planted-secret"]), Source::of(log, 100));
    let attempt =
        AttemptId { execution: ExecutionId::from_bytes([7; 16]), attempt: AttemptNumber(1) };
    let from = (0, &Bytes::new());
    let piece = masker.follow(&source, attempt, from, 100, Duration::ZERO, LogEnd::Unknown);
    let chunks = run(piece).unwrap().unwrap().chunks;
    let texts: Vec<_> =
        chunks.iter().map(|(time, bytes)| (*time, str::from_utf8(bytes).unwrap())).collect();
    assert_eq!(texts, [(0, "ab "), (1, "[masked]"), (5, " "), (6, "cd")]);
}

#[test]
fn what_was_read_is_read_again_only_where_it_ends_in_what_may_be_a_value() {
    let (masker, source) = (masker(&["planted-secret"]), Source::of(b"one two pl", 100));
    run(Log::default().read(&masker, &source, 50, LogEnd::Unknown));
    let asked = source.asked.borrow().clone();
    // Then there is nothing but that, and it is asked for more.
    assert_eq!(asked, [(0, 50), (0, 8), (8, 50), (10, 48)]);
}
