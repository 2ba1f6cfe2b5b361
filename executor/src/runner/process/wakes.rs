//! Who waits for an attempt is woken when its supervisor gets on: so its folder is looked at as soon as there is
//! something to see, and otherwise seldom.
//!
//! A supervisor writes a byte to its standard output each time, and the system says when it has ended. That is a hint, and
//! nothing else: what holds stands in the folder. Of a supervisor that an earlier executor started nothing is heard; there
//! the pauses between two looks are what counts.

use super::{clock::Pauses, looks::looks};
use crate::watched::changed;
use octavius_protocol::id::AttemptId;
use std::{
    collections::BTreeMap,
    future::pending,
    ops::DerefMut,
    process::ExitStatus,
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{io::AsyncReadExt as _, process::Child, sync::watch};

/// A hint may be lost: then the folder is looked at after this long. Of thousands that run, each is looked at so often.
const UNHEARD: Duration = Duration::from_secs(1);

/// Changes whenever there is something to see, and says at last how the supervisor has ended.
type Heard = watch::Receiver<Option<ExitStatus>>;

/// The supervisors that this runner has started and that have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Wakes(
    #[expect(
        clippy::disallowed_types,
        reason = "no actor's state: locked while one is entered, found or taken out, and never over a wait"
    )]
    Arc<std::sync::Mutex<BTreeMap<AttemptId, Heard>>>,
);

impl Wakes {
    /// Listens to the supervisor of an attempt until it ends; then the system may forget it.
    pub(super) fn listen(&self, attempt: AttemptId, mut supervisor: Child) -> Wake {
        let (tells, heard) = watch::channel(None);
        self.all().insert(attempt, heard.clone());
        let (wakes, own) = (self.clone(), heard.clone());
        tokio::spawn(async move {
            if let Some(mut output) = supervisor.stdout.take() {
                let mut said = [0; 8];
                while output.read(&mut said).await.is_ok_and(|length| length > 0) {
                    tells.send_replace(None);
                }
            }
            let ended = supervisor.wait().await;
            wakes.forget(attempt, &own);
            if let Ok(ended) = ended {
                tells.send_replace(Some(ended));
            }
        });
        Wake(Some(heard))
    }

    /// Wakes whoever waits for this attempt from now on.
    pub(super) fn of(&self, attempt: AttemptId) -> Wake {
        let mut heard = self.all().get(&attempt).cloned();
        if let Some(heard) = &mut heard {
            heard.mark_unchanged();
        }
        Wake(heard)
    }

    /// A supervisor has ended.
    fn forget(&self, attempt: AttemptId, own: &Heard) {
        let mut all = self.all();
        // A second one may have been started meanwhile.
        if all.get(&attempt).is_some_and(|last| last.same_channel(own)) {
            all.remove(&attempt);
        }
    }

    fn all(&self) -> impl DerefMut<Target = BTreeMap<AttemptId, Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes who waits for one attempt.
#[derive(Debug)]
pub(super) struct Wake(Option<Heard>);

impl Wake {
    /// The pauses between two looks, each of which may end early.
    pub(super) fn pauses(&self) -> Pauses {
        if self.0.is_some() { Pauses::new(UNHEARD, UNHEARD) } else { looks() }
    }

    /// Whether the supervisor is heard and has not ended: then its attempt is not over, or this is woken once more.
    pub(super) fn is_kept(&self) -> bool {
        self.0.is_some() && self.ended().is_none()
    }

    /// How the supervisor has ended, if that was heard.
    pub(super) fn ended(&self) -> Option<ExitStatus> {
        *self.0.as_ref()?.borrow()
    }

    /// Until there is something to see, or so much time has passed.
    pub(super) async fn pause(&mut self, most: Duration) {
        let woken = async {
            match &mut self.0 {
                Some(heard) => changed(heard).await,
                None => pending().await,
            }
        };
        // That nothing was heard is no fault.
        let _ = tokio::time::timeout(most, woken).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_protocol::id::{AttemptNumber, ExecutionId};
    use std::process::Stdio;
    use tokio::{io::AsyncWriteExt as _, process::Command};
    use uuid::Uuid;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_waits_is_woken_by_a_word_and_by_the_end_and_no_later() {
        let execution = ExecutionId::from(Uuid::now_v7());
        let attempt = AttemptId { execution, attempt: AttemptNumber(1) };
        let mut shell = Command::new("sh");
        shell.args(["-c", "read word; printf .; read word; exit 3"]);
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        let wakes = Wakes::default();
        let mut first = wakes.listen(attempt, shell);
        let begun = tokio::time::Instant::now();
        stdin.write_all(b"go on\n").await.unwrap();
        first.pause(LONG).await;
        assert!(first.is_kept());
        let mut second = wakes.of(attempt);
        stdin.write_all(b"end\n").await.unwrap();
        for wake in [&mut first, &mut second] {
            wake.pause(LONG).await;
            assert_eq!(wake.ended().unwrap().code(), Some(3));
            assert!(!wake.is_kept());
        }
        assert!(begun.elapsed() < LONG, "nobody was woken");
        assert!(wakes.of(attempt).0.is_none(), "what has ended is kept");
        first.pause(Duration::ZERO).await; // does not wait for ever for who is gone
    }
}
