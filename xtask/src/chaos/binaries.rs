//! The binaries that are tormented: a copy, so that a build in the middle of a long run changes nothing.

use crate::steps;
use anyhow::{Context as _, Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

const NAMES: [&str; 3] = ["controller", "executor", "octavius"];
/// What a controller whose store can be told to fail has in it.
pub(super) const VARIABLE: &str = "OCTAVIUS_STORE_FAULTS";

/// Where they are.
#[derive(Debug)]
pub(super) struct Binaries(PathBuf);

impl Binaries {
    /// Copies them to `folder`.
    pub(super) fn copy(&self, folder: &Path) -> Result<()> {
        for name in NAMES {
            fs::copy(self.0.join(name), folder.join(name)).with_context(|| name.to_owned())?;
        }
        Ok(())
    }
}

/// Those in `folder`, which cargo builds into; builds them unless they are there and are told not to.
pub(super) fn find(root: &Path, folder: &Path, no_build: bool) -> Result<Binaries> {
    // A test finds what the build of all tests has made: another set of features would build everything again.
    if !(cfg!(test) || no_build) || !usable(folder)? {
        ensure!(!no_build, "{} has no controller that can be told to fail", folder.display());
        let packages = ["octavius-controller", "octavius-executor", "octavius"];
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        let feature = ["--features", "octavius-controller/fault-injection"];
        let words: Vec<_> =
            ["build", "--locked"].into_iter().chain(packages).chain(feature).collect();
        steps::cargo(root, &words, &[])?;
    }
    ensure!(usable(folder)?, "the controller in {} cannot be told to fail", folder.display());
    Ok(Binaries(folder.to_owned()))
}

fn usable(folder: &Path) -> Result<bool> {
    if !NAMES.iter().all(|name| folder.join(name).exists()) {
        return Ok(false);
    }
    let controller = fs::read(folder.join("controller"))?;
    Ok(controller.windows(VARIABLE.len()).any(|bytes| bytes == VARIABLE.as_bytes()))
}
