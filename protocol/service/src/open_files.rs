//! How many files a process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

static STARTED_WITH: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many open files as the system allows: each connection is one, and the usual limit is small.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    STARTED_WITH.get_or_init(|| limit);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files could not be raised");
    }
}

/// How many open files this process was allowed before the first [`raise_open_files`]: what programs that it starts
/// count on, for some cannot handle more than the usual number. None: any number, or it was not raised.
pub fn open_files_at_start() -> Option<u64> {
    STARTED_WITH.get().and_then(|limit| limit.current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_most_that_is_allowed_and_the_first_is_remembered() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
        for _ in 0..2 {
            raise_open_files();
            assert_eq!(getrlimit(Resource::Nofile), Rlimit { current: maximum, maximum });
            assert_eq!(open_files_at_start(), Some(256));
        }
    }
}
