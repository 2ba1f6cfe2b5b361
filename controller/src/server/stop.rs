//! The end of a controller, in order: nothing that was acknowledged is cut off by the step that follows.

use super::Running;
use std::time::Duration;
use tokio::{
    join,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

/// For how long calls in flight may take once nothing waits any more. All steps together take less than ten seconds
/// (3 s more for logs, or 2 to hand over; 2 for actors and metrics): many who start and end services wait no longer before
/// they kill.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Why a controller stopped serving without being asked.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC port ended by itself: {0}")]
pub struct ServeError(String);

impl Running {
    /// Serves until `cancel`, and then ends in order. An error if it ended without being asked.
    pub async fn serve_until(mut self, cancel: CancellationToken) -> Result<(), ServeError> {
        let ended = match &mut self.serving {
            None => None,
            Some(serving) => tokio::select! {
                () = cancel.cancelled() => None,
                ended = serving => Some(ended),
            },
        };
        let why = ended.map(|ended| {
            self.serving = None;
            match ended {
                Ok(Ok(())) => "nobody asked for it".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            }
        });
        self.stop().await;
        why.map_or(Ok(()), |why| Err(ServeError(why)))
    }

    /// Ends it: takes no more calls and ends those that wait, answers those in flight, makes the logs durable, ends the
    /// actors. Each step has its deadline.
    pub async fn stop(self) {
        let Self { terms, serving, health, ending, ended, .. } = self;
        let began = Instant::now();
        tracing::info!("the controller takes no more calls, and ends those that wait");
        ending.cancel();
        if let Some(mut serving) = serving {
            match timeout(ANSWER_WITHIN, &mut serving).await {
                Ok(_) => tracing::info!("all calls are answered"),
                Err(_) => {
                    serving.abort();
                    tracing::warn!("calls were cut off: not answered within {ANSWER_WITHIN:?}");
                }
            }
        }
        // Whoever holds the office has heard of it, too.
        let office = match terms.await {
            Ok(Some(in_office)) => Some(in_office.hand_over().await),
            Ok(None) | Err(_) => None,
        };
        ended.cancel();
        let close = async {
            if let Some(office) = office {
                office.close().await;
            }
        };
        join!(close, health.ended());
        tracing::info!(after = ?began.elapsed(), "the controller has ended");
    }
}
