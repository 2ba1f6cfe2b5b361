//! [`PodLog`] on recorded logs, on paused time.

use super::{
    recorded::{Kubelet, Opening, Written, content, written},
    *,
};
use proptest::prelude::*;
use std::future::Future;

const HOUR: Duration = Duration::from_hours(1);

fn pod_log(kubelet: &Arc<Kubelet>) -> PodLog {
    let pod = PodName { namespace: "team-a".to_owned(), name: "pod".to_owned() };
    PodLog::new(kubelet.clone(), pod, "job", Held::default())
}

fn kubelet(openings: impl IntoIterator<Item = Opening>) -> Arc<Kubelet> {
    Arc::new(Kubelet::new(4_096, openings))
}

fn on_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// Who reads a log, and has read some.
#[derive(Default)]
struct Asker {
    cursor: Bytes,
    read: Vec<u8>,
}

impl Asker {
    /// Reads one piece; false, if there is none within an hour.
    async fn ask(&mut self, log: &PodLog, most: usize) -> bool {
        let Some(piece) = log.follow(&self.cursor, most, HOUR).await.unwrap() else { return false };
        assert_eq!(piece.offset, self.read.len() as u64);
        self.read.extend(piece.chunks.iter().flat_map(|(_, bytes)| bytes));
        self.cursor = piece.cursor;
        true
    }

    async fn until(&mut self, log: &PodLog, text: &str) {
        while !self.text().contains(text) {
            assert!(self.ask(log, 1 << 20).await, "no `{text}` in `{}`", self.text());
        }
    }

    async fn until_over(&mut self, log: &PodLog) {
        while self.ask(log, 1 << 20).await {}
        assert!(log.is_over());
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// How long somebody waits who finds nothing.
async fn nothing_for(log: &PodLog, asker: &Asker, within: Duration) {
    let piece = log.follow(&asker.cursor, 1, within).await.unwrap();
    assert_eq!(piece, None);
    assert!(!log.is_over());
}

fn refused() -> LogRefusal {
    LogRefusal::Failed { why: "connection refused".to_owned(), after: None }
}

fn openings() -> impl Strategy<Value = Vec<Opening>> {
    let opening = prop_oneof![
        6 => (0usize..60_000).prop_map(Opening::CutAfter),
        3 => (0usize..60_000).prop_map(Opening::EndsAfter),
        1 => Just(Opening::Refused(refused())),
        1 => Just(Opening::Words("rpc error: code = Unavailable desc = refused")),
    ];
    // Where a read ends as if it were over, a kubelet was killed, and the next one finds none.
    let openings = prop::collection::vec(opening, 0..12);
    openings.prop_map(|openings| {
        let with_its_end = openings.into_iter().flat_map(|opening| match opening {
            Opening::EndsAfter(_) => vec![opening, Opening::Refused(refused())],
            _ => vec![opening],
        });
        with_its_end.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// P4: whatever is cut, ended or refused, in any chunks, read in any parts, by readers that begin again anywhere,
    /// while it is written and after that: each byte comes once.
    #[test]
    fn each_byte_comes_once_whatever_the_api_does(
        pieces in written(0..50),
        chunk in 1usize..9_000,
        openings in openings(),
        parts in prop::collection::vec((1usize..30_000, prop::bool::weighted(0.2)), 1..8),
        late in 0.0..1.0,
    ) {
        let whole = content(&pieces);
        let (early, rest) = pieces.split_at((pieces.len() as f64 * late) as usize);
        let read = on_paused_time(async {
            let kubelet = Arc::new(Kubelet::new(chunk, openings));
            kubelet.write(early.to_vec());
            let mut log = pod_log(&kubelet);
            let mut asker = Asker::default();
            let mut parts = parts.into_iter().cycle();
            // What is early and has its newline comes while the container runs.
            let soon = content(early);
            let soon = soon.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
            let soon = if rest.is_empty() { 0 } else { soon };
            let mut has_ended = false;
            loop {
                if !has_ended && asker.read.len() >= soon {
                    kubelet.write(rest.to_vec());
                    kubelet.end();
                    log.container_ended(None);
                    has_ended = true;
                }
                let (most, again) = parts.next().unwrap();
                if !asker.ask(&log, most).await {
                    break;
                }
                if again {
                    log = pod_log(&kubelet);
                    if has_ended {
                        log.container_ended(None);
                    }
                }
            }
            assert!(log.is_over());
            asker.read
        });
        prop_assert!(read == whole, "{} bytes of {}", read.len(), whole.len());
    }
}

#[test]
fn a_follower_goes_on_in_the_next_file_and_nothing_is_said_to_be_missing() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        let mut expected = String::new();
        for number in 0..30 {
            kubelet.line(number * 1_000, &format!("line {number}"));
            expected += &format!("line {number}\n");
            asker.until(&log, &format!("line {number}\n")).await;
            if number % 7 == 3 {
                kubelet.rotate();
            }
        }
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), expected);
    });
}

/// The runtime changes files between two reads of a pipe, not between two lines.
#[test]
fn a_line_of_which_each_file_has_a_part_is_one_line() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        let part = |millis: i64, text: &'static str| Written {
            stamp: Stamp((1_795_897_886_000 + millis) * 1_000_000),
            content: Bytes::from_static(text.as_bytes()),
        };
        kubelet.write([part(1, "ha")]);
        asker.until(&log, "first\n").await;
        kubelet.rotate();
        kubelet.write([part(2, "lf\n")]);
        asker.until(&log, "lf\n").await;
        kubelet.write([part(3, "to the e")]);
        kubelet.rotate();
        kubelet.write([part(4, "nd")]);
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "first\nhalf\nto the end");
    });
}

#[test]
fn what_a_quiet_program_writes_much_later_is_not_said_to_follow_a_gap() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        let much = "x".repeat(9_000);
        for number in 0..1_500 {
            kubelet.line(number, &much);
        }
        kubelet.line(1_500, "first");
        asker.until(&log, "first\n").await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        kubelet.rotate();
        nothing_for(&log, &asker, Duration::from_mins(10)).await;
        kubelet.line(700_000, "last");
        asker.until(&log, "last\n").await;
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert!(asker.text().ends_with("x\nfirst\nlast\n"), "{}", asker.text().replace(&much, "x"));
    });
}

/// The file in which the middle was is rotated away while `log` cannot see it.
async fn lose_the_middle(kubelet: &Kubelet, log: &PodLog, asker: &mut Asker) {
    kubelet.line(0, "first");
    asker.until(log, "first\n").await;
    kubelet.rotate();
    kubelet.line(5_000, "middle");
    kubelet.rotate();
    kubelet.line(75_000, "last");
}

const GAP: &str = "first\n[octavius: the log from 2026-11-28T20:31:26.000Z to 2026-11-28T20:32:41.000Z is missing: rotated away before it could be read]\nlast\n";

#[test]
fn what_was_rotated_away_while_nobody_listened_leaves_one_line() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.next_openings([Opening::CutAfter(37)]);
        kubelet.next_openings(vec![Opening::Refused(refused()); 3]);
        lose_the_middle(&kubelet, &log, &mut asker).await;
        asker.until(&log, "last\n").await;
        assert_eq!(asker.text(), GAP);

        // One that begins again anywhere in this, and one that begins behind our words, see the same.
        kubelet.end();
        for most in [7, 1 << 20] {
            let mut again = Asker::default();
            while again.text() != "first\n" {
                assert!(again.ask(&log, 6).await);
            }
            while !again.read.ends_with(b"]\n") {
                again.ask(&log, 1).await;
            }
            let fresh = pod_log(&kubelet);
            fresh.container_ended(None);
            while again.ask(&fresh, most).await {}
            assert_eq!(again.text(), GAP);
            assert!(fresh.is_over());
        }
    });
}

#[test]
fn two_rotations_within_one_silence_are_noticed() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        lose_the_middle(&kubelet, &log, &mut asker).await;
        asker.until(&log, "last\n").await;
        assert_eq!(asker.text(), GAP);
    });
}

/// The kubelet opens the next file before it has read the old one to its end, and the read goes on.
#[test]
fn what_a_read_passes_over_by_itself_is_said_once() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        kubelet.state.send_modify(|state| state.goes_on = true);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        let much = "x".repeat(9_000);
        for number in 0..20 {
            kubelet.line(number, &much);
        }
        kubelet.line(1_000, "first");
        asker.until(&log, "first\n").await;
        kubelet.line_and_rotation(2_000, "passed over");
        for number in 3..20 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            kubelet.line(number * 1_000, &format!("line {number}"));
            asker.until(&log, &format!("line {number}\n")).await;
        }
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        let text = asker.text();
        let said: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(
            said,
            [
                "[octavius: of what was written from 2026-11-28T20:31:27.000Z to 2026-11-28T20:31:29.000Z some may be missing: the log was rotated while it was read]"
            ]
        );
        assert_eq!(text.lines().filter(|line| line.starts_with("line")).count(), 17, "{said:?}");
    });
}

#[test]
fn a_gap_in_the_middle_of_a_line_is_a_line_of_its_own() {
    on_paused_time(async {
        let cut = Opening::CutAfter(31 + 16_384 + 10);
        let kubelet = kubelet([cut, Opening::Refused(refused())]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        let half = "x".repeat(16_384);
        kubelet.line(0, &format!("{half}rest"));
        asker.until(&log, &half).await;
        kubelet.rotate();
        kubelet.line(5, "last");
        asker.until(&log, "last\n").await;
        let text = asker.text().replace(&half, "half");
        assert!(
            text.starts_with("half\n[octavius: the log from ") && text.ends_with("]\nlast\n"),
            "{text}"
        );
    });
}

#[test]
fn what_is_dropped_of_a_log_whose_clock_was_set_back_is_said() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(5_000, "first");
        asker.until(&log, "first\n").await;
        kubelet.line(4_000, "set back");
        asker.until(&log, "set back\n").await;
        kubelet.rotate();
        let much = "x".repeat(9_000);
        for number in 0..40 {
            kubelet.line(4_100 + number, &much);
        }
        kubelet.line(6_000, "last");
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        let text = asker.text().replace(&much, "x");
        assert!(text.starts_with("first\nset back\nx\n"), "{text}");
        assert!(
            text.ends_with("x\n[octavius: of what was written from 2026-11-28T20:31:30.128Z to 2026-11-28T20:31:32.000Z some is missing: the log was rotated after the node's clock was set back]\nlast\n"),
            "{text}"
        );
    });
}

#[test]
fn an_end_that_was_rotated_away_is_said() {
    on_paused_time(async {
        let kubelet = kubelet([Opening::CutAfter(37), Opening::Refused(refused())]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        kubelet.rotate();
        kubelet.end();
        log.container_ended(Some("2026-11-28T20:40:00Z".parse().unwrap()));
        asker.until_over(&log).await;
        assert_eq!(
            asker.text(),
            "first\n[octavius: the log from 2026-11-28T20:31:26.000Z to 2026-11-28T20:40:00.000Z is missing: rotated away before it could be read]\n"
        );
    });
}

fn forbidden() -> Opening {
    let text = "User \"anna\" cannot get resource \"pods/log\"".to_owned();
    Opening::Refused(LogRefusal::Forbidden(text))
}

#[test]
fn a_right_that_is_granted_later_gives_the_whole_log() {
    on_paused_time(async {
        let kubelet = kubelet(vec![forbidden(); 5]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        let began = Instant::now();
        asker.until(&log, "first\n").await;
        let took = began.elapsed();
        assert!((10..60).contains(&took.as_secs()), "five pauses that grow: {took:?}");
        kubelet.line(1, "last");
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "first\nlast\n");
    });
}

#[test]
fn a_right_that_is_never_granted_is_named_in_the_log() {
    on_paused_time(async {
        let kubelet = kubelet(vec![forbidden(); 1_000]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        nothing_for(&log, &asker, HOUR).await;
        let asked = kubelet.opened();
        assert!((100..300).contains(&asked), "{asked} times in an hour");
        log.container_ended(None);
        let began = Instant::now();
        asker.until_over(&log).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let text = asker.text();
        assert!(text.contains("`get` `pods/log` in the namespace `team-a`"), "{text}");
        assert!(text.contains("kubectl -n team-a create role") && text.ends_with("]\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    });
}

#[test]
fn what_was_not_read_when_its_pod_was_gone_is_said_once() {
    on_paused_time(async {
        let kubelet = kubelet([Opening::CutAfter(37)]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        kubelet.next_openings(vec![Opening::Refused(LogRefusal::Gone("no pod".to_owned())); 100]);
        log.container_ended(None);
        asker.until_over(&log).await;
        let text = asker.text();
        assert_eq!(
            text,
            "first\n[octavius: the log from 2026-11-28T20:31:26.000Z on is missing: the pod `pod` was gone before it was read to its end]\n"
        );
        let fresh = pod_log(&kubelet);
        fresh.container_ended(None);
        asker.until_over(&fresh).await;
        assert_eq!(asker.text(), text, "a reader behind it is told nothing more");
    });
}

const LOST: &str = "first\n[octavius: the log from 2026-11-28T20:31:26.000Z on is missing: the pod `pod` was gone before it was read to its end]\n";

fn ends(log: &PodLog) {
    log.container_ended(Some("2026-11-28T20:40:00Z".parse().unwrap()));
}

#[test]
fn what_a_program_wrote_while_its_kubelet_was_away_is_said_to_be_missing() {
    on_paused_time(async {
        // A kubelet that dies ends a read as if the log were over.
        let kubelet = kubelet([Opening::EndsAfter(37), Opening::Refused(refused())]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        while kubelet.opened() < 2 {
            nothing_for(&log, &asker, Duration::from_millis(10)).await;
        }
        kubelet.line(1, "last");
        kubelet.end();
        kubelet.remove_pod();
        ends(&log);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), LOST);
    });
}

/// Of a pod that is stopped, and gone at once, no other read can be had.
#[test]
fn what_is_on_its_way_when_its_pod_is_gone_is_waited_for() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        kubelet.remove_pod();
        ends(&log);
        nothing_for(&log, &asker, Duration::from_millis(800)).await;
        kubelet.line(1, "last");
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "first\nlast\n");
    });
}

fn waits() -> Opening {
    let why = "container \"job\" in pod \"pod\" is waiting to start: ContainerCreating";
    Opening::Refused(LogRefusal::NotThere(why.to_owned()))
}

#[test]
fn a_container_that_never_started_has_no_log() {
    on_paused_time(async {
        let kubelet = kubelet(vec![waits(); 1_000]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        nothing_for(&log, &asker, Duration::from_mins(10)).await;
        assert!(kubelet.opened() < 200, "{} times in ten minutes", kubelet.opened());
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "");
    });
}

#[test]
fn a_log_that_a_runtime_has_forgotten_is_said_to_be_missing() {
    on_paused_time(async {
        let kubelet = kubelet(vec![waits(); 1_000]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        log.container_ran();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert!(asker.text().starts_with("[octavius: the log from its start on is missing: "));
    });
}

/// It says then what it also says of a container that it has removed.
#[test]
fn a_runtime_that_is_away_for_long_when_its_container_has_ended_costs_nothing() {
    on_paused_time(async {
        let why = "unable to retrieve container logs for containerd://7";
        let away = Opening::Refused(LogRefusal::NotThere(why.to_owned()));
        // One every two seconds.
        let kubelet = kubelet(vec![away; 15]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "all");
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "all\n");
    });
}

#[test]
fn who_says_that_the_container_started_has_its_log_asked_for_at_once() {
    on_paused_time(async {
        let kubelet = kubelet(vec![waits(); 10]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        // The tenth refusal, and the longest pause begins.
        while kubelet.opened() < 10 {
            nothing_for(&log, &asker, Duration::from_millis(100)).await;
        }
        nothing_for(&log, &asker, Duration::from_millis(100)).await;
        let began = Instant::now();
        log.container_started();
        asker.until(&log, "first\n").await;
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
    });
}

#[test]
fn what_a_kubelet_without_its_runtime_says_is_no_part_of_the_log() {
    on_paused_time(async {
        let words = Opening::Words("rpc error: code = Unavailable desc = connection refused");
        let kubelet = kubelet([words.clone(), words.clone()]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        kubelet.line(1, "last");
        kubelet.end();
        kubelet.next_openings(vec![words; 3]);
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "first\nlast\n");
    });
}

#[test]
fn a_connection_that_dies_without_a_word_is_noticed() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        nothing_for(&log, &asker, Duration::from_mins(10)).await;
        let opened = kubelet.opened();
        assert!((20..=25).contains(&opened), "{opened} times in ten minutes");
        assert!(
            kubelet
                .state
                .borrow()
                .opened
                .iter()
                .skip(1)
                .all(|(since, follow)| since.is_some() && *follow)
        );
    });
}

#[test]
fn nothing_is_read_before_somebody_asks_and_no_more_than_a_bound_ahead() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let line = "x".repeat(1_000);
        kubelet.write((0..10_000).flat_map(|_| Written::line(Stamp(1), line.as_bytes(), true)));
        let log = pod_log(&kubelet);
        tokio::time::sleep(HOUR).await;
        assert_eq!(kubelet.opened(), 0);
        let mut asker = Asker::default();
        assert!(asker.ask(&log, 10).await);
        tokio::time::sleep(HOUR).await;
        let sent = kubelet.state.borrow().sent;
        assert!((buffer::AHEAD / 2..buffer::AHEAD + 20_000).contains(&sent), "{sent} bytes");
        // What is ahead is there even if the API is not any more.
        kubelet.end();
        log.container_ended(None);
        asker.until_over(&log).await;
        assert_eq!(asker.read.len(), 10_000 * 1_001);
    });
}

#[test]
fn what_was_read_ahead_outlives_its_pod() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        let (log, mut asker) = (pod_log(&kubelet), Asker::default());
        kubelet.line(0, "first");
        asker.until(&log, "first\n").await;
        kubelet.line(1, "last");
        kubelet.end();
        log.container_ended(None);
        tokio::time::sleep(Duration::from_mins(1)).await; // whoever asks is cut off
        kubelet.next_openings(vec![Opening::Refused(LogRefusal::Gone("no pod".to_owned())); 100]);
        asker.until_over(&log).await;
        assert_eq!(asker.text(), "first\nlast\n");
        let mut again = Asker::default();
        again.until_over(&log).await;
        assert_eq!(again.text(), "first\nlast\n", "what is sent again is still here");
    });
}

#[test]
fn times_are_those_of_the_runtime() {
    on_paused_time(async {
        let kubelet = kubelet([]);
        for (millis, text) in [(0, "one"), (99, "one"), (100, "two"), (900, "three")] {
            kubelet.line(millis, text);
        }
        kubelet.end();
        let log = pod_log(&kubelet);
        log.container_ended(None);
        let mut asker = Asker::default();
        asker.until_over(&log).await;
        let piece = log.follow(&Bytes::new(), 100, HOUR).await.unwrap().unwrap();
        let start = 1_795_897_886_000;
        let expected = [(0, "one\none\n"), (100, "two\n"), (900, "three\n")]
            .map(|(millis, text)| (start + millis, Bytes::from(text)));
        assert_eq!(piece.chunks, expected);
    });
}

#[test]
fn a_cursor_of_somebody_else_is_refused() {
    on_paused_time(async {
        let log = pod_log(&kubelet([]));
        let bad = Bytes::from_static(b"1048576");
        let refused = log.follow(&bad, 1, Duration::ZERO).await.unwrap_err();
        assert!(
            matches!(&refused, RunnerError::Refused(text) if text.contains("cursor")),
            "{refused}"
        );
    });
}
