//! `octavius man`: the manual's pages.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    manual,
};
use clap::Args;
use octavius_client::Error;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Write the manual's pages to a folder, or the first of them to standard output
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius man | man -l -
  octavius man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The folder; made if it is not there
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let output = &context.output;
        let pages = manual::pages()?;
        let Some(folder) = self.folder else {
            let page = pages.first().map(|(_, page)| page.as_str()).unwrap_or_default();
            if output.format().is_document() {
                output.document(&json!({ "page": page }))?;
            } else {
                output.text(page.trim_end())?;
            }
            return Ok(Exit::Done);
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            |cause| Error::File { path, attempted: "written", cause }
        };
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let mut files = Vec::new();
        for (name, page) in pages {
            let path = folder.join(name);
            std::fs::write(&path, page).map_err(failed(&path))?;
            files.push(path.display().to_string());
        }
        if output.format().is_document() {
            output.document(&json!({ "files": files }))?;
        } else {
            files.iter().try_for_each(|file| output.text(file))?;
        }
        Ok(Exit::Done)
    }
}
