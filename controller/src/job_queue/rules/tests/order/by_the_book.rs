//! Histories of any events, held against a second reading of the rules that looks at everything.

use super::*;

/// A team, and what it asks of an executor.
type Wish = (Arc<str>, BTreeMap<String, String>);

fn wish(record: &Record) -> Wish {
    (record.terms.team.clone(), record.terms.labels())
}

/// Since when others are served before each wish, from what was seen to be granted alone.
#[derive(Debug, Default)]
struct Passed(BTreeMap<Wish, u64>);

impl Passed {
    /// The first of these wishes was served, and the others were not.
    fn saw(&mut self, wishes: Vec<Wish>, seconds: u64) {
        let mut wishes = wishes.into_iter();
        wishes.next().map(|served| self.0.remove(&served));
        wishes.for_each(|wish| _ = self.0.entry(wish).or_insert(seconds));
    }

    /// Who wants nothing waits for nothing.
    fn forget(&mut self, view: &View) {
        let waits = |id| view.live(id).map(wish);
        let all: BTreeSet<_> = view.lines.all().filter_map(waits).collect();
        self.0.retain(|wish, _| all.contains(wish));
    }
}

/// When each came.
#[derive(Debug, Default)]
struct Came {
    /// The second.
    seconds: BTreeMap<ExecutionId, u64>,
    /// What the queue's clock showed, in milliseconds.
    shown: BTreeMap<ExecutionId, i64>,
    /// How far that is ahead of what passed, since it was last loaded.
    ahead: i64,
}

impl Came {
    fn saw(&mut self, fleet: &Fleet, id: ExecutionId) {
        self.seconds.insert(id, fleet.seconds);
        self.shown.insert(id, fleet.seconds as i64 * 1_000 + self.ahead);
    }

    /// Whatever the wall clock did, it goes on within these bounds.
    fn reloaded(&mut self, fleet: &Fleet) -> Result<(), String> {
        let shows = fleet.view.clock.shows(fleet.now());
        let records = fleet.view.newest_first(Span::default());
        if let Some(newest) = records.map(|record| self.shown[&record.id]).max() {
            let most = 9 * AGEING.as_millis() as i64;
            if shows < newest || shows > newest + most {
                return Err(format!("the clock shows {shows}, and {newest} for the newest"));
            }
        }
        self.ahead = shows - fleet.seconds as i64 * 1_000;
        Ok(())
    }
}

/// Why an executor gets nothing new.
#[derive(Clone, Copy, Debug, Default)]
struct Absence {
    silent: bool,
    drained: bool,
}

/// The first of each team for an executor and the next of all before the others, found by looking at all that waits: what
/// the rules say, in other words.
fn by_the_book<'a>(
    fleet: &'a Fleet,
    came: &Came,
    executor: u8,
    absence: Absence,
    passed: &Passed,
) -> Vec<&'a Record> {
    let view = &fleet.view;
    let records = || view.newest_first(Span::default());
    let runs = |wanted: &dyn Fn(&Record) -> bool| {
        records().filter(|record| record.attempt.occupies() && wanted(record)).count()
    };
    let seat = &view.seats[&name(executor)];
    let full = runs(&|record| record.executor == Some(name(executor))) >= seat.capacity;
    if full || absence.silent || absence.drained {
        return Vec::new();
    }
    let may_run = |record: &&Record| {
        let waits = record.attempt.held().is_none() && record.retry_at.is_none();
        let fits =
            record.terms.labels().iter().all(|(key, value)| seat.labels.get(key) == Some(value));
        let most = record.terms.concurrency as usize;
        let of_job = runs(&|other| other.job == record.job);
        let of_key = record.concurrency_key.is_some()
            && runs(&|other| {
                other.job == record.job && other.concurrency_key == record.concurrency_key
            }) > 0;
        waits && fits && (most == 0 || of_job < most) && !of_key
    };
    let ageing = AGEING.as_millis() as i64;
    let turn = |record: &Record| {
        (came.shown[&record.id] - ageing * i64::from(record.terms.priority()), record.order)
    };
    let mut firsts: BTreeMap<Arc<str>, &Record> = BTreeMap::new();
    for record in records().filter(may_run) {
        let first = firsts.entry(record.terms.team.clone()).or_insert(record);
        if turn(record) < turn(first) {
            *first = record;
        }
    }
    let standing = |record: &Record| {
        let places = runs(&|other| other.terms.team == record.terms.team) as i64;
        let since = passed.0.get(&wish(record)).copied().unwrap_or(fleet.seconds);
        (places * ageing + since as i64 * 1_000, turn(record))
    };
    let mut firsts: Vec<_> = firsts.into_values().collect();
    firsts.sort_by_key(|record| standing(record));
    firsts
}

#[derive(Clone, Debug, proptest_derive::Arbitrary)]
enum Event {
    #[proptest(weight = 10)]
    Submit(#[proptest(strategy = "0..KINDS.len()")] usize),
    #[proptest(weight = 12)]
    Poll(#[proptest(strategy = "0..3u8")] u8),
    #[proptest(weight = 10)]
    End(#[proptest(strategy = "0..6usize")] usize),
    #[proptest(weight = 3)]
    Pass(#[proptest(strategy = "0..300u64")] u64),
    Cancel(#[proptest(strategy = "0..32usize")] usize),
    Reload,
    Expire(#[proptest(strategy = "0..3u8")] u8),
    Lose(#[proptest(strategy = "0..3u8")] u8),
    #[proptest(weight = 5)]
    Attend(#[proptest(strategy = "0..3u8")] u8),
    Drain(#[proptest(strategy = "0..3u8")] u8),
    /// The wall clock is so many days ahead from here on.
    Clock(#[proptest(strategy = "0..4u64")] u64),
    #[proptest(weight = 3)]
    Undrain(#[proptest(strategy = "0..3u8")] u8),
}

/// Says which histories there are: given by who looks for one again, else another in each run.
const SEED: &str = "OCTAVIUS_TEST_SEED";

const KINDS: [Kind; 10] = [
    PLAIN,
    Kind { team: "a", ..PLAIN },
    Kind { team: "a", priority: 9, job: "urgent", ..PLAIN },
    Kind { team: "b", priority: 0, job: "idle", ..PLAIN },
    Kind { team: "b", concurrency: 2, job: "two", ..PLAIN },
    Kind { team: "c", key: Some("`host=a`"), job: "deploy", ..PLAIN },
    Kind { team: "c", key: Some("`host=b`"), job: "deploy", concurrency: 1, ..PLAIN },
    Kind { on: Some(("zone", "b")), priority: 3, ..PLAIN },
    Kind { job: "alone", concurrency: 2, on_limit: OnLimit::Refuse, ..PLAIN },
    Kind { job: "newest", key: Some("`host=a`"), on_limit: OnLimit::Replace, ..PLAIN },
];

/// Histories of 10,000 events each: whoever is served is who should be, limits hold at each step, and nobody waits for
/// ever.
#[test]
fn whoever_is_served_is_who_should_be() {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let seed: u64 = given.unwrap_or_else(rand::random);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed.to_be_bytes().repeat(4));
    let config = Config { cases: 4, max_shrink_iters: 0, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let histories = prop::collection::vec(any::<Event>(), 10_000);
    let outcome = runner.run(&histories, |events| {
        let mut fleet = Fleet::of(&[(0, 3, "a"), (1, 2, "b"), (2, 1, "b")]);
        let mut held: Vec<(u8, LeaseName)> = Vec::new();
        let (mut served, mut refused, mut replaced) = (0, 0, 0);
        let (mut passed, mut contended) = (Passed::default(), 0);
        let mut came = Came::default();
        let (mut absences, mut returned) = ([Absence::default(); 3], 0);
        for event in events {
            match event {
                Event::Submit(kind) if fleet.view.waiting() < 40 => {
                    let kind = &KINDS[kind];
                    let records = fleet.view.newest_first(Span::default());
                    let same = records.filter(|record| record.job.as_str() == kind.job).count();
                    match (fleet.submit(kind), kind.on_limit) {
                        (Err(_), OnLimit::Refuse) => {
                            prop_assert!(same >= 2, "refused with {same}");
                            refused += 1;
                        }
                        (Ok(_), OnLimit::Refuse) => prop_assert!(same < 2, "taken with {same}"),
                        (submitted, _) => replaced += submitted.unwrap().replaced.len(),
                    }
                    came.saw(&fleet, fleet.last_id);
                }
                Event::Submit(_) => {}
                Event::Poll(executor) => {
                    let firsts = by_the_book(
                        &fleet,
                        &came,
                        executor,
                        absences[usize::from(executor)],
                        &passed,
                    );
                    let wishes: Vec<_> = firsts.iter().map(|record| wish(record)).collect();
                    let expected = firsts.first().map(|record| record.id);
                    let next = fleet.next(executor);
                    prop_assert_eq!(next.map(|lease| lease.attempt.execution), expected);
                    contended += usize::from(wishes.len() > 1);
                    passed.saw(wishes, fleet.seconds);
                    served += usize::from(next.is_some());
                    held.extend(next.map(|lease| (executor, lease)));
                }
                Event::End(index) if !held.is_empty() => {
                    let (executor, lease) = held.swap_remove(index % held.len());
                    fleet.ends(executor, lease);
                }
                Event::End(_) => {}
                Event::Pass(seconds) => fleet.seconds += seconds,
                Event::Cancel(index) => {
                    let waiting: Vec<_> = fleet.view.lines.all().collect();
                    if let Some(id) = waiting.get(index) {
                        fleet.view.cancel(*id, "ada", fleet.now()).unwrap();
                    }
                }
                Event::Reload => {
                    let records = fleet.view.newest_first(Span::default()).cloned().collect();
                    let mut view = View::load(LIMITS, records, Vec::new(), fleet.now());
                    view.next_order = fleet.view.next_order;
                    for (executor, seat) in &fleet.view.seats {
                        let labels = seat.labels.clone();
                        let capacity = seat.capacity;
                        let number = executor.as_str().strip_prefix("executor-").unwrap();
                        let number: u8 = number.parse().unwrap();
                        let again = join(number, seat.session.0, capacity);
                        let absence = &mut absences[usize::from(number)];
                        absence.silent = false;
                        let drained = absence.drained;
                        view.join(Join { labels, drained, ..again }, fleet.now());
                    }
                    fleet.view = view;
                    came.reloaded(&fleet).map_err(TestCaseError::fail)?;
                    passed = Passed::default();
                }
                Event::Clock(days) => fleet.ahead = Duration::from_hours(24 * days),
                Event::Expire(executor) => {
                    fleet.view.expire(&name(executor), Session(u64::from(executor) + 1));
                    absences[usize::from(executor)].silent = true;
                }
                // What it had did not begin: it waits again.
                Event::Lose(executor) => {
                    let session = Session(u64::from(executor) + 1);
                    fleet.view.lose(&name(executor), session, fleet.now());
                    absences[usize::from(executor)].silent = true;
                    returned += held.extract_if(.., |(holder, _)| *holder == executor).count();
                }
                Event::Attend(executor) => {
                    fleet.view.attend(Session(u64::from(executor) + 1), &[]).unwrap();
                    absences[usize::from(executor)].silent = false;
                }
                Event::Drain(executor) => {
                    fleet.view.drain(&name(executor), true);
                    absences[usize::from(executor)].drained = true;
                }
                Event::Undrain(executor) => {
                    fleet.view.drain(&name(executor), false);
                    absences[usize::from(executor)].drained = false;
                }
            }
            passed.forget(&fleet.view);
            if let Err(why) = fleet.view.check() {
                return Err(TestCaseError::fail(why));
            }
            let occupied =
                || fleet.view.newest_first(Span::default()).filter(|one| one.attempt.occupies());
            prop_assert!(occupied().filter(|one| one.job.as_str() == "two").count() <= 2);
            let keyed = || occupied().filter(|one| one.concurrency_key.is_some());
            let keys: BTreeSet<_> = keyed().map(|one| (&one.job, &one.concurrency_key)).collect();
            prop_assert_eq!(keys.len(), keyed().count(), "two of one key run");
            let records = fleet.view.newest_first(Span::default());
            let newest = records.filter(|one| one.job.as_str() == "newest").count();
            prop_assert!(newest <= 2, "{newest} are there, of which one may run and one wait");
            let waits = |id| fleet.seconds - came.seconds[&id];
            let longest = fleet.view.lines.all().map(waits).max().unwrap_or(0);
            // Forty wait at the most, in front of whom nobody comes for longer than nine steps of priority.
            prop_assert!(longest < 24 * 3_600, "one has waited for {longest} s");
        }
        prop_assert!(served > 1_000, "{served} were served");
        prop_assert!(contended > 250, "{contended} were served before another team");
        prop_assert!(returned > 20, "{returned} waited again");
        prop_assert!(refused > 20 && replaced > 20, "{refused} refused, {replaced} replaced");
        Ok(())
    });
    // Nobody reads ten thousand events: the seed makes them again.
    if let Err(TestError::Fail(why, events)) = outcome {
        panic!("{why}, in a history of {} events: {SEED}={seed} shows it again", events.len());
    }
}
