use super::*;
use crate::job_queue::rules::RunnerKind;
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);
const LIMITS: LivenessLimits = LivenessLimits {
    executors: 3,
    ping_deadline: Duration::from_secs(9),
    lost_after: Duration::from_secs(900),
};

fn executors(records: Vec<ExecutorRecord>) -> Executors {
    Executors::load(LIMITS, "ours".to_owned(), records, Session(0))
}

fn registration(executor: &str, place: u128, instance: u128) -> Registration {
    Registration {
        executor: executor.parse().unwrap(),
        place: Uuid::from_u128(place),
        instance: Uuid::from_u128(instance),
        version: "0.1.0".to_owned(),
        protocol_level: 1,
        runner: RunnerKind::Process,
        labels: BTreeMap::new(),
        capacity: 4,
        offer: Default::default(),
        installation: String::new(),
    }
}

fn register(
    executors: &mut Executors,
    registration: Registration,
    held: usize,
    now: Duration,
) -> Result<Session, RegisterRefused> {
    let registered = executors.register(registration, held, Timestamp::UNIX_EPOCH, now);
    registered.map(|registered| registered.record.session)
}

fn state(executors: &Executors, executor: &str, now: Duration) -> ExecutorState {
    let (page, _) = executors.page(None, 100, now);
    page.into_iter().find(|seen| seen.record.id.as_str() == executor).unwrap().state
}

#[test]
fn the_same_process_gets_its_session_again() {
    let mut all = executors(Vec::new());
    let first = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    let again = register(&mut all, registration("a", 1, 1), 0, SECOND * 2).unwrap();
    assert_eq!(first, again);
    assert!(all.heard(first, SECOND).is_ok());
}

#[test]
fn what_an_executor_does_not_see_is_shown_until_it_sees_or_opens_another_session() {
    let mut all = executors(Vec::new());
    let unseen = |all: &Executors| all.page(None, 10, SECOND).0[0].unseen.clone();
    let older = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    assert_eq!(unseen(&all), "");
    all.sees(older, "pods cannot be seen".to_owned());
    assert_eq!(unseen(&all), "pods cannot be seen");
    assert!(all.heard(older, SECOND).is_ok());
    assert_eq!(unseen(&all), "pods cannot be seen", "a sign of life alone says nothing of it");
    all.sees(older, String::new());
    assert_eq!(unseen(&all), "");

    all.sees(older, "pods cannot be seen".to_owned());
    register(&mut all, registration("a", 1, 2), 0, SECOND).unwrap();
    all.sees(older, "Jobs cannot be seen".to_owned());
    assert_eq!(unseen(&all), "", "the word of an older session is shown");
}

#[test]
fn a_drained_executor_stays_so_whoever_starts_in_its_name_and_the_first_word_counts() {
    let mut all = executors(Vec::new());
    let by = |name: &str| Some(Drained { by: name.to_owned(), at: Timestamp::UNIX_EPOCH });
    let who = |all: &Executors| all.page(None, 10, SECOND).0[0].record.drained.clone();
    let a = "a".parse().unwrap();
    assert_eq!(all.drain(&a, by("ada")), None, "nobody of that id has registered");
    register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    assert_eq!(all.drain(&a, by("ada")).unwrap().drained, by("ada"));
    assert_eq!(all.drain(&a, by("bob")).unwrap().drained, by("ada"));
    for (place, instance) in [(1, 1), (1, 2), (2, 3)] {
        register(&mut all, registration("a", place, instance), 0, SECOND).unwrap();
        assert_eq!(who(&all), by("ada"), "{place} {instance}");
    }
    assert_eq!(all.drain(&a, None).unwrap().drained, None);
    assert_eq!(who(&all), None);
}

#[test]
fn while_nobody_could_be_heard_nobody_was_silent() {
    let mut all = executors(Vec::new());
    let session = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    let back = SECOND + LIMITS.lost_after * 2;
    assert_eq!(state(&all, "a", back), ExecutorState::Lost);
    all.deaf(back);
    assert_eq!(state(&all, "a", back + LIMITS.ping_deadline), ExecutorState::Ready);
    assert!(all.tick(back + LIMITS.ping_deadline).is_empty());
    let expired = back + LIMITS.ping_deadline + SECOND;
    assert_eq!(all.tick(expired)[0].silence, Silence::Expire, "it has its whole time once more");
    assert!(all.heard(session, expired).is_ok());
    assert_eq!(state(&all, "a", expired + SECOND), ExecutorState::Ready);
}

#[test]
fn a_newer_process_takes_over_and_the_older_one_stays_away() {
    let mut all = executors(Vec::new());
    let older = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    let newer = register(&mut all, registration("a", 1, 2), 3, SECOND).unwrap();
    assert!(newer > older);
    assert_eq!(all.heard(older, SECOND), Err(SessionUnknown(older)));
    let back = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap_err();
    assert!(matches!(back, RegisterRefused::Replaced { .. }), "{back}");
    assert!(all.heard(newer, SECOND).is_ok(), "who was refused disturbed who serves");
    // When the newer one is silent, the older one is better than none.
    assert!(register(&mut all, registration("a", 1, 1), 0, SECOND * 60).is_ok());
}

#[test]
fn who_was_replaced_is_known_after_a_restart_too() {
    let mut all = executors(Vec::new());
    register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    register(&mut all, registration("a", 1, 2), 0, SECOND).unwrap();
    let records = all.page(None, 10, SECOND).0.into_iter().map(|seen| seen.record).collect();
    let mut again = executors(records);
    let back = register(&mut again, registration("a", 1, 1), 0, SECOND).unwrap_err();
    assert!(matches!(back, RegisterRefused::Replaced { .. }), "{back}");
}

#[test]
fn another_place_is_refused_while_the_first_has_work_and_is_not_lost() {
    let mut all = executors(Vec::new());
    let first = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    let other = registration("a", 2, 2);
    assert!(all.asks_what_it_holds(&other) && !all.asks_what_it_holds(&registration("a", 1, 9)));
    for now in [SECOND, SECOND * 60] {
        let refused = register(&mut all, other.clone(), 2, now).unwrap_err().to_string();
        for place in [1, 2] {
            assert!(refused.contains(&Uuid::from_u128(place).to_string()), "{refused}");
        }
        for told in ["since 1970-01-01T00:00:00Z", "attempts: 2", "`id` of its own"] {
            assert!(refused.contains(told), "{refused}");
        }
    }
    assert!(all.heard(first, SECOND * 60).is_ok());
    let lost = SECOND * 60 + LIMITS.lost_after + SECOND;
    assert!(register(&mut all, other, 2, lost).is_ok());
    assert!(all.heard(first, lost).is_err());
}

#[test]
fn another_place_takes_over_from_one_that_has_nothing() {
    let mut all = executors(Vec::new());
    register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    assert!(register(&mut all, registration("a", 2, 2), 0, SECOND).is_ok());
    // And the first one does not take it back: the two would go on like that for ever.
    let back = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap_err().to_string();
    assert!(back.contains(&Uuid::from_u128(2).to_string()), "{back}");
}

#[test]
fn protocol_and_installation_have_to_fit_and_both_sides_are_named() {
    let mut all = executors(Vec::new());
    let mut refused = |change: fn(&mut Registration)| {
        let mut one = registration("a", 1, 1);
        change(&mut one);
        register(&mut all, one, 0, SECOND).unwrap_err().to_string()
    };
    let newer = refused(|one| one.protocol_level = 7);
    assert!(
        newer.contains("level 7") && newer.contains("level 1: upgrade the controller"),
        "{newer}"
    );
    let older = refused(|one| one.protocol_level = 0);
    assert!(older.contains("level 0") && older.contains("upgrade the executor"), "{older}");
    let other = refused(|one| one.installation = "theirs".to_owned());
    assert!(
        other.contains("installation theirs") && other.contains("installation ours"),
        "{other}"
    );
    let same = Registration { installation: "ours".to_owned(), ..registration("a", 1, 1) };
    assert!(register(&mut all, same, 0, SECOND).is_ok());
}

#[test]
fn there_is_a_most() {
    let mut all = executors(Vec::new());
    for id in ["a", "b", "c"] {
        register(&mut all, registration(id, 1, 1), 0, SECOND).unwrap();
    }
    let full = register(&mut all, registration("d", 1, 1), 0, SECOND).unwrap_err();
    assert_eq!(full, RegisterRefused::Full { limit: 3 });
    assert!(register(&mut all, registration("a", 1, 2), 0, SECOND).is_ok());
}

#[test]
fn silence_is_told_until_notice_is_taken_and_ends_when_heard() {
    let mut all = executors(Vec::new());
    let session = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    assert_eq!(all.tick(SECOND * 10), []);
    assert_eq!(state(&all, "a", SECOND * 10), ExecutorState::Ready);
    let due = all.tick(SECOND * 11);
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].session, due[0].silence), (session, Silence::Expire));
    assert_eq!(all.tick(SECOND * 12), due, "nobody took notice: it is said again");
    all.told(&due[0]);
    assert_eq!(all.tick(SECOND * 13), []);
    assert_eq!(state(&all, "a", SECOND * 13), ExecutorState::Expired);
    let lost = all.tick(SECOND * 1000);
    assert_eq!(lost[0].silence, Silence::Lose);
    all.told(&lost[0]);
    assert_eq!(all.tick(SECOND * 2000), []);
    assert_eq!(state(&all, "a", SECOND * 2000), ExecutorState::Lost);
    assert!(all.heard(session, SECOND * 2001).unwrap().is_some());
    assert_eq!(state(&all, "a", SECOND * 2001), ExecutorState::Ready);
    assert_eq!(all.tick(SECOND * 2011)[0].silence, Silence::Expire);
}

#[test]
fn who_was_heard_while_the_queue_was_told_is_told_about_anew() {
    let mut all = executors(Vec::new());
    let session = register(&mut all, registration("a", 1, 1), 0, SECOND).unwrap();
    let due = all.tick(SECOND * 11);
    all.heard(session, SECOND * 12).unwrap();
    all.told(&due[0]);
    assert_eq!(all.tick(SECOND * 22).len(), 1, "the second silence was taken for the first");
}

#[test]
fn after_a_start_everybody_has_the_full_time() {
    let mut before = executors(Vec::new());
    let session = register(&mut before, registration("a", 1, 1), 0, SECOND * 5000).unwrap();
    let records = before.page(None, 1, SECOND).0.into_iter().map(|seen| seen.record).collect();
    let mut all = executors(records);
    assert_eq!(state(&all, "a", LIMITS.ping_deadline), ExecutorState::Unknown);
    assert_eq!(all.tick(LIMITS.ping_deadline), []);
    let just_after = LIMITS.ping_deadline + Duration::from_millis(1);
    assert_eq!(state(&all, "a", just_after), ExecutorState::Expired);
    assert_eq!(all.tick(just_after).len(), 1);
    assert_eq!(all.page(None, 1, SECOND).0[0].silent_for, None);
    assert!(all.heard(session, SECOND * 20).is_ok(), "a session outlives the controller's start");
}

#[test]
fn an_old_session_is_never_given_twice() {
    let mut first = executors(Vec::new());
    register(&mut first, registration("a", 1, 1), 0, SECOND).unwrap();
    let record = first.page(None, 1, SECOND).0.remove(0).record;
    let mut all = Executors::load(LIMITS, "ours".to_owned(), vec![record], Session(41));
    assert_eq!(register(&mut all, registration("b", 1, 1), 0, SECOND), Ok(Session(42)));
}

#[test]
fn pages_go_through_all_of_them_once() {
    let mut all = executors(Vec::new());
    for id in ["c", "a", "b"] {
        register(&mut all, registration(id, 1, 1), 0, SECOND).unwrap();
    }
    let (first, more) = all.page(None, 2, SECOND);
    assert!(more);
    let (second, more) = all.page(Some(&first[1].record.id), 2, SECOND);
    assert!(!more);
    let ids: Vec<_> = first.iter().chain(&second).map(|seen| seen.record.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

/// What happens to executors, at a time after the step before.
#[derive(Clone, Debug)]
enum Step {
    Register {
        executor: u8,
        place: u8,
        instance: u8,
        held: usize,
    },
    Heard {
        of: u8,
    },
    Tick {
        notice: bool,
    },
    Restart,
    /// Nobody could be heard until now.
    Deaf,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 0..2u8, 0..4u8, 0..2usize).prop_map(|(executor, place, instance, held)| {
            Step::Register { executor, place, instance, held }
        }),
        4 => (0..8u8).prop_map(|of| Step::Heard { of }),
        3 => any::<bool>().prop_map(|notice| Step::Tick { notice }),
        1 => Just(Step::Restart),
        1 => Just(Step::Deaf),
    ]
}

proptest! {
    /// One executor has one session; sessions only grow; nobody is told about before it was silent for the whole
    /// deadline, and whoever holds the newest session is heard.
    #[test]
    fn one_session_each_and_nobody_is_silent_too_early(
        steps in proptest::collection::vec((step(), 0..400u64), 1..60)
    ) {
        let mut all = executors(Vec::new());
        let (mut now, mut started, mut deaf) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let mut newest: BTreeMap<String, Session> = BTreeMap::new();
        let mut heard_at: BTreeMap<String, Duration> = BTreeMap::new();
        let mut given = Vec::new();
        for (step, pause) in steps {
            now += Duration::from_secs(pause);
            let since_start = now - started;
            match step {
                Step::Register { executor, place, instance, held } => {
                    let id = format!("e{executor}");
                    // Instances of two places are never the same process.
                    let instance = u128::from(place) * 100 + u128::from(instance);
                    let asked = registration(&id, u128::from(place), instance);
                    if let Ok(session) = register(&mut all, asked, held, since_start) {
                        let before = newest.insert(id.clone(), session);
                        prop_assert!(before == Some(session) || !given.contains(&session));
                        prop_assert!(before.is_none_or(|before| before <= session));
                        given.push(session);
                        heard_at.insert(id, now);
                    }
                }
                Step::Heard { of } => {
                    let Some(session) = given.get(usize::from(of)).copied() else { continue };
                    let owner = newest.iter().find(|(_, newest)| **newest == session);
                    prop_assert_eq!(all.heard(session, since_start).is_ok(), owner.is_some());
                    if let Some((id, _)) = owner {
                        heard_at.insert(id.clone(), now);
                    }
                }
                Step::Tick { notice } => {
                    for silent in all.tick(since_start) {
                        let id = silent.executor.to_string();
                        let silence = now - heard_at[&id].max(started).max(deaf);
                        let limit = match silent.silence {
                            Silence::Expire => LIMITS.ping_deadline,
                            Silence::Lose => LIMITS.lost_after,
                        };
                        prop_assert!(silence > limit, "{silent:?} after {silence:?}");
                        prop_assert_eq!(silent.session, newest[&id]);
                        if notice {
                            all.told(&silent);
                        }
                    }
                }
                Step::Restart => {
                    let records = all.page(None, 10, since_start).0;
                    let records = records.into_iter().map(|seen| seen.record).collect();
                    all = Executors::load(LIMITS, "ours".to_owned(), records, all.last_session());
                    started = now;
                }
                Step::Deaf => {
                    all.deaf(since_start);
                    deaf = now;
                }
            }
        }
    }
}
