//! Completion, as a real shell does it.

use crate::{pty::Terminal, user::User, world::World};
use octavius_client::v1;
use std::{process::Command, time::Duration};
use tokio::time::Instant;

/// A bash with nothing of anybody's set-up, in which completion is switched on.
fn bash(user: &User) -> Terminal {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]);
    user.dress(&mut command);
    let mut terminal = Terminal::start(&command, 200);
    terminal.types("PS1='ready> '; bind 'set bell-style none'\n");
    terminal.types("source <(octavius completion bash) && echo source''d\n");
    terminal.shows("sourced");
    terminal.shows("ready> ");
    terminal
}

/// Presses Tab until `completed` stands there: where the controller is slow to answer, a shell is offered nothing.
fn completes(bash: &mut Terminal, completed: &str) {
    for _ in 0..6 {
        bash.types("\t");
        if bash.shows_within(completed, Duration::from_secs(5)) {
            return;
        }
    }
    bash.shows(completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bash_completes_commands_and_what_the_controller_knows() {
    let world = World::start().await;
    let user = User::of(&world);
    let argument = |name: &str| v1::Argument { name: name.to_owned(), ..v1::Argument::default() };
    let colour = v1::Argument {
        r#type: v1::ArgumentType::Enum.into(),
        allowed: vec!["green".to_owned(), "red".to_owned()],
        ..argument("colour")
    };
    let job = v1::JobDefinition {
        name: "greet-everybody".to_owned(),
        command: vec!["true".to_owned()],
        arguments: vec![colour, argument("count"), argument("name")],
        ..v1::JobDefinition::default()
    };
    world.client.create_job(job).await.unwrap();
    let id = user.execute(&["greet-everybody", "name=Ada"]).await;
    world.over(&id).await;
    user.says(&["config", "--cp-host", "h:1"]).await;
    user.says(&["config", "--context", "staging", "--cp-host", "h:1"]).await;

    let mut bash = bash(&user);
    for (typed, completed) in [
        ("octavius desc", "octavius describe "),
        ("octavius describe gr", "octavius describe greet-everybody "),
        ("octavius describe --job-name gr", "octavius describe --job-name greet-everybody "),
        ("octavius execute gr", "octavius execute greet-everybody "),
        ("octavius execute greet-everybody n", "octavius execute greet-everybody name="),
        ("octavius execute greet-everybody name=Ada cou", "name=Ada count="),
        ("octavius execute greet-everybody colour=g", "colour=green "),
        ("octavius executions --job gr", "octavius executions --job greet-everybody "),
        (&format!("octavius status {}", &id[..20]), &format!("octavius status {id} ")),
        (&format!("octavius wait {}", &id[..20]), &format!("octavius wait {id} ")),
        ("octavius delete gr", "octavius delete greet-everybody "),
        ("octavius update gr", "octavius update greet-everybody "),
        ("octavius secret set gr", "octavius secret set greet-everybody "),
        ("octavius secret list gr", "octavius secret list greet-everybody "),
        ("octavius secret unset gr", "octavius secret unset greet-everybody "),
        (&format!("octavius rerun {}", &id[..20]), &format!("octavius rerun {id} ")),
        ("octavius executions --executor test", "octavius executions --executor test-executor "),
        ("octavius config use st", "octavius config use staging "),
        ("octavius --context st", "octavius --context staging "),
        (
            "octavius execute greet-everybody --exit",
            "octavius execute greet-everybody --exit-code ",
        ),
    ] {
        bash.types(typed);
        completes(&mut bash, completed);
        bash.types("\u{15}\n"); // the line is thrown away
        bash.shows("ready> ");
    }
    // A second one shows what there is to choose from.
    bash.types("octavius execute greet-everybody co\t");
    completes(&mut bash, "colour=");
    bash.shows("count=");
    bash.types("\u{15}exit\n");
    bash.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_is_told_nothing_and_soon_where_nobody_answers() {
    // One who refuses, one who never answers, and no settings at all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    let nobody = format!("127.0.0.1:{}", octavius_testbed::ports::free_port());
    for user in
        [User::new().with("CP_HOST", &silent), User::new().with("CP_HOST", &nobody), User::new()]
    {
        let user = user.with("OCTAVIUS_COMPLETE", "bash").with("_CLAP_COMPLETE_INDEX", "2");
        // Who asks for anything else waits for longer than this test.
        let user = user.with("CONNECTION_TIMEOUT_SECS", "600");
        let begun = Instant::now();
        let ran = user.run(&["--", "octavius", "describe", "gr"]).await;
        assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed()); // 0.8 s, on a machine that is not busy
        assert_eq!((ran.text().as_str(), ran.err.as_str()), ("", ""), "{ran:?}");
    }
}

#[test]
fn each_shell_can_read_its_script() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Command::new(env!("CARGO_BIN_EXE_octavius"))
            .args(["completion", shell])
            .output()
            .unwrap();
        assert!(script.status.success(), "{script:?}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        std::fs::write(&file, &script.stdout).unwrap();
        let read = Command::new(shell).arg("-n").arg(&file).output().unwrap_or_else(|error| {
            panic!("{shell} cannot be started ({error}): `cargo xtask setup` installs it")
        });
        assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
    }
}
