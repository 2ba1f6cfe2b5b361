//! The log of a pod, read to its end whatever happens on the way: on pods that `kubectl` made.

use crate::place::Cluster;
use bytes::Bytes;
use futures::future::join_all;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use octavius_executor::runner::{
    kubernetes::log::{Held, KubeLogs, PodLog, PodName},
    suite,
};
use octavius_testbed::{
    cluster::{self, Namespace},
    proxy::Proxy,
};
use std::{fmt::Write, fs, path::Path, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// No log of these tests takes as long.
const LONG: Duration = Duration::from_mins(4);

/// A client of the account whose kubeconfig this is, through `way` if there is one.
async fn client(kubeconfig: &Path, way: Option<&Proxy>) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config =
        Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    if let Some(way) = way {
        config.cluster_url = format!("https://{}", way.address).parse().unwrap();
    }
    Client::try_from(config).unwrap()
}

/// Where the API is reached, as `host:port`.
async fn address(kubeconfig: &Path) -> String {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    format!("{}:{}", config.cluster_url.host().unwrap(), config.cluster_url.port_u16().unwrap())
}

/// A Job that runs a script once; the name of its pod.
async fn job(namespace: &Namespace, name: &str, script: &str) -> String {
    job_with(namespace, name, script, &[]).await
}

/// The same, whose container sees these ConfigMaps.
async fn job_with(namespace: &Namespace, name: &str, script: &str, maps: &[&str]) -> String {
    let volume = |map: &&str| serde_json::json!({"name": map, "configMap": {"name": map}});
    let mount = |map: &&str| serde_json::json!({"name": map, "mountPath": format!("/maps/{map}")});
    let volumes: Vec<_> = maps.iter().map(volume).collect();
    let mounts: Vec<_> = maps.iter().map(mount).collect();
    let job = serde_json::json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "volumes": volumes,
            "containers": [{"name": "job", "image": "busybox:dev", "command": ["sh", "-c", script], "volumeMounts": mounts}],
        }}},
    });
    namespace.apply(&job.to_string()).await.unwrap();
    let select = format!("job-name={name}");
    let pods = ["get", "pods", "-l", &select, "-o", "jsonpath={.items[*].metadata.name}"];
    namespace.until(&pods, |name| !name.is_empty()).await.unwrap()
}

fn pod_log(client: Client, namespace: &Namespace, pod: &str) -> PodLog {
    let pod = PodName { namespace: namespace.name().to_owned(), name: pod.to_owned() };
    PodLog::new(Arc::new(KubeLogs::new(client)), pod, "job", Held::default())
}

/// Tells the log when the container has ended, as whoever watches the pod does.
async fn tell_the_end(log: &PodLog, namespace: &Namespace, pod: &str) {
    let path = "jsonpath={.status.containerStatuses[0].state.terminated.finishedAt}";
    let until = Instant::now() + LONG;
    loop {
        // The API may be away.
        if let Ok(time) = namespace.kubectl(&["get", "pod", pod, "-o", path]).await
            && !time.is_empty()
        {
            return log.container_ended(Some(time.parse().unwrap()));
        }
        assert!(Instant::now() < until, "{pod} does not end");
        sleep(Duration::from_millis(300)).await;
    }
}

/// The whole log, from wherever reading begins.
async fn read(log: &PodLog) -> Vec<u8> {
    let (mut cursor, mut read) = (Bytes::new(), Vec::new());
    let until = Instant::now() + LONG;
    while !log.is_over() {
        assert!(Instant::now() < until, "not over after {} bytes", read.len());
        let piece = log.follow(&cursor, 1 << 20, Duration::from_secs(1)).await.unwrap();
        if let Some(piece) = piece {
            assert_eq!(piece.offset, read.len() as u64);
            read.extend(piece.chunks.iter().flat_map(|(_, bytes)| bytes));
            assert!(piece.cursor.len() <= 256);
            cursor = piece.cursor;
        }
    }
    read
}

/// The log of a pod, followed from its start to its end.
async fn followed(client: Client, namespace: &Namespace, pod: &str) -> Vec<u8> {
    let log = pod_log(client, namespace, pod);
    let (read, ()) = tokio::join!(read(&log), tell_the_end(&log, namespace, pod));
    read
}

/// The log of a script.
async fn run(client: Client, namespace: &Namespace, name: &str, script: &str) -> Vec<u8> {
    let pod = job(namespace, name, script).await;
    followed(client, namespace, &pod).await
}

/// Text, or how long it is.
fn shown(log: &[u8]) -> String {
    match log.len() {
        0..3_000 => String::from_utf8_lossy(log).into_owned(),
        length => {
            format!("{length} bytes, the last {:?}", String::from_utf8_lossy(&log[length - 200..]))
        }
    }
}

fn lines(numbers: std::ops::RangeInclusive<u32>, line: impl Fn(u32) -> String) -> Vec<u8> {
    let mut text = String::new();
    numbers.for_each(|number| writeln!(text, "{}", line(number)).unwrap());
    text.into_bytes()
}

/// A log of so many lines, each of its number and a filler, has all of them, in order, or as many markers as gaps.
fn nothing_is_missing_without_a_word(log: Vec<u8>, lines: u32, filler: &str) {
    let text = String::from_utf8(log).unwrap();
    let (mut last, mut missing, mut said) = (0, Vec::new(), Vec::new());
    for line in text.lines() {
        if line.starts_with("[octavius: ") {
            said.push(line);
            continue;
        }
        let number = line.split(' ').next().unwrap();
        let whole = number.parse().ok().filter(|number| line == format!("{number} {filler}"));
        // Of a line of which each file has a part only the second may be there.
        let number: u32 = whole.unwrap_or(last + 1);
        assert!(number > last, "{number} comes behind {last}");
        if number > last + 1 || whole.is_none() {
            missing.push((last + 1, number, line.len()));
        }
        last = number;
    }
    if last < lines {
        missing.push((last + 1, lines, 0));
    }
    assert!(missing.len() <= said.len(), "missing {missing:?}, and said {said:#?}");
}

/// P4: each byte once, in order, whatever it is; but for `\r` before a newline, which the runtime drops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_byte_of_a_pods_log_is_read_once() {
    let namespace = cluster::shared().await.unwrap().namespace("bytes").await.unwrap();
    let client = client(namespace.kubeconfig(), None).await;
    let long = |newline: &[u8]| [vec![b'x'; 6 << 20], newline.to_vec()].concat();
    let cases: [(&str, Vec<u8>); 9] = [
        (":", Vec::new()),
        ("printf 'no newline'", b"no newline".to_vec()),
        (
            "printf '\\000\\377\\001\\033[31m\\n\\n\\n\\376'",
            b"\0\xff\x01\x1b[31m\n\n\n\xfe".to_vec(),
        ),
        // The container runtime may lose what it has not read when a program ends: whoever writes much stays for a moment.
        ("head -c 6291456 /dev/zero | tr '\\0' x; sleep 2", long(b"")),
        ("head -c 6291456 /dev/zero | tr '\\0' x; echo; sleep 2", long(b"\n")),
        (
            "head -c 16384 /dev/zero; echo; head -c 16384 /dev/zero",
            [vec![0; 16_384], b"\n".to_vec(), vec![0; 16_384]].concat(),
        ),
        // As many as the kubelet does not rotate: it may be that nobody reads while they are written.
        ("seq 1 150000; sleep 2", lines(1..=150_000, |number| number.to_string())),
        (
            "echo 2026-11-28T20:31:26.123456789Z x; printf '2026-11-28T20:31:26.123456789Z y'",
            b"2026-11-28T20:31:26.123456789Z x\n2026-11-28T20:31:26.123456789Z y".to_vec(),
        ),
        ("for i in $(seq 1 5); do echo $i; sleep 0.7; done; exit 7", b"1\n2\n3\n4\n5\n".to_vec()),
    ];
    let mut pods = Vec::new();
    for (number, (script, _)) in cases.iter().enumerate() {
        pods.push(job(&namespace, &format!("case-{number}"), script).await);
    }
    let namespace = &namespace;
    let all = cases.iter().zip(&pods).map(|((script, expected), pod)| {
        let log = followed(client.clone(), namespace, pod);
        async move {
            let log = log.await;
            let there = async || namespace.kubectl(&["logs", pod]).await.map(|log| log.len());
            assert!(
                log == *expected,
                "`{script}` left {}; all that the cluster has of it are {:?} bytes",
                shown(&log),
                there().await
            );
        }
    });
    join_all(all).await;
}

/// Both outputs are there as a whole, also where both end without a newline; their order is the runtime's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_outputs_of_a_pod_are_read_though_neither_ends_with_a_newline() {
    let namespace = cluster::shared().await.unwrap().namespace("outputs").await.unwrap();
    let client = client(namespace.kubeconfig(), None).await;
    let log = run(client, &namespace, "both", "printf out; sleep 0.5; printf err >&2").await;
    let text = String::from_utf8(log).unwrap();
    assert!(["outerr", "errout"].contains(&&*text), "{text}");
}

/// The kubelet rotates at 10 MiB and serves the newest file alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_rotated_while_it_is_written_is_whole() {
    let namespace = cluster::shared().await.unwrap().namespace("rotation").await.unwrap();
    let client = client(namespace.kubeconfig(), None).await;
    let script = "x=$(head -c 980 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo $i $x; [ $((i % 50)) = 0 ] && usleep 40000; done; exit 0";
    let pod = job(&namespace, "much", script).await;
    let log = followed(client, &namespace, &pod).await;
    let served = namespace.kubectl(&["logs", &pod, "--tail=-1"]).await.unwrap();
    // How late a kubelet looks for what to rotate is its own affair, and so how much of it is in the newest file.
    assert!(
        served.len() + 1_000_000 < log.len(),
        "it was not rotated: {} bytes are served",
        served.len()
    );
    nothing_is_missing_without_a_word(log, 30_000, &"x".repeat(980));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_whole_though_each_connection_is_cut_after_a_second() {
    let namespace = cluster::shared().await.unwrap().namespace("cut").await.unwrap();
    let way = Proxy::to(address(namespace.kubeconfig()).await).await;
    let client = client(namespace.kubeconfig(), Some(&way)).await;
    let script =
        "i=0; while [ $i -lt 1500 ]; do i=$((i+1)); echo tick-$i; usleep 5000; done; printf end";
    let mut expected = lines(1..=1_500, |number| format!("tick-{number}"));
    expected.extend(b"end");
    let cutting = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            way.cut();
            sleep(Duration::from_millis(50)).await;
            way.mend();
        }
    };
    let log = tokio::select! {
        log = run(client, &namespace, "ticks", script) => log,
        () = cutting => unreachable!("it cuts for ever"),
    };
    assert!(log == expected, "{}", shown(&log));
}

/// Without its binding the executor's account has no rights at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_one_may_not_read_waits_for_the_right_and_names_it_at_last() {
    let namespace = cluster::shared().await.unwrap().namespace("right").await.unwrap();
    let binding = namespace.kubectl(&["get", "rolebindings", "-o", "json"]).await.unwrap();
    namespace.kubectl(&["delete", "rolebindings", "--all"]).await.unwrap();
    let client = client(namespace.kubeconfig(), None).await;
    let never = run(client.clone(), &namespace, "never", "echo first").await;
    let text = String::from_utf8(never).unwrap();
    let name = namespace.name();
    assert!(
        text.contains(&format!("may not `get` `pods/log` in the namespace `{name}`")),
        "{text}"
    );
    assert!(text.contains(&format!("kubectl -n {name} create rolebinding")), "{text}");
    assert!(text.contains(&format!("--serviceaccount={name}:")), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");

    let granted = run(client, &namespace, "granted", "echo first; sleep 20; echo last");
    let granting = async {
        let started =
            ["get", "pods", "-l", "job-name=granted", "-o", "jsonpath={.items[*].status.phase}"];
        namespace.until(&started, |phase| phase == "Running").await.unwrap();
        namespace.apply(&binding).await.unwrap();
    };
    let (log, ()) = tokio::join!(granted, granting);
    assert_eq!(String::from_utf8(log).unwrap(), "first\nlast\n");
}

/// While a volume is missing there is no container, and the API refuses its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_asked_for_before_there_is_a_container_is_whole() {
    let namespace = cluster::shared().await.unwrap().namespace("creating").await.unwrap();
    let client = client(namespace.kubeconfig(), None).await;
    let pod = job_with(&namespace, "creating", "echo first; sleep 2; echo last", &["late"]).await;
    let why = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    let creating = ["get", "pod", &pod, "-o", why];
    namespace.until(&creating, |why| why == "ContainerCreating").await.unwrap();
    let log = pod_log(client, &namespace, &pod);
    let nothing = log.follow(&Bytes::new(), 1, Duration::from_secs(3)).await.unwrap();
    assert_eq!((nothing, log.is_over()), (None, false));
    namespace.kubectl(&["create", "configmap", "late"]).await.unwrap();
    let (read, ()) = tokio::join!(read(&log), tell_the_end(&log, &namespace, &pod));
    assert_eq!(String::from_utf8(read).unwrap(), "first\nlast\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_of_a_pod_that_is_gone_is_said() {
    let namespace = cluster::shared().await.unwrap().namespace("gone").await.unwrap();
    let client = client(namespace.kubeconfig(), None).await;
    let pod = job(&namespace, "gone", "echo first; sleep 600").await;
    let log = pod_log(client, &namespace, &pod);
    let mut piece = None;
    let until = Instant::now() + LONG;
    while piece.is_none() && Instant::now() < until {
        piece = log.follow(&Bytes::new(), 100, Duration::from_secs(1)).await.unwrap();
    }
    assert_eq!(piece.unwrap().chunks[0].1, "first\n");
    namespace.kubectl(&["delete", "job", "gone", "--cascade=background"]).await.unwrap();
    let pods = ["get", "pods", "-o", "name"];
    namespace.until(&pods, str::is_empty).await.unwrap();
    log.container_ended(None);
    let text = String::from_utf8(read(&log).await).unwrap();
    assert!(text.starts_with("first\n[octavius: the log from "), "{text}");
    assert!(
        text.ends_with(&format!("the pod `{pod}` was gone before it was read to its end]\n")),
        "{text}"
    );
}

/// Nothing is written for a minute, and neither that nor who is asked for more ends the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_goes_on_after_a_minute_of_silence() {
    let place = Cluster::new("quiet").await;
    let runner = place.runner().await;
    let mut work = place.work("echo a; sleep 70; echo b");
    work.timeout = Some(LONG);
    suite::start(&runner, &work).await;
    suite::log_with(&runner, work.attempt, "a\n").await;
    let until = Instant::now() + LONG;
    let (_, cursor) = suite::log_with(&runner, work.attempt, "a\n").await;
    let mut more = None;
    while more.is_none() {
        assert!(Instant::now() < until, "nothing came after the silence");
        more = suite::next_piece(&runner, work.attempt, &cursor, 99).await;
    }
    suite::check_code(&suite::ended(&runner, work.attempt).await, 0);
    assert_eq!(suite::whole_log(&runner, work.attempt, 99).await, b"a\nb\n");
}

mod own_cluster {
    use super::*;

    /// What a kubelet passes over where it goes on in the next file before it has read the old one to its end is said:
    /// a program that never pauses meets that every now and then.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_line_of_a_log_that_is_written_without_a_pause_is_missing_without_a_word() {
        let own = cluster::own_with_logs_of("256Ki").await.unwrap();
        let namespace = own.namespace("dense").await.unwrap();
        let client = client(namespace.kubeconfig(), None).await;
        let script = "x=$(head -c 2990 /dev/zero | tr '\\0' x); i=0; while [ $i -lt 12000 ]; do i=$((i+1)); echo $i $x; [ $((i % 3)) = 0 ] && usleep 2000; done; exit 0";
        let mut pods = Vec::new();
        for number in 0..2 {
            pods.push(job(&namespace, &format!("dense-{number}"), script).await);
        }
        let all = pods.iter().map(|pod| followed(client.clone(), &namespace, pod));
        let filler = "x".repeat(2990);
        for log in join_all(all).await {
            nothing_is_missing_without_a_word(log, 12_000, &filler);
        }
    }

    /// A pod that runs for 40 s, on a node that gives its log to nobody yet.
    async fn begun(namespace: &Namespace) -> String {
        let pod = job(namespace, "early", "echo first; sleep 40; echo last; exit 3").await;
        let phase = ["get", "pod", &pod, "-o", "jsonpath={.status.phase}"];
        namespace.until(&phase, |phase| phase == "Running").await.unwrap();
        pod
    }

    /// Who asks for the log gets nothing for half a minute, and is not told that it is over.
    async fn nothing_yet(log: &PodLog) {
        let refused = Instant::now() + Duration::from_secs(30);
        while Instant::now() < refused {
            let nothing = log.follow(&Bytes::new(), 1, Duration::from_secs(2)).await.unwrap();
            assert_eq!((nothing, log.is_over()), (None, false));
        }
    }

    async fn is_whole(log: &PodLog, namespace: &Namespace, pod: &str) {
        let (read, ()) = tokio::join!(read(log), tell_the_end(log, namespace, pod));
        assert_eq!(String::from_utf8(read).unwrap(), "first\nlast\n");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_of_a_node_that_does_not_answer_at_first_is_whole() {
        let own = cluster::own().await.unwrap();
        let namespace = own.namespace("port").await.unwrap();
        let pod = begun(&namespace).await;
        own.stop("kubelet").await.unwrap();
        let log = pod_log(client(namespace.kubeconfig(), None).await, &namespace, &pod);
        nothing_yet(&log).await;
        own.resume("kubelet").await.unwrap();
        is_whole(&log, &namespace, &pod).await;
    }

    /// As that of a fresh node, whose own certificate is not signed yet.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_of_a_node_whose_certificate_is_not_believed_at_first_is_whole() {
        let own = cluster::own().await.unwrap();
        let namespace = own.namespace("certificate").await.unwrap();
        let pod = begun(&namespace).await;
        let files = own.state().join("pki");
        let swap = async |from: &str, to: &str| {
            own.stop("kubelet").await.unwrap();
            for kind in ["crt", "key"] {
                let file = |name: &str| files.join(format!("{name}.{kind}"));
                fs::copy(file(from), file(to)).unwrap();
            }
            own.resume("kubelet").await.unwrap();
        };
        for kind in ["crt", "key"] {
            let file = |name: &str| files.join(format!("{name}.{kind}"));
            fs::copy(file("kubelet-server"), file("good")).unwrap();
        }
        // Its own as a client names no address.
        swap("kubelet", "kubelet-server").await;
        let refused = async || match namespace.kubectl(&["logs", &pod]).await {
            Err(failed) => failed.to_string(),
            Ok(log) => log,
        };
        let until = Instant::now() + LONG;
        while !refused().await.contains("x509") {
            assert!(Instant::now() < until, "{}", refused().await);
            sleep(Duration::from_millis(300)).await;
        }
        let log = pod_log(client(namespace.kubeconfig(), None).await, &namespace, &pod);
        nothing_yet(&log).await;
        swap("good", "kubelet-server").await;
        is_whole(&log, &namespace, &pod).await;
    }

    /// A part is away for ten seconds while a program ticks, and the log is whole.
    async fn ticks(own: &cluster::Own, part: &str) {
        let namespace = own.namespace("ticks").await.unwrap();
        let client = client(namespace.kubeconfig(), None).await;
        let script = "for i in $(seq 1 25); do echo tick-$i; sleep 1; done; exit 7";
        let pod = job(&namespace, "ticks", script).await;
        let log = pod_log(client, &namespace, &pod);
        let away = async {
            let until = Instant::now() + LONG;
            while log.follow(&Bytes::new(), 1, Duration::from_secs(1)).await.unwrap().is_none() {
                assert!(Instant::now() < until, "it never began");
            }
            own.restart(part, Duration::from_secs(10)).await.unwrap();
        };
        away.await;
        let (log, ()) = tokio::join!(read(&log), tell_the_end(&log, &namespace, &pod));
        let expected = lines(1..=25, |number| format!("tick-{number}"));
        assert!(log == expected, "without {part}: {}", shown(&log));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_log_is_whole_though_a_part_of_the_cluster_is_away_meanwhile() {
        let own = cluster::own().await.unwrap();
        for part in ["kubelet", "apiserver", "containerd"] {
            ticks(&own, part).await;
        }
    }
}
