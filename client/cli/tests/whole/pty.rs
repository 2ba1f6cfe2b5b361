//! A program at a real terminal: what it writes there is read, and keys are pressed.

use crate::world::PATIENCE;
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};
use tokio::time::Instant;

/// A terminal, and the program at it.
#[derive(Debug)]
pub(crate) struct Terminal {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    child: Child,
    seen: Vec<u8>,
    /// How much of it was waited for.
    passed: usize,
}

impl Terminal {
    /// Starts `command` at a terminal of this many columns, which is its controlling one, so that Ctrl-C works.
    pub(crate) fn start(command: &Command, columns: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(open(name.as_c_str(), flags, Mode::empty()).unwrap());

        // `setsid` makes it the controlling one.
        let mut at_terminal = Command::new("setsid");
        at_terminal.arg("--ctty").arg(command.get_program()).args(command.get_args());
        at_terminal
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        at_terminal.env("TERM", "xterm");
        if let Some(folder) = command.get_current_dir() {
            at_terminal.current_dir(folder);
        }
        at_terminal.stdin(slave.try_clone().unwrap());
        at_terminal.stdout(slave.try_clone().unwrap()).stderr(slave);
        let child = at_terminal.spawn().unwrap();
        drop(at_terminal); // and with it this process's ends of the terminal

        let master = File::from(master);
        let mut reading = master.try_clone().unwrap();
        let (tell, screen) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The last program that leaves a terminal ends the reading with an error.
            while let Ok(read @ 1..) = reading.read(&mut bytes) {
                if tell.send(bytes[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { keyboard: master, screen, child, seen: Vec::new(), passed: 0 }
    }

    /// Types `keys` as they are.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` stands behind what was waited for before.
    pub(crate) fn shows(&mut self, text: &str) {
        let is_there = self.shows_within(text, PATIENCE);
        let seen = &self.seen[self.passed..];
        assert!(is_there, "no {text:?} in {:?}", String::from_utf8_lossy(seen));
    }

    /// The same for no longer than this; whether it stands there.
    pub(crate) fn shows_within(&mut self, text: &str, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            // As a whole: a piece that was read may end in the middle of a character.
            let shown = String::from_utf8_lossy(&self.seen[self.passed..]).into_owned();
            if let Some(at) = shown.find(text) {
                self.passed += at + text.len();
                return true;
            }
            let more = self.screen.recv_timeout(until.saturating_duration_since(Instant::now()));
            match more {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => return false,
            }
        }
    }

    /// All that was shown, and the exit status.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.screen.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it did not end: {:?}", String::from_utf8_lossy(&self.seen))
                }
            }
        }
        let status = self.child.wait().unwrap();
        (String::from_utf8_lossy(&self.seen).into_owned(), status.code())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
