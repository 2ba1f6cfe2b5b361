//! A controller and executors as processes beside a cluster, and somebody at the command line.

use octavius_testbed::{
    cluster::{Cluster, Failed, Namespace, shared},
    ports::free_port,
    server::{Server, built_beside},
};
use serde_json::{Value, json};
use std::{
    fs,
    future::Future,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// For how long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many attempts an executor takes at once.
pub(crate) const PLACES: usize = 10;

/// Where a binary of ours is.
pub(crate) fn binary(name: &str) -> PathBuf {
    built_beside(env!("CARGO_BIN_EXE_octavius").as_ref(), name)
}

/// A controller, and a namespace for what its executors run. Their programs see the folder, because the node is this machine.
pub(crate) struct World {
    pub(crate) user: User,
    pub(crate) namespace: Namespace,
    cluster: Cluster,
    controller: Server,
    config: Value,
    address: String,
    folder: TempDir,
}

impl World {
    /// One whose controller is started, with a job `once` of which each run writes to a file by whom its Job was made, and
    /// ends when it may.
    pub(crate) async fn start(name: &str) -> Result<Self, Failed> {
        Self::within(shared().await?, name).await
    }

    /// The same, beside this cluster.
    pub(crate) async fn within(cluster: Cluster, name: &str) -> Result<Self, Failed> {
        Self::with(cluster, name, &json!({})).await
    }

    /// The same, with these keys in the controller's file.
    pub(crate) async fn with(cluster: Cluster, name: &str, keys: &Value) -> Result<Self, Failed> {
        let namespace = cluster.namespace(name).await?;
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut config = json!({
            "app_port": address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap(),
            "metrics_address": format!("127.0.0.1:{}", free_port()),
            "store": "embedded",
            "data_dir": folder.path().join("data"),
            "executor_ping_deadline": 9,
        });
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        let mut controller = Server::new(&binary("controller"), folder.path(), &config);
        controller.start();
        let user = User::of(&address);
        let world = Self { user, namespace, cluster, controller, config, address, folder };
        world.says(&world.controller, "the controller serves").await;
        let shared = world.path("shared");
        fs::create_dir(&shared).unwrap();
        let script = format!(
            "cd '{}'; grep '^made-by=' /pod/annotations >> \"$OCTAVIUS_EXECUTION_ID\"; \
             until [ -e go ]; do sleep 1; done; echo done",
            shared.display()
        );
        let annotations = json!({
            "path": "annotations",
            "fieldRef": { "fieldPath": "metadata.annotations" },
        });
        world.user.creates(&json!({
            "name": "once",
            "image_name": "busybox:dev",
            "command": ["sh", "-c", script],
            "kubernetes": { "spec": {
                "volumes": [
                    { "name": "shared", "hostPath": { "path": &shared } },
                    { "name": "pod", "downwardAPI": { "items": [annotations] } },
                ],
                "containers": [{ "name": "job", "volumeMounts": [
                    { "name": "shared", "mountPath": &shared },
                    { "name": "pod", "mountPath": "/pod" },
                ] }],
            } },
        }));
        Ok(world)
    }

    /// The same, whose controller has these keys, too, which know the namespace, and asks for tokens: its user is an
    /// administrator.
    pub(crate) async fn guarded(
        cluster: Cluster,
        name: &str,
        keys: impl FnOnce(&str) -> Value,
    ) -> Result<Self, Failed> {
        let mut world = Self::within(cluster, name).await?;
        let token = world.user.run(&["token", "create", "ada@example.com"]).unwrap();
        world.user.run(&["role", "grant", "admin", "--person", "ada@example.com"]).unwrap();
        world.controller.end().await;
        world.config["authentication"] = json!("tokens");
        for (key, value) in keys(world.namespace.name()).as_object().unwrap() {
            world.config[key] = value.clone();
        }
        world.controller = Server::new(&binary("controller"), world.folder.path(), &world.config);
        world.controller.start();
        // What the first one said stands before what this one says.
        let asks = || async {
            let refused = world.user.run(&["version"]).err().unwrap_or_default();
            if refused.contains("asks for a token") { Ok(()) } else { Err(refused) }
        };
        world.eventually(asks).await;
        world.user.token = Some(token.trim().to_owned());
        Ok(world)
    }

    /// An executor of this id, which is not started yet. What it makes says that `process` made it.
    pub(crate) fn executor(&self, id: &str, process: &str) -> Server {
        self.executor_in(&[], id, process)
    }

    /// Another namespace, in which the executors of this world have no rights yet.
    pub(crate) async fn other_namespace(&self, name: &str) -> Result<Namespace, Failed> {
        self.cluster.namespace(name).await
    }

    /// The same, for jobs that name one of these namespaces, too.
    pub(crate) fn executor_in(&self, namespaces: &[&str], id: &str, process: &str) -> Server {
        self.executor_with(id, process, &json!({ "namespaces": namespaces }))
    }

    /// The same, with these keys in its file.
    pub(crate) fn executor_with(&self, id: &str, process: &str, keys: &Value) -> Server {
        let files = self.path(process);
        fs::create_dir(&files).unwrap();
        let mut config = json!({
            "cp_host": &self.address,
            "id": id,
            "ping_interval": 1,
            "runner": "kubernetes",
            "kube_config": "out-of-cluster",
            "default_namespace": self.namespace.name(),
            "state_dir": files.join("state"),
            "capacity": PLACES,
            "allowed_template_fields": ["volumes", "volumeMounts"],
            "job_pod_annotations": { "made-by": process },
        });
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        let executor = Server::new(&binary("executor"), &files, &config);
        executor.with("KUBECONFIG", self.namespace.kubeconfig())
    }

    /// Executes `once` so many times.
    pub(crate) fn execute(&self, times: usize) -> Vec<String> {
        let execute = || self.user.run(&["execute", "once", "--output", "name"]).unwrap();
        (0..times).map(|_| execute().trim().to_owned()).collect()
    }

    /// By whom what an execution ran was made, one line for each time that it ran.
    pub(crate) fn runs(&self, execution: &str) -> Vec<String> {
        let lines = fs::read_to_string(self.path("shared").join(execution)).unwrap_or_default();
        let by = |line: &str| line.trim_start_matches("made-by=").trim_matches('"').to_owned();
        lines.lines().map(by).collect()
    }

    /// Waits until so many executions have run, or run.
    pub(crate) async fn have_run(&self, executions: &[String], wanted: usize) {
        let run = || async {
            let run = executions.iter().filter(|id| !self.runs(id).is_empty()).count();
            if run >= wanted { Ok(()) } else { Err(format!("{run} run: {}", self.executions())) }
        };
        self.eventually(run).await;
    }

    /// What runs may end.
    pub(crate) fn let_end(&self) {
        fs::write(self.path("shared/go"), "").unwrap();
    }

    /// Waits until an execution has succeeded, and sees to it that it ran once, in one attempt, with its whole log.
    pub(crate) async fn ran_once(&self, execution: &str) {
        let status = ["status", execution, "--output", "json"];
        let is_over = || async {
            let status: Value = serde_json::from_str(&self.user.run(&status)?).unwrap();
            if status["final"] == true { Ok(status) } else { Err(status.to_string()) }
        };
        let status = self.eventually(is_over).await;
        assert_eq!(
            (&status["state"], &status["attempt"]),
            (&"succeeded".into(), &1.into()),
            "{status}"
        );
        assert_eq!(self.user.run(&["getlogs", execution]).unwrap(), "done\n");
        assert_eq!(self.runs(execution).len(), 1, "{:?}", self.runs(execution));
    }

    /// Waits until nothing of an executor's making is in the cluster.
    pub(crate) async fn nothing_is_left(&self) -> Result<(), Failed> {
        let ours = "--selector=app.kubernetes.io/managed-by=octavius";
        let left = ["get", "jobs,pods,secrets", ours, "--output=name"];
        self.namespace.until(&left, str::is_empty).await.map(drop)
    }

    /// All executions, as a user sees them.
    pub(crate) fn executions(&self) -> String {
        self.user.run(&["executions"]).unwrap_or_else(|wrong| wrong)
    }

    /// Waits until a server says something, and returns the line.
    pub(crate) async fn says(&self, server: &Server, words: &str) -> String {
        let line = || async {
            let said = server.said();
            let line = said.lines().find(|line| line.contains(words)).map(str::to_owned);
            line.ok_or_else(|| format!("never `{words}`: {said}"))
        };
        self.eventually(line).await
    }

    /// Asks again and again until it is so; what the controller said is told where it never is.
    pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
        &self,
        look: impl FnMut() -> F,
    ) -> T {
        let seen = eventually(look).await;
        seen.unwrap_or_else(|last| panic!("{last}\ncontroller: {}", self.controller.said()))
    }

    /// A path in the folder that has the files of all its servers.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Somebody at the command line, outside the cluster.
pub(crate) struct User {
    home: TempDir,
    controller: String,
    token: Option<String>,
}

impl User {
    /// Somebody who asks the controller at this address.
    pub(crate) fn of(controller: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, controller: controller.to_owned(), token: None }
    }

    /// Makes a job.
    pub(crate) fn creates(&self, definition: &Value) {
        fs::write(self.home.path().join("metadata.json"), definition.to_string()).unwrap();
        self.run(&["create", "--file", "metadata.json"]).unwrap();
    }

    /// What a command prints.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String, String> {
        Self::printed(words, &self.command(words).output().unwrap())
    }

    /// The same, where the command reads `input`.
    pub(crate) fn run_with_input(&self, words: &[&str], input: &str) -> Result<String, String> {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Self::printed(words, &child.wait_with_output().unwrap())
    }

    fn printed(words: &[&str], ran: &Output) -> Result<String, String> {
        let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
        let said = String::from_utf8_lossy(&ran.stderr);
        let wrong = || format!("{words:?}: {}: {printed}{said}", ran.status);
        if ran.status.success() { Ok(printed) } else { Err(wrong()) }
    }

    /// A command that is not started yet.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut octavius = Command::new(env!("CARGO_BIN_EXE_octavius"));
        octavius.args(words).env_clear().current_dir(&self.home).stdin(Stdio::null());
        octavius.env("HOME", self.home.path()).env("CP_HOST", &self.controller);
        octavius.env("EMAIL_ID", "ada@example.com");
        octavius.envs(self.token.iter().map(|token| ("ACCESS_TOKEN", token)));
        octavius
    }

    /// Waits until a command prints this.
    pub(crate) async fn waits_for(&self, words: &[&str], wanted: &str) {
        let shows = || async {
            let printed = self.run(words)?;
            if printed.contains(wanted) { Ok(()) } else { Err(printed) }
        };
        let seen = eventually(shows).await;
        seen.unwrap_or_else(|last| panic!("{words:?} never shows `{wanted}`: {last}"));
    }
}

/// Asks again and again until it is so: what was seen last, if it never is.
async fn eventually<T, F: Future<Output = Result<T, String>>>(
    mut look: impl FnMut() -> F,
) -> Result<T, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Err(_) if Instant::now() < until => sleep(Duration::from_millis(200)).await,
            seen => return seen,
        }
    }
}
