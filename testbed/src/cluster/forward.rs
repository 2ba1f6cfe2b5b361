//! A way from this machine to a port in a cluster.

use super::{DONE, Failed, Namespace};
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout},
    time::timeout,
};

/// A port of this machine's own address that leads into a cluster until this goes.
#[derive(Debug)]
pub struct Forward {
    address: String,
    _kubectl: Child,
    /// Kept open: kubectl says each connection, and ends if nobody listens.
    _said: BufReader<ChildStdout>,
}

impl Forward {
    /// Where it is reached, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Namespace {
    /// Opens a way to a port of what `target` names, for example `pod/a` or `deployment/a`: to one pod of it.
    ///
    /// # Errors
    ///
    /// What `kubectl` said instead.
    ///
    /// # Panics
    ///
    /// If the output of `kubectl` is not there to be read.
    pub async fn forward(&self, target: &str, port: u16) -> Result<Forward, Failed> {
        let mut kubectl = self.command();
        kubectl.args(["port-forward", "--address", "127.0.0.1", target]);
        kubectl.arg(format!(":{port}")).kill_on_drop(true);
        kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kubectl = kubectl.spawn().map_err(|error| Failed(error.to_string()))?;
        let mut said = BufReader::new(kubectl.stdout.take().unwrap());
        let mut line = String::new();
        let read = timeout(DONE, said.read_line(&mut line)).await;
        // Forwarding from 127.0.0.1:34567 -> 3000
        let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next());
        match (read, address) {
            (Ok(Ok(_)), Some(address)) => {
                Ok(Forward { address: address.to_owned(), _kubectl: kubectl, _said: said })
            }
            _ => {
                let mut why = line;
                let _ = kubectl.start_kill(); // it may have ended
                if let Some(mut errors) = kubectl.stderr.take() {
                    let _ = errors.read_to_string(&mut why).await; // what was said, if anything
                }
                Err(Failed(format!("no way to {target}: {why}")))
            }
        }
    }
}
