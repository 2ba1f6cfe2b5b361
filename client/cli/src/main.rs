//! The program `octavius`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octavius_cli::run()
}
