//! One member: a process of etcd.

use super::{EtcdOptions, Tls, free_port};
use crate::{http, proxy::Proxy};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// So many lines tell why it does not serve.
const LAST: usize = 12;

/// A process of etcd, which is started again and again at the same address with the same data.
#[derive(Debug)]
pub struct Member {
    command: Command,
    running: Option<Child>,
    endpoint: String,
    /// Where it can be asked without TLS, as `host:port`.
    admin: String,
    output: PathBuf,
}

impl Member {
    /// Those of one cluster, which know each other.
    pub(super) fn cluster(
        folder: &Path,
        options: &EtcdOptions,
        tls: Option<&Tls>,
        peers: &[String],
        ways: &[Proxy],
    ) -> Vec<Self> {
        let own = |port: u16| format!("127.0.0.1:{port}");
        let way = |number: usize| ways.get(number).map_or(&peers[number], |way| &way.address);
        let all = (0..peers.len()).map(|number| format!("m{number}=http://{}", way(number)));
        let all = all.collect::<Vec<_>>().join(",");
        let flags = options.flags(folder);
        let member = |(number, peer): (usize, &String)| {
            let admin = own(free_port());
            let mut listen = format!("http://{admin}");
            let endpoint = match tls {
                None => listen.clone(),
                Some(_) => format!("https://{}", own(free_port())),
            };
            if tls.is_some() {
                listen = format!("{endpoint},{listen}");
            }
            let mut command = Command::new("etcd");
            command.current_dir(folder).args(&flags);
            command.arg(format!("--name=m{number}"));
            command.arg(format!("--data-dir={}", folder.join(format!("m{number}")).display()));
            command.arg(format!("--listen-client-urls={listen}"));
            command.arg(format!("--advertise-client-urls={endpoint}"));
            command.arg(format!("--listen-peer-urls=http://{peer}"));
            command.arg(format!("--initial-advertise-peer-urls=http://{}", way(number)));
            command.arg(format!("--initial-cluster={all}"));
            command.arg(format!("--initial-cluster-token={}", peers[0]));
            command.args(["--initial-cluster-state=new", "--logger=zap", "--log-outputs=stderr"]);
            command.args(tls.iter().flat_map(|tls| tls.server_flags()));
            let output = folder.join(format!("m{number}.out"));
            let file = fs::File::options().append(true).create(true).open(&output).unwrap();
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
            Self { command, running: None, endpoint, admin, output }
        };
        peers.iter().enumerate().map(member).collect()
    }

    /// Where clients reach it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Where it can be asked without TLS, as `host:port`.
    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    /// Starts it, if it does not run; does not wait: see [`super::Etcd::serves`].
    ///
    /// # Panics
    ///
    /// If there is no etcd on this machine.
    pub fn start(&mut self) {
        if self.running.is_none() {
            let child = self.command.spawn().unwrap_or_else(|error| {
                panic!("etcd cannot be started ({error}): `cargo xtask setup` installs it")
            });
            self.running = Some(child);
        }
    }

    /// SIGKILL: no goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP: it does nothing until [`Self::thaw`], and its connections stay.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The id of its process; none where it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// Whether it was started, and not killed.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// The last lines of what it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        let said = fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(LAST)..].join("\n")
    }

    /// How it ended, if it ended by itself.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut()?.try_wait().unwrap()
    }

    /// Whether it knows a leader, and answers.
    pub(super) async fn is_healthy(&self) -> bool {
        let answer = http::get(&self.admin, "/health").await;
        answer.is_ok_and(|answer| answer["health"] == "true")
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.running {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
