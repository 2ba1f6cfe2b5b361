//! A way to an address that counts what goes there, and that can be cut and made slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};

/// How much is read at once.
const PIECE: usize = 64 << 10;
/// So many pieces are under way in one direction of a connection; then its sender waits.
const PIECES: usize = 64;

/// How a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All goes through, each byte so much later.
    Open(Duration),
    /// Nothing goes through, and nobody is told: who waits goes on waiting, as in a network that lost its cable.
    /// What was sent meanwhile arrives once the way is open again.
    Hangs,
    /// All connections are closed, and each new one at once.
    Refuses,
}

/// The way; it is there for as long as this is, and so are its connections.
#[derive(Debug)]
pub struct Proxy {
    /// Where it begins, as `host:port`.
    pub address: String,
    sent: Arc<AtomicU64>,
    way: watch::Sender<Way>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A way to `address`, which is `host:port`. Nobody need listen there yet.
    pub async fn to(address: impl Into<String>) -> Self {
        let address = address.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port is free");
        let here = listener.local_addr().unwrap().to_string();
        let (way, watched) = watch::channel(Way::Open(Duration::ZERO));
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new(); // they end with this task
            while let Ok((near, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                // The port stays ours while the way is cut: who comes is sent away at once.
                if *watched.borrow() != Way::Refuses {
                    let connection = carry(near, address.clone(), counter.clone(), watched.clone());
                    connections.spawn(connection);
                }
            }
        });
        Self { address: here, sent, way, task }
    }

    /// How many bytes went to the address so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Ends all connections, and every new one until [`Self::mend`].
    pub fn cut(&self) {
        self.set(Way::Refuses);
    }

    /// Lets all through again, at once.
    pub fn mend(&self) {
        self.set(Way::Open(Duration::ZERO));
    }

    /// It is so from now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection, until it ends or is refused.
async fn carry(
    near: TcpStream,
    address: String,
    sent: Arc<AtomicU64>,
    mut way: watch::Receiver<Way>,
) {
    let watched = way.clone();
    let carried = async {
        opens(&mut watched.clone()).await;
        let Ok(far) = TcpStream::connect(&address).await else { return };
        let (_, _) = (near.set_nodelay(true), far.set_nodelay(true)); // slower is right, too
        let (near_in, near_out) = near.into_split();
        let (far_in, far_out) = far.into_split();
        let unheard = AtomicU64::new(0);
        tokio::join!(
            one_way(near_in, far_out, &sent, watched.clone()),
            one_way(far_in, near_out, &unheard, watched.clone()),
        );
    };
    tokio::select! {
        () = carried => {}
        _ = way.wait_for(|way| *way == Way::Refuses) => {}
    }
}

/// One direction. Its end is told to the other side once all before it has arrived.
async fn one_way(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    sent: &AtomicU64,
    mut way: watch::Receiver<Way>,
) {
    let (put, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let reading = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            if put.send((Instant::now(), buffer[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((read, piece)) = take.recv().await {
            sleep_until(read + opens(&mut way).await).await;
            // It may have been cut while this was under way.
            opens(&mut way).await;
            sent.fetch_add(piece.len() as u64, Relaxed);
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await; // the other side may be gone
        take.close();
    };
    tokio::join!(reading, writing);
}

/// Waits until the way is open; how much later each byte arrives. Never, once it will not open any more.
async fn opens(way: &mut watch::Receiver<Way>) -> Duration {
    match way.wait_for(|way| matches!(way, Way::Open(_))).await.map(|way| *way) {
        Ok(Way::Open(delay)) => delay,
        _ => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(20);
    const A_WHILE: Duration = Duration::from_millis(300);

    /// A way to somebody who says again what is said to him.
    async fn to_an_echo() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await; // it may be cut
                });
            }
        });
        Proxy::to(address).await
    }

    async fn says(stream: &mut TcpStream, word: &[u8; 4]) -> std::io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_way_that_hangs_says_nothing_and_loses_nothing() {
        let proxy = to_an_echo().await;
        let mut stream = TcpStream::connect(&proxy.address).await.unwrap();
        assert_eq!(says(&mut stream, b"ping").await.unwrap(), *b"ping");
        assert_eq!(proxy.sent(), 4);
        proxy.set(Way::Hangs);
        assert!(timeout(A_WHILE, says(&mut stream, b"lost")).await.is_err());
        let mut other = TcpStream::connect(&proxy.address).await.unwrap();
        assert!(timeout(A_WHILE, says(&mut other, b"also")).await.is_err());
        assert_eq!(proxy.sent(), 4);
        proxy.mend();
        let mut answer = [0; 4];
        for (stream, word) in [(&mut stream, b"lost"), (&mut other, b"also")] {
            timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().unwrap();
            assert_eq!(answer, *word);
        }
    }

    #[tokio::test]
    async fn a_way_that_refuses_ends_the_old_and_the_new_connection() {
        let proxy = to_an_echo().await;
        let mut stream = TcpStream::connect(&proxy.address).await.unwrap();
        says(&mut stream, b"ping").await.unwrap();
        proxy.cut();
        let ended = timeout(SOON, stream.read(&mut [0; 4])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        let mut other = TcpStream::connect(&proxy.address).await.unwrap();
        assert!(timeout(SOON, says(&mut other, b"ping")).await.unwrap().is_err());
        proxy.mend();
        let mut third = TcpStream::connect(&proxy.address).await.unwrap();
        assert_eq!(timeout(SOON, says(&mut third, b"ping")).await.unwrap().unwrap(), *b"ping");
    }

    #[tokio::test]
    async fn a_slow_way_is_slow_in_both_directions() {
        let proxy = to_an_echo().await;
        let mut stream = TcpStream::connect(&proxy.address).await.unwrap();
        proxy.set(Way::Open(A_WHILE));
        let began = Instant::now();
        assert_eq!(says(&mut stream, b"ping").await.unwrap(), *b"ping");
        assert!(began.elapsed() >= A_WHILE * 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn connections_end_with_their_way() {
        let proxy = to_an_echo().await;
        let mut stream = TcpStream::connect(&proxy.address).await.unwrap();
        says(&mut stream, b"ping").await.unwrap();
        drop(proxy);
        let ended = timeout(SOON, stream.read(&mut [0; 4])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
}
