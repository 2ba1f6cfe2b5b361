use super::*;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use std::collections::HashSet;

const OWNERS: [&str; 2] = ["a", "b"];

#[derive(Clone, Debug)]
enum Step {
    Enlist(usize),
    /// A decision of the owner's present life, or of the one before.
    Push {
        owner: usize,
        former: bool,
        decision: Vec<Write>,
    },
    TakeOff,
    Land,
    Lose,
}

fn write() -> impl Strategy<Value = Write> {
    let key = (0..6u8).prop_map(|key| format!("t/{key}"));
    // Two of the large ones do not fit into one batch.
    let size = prop_oneof![8 => 0..4usize, 1 => Just(700_000usize)];
    (key, proptest::option::weighted(0.8, size), any::<u8>()).prop_map(|(key, size, fill)| {
        match size {
            Some(size) => Write::Put(key, Bytes::from(vec![fill; size])),
            None => Write::Delete(key),
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let few = vec(write(), 0..4);
    let many = (0..100usize).prop_map(|first| {
        (first..first + 70).map(|n| Write::Put(format!("t/many/{n}"), Bytes::from("x"))).collect()
    });
    let decision = prop_oneof![6 => few, 2 => many, 1 => Just(vec![Write::Delete(String::new())])];
    let push = (0..2usize, proptest::bool::weighted(0.1), decision);
    prop_oneof![
        2 => (0..2usize).prop_map(Step::Enlist),
        12 => push.prop_map(|(owner, former, decision)| Step::Push { owner, former, decision }),
        4 => Just(Step::TakeOff),
        4 => Just(Step::Land),
        1 => Just(Step::Lose),
    ]
}

/// What became of one accepted decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Landed,
    Lost,
}

/// The queue, a disk beside it, and all that ever happened.
struct World {
    queue: Queue<usize>,
    lives: [u64; 2],
    next: u64,
    /// All accepted decisions, in their order.
    accepted: Vec<(Incarnation, Vec<Write>, Fate)>,
    flying: Option<Batch>,
    disk: BTreeMap<String, Bytes>,
    batches: usize,
}

impl World {
    fn new() -> Self {
        let (queue, disk) = (Queue::new(BatchLimits::default()), BTreeMap::new());
        let accepted = Vec::new();
        Self { queue, lives: [0; 2], next: 1, accepted, flying: None, disk, batches: 0 }
    }

    fn settle(&mut self, decisions: Vec<usize>, fate: Fate) {
        for decision in decisions {
            let former = std::mem::replace(&mut self.accepted[decision].2, fate);
            assert_eq!(former, Fate::Open, "decision {decision} was answered twice");
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Enlist(owner) => {
                self.lives[owner] = self.next;
                self.next += 1;
                let new = Incarnation { owner: OWNERS[owner], number: self.lives[owner] };
                let dropped = self.queue.enlist(new);
                self.settle(dropped, Fate::Lost);
                let flying_until = self.queue.flying_until();
                for (index, (by, _, fate)) in self.accepted.iter().enumerate() {
                    let former = by.owner == new.owner && *fate == Fate::Open;
                    assert!(!former || (index as u64) < flying_until, "{index} may still land");
                }
            }
            Step::Push { owner, former, decision } => {
                let number = self.lives[owner] - u64::from(former && self.lives[owner] > 0);
                let by = Incarnation { owner: OWNERS[owner], number };
                if self.queue.push(by, decision.clone(), self.accepted.len()).is_ok() {
                    assert_eq!(number, self.lives[owner], "a former life was let in");
                    self.accepted.push((by, decision, Fate::Open));
                }
            }
            Step::TakeOff => {
                let was_flying = self.flying.is_some();
                if let Some(batch) = self.queue.take_off() {
                    assert!(!was_flying, "two batches fly");
                    assert!(batch.writes.len() <= MOST_WRITES);
                    let bytes: usize = batch.writes.values().map(Write::size).sum();
                    assert_eq!(bytes, batch.bytes);
                    assert!(bytes <= MOST_BYTES);
                    self.flying = Some(batch);
                }
            }
            Step::Land => {
                let Some(batch) = self.flying.take() else { return };
                self.batches += 1;
                batch.into_writes().into_iter().for_each(|write| apply(&mut self.disk, write));
                let landed = self.queue.land();
                self.settle(landed, Fate::Landed);
            }
            Step::Lose => {
                if self.flying.take().is_some() {
                    let lost = self.queue.lose();
                    self.settle(lost.flown, Fate::Lost);
                    self.settle(lost.dropped, Fate::Lost);
                }
            }
        }
    }

    fn check(&self) {
        let mut disk = BTreeMap::new();
        let mut holes = HashSet::new();
        for (by, decision, fate) in &self.accepted {
            match fate {
                Fate::Landed => {
                    let behind_a_hole = holes.contains(&(by.owner, by.number));
                    assert!(!behind_a_hole, "{by:?} landed behind a lost decision");
                    decision.iter().cloned().for_each(|write| apply(&mut disk, write));
                }
                Fate::Lost => drop(holes.insert((by.owner, by.number))),
                Fate::Open => {}
            }
        }
        assert!(disk == self.disk, "the disk is not what the decisions make in their order");
        let open = self.accepted.iter().position(|(_, _, fate)| *fate == Fate::Open);
        let settled = open.unwrap_or(self.accepted.len()) as u64;
        assert_eq!(self.queue.settled(), settled);
        assert_eq!(self.queue.last(), self.accepted.len() as u64);
        let waiting: usize = self.queue.waiting.iter().map(|decision| decision.writes.bytes).sum();
        assert_eq!(self.queue.waiting_bytes, waiting);
    }
}

fn apply(disk: &mut BTreeMap<String, Bytes>, write: Write) {
    match write {
        Write::Put(key, value) => disk.insert(key, value),
        Write::Delete(key) => disk.remove(&key),
    };
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decisions_land_whole_in_order_and_never_behind_a_lost_one(steps in vec(step(), 1..80)) {
        let mut world = World::new();
        world.take(Step::Enlist(0));
        world.take(Step::Enlist(1));
        for step in steps {
            world.take(step);
            world.check();
        }
        let lost = world.queue.lose_all();
        world.settle(lost.flown, Fate::Lost);
        world.settle(lost.dropped, Fate::Lost);
        world.check();
        let answered = world.accepted.iter().all(|(_, _, fate)| *fate != Fate::Open);
        prop_assert!(answered, "somebody waits for ever");
        for (owner, number) in OWNERS.into_iter().zip(world.lives) {
            let by = Incarnation { owner, number };
            prop_assert!(world.queue.push(by, vec![], 0).is_err());
        }
    }
}

#[test]
fn what_waits_is_bounded_in_bytes_and_room_comes_back() {
    let mut queue = Queue::new(BatchLimits::default());
    let by = |number| Incarnation { owner: "a", number };
    let decision = || vec![Write::Put("t/a".to_owned(), Bytes::from(vec![0; MOST_BYTES - 3]))];
    queue.enlist(by(1));
    for n in 0..256 {
        assert_eq!(queue.push(by(1), decision(), n), Ok(()));
    }
    let (refusal, _) = queue.push(by(1), decision(), 256).unwrap_err();
    assert!(refusal.to_string().contains("bytes wait for the store"), "{refusal}");
    assert_eq!(queue.push(by(1), vec![], 257).unwrap_err().0, Refusal::Fenced("a"));
    assert_eq!(queue.enlist(by(2)).len(), 256);
    assert_eq!(queue.push(by(2), decision(), 258), Ok(()));
}

#[test]
fn a_batch_in_doubt_is_judged_by_the_whole_of_what_the_key_holds() {
    let before = Some(&b"1 mine"[..]);
    assert_eq!(seen(Some(b"2 mine"), before, b"2 mine"), Seen::Landed);
    assert_eq!(seen(Some(b"1 mine"), before, b"2 mine"), Seen::NotYet);
    assert_eq!(seen(Some(b"2 theirs"), before, b"2 mine"), Seen::Foreign);
    assert_eq!(seen(None, before, b"2 mine"), Seen::Foreign);
    assert_eq!(seen(None, None, b"1 mine"), Seen::NotYet);
    assert_eq!(seen(Some(b"3 theirs"), before, b"2 mine"), Seen::Passed, "ours may be the second");
    assert_eq!(seen(Some(b"10 theirs"), before, b"2 mine"), Seen::Passed, "numbers are no texts");
}

#[test]
fn a_backend_that_takes_more_gets_larger_batches_and_decisions_stay_whole() {
    let mut queue = Queue::new(BatchLimits { writes: 300, bytes: 4 * MOST_BYTES });
    let by = Incarnation { owner: "a", number: 1 };
    queue.enlist(by);
    for n in 0..10 {
        let writes = (0..MOST_WRITES).map(|w| Write::Delete(format!("t/{n}/{w}"))).collect();
        assert_eq!(queue.push(by, writes, n), Ok(()));
    }
    let batch = queue.take_off().unwrap();
    assert_eq!(batch.writes.len(), 2 * MOST_WRITES, "two whole decisions fit, and no third");
    assert_eq!(queue.land(), [0, 1]);
}
