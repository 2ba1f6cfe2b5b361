//! A user's desk: a working folder with what the top of the repository has, a home, free ports, and shells.

use crate::world::{PATIENCE, Server, binary_path};
use octavius_client::{Client, Settings};
use octavius_testbed::ports::free_port;
use std::{
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// What the top of the repository has, and a user needs.
const FILES: [&str; 3] =
    ["controller_config.json", "executor_config.json", "deploy/examples/metadata.json"];

/// A desk.
#[derive(Debug)]
pub(crate) struct Desk {
    folder: TempDir,
    port: u16,
    metrics_port: u16,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
            port: free_port(),
            metrics_port: free_port(),
        };
        for folder in ["home", "programs", "target/debug", "deploy/examples"] {
            std::fs::create_dir_all(desk.path(folder)).unwrap();
        }
        for file in FILES {
            std::fs::copy(root().join(file), desk.path(file)).unwrap();
        }
        for binary in ["controller", "executor", "octavius"] {
            symlink(binary_path(binary), desk.path("target/debug").join(binary)).unwrap();
        }
        desk
    }

    /// A path in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a program before all others of its name.
    pub(crate) fn install(&self, name: &str, script: &str) {
        let path = self.path("programs").join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A text that names the usual ports, with the ones of this desk.
    pub(crate) fn with_ports(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for host in ["localhost", "127.0.0.1"] {
            text = text.replace(&format!("{host}:3000"), &format!("{host}:{}", self.port));
            text = text.replace(&format!("{host}:3001"), &format!("{host}:{}", self.metrics_port));
        }
        text
    }

    /// A shell that ends at the first command that fails, with nothing of our own environment.
    fn shell(&self, script: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", script]).current_dir(self.folder.path()).env_clear();
        shell.env("PATH", format!("{}:{path}", self.path("programs").display()));
        shell.env("HOME", self.path("home")).env("LANG", "C.UTF-8");
        // The files of the two servers name ports that somebody else may use.
        shell.env("OCTAVIUS_CONTROLLER_APP_PORT", self.port.to_string());
        let metrics = format!("127.0.0.1:{}", self.metrics_port);
        shell.env("OCTAVIUS_CONTROLLER_METRICS_ADDRESS", metrics);
        shell.env("OCTAVIUS_EXECUTOR_CP_HOST", format!("localhost:{}", self.port));
        shell
    }

    /// Runs a script to its end.
    pub(crate) async fn run(&self, script: &str) -> Output {
        let mut shell = tokio::process::Command::from(self.shell(script));
        let run = shell.stdin(Stdio::null()).kill_on_drop(true).output();
        let ran = tokio::time::timeout(PATIENCE, run).await;
        ran.unwrap_or_else(|_| panic!("it did not end: {script}")).unwrap()
    }

    /// Opens a terminal for one command, which runs until the end. Its output goes to the file `name`.
    pub(crate) fn open(&self, command: &str, name: &str) -> Server {
        assert!(!command.contains('\n'), "not one command: {command}");
        // Without a shell in between a signal reaches what the user started.
        let mut server = Server::of(self.shell(&format!("exec env {command}")), self.path(name));
        server.start();
        server
    }

    /// A client of the controller that was started here.
    pub(crate) fn client(&self) -> Client {
        let settings = Settings {
            ca_file: None,
            address: format!("http://127.0.0.1:{}", self.port),
            email: None,
            token: None,
            timeout: PATIENCE,
        };
        Client::new(&settings).unwrap()
    }
}

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
