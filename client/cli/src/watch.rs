//! What follows an accepted execution: its id alone, its end, or its log as it is written.

use crate::{
    exit::{Exit, Failure},
    log,
    output::{Format, Output},
    render::{
        Shown,
        execution::{ending, state_and_reason},
        text::{one_line, shell_word},
    },
    span::span,
};
use clap::{ArgGroup, Args};
use octavius_client::{
    Client,
    v1::{Execution, ExecutionState},
};
use std::time::Duration;

/// How somebody watches an execution that was accepted.
#[derive(Args, Debug)]
#[group(skip)]
#[command(group = ArgGroup::new("waits").multiple(true))]
pub(crate) struct Watch {
    /// Show the log as it is written, until the execution ends
    #[arg(long, group = "waits")]
    pub(crate) follow: bool,
    /// Wait until the execution ends
    #[arg(long, group = "waits")]
    wait: bool,
    /// Wait, and end with the code of the job's own program; with 125 if it did not end by itself
    #[arg(long, group = "waits")]
    exit_code: bool,
    /// Wait no longer than this (`90s`, `5m`); the execution goes on, and the exit status is 4
    #[arg(long, value_name = "TIME", value_parser = span, requires = "waits")]
    wait_timeout: Option<Duration>,
}

impl Watch {
    /// Refuses what cannot be shown, before anything is asked for.
    pub(crate) fn check(&self, output: &Output) -> Result<(), Failure> {
        if self.follow && matches!(output.format(), Format::Yaml | Format::Name) {
            let problem =
                "a log is followed as it is, or with `-o json`: leave the other format out";
            return Err(Failure::Usage(problem.to_owned()));
        }
        Ok(())
    }

    /// Tells of an execution that was accepted, and watches it as was asked for.
    pub(crate) async fn accepted(
        &self,
        output: &Output,
        client: &Client,
        execution: Execution,
    ) -> Result<Exit, Failure> {
        if self.follow {
            return follow(output, client, execution, self).await;
        }
        if self.wait || self.exit_code {
            return wait(output, client, execution, self).await;
        }
        accepted(output, &execution)?;
        Ok(Exit::Done)
    }

    fn exit_of(&self, ended: &Execution) -> Exit {
        if self.exit_code { Exit::with_code_of(ended) } else { Exit::of(ended) }
    }
}

/// Says that the execution is on disk: its id alone to standard output, so that a script can keep it.
fn accepted(output: &Output, execution: &Execution) -> Result<(), Failure> {
    let id = one_line(&execution.id);
    if output.format() != Format::Text {
        return output.show(execution);
    }
    output.text(&id)?;
    let state = state_and_reason(&output.style().plain(), execution);
    output.hint(&format!(
        "`{}` is {state}\n  octavius getlogs {id} --follow   shows its log\n  octavius status {id}             shows how it stands",
        shell_word(&one_line(&execution.job))
    ));
    Ok(())
}

fn come_back(execution: &Execution) -> String {
    let id = &execution.id;
    format!(
        "execution {id} goes on: `octavius getlogs {id} --follow` shows its log, `octavius cancel {id}` ends it"
    )
}

async fn wait(
    output: &Output,
    client: &Client,
    execution: Execution,
    how: &Watch,
) -> Result<Exit, Failure> {
    let waiting = async {
        if output.format() == Format::Text {
            output.text(&one_line(&execution.id))?;
        }
        let ended = if output.hints() && !output.format().is_document() {
            let tell = |now: &Execution| {
                tell_state(output, now);
                false
            };
            client.wait_until(&execution.id, tell).await?
        } else {
            client.wait(&execution.id).await?
        };
        if output.format() != Format::Text {
            output.show(&ended)?;
        }
        tell_end(output, &ended);
        Ok(how.exit_of(&ended))
    };
    let goes_on = come_back(&execution);
    log::interruptible(output, &goes_on, log::bounded(how.wait_timeout, &goes_on, waiting)).await
}

async fn follow(
    output: &Output,
    client: &Client,
    execution: Execution,
    how: &Watch,
) -> Result<Exit, Failure> {
    let following = async {
        let id = &execution.id;
        let lines = output.format().is_document();
        if lines {
            output.line(&typed(&execution)).await?;
        } else {
            output.note(&format!("execution {} of `{}`", one_line(id), one_line(&execution.job)));
        }
        let mut attempt = execution.attempt.max(1);
        let ended = loop {
            follow_attempt(output, client, id, attempt).await?;
            let now = client.wait_until(id, |now| now.attempt > attempt).await?;
            if now.attempt <= attempt {
                break now;
            }
            if lines {
                output.line(&typed(&now)).await?;
            } else {
                output.note(&state_and_reason(&output.style().plain(), &now));
            }
            attempt += 1; // each has a log of its own, and none is left out
        };
        if lines {
            output.line(&typed(&ended)).await?;
        }
        tell_end(output, &ended);
        Ok(how.exit_of(&ended))
    };
    let goes_on = come_back(&execution);
    log::interruptible(output, &goes_on, log::bounded(how.wait_timeout, &goes_on, following)).await
}

/// Shows the log of one attempt, until it ends.
async fn follow_attempt(
    output: &Output,
    client: &Client,
    id: &str,
    attempt: u32,
) -> Result<(), Failure> {
    let lines = output.format().is_document();
    let log = client.follow_log(id, attempt, 0, true).await?;
    let pouring = async {
        if lines {
            log::pour_lines(output, log).await
        } else {
            log::pour(output, log).await.map(drop)
        }
    };
    // The log says nothing while an execution waits, so people are told why until the program runs.
    let telling = async {
        if output.hints() && !lines {
            let told = client.wait_until(id, |now| !tell_state(output, now));
            let _ = told.await; // whatever it came to, the log has the last word
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        poured = pouring => poured,
        () = telling => Ok(()),
    }
}

fn typed(execution: &Execution) -> serde_json::Value {
    let mut object = execution.document();
    object["type"] = "execution".into();
    object
}

/// Tells people at a terminal what an execution waits for. False where its program runs, or is over.
fn tell_state(output: &Output, execution: &Execution) -> bool {
    use ExecutionState::*;
    let waits = matches!(execution.state(), Pending | Leased | Starting);
    if waits && !output.format().is_document() {
        output.hint(&format!("octavius: {}", state_and_reason(&output.style().plain(), execution)));
    }
    waits
}

/// Tells people how it ended, and with which code.
fn tell_end(output: &Output, execution: &Execution) {
    if output.format().is_document() {
        return;
    }
    output.note(&ending(execution));
    for note in &execution.notes {
        output.note(&one_line(note));
    }
}
