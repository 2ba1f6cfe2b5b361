//! Ports for servers that are started and ended again.

use anyhow::Result;
use std::net::TcpListener;

/// A port of this machine's own address that nobody listens at.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
