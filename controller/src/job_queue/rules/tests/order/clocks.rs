//! What wall clocks that jump do to the order: nothing that a restart does not hide.

use super::*;

const DAY: Duration = Duration::from_hours(24);

impl Fleet {
    /// Another controller goes on with what is stored.
    fn restart(&mut self) {
        let records: Vec<_> = self.view.newest_first(Span::default()).cloned().collect();
        self.restart_with(records);
    }

    fn restart_with(&mut self, records: Vec<Record>) {
        self.view = View::load(LIMITS, records, Vec::new(), self.now());
        self.view.join(join(0, 1, 1), self.now());
    }

    /// What came when, by the queue's clock, as it came.
    fn came(&self) -> Vec<i64> {
        let records: Vec<_> = self.view.newest_first(Span::default()).collect();
        let mut came: Vec<_> = records.iter().map(|one| (one.order, one.came_ms)).collect();
        came.sort();
        came.into_iter().map(|(_, came)| came.unwrap()).collect()
    }

    /// All that waits, as it is served, by the order of submission.
    fn served(&mut self) -> Vec<u64> {
        let mut served = Vec::new();
        while let Some(lease) = self.next(0) {
            served.push(self.view.live(lease.attempt.execution).unwrap().order);
            self.ends(0, lease);
        }
        served
    }
}

/// One comes, or one is served, after a time, and then the wall clock is so many days ahead.
#[derive(Clone, Debug, proptest_derive::Arbitrary)]
struct Step {
    #[proptest(strategy = "prop::option::weighted(0.7, 0..10u8)")]
    priority: Option<u8>,
    #[proptest(strategy = "0..2_000u64")]
    seconds: u64,
    #[proptest(strategy = "0..3u32")]
    days: u32,
    #[proptest(strategy = "prop::bool::weighted(0.1)")]
    restarts: bool,
}

proptest! {
    #[test]
    fn whatever_the_wall_clock_does_the_order_is_that_of_a_steady_one(
        steps in prop::collection::vec(any::<Step>(), 1..80),
    ) {
        let (mut steady, mut jumping) = (Fleet::of(&[(0, 1, "a")]), Fleet::of(&[(0, 1, "a")]));
        for Step { priority, seconds, days, .. } in steps {
            let mut served = Vec::new();
            for (fleet, days) in [(&mut steady, 0), (&mut jumping, days)] {
                fleet.seconds += seconds;
                fleet.ahead = DAY * days;
                match priority {
                    Some(priority) => _ = fleet.add(&Kind { priority, ..PLAIN }),
                    None => served.push(fleet.next(0).map(|lease| {
                        let order = fleet.view.live(lease.attempt.execution).unwrap().order;
                        fleet.ends(0, lease);
                        order
                    })),
                }
            }
            prop_assert!(served.windows(2).all(|pair| pair[0] == pair[1]), "{served:?}");
        }
        prop_assert_eq!(steady.served(), jumping.served());
    }

    /// Within one life each gains what passed. A restart hides at most how long nobody counted.
    #[test]
    fn over_restarts_no_clock_takes_away_what_was_counted_or_adds_more_than_all_steps(
        steps in prop::collection::vec(any::<Step>(), 2..80),
    ) {
        let mut fleet = Fleet::of(&[(0, 1, "a")]);
        let (mut lives, mut life) = (Vec::new(), 0);
        for Step { priority, seconds, days, restarts } in steps {
            fleet.seconds += seconds;
            fleet.ahead = DAY * days;
            if restarts {
                fleet.restart();
                life += 1;
            }
            fleet.add(&Kind { priority: priority.unwrap_or(5), ..PLAIN });
            lives.push((life, fleet.seconds as i64 * 1_000));
        }
        let came = fleet.came();
        let steps = 9 * AGEING.as_millis() as i64;
        for (came, lives) in came.windows(2).zip(lives.windows(2)) {
            let (counted, passed) = (came[1] - came[0], lives[1].1 - lives[0].1);
            let restarts = i64::from(lives[1].0 - lives[0].0);
            match restarts {
                0 => prop_assert_eq!(counted, passed),
                _ => prop_assert!((0..=passed + steps * restarts).contains(&counted), "{counted}"),
            }
        }
    }

    #[test]
    fn over_restarts_the_order_is_that_of_one_life_where_the_clock_is_steady(
        steps in prop::collection::vec(any::<Step>(), 1..80),
    ) {
        let (mut one, mut many) = (Fleet::of(&[(0, 1, "a")]), Fleet::of(&[(0, 1, "a")]));
        for Step { priority, seconds, restarts, .. } in steps {
            for fleet in [&mut one, &mut many] {
                fleet.seconds += seconds;
                fleet.add(&Kind { priority: priority.unwrap_or(5), ..PLAIN });
            }
            if restarts {
                many.restart();
            }
        }
        prop_assert_eq!(one.came(), many.came());
        prop_assert_eq!(one.served(), many.served());
    }
}

#[test]
fn a_clock_that_was_a_day_ahead_for_one_flattens_no_ageing_after_that() {
    let mut fleet = Fleet::of(&[(0, 1, "a")]);
    fleet.ahead = DAY;
    fleet.add(&PLAIN);
    fleet.ahead = Duration::ZERO;
    let low = fleet.add(&PLAIN);
    fleet.seconds = AGEING.as_secs() - 1;
    let soon = fleet.add(&Kind { priority: 6, ..PLAIN });
    fleet.seconds = AGEING.as_secs() + 1;
    let later = fleet.add(&Kind { priority: 6, ..PLAIN });
    assert!(low < soon && soon < later, "ids are in the order of submission");
    assert_eq!(fleet.served(), [3, 1, 2, 4]);
}

/// What an earlier version stored is served in its order, and before what comes then.
#[test]
fn records_without_a_moment_go_by_their_ids() {
    let mut fleet = Fleet::of(&[(0, 1, "a")]);
    fleet.ahead = 3 * DAY;
    let low = fleet.add(&PLAIN);
    fleet.seconds = AGEING.as_secs() + 1;
    let high = fleet.add(&Kind { priority: 6, ..PLAIN });
    let old = |id: ExecutionId| {
        let mut value = serde_json::to_value(fleet.view.live(id).unwrap()).unwrap();
        value.as_object_mut().unwrap().remove("came_ms").unwrap();
        serde_json::from_value::<Record>(value).unwrap()
    };
    let records = vec![old(low), old(high)];
    fleet.ahead = Duration::ZERO; // it was set right
    fleet.restart_with(records);
    fleet.add(&Kind { priority: 6, ..PLAIN });
    fleet.seconds += AGEING.as_secs() - 1;
    fleet.add(&Kind { priority: 7, ..PLAIN });
    fleet.seconds += 2;
    fleet.add(&Kind { priority: 7, ..PLAIN });
    assert_eq!(fleet.served(), [1, 4, 2, 3, 5]);
}
