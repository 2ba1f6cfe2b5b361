//! The page about who may do what has all of it on one screen: what stands there is typed word by word, and shows what it
//! says that it shows.
//!
//! Names, addresses and ports in it are fixed. So it has networks, mounts and processes of its own, which end with the
//! first of those processes, whatever becomes of this test.

use crate::{
    desk::root,
    readme::{blocks, shows},
    world::binary_path,
};
use std::{fs, path::Path, process::Stdio, time::Duration};
use tokio::{process::Command, time::timeout};

/// The section's heading, and that of the next one.
const SECTION: (&str, &str) = ("## All of it on one screen\n", "\n## ");
/// So many lines are a screen.
const SCREEN: usize = 45;
/// Some twenty programs, on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(100);

/// What runs in namespaces of its own. It has an empty `/run`, where `ip` keeps the names of networks.
fn apart(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let before = "mount -t tmpfs test /run && ip link set lo up || exit";
    command.args(["bash", "-c", &format!("exec 2>&1\n{before}\n{script}")]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Why this machine cannot run it, if so.
async fn cannot() -> Option<String> {
    let tried =
        apart("ip netns add far && ip link add to-far type veth peer name to-near netns far")
            .output();
    match tried.await {
        Err(error) => Some(format!("there is no `unshare`: {error}")),
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(
            [tried.stdout, tried.stderr]
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .concat(),
        ),
    }
}

fn section() -> String {
    let page = fs::read_to_string(root().join("docs/access.md")).unwrap();
    let (heading, next) = SECTION;
    let (_, section) = page.split_once(heading).expect("the section is there");
    section.split_once(next).map_or(section, |(section, _)| section).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_it_on_one_screen_does_what_it_says() {
    let blocks = blocks(&section());
    let [block] = &blocks[..] else { panic!("one screen is one block, and not {}", blocks.len()) };
    assert!(block.text.lines().count() <= SCREEN, "it does not fit on one screen");
    if let Some(why) = cannot().await {
        println!("left out: only root may make networks, with `unshare` and `ip`: {why}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    for name in ["controller", "executor"] {
        binary_path(name); // which is built where it is missing
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_octavius")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut typed = apart(&block.text);
    typed.env_clear().env("PATH", path).env("HOME", home.path()).env("LANG", "C.UTF-8");
    let typed = timeout(PATIENCE, typed.current_dir(folder.path()).output()).await;
    let said = ["controller.out", "executor.out", "version.txt"].map(|name| {
        let said = fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        format!("\n{name}: {said}")
    });
    let said = said.concat();
    let typed = typed.unwrap_or_else(|_| panic!("it does not end{said}")).unwrap();
    let output = String::from_utf8(typed.stdout).unwrap();
    let shown = block.shows.as_deref().expect("it shows something");
    assert!(shows(shown, &output), "shown:\n{shown}\nseen:\n{output}{said}");
}
