//! Since when the controller answers nothing.

use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// What is known of the controller's silence.
pub(super) struct Silence {
    /// When the newest sign of life that was answered was sent.
    heard: watch::Receiver<Instant>,
    /// Before then nobody looks whether it lasts too long.
    not_before: Instant,
}

impl Silence {
    /// One that lasts since what `heard` says.
    pub(super) fn since(heard: watch::Receiver<Instant>) -> Self {
        Self { heard, not_before: Instant::now() }
    }

    /// For how long the controller has answered nothing.
    pub(super) fn lasted(&self) -> Duration {
        self.heard.borrow().elapsed()
    }

    /// What was too long is so again only after this.
    pub(super) fn leave_alone(&mut self, pause: Duration) {
        self.not_before = Instant::now() + pause;
    }

    /// Whether it lasts for so long.
    pub(super) fn lasts(&self, patience: Duration) -> bool {
        self.rest(patience).is_zero()
    }

    /// Ends when the controller answers; never, where nobody is left who could hear it.
    pub(super) async fn ends(&mut self) {
        if self.heard.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends once it lasts for so long; without a limit never.
    pub(super) async fn for_as_long_as(&mut self, patience: Option<Duration>) {
        let Some(patience) = patience else { return std::future::pending().await };
        while !self.lasts(patience) {
            let rest = self.rest(patience);
            self.heard.mark_unchanged();
            // What is heard meanwhile only makes it look again.
            let _ = timeout(rest, self.ends()).await;
        }
    }

    /// What of so long is left.
    fn rest(&self, patience: Duration) -> Duration {
        let left = patience.saturating_sub(self.lasted());
        left.max(self.not_before.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_silence_lasts_from_the_last_answer_on() {
        let heard = watch::Sender::new(Instant::now());
        let mut silence = Silence::since(heard.subscribe());
        let began = Instant::now();
        let answered = tokio::spawn(async move {
            tokio::time::sleep(MINUTE / 2).await;
            heard.send_replace(Instant::now());
            heard
        });
        silence.for_as_long_as(Some(MINUTE)).await;
        assert_eq!(began.elapsed(), MINUTE * 3 / 2);
        silence.leave_alone(MINUTE);
        assert!(!silence.lasts(MINUTE), "it is left alone");
        silence.for_as_long_as(Some(MINUTE)).await;
        assert_eq!(began.elapsed(), MINUTE * 5 / 2);
        drop(answered.await);
    }
}
