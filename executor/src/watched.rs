//! Waiting for a value that somebody else publishes.

use tokio::sync::watch;

/// Waits until there is a value for which `wanted` holds. If nobody is left who could give one, it waits for ever:
/// who asks is then about to be ended, too. Cancel safe.
pub(crate) async fn present<T: Clone>(
    watched: &mut watch::Receiver<Option<T>>,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let found = watched
        .wait_for(|value| value.as_ref().is_some_and(&wanted))
        .await
        .ok()
        .and_then(|value| value.clone());
    match found {
        Some(value) => value,
        None => std::future::pending().await,
    }
}

/// Waits until there is another value than now; for ever if nobody is left who could give one. Cancel safe.
pub(crate) async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
