//! What somebody may do: plain functions over the roles that were given and the groups that a job has.
//!
//! A role says what, a job's groups say where. Whoever has a role in all has it for the jobs that have no groups, or one
//! of theirs; a role for one job lets in there in any case, because who gave it knew which job it is. An administrator
//! of all sees all. What somebody may not see does not exist for them.

use octavius_protocol::id::JobName;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What somebody may do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at jobs, executions, logs and executors.
    Viewer,
    /// Executes, runs again and cancels.
    Operator,
    /// Changes jobs and their secrets; in all, also tokens, roles and executors.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// Whom a role is given to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A person, by the name that their token has.
    Person(String),
    /// All of a group.
    Group(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "person `{name}`"),
            Self::Group(name) => write!(f, "group `{name}`"),
        }
    }
}

/// What somebody may do, by all that was given to them and their groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    in_all: Option<Role>,
    of_jobs: BTreeMap<JobName, Role>,
}

impl Rights {
    /// Adds a role; of several for the same the highest counts.
    pub fn add(&mut self, job: Option<&JobName>, role: Role) {
        match job {
            None => self.in_all = self.in_all.max(Some(role)),
            Some(job) => {
                let known = self.of_jobs.entry(job.clone()).or_insert(role);
                *known = role.max(*known);
            }
        }
    }

    /// The role in all.
    pub fn in_all(&self) -> Option<Role> {
        self.in_all
    }

    /// The highest role that they have anywhere.
    pub fn anywhere(&self) -> Option<Role> {
        self.of_jobs.values().copied().max().max(self.in_all)
    }

    /// The role for a job; none: it does not exist for them. `authorized` are the job's groups; none: nobody knows.
    pub fn for_job(
        &self,
        job: &JobName,
        groups: &[String],
        authorized: Option<&[String]>,
    ) -> Option<Role> {
        let own = self.of_jobs.get(job).copied();
        let of_a_group = |authorized: &[String]| {
            authorized.is_empty() || authorized.iter().any(|group| groups.contains(group))
        };
        let let_in =
            own.is_some() || self.in_all == Some(Role::Admin) || authorized.is_some_and(of_a_group);
        if let_in { own.max(self.in_all) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn job(name: &str) -> JobName {
        name.parse().unwrap()
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_role_says_what_and_groups_say_where() {
        use Role::{Admin, Operator, Viewer};
        let rights = |given: &[(Option<&str>, Role)]| {
            let mut rights = Rights::default();
            for (of, role) in given {
                rights.add((*of).map(job).as_ref(), *role);
            }
            rights
        };
        let (open, sre) = (texts(&[]), texts(&["sre", "dba"]));
        type Given<'a> = &'a [(Option<&'a str>, Role)];
        type Row<'a> = (Given<'a>, &'a [&'a str], Option<&'a [String]>, Option<Role>);
        let rows: [Row<'_>; 11] = [
            (&[], &["sre"], Some(&open), None),
            (&[], &["sre"], Some(&sre), None),
            (&[(None, Operator)], &[], Some(&open), Some(Operator)),
            (&[(None, Operator)], &["web"], Some(&sre), None),
            (&[(None, Operator)], &["web", "dba"], Some(&sre), Some(Operator)),
            (&[(None, Operator)], &["dba"], None, None),
            (&[(None, Admin)], &[], Some(&sre), Some(Admin)),
            (&[(None, Admin)], &[], None, Some(Admin)),
            (&[(Some("deploy"), Viewer)], &[], Some(&sre), Some(Viewer)),
            (&[(Some("deploy"), Viewer), (None, Operator)], &[], Some(&sre), Some(Operator)),
            (&[(Some("other"), Admin)], &[], Some(&open), None),
        ];
        for (given, groups, authorized, role) in rows {
            let found = rights(given).for_job(&job("deploy"), &texts(groups), authorized);
            assert_eq!(found, role, "{given:?} {groups:?} {authorized:?}");
        }
    }

    fn role() -> impl Strategy<Value = Role> {
        prop_oneof![Just(Role::Viewer), Just(Role::Operator), Just(Role::Admin)]
    }

    proptest! {
        /// Whatever is given besides, nobody can do less for it; and nobody does anything for a job without a role.
        #[test]
        fn more_never_takes_anything_away(
            given in prop::collection::vec((prop::option::of("[ab]"), role()), 0..5),
            groups in prop::collection::vec("[xyz]", 0..3),
            authorized in prop::option::of(prop::collection::vec("[xyz]", 0..3)),
            more in (prop::option::of("[ab]"), role()),
        ) {
            let mut rights = Rights::default();
            for (of, role) in &given {
                rights.add(of.as_deref().map(job).as_ref(), *role);
            }
            let before = rights.for_job(&job("a"), &groups, authorized.as_deref());
            prop_assert!(before <= rights.anywhere());
            rights.add(more.0.as_deref().map(job).as_ref(), more.1);
            prop_assert!(before <= rights.for_job(&job("a"), &groups, authorized.as_deref()));
            let mut member = groups.clone();
            member.extend(authorized.clone().unwrap_or_default());
            let of_group = rights.for_job(&job("a"), &member, authorized.as_deref());
            prop_assert!(rights.for_job(&job("a"), &groups, authorized.as_deref()) <= of_group);
        }
    }
}
