//! Jobs, between the protocol and the registry.

use super::{Check, time};
use crate::registry::{Argument, Job, JobDefinition, SecretName};
use octavius_protocol::v1;

/// A definition as its author wrote it; the registry judges it.
pub(in crate::grpc) fn definition(
    given: Option<v1::JobDefinition>,
    check: &mut Check,
) -> Option<JobDefinition> {
    let given = check.given("definition", given)?;
    let timeout = match given.timeout {
        None => None,
        Some(span) => Some(time::signed("timeout", span, check)?),
    };
    let argument =
        |v1::Argument { name, description, required }| Argument { name, description, required };
    let secret = |v1::SecretName { name, description }| SecretName { name, description };
    Some(JobDefinition {
        name: given.name,
        description: given.description,
        image_name: given.image_name,
        command: given.command,
        arguments: given.arguments.into_iter().map(argument).collect(),
        secrets: given.secrets.into_iter().map(secret).collect(),
        authorized_groups: given.authorized_groups,
        author: given.author,
        contributors: given.contributors,
        organization: given.organization,
        timeout,
    })
}

/// A stored job.
pub(in crate::grpc) fn job(job: &Job) -> v1::Job {
    let definition = job.definition.clone();
    let argument =
        |Argument { name, description, required }| v1::Argument { name, description, required };
    let secret = |SecretName { name, description }| v1::SecretName { name, description };
    let definition = v1::JobDefinition {
        name: definition.name,
        description: definition.description,
        image_name: definition.image_name,
        command: definition.command,
        arguments: definition.arguments.into_iter().map(argument).collect(),
        secrets: definition.secrets.into_iter().map(secret).collect(),
        authorized_groups: definition.authorized_groups,
        author: definition.author,
        contributors: definition.contributors,
        organization: definition.organization,
        timeout: definition.timeout.map(|timeout| time::duration(timeout.unsigned_abs())),
    };
    v1::Job {
        definition: Some(definition),
        version: job.version,
        uid: job.uid.clone(),
        created_at: Some(time::from_timestamp(job.created_at)),
        created_by: job.created_by.clone(),
    }
}
