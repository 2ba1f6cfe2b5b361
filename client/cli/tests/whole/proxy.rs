//! A way to an address that counts what goes there, and that can be cut.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The way; it is there for as long as this is.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Where it begins.
    pub(crate) address: String,
    sent: Arc<AtomicU64>,
    whole: watch::Sender<bool>,
}

impl Proxy {
    /// A way to `address`.
    pub(crate) async fn to(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().to_string();
        let (whole, watched) = watch::channel(true);
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                // The port stays ours while the way is cut: who comes is sent away at once.
                if !*watched.borrow() {
                    continue;
                }
                let Ok(far) = TcpStream::connect(&address).await else { continue };
                let (counter, mut watched) = (counter.clone(), watched.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(near, far, &counter) => {}
                        _ = watched.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { address: here, sent, whole }
    }

    /// How many bytes went to the address so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Ends all connections, and every new one until [`Self::mend`].
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(near: TcpStream, far: TcpStream, sent: &AtomicU64) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    // Each half goes when its direction ends, which tells the other side.
    let back = async move {
        let _ = tokio::io::copy(&mut far_in, &mut near_out).await;
    };
    let there = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = near_in.read(&mut buffer).await {
            sent.fetch_add(read as u64, Relaxed);
            if far_out.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
        let _ = far_out.shutdown().await;
    };
    tokio::join!(back, there);
}
