//! What an etcd does without us: what the bench compares our rates with.

use super::errors;
use etcd_client::Client;
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

/// Puts values of `size` bytes, each under a key of its own that begins with `prefix`, until `time` is over: so many
/// clients, each with a connection of its own, and each waits for an answer before it puts the next one. How many puts
/// were answered, and in which time.
///
/// # Errors
///
/// What the etcd at `endpoint` (`http://HOST:PORT`) said to the first put that failed.
pub async fn puts(
    endpoint: &str,
    prefix: &str,
    clients: usize,
    size: usize,
    time: Duration,
) -> Result<(u64, Duration), String> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        let client = Client::connect([endpoint], None).await;
        connected.push(client.map_err(|error| errors::said(&error))?);
    }
    let began = Instant::now();
    let mut putting = JoinSet::new();
    for (number, client) in connected.into_iter().enumerate() {
        let prefix = format!("{prefix}{number:04}/");
        putting.spawn(put(client, prefix, size, began + time));
    }
    let mut count = 0;
    while let Some(put) = putting.join_next().await {
        count += put.map_err(|error| error.to_string())??;
    }
    Ok((count, began.elapsed()))
}

async fn put(client: Client, prefix: String, size: usize, until: Instant) -> Result<u64, String> {
    let mut kv = client.kv_client();
    let mut count = 0;
    while Instant::now() < until {
        let put = kv.put(format!("{prefix}{count:012}"), vec![b'x'; size], None).await;
        put.map_err(|error| errors::said(&error))?;
        count += 1;
    }
    Ok(count)
}
