//! What is written into a log where the API does not give it: a line of its own, in words.

use super::{
    api::{LogRefusal, PodName},
    stamp::Stamp,
};
use std::time::Duration;

/// The longest that a line of ours may be.
const LONGEST: usize = 1_000;

/// Between two times, or up to the end of the log where the second is not known, the log was rotated away.
pub(super) fn rotated_away(from: Option<Stamp>, to: Option<Stamp>) -> String {
    let (from, to) = (time(from, "its start"), time(to, "its end"));
    format!("the log from {from} to {to} is missing: rotated away before it could be read")
}

/// Between two times, or up to the end of the log where the second is not known, more was written with stamps of before
/// than is held.
pub(super) fn set_back(from: Option<Stamp>, to: Option<Stamp>) -> String {
    let (from, to) = (time(from, "its start"), time(to, "its end"));
    format!(
        "of what was written from {from} to {to} some is missing: the log was rotated after the node's clock was set back"
    )
}

/// Between two times files were changed, and what came into the old one in that moment may not have been sent.
pub(super) fn passed_over(from: Stamp, to: Stamp) -> String {
    format!(
        "of what was written from {from} to {to} some may be missing: the log was rotated while it was read"
    )
}

/// What comes behind a time is not to be had.
pub(super) fn unreadable(from: Option<Stamp>, pod: &PodName, refusal: &LogRefusal) -> String {
    let from = time(from, "its start");
    let why = match refusal {
        LogRefusal::Gone(_) => {
            format!("the pod `{}` was gone before it was read to its end", pod.name)
        }
        LogRefusal::Forbidden(text) => forbidden(&pod.namespace, text),
        LogRefusal::NotThere(why) | LogRefusal::Failed { why, .. } => {
            format!("it could not be read: {why}")
        }
    };
    format!("the log from {from} on is missing: {why}")
}

/// What is asked of a reader of the log: who can grant it, how.
fn forbidden(namespace: &str, text: &str) -> String {
    // As in: User "system:serviceaccount:team-a:executor" cannot get resource "pods/log"
    let user = text.split_once("User \"").and_then(|(_, rest)| rest.split_once('"'));
    let (user, subject) = match user.map(|(user, _)| user) {
        None => ("this executor".to_owned(), "--user=<who it is>".to_owned()),
        Some(user) => {
            let subject = match user.strip_prefix("system:serviceaccount:") {
                Some(account) => format!("--serviceaccount={account}"),
                None => format!("--user={user}"),
            };
            (format!("`{user}`"), subject)
        }
    };
    format!(
        "{user} may not `get` `pods/log` in the namespace `{namespace}`. To grant it: \
         kubectl -n {namespace} create role octavius-logs --verb=get --resource=pods/log && \
         kubectl -n {namespace} create rolebinding octavius-logs --role=octavius-logs {subject}"
    )
}

/// A line of its own in the log.
pub(in crate::runner::kubernetes) fn line(mid_line: bool, words: &str) -> String {
    let words: String = words
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(LONGEST)
        .collect();
    format!("{}[octavius: {words}]\n", if mid_line { "\n" } else { "" })
}

fn time(stamp: Option<Stamp>, otherwise: &str) -> String {
    stamp.map_or_else(|| otherwise.to_owned(), |stamp| stamp.to_string())
}

/// How long after the container's end its log is still asked for.
pub(super) fn patience(refusal: &LogRefusal) -> Duration {
    match refusal {
        LogRefusal::Gone(_) => Duration::from_secs(2),
        // A kubelet says so, too, while its runtime is away.
        LogRefusal::NotThere(why) if is_removed(why) => Duration::from_mins(1),
        LogRefusal::NotThere(_) | LogRefusal::Forbidden(_) => Duration::from_secs(10),
        LogRefusal::Failed { .. } => Duration::from_mins(5),
    }
}

/// Whether the kubelet says, at the end of a read, that the container is removed: all that it wrote was sent by then.
pub(super) fn is_removed(words: &str) -> bool {
    words.contains("code = NotFound") || words.starts_with("unable to retrieve container logs")
}

/// Whether the kubelet says that the container has not started.
pub(super) fn waits(refusal: &LogRefusal) -> bool {
    matches!(refusal, LogRefusal::NotThere(why) if why.contains("waiting to start"))
}

/// Whether a program may write, while it is refused like this, what nobody listens to.
pub(super) fn keeps_from_listening(refusal: &LogRefusal) -> bool {
    match refusal {
        LogRefusal::Failed { .. } | LogRefusal::Forbidden(_) => true,
        // There is no program yet, or none any more.
        LogRefusal::NotThere(_) | LogRefusal::Gone(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn pod() -> PodName {
        PodName { namespace: "team-a".to_owned(), name: "octavius-x-1-abcde".to_owned() }
    }

    #[test]
    fn a_gap_says_from_when_to_when() {
        let stamp = |second: i64| Some(Stamp((1_795_897_886 + second) * 1_000_000_000));
        assert_snapshot!(line(true, &rotated_away(stamp(0), stamp(75))), @r"

        [octavius: the log from 2026-11-28T20:31:26.000Z to 2026-11-28T20:32:41.000Z is missing: rotated away before it could be read]
        ");
        assert_snapshot!(line(false, &rotated_away(None, None)), @"[octavius: the log from its start to its end is missing: rotated away before it could be read]");
    }

    #[test]
    fn who_lacks_a_right_is_told_how_it_is_granted() {
        let text = "pods \"x\" is forbidden: User \"system:serviceaccount:octavius:executor\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"team-a\"";
        let refusal = LogRefusal::Forbidden(text.to_owned());
        assert_snapshot!(unreadable(None, &pod(), &refusal), @"the log from its start on is missing: `system:serviceaccount:octavius:executor` may not `get` `pods/log` in the namespace `team-a`. To grant it: kubectl -n team-a create role octavius-logs --verb=get --resource=pods/log && kubectl -n team-a create rolebinding octavius-logs --role=octavius-logs --serviceaccount=octavius:executor");
    }

    #[test]
    fn words_of_others_stay_on_one_line() {
        let refusal = LogRefusal::Failed { why: "a\nb".to_owned(), after: None };
        assert_snapshot!(line(false, &unreadable(None, &pod(), &refusal)), @"[octavius: the log from its start on is missing: it could not be read: a b]");
        let gone = unreadable(None, &pod(), &LogRefusal::Gone(String::new()));
        assert_snapshot!(gone, @"the log from its start on is missing: the pod `octavius-x-1-abcde` was gone before it was read to its end");
    }
}
