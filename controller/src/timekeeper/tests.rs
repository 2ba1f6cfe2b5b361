//! A store, a machine with its clocks, and whatever may happen to them.

use super::*;
use proptest::prelude::*;

const HOUR: Duration = Duration::from_hours(1);
const KEEP: Duration = Duration::from_hours(100);

/// What happens, in hours.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// For so long, and each hour it is looked at the clocks.
    Runs(u64),
    /// The machine sleeps.
    Sleeps(u64),
    /// The wall clock is set.
    Jumps(i64),
    /// The wall clock is set right.
    IsSetRight,
    /// The controller is killed and starts again after so long.
    Restarts(u64),
    /// The machine is off for so long; or the store goes to another one.
    Boots(u64),
    /// An execution ends.
    Ends,
}

#[derive(Debug)]
struct World {
    keeper: Timekeeper,
    /// What is on disk.
    disk: Look,
    /// How many hours it is since the beginning, really.
    now: u64,
    /// How many of them may count as a stay.
    on: u64,
    boots: u32,
    booted: u64,
    /// How far the wall clock is ahead.
    error: i64,
    /// After how many of those it was looked, and how far the wall clock was ahead.
    looks: Vec<(u64, i64)>,
    /// When an execution ended, really and as it was shown.
    ended: Vec<(u64, Timestamp)>,
}

fn shown(hours: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap()
}

impl World {
    fn new() -> Self {
        let clocks = Clocks { boot: "0".to_owned(), since_boot: Duration::ZERO, shown: shown(0) };
        let keeper = Timekeeper::first("v1/time/test", None, clocks);
        let disk = keeper.last.clone();
        let (looks, ended) = (Vec::new(), Vec::new());
        let (now, on, boots, booted, error) = (0, 0, 0, 0, 0);
        let mut world = Self { keeper, disk, now, on, boots, booted, error, looks, ended };
        world.look();
        world
    }

    fn shown(&self) -> Timestamp {
        shown(i64::try_from(self.now).unwrap() + self.error)
    }

    /// Looks at the clocks; answers by how many hours more than passed it is held to be late.
    fn look(&mut self) -> i64 {
        let clocks = Clocks {
            boot: self.boots.to_string(),
            since_boot: HOUR * u32::try_from(self.now - self.booted).unwrap(),
            shown: self.shown(),
        };
        let told = self.keeper.look_at(clocks);
        if let Some(Write::Put(_, value)) = told.write {
            self.disk = serde_json::from_slice(&value).unwrap();
        }
        self.looks.push((self.on, self.error));
        (told.time.as_second() - shown(0).as_second()) / 3_600 - i64::try_from(self.now).unwrap()
    }

    /// Whether the wall clock was so far ahead at each look of a whole day.
    fn was_ahead_for_a_day(&self, by: i64) -> bool {
        self.looks
            .chunk_by(|one, other| (one.1 >= by) == (other.1 >= by))
            .any(|stretch| stretch[0].1 >= by && stretch[stretch.len() - 1].0 - stretch[0].0 >= 24)
    }

    fn happens(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Runs(hours) => {
                for _ in 0..hours {
                    (self.now, self.on) = (self.now + 1, self.on + 1);
                    self.is_right()?;
                }
            }
            Event::Sleeps(hours) => {
                (self.now, self.on) = (self.now + hours, self.on + 1);
            }
            Event::Jumps(hours) => self.error += hours,
            Event::IsSetRight => self.error = 0,
            Event::Restarts(hours) => {
                (self.now, self.on) = (self.now + hours, self.on + hours.min(1));
                self.keeper = Timekeeper::after("v1/time/test", self.disk.clone());
                self.is_right()?;
            }
            Event::Boots(hours) => {
                self.now += hours;
                (self.boots, self.booted) = (self.boots + 1, self.now);
                self.keeper = Timekeeper::after("v1/time/test", self.disk.clone());
                self.is_right()?;
            }
            Event::Ends => self.ended.push((self.now, self.shown())),
        }
        Ok(())
    }

    fn is_right(&mut self) -> Result<(), TestCaseError> {
        let ahead = self.look();
        prop_assert!(ahead <= 0 || self.was_ahead_for_a_day(ahead), "{ahead} h too late: {self:?}");
        let now = i64::try_from(self.now).unwrap();
        let time = self.keeper.last.belief.time();
        for (really, ended) in &self.ended {
            let kept = Duration::try_from(time.duration_since(*ended)).unwrap_or_default();
            // A clock that is slow when an execution ends says that it ended earlier.
            let slow = i64::try_from(*really).unwrap()
                - (ended.as_second() - shown(0).as_second()) / 3_600;
            let age = now - i64::try_from(*really).unwrap() + slow.max(0);
            prop_assert!(
                kept < KEEP || age >= 100 || self.was_ahead_for_a_day(1),
                "removed after {age} h: {self:?}"
            );
        }
        Ok(())
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1_u64..30).prop_map(Event::Runs),
        1 => (1_u64..200).prop_map(Event::Sleeps),
        3 => (-300_i64..300).prop_map(Event::Jumps),
        1 => Just(Event::IsSetRight),
        2 => (0_u64..40).prop_map(Event::Restarts),
        1 => (0_u64..300).prop_map(Event::Boots),
        2 => Just(Event::Ends),
    ];
    prop::collection::vec(event, 1..40)
}

proptest! {
    #[test]
    fn whatever_the_clock_and_the_machine_do_nothing_is_old_before_its_time_unless_that_was_seen_for_a_day(
        events in events(),
    ) {
        let mut world = World::new();
        for event in events {
            world.happens(event)?;
        }
    }

    #[test]
    fn whatever_the_clock_and_the_machine_did_it_is_as_late_as_it_is_two_days_after_the_clock_was_set_right(
        events in events(), downtime in 0_u64..2_000,
    ) {
        let mut world = World::new();
        for event in events.into_iter().chain([Event::IsSetRight, Event::Boots(downtime)]) {
            world.happens(event)?;
        }
        // Over restarts, and over a boot that takes no time.
        for event in [Event::Runs(20), Event::Restarts(0), Event::Runs(20), Event::Boots(0), Event::Runs(10)] {
            world.happens(event)?;
        }
        prop_assert_eq!(world.look(), 0);
    }
}

fn after(events: &[Event]) -> World {
    let mut world = World::new();
    for event in events {
        world.happens(*event).unwrap();
    }
    world
}

#[test]
fn a_jump_is_not_believed_for_an_execution_that_ends_and_a_restart_or_a_boot() {
    use Event::{Boots, Ends, Jumps, Restarts, Runs};
    for again in [Restarts(0), Boots(0)] {
        let mut world = after(&[Runs(10), Jumps(1_000), Ends, Runs(1), again, Runs(23)]);
        assert_eq!(world.look(), 0, "{again:?}");
        world.happens(Runs(1)).unwrap();
        assert_eq!(world.look(), 1_000, "a day after it was seen first");
    }
}

#[test]
fn time_that_a_machine_slept_passed() {
    assert_eq!(after(&[Event::Runs(1), Event::Sleeps(1_000)]).look(), 0);
    assert_eq!(after(&[Event::Runs(1), Event::Restarts(1_000)]).look(), 0);
}

#[test]
fn after_a_downtime_it_is_as_late_as_it_is_a_day_later_and_goes_on_meanwhile() {
    let mut world = after(&[Event::Runs(1), Event::Boots(1_000), Event::Runs(23)]);
    assert_eq!(world.look(), -1_000);
    world.happens(Event::Runs(1)).unwrap();
    assert_eq!(world.look(), 0);
}

#[test]
fn a_laptop_that_is_on_by_day_alone_follows_the_clock_within_a_week() {
    let days = [Event::Runs(10), Event::Boots(14)].repeat(60);
    let behind = -after(&days).look();
    assert!(behind > 0 && behind < 7 * 14, "{behind} h");
}

#[test]
fn what_is_believed_is_stored_at_first_and_then_once_a_minute() {
    let mut world = World::new();
    let mut writes = |seconds| {
        let clocks = Clocks {
            boot: "0".to_owned(),
            since_boot: Duration::from_secs(seconds),
            shown: shown(0) + Duration::from_secs(seconds),
        };
        world.keeper.look_at(clocks).write.is_some()
    };
    assert_eq!(
        [1, 59, 60, 61, 119, 120].map(&mut writes),
        [false, false, true, false, false, true]
    );
    world.keeper = Timekeeper::after("v1/time/test", world.disk);
    assert!(world.keeper.look().write.is_some());
}

#[test]
fn the_clocks_of_this_machine_go_on() {
    let (first, second) = (Clocks::now(), Clocks::now());
    assert!(!first.boot.is_empty() && first.boot == second.boot);
    assert!(first.since_boot > Duration::ZERO && first.since_boot <= second.since_boot);
}
