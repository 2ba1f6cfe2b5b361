//! Secrets: they reach the job's program byte for byte, and nobody else.

use crate::{user::User, world::World};
use octavius_client::v1::ExecutionState;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const PLANTED: &str = "S3cr3t-7f1c-Zq/ä?&=";
const USERS_TOKEN: &str = "T0ken-of-the-user-5b0d/+==";
const EXECUTORS_TOKEN: &str = "T0ken-of-the-executor-9e4a/+==";

fn declares(names: &[&str]) -> Value {
    let secret = |name: &&str| json!({ "name": name });
    json!({ "env_vars": { "secrets": names.iter().map(secret).collect::<Vec<_>>() } })
}

/// The forms in which a value could stand somewhere.
fn forms(value: &str) -> Vec<String> {
    let bytes: Vec<String> = value.bytes().map(|byte| byte.to_string()).collect();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url = |byte: u8| {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    let mut forms = vec![value.to_owned(), value.bytes().map(url).collect(), bytes.join(", "), hex];
    // In its three alignments, without the characters that depend on what stands beside it.
    for before in 0..3 {
        let padded = [&vec![b' '; before][..], value.as_bytes()].concat();
        let encoded = data_encoding::BASE64_NOPAD.encode(&padded);
        forms.push(encoded[(before * 8).div_ceil(6)..encoded.len() - 2].to_owned());
    }
    // A part that says enough.
    forms.push(value[..11].to_owned());
    forms
}

/// Asserts that no secret and no token stands in any of these in any form.
fn assert_nowhere(places: &[(String, Vec<u8>)]) {
    assert!(places.iter().any(|(_, bytes)| !bytes.is_empty()));
    let forms: Vec<_> =
        [PLANTED, USERS_TOKEN, EXECUTORS_TOKEN].into_iter().flat_map(forms).collect();
    for (place, bytes) in places {
        let text = String::from_utf8_lossy(bytes);
        for form in &forms {
            assert!(!text.contains(form), "`{form}` stands in {place}");
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    found.push((path.display().to_string(), fs::read(&path).unwrap_or_default()));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}

/// The command lines of all processes, and the environments of ours.
pub(crate) fn processes() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_number = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if !is_number || line.is_empty() {
            continue;
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        if text.contains("controller\0start") || text.contains("executor\0") {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            // What an executor has just forked may have become a job's program in between, of another test, too.
            let now = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if now == line {
                found.push((format!("the environment of {text}"), environment));
            }
        }
        found.push(("a command line".to_owned(), line));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_nowhere_but_in_the_environment_of_its_program() {
    let mut world = World::traced();
    world.configure_executor("access_token", EXECUTORS_TOKEN.into());
    world.start_all();
    world.ready().await;
    let user = User::of(&world).with("ACCESS_TOKEN", USERS_TOKEN);
    // What it says of the value shows that it has it, and not what it is.
    let script = r#"printf %s "$TOP_SECRET_1" | cksum; printenv TOP_SECRET_1 | wc -c
        case "$how" in bad) exit 3;; long) sleep 300;; esac"#;
    let mut job = declares(&["TOP_SECRET_1"]);
    job["env_vars"]["args"] = json!([{ "name": "how", "required": true }]);
    job["retry"] = json!({ "attempts": 2, "pause": "100ms" });
    user.job("quiet", script, job).await;
    let missing = User::of(&world);
    missing.file(
        "missing.json",
        &json!({
            "name": "missing", "command": ["/nowhere/at-all"],
            "env_vars": declares(&["TOP_SECRET_1"])["env_vars"],
        }),
    );
    missing.says(&["create", "-f", "missing.json"]).await;

    let mut said = Vec::new();
    let mut hear = |ran: crate::user::Ran| {
        said.push(("a command's output".to_owned(), [&ran.out[..], ran.err.as_bytes()].concat()));
        ran
    };
    let refused = hear(user.run(&["execute", "quiet", "how=well"]).await);
    assert_eq!(refused.status, Some(3), "{refused:?}");
    assert!(refused.err.contains("`octavius secret set quiet TOP_SECRET_1`"), "{refused:?}");
    fs::write(user.path("value"), PLANTED).unwrap();
    let set = ["secret", "set", "quiet", "TOP_SECRET_1"];
    let wrong = hear(user.run(&[&set[..], &["--from-file", "value.txt"]].concat()).await);
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
    let short = hear(user.run_with_input(&[&set[..], &["-"]].concat(), "S3cr3t").await);
    assert!(short.status == Some(3) && short.err.contains("--unmasked"), "{short:?}");
    let done = hear(user.run(&[&set[..], &["--from-file", "value"]].concat()).await);
    assert_eq!(done.status, Some(0), "{done:?}");
    let line = format!("{PLANTED}\n");
    for words in [
        &["secret", "set", "missing", "TOP_SECRET_1", "--stdin"],
        &[set[0], set[1], set[2], set[3], "-"],
    ] {
        let done = hear(user.run_with_input(words, &line).await);
        assert_eq!(done.status, Some(0), "{done:?}");
    }
    hear(user.run(&["secret", "list", "quiet", "-o", "json"]).await);
    hear(user.run(&["describe", "quiet", "-o", "yaml"]).await);

    let well = hear(user.run(&["execute", "quiet", "how=well", "--follow"]).await);
    assert_eq!(well.status, Some(0), "{well:?}");
    assert!(well.text().ends_with(&format!("\n{}\n", PLANTED.len() + 1)), "{well:?}");
    let bad = hear(user.run(&["execute", "quiet", "how=bad", "--follow", "-o", "json"]).await);
    assert_eq!(bad.status, Some(1), "{bad:?}");
    let tried = hear(user.run(&["status", "@last", "-o", "json"]).await);
    assert!(tried.text().contains("\"attempt\": 2"), "{tried:?}");
    let lost = hear(user.run(&["execute", "missing", "--follow"]).await);
    assert_eq!(lost.status, Some(1), "{lost:?}");
    let long = user.execute(&["quiet", "how=long"]).await;
    world
        .reaches(&long, |shown| shown.state() == ExecutionState::Running && shown.log_size > 0)
        .await;
    assert_nowhere(&processes());
    // Both servers are killed in the middle, and learn of it again; what waited comes with its value.
    world.executor.kill();
    let waiting = user.execute(&["quiet", "how=well"]).await;
    world.controller.kill();
    world.controller.start();
    world.executor.start();
    let over = world.over(&waiting).await;
    assert_eq!(over.state(), ExecutionState::Succeeded, "{over:?}");
    assert!(
        String::from_utf8(world.log(&waiting).await)
            .unwrap()
            .starts_with(well.text().lines().next().unwrap())
    );
    hear(user.run(&["status", &long, "-o", "json"]).await);
    hear(user.run(&["cancel", &long]).await);
    world.over(&long).await;
    hear(user.run(&["executions", "-o", "json"]).await);
    hear(user.run(&["secret", "unset", "quiet", "TOP_SECRET_1"]).await);
    let again = hear(user.run(&["secret", "unset", "quiet", "TOP_SECRET_1"]).await);
    assert_eq!(again.status, Some(3), "{again:?}");
    said.push(("the metrics".to_owned(), world.metrics().await.into_bytes()));
    said.push(("what the controller says".to_owned(), world.controller.said().into_bytes()));
    said.push(("what the executor says".to_owned(), world.executor.said().into_bytes()));
    assert_nowhere(&said);
    assert_nowhere(&processes());
    let mut kept = files(&world.path(""));
    // The one place where its token has to stand.
    let (_, file) =
        kept.extract_if(.., |(path, _)| path.ends_with("executor_config.json")).next().unwrap();
    assert!(String::from_utf8(file).unwrap().contains(EXECUTORS_TOKEN));
    let trace = kept.iter().find(|(path, _)| path.ends_with("controller.log")).unwrap();
    assert!(String::from_utf8_lossy(&trace.1).contains("TRACE"), "nothing is traced");
    assert_nowhere(&kept);
}

/// What a job prints of it, in two writes, in base64 and escaped, is masked before it leaves the executor, also by one that
/// was killed in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_job_prints_is_in_no_log() {
    let mut world = World::traced();
    world.controller.start();
    world.executor.start();
    world.ready().await;
    let user = User::of(&world);
    let gate = world.path("gate");
    let leak = format!(
        r#"echo "v=$TOP_SECRET_1"; printf %s "$TOP_SECRET_1" | base64; printf 'S3cr3t'
        while [ ! -e '{}' ]; do sleep 0.05; done; printf -- '-7f1c-Zq/ä?&=\n'
        echo u=S3cr3t''-7f1c-Zq%2F%C3%A4%3F%26%3D; exit 1"#,
        gate.display()
    );
    user.job("leak", &leak, declares(&["TOP_SECRET_1"])).await;
    let set = ["secret", "set", "leak", "TOP_SECRET_1", "--stdin"];
    assert_eq!(user.run_with_input(&set, PLANTED).await.status, Some(0));
    let id = user.execute(&["leak"]).await;
    world.reaches(&id, |shown| shown.log_size > 0).await;
    world.executor.kill();
    fs::write(&gate, "").unwrap();
    world.executor.start();
    let over = world.over(&id).await;
    assert_eq!((over.state(), over.exit_code), (ExecutionState::Failed, Some(1)), "{over:?}");
    assert_eq!(over.log_cut, "", "{over:?}");
    let shown = user.says(&["getlogs", &id]).await;
    assert_eq!(shown.as_bytes(), world.log(&id).await);
    // What its last byte is in base64 depends on what follows.
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines,
        [
            "v=[masked]",
            "[masked]0=",
            "[masked]",
            "u=[masked]",
            "[octavius: 4 values of secrets are masked in this log]"
        ]
    );
    let status = user.says(&["status", &id, "-o", "json"]).await;
    // What the program wrote lies with the executor until its end is acknowledged.
    let attempts = world.path("state/attempts");
    let none = || async {
        let left = fs::read_dir(&attempts).unwrap().count();
        if left == 0 { Ok(()) } else { Err(format!("{left} attempts are kept")) }
    };
    crate::world::eventually(none).await.unwrap();
    world.controller.end().await;
    world.executor.end().await;
    let mut kept = files(&world.path(""));
    kept.extend([
        ("the log".to_owned(), shown.into_bytes()),
        ("the status".to_owned(), status.into_bytes()),
    ]);
    assert_nowhere(&kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_arrives_byte_for_byte() {
    let world = World::start().await;
    let user = User::of(&world);
    let script = "echo pid=$$; for n in p q r TOP_SECRET_1; do printenv $n | od -An -c; done; \
                  echo day=$(date +%Y)";
    let mut job = declares(&["TOP_SECRET_1"]);
    let argument = |name: &str| json!({ "name": name, "required": true });
    job["env_vars"]["args"] = ["p", "q", "r", "date"].map(argument).into();
    user.job("show", script, job).await;
    let set = ["secret", "set", "show", "TOP_SECRET_1", "-", "--unmasked"];
    assert_eq!(user.run_with_input(&set, "$$(x)\n").await.status, Some(0));
    let values = ["p=pa$$w0rd", "q=$(HOME)/x", "r=$(p)-$(nosuch)", "date=HIJACK", "--follow"];
    let ran = user.run(&[&["execute", "show"], &values[..]].concat()).await;
    assert_eq!(ran.status, Some(0), "{ran:?}");
    let text = ran.text();
    let lines: Vec<&str> = text.lines().collect();
    let spread = |value: &str| -> String {
        value.chars().map(|c| format!("   {c}")).chain(["  \\n".to_owned()]).collect()
    };
    assert!(lines[0].strip_prefix("pid=").unwrap().parse::<u32>().is_ok(), "{text}");
    assert_eq!(lines[1], spread("pa$$w0rd"));
    assert_eq!(lines[2], spread("$(HOME)/x"));
    assert_eq!(lines[3], spread("$(p)-$(nosuch)"));
    assert_eq!(lines[4], spread("$$(x)"));
    assert!(lines[5].strip_prefix("day=").unwrap().parse::<u32>().is_ok(), "{text}");
}

/// Values of arguments of the type `secret` are shown to nobody, and gone with the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_that_is_secret_is_shown_to_nobody_and_not_kept() {
    let mut world = World::traced();
    world.controller.start();
    world.executor.start();
    world.ready().await;
    let password = octavius_client::v1::Argument {
        name: "password".to_owned(),
        required: true,
        r#type: octavius_client::v1::ArgumentType::Secret.into(),
        ..Default::default()
    };
    let definition = octavius_client::v1::JobDefinition {
        name: "login".to_owned(),
        command: ["sh", "-c", "printf %s \"$password\" | wc -c"].map(str::to_owned).to_vec(),
        arguments: vec![password],
        ..Default::default()
    };
    world.client.create_job(definition).await.unwrap();
    let id = world.execute("login", &[("password", PLANTED)]).await;
    let over = world.over(&id).await;
    assert_eq!(over.arguments["password"], "[secret]");
    assert_eq!(String::from_utf8(world.log(&id).await).unwrap(), format!("{}\n", PLANTED.len()));
    let user = User::of(&world);
    let status = user.says(&["status", &id]).await;
    assert!(status.contains("password=\"[secret]\""), "{status}");
    // The attempt's folder goes when the end is acknowledged.
    let attempts = world.path("state/attempts");
    let none = || async {
        let left = fs::read_dir(&attempts).unwrap().count();
        if left == 0 { Ok(()) } else { Err(format!("{left} attempts are kept")) }
    };
    crate::world::eventually(none).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_nowhere(&files(&world.path("")));
}
