//! All objects of a namespace in which jobs with secrets run, and all that is kept and said beside it: the values are in
//! the Secret that belongs to a Job until its program runs, and nowhere else.

use crate::world::World;
use octavius_testbed::{
    cluster::{Failed, Namespace, shared},
    leaks::{Place, Values, files},
};
use serde_json::{Value, json};

const TOKEN: &str = r#"t0ken-Pl4nted/q7ä?&=+%"\7c1f"#;
const KEY: &str = "k3y-first-line/Äö€ x9\nsecond line 7=& of the key\nthird-line-Vt5\n";
const PASSWORD: &str = "p4ssw0rd of a run/ü+\"5";
/// What may be seen, and shows that it would be found: an argument that is not secret,
const NOTE: &str = "planted-in-a-note-8b";
/// and what the program prints, which no script has as it is.
const PRINTED: &str = "planted-in-the-log-829348951-7d";

const SCRIPT: &str = r#"
    echo "planted-in-the-log-$((7919 * 104729))-7d"
    for value in "$TOKEN" "$KEY" "$password"; do
        echo "raw: $value"
        printf %s "$value" | sed 's/$/ |/'
        echo
        printf %s "$value" | base64
    done
    echo to standard error: "$TOKEN" >&2
    case "$how" in bad) exit 3 ;; long) echo waiting; sleep 600 ;; esac
"#;

/// Each object of each kind that can be listed, events among them.
async fn objects(namespace: &Namespace) -> Result<Vec<(Value, Place)>, Failed> {
    let kinds = ["api-resources", "--verbs=list", "--namespaced", "--output=name"];
    let kinds = namespace.kubectl(&kinds).await?;
    let kinds: Vec<_> = kinds.lines().collect();
    for kind in ["events", "jobs.batch", "pods", "secrets", "configmaps"] {
        assert!(kinds.contains(&kind), "{kind} are not among {kinds:?}");
    }
    let all = namespace.kubectl(&["get", &kinds.join(","), "--output=json"]).await?;
    let all: Value = serde_json::from_str(&all).unwrap();
    let place = |object: &Value| {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let name = format!("{}/{}", kind.as_str().unwrap(), name.as_str().unwrap());
        (object.clone(), Place::new(name, object.to_string()))
    };
    Ok(all["items"].as_array().unwrap().iter().map(place).collect())
}

fn places(objects: &[(Value, Place)]) -> Vec<Place> {
    objects.iter().map(|(_, place)| place.clone()).collect()
}

/// Those places in which a value that may be seen was found.
fn found(value: &str, places: &[Place]) -> Vec<String> {
    let values = Values::of([("it", value.as_bytes())]);
    values.among(places).into_iter().map(|(name, _)| name.to_owned()).collect()
}

/// The token that the executor asks the cluster with.
async fn token(namespace: &Namespace) -> Result<String, Failed> {
    let view = ["config", "view", "--raw", "--output=json"];
    let view: Value = serde_json::from_str(&namespace.kubectl_as_executor(&view).await?).unwrap();
    Ok(view["users"][0]["user"]["token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_in_the_secret_of_their_job_until_it_runs_and_in_no_object_afterwards()
-> Result<(), Failed> {
    let traced = json!({ "log_level": "trace,octavius=trace" });
    let world = World::with(shared().await?, "dumps", &traced).await?;
    let job = |name: &str, image: &str| {
        json!({
            "name": name,
            "image_name": image,
            "command": ["sh", "-c", SCRIPT],
            "env_vars": {
                "args": [
                    { "name": "how", "required": true },
                    { "name": "note" },
                    { "name": "password", "type": "secret", "required": true },
                ],
                "secrets": [{ "name": "TOKEN" }, { "name": "KEY" }],
            },
        })
    };
    // Nobody has the image of the second: its program never runs.
    for (job_name, image) in [("leaks", "busybox:dev"), ("waits", "nobody-has-this:dev")] {
        world.user.creates(&job(job_name, image));
        for (name, value) in [("TOKEN", TOKEN), ("KEY", KEY)] {
            let set = ["secret", "set", job_name, name, "--stdin"];
            // Of which one line end is left out.
            world.user.run_with_input(&set, &format!("{value}\n")).unwrap();
        }
    }
    let mut executor = world.executor_with("kubernetes", "kubernetes", &traced);
    executor.start();
    let values = [("TOKEN", TOKEN), ("KEY", KEY), ("password", PASSWORD)];
    let values = Values::of(values.map(|(name, value)| (name, value.as_bytes())));
    let of_executor = token(&world.namespace).await?;
    let of_executor = Values::of([("the executor's own token", of_executor.as_bytes())]);

    let execute_of = |job: &str, how: &str| {
        let given = json!({ "how": how, "note": NOTE, "password": PASSWORD }).to_string();
        let execute = ["execute", job, "-f", "-", "--output", "name"];
        world.user.run_with_input(&execute, &given).unwrap().trim().to_owned()
    };
    let execute = |how: &str| execute_of("leaks", how);
    let well = execute("well");
    world.user.waits_for(&["status", &well], "succeeded").await;
    let bad = execute("bad");
    world.user.waits_for(&["status", &bad], "the program exited with 3").await;
    let long = execute("long");
    world.user.waits_for(&["getlogs", &long], "waiting\n").await;

    // The Secret is the Job's, and goes when its program runs.
    let waits = execute_of("waits", "well");
    let has_pod = ["get", "pods", "--output=name", "--selector"];
    let of_waits = format!("octavius.dev/execution={waits}");
    let has_pod = [&has_pod[..], &[of_waits.as_str()]].concat();
    world.namespace.until(&has_pod, |pods| !pods.is_empty()).await?;
    let meanwhile = objects(&world.namespace).await?;
    let all = places(&meanwhile);
    let with_values: Vec<_> = values.among(&all).into_iter().map(|(name, _)| name).collect();
    // Those of the others may not be gone yet.
    for (object, place) in &meanwhile {
        let may =
            object["kind"] == "Secret" && object["metadata"]["ownerReferences"][0]["kind"] == "Job";
        assert!(may || !with_values.contains(&place.name.as_str()), "values are in {}", place.name);
    }
    let of_it = |object: &Value| object["metadata"]["labels"]["octavius.dev/execution"] == *waits;
    let secrets: Vec<_> = meanwhile
        .iter()
        .filter(|(object, _)| object["kind"] == "Secret" && of_it(object))
        .collect();
    let [(secret, place)] = &secrets[..] else { panic!("{} Secrets", secrets.len()) };
    assert!(with_values.contains(&place.name.as_str()), "they would not be found: {with_values:?}");
    let (_, jobs_place) = meanwhile
        .iter()
        .find(|(object, _)| object["kind"] == "Job" && of_it(object))
        .unwrap_or_else(|| panic!("it has no Job: {:?}", found(NOTE, &all)));
    let owner = &secret["metadata"]["ownerReferences"][0];
    let job = format!("Job/{}", owner["name"].as_str().unwrap());
    assert_eq!((&owner["kind"], &job), (&"Job".into(), &jobs_place.name));
    assert!(found(NOTE, &all).contains(&job), "an argument that may be seen is found nowhere");
    let pods = meanwhile.iter().filter(|(object, _)| object["kind"] == "Pod" && of_it(object));
    let pods: Vec<_> = pods.map(|(pod, _)| pod).collect();
    let [pod] = pods[..] else { panic!("{} pods", pods.len()) };
    let variables = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    for name in ["TOKEN", "KEY", "password"] {
        let variable = variables.iter().find(|variable| variable["name"] == name).unwrap();
        let reference = &variable["valueFrom"]["secretKeyRef"];
        assert!(variable.get("value").is_none(), "{variable}");
        assert_eq!(reference["name"], secret["metadata"]["name"], "{variable}");
    }
    let kept = files(&world.path(""));
    assert_eq!(values.among(&kept), []);

    for execution in [&long, &waits] {
        world.user.run(&["cancel", execution]).unwrap();
        world.user.waits_for(&["status", execution], "cancelled").await;
    }
    world.nothing_is_left().await?;

    // Afterwards events still tell of the Jobs.
    let all = places(&objects(&world.namespace).await?);
    assert_eq!(values.among(&all), []);
    assert!(all.iter().any(|place| place.name.starts_with("Event/")), "no event is among them");
    let mut said = Vec::new();
    for execution in [&well, &bad, &long] {
        for command in ["status", "explain", "getlogs"] {
            for form in ["text", "json"] {
                let words = [command, execution, "--output", form];
                said.push(Place::new(words.join(" "), world.user.run(&words).unwrap()));
            }
        }
        let log = world.user.run(&["getlogs", execution]).unwrap();
        assert!(log.matches("[masked]").count() >= 9, "{log}");
    }
    for words in [&["describe", "leaks"][..], &["executions"], &["executors"]] {
        let words = [words, &["--output", "json"]].concat();
        said.push(Place::new(words.join(" "), world.user.run(&words).unwrap()));
    }
    assert_eq!(values.among(&said), []);
    assert!(!found(PRINTED, &said).is_empty() && !found(NOTE, &said).is_empty());

    assert_eq!(executor.end().await, Some(0), "{}", executor.said());
    // The controller's data and both servers' logs, and what the executor keeps.
    let kept = files(&world.path(""));
    for looked_for in [&values, &of_executor] {
        assert_eq!(looked_for.among(&kept), []);
    }
    let is_in = |part: &str, places: &[String]| places.iter().any(|place| place.contains(part));
    let printed = found(PRINTED, &kept);
    assert!(is_in("/data/", &printed), "the log is only in {printed:?}");
    let traced = kept.iter().filter(|place| place.name.ends_with(".out"));
    let traced = traced.filter(|place| place.bytes.windows(5).any(|word| word == b"TRACE"));
    assert_eq!(traced.count(), 2, "a controller and an executor that tell all");
    Ok(())
}
