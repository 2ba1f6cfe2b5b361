//! `octavius role`: says who may do what.

use crate::{
    complete,
    context::Context,
    exit::{Exit, Failure},
    render::access::{Granted, RevokedRole, Roles},
};
use clap::{Args, Subcommand, ValueEnum};
use octavius_client::v1;

/// Grant, revoke and list roles
///
/// A role says what somebody may do, in all or for one job. With a role in all, people reach the jobs that have no
/// `authorized_groups`, or one of their own groups; a role for one job reaches it in any case.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius role grant operator --group sre
  octavius role grant admin --person ada@example.com
  octavius role grant viewer --person bob@example.com --job deploy
  octavius role list")]
pub(crate) struct Role {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Grant(GrantRole),
    Revoke(RevokeRole),
    List(ListRoles),
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// Look at jobs, executions, logs and executors
    Viewer,
    /// That, and execute, run again and cancel
    Operator,
    /// All of that, and change jobs and secrets; in all, also tokens, roles and executors
    Admin,
}

/// Whom, and where.
#[derive(Args, Debug)]
struct Subject {
    /// The person, by the name of their token
    #[arg(long, value_name = "NAME", required_unless_present = "group", conflicts_with = "group")]
    person: Option<String>,
    /// The group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// For this job alone, which need not exist yet [default: in all]
    #[arg(long, value_name = "JOB", add = complete::jobs())]
    job: Option<String>,
}

impl Subject {
    fn message(&self) -> Option<v1::Subject> {
        use v1::subject::Is;
        let is = match (&self.person, &self.group) {
            (Some(person), _) => Is::Person(person.clone()),
            (None, Some(group)) => Is::Group(group.clone()),
            (None, None) => return None,
        };
        Some(v1::Subject { is: Some(is) })
    }
}

/// Give a role to a person or a group
///
/// One that they have there already is replaced. It counts with their next call.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius role grant operator --group sre
  octavius role grant viewer --person bob@example.com --job deploy")]
struct GrantRole {
    /// What they may do
    #[arg(value_enum, value_name = "ROLE")]
    role: Which,
    #[command(flatten)]
    subject: Subject,
}

/// Take a role away from a person or a group
///
/// It counts with their next call, and ends the logs that they follow.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius role revoke --person bob@example.com --job deploy")]
struct RevokeRole {
    #[command(flatten)]
    subject: Subject,
}

/// Show all roles that were given
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius role list")]
struct ListRoles {}

impl Role {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let client = context.client()?;
        match self.command {
            Command::Grant(GrantRole { role, subject }) => {
                let role = match role {
                    Which::Viewer => v1::Role::Viewer,
                    Which::Operator => v1::Role::Operator,
                    Which::Admin => v1::Role::Admin,
                };
                let request = v1::GrantRoleRequest {
                    subject: subject.message(),
                    role: role.into(),
                    job: subject.job.unwrap_or_default(),
                };
                context.output.show(&Granted(client.grant_role(request).await?))?;
            }
            Command::Revoke(RevokeRole { subject }) => {
                let message = subject.message();
                let job = subject.job.unwrap_or_default();
                let request = v1::RevokeRoleRequest { subject: message.clone(), job: job.clone() };
                client.revoke_role(request).await?;
                let grant = v1::RoleGrant { subject: message, job, ..Default::default() };
                context.output.show(&RevokedRole(grant))?;
            }
            Command::List(ListRoles {}) => context.output.show(&Roles(client.roles().await?))?,
        }
        Ok(Exit::Done)
    }
}
