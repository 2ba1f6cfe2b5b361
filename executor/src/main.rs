//! The binary `executor`.

use octavius_executor::runner::process;
use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // First of all, before there is any other thread: the supervisor is a process of its own.
    if let Some((command, arguments)) = arguments.split_first()
        && command == "supervise"
    {
        return process::supervise(arguments);
    }
    let _ = writeln!(io::stderr(), "usage: executor start");
    ExitCode::from(2)
}
