//! Where a backup is taken from: the store itself, or the controller that has it open.

use super::{BackupError, opener, place};
use crate::{
    configuration::{Configuration, StoreKind},
    grpc::door::AUTHORIZATION,
    store::{Entry, OpenError, Purpose, Range, SCHEMA_VERSION, embedded, keys},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use octavius_protocol::{
    MAX_MESSAGE,
    reach::{Address, tls},
    v1,
    v1::system_client::SystemClient,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

/// The variable that holds the token of whoever takes a backup through a controller that takes tokens.
const TOKEN: &str = "ACCESS_TOKEN";
/// How long the controller may take to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// How long it may take with the next part.
const PART_WITHIN: Duration = Duration::from_secs(30);

/// What a backup is read from.
pub(super) struct Source {
    /// The installation that it is of.
    pub(super) installation: String,
    way: Way,
}

enum Way {
    Store(Arc<dyn crate::store::Backend>),
    /// A controller has the embedded store open. Its store must have this id, where that is known.
    Controller(Box<SystemClient<InterceptedService<Channel, Bearer>>>, Option<Uuid>),
}

/// Entries of one moment, a part of them at a time; whole only if none is an error.
pub(super) type Parts = BoxStream<'static, Result<Vec<Entry>, String>>;

impl Source {
    /// Finds out where it can be read.
    pub(super) async fn open(configuration: &Configuration) -> Result<Self, BackupError> {
        let opener = opener(configuration, Purpose::Read).ok_or(BackupError::NoEtcd)?;
        let backend = match opener.open().await {
            Ok(backend) => backend,
            Err(OpenError::InUse { .. }) if configuration.store() == StoreKind::Embedded => {
                return Self::through_controller(configuration).await;
            }
            Err(error) => return Err(error.into()),
        };
        let found = backend.range(Range::key(keys::INSTALLATION)).await;
        let found = found.map_err(|error| BackupError::Source(error.to_string()))?;
        let installation = found
            .entries
            .into_iter()
            .next()
            .ok_or_else(|| BackupError::Empty { place: place(configuration) })?;
        let installation = String::from_utf8_lossy(&installation.value).into_owned();
        Ok(Self { installation, way: Way::Store(backend) })
    }

    async fn through_controller(configuration: &Configuration) -> Result<Self, BackupError> {
        let address = configuration.advertised(reached(configuration.address()));
        let folder = configuration.data_dir.clone();
        let away = |cause: String| BackupError::Controller {
            folder: folder.display().to_string(),
            address: address.clone(),
            cause,
        };
        let parsed = Address::parse(&address, false).map_err(|error| away(error.to_string()))?;
        let mut endpoint = Endpoint::from(parsed.uri().clone());
        if parsed.is_tls() {
            let tls = tls::trusting(configuration.tls_ca_file.as_deref()).map_err(away)?;
            endpoint = endpoint.tls_config(tls).map_err(|error| away(error.to_string()))?;
        }
        let channel = endpoint.connect_timeout(CONNECT_WITHIN).connect().await;
        let channel = channel.map_err(|error| away(with_causes(&error)))?;
        let bearer = Bearer::from_environment().map_err(away)?;
        let mut client =
            SystemClient::with_interceptor(channel, bearer).max_decoding_message_size(MAX_MESSAGE);
        let mut request = tonic::Request::new(v1::GetVersionRequest {});
        request.set_timeout(PART_WITHIN);
        let version = client.get_version(request).await;
        let version = version.map_err(|status| away(status.message().to_owned()))?.into_inner();
        let id = embedded::marked_id(&configuration.data_dir);
        Ok(Self { installation: version.installation, way: Way::Controller(Box::new(client), id) })
    }

    /// The layout of its keys.
    pub(super) fn schema(&self) -> u64 {
        SCHEMA_VERSION // whoever opened it has checked that
    }

    /// All entries, as of now.
    pub(super) async fn read(&self) -> Result<Parts, String> {
        match &self.way {
            Way::Store(backend) => {
                let parts = backend.snapshot().await.map_err(|error| error.to_string())?;
                Ok(parts.map_err(|error| error.to_string()).boxed())
            }
            Way::Controller(client, id) => {
                let id = *id;
                let answer = SystemClient::clone(client).backup(v1::BackupRequest {}).await;
                let answer = answer.map_err(|status| status.message().to_owned())?.into_inner();
                let parts = futures::stream::try_unfold(Some(answer), move |answer| async move {
                    let Some(mut answer) = answer else { return Ok(None) };
                    let next = tokio::time::timeout(PART_WITHIN, answer.message()).await;
                    let next = next.map_err(|_| format!("nothing came for {PART_WITHIN:?}"))?;
                    let next = next.map_err(|status| status.message().to_owned())?;
                    let next = next.ok_or("it broke off before its end")?;
                    let entries: Vec<_> = next.entries.into_iter().map(entry).collect();
                    let other =
                        |entry: &Entry| entry.key == keys::STORE_ID && !is(&entry.value, id);
                    if entries.iter().any(other) {
                        return Err("the controller there has another store open".to_owned());
                    }
                    Ok(Some((entries, (!next.last).then_some(answer))))
                });
                Ok(parts.boxed())
            }
        }
    }
}

/// What proves to the controller who takes the backup, if it wants to know.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn from_environment() -> Result<Self, String> {
        let Some(token) = std::env::var_os(TOKEN).filter(|token| !token.is_empty()) else {
            return Ok(Self(None));
        };
        let bearer = token.to_str().and_then(|token| format!("Bearer {token}").parse().ok());
        let mut bearer: MetadataValue<Ascii> =
            bearer.ok_or_else(|| format!("the variable {TOKEN} holds what no token holds"))?;
        bearer.set_sensitive(true);
        Ok(Self(Some(bearer)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert(AUTHORIZATION, bearer.clone());
        }
        Ok(request)
    }
}

fn entry(entry: v1::StoreEntry) -> Entry {
    Entry { key: entry.key, value: entry.value }
}

fn is(value: &Bytes, id: Option<Uuid>) -> bool {
    id.is_none_or(|id| value.as_ref() == id.to_string().as_bytes())
}

/// Where a controller of this machine is reached that listens there.
fn reached(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
