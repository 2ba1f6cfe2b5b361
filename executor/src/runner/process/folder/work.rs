//! `work.json`: what is to be run, the folder's name, and what the executor that prepared it allows.

use crate::runner::{Identity, Resources, RunnerError, Work};
use octavius_protocol::id::{AttemptId, Epoch};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, path::Path, time::Duration};

/// The version of what this code writes. One that it does not know is refused.
const FORMAT: u32 = 2;

/// What an attempt may have of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runner::process) struct Allowed {
    /// How many bytes of its log are kept.
    pub(in crate::runner::process) spool_max: u64,
    /// How many files each of its processes may have open before it asks for more; none: as its supervisor.
    pub(in crate::runner::process) open_files: Option<u64>,
}

/// What an attempt's folder was prepared with.
pub(in crate::runner::process) struct Kept {
    /// What to run; its secrets are known only if it has none.
    pub(in crate::runner::process) work: Work,
    /// What it may have.
    pub(in crate::runner::process) allowed: Allowed,
    /// The name that the folder has for ever.
    pub(in crate::runner::process) identity: Identity,
}

/// What the file holds. Not to be shown: arguments may be secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct WorkFile {
    format: u32,
    identity: String,
    attempt: AttemptId,
    epoch: Epoch,
    job: String,
    user: String,
    image_name: String,
    command: Vec<String>,
    arguments: BTreeMap<String, String>,
    timeout_ms: Option<u64>,
    grace_ms: u64,
    stop_if_unheard_ms: Option<u64>,
    spool_max: u64,
    open_files: Option<u64>,
}

impl WorkFile {
    /// What the file `path` said, which knows nothing of secrets.
    pub(super) fn decoded(self, path: &Path) -> Result<Kept, RunnerError> {
        if self.format != FORMAT {
            return Err(RunnerError::Refused(format!(
                "`{}` has the format {}, and this executor reads {FORMAT}: run it with the version that wrote it",
                path.display(),
                self.format
            )));
        }
        let work = Work {
            attempt: self.attempt,
            epoch: self.epoch,
            job: self.job,
            user: self.user,
            image_name: self.image_name,
            command: self.command,
            arguments: self.arguments,
            secrets: None,
            timeout: self.timeout_ms.map(Duration::from_millis),
            grace: Duration::from_millis(self.grace_ms),
            stop_if_unheard: self.stop_if_unheard_ms.map(Duration::from_millis),
            namespace: None,
            resources: Resources::default(),
            template: String::new(),
            start_timeout: None,
            installation: String::new(),
        };
        let allowed = Allowed { spool_max: self.spool_max, open_files: self.open_files };
        Ok(Kept { work, allowed, identity: Identity(self.identity) })
    }
}

/// The file's bytes.
pub(super) fn encode(kept: &Kept) -> io::Result<Vec<u8>> {
    let Kept { work, allowed, identity } = kept;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let file = WorkFile {
        format: FORMAT,
        identity: identity.0.clone(),
        attempt: work.attempt,
        epoch: work.epoch,
        job: work.job.clone(),
        user: work.user.clone(),
        image_name: work.image_name.clone(),
        command: work.command.clone(),
        arguments: work.arguments.clone(),
        timeout_ms: work.timeout.map(millis),
        grace_ms: millis(work.grace),
        stop_if_unheard_ms: work.stop_if_unheard.map(millis),
        spool_max: allowed.spool_max,
        open_files: allowed.open_files,
    };
    Ok(serde_json::to_vec(&file)?)
}
