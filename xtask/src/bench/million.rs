//! A long history in an etcd: what it costs when a controller starts, when it is asked, and in bytes.
//!
//! One execution is made by a real controller and executor, and lies in the store with all its keys and its log. So many
//! copies of it, each with an id of its own and one of a thousand users, are written to an embedded store, and moved to
//! the etcd with `controller backup` and `controller restore`.

use super::{
    Plan,
    figures::Spans,
    installation::{Installation, PATIENCE, Server, client},
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, ensure};
use octavius_client::{Client, v1};
use octavius_controller::store::{
    Entry, Opener as _, copies::Template, embedded::EmbeddedOpener, keys,
};
use octavius_testbed::{
    etcd::{Etcd, EtcdOptions},
    ports::free_port,
};
use serde_json::{Value, json};
use std::{path::Path, process::Command, time::Duration};
use tokio::time::{Instant, sleep};

/// What the copies have in the place of who submitted the first one.
const USERS: usize = 1_000;
/// Whom all of them are from, at first.
const USER: &str = "bench@example.com";
/// More than a million executions have.
const QUOTA: u64 = 16 << 30;

pub(super) async fn million(binaries: &Path, plan: Plan) -> Result<Vec<Row>> {
    let count = plan.history.unwrap_or(plan.of(100_000, 10_000));
    let binaries = binaries.canonicalize()?;
    let installation = Installation::start(&binaries, &Place::default()).await?;
    let (template, data) = template(installation).await?;
    let entries = template.entries();
    let bytes: usize = entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
    let keys: Vec<_> = entries.iter().map(sized).collect();
    eprintln!("one execution: {bytes} bytes in {} keys: {}", keys.len(), keys.join(", "));
    let data = data.path();
    fill(&data.join("data"), &template, count).await?;

    let quota_backend_bytes = Some(QUOTA);
    let etcd = Etcd::start(EtcdOptions { quota_backend_bytes, ..EtcdOptions::default() }).await;
    let on = |prefix: &str| {
        json!({
            "app_port": free_port(),
            "metrics_address": format!("127.0.0.1:{}", free_port()),
            "etcd_endpoints": etcd.endpoints(),
            "etcd_prefix": prefix,
            "data_dir": data.join("data"),
            "keep_executions": count * 2,
        })
    };
    let (full, empty) = (on("octavius/"), on("empty/"));
    let embedded = json!({ "store": "embedded", "data_dir": data.join("data") });
    let backup = once(&binaries, "backup", data, &embedded)?;
    let file = data.join("moved").metadata()?.len();
    let restored = once(&binaries, "restore", data, &full)?;
    let size = db_size(&etcd).await?;

    let other = data.join("other");
    std::fs::create_dir(&other)?;
    let fresh = json!({ "data_dir": other });
    let empty = merged(empty, fresh);
    let (nothing, idle, idle_memory) = start(&binaries, data, &empty).await?;
    drop(nothing);
    let (controller, began, memory) = start(&binaries, data, &full).await?;
    let client = client(&address(&full)?)?;
    let newest = pages(&client, "").await?;
    let of_one = pages(&client, &user(7)).await?;
    let after = controller.memory()?;
    controller.end().await?;
    let each = size as f64 / count as f64;
    let more = |one: Duration, other: Duration| one.as_secs_f64() - other.as_secs_f64();
    let row = |name: &str, value: f64, unit, aim, note: String| Row {
        name: format!("{name}, {count} finished on etcd"),
        value,
        unit,
        aim,
        note,
    };
    Ok(vec![
        row(
            "start, beyond that of an empty one",
            more(began, idle),
            "s",
            Aim::AtMost(2.0),
            format!(
                "{:.2} s and {:.2} s, the election in it",
                began.as_secs_f64(),
                idle.as_secs_f64()
            ),
        ),
        row(
            "memory, beyond that of an empty one",
            memory - idle_memory,
            "MB",
            Aim::AtMost(30.0),
            format!(
                "{memory:.0} MB and {idle_memory:.0} MB at the start, {after:.0} MB after all pages"
            ),
        ),
        row("newest 50", newest.median(), "ms", Aim::AtMost(50.0), worst(&newest)),
        row("newest 50 of one user", of_one.median(), "ms", Aim::AtMost(50.0), worst(&of_one)),
        row(
            "keys and values of one execution",
            bytes as f64,
            "bytes",
            Aim::AtMost(1024.0),
            format!("of `echo hello`, with its log; without `etcd_prefix`; {}", keys.join(", ")),
        ),
        row(
            "etcd's database for each",
            each,
            "bytes",
            Aim::None,
            format!("{:.0} MB in all, as the restore left it", size as f64 / 1e6),
        ),
        row(
            "backup",
            backup.as_secs_f64(),
            "s",
            Aim::None,
            format!("of the embedded store, {:.0} MB", file as f64 / 1e6),
        ),
        row(
            "restore",
            restored.as_secs_f64(),
            "s",
            Aim::None,
            format!("{} keys", entries.len() * count),
        ),
    ])
}

fn worst(spans: &Spans) -> String {
    format!("p99 {:.1} ms of {}", spans.percentile(99), spans.count())
}

fn sized(entry: &Entry) -> String {
    let kind = keys::kind(&entry.key).map_or("?", |kind| kind.key);
    format!("{kind} {}+{}", entry.key.len(), entry.value.len())
}

/// An execution that ran for real, as the store has it, and the folder of the store.
async fn template(installation: Installation) -> Result<(Template, tempfile::TempDir)> {
    const JOB: &str = "hello";
    installation.job(JOB, &["echo", "hello"]).await?;
    let executor = installation.executor(1).await?;
    let id = installation.submit(JOB).await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let newest = installation.client.executions(None, Some(1)).await?;
        if newest.iter().all(|one| octavius_client::is_final(one.state())) {
            break;
        }
        ensure!(Instant::now() < until, "the execution does not end");
        sleep(Duration::from_millis(20)).await;
    }
    executor.end().await?;
    let folder = installation.end().await?;
    let backend = EmbeddedOpener::new(folder.path().join("data")).open().await?;
    Ok((Template::of(backend.as_ref(), &id).await?, folder))
}

fn user(number: usize) -> String {
    format!("user-{:03}@example.com", number % USERS)
}

/// Writes so many copies.
async fn fill(folder: &Path, template: &Template, count: usize) -> Result<()> {
    let backend = EmbeddedOpener::new(folder).open().await?;
    template.copy(backend.as_ref(), count, USER, user).await.map(drop)
}

/// Runs one command of the controller on the file `moved`, and answers how long that took.
fn once(binaries: &Path, command: &str, folder: &Path, configuration: &Value) -> Result<Duration> {
    let file = folder.join(format!("{command}.json"));
    std::fs::write(&file, configuration.to_string())?;
    let began = Instant::now();
    let ended = Command::new(binaries.join("controller"))
        .args([command.as_ref(), folder.join("moved").as_os_str()])
        .args(["--config".as_ref(), file.as_os_str()])
        .output()?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "`controller {command}` ended with {}: {said}", ended.status);
    Ok(began.elapsed())
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}

fn address(configuration: &Value) -> Result<String> {
    let port = configuration["app_port"].as_u64().context("no port")?;
    Ok(format!("127.0.0.1:{port}"))
}

/// A controller that answers, how long it took until then, and what it holds of memory.
async fn start(
    binaries: &Path,
    folder: &Path,
    configuration: &Value,
) -> Result<(Server, Duration, f64)> {
    let client = client(&address(configuration)?)?;
    let began = Instant::now();
    let controller = Server::start(binaries, "controller", folder, configuration, &[])?;
    while let Err(error) = client.executions(None, Some(1)).await {
        ensure!(began.elapsed() < PATIENCE, "the controller does not serve: {error}");
        sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed();
    let memory = controller.memory()?;
    Ok((controller, took, memory))
}

/// How long pages of 50 take.
async fn pages(client: &Client, submitted_by: &str) -> Result<Spans> {
    let mut spans = Vec::new();
    for _ in 0..100 {
        let wanted = v1::ListExecutionsRequest {
            submitted_by: submitted_by.to_owned(),
            page_size: 50,
            ..v1::ListExecutionsRequest::default()
        };
        let began = Instant::now();
        let page = client.executions_page(wanted).await?;
        spans.push(began.elapsed());
        ensure!(!page.executions.is_empty(), "the page is empty");
    }
    Ok(Spans::new(spans))
}

/// The size of what is in the etcd: a restore writes each key once, so that there is nothing to compact.
async fn db_size(etcd: &Etcd) -> Result<u64> {
    let status =
        etcd.ask("/v3/maintenance/status", &json!({})).await.map_err(anyhow::Error::msg)?;
    let size = status["dbSizeInUse"].as_str().and_then(|size| size.parse().ok());
    size.context("etcd does not say how large it is")
}
