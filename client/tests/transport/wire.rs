//! A wire between client and controller that a test can cut.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Passes bytes on, both ways, until it is cut; then new connections pass again.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    cuts: watch::Sender<u64>,
    passing: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(controller: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, seen) = watch::channel(0);
        let passing = tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let mut seen = seen.clone();
                seen.mark_unchanged();
                tokio::spawn(async move {
                    let mut outside = TcpStream::connect(controller).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = seen.changed() => {} // both sockets are dropped
                    }
                });
            }
        });
        Self { address, cuts, passing }
    }

    /// Drops all connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Drops all connections, and takes no more.
    pub(crate) async fn end(mut self) {
        self.passing.abort();
        // Joined, so that the listener is closed when this returns.
        let _ = (&mut self.passing).await;
        self.cut();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.passing.abort();
    }
}
