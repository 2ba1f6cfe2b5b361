//! Everything that a run leaves behind or says, on disk, in etcd, in logs, metrics and answers: the values of its secrets,
//! of its secret arguments and of its tokens are in none of it, but for the places that are named here.

use crate::{
    access::token,
    secrets::processes,
    user::{Ran, User},
    world::{PATIENCE, World, eventually},
};
use data_encoding::BASE32HEX_NOPAD;
use octavius_client::v1::ExecutionState;
use octavius_testbed::{
    http::page,
    leaks::{Place, Values, files},
    ports::free_port,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

const ONE: &str = r#"0ne-Pl4nted/q7ä?&=+%"\'7c1f"#;
const TWO: &str = "tw0-first-line/Äö€ x9\n  second line 7=& of tw0\nthird-line-of-tw0-Vt5\n";
const PASSWORD: &str = "p4ssw0rd of a run/ü+\"5";
/// Values that are refused, for they have a NUL.
const WRONG_SECRET: &str = "wr0ng-secret-1c/ö\0tail-of-it-77f";
const WRONG_PASSWORD: &str = "wr0ng-passw0rd-9e/ö\0tail-of-it-3b2";

/// What may be seen, and shows that it would be found: in the job's definition, which is stored and shown;
const DESCRIBED: &str = "planted-in-the-description-5e";
/// in its log, which no script has as it is;
const PRINTED: &str = "planted-in-the-log-829348951-7d";
/// in its name, which servers log;
const JOB: &str = "planted-in-the-name-3f";
/// and in an argument that is not secret: who may look is shown it, and it is sealed where it is stored.
const NOTE: &str = "qu1et-r3mark-of-bob-8b";
const PLANTED: [&str; 4] = [DESCRIBED, PRINTED, JOB, NOTE];

/// Prints all that it was given that is secret in each form that is masked. A part of a value is none of them: what is
/// split over lines and writes is what becomes whole again.
const SCRIPT: &str = r#"
    echo "pid $$, planted-in-the-log-$((7919 * 104729))-7d"
    for value in "$ONE" "$TWO" "$password"; do
        echo "raw: $value"
        printf %s "$value" | sed 's/$/ |/'
        echo
        printf %s "$value" | head -c 9; sleep 0.2; printf %s "$value" | tail -c +10; echo .
        printf %s "$value" | base64
        printf %s "$value" | base64 -w 11
        printf 'x%s' "$value" | base64 -w 0 | tr '+/' '-_'; echo
        printf %s "$value" | od -An -v -tx1 | tr -d '\n' | tr ' ' '%'; echo
        printf %s "$value" | sed -e 's/[\\"]/\\&/g' -e :a -e '$!{N;ba' -e '}' -e 's/\n/\\n/g'; echo
    done
    echo to standard error: "$ONE" >&2
    case "$how" in bad) exit 3 ;; long) echo waiting; sleep 300 ;; esac
"#;

/// Where a value may lie, and why. Each entry is needed: one that nothing is found at fails.
struct Allowed {
    /// How the place's name ends, or, with a `*`, begins and ends.
    place: &'static str,
    values: &'static [&'static str],
    why: &'static str,
}

/// At any time.
const ALWAYS: [Allowed; 2] = [
    Allowed {
        place: "/executor_config.json",
        values: &["the invitation"],
        why: "whoever sets up the executor writes it there; after the first registration it is worth nothing",
    },
    Allowed {
        place: "/state/credential",
        values: &["the executor's credential"],
        why: "it is known by that alone; the file is for its user alone",
    },
];
/// While a program runs, and until the controller has its end.
const MEANWHILE: [Allowed; 1] = [Allowed {
    place: "/state/attempts/*/log",
    values: &["ONE", "TWO", "password"],
    why: "what the program wrote, before it is masked on its way to the controller",
}];
/// What was said to somebody.
const SAID: [Allowed; 3] = [
    Allowed {
        place: "octavius token create ada@example.com",
        values: &["ada's token"],
        why: "a token is shown once, when it is made",
    },
    Allowed {
        place: "octavius token create bob@example.com --groups sre",
        values: &["bob's token"],
        why: "as above",
    },
    Allowed { place: "octavius executors invite", values: &["the invitation"], why: "as above" },
];

impl Allowed {
    fn is_at(&self, name: &str) -> bool {
        match self.place.split_once('*') {
            Some((folder, file)) => {
                let within = name.rsplit_once(file).filter(|(_, behind)| behind.is_empty());
                within.is_some_and(|(before, _)| before.contains(folder))
            }
            None => name.ends_with(self.place),
        }
    }
}

/// Asserts that each value lies where it may, and nowhere else; where those lie that may be seen.
fn lie_only(
    values: &Values,
    places: &[Place],
    allowed: &[&[Allowed]],
) -> BTreeMap<&'static str, Vec<String>> {
    assert!(!places.is_empty());
    let mut planted: BTreeMap<&str, Vec<String>> =
        PLANTED.iter().map(|text| (*text, Vec::new())).collect();
    let mut needed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let allowed: Vec<&Allowed> = allowed.iter().copied().flatten().collect();
    let found = values.among(places);
    for (place, leaks) in &found {
        let at: Vec<_> = allowed.iter().filter(|allowed| allowed.is_at(place)).collect();
        for leak in leaks {
            let value = leak.value.as_str();
            if let Some(planted) = planted.get_mut(value) {
                planted.push((*place).to_owned());
                continue;
            }
            let may = at.iter().find(|allowed| allowed.values.contains(&value));
            let may = may.unwrap_or_else(|| panic!("{value} lies in {place}, {}", leak.form));
            needed.entry(may.place).or_default().insert(value);
        }
    }
    for Allowed { place, values, why } in allowed {
        let found = needed.get(place).into_iter().flatten().copied().collect::<Vec<_>>();
        assert_eq!(found, *values, "what lies in {place}, where it may: {why}");
    }
    planted
}

fn any(places: &[String], part: &str) -> bool {
    places.iter().any(|place| place.contains(part))
}

/// All that is stored, in this moment: each file of the installation and of the homes, and all that etcd has had.
async fn stored(world: &World, users: &[&User]) -> Vec<Place> {
    let mut places = files(&world.path(""));
    places.extend(users.iter().flat_map(|user| files(&user.path(""))));
    if let Some(etcd) = world.etcd() {
        let everything = etcd.everything().await.unwrap();
        places.extend(
            everything.into_iter().map(|(key, value)| Place::new(format!("etcd: {key}"), value)),
        );
        // Its own files still have what it has forgotten.
        places.extend(files(etcd.folder()));
    }
    places
}

/// What all commands of a run said.
#[derive(Default)]
struct Said(Vec<Place>);

impl Said {
    fn hear(&mut self, words: &[&str], ran: Ran) -> Ran {
        let name = format!("octavius {}", words.join(" "));
        self.0.push(Place::new(name, [&ran.out[..], b"\0", ran.err.as_bytes()].concat()));
        ran
    }

    async fn run(&mut self, user: &User, words: &[&str]) -> Ran {
        let ran = user.run(words).await;
        self.hear(words, ran)
    }

    async fn with_input(&mut self, user: &User, words: &[&str], input: &str) -> Ran {
        let ran = user.run_with_input(words, input).await;
        self.hear(words, ran)
    }

    async fn token(&mut self, user: &User, words: &[&str]) -> String {
        let token = token(user, words).await;
        self.0.push(Place::new(format!("octavius {}", words.join(" ")), token.as_str()));
        token
    }
}

/// An id that a command printed.
fn id(ran: &Ran) -> String {
    assert_eq!(ran.status, Some(0), "{ran:?}");
    ran.text().trim().to_owned()
}

/// A token as it is written, and as the bits that it is made of.
fn of_token<'a>(name: &'a str, token: &str) -> [(&'a str, Vec<u8>); 2] {
    let (_, secret) = token.trim().rsplit_once('_').unwrap();
    let bits = BASE32HEX_NOPAD.decode(secret.to_ascii_uppercase().as_bytes()).unwrap();
    [(name, secret.into()), (name, bits)]
}

fn job() -> Value {
    json!({
        "name": JOB,
        "description": DESCRIBED,
        "command": ["sh", "-c", SCRIPT],
        "authorized_groups": ["sre"],
        "env_vars": {
            "args": [
                { "name": "how", "required": true },
                { "name": "note" },
                { "name": "password", "type": "secret", "required": true },
            ],
            "secrets": [{ "name": "ONE" }, { "name": "TWO" }],
        },
    })
}

/// Values of the arguments, so that none is on a command line.
fn given(how: &str) -> String {
    json!({ "how": how, "note": NOTE, "password": PASSWORD }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_dump_of_a_run_holds_a_secret_or_a_token_but_where_it_may() {
    let mut world = World::traced();
    let metrics = format!("127.0.0.1:{}", free_port());
    world.configure_executor("metrics_address", metrics.as_str().into());
    let mut said = Said::default();
    world.controller.start();
    world.serves().await;
    let open = User::of(&world);
    let admin = said.token(&open, &["token", "create", "ada@example.com"]).await;
    let grant = ["role", "grant", "admin", "--person", "ada@example.com"];
    assert_eq!(said.run(&open, &grant).await.status, Some(0));
    world.controller.end().await;
    world.configure_controller("authentication", "tokens".into());
    world.controller.start();
    world.show_token(&admin);
    world.serves().await;
    let ada = User::of(&world).with("ACCESS_TOKEN", &admin);
    let bob = said.token(&ada, &["token", "create", "bob@example.com", "--groups", "sre"]).await;
    let grant = ["role", "grant", "operator", "--group", "sre"];
    assert_eq!(said.run(&ada, &grant).await.status, Some(0));
    let invitation = said.token(&ada, &["executors", "invite"]).await;
    world.configure_executor("access_token", invitation.as_str().into());
    world.executor.start();
    world.ready().await;
    let credential = world.credential().await;
    let bob_user = User::of(&world).with("ACCESS_TOKEN", &bob);

    let mut all: Vec<(&str, Vec<u8>)> = vec![
        ("ONE", ONE.into()),
        ("TWO", TWO.into()),
        ("password", PASSWORD.into()),
        ("a wrong secret", WRONG_SECRET.into()),
        ("a wrong password", WRONG_PASSWORD.into()),
    ];
    all.extend(of_token("ada's token", &admin));
    all.extend(of_token("bob's token", &bob));
    all.extend(of_token("the invitation", &invitation));
    all.extend(of_token("the executor's credential", &credential));
    all.extend(PLANTED.map(|text| (text, text.into())));
    let values = Values::of(all.iter().map(|(name, value)| (*name, &value[..])));

    // What is wrong is refused in words that do not repeat it.
    let created = said.with_input(&ada, &["create", "-f", "-"], &job().to_string()).await;
    assert_eq!(created.status, Some(0), "{created:?}");
    let set = |name| ["secret", "set", JOB, name, "--stdin"];
    let wrong = said.with_input(&ada, &set("ONE"), WRONG_SECRET).await;
    assert!(wrong.status != Some(0) && wrong.err.contains("NUL"), "{wrong:?}");
    for (name, value) in [("ONE", ONE), ("TWO", TWO)] {
        // Of which one line end is left out.
        let done = said.with_input(&ada, &set(name), &format!("{value}\n")).await;
        assert_eq!(done.status, Some(0), "{done:?}");
    }
    let execute = ["execute", JOB, "-f", "-"];
    let wrong = json!({ "how": "well", "password": WRONG_PASSWORD }).to_string();
    let wrong = said.with_input(&bob_user, &execute, &wrong).await;
    assert!(wrong.status != Some(0) && wrong.err.contains("NUL"), "{wrong:?}");
    let wrong = json!({ "how": "well", "password": PASSWORD, "pasword": PASSWORD }).to_string();
    let wrong = said.with_input(&bob_user, &execute, &wrong).await;
    assert!(wrong.status != Some(0) && wrong.err.contains("pasword"), "{wrong:?}");
    let wrong = json!({ "how": "well", "password": [PASSWORD] }).to_string();
    let wrong = said.with_input(&bob_user, &execute, &wrong).await;
    assert!(wrong.status != Some(0) && wrong.err.contains("one value each"), "{wrong:?}");

    // One that succeeds, one that fails, one that is run again, and one that is cancelled.
    let well = id(&said.with_input(&bob_user, &execute, &given("well")).await);
    let over = world.over(&well).await;
    assert_eq!(over.state(), ExecutionState::Succeeded, "{over:?}");
    let bad = id(&said.with_input(&bob_user, &execute, &given("bad")).await);
    let over = world.over(&bad).await;
    assert_eq!((over.state(), over.exit_code), (ExecutionState::Failed, Some(3)), "{over:?}");
    let password = json!({ "password": PASSWORD }).to_string();
    let again = said.with_input(&bob_user, &["rerun", &well, "-f", "-"], &password).await;
    let again = id(&again);
    let over = world.over(&again).await;
    assert_eq!(over.state(), ExecutionState::Succeeded, "{over:?}");
    let long = id(&said.with_input(&bob_user, &execute, &given("long")).await);
    let waiting = || async {
        let log = bob_user.says(&["getlogs", &long]).await;
        if log.ends_with("waiting\n") { Ok(log) } else { Err(log) }
    };
    let log = eventually(waiting).await.unwrap();
    // Eight of each value, TWO has three lines more that are printed alone, and in one form it is in pieces.
    assert!(log.matches("[masked]").count() >= 24, "{log}");

    // While it runs.
    let meanwhile = stored(&world, &[&open, &ada, &bob_user]).await;
    let planted = lie_only(&values, &meanwhile, &[&ALWAYS, &MEANWHILE]);
    assert!(any(&planted[NOTE], "/state/attempts/"), "{planted:?}");
    let running: Vec<_> =
        processes().into_iter().map(|(name, bytes)| Place::new(name, bytes)).collect();
    lie_only(&values, &running, &[]);
    // The program has them, in its environment.
    let (pid, _) = log.strip_prefix("pid ").unwrap().split_once(',').unwrap();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let has: BTreeSet<_> = values.within(&environment).into_iter().map(|leak| leak.value).collect();
    let planted = PLANTED.map(str::to_owned).into();
    let secret: BTreeSet<_> = has.difference(&planted).cloned().collect();
    assert_eq!(secret, ["ONE", "TWO", "password"].map(str::to_owned).into());

    let cancelled = said.run(&bob_user, &["cancel", &long]).await;
    assert_eq!(cancelled.status, Some(0), "{cancelled:?}");
    assert_eq!(world.over(&long).await.state(), ExecutionState::Cancelled);

    for words in [
        &["describe", JOB][..],
        &["list"],
        &["executions"],
        &["executors"],
        &["executions", "--job", JOB],
        &["secret", "list", JOB],
        &["token", "list"],
        &["role", "list"],
        &["audit", "--all"],
        &["audit", "--refused"],
        &["config", "show"],
        &["version"],
    ] {
        for form in ["text", "wide", "json", "yaml"] {
            let ran = said.run(&ada, &[words, &["-o", form]].concat()).await;
            assert_eq!(ran.status, Some(0), "{words:?}: {ran:?}");
        }
    }
    let export = said.run(&ada, &["audit", "--export"]).await;
    assert!(export.status == Some(0) && export.text().contains(JOB), "{export:?}");
    for id in [&well, &bad, &again, &long] {
        for words in [&["status", id][..], &["explain", id], &["getlogs", id]] {
            for form in ["text", "json"] {
                let ran = said.run(&bob_user, &[words, &["-o", form]].concat()).await;
                assert_eq!(ran.status, Some(0), "{words:?}: {ran:?}");
            }
        }
    }
    for address in [&world.metrics_address, &metrics] {
        let (status, body) = page(address, "/metrics", PATIENCE).await;
        assert_eq!(status, 200);
        said.0.push(Place::new(format!("the metrics at {address}"), body));
    }
    let planted = lie_only(&values, &said.0, &[&SAID]);
    for (text, by) in [(DESCRIBED, "describe"), (PRINTED, "getlogs"), (NOTE, "status")] {
        assert!(any(&planted[text], &format!("octavius {by} ")), "`{text}`: {planted:?}");
    }

    // After it. What a program wrote lies with its executor until its end is acknowledged.
    let attempts = world.path("state/attempts");
    let none = || async {
        let left = fs::read_dir(&attempts).unwrap().count();
        if left == 0 { Ok(()) } else { Err(format!("{left} attempts are kept")) }
    };
    eventually(none).await.unwrap();
    assert_eq!(world.executor.end().await, Some(0));
    assert_eq!(world.controller.end().await, Some(0));
    let kept = stored(&world, &[&open, &ada, &bob_user]).await;
    let planted = lie_only(&values, &kept, &[&ALWAYS]);
    let stores: &[&str] =
        if world.is_on_etcd() { &["etcd: octavius/", "/member/"] } else { &["/data/"] };
    for store in stores {
        assert!(any(&planted[DESCRIBED], store), "{planted:?}");
        assert!(any(&planted[PRINTED], store), "{planted:?}");
    }
    assert!(any(&planted[JOB], "/controller.log"), "{planted:?}");
    // Arguments that are not secret are sealed, and in no log of a server.
    assert_eq!(planted[NOTE], [""; 0]);
    for (log, word) in
        [("/controller.log", "TRACE"), ("/executor.log", "TRACE"), ("/executor.log", &well)]
    {
        let text = kept.iter().find(|place| place.name.ends_with(log)).unwrap();
        assert!(String::from_utf8_lossy(&text.bytes).contains(word), "{log} does not say {word}");
    }
}
