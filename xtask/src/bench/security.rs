//! What security costs: executions a second with TLS, tokens and the audit, beside those without any of it.
//!
//! Two controllers run side by side, and take turns in one run, so that whatever else the machine does meets both. They
//! differ in what `controller init` makes of the second one, and in nothing else.

use super::{
    Plan,
    figures::{Spans, per_second},
    installation::{Installation, NOTHING},
    load::{self, Load, Ran},
    place::Place,
    table::{Aim, Row},
};
use anyhow::{Context as _, Result, ensure};
use octavius_client::v1;
use std::{collections::HashSet, path::Path, time::Duration};

/// How many are in flight: as many as the aim of the rates is about.
const IN_FLIGHT: usize = 64;
/// How many connections those share who submit: as few as where the rates are measured, and each one of its own. Where
/// tokens are taken, each connection has one of its own.
const CONNECTIONS: [usize; 2] = [load::CONNECTIONS, IN_FLIGHT];
/// This part of the executions a second is to be left, in percent.
const LEFT: f64 = 85.0;

pub(super) async fn security(binaries: &Path, plan: Plan, place: &Place) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for connections in CONNECTIONS {
        rows.extend(beside(binaries, connections, plan, place).await?);
    }
    Ok(rows)
}

/// Both, on controllers of their own, with so many connections each.
pub(super) async fn beside(
    binaries: &Path,
    connections: usize,
    plan: Plan,
    place: &Place,
) -> Result<Vec<Row>> {
    let open = Installation::start(binaries, place).await?;
    let secured = Installation::secured(binaries, place).await?;
    let mut open = Side::start("open", open, connections).await?;
    let mut secured = Side::start("secured", secured, connections).await?;
    let time = Duration::from_millis(plan.of(5_000, 500));
    for side in [&mut open, &mut secured] {
        side.load.run(&side.installation, time / 2).await?; // so that it is warm
    }
    let mut left = Vec::new();
    for _ in 0..plan.of(6, 2) {
        let without = open.turn(time).await?;
        left.push(secured.turn(time).await? / without * 100.0);
    }
    secured.has_recorded(connections).await?;
    ensure!(open.newest_entries(1).await?.is_empty(), "who is open records what is done");
    let least = left.iter().copied().fold(f64::INFINITY, f64::min);
    let most = left.iter().copied().fold(0.0, f64::max);
    let mut rows = open.rows(connections);
    rows.extend(secured.rows(connections));
    rows.push(Row {
        name: format!("rate of secured, of that of open, {connections} connections"),
        value: secured.rate() / open.rate() * 100.0,
        unit: "%",
        aim: place.aim(Aim::AtLeast(LEFT)),
        note: format!(
            "both in turns, {} of {:.1} s each; turn by turn from {least:.1} to {most:.1} %",
            left.len(),
            time.as_secs_f64()
        ),
    });
    Ok(rows)
}

/// One of the two, and what came of its turns.
#[derive(Debug)]
struct Side {
    name: &'static str,
    installation: Installation,
    load: Load,
    turns: Vec<Ran>,
}

impl Side {
    async fn start(
        name: &'static str,
        installation: Installation,
        connections: usize,
    ) -> Result<Self> {
        let load = Load::start(&installation, IN_FLIGHT, connections).await?;
        Ok(Self { name, installation, load, turns: Vec::new() })
    }

    /// Submits for that long; how many ended a second.
    async fn turn(&mut self, time: Duration) -> Result<f64> {
        let ran = self.load.run(&self.installation, time).await?;
        let rate = per_second(ran.count(), ran.took);
        self.turns.push(ran);
        Ok(rate)
    }

    fn count(&self) -> u64 {
        self.turns.iter().map(Ran::count).sum()
    }

    fn rate(&self) -> f64 {
        per_second(self.count(), self.turns.iter().map(|turn| turn.took).sum())
    }

    fn rows(&self, connections: usize) -> Vec<Row> {
        let count = self.count();
        let spans = self.turns.iter().flat_map(|turn| turn.spans.iter().copied());
        let spans = Spans::new(spans.collect());
        // Milliseconds for a thousand.
        let each = |worked: fn(&Ran) -> Duration| {
            let worked: Duration = self.turns.iter().map(worked).sum();
            worked.as_secs_f64() * 1e6 / per_second(count, Duration::from_secs(1))
        };
        let itself = each(|turn| turn.worked_itself);
        let flying = format!("{count} succeeded, all durable, {IN_FLIGHT} in flight");
        let whole = "from before the submit until its end was acknowledged".to_owned();
        [
            ("executions", self.rate(), "1/s", flying),
            ("submit to end, median", spans.median(), "ms", whole.clone()),
            ("submit to end, p99", spans.percentile(99), "ms", whole),
            (
                "CPU of the controller for 1,000 executions",
                each(|turn| turn.worked),
                "ms",
                format!("those who submit and the executor: {itself:.0} ms"),
            ),
        ]
        .map(|(what, value, unit, note)| Row {
            name: format!("{what}, {}, {connections} connections", self.name),
            value,
            unit,
            aim: Aim::None,
            note,
        })
        .into()
    }

    /// Fails unless the audit has all that was submitted last, done with as many tokens as there are connections: what was
    /// measured would not be what is meant.
    async fn has_recorded(&self, connections: usize) -> Result<()> {
        let submitted =
            self.turns.last().map(|turn| &turn.submitted).context("there was no turn")?;
        let entries = self.newest_entries(submitted.len()).await?;
        let tokens: HashSet<_> = entries.iter().map(|entry| &entry.token).collect();
        let recorded = entries.iter().filter(|entry| submitted.contains(&entry.execution)).count();
        ensure!(
            recorded == submitted.len() && tokens.len() == connections,
            "the audit has {recorded} of {} executions, done with {} of {connections} tokens",
            submitted.len(),
            tokens.len()
        );
        Ok(())
    }

    /// As many entries of the audit about the job.
    async fn newest_entries(&self, most: usize) -> Result<Vec<v1::AuditEntry>> {
        let wanted = v1::ListAuditRequest { job: NOTHING.to_owned(), ..Default::default() };
        let (mut pages, mut entries) = (self.installation.client.audit_pages(wanted), Vec::new());
        while entries.len() < most
            && let Some(page) = pages.next().await?
        {
            entries.extend(page);
        }
        entries.truncate(most);
        Ok(entries)
    }
}
