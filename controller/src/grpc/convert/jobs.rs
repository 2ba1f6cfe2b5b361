//! Jobs, between the protocol and the registry.

use super::{Check, time};
use crate::registry::{Argument, ArgumentType, Job, JobDefinition, Resources, Retry, SecretName};
use jiff::SignedDuration;
use octavius_protocol::v1;

/// A definition as its author wrote it; the registry judges it.
pub(in crate::grpc) fn definition(
    given: Option<v1::JobDefinition>,
    check: &mut Check,
) -> Option<JobDefinition> {
    let given = check.given("definition", given)?;
    let timeout = span("timeout", given.timeout, check);
    let start_timeout = span("start_timeout", given.start_timeout, check);
    let queue_timeout = span("queue_timeout", given.queue_timeout, check);
    let retry = given.retry.map(|given| retry(given, check));
    let arguments = given.arguments.into_iter().enumerate();
    let arguments: Vec<_> = arguments.map(|(index, given)| argument(index, given, check)).collect();
    let secret = |v1::SecretName { name, description }| SecretName { name, description };
    Some(JobDefinition {
        name: given.name,
        description: given.description,
        image_name: given.image_name,
        command: given.command,
        arguments: arguments.into_iter().collect::<Option<_>>()?,
        secrets: given.secrets.into_iter().map(secret).collect(),
        authorized_groups: given.authorized_groups,
        author: given.author,
        contributors: given.contributors,
        organization: given.organization,
        timeout: timeout?,
        start_timeout: start_timeout?,
        queue_timeout: queue_timeout?,
        retry: match retry {
            None => None,
            Some(retry) => Some(retry?),
        },
        concurrency: given.concurrency,
        concurrency_key: given.concurrency_key,
        on_limit: given.on_limit,
        team: given.team,
        priority: given.priority,
        max_priority: given.max_priority,
        on_lost: given.on_lost,
        executor_selector: given.executor_selector,
        resources: given
            .resources
            .map(|v1::Resources { requests, limits }| Resources { requests, limits }),
        kubernetes: given.kubernetes,
        namespace: given.namespace,
    })
}

/// A span of time that may be absent. None: it is none.
fn span(
    field: &str,
    given: Option<prost_types::Duration>,
    check: &mut Check,
) -> Option<Option<SignedDuration>> {
    match given {
        None => Some(None),
        Some(given) => time::signed(field, given, check).map(Some),
    }
}

fn retry(given: v1::Retry, check: &mut Check) -> Option<Retry> {
    let pause = span("retry.pause", given.pause, check);
    let max_pause = span("retry.max_pause", given.max_pause, check);
    Some(Retry {
        attempts: given.attempts,
        pause: pause?,
        factor: (given.factor != 0.0).then_some(given.factor),
        max_pause: max_pause?,
        on: given.on,
    })
}

fn argument(index: usize, given: v1::Argument, check: &mut Check) -> Option<Argument> {
    let kind = match v1::ArgumentType::try_from(given.r#type) {
        Ok(v1::ArgumentType::Unspecified | v1::ArgumentType::String) => ArgumentType::String,
        Ok(v1::ArgumentType::Int) => ArgumentType::Int,
        Ok(v1::ArgumentType::Float) => ArgumentType::Float,
        Ok(v1::ArgumentType::Bool) => ArgumentType::Bool,
        Ok(v1::ArgumentType::Enum) => ArgumentType::Enum,
        Ok(v1::ArgumentType::Secret) => ArgumentType::Secret,
        Err(_) => {
            return check.wrong(&format!("arguments[{index}].type"), || {
                format!("is {}, a type that this version does not know", given.r#type)
            });
        }
    };
    Some(Argument {
        name: given.name,
        description: given.description,
        required: given.required,
        kind,
        default: given.default_value,
        allowed: given.allowed,
        pattern: given.pattern,
        min: given.min,
        max: given.max,
        allowed_for: given.allowed_for.into_iter().map(|(group, of)| (group, of.values)).collect(),
    })
}

/// What a program needs.
pub(super) fn resources(Resources { requests, limits }: Resources) -> v1::Resources {
    v1::Resources { requests, limits }
}

/// A stored job.
pub(in crate::grpc) fn job(job: &Job) -> v1::Job {
    let definition = job.definition.clone();
    let span = |span: SignedDuration| time::duration(span.unsigned_abs());
    let secret = |SecretName { name, description }| v1::SecretName { name, description };
    let definition = v1::JobDefinition {
        name: definition.name,
        description: definition.description,
        image_name: definition.image_name,
        command: definition.command,
        arguments: definition.arguments.into_iter().map(shown_argument).collect(),
        secrets: definition.secrets.into_iter().map(secret).collect(),
        authorized_groups: definition.authorized_groups,
        author: definition.author,
        contributors: definition.contributors,
        organization: definition.organization,
        timeout: definition.timeout.map(span),
        start_timeout: definition.start_timeout.map(span),
        queue_timeout: definition.queue_timeout.map(span),
        retry: definition.retry.map(|retry| v1::Retry {
            attempts: retry.attempts,
            pause: retry.pause.map(span),
            factor: retry.factor.unwrap_or_default(),
            max_pause: retry.max_pause.map(span),
            on: retry.on,
        }),
        concurrency: definition.concurrency,
        concurrency_key: definition.concurrency_key,
        on_limit: definition.on_limit,
        team: definition.team,
        priority: definition.priority,
        max_priority: definition.max_priority,
        on_lost: definition.on_lost,
        executor_selector: definition.executor_selector,
        resources: definition.resources.map(resources),
        kubernetes: definition.kubernetes,
        namespace: definition.namespace,
    };
    v1::Job {
        definition: Some(definition),
        version: job.version,
        uid: job.uid.clone(),
        created_at: Some(time::from_timestamp(job.created_at)),
        created_by: job.created_by.clone(),
    }
}

fn shown_argument(argument: Argument) -> v1::Argument {
    let kind = match argument.kind {
        ArgumentType::String => v1::ArgumentType::String,
        ArgumentType::Int => v1::ArgumentType::Int,
        ArgumentType::Float => v1::ArgumentType::Float,
        ArgumentType::Bool => v1::ArgumentType::Bool,
        ArgumentType::Enum => v1::ArgumentType::Enum,
        ArgumentType::Secret => v1::ArgumentType::Secret,
    };
    v1::Argument {
        name: argument.name,
        description: argument.description,
        required: argument.required,
        r#type: kind.into(),
        default_value: argument.default,
        allowed: argument.allowed,
        pattern: argument.pattern,
        min: argument.min,
        max: argument.max,
        allowed_for: argument
            .allowed_for
            .into_iter()
            .map(|(group, values)| (group, v1::ArgumentValues { values }))
            .collect(),
    }
}
