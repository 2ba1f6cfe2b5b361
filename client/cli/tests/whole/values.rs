//! Values of arguments: what is given arrives byte for byte, and what cannot be meant is refused before anything is stored.

use crate::{
    user::{User, arguments},
    world::World,
};
use octavius_client::{Kind, v1::ExecutionState};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write as _};

/// Values that were cut, joined or expanded on their way once, by somebody.
const VALUES: [(&str, &str); 13] = [
    ("a", "x=y=="),
    ("b", "one,two,three"),
    ("c", "it's \"q\""),
    ("d", "line1\nline2\n"),
    ("e", "  x "),
    ("f", "-rf --help"),
    ("g", ""),
    ("h", "é🙂नि"),
    ("i", "a\r\nb\r\n\t\\n"),
    ("j", "$(a) $a ${a} $$ `echo no` %s \\"),
    ("k", "--"),
    ("l", "=,"),
    ("m", "; touch \"$ran\"; $(touch \"$ran\") && exit 1 | cat > /dev/null #"),
];
/// Writes each value, and an end of line behind it.
const SHOW: &str = "for n in a b c d e f g h i j k l m; do printenv $n; done; true";
const NAMES: [&str; 13] = ["a!", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];

fn printed() -> String {
    VALUES.iter().map(|(_, value)| format!("{value}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_value_arrives_byte_for_byte() {
    let world = World::start().await;
    let user = User::of(&world);
    user.job("show", SHOW, arguments(&NAMES)).await;

    let words: Vec<String> = VALUES.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran = user.run(&[&["execute", "show"], &words[..], &["--follow"]].concat()).await;
    assert_eq!((ran.status, ran.text()), (Some(0), printed()), "{ran:?}");
    // In the old form values of the new one may stand, too, also behind `--`.
    let old = [&["execute", "--job-name", "show", "--follow", "--"], &words[..]].concat();
    let ran = user.run(&old).await;
    assert_eq!((ran.status, ran.text()), (Some(0), printed()), "{ran:?}");
    let old = ["execute", "--job-name", "show", "--args", "a=1=2,c=-x", "--args", "g=", "--follow"];
    let ran = user.run(&old).await;
    assert_eq!((ran.status, ran.text().as_str()), (Some(0), "1=2\n-x\n\n"), "{ran:?}");

    let values: BTreeMap<String, String> =
        VALUES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let id = world.client.execute("show", values.clone()).await.unwrap().id;
    assert_eq!(world.over(&id).await.state(), ExecutionState::Succeeded);
    assert_eq!(String::from_utf8(world.log(&id).await).unwrap(), printed());
    let (status, _) = user.document(&["status", &id]).await;
    assert_eq!(status["arguments"], json!(values));
    // People can tell them apart, and no value steers their terminal.
    let status = user.says(&["status", &id]).await;
    for line in [
        r#"arguments  a="x=y==""#,
        r#"           c="it's \"q\"""#,
        r#"           d="line1\nline2\n""#,
        r#"           e="  x ""#,
        r#"           g="""#,
        r#"           i="a\r\nb\r\n\t\\n""#,
    ] {
        assert!(status.lines().any(|found| found == line), "{line}\n{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_a_command_reach_its_program_byte_for_byte_and_no_shell_reads_them() {
    let world = World::start().await;
    let user = User::of(&world);
    let ran = world.path("ran").display().to_string();
    let words = [
        "$(date)".to_owned(),
        format!("; touch {ran}"),
        format!("`touch {ran}`"),
        "a b  c".to_owned(),
        String::new(),
        "*".to_owned(),
        "'\"\\".to_owned(),
        "line1\nline2\n".to_owned(),
        "${NAME} --help -rf".to_owned(),
    ];
    let mut command = vec!["printf".to_owned(), "<%s>".to_owned()];
    command.extend(words.clone());
    user.file("show.json", &json!({ "name": "show", "command": command }));
    user.says(&["create", "-f", "show.json"]).await;
    let ran_with = user.run(&["execute", "show", "--follow"]).await;
    let shown: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!((ran_with.status, ran_with.text()), (Some(0), shown), "{ran_with:?}");
    assert!(!world.path("ran").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_arguments_are_refused_all_at_once_and_nothing_is_stored() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    user.job("show", SHOW, arguments(&["a!", "b!", "colour"])).await;

    let ran = user.run(&["execute", "show", "colour=1", "color=2", "d=3"]).await;
    assert_eq!((ran.status, ran.out.len()), (Some(3), 0), "{ran:?}");
    for told in [
        "octavius: the arguments do not fit job `show`: `octavius describe show` shows what it wants\n",
        "\n  `arguments.a` is required and missing: add `a=VALUE`\n",
        "\n  `arguments.b` is required and missing: add `b=VALUE`\n",
        "\n  `arguments.color` is no argument of this job: did you mean `colour`?\n",
        "\n  `arguments.d` is no argument of this job, which takes `a`, `b`, `colour`\n",
    ] {
        assert!(ran.err.contains(told), "no {told:?} in {ran:?}");
    }
    let (document, status) = user.document(&["execute", "show", "cc=2"]).await;
    let fields = document["error"]["violations"].as_array().unwrap().iter();
    let fields: Vec<_> = fields.map(|fault| fault["field"].as_str().unwrap()).collect();
    assert_eq!((fields, status), (vec!["arguments.a", "arguments.b", "arguments.cc"], 3));

    let ran = user.run(&["execute", "show", "a=1", "b=2", "a=3", "plain"]).await;
    assert_eq!((ran.status, ran.out.len()), (Some(2), 0), "{ran:?}");
    assert!(ran.err.contains("argument `a` is given twice: give it once"), "{ran:?}");
    assert!(ran.err.contains("\"plain\" is not NAME=VALUE"), "{ran:?}");
    let ran = user.run(&["execute", "a=1"]).await;
    assert_eq!(ran.status, Some(2), "{ran:?}");
    assert!(ran.err.contains("octavius execute JOB NAME=VALUE"), "{ran:?}");

    let with =
        |value: String| BTreeMap::from([("a".to_owned(), value), ("b".to_owned(), String::new())]);
    let nul = world.client.execute("show", with("x\0y".to_owned())).await.unwrap_err();
    assert_eq!(nul.kind(), Kind::Usage, "{nul}");
    assert!(nul.to_string().contains("`a`"), "{nul}");
    user.file("values.json", &json!({ "a": "x\0y", "b": "" }));
    let ran = user.run(&["execute", "show", "-f", "values.json"]).await;
    assert_eq!((ran.status, ran.out.len()), (Some(2), 0), "{ran:?}");
    assert!(ran.err.contains("`a` holds") && !ran.err.contains('\0'), "{ran:?}");
    // With `a=` and its end one byte more than the environment of a program takes.
    let large = world.client.execute("show", with("x".repeat(131_070))).await.unwrap_err();
    assert!(large.to_string().contains("`a`") && large.to_string().contains("131"), "{large}");
    assert_eq!(user.says(&["executions"]).await, "");

    let fits = world.client.execute("show", with("x".repeat(131_069))).await.unwrap();
    assert_eq!(fits.state(), ExecutionState::Pending);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_is_refused_with_its_size_and_the_limit_and_nothing_is_stored() {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let user = User::of(&world);
    user.job("show", SHOW, arguments(&NAMES)).await;

    // 1.6 MB together, of which each fits; and in one, which no command line takes.
    let words = (0..16).map(|n| format!("a{n:02}={}", "x".repeat(100_000 - "a00".len())));
    let words: Vec<_> = words.collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let refused = user.document(&[&["execute", "show"], &words[..]].concat()).await;
    let told =
        "all values have 1600000 bytes, and 524288 are the most: pass large inputs by reference";
    assert_given(&refused, &[("", told)]);
    user.file("one.json", &json!({ "a": "x".repeat(1_600_000 - "a=".len()) }));
    let refused = user.document(&["execute", "show", "-f", "one.json"]).await;
    let told = "has 1600000 bytes with its name, and an environment variable holds 131071: pass large inputs by \
                reference";
    assert_given(&refused, &[("a", told)]);

    // Short ones come to the controller, which knows how many there can be, and which.
    let mut many = String::new();
    (0..10_000).for_each(|n| writeln!(many, "n{n}: x").unwrap());
    std::fs::write(user.path("many.yaml"), many).unwrap();
    let words: Vec<_> = (0..10_000).map(|n| format!("n{n}=x")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    for given in [&words[..], &["-f", "many.yaml"]] {
        let (document, status) = user.document(&[&["execute", "show"], given].concat()).await;
        assert_eq!(status, 3, "{document}");
        let told =
            "are 10000, and no job takes more than 1000: leave out those that are not the job's";
        let faults = json!([{ "field": "arguments", "description": told }]);
        assert_eq!(document["error"]["violations"], faults);
    }
    let ran = user.run(&[&["execute", "show"], &words[..100]].concat()).await;
    assert_eq!((ran.status, ran.out.len()), (Some(3), 0), "{ran:?}");
    let named = ran.err.lines().filter(|line| line.starts_with("  `arguments.")).count();
    assert_eq!(named, 20, "{ran:?}");
    assert!(ran.err.contains("\n  and 81 more faults\n"), "{ran:?}");
    assert_eq!(user.says(&["executions"]).await, "");
}

/// What the client itself finds wrong with values: it asks nobody.
#[track_caller]
fn assert_given((document, status): &(serde_json::Value, i32), faults: &[(&str, &str)]) {
    let error = &document["error"];
    assert_eq!((*status, error["kind"].as_str()), (2, Some("usage")), "{document}");
    assert_eq!(error["source"], "arguments of `show`");
    let one = |(field, told): &(&str, &str)| json!({ "field": field, "description": told });
    assert_eq!(error["violations"], faults.iter().map(one).collect::<serde_json::Value>());
}
