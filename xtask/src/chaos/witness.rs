//! What a cluster's runtime wrote of each program's log: what can be had of it at all.
//!
//! A runtime that is killed loses what a program wrote meanwhile, if that ended before it was back, and no API says so. Here the files of the
//! node itself are kept, by a second name of each, so that what was lost there and what was lost on the way are told apart.

use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::sleep;

/// How often it is looked for new files: each is there for seconds at the least.
const LOOK: Duration = Duration::from_millis(100);

/// What stands in a log that its API does not give any more, though the node may have it: its pod went before it was read, as
/// where the cluster itself ended it at its last deadline; or its kubelet has forgotten which container it was.
const NOT_GIVEN: [&str; 2] = ["was gone before it was read to its end", "\" is terminated"];

/// Whether these words of ours say that the API does not give the log.
pub(super) fn is_not_given(words: &str) -> bool {
    NOT_GIVEN.iter().any(|why| words.contains(why))
}

/// The files, as they are kept.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    /// Where the node has its pods' logs: a folder for each, named `NAMESPACE_POD_UID`.
    pods: PathBuf,
    namespace: String,
    kept: PathBuf,
}

impl Witness {
    /// Keeps in the folder `kept` what pods of a namespace write.
    pub(super) fn new(pods: PathBuf, namespace: &str, kept: &Path) -> Result<Self> {
        fs::create_dir(kept)?;
        Ok(Self { pods, namespace: namespace.to_owned(), kept: kept.to_owned() })
    }

    /// Keeps what comes, until it is dropped.
    pub(super) async fn go_on(self) -> Result<()> {
        loop {
            self.look()?;
            sleep(LOOK).await;
        }
    }

    fn look(&self) -> Result<()> {
        for folder in entries(&self.pods)? {
            let name = folder.file_name().to_string_lossy().into_owned();
            let mut parts = name.split('_');
            if parts.next() != Some(&self.namespace) {
                continue;
            }
            let pod = parts.next().with_context(|| name.clone())?;
            for file in entries(&folder.path().join("job"))? {
                let Some(metadata) = gone(file.metadata())? else { continue };
                // What is rotated gets another name, and stays the same file; what is packed then is another one.
                let is_packed = file.file_name().to_string_lossy().ends_with(".gz");
                let kept = self.kept.join(format!("{pod}.{}", metadata.ino()));
                if !is_packed && !kept.exists() {
                    gone(fs::hard_link(file.path(), kept))?;
                }
            }
        }
        Ok(())
    }

    /// All that was written of an attempt.
    pub(super) fn log(&self, execution: &str, attempt: u32) -> Result<Vec<u8>> {
        let of_it = format!("octavius-{execution}-{attempt}-");
        let mut lines = BTreeMap::new();
        for file in entries(&self.kept)? {
            if file.file_name().to_string_lossy().starts_with(&of_it) {
                let text = fs::read(file.path())?;
                let first = text.split(|byte| *byte == b' ').next().unwrap_or_default().to_vec();
                lines.insert(first, text);
            }
        }
        Ok(lines.values().flat_map(|text| content(text)).collect())
    }
}

/// What a program wrote, from a file in the format of the CRI: a time, `stdout` or `stderr`, `F` or `P` for what is
/// whole or only part of a line, and that.
fn content(file: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (Some(kind), Some(text)) = (parts.nth(2), parts.next()) else { continue };
        content.extend_from_slice(match kind {
            b"P" => text.strip_suffix(b"\n").unwrap_or(text),
            _ => text,
        });
    }
    content
}

/// A log without the lines that are ours and tell of what may be missing, and those lines.
pub(super) fn without_words(log: &[u8]) -> (Vec<u8>, Vec<String>) {
    let (mut left, mut words) = (Vec::new(), Vec::new());
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        match line.starts_with(b"[octavius: ") && line.ends_with(b"]\n") {
            true => words.push(String::from_utf8_lossy(line).trim_end().to_owned()),
            false => left.extend_from_slice(line),
        }
    }
    (left, words)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let Some(entries) = gone(fs::read_dir(folder))? else { return Ok(Vec::new()) };
    Ok(entries.collect::<io::Result<_>>()?)
}

/// None where it is not there, or not any more.
fn gone<T>(result: io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_ours_are_no_part_of_a_log() {
        let (left, words) = without_words(b"a\n[octavius: b is missing]\n[octavius: \nc");
        assert_eq!(left, b"a\n[octavius: \nc");
        assert_eq!(words, ["[octavius: b is missing]"]);
    }

    #[test]
    fn what_a_node_has_written_is_kept_over_rotation_and_removal() {
        let folder = tempfile::tempdir().unwrap();
        let pods = folder.path().join("pods");
        let job = pods.join("team_octavius-7-1-abcde_uid/job");
        fs::create_dir_all(&job).unwrap();
        fs::create_dir_all(pods.join("other_octavius-7-1-abcde_uid/job")).unwrap();
        let file = job.join("0.log");
        let witness = Witness::new(pods.clone(), "team", &folder.path().join("kept")).unwrap();
        assert_eq!(witness.log("7", 1).unwrap(), b"");
        fs::write(&file, "2026-01-01T00:00:01Z stdout P on\n").unwrap();
        witness.look().unwrap();
        let more = "2026-01-01T00:00:02Z stdout F e\n2026-01-01T00:00:03Z stderr F \n";
        let mut open = fs::File::options().append(true).open(&file).unwrap();
        io::Write::write_all(&mut open, more.as_bytes()).unwrap();
        fs::rename(&file, job.join("0.log.20260101-000004")).unwrap();
        fs::write(&file, "2026-01-01T00:00:05Z stdout F two\n").unwrap();
        witness.look().unwrap();
        fs::remove_dir_all(&pods).unwrap();
        witness.look().unwrap();
        assert_eq!(witness.log("7", 1).unwrap(), b"one\n\ntwo\n");
        assert_eq!(witness.log("7", 2).unwrap(), b"");
        assert_eq!(witness.log("8", 1).unwrap(), b"");
    }
}
