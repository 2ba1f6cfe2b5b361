//! The image of the product, made without Docker: `deploy/image/build.sh`, over binaries that are built for release.

use crate::steps::cargo;
use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Metadata;
use clap::Args;
use std::{path::PathBuf, process::Command};

const SCRIPT: &str = "deploy/image/build.sh";

#[derive(Debug, Args)]
pub(crate) struct Image {
    /// The folder of `controller`, `executor` and `octavius`. Without it they are built for release.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// The image's name and tag. Without it: `octavius` and the version.
    #[arg(long)]
    name: Option<String>,
    /// The file, in the format of `docker save`. Without it: `octavius.tar` in the target folder.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Image {
    /// Makes it, and says where it is.
    pub(crate) fn make(self, metadata: &Metadata) -> Result<()> {
        let (root, target) = (&metadata.workspace_root, &metadata.target_directory);
        let binaries = match self.binaries {
            Some(binaries) => binaries,
            None => {
                // One by one: together each would get the features that another one wants.
                for package in ["octavius-controller", "octavius-executor", "octavius"] {
                    let build = ["build", "--release", "--locked", "--package", package, "--bins"];
                    cargo(root.as_std_path(), &build, &[])?;
                }
                target.join("release").into_std_path_buf()
            }
        };
        let output = self.output.unwrap_or_else(|| target.join("octavius.tar").into_std_path_buf());
        let name = self.name.unwrap_or_else(name);
        let mut script = Command::new(root.join(SCRIPT));
        let made = script.arg(binaries).arg(name).arg(output).status().context(SCRIPT)?;
        ensure!(made.success(), "{SCRIPT} ended with {made}");
        Ok(())
    }
}

/// What it is called in the manifests.
fn name() -> String {
    format!("octavius:{}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_manifests_run_the_image_of_this_version() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
        for file in ["controller.yaml", "executor.yaml"] {
            let manifest = fs::read_to_string(folder.join(file)).unwrap();
            let image = manifest.lines().filter_map(|line| line.trim().strip_prefix("image: "));
            assert_eq!(image.collect::<Vec<_>>(), [name()], "{file}");
        }
    }
}
