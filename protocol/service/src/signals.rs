//! The end of a server by signal: the first asks it to end, the second leaves at once.

use std::io;
use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::CancellationToken;

/// What asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: somebody pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: whoever runs this process wants it to end.
    Terminate,
}

impl Signal {
    /// The exit status that shells expect of a process which such a signal ended.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Both signals, from when it was made: they no longer end the process by themselves.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

/// How a server came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum End<T> {
    /// It ended, asked or not, and this is what it returned.
    Ended(T),
    /// A second signal came before it had ended. `main` returns now, and shuts its runtime down without waiting.
    Left(Signal),
}

impl Signals {
    /// Listens from now on. Call it on a tokio runtime, before anything starts that must end in order.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    /// Runs `server` to its end. The first signal cancels `cancel`, the second leaves it where it is.
    pub async fn run<T>(
        &mut self,
        cancel: &CancellationToken,
        server: impl Future<Output = T>,
    ) -> End<T> {
        tokio::pin!(server);
        tokio::select! {
            ended = &mut server => return End::Ended(ended),
            signal = self.next() => {
                tracing::info!(?signal, "ending; a second signal leaves at once");
                cancel.cancel();
            }
        }
        tokio::select! {
            ended = &mut server => End::Ended(ended),
            signal = self.next() => {
                tracing::warn!(?signal, "leaving at once");
                End::Left(signal)
            }
        }
    }
}
