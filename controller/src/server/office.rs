//! What a controller has while it leads: its actors, from the store upwards, and the services that ask them.

#[cfg(feature = "etcd")]
use super::tls::Certificates;
use super::{MOST_EXECUTORS, StartError, vault};
use crate::{
    access::{AccessHandle, issuer::Issuers},
    audit::AuditHandle,
    configuration::{Authentication, Configuration, SHORTEST_HISTORY, StoreKind},
    grpc::{self, door},
    job_queue::{self, QueueHandle, Retention},
    liveness::{self, LivenessHandle, LivenessLimits},
    log_store::{LogFolder, LogHandle, LogLimits},
    registry::RegistryHandle,
    secrets::SecretsHandle,
    store::{
        Commit, Lead, Leadership, Opener, Patience, StoreHandle, TermError, Write, Writer,
        begin_term, keys,
    },
};
use bytes::Bytes;
use octavius_service::actor::{ActorSystem, Vitals};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// For how long the actors may take to load what is in the store.
const START_WITHIN: Duration = Duration::from_secs(60);
/// For how long actors may take with what they are at.
const ACTORS_WITHIN: Duration = Duration::from_secs(2);

/// What each term is made with.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) configuration: Configuration,
    /// What the configuration names as the place of the logs, if it names one.
    pub(super) log_store: Option<LogFolder>,
    /// Whose tokens are taken beside ours.
    pub(super) issuers: Issuers,
    /// A place for each reader of a log.
    pub(super) followers: Arc<Semaphore>,
    /// Ends all calls that wait.
    pub(super) ending: CancellationToken,
    /// What this controller shows where it passes calls on.
    #[cfg(feature = "etcd")]
    pub(super) certificates: Option<Arc<Certificates>>,
}

impl Plan {
    /// Tries the log store that the configuration names: what is wrong with it is told at the start, also where another
    /// controller leads.
    pub(super) async fn new(
        configuration: &Configuration,
        issuers: Issuers,
        followers: Arc<Semaphore>,
        ending: CancellationToken,
    ) -> Result<Self, StartError> {
        let log_store = match &configuration.log_store {
            Some(url) => Some(LogFolder::of(Some(url), &configuration.data_dir)?.tried().await?),
            None => {
                if configuration.store() == StoreKind::Etcd {
                    tracing::warn!(
                        "logs are kept in this machine's `data_dir`, where no other controller reads them: where there are several, give `log_store`"
                    );
                }
                None
            }
        };
        Ok(Self {
            configuration: configuration.clone(),
            log_store,
            issuers,
            followers,
            ending,
            #[cfg(feature = "etcd")]
            certificates: None,
        })
    }
}

/// The ways in to the actors.
#[derive(Clone, Debug)]
pub(super) struct Actors {
    pub(super) store: StoreHandle,
    pub(super) logs: LogHandle,
    pub(super) registry: RegistryHandle,
    pub(super) secrets: SecretsHandle,
    pub(super) access: AccessHandle,
    pub(super) audit: AuditHandle,
    pub(super) queue: QueueHandle,
    pub(super) liveness: LivenessHandle,
}

/// What is seen of an office from outside.
pub(crate) struct Seen {
    /// What it writes under.
    pub(crate) lead: Lead,
    /// The installation's id, and which term of it this is.
    pub(crate) leadership: Leadership,
    pub(super) actors: Actors,
    /// How each actor is.
    pub(crate) vitals: Vec<Arc<Vitals>>,
    pub(super) routes: Routes,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("leadership", &self.leadership).finish_non_exhaustive()
    }
}

/// An office that is held.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) seen: Arc<Seen>,
    parts: grpc::Parts,
    system: ActorSystem,
    /// Ends the calls of this term that wait.
    calls: CancellationToken,
}

impl Office {
    /// Opens the store, begins a term, and starts the actors. A store that is in use or damaged is an error here.
    pub(super) async fn open(
        plan: &Plan,
        opener: Arc<dyn Opener>,
        patience: Patience,
        lead: Lead,
    ) -> Result<Self, StartError> {
        let mut system = ActorSystem::start("octavius-controller").map_err(StartError::Thread)?;
        match Self::furnish(plan, &mut system, opener, patience, lead.clone()).await {
            Ok((actors, leadership, parts)) => {
                let calls = parts.over.ending.clone();
                let vitals = system.actors().to_vec();
                let routes = grpc::routes(parts.clone());
                let seen = Arc::new(Seen { lead, leadership, actors, vitals, routes });
                Ok(Self { seen, parts, system, calls })
            }
            Err(error) => {
                system.stop().await; // so that the store is closed when its user hears of it
                Err(error)
            }
        }
    }

    async fn furnish(
        plan: &Plan,
        system: &mut ActorSystem,
        opener: Arc<dyn Opener>,
        patience: Patience,
        lead: Lead,
    ) -> Result<(Actors, Leadership, grpc::Parts), StartError> {
        let (leadership, actors) = Actors::start(system, plan, opener, patience, lead).await?;
        let ending = plan.ending.child_token();
        let policy = match plan.configuration.authentication {
            Authentication::Open => door::Policy::Open,
            Authentication::Tokens => door::Policy::Tokens(actors.access.view()),
        };
        let pace = match plan.configuration.authentication {
            Authentication::Open => None, // nobody says who calls: all would be one
            Authentication::Tokens => {
                Some(Arc::new(grpc::Pace::new(plan.configuration.calls_per_second)))
            }
        };
        let parts = grpc::Parts {
            store: actors.store.clone(),
            registry: actors.registry.clone(),
            secrets: actors.secrets.clone(),
            access: actors.access.clone(),
            audit: actors.audit.clone(),
            queue: actors.queue.clone(),
            liveness: actors.liveness.clone(),
            logs: actors.logs.clone(),
            leadership: leadership.clone(),
            ping_deadline: plan.configuration.executor_ping_deadline,
            over: grpc::Over { uncertain: ending.child_token(), ending },
            door: door::Door::new(policy, actors.registry.view()).trusting(plan.issuers.clone()),
            pace,
            followers: plan.followers.clone(),
        };
        Ok((actors, leadership, parts))
    }

    /// Ends the calls that wait, because another one may lead, and is there for new ones.
    #[cfg(feature = "etcd")]
    pub(super) fn cut(&mut self) {
        self.parts.over.uncertain.cancel();
        self.parts.over.uncertain = self.calls.child_token();
        let Seen { lead, leadership, actors, vitals, .. } = &*self.seen;
        self.seen = Arc::new(Seen {
            lead: lead.clone(),
            leadership: leadership.clone(),
            actors: actors.clone(),
            vitals: vitals.clone(),
            routes: grpc::routes(self.parts.clone()),
        });
    }

    /// Waits until all actors have loaded what is theirs; ends them where they do not.
    pub(super) async fn up(self) -> Result<Self, StartError> {
        let up = timeout(START_WITHIN, self.seen.actors.up()).await;
        let late = || Err(StartError::Late(START_WITHIN));
        match up.unwrap_or_else(|_| late()) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.close().await;
                Err(error)
            }
        }
    }

    /// Makes all logs durable, as far as they can be in time.
    pub(super) async fn flush(&self, within: Duration) {
        match self.seen.actors.logs.flush_all(within).await {
            Ok(()) => tracing::info!("all logs are durable"),
            Err(error) => {
                tracing::warn!(%error, "logs are not all durable: executors still have the rest");
            }
        }
    }

    /// Ends the calls of this term that wait, and then the actors.
    pub(super) async fn close(self) {
        let Self { seen, parts, system, calls } = self;
        calls.cancel();
        drop((seen, parts));
        match timeout(ACTORS_WITHIN, system.stop()).await {
            Ok(()) => tracing::info!("the actors have ended"),
            Err(_) => tracing::warn!("actors were left: not ended within {ACTORS_WITHIN:?}"),
        }
    }
}

impl Actors {
    /// Starts them, the one below first. A store that is in use or damaged is an error here.
    async fn start(
        system: &mut ActorSystem,
        plan: &Plan,
        opener: Arc<dyn Opener>,
        patience: Patience,
        lead: Lead,
    ) -> Result<(Leadership, Self), StartError> {
        let configuration = &plan.configuration;
        #[cfg(feature = "fault-injection")]
        let opener = crate::store::faulty::outside::from_environment(opener);
        let store = StoreHandle::start(system, opener, lead.clone(), patience).await?;
        store.handle().up(START_WITHIN).await?;
        let writer = store.enlist("Controller").await?;
        let vault = vault::open(&store, &writer, &configuration.data_dir).await?;
        let leadership = begin_term(&store, &writer).await?;
        let folder = match &plan.log_store {
            Some(named) => named.clone(),
            None => LogFolder::of(None, &configuration.data_dir)?.tried().await?,
        };
        let folder = match configuration.store() {
            StoreKind::Embedded => folder.belonging_to(&leadership.installation).await?,
            StoreKind::Etcd => shared(&store, &writer, folder, &leadership.installation).await?,
        };
        let logs = LogHandle::start(
            system,
            store.clone(),
            folder,
            leadership.revision,
            LogLimits {
                kept: configuration.log_limit.0,
                keep_for: configuration.keep_logs_for,
                ..LogLimits::default()
            },
        );
        let logs = logs.map_err(StartError::Thread)?;
        let registry = RegistryHandle::start(system, store.clone()).map_err(StartError::Thread)?;
        let secrets = SecretsHandle::start(system, store.clone(), vault);
        let secrets = secrets.map_err(StartError::Thread)?;
        let first = configuration.first_administrator.clone();
        let access = AccessHandle::start_with(system, store.clone(), first);
        let access = access.map_err(StartError::Thread)?;
        let audit = AuditHandle::start(system, store.clone(), configuration.keep_audit_for);
        let audit = audit.map_err(StartError::Thread)?;
        let parts = job_queue::Parts {
            store: store.clone(),
            registry: registry.clone(),
            secrets: secrets.clone(),
            logs: logs.clone(),
            limits: configuration.queue_limits(),
            retention: Retention::of(configuration.keep_executions_for).at_most(
                configuration.keep_executions,
                SHORTEST_HISTORY.max(configuration.executor_lost_after),
            ),
        };
        let queue = QueueHandle::start(system, parts).map_err(StartError::Thread)?;
        let limits = LivenessLimits {
            executors: MOST_EXECUTORS,
            ping_deadline: configuration.executor_ping_deadline,
            lost_after: configuration.executor_lost_after,
        };
        let installation = leadership.installation.clone();
        let parts = liveness::Parts {
            store: store.clone(),
            queue: queue.clone(),
            lead,
            installation,
            limits,
        };
        let liveness = LivenessHandle::start(system, parts).map_err(StartError::Thread)?;
        Ok((leadership, Self { store, logs, registry, secrets, access, audit, queue, liveness }))
    }

    /// Waits until all have loaded what is theirs.
    async fn up(&self) -> Result<(), StartError> {
        self.store.handle().up(START_WITHIN).await?;
        self.logs.up(START_WITHIN).await?;
        self.registry.up(START_WITHIN).await?;
        self.secrets.up(START_WITHIN).await?;
        self.access.up(START_WITHIN).await?;
        self.audit.up(START_WITHIN).await?;
        self.queue.actor().up(START_WITHIN).await?;
        self.liveness.up(START_WITHIN).await?;
        Ok(())
    }
}

/// The log store that all controllers of this store have to have: which one that is stands in the store.
async fn shared(
    store: &StoreHandle,
    writer: &Writer,
    folder: LogFolder,
    installation: &str,
) -> Result<LogFolder, StartError> {
    let known = store.get(keys::LOG_STORE).await.map_err(TermError::Read)?;
    let known = known.map(|known| String::from_utf8_lossy(&known).into_owned());
    let is_new = known.is_none();
    let folder = folder.shared_by(installation, known).await?;
    if let Some(place) = folder.identity().filter(|_| is_new) {
        let place = Bytes::copy_from_slice(place.as_bytes());
        match writer.commit(vec![Write::Put(keys::LOG_STORE.to_owned(), place)]).await {
            Commit::Done => {}
            Commit::Refused(why) | Commit::Unknown(why) => return Err(TermError::Write(why).into()),
        }
    }
    Ok(folder)
}
