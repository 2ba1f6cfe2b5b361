//! How secrets come to the program: through a file that has no name and lies in memory alone.
//!
//! The executor writes it and gives it to the supervisor as its standard input, which the supervisor hands on to the
//! process that becomes the program; that one reads it and puts the values into the program's environment. Then the
//! supervisor empties it. Nothing of it is on a disk, in an argument, or in the environment of anybody else, and a
//! program outlives its executor as before. Not a pipe: that holds 64 KiB, and somebody would have to wait for who
//! reads it. Not a file of mode 0600 that is removed: what was on a disk can be found there.

use super::folder::During;
use crate::runner::RunnerError;
use octavius_protocol::secret::SecretValues;
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::Errno,
};
use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    process::Stdio,
};

/// What a supervisor reads from its standard input: these values, or nothing.
pub(super) fn input(secrets: &SecretValues) -> Result<Stdio, RunnerError> {
    if secrets.is_empty() {
        return Ok(Stdio::null());
    }
    let made = || -> io::Result<File> {
        let flags = MemfdFlags::CLOEXEC;
        let file = match memfd_create("octavius-secrets", flags | MemfdFlags::NOEXEC_SEAL) {
            Err(Errno::INVAL) => memfd_create("octavius-secrets", flags), // before Linux 6.3
            made => made,
        };
        let mut file = File::from(file?);
        for (name, value) in secrets.expose() {
            for part in [name, "=", value, "\0"] {
                file.write_all(part.as_bytes())?;
            }
        }
        file.rewind()?;
        Ok(file)
    };
    Ok(made().during(|| "handing on secrets in memory".to_owned())?.into())
}

/// The values that this process got as its standard input: names and values.
pub(super) fn take() -> io::Result<Vec<(String, String)>> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    let pairs = text.split_terminator('\0').map(|pair| {
        let (name, value) = pair.split_once('=').ok_or(io::ErrorKind::InvalidData)?;
        Ok((name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// Empties what this process got as its standard input: its program has it by now, or never will.
pub(super) fn wipe() {
    let _ = ftruncate(io::stdin(), 0); // where there were no secrets it is no file
}
