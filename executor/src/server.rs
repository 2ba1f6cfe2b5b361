//! One executor, from its first look around to its last word.
//!
//! Started by `executor start`, and by `octavius dev` beside a controller in one process. Ending it ends no job: what
//! runs goes on, and the next executor at this place finishes the story. Only who asks for it ends the jobs as well.

mod health;

use crate::{
    attempts::{self, Attempts, AttemptsHandle, LOG_WAIT},
    belonging::{Belonging, BelongingError},
    configuration::{Configuration, RunnerKind},
    heartbeat::{self, Heartbeat},
    lease::HeldPhase,
    link::{Link, LinkError, LinkOptions, Registration},
    poller::{self, Poller},
    proof::{JoinsWith, Proof},
    runner::{
        Runner, RunnerError,
        process::{ProcessRunner, SupervisorCommand},
    },
    state_dir::{StateDir, StateDirError},
};
use health::Answering;
use octavius_protocol::id::Invalid;
use octavius_service::{
    actor::{ActorSystem, Handle, Limits, RestartPolicy, Vitals},
    raise_open_files,
    telemetry::{
        health::{AddressError, HealthServer},
        metrics::MetricsError,
    },
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
#[cfg(feature = "kubernetes")]
use tokio::time::Instant;
use tokio::{sync::watch, task::JoinError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// How long actors and the drivers of attempts may take to end. With what comes before and after it, less than ten
/// seconds: many who start and end services wait no longer before they kill.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How long a cluster that cannot be asked is tried again at the start.
#[cfg(feature = "kubernetes")]
const CLUSTER_WITHIN: Duration = Duration::from_secs(60);

/// The reason that jobs are stopped with when their executor ends them.
const ENDING: &str = "the executor was ended together with its jobs";

/// Why an executor does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kind of runner is not in this program.
    #[error(
        "`runner` is `kubernetes`, and this program was built without it: run the binary `executor`, or set `runner` to \
         `process`"
    )]
    Kubernetes,
    /// The executor's id is none.
    #[error("`id`: {0}")]
    Id(#[from] Invalid),
    /// The state folder cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// It cannot be said who this executor is.
    #[error(transparent)]
    Belonging(#[from] BelongingError),
    /// There is no connection to be had.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The runner cannot work here.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// Nobody can listen at `metrics_address`.
    #[error(transparent)]
    Metrics(#[from] AddressError),
    /// Nothing is measured.
    #[error(transparent)]
    Recorder(#[from] MetricsError),
    /// The actors' threads cannot be had.
    #[error("the actors' threads could not be started")]
    Threads(#[source] io::Error),
    /// Opening what blocks did not come to its end.
    #[error("starting was given up")]
    GivenUp(#[from] JoinError),
}

/// Names and values that jobs can select executors by.
type Labels = BTreeMap<String, String>;

/// What both `start` and `register` need.
#[derive(Debug)]
pub struct Place {
    /// The folder of what outlives the process.
    pub state_dir: Arc<StateDir>,
    /// By what the place is known, and to which installation it belongs.
    pub belonging: Belonging,
    /// The connection to the controller.
    pub link: Link,
    /// Who registers.
    pub registration: Registration,
}

impl Place {
    /// Opens and locks the state folder, looks up who this executor is, and makes ready to call the controller.
    pub async fn open(configuration: &Configuration) -> Result<Self, StartError> {
        let executor = configuration.executor()?;
        let path = configuration.state_dir.clone();
        let state_dir = tokio::task::spawn_blocking(move || StateDir::open(&path)).await??;
        let state_dir = Arc::new(state_dir);
        let (belonging, mut labels) = match configuration.runner {
            RunnerKind::Kubernetes => cluster_place(configuration).await?,
            RunnerKind::Process => (Belonging::Folder(state_dir.clone()), Labels::new()),
        };
        let link = Link::new(&LinkOptions {
            controller: configuration.cp_host.clone(),
            ca_file: configuration.tls_ca_file.clone(),
            certificate: configuration.certificate(),
            executor: executor.clone(),
            token: configuration.access_token.clone(),
            deadline: configuration.conn_time_out,
        })?;
        let runner = match configuration.runner {
            RunnerKind::Kubernetes => "kubernetes",
            RunnerKind::Process => "process",
        };
        labels.insert("runner".to_owned(), runner.to_owned());
        labels.extend(configuration.labels.clone()); // who runs it knows better
        let registration = Registration {
            executor,
            place: belonging.place().to_string(),
            instance: Uuid::new_v4().to_string(),
            runner,
            labels,
            capacity: configuration.capacity(),
            installation: None,
            offer: configuration.offer(),
        };
        let joins_with = match (&configuration.access_token, &configuration.access_token_file) {
            (Some(token), _) => JoinsWith::Token(token.clone()),
            (None, Some(file)) => JoinsWith::File(file.clone()),
            (None, None) => JoinsWith::Nothing,
        };
        let proof = Proof::new(state_dir.clone(), joins_with);
        let link = link.proving(proof);
        Ok(Self { state_dir, belonging, link, registration })
    }
}

/// An executor.
#[derive(Debug)]
pub struct Executor;

impl Executor {
    /// Starts an executor. `supervisor` is how this binary is told to keep watch over one attempt. Call it on a
    /// multi-threaded tokio runtime that lives as long as the executor.
    pub async fn start(
        configuration: &Configuration,
        supervisor: SupervisorCommand,
    ) -> Result<Running, StartError> {
        Self::start_with(configuration, supervisor, LOG_WAIT).await
    }

    /// The same, where the end of an attempt waits `log_wait` for a log of which nobody knows how much there is.
    pub async fn start_with(
        configuration: &Configuration,
        supervisor: SupervisorCommand,
        log_wait: Duration,
    ) -> Result<Running, StartError> {
        raise_open_files();
        // Whoever asks meanwhile must not take it for dead: a first start in a cluster waits for its controller.
        let answering = Answering::start(configuration.metrics_address).await?;
        let place = Place::open(configuration).await?;
        let runner: Arc<dyn Runner> = match configuration.runner {
            RunnerKind::Kubernetes => cluster(configuration, &place).await?,
            RunnerKind::Process => {
                let (path, spool_max) =
                    (place.state_dir.path().to_owned(), configuration.spool_max.0);
                let opened = tokio::task::spawn_blocking(move || {
                    ProcessRunner::open(&path, supervisor, spool_max)
                });
                Arc::new(opened.await??)
            }
        };
        Running::new(configuration, place, runner, log_wait, answering)
    }
}

/// The runner `kubernetes`: a cluster that cannot be asked now is tried again for a while.
#[cfg(feature = "kubernetes")]
async fn cluster(
    configuration: &Configuration,
    place: &Place,
) -> Result<Arc<dyn Runner>, StartError> {
    use crate::runner::kubernetes::{KubeRunner, Options};

    let options = Options::new(configuration, installation(place).await?);
    let runner = for_a_while(|| async {
        match &place.belonging {
            Belonging::Cluster(at) => KubeRunner::open_at(at, options.clone()).await,
            Belonging::Folder(_) => KubeRunner::open(options.clone()).await,
        }
    });
    Ok(Arc::new(runner.await?))
}

/// Who this executor is in its cluster, and what that says of itself.
#[cfg(feature = "kubernetes")]
async fn cluster_place(configuration: &Configuration) -> Result<(Belonging, Labels), StartError> {
    use crate::runner::kubernetes::{ClusterPlace, Options};

    let options = Options::new(configuration, String::new());
    let place = for_a_while(|| ClusterPlace::open(&options)).await?;
    let labels = for_a_while(|| place.labels()).await?;
    Ok((Belonging::Cluster(Arc::new(place)), labels))
}

/// Asks a cluster again, for a while, if it cannot be asked now.
#[cfg(feature = "kubernetes")]
async fn for_a_while<T, F: Future<Output = Result<T, RunnerError>>>(
    ask: impl Fn() -> F,
) -> Result<T, RunnerError> {
    let deadline = Instant::now() + CLUSTER_WITHIN;
    let mut backoff = crate::link::backoff::Backoff::default();
    loop {
        match ask().await {
            Err(error @ RunnerError::Failed { .. }) if Instant::now() < deadline => {
                tracing::warn!(%error, "the cluster cannot be asked yet: tried again");
                tokio::time::sleep(backoff.pause()).await;
            }
            answer => return answer,
        }
    }
}

/// The installation that this place belongs to. What is in a cluster is known by it to be ours, so a first start asks the
/// controller before it looks there, for as long as that takes.
#[cfg(feature = "kubernetes")]
async fn installation(place: &Place) -> Result<String, StartError> {
    use crate::{
        heartbeat::{RegisterError, register_once, rules::REFUSED},
        link::{Failure, backoff::Backoff},
    };

    let mut backoff = Backoff::default();
    loop {
        if let Some(known) = place.belonging.installation().await? {
            return Ok(known);
        }
        match register_once(&place.link, &place.registration, &place.belonging).await {
            Ok(_) => {}
            Err(RegisterError::Belonging(error)) if !error.is_later() => return Err(error.into()),
            Err(error) => {
                let later = matches!(
                    &error,
                    RegisterError::Failure(Failure::Later { .. })
                        | RegisterError::Belonging(_)
                        | RegisterError::Token(_)
                );
                let pause = backoff.pause();
                if backoff.failures() == 1 || !later {
                    tracing::warn!(%error, "the installation is not known yet: the controller is asked until it is");
                }
                tokio::time::sleep(if later { pause } else { REFUSED }).await;
            }
        }
    }
}

#[cfg(not(feature = "kubernetes"))]
#[expect(clippy::unused_async)] // as where it is there
async fn cluster_place(_: &Configuration) -> Result<(Belonging, Labels), StartError> {
    Err(StartError::Kubernetes)
}

#[cfg(not(feature = "kubernetes"))]
#[expect(clippy::unused_async)] // as where it is there
async fn cluster(_: &Configuration, _: &Place) -> Result<Arc<dyn Runner>, StartError> {
    Err(StartError::Kubernetes)
}

/// An executor that runs. Dropped without [`Running::stop`] it ends its actors without waiting for anything.
#[derive(Debug)]
pub struct Running {
    system: ActorSystem,
    attempts: AttemptsHandle,
    heartbeat: Handle<Heartbeat>,
    poller: Handle<Poller>,
    link: Link,
    drivers: TaskTracker,
    no_more_work: CancellationToken,
    ended: CancellationToken,
    health: Option<HealthServer>,
    /// Last, so that the place is free only when nobody works in it any more.
    _state_dir: Arc<StateDir>,
}

impl Running {
    fn new(
        configuration: &Configuration,
        place: Place,
        runner: Arc<dyn Runner>,
        log_wait: Duration,
        answering: Answering,
    ) -> Result<Self, StartError> {
        let Place { state_dir, belonging, link, registration } = place;
        let (limits, policy) = (Limits::default(), RestartPolicy::default());
        let no_more_work = CancellationToken::new();
        let mut system = ActorSystem::start("executor").map_err(StartError::Threads)?;

        let (drivers, sight) = (TaskTracker::new(), runner.sight());
        let tools = Arc::new(attempts::Tools {
            runner,
            link: link.clone(),
            runtime: tokio::runtime::Handle::current(),
            drivers: drivers.clone(),
            belonging: belonging.clone(),
            default_timeout: configuration.default_timeout(),
            log_wait,
        });
        let held = Arc::new(watch::Sender::new(None));
        let seen = held.subscribe();
        let build = move || Attempts::build(tools.clone(), held.clone());
        let actor =
            system.supervise("attempts", limits, policy, build).map_err(StartError::Threads)?;
        let attempts = AttemptsHandle::new(actor, seen);

        let tools = Arc::new(heartbeat::Tools {
            link: link.clone(),
            registration,
            belonging,
            attempts: attempts.clone(),
            sight: sight.clone(),
            drained: false.into(),
            ping_interval: configuration.ping_interval,
            no_more_work: no_more_work.clone(),
        });
        let build = move || std::future::ready(Ok(Heartbeat::new(tools.clone())));
        let heartbeat =
            system.supervise("heartbeat", limits, policy, build).map_err(StartError::Threads)?;

        let tools = Arc::new(poller::Tools {
            link: link.clone(),
            attempts: attempts.clone(),
            sight: sight.clone(),
            capacity: configuration.capacity(),
            no_more_work: no_more_work.clone(),
        });
        let build = move || std::future::ready(Ok(Poller::new(tools.clone())));
        let poller =
            system.supervise("poller", limits, policy, build).map_err(StartError::Threads)?;

        let (sessions, seen) = (link.sessions(), sight.clone());
        let (health, ended) = answering.started(system.actors(), move || {
            if let Some(why) = &*seen.borrow() {
                return Err(format!("no new work is taken: {why}"));
            }
            let open = sessions.borrow().is_some();
            open.then_some(()).ok_or_else(|| "there is no session with the controller".to_owned())
        });
        Ok(Self {
            system,
            attempts,
            heartbeat,
            poller,
            link,
            drivers,
            no_more_work,
            ended,
            health,
            _state_dir: state_dir,
        })
    }

    /// What is seen of each actor from outside.
    pub fn actors(&self) -> &[Arc<Vitals>] {
        self.system.actors()
    }

    /// The attempts that are held here.
    pub fn attempts(&self) -> &AttemptsHandle {
        &self.attempts
    }

    /// The actor that keeps the session.
    pub fn heartbeat(&self) -> &Handle<Heartbeat> {
        &self.heartbeat
    }

    /// The actor that asks for work.
    pub fn poller(&self) -> &Handle<Poller> {
        &self.poller
    }

    /// The connection to the controller.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Where `/metrics` answers, if it does.
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.health.as_ref().map(HealthServer::address)
    }

    /// Ends this executor, and no job: asks for no more work, gives what has ended `within` to reach the controller,
    /// and leaves.
    pub async fn stop(self, within: Duration) {
        self.no_more_work.cancel();
        let left = self.attempts.wait_until_none(|phase| phase == HeldPhase::Ended, within).await;
        if left > 0 {
            tracing::warn!(
                left,
                "attempts that are over were not reported in time: the next start does it"
            );
        }
        self.leave().await;
    }

    /// Ends this executor and all its jobs: they are stopped, and have `within` until their ends are with the
    /// controller. What takes longer is still ended by whoever keeps watch over it.
    pub async fn stop_and_end_jobs(self, within: Duration) {
        self.no_more_work.cancel();
        if let Err(unanswered) = self.attempts.stop_all(ENDING).await {
            tracing::error!(%unanswered, "the jobs could not be stopped");
        }
        let left = self.attempts.wait_until_none(|_| true, within).await;
        if left > 0 {
            tracing::warn!(
                left,
                "attempts were not over in time: the next start tells how they ended"
            );
        }
        self.leave().await;
    }

    async fn leave(self) {
        let Self { system, drivers, ended, health, .. } = self;
        ended.cancel();
        let left = async {
            system.stop().await;
            drivers.close();
            // They were told to end with their actor; the place is given up when they have, or with the process.
            drivers.wait().await;
        };
        let unseen = async {
            if let Some(health) = health {
                health.ended().await;
            }
        };
        let (left, ()) = tokio::join!(tokio::time::timeout(LEAVE_WITHIN, left), unseen);
        if left.is_err() {
            tracing::warn!(
                left = drivers.len(),
                "actors or drivers of attempts did not end in time"
            );
        }
        tracing::info!("ended");
    }
}
