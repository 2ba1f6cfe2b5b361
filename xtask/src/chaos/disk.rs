//! The controller's disk: a file system of its own that can be filled, and a store that does what a file says.

use anyhow::{Context as _, Result};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::Instant;

/// How large it is.
const SIZE: &str = "size=256m";

/// The disk.
#[derive(Debug)]
pub(super) struct Disk {
    mount: PathBuf,
    /// Why it is no file system of its own, if it is none.
    pub(super) why_not_full: Option<String>,
    orders: PathBuf,
    began: Instant,
    /// When something was last wrong with it, in milliseconds since `began`; the end of time while it is.
    wrong: AtomicU64,
}

impl Disk {
    /// Mounts it at `mount`; the store's orders are in the file `orders`.
    pub(super) fn new(mount: &Path, orders: &Path) -> Result<Self> {
        let mut command = Command::new("mount");
        let command = command.args(["-t", "tmpfs", "-o", SIZE, "octavius-chaos"]).arg(mount);
        let mounted = command.stderr(Stdio::piped()).output();
        let why_not_full = match mounted {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        };
        Ok(Self {
            mount: mount.to_owned(),
            why_not_full,
            orders: orders.to_owned(),
            began: Instant::now(),
            wrong: AtomicU64::new(0),
        })
    }

    /// The store does so from now on.
    pub(super) fn order(&self, orders: &serde_json::Value) -> Result<()> {
        self.wrong.store(u64::MAX, Relaxed);
        let making = self.orders.with_extension("new");
        fs::write(&making, orders.to_string())?;
        fs::rename(making, &self.orders).context("the store's orders")
    }

    /// Takes all that is left; whether there is a disk that can be filled.
    pub(super) fn fill(&self) -> Result<bool> {
        if self.why_not_full.is_some() {
            return Ok(false);
        }
        self.wrong.store(u64::MAX, Relaxed);
        let mut ballast = fs::File::create(self.ballast())?;
        // The last bytes, too: until not even one more fits.
        for size in [1 << 20, 4096, 1] {
            let piece = vec![b'x'; size];
            while ballast.write_all(&piece).is_ok() {}
        }
        Ok(true)
    }

    /// Nothing is wrong with it from now on.
    pub(super) fn heal(&self) -> Result<()> {
        let _ = fs::remove_file(self.ballast()); // there may be none
        self.order(&serde_json::json!({}))?;
        self.wrong.store(self.now(), Relaxed);
        Ok(())
    }

    /// Whether nothing was wrong with it for so long.
    pub(super) fn is_well_for(&self, time: Duration) -> bool {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.now() >= self.wrong.load(Relaxed).saturating_add(millis)
    }

    /// Unmounts it. With `kept` what is on it is copied there before.
    pub(super) fn end(&self, kept: Option<&Path>) -> Result<()> {
        if self.why_not_full.is_some() {
            return Ok(());
        }
        if let Some(kept) = kept {
            let _ = fs::remove_file(self.ballast());
            Command::new("cp").arg("-a").arg(&self.mount).arg(kept).status()?;
        }
        Command::new("umount").arg("--lazy").arg(&self.mount).status()?;
        Ok(())
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
