//! Logs, from a program to those who follow it.

use super::{
    Plan,
    commands::all_succeeded,
    figures::{Spans, per_second},
    installation::{Installation, PATIENCE, Server},
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt;
use octavius_client::{Client, LogItem};
use octavius_testbed::etcd::Etcd;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const MB: usize = 1_000_000;

/// How long the etcd is watched while nothing is done, to know what of its bytes are not the log's.
const IDLE: Duration = Duration::from_secs(5);

/// With the state in an etcd, the embedded store with its folder stands beside it.
pub(super) async fn throughput(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let Some(etcd) = place.etcd() else { return followed(binaries, plan, place, "").await };
    let beside = Place::default();
    let mut rows = followed(binaries, plan, &beside, ", embedded store and folder").await?;
    rows.extend(followed(binaries, plan, place, ", etcd").await?);
    rows.push(taken(binaries, plan, place, etcd).await?);
    Ok(rows)
}

async fn followed(binaries: &Path, plan: Plan, place: &Place, which: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (followers, megabytes) in [(1, plan.of(60, 8)), (50, plan.of(20, 2))] {
        let writing = Writing::start(binaries, place, megabytes).await?;
        let took = writing.read(followers).await?;
        let bytes = u64::try_from(writing.size * followers)?;
        let rate = per_second(bytes, took) / 1e6;
        rows.push(Row {
            name: format!(
                "log to {followers} follower{}{which}",
                if followers == 1 { "" } else { "s" }
            ),
            value: rate,
            unit: "MB/s",
            aim: place.aim(Aim::AtLeast(100.0)),
            note: format!(
                "{megabytes} MB of text, first byte to last end, bytes of all followers; {:.0} MB/s of log{}",
                rate / followers as f64,
                place.note()
            ),
        });
    }
    Ok(rows)
}

/// What an etcd takes while a log is written that it has no part in.
async fn taken(binaries: &Path, plan: Plan, place: &Place, etcd: &Etcd) -> Result<Row> {
    const RECEIVED: &str = "etcd_network_client_grpc_received_bytes_total";
    const DATABASE: &str = "etcd_mvcc_db_total_size_in_use_in_bytes";
    let megabytes = plan.of(100, 10);
    let writing = Writing::start(binaries, place, megabytes).await?;
    let before = etcd.metric(RECEIVED).await;
    sleep(IDLE).await;
    let idle = (etcd.metric(RECEIVED).await - before) / IDLE.as_secs_f64();
    let (before, database) = (etcd.metric(RECEIVED).await, etcd.metric(DATABASE).await);
    let began = Instant::now();
    writing.read(1).await?;
    all_succeeded(&writing.installation, 1).await?;
    let took = began.elapsed().as_secs_f64();
    let received = etcd.metric(RECEIVED).await - before;
    let grown = etcd.metric(DATABASE).await - database;
    Ok(Row {
        name: format!("bytes that etcd took, log of {megabytes} MB"),
        value: received / 1e3,
        unit: "KB",
        aim: plan.of(Aim::AtMost(100.0), Aim::None),
        note: format!(
            "all that its clients sent from before the submit until it had succeeded, {took:.1} s, of that {:.1} KB as in any idle time; its database grew by {:.0} KB",
            idle * took / 1e3,
            grown / 1e3
        ),
    })
}

/// A program that is about to write a log.
struct Writing {
    _executor: Server,
    installation: Installation,
    /// Of the log, in bytes.
    size: usize,
}

impl Writing {
    async fn start(binaries: &Path, place: &Place, megabytes: usize) -> Result<Self> {
        let installation = Installation::start(binaries, place).await?;
        let executor = installation.executor(2).await?;
        let (size, text) = text(&installation, megabytes * MB)?;
        // All follow before the first byte is written.
        let program = format!("sleep 2; cat '{}'", text.display());
        installation.job("log", &["sh", "-c", &program]).await?;
        Ok(Self { _executor: executor, installation, size })
    }

    /// Runs it for so many followers; from the first byte that one of them has to the last end.
    async fn read(&self, followers: usize) -> Result<Duration> {
        let id = self.installation.submit("log").await?;
        let mut reading = JoinSet::new();
        for _ in 0..followers {
            reading.spawn(read(self.installation.another_client()?, id.clone(), self.size));
        }
        let (mut first, mut last) = (None::<Instant>, None::<Instant>);
        while let Some(read) = reading.join_next().await {
            let (from, to) = read??;
            first = first.into_iter().chain([from]).min();
            last = last.into_iter().chain([to]).max();
        }
        let (first, last) = first.zip(last).context("nobody read")?;
        Ok(last - first)
    }
}

/// A file of about so many bytes of text that looks like a log, and its size.
fn text(installation: &Installation, bytes: usize) -> Result<(usize, PathBuf)> {
    let mut text = String::with_capacity(bytes + 200);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    while text.len() < bytes {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        writeln!(
            text,
            "2026-01-01T00:00:00.{:06}Z INFO request id={seed:016x} took {} ms, {} bytes",
            seed % 1_000_000,
            seed % 997,
            seed % 65_521
        )?;
    }
    let file = installation.folder().join("log.txt");
    std::fs::write(&file, &text)?;
    Ok((text.len(), file))
}

/// Follows a log to its end; when its first byte came, and when its end.
pub(super) async fn read(client: Client, id: String, size: usize) -> Result<(Instant, Instant)> {
    let mut log = client.follow_log(&id, 0, 0, true).await?;
    let (mut first, mut bytes) = (None, 0);
    loop {
        let item = timeout(PATIENCE, log.next()).await.context("the log stands still")?;
        match item.context("the log has no end")?? {
            LogItem::Bytes { data, .. } => {
                first.get_or_insert_with(Instant::now);
                bytes += data.len();
            }
            LogItem::Notice(notice) => bail!("while a log was read: {notice}"),
            LogItem::End(end) => {
                ensure!(end.cut.is_empty(), "the log is cut: {}", end.cut);
                ensure!(bytes == size, "{bytes} of {size} bytes came");
                return Ok((first.context("the log was empty")?, Instant::now()));
            }
        }
    }
}

/// Follows a log to its end: its lines, and what time it was when each was read, since 1970.
pub(super) async fn lines(client: &Client, id: &str) -> Result<Vec<(String, Duration)>> {
    let mut log = client.follow_log(id, 0, 0, true).await?;
    let (mut lines, mut rest) = (Vec::new(), Vec::new());
    loop {
        let item = timeout(PATIENCE, log.next()).await.context("the log stands still")?;
        match item.context("the log has no end")?? {
            LogItem::Bytes { data, .. } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                rest.extend_from_slice(&data);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<_> = rest.drain(..=end).collect();
                    lines.push((String::from_utf8(line)?.trim().to_owned(), now));
                }
            }
            LogItem::Notice(notice) => bail!("while a log was read: {notice}"),
            LogItem::End(_) => return Ok(lines),
        }
    }
}

/// A program writes what time it is, line by line, and the reader looks at its own clock, which is the same one.
pub(super) async fn delay(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let installation = Installation::start(binaries, place).await?;
    let _executor = installation.executor(2).await?;
    let count = plan.of(400, 40);
    let program =
        format!("i=0; while [ $i -lt {count} ]; do date +%s%N; i=$((i+1)); sleep 0.03; done");
    installation.job("clock", &["sh", "-c", &program]).await?;
    let id = installation.submit("clock").await?;
    let mut spans = Vec::new();
    for (line, read) in lines(&installation.client, &id).await? {
        spans.push(read.saturating_sub(Duration::from_nanos(line.parse()?)));
    }
    ensure!(spans.len() == count, "{} of {count} lines came", spans.len());
    let spans = Spans::new(spans);
    let note = format!("{count} lines of `date`, one each 30 ms, the start of `date` included");
    Ok([("median", spans.median(), Aim::AtMost(20.0)), ("p99", spans.percentile(99), Aim::None)]
        .map(|(which, value, aim)| Row {
            name: format!("line written to line read, {which}"),
            value,
            unit: "ms",
            aim: place.aim(aim),
            note: note.clone(),
        })
        .into())
}
