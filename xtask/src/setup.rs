//! What tests need of this machine, and Rust does not bring: looked for, and installed where that can be done.

use crate::cluster;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A program, the package of Debian's that has it, and what needs it.
const NEEDED: [(&str, &str, &str); 5] = [
    ("etcd", "etcd-server", "the store of several controllers"),
    ("zsh", "zsh", "its completion of commands"),
    ("fish", "fish", "its completion of commands"),
    ("shellcheck", "shellcheck", "what is wrong with scripts"),
    ("ip", "iproute2", "an executor in a network of its own"),
];

/// Installs what is missing, and says so; touches nothing else.
pub(crate) fn run(root: &Path) -> Result<()> {
    programs()?;
    cluster::install(root)
}

fn programs() -> Result<()> {
    let found = NEEDED.map(|(program, ..)| find(program));
    for ((program, _, what), path) in NEEDED.iter().zip(&found) {
        let place = path.as_ref().map_or("missing".into(), |path| path.to_string_lossy());
        println!("{program} ({what}): {place}");
    }
    let missing = NEEDED.iter().zip(&found).filter(|(_, found)| found.is_none());
    let missing: Vec<_> = missing.map(|((program, package, _), _)| (*program, *package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let may = rustix::process::geteuid().is_root();
    if let Some(why) = cannot(&missing, may, find("apt-get").is_some()) {
        bail!(why);
    }
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    println!("installing {}", packages.join(", "));
    if packages.contains(&"etcd-server") && Path::new("/run/systemd/system").exists() {
        // The package would start an etcd of its own, now and at each boot. Tests want the program alone.
        succeeds(Command::new("systemctl").args(["mask", "etcd.service"]))?;
        println!("etcd.service is masked, so that it is not started: `systemctl unmask etcd`");
    }
    let apt = || {
        let mut apt = Command::new("apt-get");
        // In this runlevel no service is started where it is not systemd that starts them.
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        apt
    };
    succeeds(apt().args(["update", "--quiet=2"]))?;
    let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
    succeeds(apt().args(install).args(&packages))?;
    for (program, package) in missing {
        ensure!(find(program).is_some(), "{package} is installed, and there is no `{program}`");
    }
    Ok(())
}

/// Why what is missing cannot be installed here, and who can do it; nothing where it can.
fn cannot(missing: &[(&str, &str)], is_root: bool, has_apt: bool) -> Option<String> {
    let (programs, packages): (Vec<_>, Vec<_>) = missing.iter().copied().unzip();
    let (programs, packages) = (programs.join(", "), packages.join(" "));
    match (is_root, has_apt) {
        (true, true) => None,
        (false, true) => Some(format!(
            "{programs}: missing, and only root can install it: run `cargo xtask setup` as root, \
             or `apt-get install --no-install-recommends {packages}`"
        )),
        (_, false) => Some(format!(
            "{programs}: missing, and there is no apt-get: install it by this system's own means \
             (Debian's packages are {packages}; etcd 3.4 or newer), so that it is found in PATH"
        )),
    }
}

/// Where a program is, among those that can be started by their name.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_install_it_is_told_what_to_install() {
        let missing = [("etcd", "etcd-server"), ("fish", "fish")];
        assert_eq!(cannot(&missing, true, true), None);
        let unable = [(false, true), (false, false), (true, false)];
        for why in unable.map(|(root, apt)| cannot(&missing, root, apt).unwrap()) {
            assert!(why.starts_with("etcd, fish: missing"), "{why}");
            assert!(why.contains("etcd-server"), "{why}");
        }
    }

    #[test]
    fn a_program_is_found_by_its_name() {
        assert!(find("sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find("no-program-of-this-name"), None);
    }
}
