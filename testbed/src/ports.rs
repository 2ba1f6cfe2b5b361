//! Ports for servers that are started and ended again.

use std::net::TcpListener;

/// A port of this machine's own address that nobody listens at. None of those that the system gives to connections that go
/// out: until a server listens there, any of them could take it.
#[must_use]
pub fn free_port() -> u16 {
    let any = || rand::random_range(10_000..30_000);
    let mut some = std::iter::repeat_with(any).take(1_000);
    some.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("no port is free")
}
