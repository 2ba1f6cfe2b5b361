//! The service `System`.

use super::{Services, door::Rpc, status::RequestError};
use crate::{audit::About, store::Entry};
use futures::{StreamExt, stream::BoxStream};
use octavius_protocol::{LEVEL, v1};
use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use tonic::{Request, Response, Status, async_trait};

/// How many backups are taken at a time.
pub(crate) const MOST_BACKUPS: usize = 1;
/// For how long one may hold the moment that it is of: until then the store frees nothing of it.
pub(crate) const BACKUP_WITHIN: Duration = Duration::from_secs(15 * 60);
/// A part ends behind the entry that fills it.
const PART_BYTES: usize = 1 << 20;

#[async_trait]
impl v1::system_server::System for Services {
    async fn get_version(
        &self,
        request: Request<v1::GetVersionRequest>,
    ) -> Result<Response<v1::GetVersionResponse>, Status> {
        let (_, v1::GetVersionRequest {}) = self.enter(Rpc::GetVersion, request)?;
        Ok(Response::new(v1::GetVersionResponse {
            version: crate::VERSION.to_owned(),
            protocol_level: LEVEL,
            installation: self.parts.leadership.installation.clone(),
        }))
    }

    type BackupStream = BoxStream<'static, Result<v1::BackupResponse, Status>>;

    async fn backup(
        &self,
        request: Request<v1::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let (caller, v1::BackupRequest {}) = self.enter(Rpc::Backup, request)?;
        let place = self.backups.clone().try_acquire_owned();
        let place = place.map_err(|_| RequestError::Backups { limit: MOST_BACKUPS })?;
        // A store that is full takes no entry, and is to be copied before anything else.
        match self.parts.store.full() {
            None => self.parts.audit.did(&caller, About::default()).await?,
            Some(_) => {
                tracing::warn!(by = caller.name(), "a backup is taken, and not in the audit");
            }
        }
        let mut snapshot = self.while_serving(self.parts.store.snapshot()).await?;
        let (parts, mut come) = mpsc::channel(1);
        let (ending, services) = (self.parts.over.ending.clone(), self.clone());
        // A task of its own, so that its end does not wait for a caller who does not read.
        tokio::spawn(async move {
            let _place = place;
            let telling = async {
                while let Some(part) = snapshot.next().await {
                    let entries = match part {
                        Ok(entries) => entries,
                        Err(error) => {
                            let status = Status::from(RequestError::Backup(error.to_string()));
                            return parts.send(Err(status)).await;
                        }
                    };
                    for part in in_parts(entries) {
                        if let Err(why) = services.still(Rpc::Backup, &caller, None) {
                            return parts.send(Err(why.into())).await;
                        }
                        parts.send(Ok(part)).await?;
                    }
                }
                parts.send(Ok(v1::BackupResponse { entries: Vec::new(), last: true })).await
            };
            // Who hears of no last part knows that it was cut off; that the caller has left is as well.
            tokio::select! {
                _ = timeout(BACKUP_WITHIN, telling) => {}
                () = ending.cancelled() => {}
            }
        });
        let answer = futures::stream::poll_fn(move |context| come.poll_recv(context));
        Ok(Response::new(answer.boxed()))
    }
}

/// Entries as they fit into messages.
fn in_parts(entries: Vec<Entry>) -> Vec<v1::BackupResponse> {
    let mut parts = vec![v1::BackupResponse::default()];
    let mut bytes = 0;
    for Entry { key, value } in entries {
        if bytes >= PART_BYTES {
            parts.push(v1::BackupResponse::default());
            bytes = 0;
        }
        bytes += key.len() + value.len();
        if let Some(part) = parts.last_mut() {
            part.entries.push(v1::StoreEntry { key, value });
        }
    }
    parts
}
