//! What people see and are asked at a terminal, and what nobody is asked without one.

use crate::{user::User, world::World};
use octavius_client::v1::{self, ExecutionState};
use serde_json::json;

/// A job with a required argument of each kind that is asked for in its own way, and one that is not required.
fn greet() -> v1::JobDefinition {
    let argument = |name: &str, kind: v1::ArgumentType| v1::Argument {
        name: name.to_owned(),
        required: true,
        r#type: kind.into(),
        ..v1::Argument::default()
    };
    let name = argument("name", v1::ArgumentType::String);
    let title = argument("title", v1::ArgumentType::Enum);
    let note = argument("note", v1::ArgumentType::String);
    v1::JobDefinition {
        name: "greet".to_owned(),
        command: ["sh", "-c", "echo \"hello $title $name, ${#key}\""].map(str::to_owned).to_vec(),
        arguments: vec![
            v1::Argument { description: "Whom to greet".to_owned(), ..name },
            v1::Argument { allowed: vec!["Dr.".to_owned(), "Prof.".to_owned()], ..title },
            argument("key", v1::ArgumentType::Secret),
            v1::Argument { required: false, ..note },
        ],
        ..v1::JobDefinition::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_arguments_are_asked_for_at_a_terminal_and_secret_ones_are_not_shown() {
    let world = World::start().await;
    let user = User::of(&world);
    world.client.create_job(greet()).await.unwrap();

    let mut terminal = user.at_terminal(&["execute", "greet", "--follow"], 100);
    terminal.shows("name (Whom to greet): ");
    terminal.types("Ada\n");
    terminal.shows("title (one of Dr., Prof.): ");
    terminal.types("Dr.\n");
    terminal.shows("key (not shown while it is typed): ");
    terminal.types("s3cret-s3cret\n");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(0), "{seen}");
    assert!(seen.contains("hello Dr. Ada, 13\r\n"), "{seen}");
    assert!(!seen.contains("s3cret") && !seen.contains("note"), "{seen}");

    // What is given is not asked for.
    let words = ["execute", "greet", "name=Ada", "title=Dr.", "key=s3cret-s3cret", "--wait"];
    let (seen, status) = user.at_terminal(&words, 100).end();
    assert_eq!((status, seen.contains("(")), (Some(0), false), "{seen}");

    // Without a terminal nobody is asked: the controller names what is missing.
    let ran = user.run(&["execute", "greet", "name=Ada"]).await;
    assert_eq!((ran.status, ran.out.len()), (Some(3), 0), "{ran:?}");
    assert!(ran.err.contains("title") && ran.err.contains("key"), "{ran:?}");
    // Neither is whoever reads with a program.
    let terminal = user.at_terminal(&["execute", "greet", "name=Ada", "-o", "json"], 100);
    let (seen, status) = terminal.end();
    assert_eq!((status, seen.contains("): ")), (Some(3), false), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_value_of_a_secret_is_asked_for_and_not_shown_while_it_is_typed() {
    let world = World::start().await;
    let user = User::of(&world);
    let secrets = json!({ "env_vars": { "secrets": [{ "name": "TOKEN" }] } });
    user.job("deploy", "printf %s \"$TOKEN\" | od -An -c", secrets).await;
    let set = ["secret", "set", "deploy", "TOKEN"];

    let mut terminal = user.at_terminal(&set, 100);
    terminal.shows("Value of TOKEN (not shown): ");
    terminal.types("S3cr3t\u{3}"); // Ctrl-C, where the terminal does not echo
    let (seen, status) = terminal.end();
    assert_eq!((status, seen.contains("S3cr3t")), (Some(130), false), "{seen}");
    assert_eq!(user.run(&["execute", "deploy"]).await.status, Some(3), "nothing was set");

    let mut terminal = user.at_terminal(&set, 100);
    terminal.shows("Value of TOKEN (not shown): ");
    terminal.types("S3cr3t-$$\u{e9}x\u{7f}!\n");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(0), "{seen}");
    for part in ["S3c", "cr3t", "$$", "!"] {
        assert!(!seen.contains(part), "{part} was shown: {seen}");
    }
    let ran = user.run(&["execute", "deploy", "--follow"]).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    assert_eq!(ran.text(), "   S   3   c   r   3   t   -   $   $ 303 251   !\n", "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_asks_for_what_is_missing_and_before_it_overwrites() {
    let user = User::new();
    let mut terminal = user.at_terminal(&["config"], 100);
    terminal.shows("Controller (HOST:PORT): ");
    terminal.types("localhost:3000\n");
    terminal.shows("E-mail (empty for none): ");
    terminal.types("ada@example.com\n");
    terminal.shows("Token (empty for none): ");
    terminal.types("t0p-1x\u{7f}\n");
    let (seen, status) = terminal.end();
    assert_eq!((status, seen.contains("t0p")), (Some(0), false), "{seen}");
    let file = user.path(".config/octavius/octavius_client.yaml");
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(
        first.contains("ACCESS_TOKEN: t0p-1\n") && first.contains("ada@example.com"),
        "{first}"
    );

    let again = ["config", "--cp-host", "h:1"];
    let mut terminal = user.at_terminal(&again, 100);
    terminal.shows("is there already. Overwrite it? [y/N] ");
    terminal.types("n\n");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(2), "{seen}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);

    let mut terminal = user.at_terminal(&again, 100);
    terminal.shows("[y/N] ");
    terminal.types("y\n");
    terminal.shows("Token (empty for none): ");
    terminal.types("\u{3}"); // Ctrl-C, where the terminal does not echo
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(130), "{seen}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_fit_the_terminal_and_colour_is_for_terminals_alone() {
    let world = World::start().await;
    let user = User::of(&world);
    let about = "Says hello to everybody who is named, again and again, until nobody is left";
    user.job("greet", "true", json!({ "description": about })).await;
    let id = user.execute(&["greet"]).await;
    world.over(&id).await;
    for columns in [40, 60, 80, 120] {
        for command in ["list", "executions", "executors"] {
            let (seen, status) = user.at_terminal(&[command], columns).end();
            assert_eq!(status, Some(0), "{seen}");
            let plain = without_colour(&seen);
            let widest = plain.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|width| width <= columns.into()), "{columns}\n{plain}");
            assert!(plain.lines().count() >= 2, "{plain}");
        }
    }
    assert!(user.says(&["list"]).await.contains(about), "cut where no terminal reads");
    let (seen, _) = user.at_terminal(&["executions"], 120).end();
    assert!(seen.contains("\u{1b}["), "no colour at a terminal: {seen}");
    let plain = User::of(&world).with("NO_COLOR", "1");
    let (seen, _) = plain.at_terminal(&["executions"], 120).end();
    assert!(!seen.contains('\u{1b}') && seen.contains("succeeded"), "{seen}");
    let utc = user.says(&["status", &id, "--utc"]).await;
    assert!(utc.contains("+00:00 ("), "{utc}");
    let local = User::of(&world).with("TZ", "Asia/Kolkata");
    let told = local.says(&["status", &id]).await;
    let has_zones = std::path::Path::new("/usr/share/zoneinfo/Asia/Kolkata").exists();
    assert_eq!(told.contains("+05:30 ("), has_zones, "{told}");
}

/// `text` without the sequences that colour it.
fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        plain += before;
        rest = sequence.split_once('m').map_or("", |(_, behind)| behind);
    }
    plain + rest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_at_a_terminal_ends_the_reading_and_says_how_to_go_on() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    user.job("good", "echo out", json!({})).await;

    // Nobody is there to run it: who follows is told why nothing comes.
    let mut terminal = user.at_terminal(&["execute", "good", "--follow"], 100);
    terminal.shows("octavius: pending: no executor has registered");
    terminal.types("\u{3}");
    let (seen, status) = terminal.end();
    assert_eq!(status, Some(130), "{seen}");
    let id = user.says(&["executions", "-o", "name"]).await.trim_end().to_owned();
    assert!(seen.contains(&format!("octavius getlogs {id} --follow")), "{seen}");

    // Who comes back follows from before the start to the end, and gets the log once.
    let mut terminal = user.at_terminal(&["getlogs", &id, "--follow"], 100);
    world.executor.start();
    terminal.shows("out\r\n");
    let (seen, status) = terminal.end();
    assert_eq!((status, seen.matches("out\r\n").count()), (Some(0), 1), "{seen}");
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
}
