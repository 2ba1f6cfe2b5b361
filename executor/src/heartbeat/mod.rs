//! The heartbeat: keeps the session open, says what is held here and what is not seen, and brings back orders and grants.
//!
//! Owns the session's life, nothing else: who needs the session reads it from the [`Link`]. One Attend is parked at
//! any time; one that hangs is given up, so that the next does not wait for it. A controller that is away is asked
//! again for ever. One that says that a newer process took over ends what this one does with its attempts.

pub mod rules;

use crate::{
    attempts::{AttemptsHandle, Take},
    belonging::{Belonging, BelongingError},
    link::{Failure, Link, Registration, backoff},
    metrics,
    proof::{Proof, ProofError, UnreadToken},
    watched::present,
};
use actix::prelude::*;
use octavius_protocol::id::Session;
use rules::{Beat, Came, Pause, Rhythm, Step};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// What the heartbeat needs.
#[derive(Debug)]
pub struct Tools {
    /// The connection to the controller.
    pub link: Link,
    /// Who registers; without the installation, which `belonging` knows.
    pub registration: Registration,
    /// Where place and installation are kept.
    pub belonging: Belonging,
    /// Who holds what.
    pub attempts: AttemptsHandle,
    /// Why the runner does not see all of its attempts, if it does not.
    pub sight: watch::Receiver<Option<String>>,
    /// Whether it gets no new work because somebody said so, as the controller told last.
    pub drained: AtomicBool,
    /// `ping_interval`.
    pub ping_interval: Duration,
    /// Once this is cancelled, nothing new is taken.
    pub no_more_work: CancellationToken,
}

/// The actor that owns the session.
#[derive(Debug)]
pub struct Heartbeat {
    tools: Arc<Tools>,
    beat: Beat,
}

impl Heartbeat {
    /// The next incarnation: it registers again, and thereby has its session again.
    pub fn new(tools: Arc<Tools>) -> Self {
        Self { tools, beat: Beat::default() }
    }

    fn step(&mut self, context: &mut Context<Self>) {
        let (tools, step) = (self.tools.clone(), self.beat.step());
        let failures = self.beat.failures();
        let came = async move {
            match step {
                Step::Register => register(&tools, failures).await,
                Step::Attend(session, rhythm) => attend(&tools, session, rhythm, failures).await,
            }
        };
        context.spawn(came.into_actor(self).map(|came, heartbeat, context| {
            let (interval, deadline) =
                (heartbeat.tools.ping_interval, heartbeat.tools.link.deadline());
            let rhythm = |ping_deadline| Rhythm::new(interval, deadline, ping_deadline);
            let pause = match heartbeat.beat.after(came, rhythm) {
                Pause::No => return heartbeat.step(context),
                Pause::Growing(failures) => backoff::pause(failures, rand::random()),
                Pause::For(pause) => pause,
            };
            context.run_later(pause, Self::step);
        }));
    }
}

impl Actor for Heartbeat {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.step(context);
    }
}

octavius_service::panics_when_told!(Heartbeat);

async fn register(tools: &Tools, failures: u32) -> Came {
    match register_once(&tools.link, &tools.registration, &tools.belonging).await {
        Ok((session, ping_deadline)) => {
            tracing::info!(executor = %tools.registration.executor, %session, "registered");
            tools.link.open(session);
            // Where it has let all alone, somebody has to be there again before it says what it holds.
            if let Err(unanswered) = tools.attempts.resume().await {
                tracing::warn!(%unanswered, "what was let alone is not gone on with yet");
            }
            Came::Registered(session, ping_deadline)
        }
        Err(error) => {
            if let RegisterError::Failure(Failure::Replaced(_)) = error
                && let Err(unanswered) = tools.attempts.stand_down().await
            {
                tracing::warn!(%unanswered, "what the newer process drives is driven here as well");
            }
            unregistered(&error, failures)
        }
    }
}

/// What a registration that failed means; `failures` did before it.
fn unregistered(error: &RegisterError, failures: u32) -> Came {
    let later = match error {
        RegisterError::Failure(Failure::Later { .. } | Failure::SessionGone(_)) => true,
        RegisterError::Belonging(error) => error.is_later(),
        RegisterError::Token(_) => true, // who writes the file may be late
        RegisterError::Failure(_) | RegisterError::OtherInstallation { .. } => false,
    };
    if later {
        told(failures, error, "there is no session yet");
        return Came::Failed;
    }
    tracing::error!(
        %error,
        "the controller refuses this executor, and is asked again every {:?}",
        rules::REFUSED
    );
    Came::Refused
}

/// Tells the log the first failure in a row; the others, which may go on for hours, are for who looks closely.
fn told(failures: u32, failure: &dyn std::error::Error, what: &str) {
    match failures {
        0 => tracing::warn!(%failure, "{what}: tried again until it works"),
        _ => tracing::debug!(%failure, failures, "{what}"),
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The controller said so, or could not be asked.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The controller is of another installation than this place.
    #[error(
        "this executor belongs to the installation {ours}, and the controller at `cp_host` is of {theirs}: \
         give another `cp_host`, or another `state_dir` or, in a cluster, another `id`"
    )]
    OtherInstallation {
        /// What this place knows.
        ours: String,
        /// What answered.
        theirs: String,
    },
    /// What must be kept could not be.
    #[error(transparent)]
    Belonging(#[from] BelongingError),
    /// There is nothing to prove itself with.
    #[error(transparent)]
    Token(#[from] UnreadToken),
}

/// Registers once, and keeps the installation that answered.
pub async fn register_once(
    link: &Link,
    registration: &Registration,
    belonging: &Belonging,
) -> Result<(Session, Duration), RegisterError> {
    let ours = belonging.installation().await?;
    let registration = Registration { installation: ours.clone(), ..registration.clone() };
    let registered = match link.proof() {
        None => link.register(&registration).await?,
        Some(proof) => proof.register(link, &registration).await.map_err(|error| match error {
            ProofError::Failure(failure) => RegisterError::Failure(failure),
            ProofError::Folder(error) => RegisterError::Belonging(error.into()),
            ProofError::File(error) => RegisterError::Token(error),
        })?,
    };
    match ours {
        Some(ours) if ours != registered.installation => {
            let theirs = registered.installation;
            return Err(RegisterError::OtherInstallation { ours, theirs });
        }
        Some(_) => {}
        None => belonging.keep_installation(&registered.installation).await?,
    }
    if let Err(error) = belonging.claim().await {
        tracing::warn!(%error, "an older process of this executor may go on with what runs here");
    }
    metrics::registered();
    Ok((registered.session, registered.ping_deadline))
}

async fn attend(tools: &Tools, session: Session, rhythm: Rhythm, failures: u32) -> Came {
    let held = present(&mut tools.attempts.held(), |_| true).await;
    let unseen = tools.sight.borrow().clone();
    let began = Instant::now();
    let mut sessions = tools.link.sessions();
    let answer = tokio::select! {
        answer = tools.link.attend(session, &held, unseen, rhythm.wait, rhythm.patience) => answer,
        // Somebody else learned it first.
        _ = sessions.wait_for(|open| *open != Some(session)) => return Came::SessionGone,
    };
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(Failure::SessionGone(why)) => {
            tracing::info!(%session, %why, "the session is gone: registering again");
            return Came::SessionGone;
        }
        // Another one may be had without anybody's doing, as after a newer process of the same id that has ended.
        Err(Failure::Unproven(why)) if tools.link.proof().is_some_and(Proof::is_renewed) => {
            tracing::warn!(%session, %why, "the credential counts no more: registering again");
            tools.link.close(session);
            return Came::SessionGone;
        }
        Err(failure) => {
            told(failures, &failure, "a heartbeat was not answered");
            return Came::Failed;
        }
    };
    match (tools.drained.swap(answer.drained, Relaxed), answer.drained) {
        (false, true) => tracing::warn!(
            "drained: no new work comes until somebody ends that with `octavius executors undrain`"
        ),
        (true, false) => tracing::info!("not drained any more: new work comes"),
        (true, true) | (false, false) => {}
    }
    let after = began.elapsed();
    if tools.no_more_work.is_cancelled() {
        answer.grants.clear();
    }
    let empty = answer.orders.is_empty() && answer.grants.is_empty();
    if empty {
        return Came::Answered { news: false, empty, after };
    }
    let take = Take { grants: answer.grants, orders: answer.orders };
    match tools.attempts.take(take).await {
        Ok(news) => Came::Answered { news, empty, after },
        Err(unanswered) => {
            tracing::warn!(%unanswered, "orders were not taken: they come again");
            Came::Answered { news: false, empty, after }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::RunnerError;
    use std::sync::atomic::AtomicUsize;
    use tracing::{Event, Level, Metadata, Subscriber, span};

    /// Counts what is told to whoever runs this.
    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Subscriber for &'static Told {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            if *event.metadata().level() <= Level::WARN {
                self.0.fetch_add(1, Relaxed);
            }
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_cluster_that_does_not_keep_the_installation_is_told_of_once() {
        static TOLD: std::sync::LazyLock<Told> = std::sync::LazyLock::new(Told::default);
        let away = RunnerError::Failed {
            what: "keeping the installation".to_owned(),
            source: std::io::Error::other("no answer"),
        };
        let away = RegisterError::Belonging(BelongingError::Cluster(away));
        tracing::subscriber::with_default(&*TOLD, || {
            for failures in 0..10 {
                assert_eq!(unregistered(&away, failures), Came::Failed);
            }
        });
        assert_eq!(TOLD.0.load(Relaxed), 1);
    }
}
