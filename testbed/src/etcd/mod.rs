//! Real etcd, of one member or three: started, killed, frozen, filled and asked from outside.

mod admin;
mod history;
mod member;
mod tls;

pub use history::{Change, History};
pub use member::Member;
pub use tls::Tls;

use crate::{ports::free_port, proxy::Proxy};
use std::{path::Path, time::Duration};
use tokio::time::{Instant, sleep};

/// etcd that was started serves within this.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is asked whether it serves.
const LOOK: Duration = Duration::from_millis(20);
/// So often other ports are tried, if somebody else took one in between.
const TRIES: u32 = 5;

/// What is not as etcd has it by itself.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// How many members there are: 1 or 3. Default: 1.
    pub members: usize,
    /// Whether the data is in memory. Default: yes; a disk's time is measured on a disk.
    pub fast: bool,
    /// How large the data may get, in bytes. Default: etcd's own, 2 GiB.
    pub quota_backend_bytes: Option<u64>,
    /// How much of the past is kept, for example `1s` or `10m`. Default: all of it.
    pub auto_compaction: Option<&'static str>,
    /// For how long a login is good without being used, in whole seconds. Default: etcd's own, 300 s.
    pub auth_token_ttl: Option<Duration>,
    /// Whether logins are tokens that are signed, of which each change of users makes all older ones worthless. Default:
    /// no, members remember whom they gave one.
    pub signed_tokens: bool,
    /// Whether clients must come with TLS, and a certificate: see [`Etcd::tls`]. Default: no.
    pub tls: bool,
    /// Whether members reach each other by ways that can be cut: see [`Etcd::ways`]. Default: no.
    pub with_ways: bool,
    /// Other flags, as etcd takes them.
    pub flags: Vec<String>,
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            members: 1,
            fast: true,
            quota_backend_bytes: None,
            auto_compaction: None,
            auth_token_ttl: None,
            signed_tokens: false,
            tls: false,
            with_ways: false,
            flags: Vec::new(),
        }
    }
}

impl EtcdOptions {
    fn flags(&self, folder: &Path) -> Vec<String> {
        let mut flags = self.flags.clone();
        flags.extend(self.quota_backend_bytes.map(|size| format!("--quota-backend-bytes={size}")));
        if let Some(kept) = self.auto_compaction {
            flags.push(format!("--auto-compaction-retention={kept}"));
        }
        if let Some(ttl) = self.auth_token_ttl {
            flags.push(format!("--auth-token-ttl={}", ttl.as_secs()));
        }
        if self.signed_tokens {
            let key = folder.join("tokens.key");
            std::fs::write(&key, rand::random::<[u8; 32]>()).unwrap();
            let key = key.display();
            flags.push(format!("--auth-token=jwt,priv-key={key},sign-method=HS256,ttl=10m"));
        }
        flags
    }
}

/// All members. They are killed when this goes, and their data goes with them.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    ways: Vec<Proxy>,
    tls: Option<Tls>,
    /// The password of etcd's own `root`, once logins are wanted.
    root: Option<String>,
    /// After the members: what is in there is theirs.
    folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts it, and waits until each member serves.
    ///
    /// # Panics
    ///
    /// If there is no etcd on this machine, or it does not serve within a minute; with what it said.
    pub async fn start(options: EtcdOptions) -> Self {
        for _ in 1..TRIES {
            match Self::try_start(&options).await {
                Ok(etcd) => return etcd,
                Err(why) if why.contains("address already in use") => {}
                Err(why) => panic!("{why}"),
            }
        }
        Self::try_start(&options).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same for who cannot wait for a future: holds the thread that it is called on.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    #[must_use]
    pub fn start_here(options: EtcdOptions) -> Self {
        let start = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(Self::start(options))
        };
        // A thread that runs tasks may not wait for others.
        let started = std::thread::scope(|scope| scope.spawn(start).join());
        started.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    async fn try_start(options: &EtcdOptions) -> Result<Self, String> {
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("octavius-etcd-");
        let memory = Path::new("/dev/shm");
        let folder = match options.fast && memory.is_dir() {
            true => folder.tempdir_in(memory),
            false => folder.tempdir(),
        };
        let folder = folder.unwrap();
        let tls = options.tls.then(|| Tls::make(folder.path()));
        let peers: Vec<_> =
            (0..options.members).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        let mut ways = Vec::new();
        for peer in peers.iter().filter(|_| options.with_ways) {
            ways.push(Proxy::to(peer).await);
        }
        let members = Member::cluster(folder.path(), options, tls.as_ref(), &peers, &ways);
        let mut etcd = Self { members, ways, tls, root: None, folder };
        for member in &mut etcd.members {
            member.start();
        }
        etcd.healthy().await?;
        Ok(etcd)
    }

    /// Where clients reach it, one for each member, for example `http://127.0.0.1:12345`.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint().to_owned()).collect()
    }

    /// Where all that it keeps lies, and what it has said.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What clients need where [`EtcdOptions::tls`] is wanted.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        self.tls.as_ref().expect("this etcd was started without TLS")
    }

    /// For each member the way by which all others come to it, where [`EtcdOptions::with_ways`] is wanted. Whoever takes
    /// them keeps them for as long as the members are to reach each other.
    pub fn ways(&mut self) -> Vec<Proxy> {
        std::mem::take(&mut self.ways)
    }

    /// One of them, from 0.
    pub fn member(&mut self, number: usize) -> &mut Member {
        &mut self.members[number]
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// All of them.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Kills a member, starts it with what it has on disk, and waits until it serves.
    pub async fn restart(&mut self, number: usize) {
        self.members[number].kill();
        self.members[number].start();
        self.serves().await;
    }

    /// Waits until each member that was started serves: it knows a leader, and answers.
    ///
    /// # Panics
    ///
    /// If one does not within a minute; with what it said.
    pub async fn serves(&mut self) {
        self.healthy().await.unwrap_or_else(|why| panic!("{why}"));
    }

    /// The same as [`Self::serves`], for who goes on nevertheless.
    ///
    /// # Errors
    ///
    /// Why it does not serve, with what it said.
    pub async fn healthy(&mut self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        for member in self.members.iter_mut().filter(|member| member.runs()) {
            while !member.is_healthy().await {
                if let Some(status) = member.ended() {
                    return Err(format!("etcd ended with {status}: {}", member.said()));
                }
                if Instant::now() >= until {
                    let said = member.said();
                    return Err(format!("etcd does not serve after {PATIENCE:?}: {said}"));
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
