//! The certificate that this executor shows, and its renewal while the executor runs.
//!
//! The files are looked at now and then. What is half written, or does not belong together, is not taken: the certificate
//! that is in use stays, and the log says why. With another one the next call goes over a connection of its own, because
//! the controller goes by what a connection has shown when it began; what is under way stays where it is.

use octavius_protocol::reach::{Reach, tls::Own};
use std::{path::PathBuf, time::Duration};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::ClientTlsConfig;

/// How often it is looked whether there is a new certificate: as often as the controller looks for its own.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What is shown, and where it comes from.
#[derive(Debug)]
pub(super) struct Shown {
    certificate: PathBuf,
    key: PathBuf,
    in_use: Own,
    /// What TLS is spoken with besides.
    tls: ClientTlsConfig,
}

/// Looks for new ones until it is dropped.
#[derive(Debug)]
pub(super) struct Renewal {
    _end: DropGuard,
}

impl Shown {
    /// What the files hold.
    pub(super) fn open(
        (certificate, key): &(PathBuf, PathBuf),
        tls: &ClientTlsConfig,
    ) -> Result<Self, String> {
        let in_use = Own::read(certificate, key)?;
        Ok(Self { certificate: certificate.clone(), key: key.clone(), in_use, tls: tls.clone() })
    }

    /// What TLS is spoken with where it is shown.
    pub(super) fn tls(&self) -> ClientTlsConfig {
        self.in_use.shown_with(self.tls.clone())
    }

    /// Has each of these ways show what the files hold whenever that is something else.
    pub(super) fn renewed_for(self, ways: [Reach; 2]) -> Renewal {
        let ended = CancellationToken::new();
        let renewal = Renewal { _end: ended.clone().drop_guard() };
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = self.renew(&ways) => {}
            }
        });
        renewal
    }

    async fn renew(mut self, ways: &[Reach]) {
        let mut told = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            let read = tokio::task::spawn_blocking(move || Own::read(&certificate, &key)).await;
            let renewed = match read {
                Ok(Ok(own)) if own == self.in_use => Ok(()),
                Ok(Ok(own)) => {
                    self.in_use = own;
                    self.show_on(ways).await
                }
                Ok(Err(error)) => Err(error),
                Err(_) => continue, // the runtime ends
            };
            match renewed {
                Ok(()) => told = None,
                Err(error) if told.as_ref() != Some(&error) => {
                    tracing::error!(
                        error,
                        "the certificate in use stays: its files cannot be used"
                    );
                    told = Some(error);
                }
                Err(_) => {}
            }
        }
    }

    async fn show_on(&self, ways: &[Reach]) -> Result<(), String> {
        let tls = self.tls();
        for way in ways {
            way.renew(&tls).await.map_err(|error| error.to_string())?;
        }
        let file = self.certificate.display();
        tracing::info!(%file, "a new certificate is shown");
        Ok(())
    }
}
