//! Which jobs somebody may see: what they may not see does not exist for them, neither alone nor in lists.

use super::rules::{Rights, Role};
use crate::registry::JobsView;
use octavius_protocol::id::JobName;

/// What somebody may see.
#[derive(Clone, Debug, Default)]
pub enum Sight {
    /// All.
    #[default]
    All,
    /// What their roles and groups let them.
    Of {
        /// What they may do.
        rights: Rights,
        /// What they belong to.
        groups: Vec<String>,
        /// The groups that jobs have, as of now.
        jobs: JobsView,
    },
}

impl Sight {
    /// The role for a job; none: it does not exist for them.
    pub fn role_for(&self, job: &JobName) -> Option<Role> {
        match self {
            Self::All => Some(Role::Admin),
            Self::Of { rights, groups, jobs } => {
                jobs.with_groups_of(job, |authorized| rights.for_job(job, groups, authorized))
            }
        }
    }

    /// Whether a job exists for them.
    pub fn sees(&self, job: &JobName) -> bool {
        self.role_for(job).is_some()
    }
}
