//! What waits to be written of answers, to each connection and to all, and who gives way when that is too much.
//!
//! Who does not read keeps what was made for it: alone little, but thousands who are paused, and alive as far as HTTP/2
//! can tell, all that there may be. So where all together keep too much, those connections are closed of which nothing
//! was taken for the longest, until a quarter is free. Who reads a log comes back where it was; who goes on reading is
//! not among them.

use futures::task::AtomicWaker;
use std::{
    ops::DerefMut,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

/// The most bytes of answers that wait to be written to one connection before its logs are read on: several pieces of
/// a log, which keep a far client busy.
pub(crate) const MOST_UNWRITTEN_OF_ONE: usize = 1 << 20;
/// The same of all connections together: of those who do not read, 256 have to take all that one may.
pub(crate) const MOST_UNWRITTEN: usize = 256 << 20;
/// Who has taken nothing for so long may have to give way: a piece of a log takes that over a line of 100 kbit/s.
pub(crate) const STILL_FOR: Duration = Duration::from_secs(10);
/// How often it is looked who has to.
const LOOK: Duration = Duration::from_secs(1);
/// The most readers of logs that fetch their next piece at the same time: by so many pieces the bounds above may be
/// exceeded.
const MOST_FETCHING: usize = 128;

/// What waits to be written to all connections together, and the bound of that.
#[derive(Debug)]
pub struct UnwrittenOfAll {
    unwritten: Unwritten,
    fetching: Semaphore,
    /// All connections; what is closed keeps nothing by being here.
    #[expect(
        clippy::disallowed_types,
        reason = "no actor's state: locked while a connection is entered or all are looked through, and never over a wait"
    )]
    connections: std::sync::Mutex<Vec<Weak<UnwrittenOfOne>>>,
    /// Of all who wait for room, one looks who has to give way.
    looking: Semaphore,
}

impl Default for UnwrittenOfAll {
    fn default() -> Self {
        Self::of(MOST_UNWRITTEN)
    }
}

/// What waits to be written to one connection, and the bound of that.
#[derive(Debug)]
pub(super) struct UnwrittenOfOne {
    unwritten: Unwritten,
    began: Instant,
    /// When something of it was written last, or the first of it came; in milliseconds after it began.
    moved: AtomicU64,
    gives_way: AtomicBool,
    wakes: AtomicWaker,
}

/// Bytes that wait to be written.
#[derive(Debug)]
struct Unwritten {
    bytes: AtomicUsize,
    most: usize,
    less: Notify,
}

impl Unwritten {
    fn new(most: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), most, less: Notify::new() }
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Acquire)
    }

    fn is_full(&self) -> bool {
        self.bytes() >= self.most
    }

    /// How many there were before.
    fn add(&self, bytes: usize) -> usize {
        self.bytes.fetch_add(bytes, AcqRel)
    }

    fn remove(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, AcqRel);
        if before >= self.most && before - bytes < self.most {
            self.less.notify_waiters();
        }
    }

    async fn room(&self) {
        let mut less = std::pin::pin!(self.less.notified());
        while self.is_full() {
            less.as_mut().enable(); // what is written from here on is not missed
            if !self.is_full() {
                return;
            }
            less.as_mut().await;
            less.set(self.less.notified());
        }
    }
}

impl UnwrittenOfOne {
    fn moves(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.fetch_max(now, Release);
    }

    fn moved_at(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Acquire))
    }

    fn give_way(&self) {
        self.gives_way.store(true, Release);
        self.wakes.wake();
    }

    /// Whether its connection has to give way; who polls is woken when it has to.
    pub(super) fn poll_gives_way(&self, context: &mut Context<'_>) -> Poll<()> {
        self.wakes.register(context.waker());
        match self.gives_way.load(Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Has the one who polls look again.
    pub(super) fn wake(&self) {
        self.wakes.wake();
    }
}

impl UnwrittenOfAll {
    fn of(most: usize) -> Self {
        Self {
            unwritten: Unwritten::new(most),
            fetching: Semaphore::new(MOST_FETCHING),
            connections: Default::default(),
            looking: Semaphore::new(1),
        }
    }

    /// A connection that begins now.
    pub(super) fn connection(&self) -> Arc<UnwrittenOfOne> {
        let one = Arc::new(UnwrittenOfOne {
            unwritten: Unwritten::new(MOST_UNWRITTEN_OF_ONE),
            began: Instant::now(),
            moved: AtomicU64::new(0),
            gives_way: AtomicBool::new(false),
            wakes: AtomicWaker::new(),
        });
        let mut all = self.connections();
        if all.len() == all.capacity() {
            all.retain(|one| one.strong_count() > 0);
            let few = all.len().max(64);
            all.reserve(few); // so that each is looked at a few times only
        }
        all.push(Arc::downgrade(&one));
        one
    }

    fn connections(&self) -> impl DerefMut<Target = Vec<Weak<UnwrittenOfOne>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes for `one` were made.
    pub(super) fn add(&self, one: &UnwrittenOfOne, bytes: usize) {
        if one.unwritten.add(bytes) == 0 {
            one.moves();
        }
        self.unwritten.add(bytes);
    }

    /// So many bytes for `one` were written, or given up.
    pub(super) fn remove(&self, one: &UnwrittenOfOne, bytes: usize) {
        one.moves();
        one.unwritten.remove(bytes);
        self.unwritten.remove(bytes);
    }

    /// Waits until `one` and all together have room for more, and for a turn to fetch it.
    pub(super) async fn turn(&self, one: &UnwrittenOfOne) -> Option<SemaphorePermit<'_>> {
        loop {
            one.unwritten.room().await;
            tokio::select! {
                biased;
                () = self.unwritten.room() => {}
                () = self.make_room() => {}
            }
            let turn = self.fetching.acquire().await.ok()?;
            // Those before it may have filled what was free.
            if !one.unwritten.is_full() && !self.unwritten.is_full() {
                return Some(turn);
            }
        }
    }

    /// Has others give way until all together have room.
    async fn make_room(&self) {
        let _looks = self.looking.acquire().await;
        while self.unwritten.is_full() {
            self.who_gives_way();
            sleep(LOOK).await;
        }
    }

    fn who_gives_way(&self) {
        let all: Vec<_> = self.connections().iter().filter_map(Weak::upgrade).collect();
        let holds = |one: &Arc<UnwrittenOfOne>| one.unwritten.bytes();
        let (going, mut others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .filter(|one| holds(one) > 0)
            .partition(|one| one.gives_way.load(Acquire));
        let left = self.unwritten.bytes().saturating_sub(going.iter().map(holds).sum());
        let mut over = left.saturating_sub(self.unwritten.most / 4 * 3);
        others.sort_by_cached_key(|one| one.moved_at());
        for one in others {
            if over == 0 || one.moved_at().elapsed() < STILL_FOR {
                return;
            }
            over = over.saturating_sub(holds(&one));
            one.give_way();
        }
    }
}

/// Room for answers that is taken on purpose.
#[cfg(feature = "fault-injection")]
#[derive(Debug)]
pub struct TakenRoom {
    of: Arc<UnwrittenOfAll>,
    bytes: usize,
}

#[cfg(feature = "fault-injection")]
impl TakenRoom {
    /// Takes all but so many bytes of it.
    pub(crate) fn all_but(of: Arc<UnwrittenOfAll>, bytes: usize) -> Self {
        let bytes = MOST_UNWRITTEN.saturating_sub(bytes);
        of.unwritten.add(bytes);
        Self { of, bytes }
    }

    /// Whether no room is left.
    pub fn is_full(&self) -> bool {
        self.of.unwritten.is_full()
    }
}

#[cfg(feature = "fault-injection")]
impl Drop for TakenRoom {
    fn drop(&mut self) {
        self.of.unwritten.remove(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    fn gives_way(one: &UnwrittenOfOne) -> bool {
        one.gives_way.load(Acquire)
    }

    #[tokio::test]
    async fn a_reader_gets_no_turn_while_too_much_is_unwritten_of_its_connection_or_of_all() {
        let all = UnwrittenOfAll::default();
        let [one, other] = [(); 2].map(|()| all.connection());
        all.add(&one, MOST_UNWRITTEN_OF_ONE);
        let mut waits = Box::pin(all.turn(&one));
        assert!(futures::poll!(&mut waits).is_pending());
        assert!(futures::poll!(Box::pin(all.turn(&other))).is_ready(), "the other one pays for it");
        all.remove(&one, MOST_UNWRITTEN_OF_ONE);
        assert!(futures::poll!(&mut waits).is_ready());
        all.add(&one, MOST_UNWRITTEN);
        let mut waits = Box::pin(all.turn(&other));
        assert!(futures::poll!(&mut waits).is_pending());
        all.remove(&one, 1);
        assert!(futures::poll!(&mut waits).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_hold_too_much_those_give_way_who_took_nothing_for_the_longest() {
        let all = UnwrittenOfAll::of(1_000);
        let [first, second, third, slow, empty] = [(); 5].map(|()| all.connection());
        all.add(&slow, 100);
        for paused in [&first, &second, &third] {
            all.add(paused, 300);
            advance(Duration::from_secs(2)).await;
        }
        // It is slow, and gets on.
        all.remove(&slow, 50);
        all.add(&slow, 50);
        // With the first of them a quarter is free.
        let mut waits = Box::pin(all.turn(&empty));
        let began = Instant::now();
        let told = std::future::poll_fn(|context| first.poll_gives_way(context));
        tokio::select! {
            biased;
            _ = &mut waits => panic!("there was room"),
            () = told => {}
        }
        let after = began.elapsed();
        assert!((4..6).contains(&after.as_secs()), "{after:?}: too early, or too late");
        // While it is on its way, nobody else has to go.
        assert!(timeout(3 * STILL_FOR, &mut waits).await.is_err(), "nothing is free yet");
        assert!([&second, &third, &slow, &empty].into_iter().all(|other| !gives_way(other)));
        all.remove(&first, 300);
        assert!(waits.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_way_while_there_is_room_or_all_get_on() {
        let all = UnwrittenOfAll::of(1_000);
        let [still, one, other] = [(); 3].map(|()| all.connection());
        all.add(&still, 400);
        advance(10 * STILL_FOR).await;
        assert!(all.turn(&one).await.is_some());
        assert!(!gives_way(&still));
        all.remove(&still, 400);
        let waits = async { all.turn(&other).await.is_some() };
        let get_on = async {
            all.add(&one, 500);
            all.add(&other, 500);
            for _ in 0..30 {
                sleep(STILL_FOR / 2).await;
                for gets_on in [&one, &other] {
                    all.remove(gets_on, 100);
                    all.add(gets_on, 100);
                }
            }
            [&one, &other].map(|one| gives_way(one))
        };
        let (told, _) = tokio::join!(get_on, timeout(30 * STILL_FOR, waits));
        assert_eq!(told, [false; 2]);
    }

    #[test]
    fn what_is_closed_is_forgotten() {
        let all = UnwrittenOfAll::default();
        for _ in 0..10_000 {
            all.connection();
        }
        assert!(all.connections().len() <= 128);
    }
}
