//! As whom a runner calls the API server: tokens that are renewed, programs, certificates, contexts, and ways through
//! proxies.

use crate::place::{Cluster, sees};
use octavius_executor::runner::{
    Runner, RunnerError,
    kubernetes::{KubeRunner, Options},
    suite,
};
use octavius_testbed::cluster::{Fate, Front};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// Another token of the executor's account.
async fn another_token(place: &Cluster, folder: &Path) -> String {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600},
    });
    let file = folder.join("token-request");
    fs::write(&file, request.to_string()).unwrap();
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/octavius-executor/token",
        place.namespace.name()
    );
    let file = file.to_string_lossy().into_owned();
    let made = place.namespace.kubectl(&["create", "--raw", &path, "--filename", &file]).await;
    let made: Value = serde_json::from_str(&made.unwrap()).unwrap();
    made["status"]["token"].as_str().unwrap().to_owned()
}

/// From now on all but this token are refused.
fn only(front: &Front, token: &str) {
    let token = token.to_owned();
    front.rule(move |asked| if asked.token == token { Fate::Pass } else { unauthorized() });
}

/// As an API server says it.
fn unauthorized() -> Fate {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized",
        "reason": "Unauthorized", "code": 401,
    });
    Fate::Say(401, vec![("content-type", "application/json".to_owned())], status.to_string())
}

/// It does what a runner does.
async fn works(place: &Cluster, runner: &KubeRunner) {
    let work = place.work("echo done");
    let (_, log) = suite::run(runner, &work).await;
    assert_eq!(String::from_utf8_lossy(&log), "done\n");
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_renewed_in_its_file_is_taken_up_without_anybody_noticing() {
    let place = Cluster::new("renewed").await;
    let front = place.namespace.front().await.unwrap();
    let file = front.folder().join("token");
    fs::write(&file, &front.token).unwrap();
    let runner = place.runner_with(front.kubeconfig("file", &json!({"tokenFile": file}))).await;
    let (end, second) = (place.path("end"), another_token(&place, front.folder()).await);
    let script =
        format!("i=0; until [ -e {} ]; do echo $i; i=$((i+1)); sleep 0.1; done", end.display());
    let mut work = place.work(&script);
    work.timeout = None;
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "5\n").await;
    // In the order that nobody can choose: it is refused before the new one is there, and the file is empty for a while.
    fs::write(&file, "").unwrap();
    only(&front, &front.token);
    works(&place, &runner).await;
    fs::write(&file, &second[..40]).unwrap();
    works(&place, &runner).await;
    fs::write(&file, format!("{second}\n")).unwrap();
    only(&front, &second);
    front.cut();
    works(&place, &runner).await;
    // A watch that was cut as soon as it was opened is opened again in a second.
    sees(&runner, true).await;
    fs::write(end, "").unwrap();
    suite::ended(&runner, work.attempt).await;
    let log = suite::whole_log(&runner, work.attempt, 1 << 20).await;
    let log = String::from_utf8(log).unwrap();
    let lines: Vec<usize> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines, (0..lines.len()).collect::<Vec<_>>(), "the log has a hole");
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_any_more_takes_no_work_and_goes_on_once_he_is() {
    let place = Cluster::new("unknown").await;
    let front = place.namespace.front().await.unwrap();
    let file = front.folder().join("token");
    fs::write(&file, &front.token).unwrap();
    let runner = place.runner_with(front.kubeconfig("file", &json!({"tokenFile": file}))).await;
    let work = place.work("sleep 300");
    suite::start(&runner, &work).await;
    only(&front, "");
    let refused = runner.prepare(&place.work(":")).await.unwrap_err();
    assert!(matches!(refused, RunnerError::Failed { .. }), "{refused:?}");
    assert!(refused.to_string().contains("does not know this executor"), "{refused}");
    let why = sees(&runner, false).await;
    assert!(why.contains("does not know this executor"), "{why}");
    let second = another_token(&place, front.folder()).await;
    fs::write(&file, &second).unwrap();
    only(&front, &second);
    // What runs goes on, and is asked for again.
    runner.stop(work.attempt).await.unwrap();
    sees(&runner, true).await;
    suite::ended(&runner, work.attempt).await;
    runner.remove(work.attempt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_says_who_we_are_is_asked_again_where_that_is_not_known_any_more() {
    let place = Cluster::new("exec").await;
    let front = place.namespace.front().await.unwrap();
    let (token, program) = (front.folder().join("token"), front.folder().join("who-am-i"));
    fs::write(&token, &front.token).unwrap();
    let script = format!(
        "#!/bin/sh\necho '{{\"apiVersion\": \"client.authentication.k8s.io/v1beta1\", \"kind\": \"ExecCredential\", \
         \"status\": {{\"token\": \"'$(cat {})'\"}}}}'\n",
        token.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let user = |command: &Path| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1", "command": command, "interactiveMode": "Never",
        }})
    };
    let runner = place.runner_with(front.kubeconfig("exec", &user(&program))).await;
    works(&place, &runner).await;
    let second = another_token(&place, front.folder()).await;
    fs::write(&token, &second).unwrap();
    only(&front, &second);
    works(&place, &runner).await;

    fs::write(&program, "#!/bin/sh\necho printed-token; echo not today >&2; exit 3\n").unwrap();
    for (command, says) in
        [(program.as_path(), "not today"), (Path::new("/no/such"), "No such file")]
    {
        let kubeconfig = front.kubeconfig("wrong", &user(command));
        let options = Options { kubeconfig: Some(kubeconfig), ..place.options.clone() };
        let refused = KubeRunner::open(options).await.unwrap_err().to_string();
        assert!(refused.contains(says) && refused.contains("kubeconfig"), "{refused}");
        assert!(!refused.contains("printed-token"), "{refused}");
    }
}

/// The administrator of the development cluster has a certificate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_and_another_context_than_the_current_one_are_taken() {
    let place = Cluster::new("context").await;
    let view = ["config", "view", "--raw", "--output=json"];
    let mut file: Value =
        serde_json::from_str(&place.namespace.kubectl(&view).await.unwrap()).unwrap();
    assert!(file["users"][0]["user"].get("client-certificate-data").is_some());
    let right = file["current-context"].as_str().unwrap().to_owned();
    let nowhere = json!({"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}});
    file["clusters"].as_array_mut().unwrap().push(nowhere);
    let user = file["users"][0]["name"].clone();
    let context = json!({"name": "elsewhere", "context": {"cluster": "nowhere", "user": user}});
    file["contexts"].as_array_mut().unwrap().push(context);
    file["current-context"] = json!("elsewhere");
    let path = place.path("kubeconfig");
    fs::write(&path, file.to_string()).unwrap();
    let options = |context: &str| Options {
        kubeconfig: Some(path.clone()),
        context: Some(context.to_owned()),
        ..place.options.clone()
    };
    works(&place, &KubeRunner::open(options(&right)).await.unwrap()).await;
    let nowhere = KubeRunner::open(options("elsewhere")).await.unwrap_err();
    assert!(matches!(nowhere, RunnerError::Failed { .. }), "{nowhere:?}");
    let refused = KubeRunner::open(options("nosuch")).await.unwrap_err().to_string();
    assert!(refused.contains("nosuch") && refused.contains("`kube_context`"), "{refused}");
}

/// A proxy that opens ways, and counts them.
async fn proxy(count: &'static AtomicUsize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut near = BufReader::new(near);
                let (mut head, mut line) = (String::new(), String::new());
                while near.read_line(&mut line).await.is_ok_and(|read| read > 2) {
                    head.push_str(&std::mem::take(&mut line));
                }
                let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                let Ok(mut far) = TcpStream::connect(to.unwrap_or_default()).await else { return };
                count.fetch_add(1, Relaxed);
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await; // who goes, goes
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_behind_a_proxy_is_reached() {
    static WAYS: AtomicUsize = AtomicUsize::new(0);
    let place = Cluster::new("proxy").await;
    let view = ["config", "view", "--raw", "--output=json"];
    let view = place.namespace.kubectl_as_executor(&view).await.unwrap();
    let mut file: Value = serde_json::from_str(&view).unwrap();
    file["clusters"][0]["cluster"]["proxy-url"] = json!(proxy(&WAYS).await);
    let path = place.path("kubeconfig");
    fs::write(&path, file.to_string()).unwrap();
    let runner = place.runner_with(path.clone()).await;
    works(&place, &runner).await;
    assert!(WAYS.load(Relaxed) > 0, "nothing went through the proxy");

    file["clusters"][0]["cluster"]["proxy-url"] = json!("ftp://127.0.0.1:1");
    fs::write(&path, file.to_string()).unwrap();
    let options = Options { kubeconfig: Some(path), ..place.options.clone() };
    let refused = KubeRunner::open(options).await.unwrap_err().to_string();
    assert!(refused.contains("ftp://127.0.0.1:1"), "{refused}");
}
