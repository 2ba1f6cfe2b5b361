//! In which order those are tried who may answer.

use std::net::SocketAddr;

/// Somebody who may answer: one of those whom a given address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Which address, by its place among them.
    pub(super) address: usize,
    /// Where it is.
    pub(super) socket: SocketAddr,
}

/// With whom a search begins.
#[derive(Clone, Debug, Default)]
pub(super) enum Begin {
    /// The first one that was given.
    #[default]
    First,
    /// This one.
    With(SocketAddr),
    /// The one after this one, which is the last to be tried again.
    After(SocketAddr),
    /// Who is said to lead, if it is one of ours; else as `After`.
    Hinted {
        /// The given address that says the same.
        named: Option<usize>,
        /// Where the one is who is said to lead.
        sockets: Vec<SocketAddr>,
        /// Who said it.
        after: SocketAddr,
    },
}

/// The same candidates in the order in which they are tried. Nobody is added, whoever was hinted at.
pub(super) fn ordered(mut all: Vec<Candidate>, begin: &Begin) -> Vec<Candidate> {
    let place = |socket: &SocketAddr| all.iter().position(|one| one.socket == *socket);
    let (first, hinted): (_, Option<(&Option<usize>, &Vec<SocketAddr>)>) = match begin {
        Begin::First => (0, None),
        Begin::With(socket) => (place(socket).unwrap_or(0), None),
        Begin::After(socket) => (place(socket).map_or(0, |place| place + 1), None),
        Begin::Hinted { named, sockets, after } => {
            (place(after).map_or(0, |place| place + 1), Some((named, sockets)))
        }
    };
    let first = first % all.len().max(1);
    all.rotate_left(first);
    if let Some((named, sockets)) = hinted {
        let is_hinted =
            |one: &Candidate| Some(one.address) == *named || sockets.contains(&one.socket);
        all.sort_by_key(|one| !is_hinted(one));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// The ports in the order in which they are tried; the address of each has its number.
    fn tried(ports: &[u16], begin: &Begin) -> Vec<u16> {
        let candidates = ports.iter().enumerate();
        let candidates =
            candidates.map(|(address, port)| Candidate { address, socket: socket(*port) });
        let tried = ordered(candidates.collect(), begin);
        tried.iter().map(|candidate| candidate.socket.port()).collect()
    }

    #[test]
    fn who_was_left_is_the_last_and_who_was_lost_the_first() {
        assert_eq!(tried(&[1, 2, 3], &Begin::First), [1, 2, 3]);
        assert_eq!(tried(&[1, 2, 3], &Begin::With(socket(2))), [2, 3, 1]);
        assert_eq!(tried(&[1, 2, 3], &Begin::After(socket(2))), [3, 1, 2]);
        assert_eq!(tried(&[1, 2, 3], &Begin::After(socket(3))), [1, 2, 3]);
        // A name that names others by now.
        assert_eq!(tried(&[1, 2, 3], &Begin::After(socket(9))), [1, 2, 3]);
        assert_eq!(tried(&[], &Begin::After(socket(9))), Vec::<u16>::new());
    }

    #[test]
    fn who_is_hinted_at_is_the_first_if_it_was_given_and_never_gone_to_if_not() {
        let hinted = |named, ports: &[u16]| Begin::Hinted {
            named,
            sockets: ports.iter().map(|port| socket(*port)).collect(),
            after: socket(1),
        };
        assert_eq!(tried(&[1, 2, 3], &hinted(Some(2), &[])), [3, 2, 1]);
        assert_eq!(tried(&[1, 2, 3], &hinted(None, &[3])), [3, 2, 1]);
        assert_eq!(tried(&[1, 2, 3], &hinted(None, &[9])), [2, 3, 1]);
    }
}
