//! Ports for servers that are started and ended again.

use std::{
    net::TcpListener,
    os::{
        fd::IntoRawFd as _,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
};

/// A port of this machine's own address that nobody listens at, and that no other process is given by this as long as this one
/// lives: its server may start late, and stop and start again. None of those that the system gives to connections that go out:
/// until a server listens there, any of them could take it.
#[must_use]
pub fn free_port() -> u16 {
    let any = || rand::random_range(10_000..30_000);
    let mut some = std::iter::repeat_with(any).take(1_000);
    some.find(|port| take(*port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("no port is free")
}

/// Takes the port for this process; false: another one has it, or this one took it before.
///
/// The mark is an address of a socket that no file stands for: like the port it belongs to one network namespace, and the
/// kernel gives it free when the process ends, however it does.
fn take(port: u16) -> bool {
    let name = format!("octavius-testbed-port-{port}");
    let mark =
        SocketAddr::from_abstract_name(name).and_then(|address| UnixDatagram::bind_addr(&address));
    mark.map(UnixDatagram::into_raw_fd).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_to_one_alone() {
        let port = free_port();

        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "nobody listens at {port}");
        assert!(!take(port), "{port} was given again");
    }
}
