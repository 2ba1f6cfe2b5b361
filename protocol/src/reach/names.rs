//! Whom the names of addresses stand for.

use super::{Address, order::Candidate};
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// How long names may take to be looked up, all at the same time.
pub(super) const NAMED_WITHIN: Duration = Duration::from_secs(2);
/// After this those are tried who are known, and the names that are not looked up yet come later.
pub(super) const NAMED_SOON: Duration = Duration::from_millis(500);

/// What looks a name up.
pub(super) type LookUp = fn(String, u16) -> LookedUp;
pub(super) type LookedUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks a name up as this machine does.
pub(super) fn as_the_system(host: String, port: u16) -> LookedUp {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// What each address is known to stand for, in their order.
pub(super) type Known = Vec<Vec<SocketAddr>>;

/// The addresses, while they are looked up.
#[derive(Debug)]
pub(super) struct Names {
    /// In the order of the addresses; none: it is looked up.
    found: Vec<Option<Result<Vec<SocketAddr>, String>>>,
    under_way: JoinSet<(usize, io::Result<Vec<SocketAddr>>)>,
    began: Instant,
}

impl Names {
    /// Begins to look all up. What is no name needs nobody.
    pub(super) fn look_up(addresses: &[Address], look_up: LookUp) -> Self {
        let mut under_way = JoinSet::new();
        let found = addresses.iter().enumerate().map(|(index, address)| {
            if let Ok(ip) = address.host().parse::<IpAddr>() {
                return Some(Ok(vec![SocketAddr::new(ip, address.port())]));
            }
            let looked = look_up(address.host().to_owned(), address.port());
            under_way.spawn(async move { (index, looked.await) });
            None
        });
        Self { found: found.collect(), under_way, began: Instant::now() }
    }

    /// Waits until all are looked up, or for so long since it began. Says whether all are.
    pub(super) async fn wait(&mut self, within: Duration) -> bool {
        let until = self.began + within;
        while let Ok(Some(looked)) = timeout_at(until, self.under_way.join_next()).await {
            if let Ok((index, looked)) = looked {
                self.found[index] = Some(looked.map_err(|error| error.to_string()));
            }
        }
        self.under_way.is_empty()
    }

    /// Everybody whom the addresses name, as far as they are looked up; for others whom they named the last time. What
    /// they name now is `known` from here on.
    pub(super) fn candidates(&self, known: &mut Known) -> Vec<Candidate> {
        known.resize(self.found.len(), Vec::new());
        for (known, found) in known.iter_mut().zip(&self.found) {
            if let Some(Ok(sockets)) = found {
                known.clone_from(sockets);
            }
        }
        let all = known.iter().enumerate();
        let of_one = |(address, sockets): (usize, &Vec<SocketAddr>)| {
            sockets.iter().map(|socket| Candidate { address, socket: *socket }).collect::<Vec<_>>()
        };
        all.flat_map(of_one).collect()
    }

    /// The addresses that name nobody, and why.
    pub(super) fn unknown(&self) -> impl Iterator<Item = (usize, String)> {
        let late = || format!("its name was not looked up within {NAMED_WITHIN:?}");
        self.found.iter().enumerate().filter_map(move |(index, found)| match found {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some((index, why.clone())),
            None => Some((index, late())),
        })
    }
}
