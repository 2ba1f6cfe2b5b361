//! Why programs did not start or were ended, in one word each: jobs say by some of them what is tried again.

macro_rules! codes {
    ($($name:ident = $code:literal,)*) => {
        $(pub(super) const $name: &str = $code;)*

        /// All of them.
        pub(super) const ALL: &[&str] = &[$($name),*];
    };
}

codes! {
    CONFIGURATION = "configuration",
    EVICTED = "evicted",
    IMAGE = "image",
    INIT_FAILED = "init_failed",
    NODE_LOST = "node_lost",
    NODE_SHUTDOWN = "node_shutdown",
    NOT_ADMITTED = "not_admitted",
    OOM_KILLED = "oom_killed",
    POD_DELETED = "pod_deleted",
    POD_FAILED = "pod_failed",
    PREEMPTED = "preempted",
    START_FAILED = "start_failed",
    START_TIMEOUT = "start_timeout",
}

/// Of what did not start in time, by what it waited for last: a container's reason stands first in those words.
pub(super) fn of_wait(words: &str) -> &'static str {
    let of_another = words.starts_with("container `") || words.starts_with("init container `");
    let words = match words.split_once("`: ") {
        Some((_, words)) if of_another => words,
        Some(_) | None => words,
    };
    match words.split(':').next().unwrap_or_default() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => IMAGE,
        "CreateContainerConfigError" => CONFIGURATION,
        _ => START_TIMEOUT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_waited_for_says_by_its_reason_why_nothing_started() {
        for (words, code) in [
            ("ErrImagePull: dial tcp: connection refused", IMAGE),
            ("ImagePullBackOff: Failed to pull image \"x\": not found", IMAGE),
            ("init container `clone`: ImagePullBackOff", IMAGE),
            ("container `proxy`: ErrImagePull: no such host", IMAGE),
            ("CreateContainerConfigError: secret \"ours\" not found", CONFIGURATION),
            ("Unschedulable: 0/1 nodes are available", START_TIMEOUT),
            ("ContainerCreating: mount `x`: ErrImagePull", START_TIMEOUT),
            ("", START_TIMEOUT),
        ] {
            assert_eq!(of_wait(words), code, "{words}");
        }
    }
}
