//! An executor that does nothing: it speaks the protocol with a real controller, says of each attempt at once that it
//! is prepared, that it runs and that it has succeeded, and starts no program.
//!
//! As the real one it has one parked call for work, one for orders on a connection of its own, and says one thing of an
//! attempt after the other, each acknowledged.

use anyhow::{Context as _, Result, ensure};
use octavius_client::v1::{
    self, LeaseName, executors_client::ExecutorsClient, report_request::Event,
};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// How long a call is parked.
const WAIT: prost_types::Duration = prost_types::Duration { seconds: 2, nanos: 0 };

/// How long each of very many has its calls parked: as long as the real one.
const LONG_POLL: prost_types::Duration = prost_types::Duration { seconds: 30, nanos: 0 };
const LONG_ATTEND: prost_types::Duration = prost_types::Duration { seconds: 10, nanos: 0 };

/// What it did.
#[derive(Debug)]
pub(super) enum Done {
    /// It was given this execution.
    Leased(String, Instant),
    /// The end of this execution was acknowledged: it is final, and on disk.
    Ended(String),
    /// It cannot go on.
    Failed(anyhow::Error),
}

/// What it takes to join where TLS is spoken and tokens are taken.
#[derive(Debug)]
pub(super) struct Invitation {
    tls: ClientTlsConfig,
    proof: Proof,
}

impl Invitation {
    /// Trusted is the authority in this PEM file, and the token is one for joining.
    pub(super) fn new(authority: &Path, token: &str) -> Result<Self> {
        let authority = Certificate::from_pem(std::fs::read(authority)?);
        let tls = ClientTlsConfig::new().ca_certificate(authority);
        Ok(Self { tls, proof: Proof::of(token)? })
    }
}

/// Goes with each call, where a token is asked for.
#[derive(Clone, Debug, Default)]
struct Proof(Option<MetadataValue<Ascii>>);

impl Proof {
    fn of(token: &str) -> Result<Self> {
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        bearer.set_sensitive(true);
        Ok(Self(Some(bearer)))
    }
}

impl Interceptor for Proof {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

type Wire = InterceptedService<Channel, Proof>;

/// It works until this is dropped.
#[derive(Debug)]
pub(super) struct IdleExecutor {
    _tasks: JoinSet<()>,
}

impl IdleExecutor {
    /// Registers, and takes up to `capacity` attempts at once. What it does is told to `told`.
    pub(super) async fn start(
        address: &str,
        invitation: Option<&Invitation>,
        capacity: u32,
        told: mpsc::UnboundedSender<Done>,
    ) -> Result<Self> {
        Self::join(address, invitation, "idle", capacity, [WAIT, WAIT], told).await
    }

    /// One of very many, each with a name of its own and one place.
    pub(super) async fn one_of_many(
        address: &str,
        name: &str,
        told: mpsc::UnboundedSender<Done>,
    ) -> Result<Self> {
        Self::join(address, None, name, 1, [LONG_POLL, LONG_ATTEND], told).await
    }

    /// Its calls for work and for orders are parked for that long.
    async fn join(
        address: &str,
        invitation: Option<&Invitation>,
        name: &str,
        capacity: u32,
        [poll, attends]: [prost_types::Duration; 2],
        told: mpsc::UnboundedSender<Done>,
    ) -> Result<Self> {
        let channel = connected(address, invitation).await?;
        let proof = invitation.map(|invitation| invitation.proof.clone()).unwrap_or_default();
        let mut joins = ExecutorsClient::with_interceptor(channel.clone(), proof);
        let request = v1::RegisterRequest {
            executor: name.to_owned(),
            place: uuid::Uuid::new_v4().to_string(),
            instance: uuid::Uuid::new_v4().to_string(),
            version: "bench".to_owned(),
            protocol_level: 1,
            runner: "process".to_owned(),
            capacity,
            ..v1::RegisterRequest::default()
        };
        let registered = joins.register(request).await?.into_inner();
        let session = registered.session;
        let proof = match invitation {
            Some(_) => Proof::of(&registered.credential)?,
            None => Proof::default(),
        };
        let client = ExecutorsClient::with_interceptor(channel, proof.clone());
        let beats = connected(address, invitation).await?;
        let beats = ExecutorsClient::with_interceptor(beats, proof);
        let (held, named) = watch::channel(HashMap::new());
        let mut tasks = JoinSet::new();
        let failed = told.clone();
        tasks.spawn(async move {
            let work = Work { client, session, capacity, wait: poll, told, held };
            let attends = attend(beats, session, attends, named);
            let ended = tokio::select! { ended = work.go() => ended, ended = attends => ended };
            if let Err(error) = ended {
                let _ = failed.send(Done::Failed(error)); // nobody may care any more
            }
        });
        Ok(Self { _tasks: tasks })
    }
}

async fn connected(address: &str, invitation: Option<&Invitation>) -> Result<Channel> {
    let endpoint = match invitation {
        Some(Invitation { tls, .. }) => {
            Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls.clone())?
        }
        None => Endpoint::from_shared(format!("http://{address}"))?,
    };
    Ok(endpoint.tcp_nodelay(true).connect().await?)
}

type Held = HashMap<String, LeaseName>;

fn named(held: &Held) -> Vec<v1::HeldAttempt> {
    let phase = v1::HeldPhase::Accepted.into();
    held.values()
        .map(|lease| v1::HeldAttempt { lease: Some(lease.clone()), phase, lacks_secrets: false })
        .collect()
}

/// Gives signs of life. Orders are not obeyed: nobody cancels in a bench.
async fn attend(
    mut client: ExecutorsClient<Wire>,
    session: u64,
    wait: prost_types::Duration,
    held: watch::Receiver<Held>,
) -> Result<()> {
    loop {
        let held = named(&held.borrow());
        client
            .attend(v1::AttendRequest { session, held, wait: Some(wait), ..Default::default() })
            .await?;
    }
}

struct Work {
    client: ExecutorsClient<Wire>,
    session: u64,
    capacity: u32,
    wait: prost_types::Duration,
    told: mpsc::UnboundedSender<Done>,
    held: watch::Sender<Held>,
}

impl Work {
    async fn go(mut self) -> Result<()> {
        let mut attempts = JoinSet::new();
        // A grant is repeated until it was named: also of what has ended meanwhile.
        let mut known = HashSet::new();
        loop {
            while let Some(ended) = attempts.try_join_next() {
                self.ended(ended??);
            }
            let free = self.capacity - u32::try_from(attempts.len())?;
            if free == 0 {
                let ended = attempts.join_next().await.context("there is no room for work")?;
                self.ended(ended??);
                continue;
            }
            let held = named(&self.held.borrow());
            let (session, wait) = (self.session, Some(self.wait));
            let poll = v1::PollRequest { session, free, wait, held };
            let grants = self.client.poll(poll).await?.into_inner().grants;
            let now = Instant::now();
            for lease in grants.into_iter().filter_map(|grant| grant.name) {
                let id = lease.execution.clone();
                if known.insert((id.clone(), lease.epoch)) {
                    let _ = self.told.send(Done::Leased(id.clone(), now));
                    self.held.send_modify(|held| drop(held.insert(id, lease.clone())));
                    let told = self.told.clone();
                    attempts.spawn(run(self.client.clone(), session, lease, told));
                }
            }
        }
    }

    fn ended(&self, id: String) {
        self.held.send_modify(|held| drop(held.remove(&id)));
    }
}

/// The life of an attempt.
async fn run(
    mut client: ExecutorsClient<Wire>,
    session: u64,
    lease: LeaseName,
    told: mpsc::UnboundedSender<Done>,
) -> Result<String> {
    let id = lease.execution.clone();
    let ended = v1::Ended {
        state: v1::ExecutionState::Succeeded.into(),
        reason_code: "exit_code".to_owned(),
        reason: "the program exited with 0".to_owned(),
        exit_code: Some(0),
        ..v1::Ended::default() // the log is empty, and so is its checksum
    };
    let prepared = v1::Prepared { identity: id.clone() };
    let events =
        [Event::Prepared(prepared), Event::Running(v1::Running::default()), Event::Ended(ended)];
    for event in events {
        let (lease, event) = (Some(lease.clone()), Some(event));
        let report = v1::ReportRequest { session, lease, event };
        let answer = tokio::time::timeout(Duration::from_secs(60), client.report(report)).await??;
        let answer = answer.into_inner();
        ensure!(answer.verdict() == v1::ReportVerdict::Recorded, "{id} was answered {answer:?}");
    }
    let _ = told.send(Done::Ended(id.clone()));
    Ok(id)
}
