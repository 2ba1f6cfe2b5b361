//! The file of the master key: one line of text, for its owner alone. While a key is exchanged for another one there are
//! two lines, the new one first.

use super::envelope::{KEY, MasterKey};
use crate::folder;
use chacha20poly1305::{Key, aead::Generate};
use data_encoding::BASE64;
use secrecy::zeroize::Zeroizing;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file's name in `data_dir`.
pub const FILE: &str = "master.key";
/// What the line begins with.
const FORMAT: &str = "octavius-master-key-1 ";
/// More than a right file has.
const MOST_BYTES: u64 = 200;

/// Why there is no master key. No text holds anything of the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is gone, and the store holds what was sealed under it.
    #[error(
        "`{}` is missing, and the store holds what is sealed under it: put the file back from a backup, or copy it from another controller of this store (nothing was changed)",
        .0.display()
    )]
    Missing(PathBuf),
    /// Others may read or write it.
    #[error(
        "`{}` has the mode {mode:04o}, and the key in it is for its owner alone: `chmod 600` it, and set the secrets anew if others may have read it",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds no key.
    #[error(
        "`{}` is no master key, which is one line `{FORMAT}` and 32 bytes as base64: put the file back from a backup, or copy it from another controller of this store (nothing was changed)",
        .0.display()
    )]
    Malformed(PathBuf),
    /// The store was sealed under another key.
    #[error(
        "`{}` is another key than the one that this store is sealed under: put the right file back from a backup, or copy it from another controller of this store (nothing was changed)",
        .0.display()
    )]
    Other(PathBuf),
    /// It cannot be read, or made.
    #[error("`{}` cannot be {what}: let this user do that, or give another `data_dir`", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

/// The key in `data_dir`, made there if it is missing and `may_make`; and what it is exchanged for.
pub(super) fn open(
    data_dir: &Path,
    may_make: bool,
) -> Result<(MasterKey, Option<MasterKey>), KeyFileError> {
    let path = data_dir.join(FILE);
    let failed = |what| failed(&path, what);
    match File::open(&path) {
        Ok(file) => read(file, &path),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("read")(error)),
        Err(_) if !may_make => Err(KeyFileError::Missing(path)),
        Err(_) => {
            make(data_dir, &path).map_err(failed("made"))?;
            read(File::open(&path).map_err(failed("read"))?, &path)
        }
    }
}

/// Puts a new key before the one that is there. Where two are there already nothing changes.
pub(super) fn add(data_dir: &Path) -> Result<(), KeyFileError> {
    let path = data_dir.join(FILE);
    let failed = |what| failed(&path, what);
    if open(data_dir, false)?.1.is_some() {
        return Ok(());
    }
    let text = Zeroizing::new(fs::read(&path).map_err(failed("read"))?);
    let both = Zeroizing::new([new_line().as_bytes(), &text].concat());
    replace(data_dir, &path, &both).map_err(failed("written"))
}

/// Takes the former key out, into a file of its own. Where that is; none: there is no former key.
pub(super) fn set_aside(data_dir: &Path) -> Result<Option<PathBuf>, KeyFileError> {
    let path = data_dir.join(FILE);
    let failed = |what| failed(&path, what);
    let text = Zeroizing::new(fs::read(&path).map_err(failed("read"))?);
    let Some(end) = text.iter().position(|byte| *byte == b'\n').map(|end| end + 1) else {
        return Ok(None);
    };
    let (new, former) = text.split_at(end);
    if former.is_empty() {
        return Ok(None);
    }
    let at = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    // One that is there is another key: nothing else opens what is sealed under it.
    let mut names = (0_u32..).map(|number| match number {
        0 => data_dir.join(format!("{FILE}.until-{at}")),
        number => data_dir.join(format!("{FILE}.until-{at}-{number}")),
    });
    let Some(aside) = names.find(|path| !path.exists()) else { return Ok(None) };
    replace(data_dir, &aside, former).map_err(failed("set aside"))?;
    replace(data_dir, &path, new).map_err(failed("written"))?;
    Ok(Some(aside))
}

fn failed(path: &Path, what: &'static str) -> impl Fn(io::Error) -> KeyFileError + use<> {
    let path = path.to_owned();
    move |source| KeyFileError::Failed { path: path.clone(), what, source }
}

fn read(file: File, path: &Path) -> Result<(MasterKey, Option<MasterKey>), KeyFileError> {
    let failed = failed(path, "read");
    let mode = file.metadata().map_err(&failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let malformed = || KeyFileError::Malformed(path.to_owned());
    let mut text = Zeroizing::new(Vec::new());
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(failed)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| key(line).ok_or_else(malformed));
    let first = lines.next().ok_or_else(malformed)??;
    let former = lines.next().transpose()?;
    match lines.next() {
        None => Ok((first, former)),
        Some(_) => Err(malformed()),
    }
}

fn key(line: &[u8]) -> Option<MasterKey> {
    let encoded = line.strip_prefix(FORMAT.as_bytes())?;
    let bytes = Zeroizing::new(BASE64.decode(encoded).ok()?);
    <&[u8; KEY]>::try_from(&bytes[..]).ok().map(MasterKey::new)
}

fn new_line() -> Zeroizing<String> {
    let key = Zeroizing::new(<[u8; KEY]>::from(Key::generate()));
    Zeroizing::new(format!("{FORMAT}{}\n", BASE64.encode(&key[..])))
}

/// Makes the file under another name first: half a key would keep the controller from starting for ever.
fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    folder::make(data_dir)?;
    replace(data_dir, path, new_line().as_bytes())
}

/// Writes a file for its owner alone, whole or not at all.
fn replace(data_dir: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let unfinished = data_dir.join(format!("{FILE}.new"));
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    folder::sync(data_dir)
}

#[cfg(test)]
mod tests {
    use super::super::{Place, Vault};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn refusal(folder: &Path) -> String {
        let error = Vault::open(folder, true).unwrap_err();
        assert!(error.to_string().contains(FILE), "{error}");
        error.to_string()
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Vault::open(folder.path(), false).unwrap_err();
        assert!(matches!(missing, KeyFileError::Missing(_)), "{missing:?}");
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "something was made");
        let sealed = Vault::open(folder.path(), true).unwrap().seal(&Place::KeyCheck, b"value");
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let again = Vault::open(folder.path(), false).unwrap();
        assert_eq!(again.open_sealed(&Place::KeyCheck, &sealed).unwrap().as_slice(), b"value");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        Vault::open(folder.path(), true).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(folder.path().join(FILE), permissions).unwrap();
            let refusal = refusal(folder.path());
            assert!(refusal.contains(&format!("{mode:04o}")), "{refusal}");
            assert!(refusal.contains("chmod 600"), "{refusal}");
        }
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        Vault::open(folder.path(), true).unwrap();
        let path = folder.path().join(FILE);
        let right = fs::read_to_string(&path).unwrap();
        let half = &right[..right.len() / 2];
        for wrong in
            ["", "octavius-master-key-1 ", half, &right.replace("-1", "-2"), &right.repeat(9)]
        {
            fs::write(&path, wrong).unwrap();
            let refusal = refusal(folder.path());
            assert!(refusal.contains("no master key"), "{refusal}");
            assert_eq!(fs::read_to_string(&path).unwrap(), wrong, "it was changed");
        }
    }
}
