//! Questions to the user. They are asked on standard error, so that results stay apart.

use crate::exit::Failure;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{self, IsTerminal, Read, Write};

/// Whether there is somebody to ask.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// How many characters fit in a line, where standard output is a terminal that says so.
pub(crate) fn width() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| tcgetwinsize(out).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Asks for a line. None at the end of the input.
pub(crate) fn ask(question: &str) -> Result<Option<String>, Failure> {
    prompt(question)?;
    read_line()
}

/// Reads a line of standard input, without its end. None where there is nothing more.
pub(crate) fn read_line() -> Result<Option<String>, Failure> {
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Asks whether to go on. Anything but a yes is a no.
pub(crate) fn agrees(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/N] "))?.unwrap_or_default();
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line that is not shown while it is typed.
pub(crate) fn ask_hidden(question: &str) -> Result<String, Failure> {
    // Hidden before it is asked for: who types fast is not shown either.
    let _hidden = Hidden::begin().map_err(io::Error::from)?;
    prompt(question)?;
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        let read = io::stdin().lock().read(&mut byte)?;
        match byte[0] {
            _ if read == 0 => break,
            b'\r' | b'\n' => break,
            CTRL_C => return Err(Failure::Interrupted),
            CTRL_D if line.is_empty() => break,
            BACKSPACE | DELETE => drop_last_character(&mut line),
            other => line.push(other),
        }
    }
    String::from_utf8(line).map_err(|_| Failure::Usage("what was typed is not UTF-8".to_owned()))
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const DELETE: u8 = 127;

fn drop_last_character(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

fn prompt(question: &str) -> Result<(), Failure> {
    let mut err = io::stderr().lock();
    write!(err, "{question}")?;
    err.flush()?;
    Ok(())
}

/// While it lives, the terminal does not show what is typed. Ctrl-C comes as a byte, so that the terminal is put
/// right before the process ends.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        let _ = writeln!(io::stderr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backspace_takes_a_whole_character() {
        let mut line = "aé🙂".as_bytes().to_vec();
        for rest in ["aé", "a", "", ""] {
            drop_last_character(&mut line);
            assert_eq!(line, rest.as_bytes());
        }
    }
}
