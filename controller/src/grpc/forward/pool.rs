//! Connections to one leader: as many as the calls need, because one carries only so many at a time.

use super::ForwardError;
use std::sync::{Arc, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::{Channel, Endpoint};

/// Connections, and a bound for the calls on all of them.
#[derive(Debug)]
pub(super) struct Pool {
    #[expect(
        clippy::disallowed_types,
        reason = "no actor's state: locked while a connection is chosen, and never over a wait"
    )]
    lanes: std::sync::Mutex<Lanes>,
    places: Arc<Semaphore>,
    limit: usize,
    each: usize,
}

/// The connections, and how further ones are made.
#[derive(Debug)]
struct Lanes {
    endpoint: Endpoint,
    all: Vec<Lane>,
}

/// One connection. Each call on it holds a clone of `calls`.
#[derive(Debug)]
struct Lane {
    channel: Channel,
    calls: Arc<()>,
}

/// The place of one call.
#[derive(Debug)]
pub(super) struct Place {
    channel: Channel,
    _call: Arc<()>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// The connection.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

impl Pool {
    /// A pool that takes so many calls at a time, so many of them on each connection.
    pub(super) fn new(endpoint: Endpoint, limit: usize, each: usize) -> Self {
        let places = Arc::new(Semaphore::new(limit));
        let lanes = Lanes { endpoint, all: Vec::new() }.into();
        Self { lanes, places, limit, each }
    }

    /// From now on connections are made so; those that are there end with the calls that they carry.
    #[cfg(feature = "etcd")]
    pub(super) fn renew(&self, endpoint: Endpoint) {
        let renewed = Lanes { endpoint, all: Vec::new() };
        *self.lanes.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
    }

    /// A place for one more call.
    pub(super) fn place(&self) -> Result<Place, ForwardError> {
        let full = |_| ForwardError::Calls { limit: self.limit };
        let permit = self.places.clone().try_acquire_owned().map_err(full)?;
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Lanes { endpoint, all } = &mut *lanes;
        let loads: Vec<_> = all.iter().map(|lane| Arc::strong_count(&lane.calls) - 1).collect();
        let lane = choose(&loads, self.each).unwrap_or_else(|| {
            all.push(Lane { channel: endpoint.connect_lazy(), calls: Arc::default() });
            all.len() - 1
        });
        let Lane { channel, calls } = &all[lane];
        Ok(Place { channel: channel.clone(), _call: calls.clone(), _permit: permit })
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).all.len()
    }
}

/// The connection for one more call, where there are some with so many calls each, and each may have so many; none: a
/// new one. As one is opened only when all are full, the bound of all calls bounds them.
fn choose(loads: &[usize], each: usize) -> Option<usize> {
    let (lane, calls) = loads.iter().enumerate().min_by_key(|(_, calls)| **calls)?;
    (*calls < each).then_some(lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_connection_is_opened_when_none_has_room() {
        assert_eq!(choose(&[], 6), None);
        assert_eq!(choose(&[5], 6), Some(0));
        assert_eq!(choose(&[6, 6], 6), None);
        assert_eq!(choose(&[6, 3, 1, 5], 6), Some(2));
    }

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let endpoint = Endpoint::from_static("http://127.0.0.1:1");
        let pool = Pool::new(endpoint, 5, 2);
        let places: Vec<_> = (0..5).map(|_| pool.place().unwrap()).collect();
        assert_eq!(pool.connections(), 3);
        assert_eq!(pool.place().unwrap_err(), ForwardError::Calls { limit: 5 });
        drop(places);
        let _place = pool.place().unwrap();
        assert_eq!(pool.connections(), 3);
    }
}
