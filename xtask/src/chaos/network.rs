//! The network: a way for each two that talk, which is cut or slow now and then.

use super::{Faults, torment::millis};
use octavius_testbed::proxy::{Proxy, Way};
use rand::{RngExt as _, rngs::SmallRng};
use tokio::time::{Instant, sleep};

/// A way from one to another.
#[derive(Debug)]
pub(super) struct Link {
    from: &'static str,
    to: &'static str,
    proxy: Proxy,
}

impl Link {
    /// A way to who listens at `address`.
    pub(super) async fn new(from: &'static str, to: &'static str, address: &str) -> Self {
        Self::between(from, to, Proxy::to(address).await)
    }

    /// A way that is there.
    pub(super) fn between(from: &'static str, to: &'static str, proxy: Proxy) -> Self {
        Self { from, to, proxy }
    }

    /// Where it begins.
    pub(super) fn address(&self) -> &str {
        &self.proxy.address
    }
}

/// What is cut at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// One way alone.
    One,
    /// All ways that begin where this one does: it reaches nobody.
    From,
    /// All ways that end where this one does: nobody reaches it, and it reaches whom it wants.
    To,
}

impl Cut {
    fn affects(self, chosen: &Link, link: &Link) -> bool {
        match self {
            Self::One => link.from == chosen.from && link.to == chosen.to,
            Self::From => link.from == chosen.from,
            Self::To => link.to == chosen.to,
        }
    }
}

/// Cuts ways and makes them slow, and leaves them whole.
pub(super) async fn torment(links: &[Link], mut random: SmallRng, until: Instant) -> Faults {
    let mut faults = Faults::new();
    while Instant::now() < until && !links.is_empty() {
        sleep(millis(&mut random, 300, 6000)).await;
        let chosen = &links[random.random_range(0..links.len())];
        let (cut, what) = match random.random_range(0..5) {
            0..2 => (Cut::One, ["one way hangs", "one way refuses", "one way slow"]),
            2..4 => (Cut::From, ["one reaches nobody", "one is refused by all", "one is slow"]),
            _ => (Cut::To, ["nobody reaches one", "one refuses all", "slow to one"]),
        };
        let (way, what) = match random.random_range(0..5) {
            0..3 => (Way::Hangs, what[0]),
            3 => (Way::Refuses, what[1]),
            _ => (Way::Open(millis(&mut random, 20, 800)), what[2]),
        };
        for link in links.iter().filter(|link| cut.affects(chosen, link)) {
            link.proxy.set(way);
        }
        let time = match random.random_range(0..5) {
            // Longer than anybody leads, or counts as there, who is silent.
            0 => millis(&mut random, 10_000, 13_000),
            _ => millis(&mut random, 200, 5000),
        };
        sleep(time).await;
        for link in links {
            link.proxy.mend();
        }
        *faults.entry(what).or_default() += 1;
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cut_is_of_one_way_or_of_all_of_one() {
        let (one, other) = (Link::new("a", "x", "").await, Link::new("a", "y", "").await);
        let third = Link::new("b", "x", "").await;
        let affected = |cut: Cut| [&one, &other, &third].map(|link| cut.affects(&one, link));
        assert_eq!(affected(Cut::One), [true, false, false]);
        assert_eq!(affected(Cut::From), [true, true, false]);
        assert_eq!(affected(Cut::To), [true, false, true]);
    }
}
