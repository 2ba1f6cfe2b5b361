//! How an attempt ended, as the cluster tells it: a pure function of what is seen.
//!
//! The exit code of the container `job` is the truth, whatever the pod's phase says and whatever runs beside it, unless we
//! had asked it to end before, or the cluster ended it: then that is told, with the code beside it. What was told once
//! is written down at the Job, and stays. Where the pod was gone before anybody looked, the Job itself says what is known.

mod before;
mod code;
mod told;

use super::{
    names::text,
    node::silent,
    phase::{said, waits_for},
    seen::{Seen, Stop, StopWhy, own_state, started_at},
};
use crate::runner::{Exit, ExitCause, ExitLog, Phase};
use before::{was_deleted_before, was_over_before};
use k8s_openapi::api::{
    batch::v1::JobCondition,
    core::v1::{ContainerStateTerminated, Pod},
};
use octavius_service::configuration::Setting as _;
use std::time::Duration;

/// The exit code of what was killed.
const KILLED: i32 = 128 + 9;

/// What the runtime says when nothing was started.
const START_ERRORS: [&str; 3] = ["StartError", "ContainerCannotRun", "ContainerCannotStart"];

/// What helps who had too little memory.
const MORE_MEMORY: &str = "let it use less, or raise `limits.memory` under the job's `resources`";

/// The end of it, once its program has ended, or can never run. None: it goes on, or is not known to be over.
pub(super) fn ended(seen: &Seen) -> Option<Phase> {
    if let Some(told) = told::read(seen) {
        return Some(told);
    }
    if let Some(end) = failed_before_it_went(seen) {
        return Some(end);
    }
    let stop = seen.stop();
    let Some(pod) = seen.main_pod() else {
        if let Some(end) = by_job(seen) {
            // The watches know nothing of each other: while the Job is there, its pods are asked for once more before.
            return seen.job.is_none().then_some(end);
        }
        // It is known to have run, and its pod was gone before anybody here saw its end.
        return seen.told_pod_name().map(|name| pod_gone(seen, name, stop.as_ref()));
    };
    let end = match own_state(pod).and_then(|state| state.terminated.as_ref()) {
        Some(over) => Some(container_ended(seen, pod, over, stop.as_ref())),
        None => pod_failed(seen, pod).or_else(|| never_will(pod)),
    };
    if let Some(end) = end {
        return Some(end);
    }
    if seen.main_pod_is_gone() && seen.went() {
        // What never ran may yet have another pod in its place.
        return started_at(pod).map(|_| match is_complete(seen) {
            true => completed(seen, stop.as_ref()),
            false => pod_gone(seen, text(&pod.metadata.name), stop.as_ref()),
        });
    }
    None
}

/// The end that is to be written down at the Job as an annotation: its value. None: it is there, or there is no end.
pub(super) fn to_tell(seen: &Seen) -> Option<String> {
    if told::read(seen).is_some() {
        return None;
    }
    let end = if seen.main_pod().is_none() { by_job(seen) } else { None };
    told::written(&end.or_else(|| ended(seen))?)
}

/// What the Job itself says of its end, where no pod of it is seen that could tell more.
pub(super) fn by_job(seen: &Seen) -> Option<Phase> {
    let stop = seen.stop();
    if seen.main_pod().is_some() || !seen.went() {
        return None;
    }
    if is_complete(seen) {
        return Some(completed(seen, stop.as_ref()));
    }
    let by_deadline = deadline_passed(seen) && seen.told_pod_name().is_some();
    let why = failed_because(seen).filter(|_| stop.is_none() && !by_deadline)?;
    let (namespace, job) = of_job(seen);
    Some(Phase::Vanished(format!(
        "its Job {namespace}/{job} failed ({why}), and its pod was gone before anybody here looked: how the program ended \
         is not known"
    )))
}

/// The end of what was prepared for so long that the cluster gave its Job up: no pod of it was ever made.
pub(super) fn failed_before_it_went(seen: &Seen) -> Option<Phase> {
    let there = seen.job.is_some() && seen.main_pod().is_none();
    let why = failed_because(seen).filter(|_| there && !seen.went() && seen.stop().is_none())?;
    let (namespace, job) = of_job(seen);
    let why = format!(
        "the program was not started: its Job {namespace}/{job} failed ({why}) before it was let go, as where no controller \
         answers for long"
    );
    Some(end(
        seen,
        ExitCause::NotStarted { code: code::START_TIMEOUT, why },
        None,
        ExitLog::NOTHING,
    ))
}

/// Whether a pod of the Job succeeded: its program ended with 0.
fn is_complete(seen: &Seen) -> bool {
    let Some(status) = seen.any_job().and_then(|job| job.status.as_ref()) else { return false };
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let uncounted = uncounted.and_then(|pods| pods.succeeded.as_ref());
    status.succeeded.unwrap_or_default() > 0
        || uncounted.is_some_and(|pods| !pods.is_empty())
        || condition(seen, "Complete").is_some()
}

/// Why the Job failed, in the cluster's words, if it did.
fn failed_because(seen: &Seen) -> Option<String> {
    condition(seen, "Failed").map(|failed| said(text(&failed.reason), text(&failed.message)))
}

fn condition<'a>(seen: &'a Seen, type_: &str) -> Option<&'a JobCondition> {
    let status = seen.any_job().and_then(|job| job.status.as_ref())?;
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The end of a program of which only its Job tells, that it went well.
fn completed(seen: &Seen, stop: Option<&Stop>) -> Phase {
    let done = seen.any_job().and_then(|job| job.status.as_ref()?.completion_time.as_ref());
    let before = |stop: &&Stop| done.is_none_or(|done| stop.at < done.0.as_second());
    let cause = match stop.filter(before).map(|stop| stop.why) {
        Some(StopWhy::Asked) => ExitCause::Stopped,
        Some(StopWhy::TimedOut) => ExitCause::TimedOut,
        Some(StopWhy::NotStarted) => not_in_time(seen, stop),
        Some(StopWhy::PodDeleted) | None => ExitCause::Exited,
    };
    let mut phase = end(seen, cause, Some(0), ExitLog::Followed);
    note(
        &mut phase,
        "that its program ended with 0 is what its Job says: its pod was gone before anybody here looked, and with it what \
         was not read of its log",
    );
    phase
}

fn of_job(seen: &Seen) -> (&str, &str) {
    seen.any_job()
        .map(|job| (text(&job.metadata.namespace), text(&job.metadata.name)))
        .unwrap_or_default()
}

/// Whether nothing was started, though the container has an exit code.
pub(super) fn never_ran(over: &ContainerStateTerminated) -> bool {
    START_ERRORS.contains(&text(&over.reason)) || was_only_made(over)
}

/// A kubelet that is killed between a container's making and its start says of it later that it ended, with 0, as all
/// fields are that nobody set. Its pod has succeeded then, and its Job.
fn was_only_made(over: &ContainerStateTerminated) -> bool {
    let started = over.started_at.as_ref().map_or(0, |time| time.0.as_second());
    over.exit_code == 0 && started <= 0
}

fn container_ended(
    seen: &Seen,
    pod: &Pod,
    over: &ContainerStateTerminated,
    stop: Option<&Stop>,
) -> Phase {
    if let Some(stop) = stop.filter(|_| was_only_made(over)) {
        return never_started(seen, stop);
    }
    if never_ran(over) {
        return end(seen, not_startable(pod, over), None, ExitLog::NOTHING);
    }
    let status = pod.status.as_ref();
    let (reason, message) =
        status.map(|status| (text(&status.reason), text(&status.message))).unwrap_or_default();
    let code = Some(over.exit_code);
    // The kubelet knows of a container only that it is gone.
    if matches!(text(&over.reason), "Unknown" | "ContainerStatusUnknown") && over.exit_code != 0 {
        // Newer ones say so, too, of one that they had not started when its pod was ended.
        if let Some(stop) = stop.filter(|_| over.started_at.is_none()) {
            return stopped_unseen(seen, pod, stop, may_never_have_run(seen, stop));
        }
        return Phase::Vanished(format!(
            "the node {} lost sight of the program, as after a restart of the node: whether it ended, and how, is not \
             known ({})",
            node(pod),
            said(text(&over.reason), text(&over.message))
        ));
    }
    let before = |stop: &&Stop| !was_over_before(seen, pod, over, stop);
    let cause = match stop.filter(before).map(|stop| stop.why) {
        Some(StopWhy::Asked) => ExitCause::Stopped,
        Some(StopWhy::TimedOut) => ExitCause::TimedOut,
        // It started after all, in the last moment, and was ended all the same.
        Some(StopWhy::NotStarted) => not_in_time(seen, stop),
        Some(StopWhy::PodDeleted) | None => {
            if deadline_passed(seen) && was_deleted_before(pod, over) {
                ExitCause::TimedOut
            } else if reason == "Evicted" {
                // Whatever its program made of the signal.
                by_cluster(reason, message)
            } else if text(&over.reason) == "OOMKilled" && over.exit_code == KILLED {
                ExitCause::Failed { code: code::OOM_KILLED, why: out_of_memory(pod) }
            } else if over.exit_code == 0 && !was_deleted_before(pod, over) {
                ExitCause::Exited
            } else if !reason.is_empty() {
                by_cluster(reason, message)
            } else if was_deleted_before(pod, over) {
                match preempted(pod) {
                    Some(why) => ExitCause::Failed { code: code::PREEMPTED, why },
                    None => deleted(seen, text(&pod.metadata.name)),
                }
            } else {
                ExitCause::Exited
            }
        }
    };
    let mut phase = end(seen, cause, code, ExitLog::Followed);
    // The runtime says that there was a kill, not whose.
    if text(&over.reason) == "OOMKilled" && over.exit_code != KILLED {
        note(&mut phase, &child_out_of_memory(pod));
    }
    phase
}

fn end(seen: &Seen, cause: ExitCause, code: Option<i32>, log: ExitLog) -> Phase {
    let log = match cause {
        ExitCause::NotStarted { .. } => ExitLog::Followed, // a line that says why
        ExitCause::Exited | ExitCause::TimedOut | ExitCause::Stopped | ExitCause::Failed { .. } => {
            log
        }
    };
    let ran = seen.ran();
    let note = match ran.len() {
        0 | 1 => String::new(),
        count => format!(
            "{count} pods of this attempt ran their program, because the first was deleted from outside: {}",
            ran.join(", ")
        ),
    };
    Phase::Ended(Exit { cause, code, signal: None, log, note })
}

/// Adds words to what is said beside an end.
fn note(phase: &mut Phase, words: &str) {
    if let Phase::Ended(exit) = phase {
        let gap = if exit.note.is_empty() { "" } else { "; " };
        exit.note = format!("{}{gap}{words}", exit.note);
    }
}

/// The pod has failed, and of its program there is no exit code.
fn pod_failed(seen: &Seen, pod: &Pod) -> Option<Phase> {
    let status = pod.status.as_ref().filter(|status| text(&status.phase) == "Failed")?;
    if let Some(init) = failed_init(pod) {
        let cause = ExitCause::NotStarted { code: code::INIT_FAILED, why: init };
        return Some(end(seen, cause, None, ExitLog::NOTHING));
    }
    let (reason, message) = (text(&status.reason), text(&status.message));
    if let Some(stop) = seen.stop().filter(|_| reason.is_empty()) {
        // A runtime that was killed forgets of a container that it ran.
        let waits = own_state(pod).is_some_and(|state| state.waiting.is_some())
            && may_never_have_run(seen, &stop);
        return Some(stopped_unseen(seen, pod, &stop, waits));
    }
    if reason.is_empty()
        && message.is_empty()
        && (started_at(pod).is_some() || seen.told_pod().is_some())
    {
        return Some(Phase::Vanished(format!(
            "the pod {} failed, and its node {} does not say how its program ended, as where the container runtime was \
             killed meanwhile: that is not known",
            text(&pod.metadata.name),
            node(pod)
        )));
    }
    let cause = by_cluster(reason, message);
    let log = if started_at(pod).is_some() || reason == "Evicted" {
        ExitLog::Followed
    } else {
        ExitLog::NOTHING
    };
    Some(end(seen, cause, None, log))
}

/// What never heals by waiting.
fn never_will(pod: &Pod) -> Option<Phase> {
    let waiting = own_state(pod)?.waiting.as_ref()?;
    let reason = text(&waiting.reason);
    let hopeless = matches!(reason, "InvalidImageName" | "ErrImageNeverPull");
    hopeless.then(|| {
        let why = said(reason, text(&waiting.message));
        let cause = ExitCause::NotStarted {
            code: code::IMAGE,
            why: format!("the image cannot be had: {why}; mend the job's `image_name`"),
        };
        let log = ExitLog::Followed; // a line that says why
        Phase::Ended(Exit { cause, code: None, signal: None, log, note: String::new() })
    })
}

fn failed_init(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find_map(|status| {
        let over = status.state.as_ref()?.terminated.as_ref()?;
        (over.exit_code != 0).then(|| {
            let said = said(text(&over.reason), text(&over.message));
            format!("the init container `{}` ended with {} ({said})", status.name, over.exit_code)
        })
    })
}

/// Why the pod was told to go, where that was for another one that matters more: the scheduler says so in a condition.
fn preempted(pod: &Pod) -> Option<String> {
    let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let by_scheduler = conditions.find(|condition| {
        condition.type_ == "DisruptionTarget"
            && condition.status == "True"
            && text(&condition.reason) == "PreemptionByKubeScheduler"
    })?;
    Some(said(text(&by_scheduler.reason), text(&by_scheduler.message)))
}

/// What the cluster did, by the reason of the pod.
fn by_cluster(reason: &str, message: &str) -> ExitCause {
    let code = match reason {
        "Evicted" => code::EVICTED,
        "DeadlineExceeded" => return ExitCause::TimedOut,
        "Preempting" | "Preempted" => code::PREEMPTED,
        "NodeLost" => code::NODE_LOST,
        "Shutdown" | "NodeShutdown" | "Terminated" => code::NODE_SHUTDOWN,
        reason if reason.starts_with("OutOf") => code::NOT_ADMITTED,
        "NodeAffinity" | "UnexpectedAdmissionError" | "AppArmor" | "Sysctl" => code::NOT_ADMITTED,
        _ => code::POD_FAILED,
    };
    let why = match said(reason, message) {
        said if said.is_empty() => "the pod failed, and the cluster does not say why".to_owned(),
        said => said,
    };
    ExitCause::Failed { code, why }
}

fn out_of_memory(pod: &Pod) -> String {
    format!(
        "OOMKilled: the program was killed because it used too much memory ({}): {MORE_MEMORY}",
        memory_limit(pod)
    )
}

fn child_out_of_memory(pod: &Pod) -> String {
    format!(
        "a process of the program was killed because it used too much memory ({}): {MORE_MEMORY}",
        memory_limit(pod)
    )
}

fn memory_limit(pod: &Pod) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let limit = containers
        .filter(|container| container.name == super::names::CONTAINER)
        .find_map(|own| Some(own.resources.as_ref()?.limits.as_ref()?.get("memory")?.0.clone()));
    match limit {
        Some(limit) => format!("its limit is {limit}"),
        None => "it has no limit of its own, so the node had none left".to_owned(),
    }
}

/// What the runtime says of a program that it could not start.
fn not_startable(pod: &Pod, over: &ContainerStateTerminated) -> ExitCause {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let program =
        containers.filter(|container| container.name == super::names::CONTAINER).find_map(|own| {
            own.command.as_ref()?.first().map(|word| super::object::escape::plain(word))
        });
    let program = program.map_or_else(
        || "the image's own program".to_owned(),
        |program| format!("`{}`", octavius_service::text::cut(program, 200)),
    );
    if was_only_made(over) {
        let why = format!(
            "{program} was not started: the node {} made its container, and was interrupted before it started it, as where \
             its kubelet was killed; run it again",
            node(pod)
        );
        return ExitCause::NotStarted { code: code::START_FAILED, why };
    }
    let message = text(&over.message);
    let low = message.to_lowercase();
    let remedy = if low.contains("no such file") || low.contains("not found") {
        "is it in the image? install it there, or correct the job's `command`"
    } else if low.contains("permission denied") {
        "it may not be executed: `chmod +x` it in the image, or, if it is a folder, name a program"
    } else if low.contains("context canceled") || low.contains("transport is closing") {
        "its node's container runtime was interrupted: run it again"
    } else if low.contains("argument list too long") {
        "give less in arguments and command"
    } else {
        "correct the job's `command` or its image"
    };
    let message = without_middle(message);
    let why = format!("{program} could not be started: {message}; {remedy}");
    ExitCause::NotStarted { code: code::START_FAILED, why }
}

/// A text of any length with its beginning and its end.
fn without_middle(text: &str) -> String {
    let (most, end) = (150, 250);
    if text.len() <= most + end {
        return text.to_owned();
    }
    let from = (text.len() - end..text.len()).find(|at| text.is_char_boundary(*at));
    format!(
        "{}{}",
        octavius_service::text::cut(text.to_owned(), most),
        &text[from.unwrap_or(text.len())..]
    )
}

/// Whether the cluster itself ended the Job, because its last deadline had passed while no executor was there.
fn deadline_passed(seen: &Seen) -> bool {
    condition(seen, "Failed").is_some_and(|failed| text(&failed.reason) == "DeadlineExceeded")
}

fn deleted(seen: &Seen, pod: &str) -> ExitCause {
    let (namespace, _) = of_job(seen);
    ExitCause::Failed {
        code: code::POD_DELETED,
        why: format!(
            "the pod {namespace}/{pod} was deleted from outside while its program ran, as by `kubectl drain`, preemption \
             or by hand; its program is not started again in this attempt"
        ),
    }
}

/// It is known to have run, and the pod is gone without saying how its program ended.
fn pod_gone(seen: &Seen, name: &str, stop: Option<&Stop>) -> Phase {
    let cause = match stop.map(|stop| stop.why) {
        Some(StopWhy::Asked) => ExitCause::Stopped,
        Some(StopWhy::TimedOut) => ExitCause::TimedOut,
        Some(StopWhy::NotStarted) => not_in_time(seen, stop),
        Some(StopWhy::PodDeleted) | None if deadline_passed(seen) => ExitCause::TimedOut,
        Some(StopWhy::PodDeleted) | None => return Phase::Vanished(unknown_end(seen, name)),
    };
    let mut phase = end(seen, cause, None, ExitLog::Followed);
    if let Some(silent) = seen.main_pod().and_then(|pod| silent(pod)) {
        let (node, since) = (silent.node, silent.since());
        let words = "whether its program has ended there is not known";
        note(&mut phase, &format!("its node {node} was not ready{since}: {words}"));
    }
    phase
}

/// What there is to say of a pod that is gone without a word of its program.
fn unknown_end(seen: &Seen, name: &str) -> String {
    let (namespace, _) = of_job(seen);
    let Some(pod) = seen.main_pod() else {
        return format!(
            "its pod {namespace}/{name} was gone before anybody here saw how its program ended: that is not known"
        );
    };
    let node = node(pod);
    match silent(pod) {
        Some(silent) => format!(
            "the node {node} was not ready{}, and did not come back before its pod {namespace}/{name} was removed: whether \
             the program ended, and how, is not known",
            silent.since()
        ),
        None => format!(
            "its pod {namespace}/{name} was removed while its program ran, and nobody waited for that to end, as where the \
             node ({node}) is deleted, or the pod is by force: how the program ended is not known"
        ),
    }
}

/// The end of what was stopped, and of which its kubelet does not say how it ended.
fn stopped_unseen(seen: &Seen, pod: &Pod, stop: &Stop, never_ran: bool) -> Phase {
    match never_ran {
        true => never_started(seen, stop),
        false => pod_gone(seen, text(&pod.metadata.name), Some(stop)),
    }
}

/// Whether nothing says that the program of what was stopped has run: a time limit is passed only by one that has.
fn may_never_have_run(seen: &Seen, stop: &Stop) -> bool {
    stop.why != StopWhy::TimedOut && seen.told_pod().is_none()
}

/// The end of what was stopped before its program ran.
pub(super) fn never_started(seen: &Seen, stop: &Stop) -> Phase {
    let cause = match stop.why {
        StopWhy::Asked => ExitCause::Stopped,
        StopWhy::TimedOut => ExitCause::TimedOut,
        StopWhy::NotStarted => not_in_time(seen, Some(stop)),
        StopWhy::PodDeleted => match seen.main_pod().and_then(|pod| preempted(pod)) {
            Some(why) => ExitCause::NotStarted { code: code::PREEMPTED, why },
            None => ExitCause::NotStarted {
                code: code::POD_DELETED,
                why: "its pod was deleted from outside before its program ran".to_owned(),
            },
        },
    };
    end(seen, cause, None, ExitLog::NOTHING)
}

fn not_in_time(seen: &Seen, stop: Option<&Stop>) -> ExitCause {
    let limit = seen.any_job().and_then(start_limit).unwrap_or(super::object::START_TIMEOUT);
    let waited = match stop.map(|stop| stop.waited_for.as_str()) {
        None | Some("") => waits_for(seen),
        Some(words) => words.to_owned(),
    };
    let waited = if waited.is_empty() { "the cluster does not say why".to_owned() } else { waited };
    ExitCause::NotStarted {
        code: code::of_wait(&waited),
        why: format!(
            "the program did not start within {} (`start_timeout`): {waited}",
            limit.shown()
        ),
    }
}

/// How long the attempt may take to start, as its Job says.
fn start_limit(job: &k8s_openapi::api::batch::v1::Job) -> Option<Duration> {
    super::object::kept::decode(job).ok()?.work.start_timeout
}

/// What there is to say of a Job that is gone, and whose end nobody saw.
pub(super) fn vanished(seen: &Seen) -> String {
    let (namespace, job) = of_job(seen);
    let pod = seen.main_pod().map_or_else(String::new, |pod| {
        let ran = if started_at(pod).is_some() { "ran" } else { "had not started" };
        format!("; its pod {} {ran} when it was last seen", text(&pod.metadata.name))
    });
    format!(
        "its Job {namespace}/{job} vanished from the cluster, deleted by somebody else: how the program ended is not \
         known{pod}"
    )
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().map(|spec| text(&spec.node_name)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
