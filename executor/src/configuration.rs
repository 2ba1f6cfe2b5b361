//! What `executor_config.json` says. The keys' comments are their manual.

use crate::link::Offer;
use octavius_protocol::id::ExecutorId;
use octavius_service::{
    choice,
    configuration::{Bounds, Bytes, Derived, Fault, Setting},
    section,
    telemetry::logging::{self, Format, Level},
};
use secrecy::SecretString;
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, thread, time::Duration};

section! {
    /// What an executor is told: `executor start` reads it in its working folder.
    pub struct Configuration, file "executor_config.json", variables "OCTAVIUS_EXECUTOR_";

    /// Host and port of the controller, or of several with commas between them: `one:3000,two:3000`. Of these, and of
    /// several machines that a name stands for, the first that answers is asked, and the next when it does not any more.
    /// With `https://` before it TLS is spoken; with `http://` none; with neither, if `tls_ca_file` is given.
    cp_host: String = "localhost:3000".to_owned();
    /// The PEM file of the authority whose certificates are trusted, read once, at the start. Unless it is given: those
    /// that this machine trusts.
    tls_ca_file: Option<PathBuf>;
    /// The PEM file of the certificate that this executor shows, and of the authorities between it and the one that the
    /// controller trusts; where the controller has `tls_executor_ca_file`, it takes calls of executors over such connections
    /// alone. Both files are read again when they change.
    tls_cert_file: Option<PathBuf>;
    /// The PEM file of that certificate's private key.
    tls_key_file: Option<PathBuf>;
    /// This executor's name, unique among those of one controller: 1 to 63 characters of `a-z`, `A-Z`, `0-9`, `-`,
    /// `_` and `.`.
    id: String;
    /// Proves to the controller who this executor is: a token that it was invited with (`octavius executors invite`). Where
    /// the controller takes tokens, the executor trades it with its first registration for a credential of its own, which it
    /// keeps in the file `credential` of its `state_dir`.
    access_token: Option<SecretString>;
    /// The file that holds it instead, read whenever it is needed. In a cluster that the controller trusts this can be the
    /// token of the service account that the executor runs as ([access.md](access.md#executors-in-a-cluster)).
    access_token_file: Option<PathBuf>;
    /// How long a call to the controller may take; a call that waits for work or orders asks for
    /// half of it at the most.
    conn_time_out: Duration = Duration::from_secs(10);
    /// The longest time between two signs of life; a controller that wants them more often gets them.
    ping_interval: Duration = Duration::from_secs(2);

    /// What jobs run on: Kubernetes, or processes of this machine.
    runner: RunnerKind = RunnerKind::Kubernetes;
    /// How many attempts this executor takes at once: 5000 at the most. Unless it is given: as many as there are cores.
    capacity: Option<u32>;
    /// Names and values that jobs can select executors by. `executor` is this executor's `id`, whatever is written here.
    /// Unless they are given: `runner` is its kind, and in a cluster `version` that of the cluster, as `1.20`, and `region`
    /// what all its nodes have under `topology.kubernetes.io/region`, where the executor may list them.
    labels: BTreeMap<String, String> = BTreeMap::new();
    /// The folder of what must outlive this process: which place this is, and with the runner `process` all attempts.
    /// One executor at a time.
    state_dir: PathBuf = PathBuf::from("octavius-executor");
    /// How much of one log is kept, with the runner `process`: of a longer one the beginning and the end, and the log
    /// says what is missing. It bounds the whole log: what the controller has already makes no room for more.
    spool_max: Bytes = Bytes(1 << 30);

    /// How much is logged: `off`, `error`, `warn`, `info`, `debug`, `trace`, or directives.
    log_level: Level = info();
    /// How lines are written: for people, or as one JSON object a line.
    log_format: Format = Format::Text;
    /// The log's file. Unless it is given: standard error.
    log_file_path: Option<PathBuf>;
    /// How large the log's file may grow, in mebibytes, before it is set aside and compressed. How many of those are kept
    /// is in [limits.md](limits.md).
    log_file_max_size_in_mb: u64 = 100;
    /// Where `/metrics`, `/healthz` and `/readyz` answer. Unless it is given: nowhere.
    metrics_address: Option<SocketAddr>;

    /// How long a job's program may run, in seconds, if neither job nor execution says; 0: as long as it likes.
    job_active_deadline_seconds: u64 = 0;
    /// How many new attempts a failure gets if the job does not say: after pauses of 10 s, 20 s and so on, up to 5 min.
    job_retries: u32 = 0;

    /// `out-of-cluster` reads the kubeconfig file, anything else is the cluster that the executor runs in.
    #[only_if(runner = "kubernetes")]
    kube_config: String = "in-cluster".to_owned();
    /// Which context of the kubeconfig file; `default` is its current one.
    #[only_if(runner = "kubernetes")]
    kube_context: String = "default".to_owned();
    /// The namespace of jobs that name none.
    #[only_if(runner = "kubernetes")]
    default_namespace: String = "default".to_owned();
    /// Other namespaces that a job may name. In each the executor needs the rights of the role in `deploy/kubernetes/`.
    #[only_if(runner = "kubernetes")]
    namespaces: Vec<String> = Vec::new();
    /// The service account of the jobs' pods. They get a token of it unless it is `default`.
    #[only_if(runner = "kubernetes")]
    service_account_name: String = "default".to_owned();
    /// How often `job_active_deadline_seconds` an attempt may take until its program runs, if the job does not say; if
    /// one of the two is 0: as the controller says.
    wait_for_resource_poll_count: u32 = 0;
    /// Annotations of each Kubernetes Job and its pod: an object, or a text that holds one.
    #[only_if(runner = "kubernetes")]
    job_pod_annotations: BTreeMap<String, String> = BTreeMap::new();
    /// How much a job's container may do: `as_image` leaves that to its image and the cluster; `baseline` gives it no more
    /// rights than it starts with, and the runtime's own filter of system calls; `restricted` also lets it not be root, and
    /// takes all of root's rights from it.
    #[only_if(runner = "kubernetes")]
    pod_security: PodSecurity = PodSecurity::Baseline;
    /// For how long Job and pod of an execution that has ended are left in the cluster, where `kubectl` shows them, once the
    /// controller has its end and its log. A restart of the executor does not begin that anew.
    #[only_if(runner = "kubernetes")]
    keep_finished_for: Duration = Duration::ZERO;
    /// Which fields the key `kubernetes` of a job may have: by their names in the `spec` of a pod, in its container `job`,
    /// and in its `metadata`. Containers that it brings may have these, and `name`, `image`, `command` and `args`; and they
    /// get no more rights than the job's own. A job that says more is refused.
    #[only_if(runner = "kubernetes")]
    allowed_template_fields: Vec<String> = ["resources", "nodeSelector", "tolerations"].map(str::to_owned).to_vec();

    without_effect {
        log_process_wait_time: "logs are followed until they end";
    }
}

choice! {
    /// What jobs run on.
    pub enum RunnerKind {
        /// Kubernetes Jobs.
        Kubernetes = "kubernetes",
        /// Processes of this machine.
        Process = "process",
    }
}

choice! {
    /// How much a job's container may do.
    pub enum PodSecurity {
        /// As its image and the cluster say.
        AsImage = "as_image",
        /// No more rights than it starts with, and the runtime's own filter of system calls.
        Baseline = "baseline",
        /// As `baseline`, not as root, and without any of root's rights.
        Restricted = "restricted",
    }
}

/// The most attempts that can be taken at once. As many again may have ended and wait to be sent, and a sign of life names
/// 10,000 at the most.
pub(crate) const MOST_PLACES: u32 = 5000;
/// The least that may be kept of a log.
pub(crate) const LEAST_SPOOL: Bytes = Bytes(64 << 10);
/// The most mebibytes of a file that is logged to.
pub(crate) const MOST_LOG_FILE_MIB: u64 = 1 << 20;
/// The times that a call, and the time between two of them, may have.
pub(crate) const SHORTEST_CALL: Duration = Duration::from_millis(100);
pub(crate) const LONGEST_CALL: Duration = Duration::from_secs(3600);

fn cores() -> u32 {
    thread::available_parallelism()
        .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// `info` is a level, so that there is one; the tests load this default.
#[allow(clippy::expect_used)]
fn info() -> Level {
    Level::new("info").expect("a level")
}

impl Configuration {
    /// The executor's id.
    pub fn executor(&self) -> Result<ExecutorId, octavius_protocol::id::Invalid> {
        self.id.parse()
    }

    /// What the log is told.
    pub fn logging(&self) -> logging::Settings {
        logging::Settings {
            level: self.log_level.clone(),
            format: self.log_format,
            file: self.log_file_path.clone(),
            largest_in_mb: self.log_file_max_size_in_mb,
        }
    }

    /// The files of the certificate that it shows, and of its key.
    pub fn certificate(&self) -> Option<(PathBuf, PathBuf)> {
        self.tls_cert_file.clone().zip(self.tls_key_file.clone())
    }

    /// How many attempts this executor takes at once.
    pub fn capacity(&self) -> u32 {
        self.capacity.unwrap_or_else(cores)
    }

    /// What is added to the terms of jobs that do not say.
    pub fn offer(&self) -> Offer {
        let count = self.wait_for_resource_poll_count;
        let timeout = self.default_timeout();
        let start_timeout = timeout.filter(|_| count > 0).map(|time| time.saturating_mul(count));
        Offer { job_retries: self.job_retries, timeout, start_timeout }
    }

    /// How long a program may run if nobody says.
    pub fn default_timeout(&self) -> Option<Duration> {
        (self.job_active_deadline_seconds > 0)
            .then(|| Duration::from_secs(self.job_active_deadline_seconds))
    }
}

impl Bounds for Configuration {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, key, remedy: &str| {
            if !holds {
                faults.push(Fault::new(key, remedy));
            }
        };
        let id = "give 1 to 63 characters of `a-z`, `A-Z`, `0-9`, `-`, `_` and `.`, the first a letter or digit";
        demand(self.executor().is_ok(), "id", id);
        let host = "give host and port of the controller, for example `localhost:3000`";
        demand(!self.cp_host.is_empty(), "cp_host", host);
        let (certificate, key) = (self.tls_cert_file.is_some(), self.tls_key_file.is_some());
        let key_too = "give `tls_key_file`, too, or neither of them";
        demand(!certificate || key, "tls_cert_file", key_too);
        let certificate_too = "give `tls_cert_file`, too, or neither of them";
        demand(!key || certificate, "tls_key_file", certificate_too);
        let both = self.access_token.is_some() && self.access_token_file.is_some();
        demand(!both, "access_token_file", "give it or `access_token`, not both");
        let sensible = SHORTEST_CALL..=LONGEST_CALL;
        let time = |example| {
            let (shortest, longest) = (SHORTEST_CALL.shown(), LONGEST_CALL.shown());
            format!("give a time from `{shortest}` to `{longest}`, for example `{example}`")
        };
        demand(sensible.contains(&self.conn_time_out), "conn_time_out", &time("10s"));
        demand(sensible.contains(&self.ping_interval), "ping_interval", &time("2s"));
        let capacity = format!(
            "give a number from 1 to {MOST_PLACES}; whoever wants no work here stops the executor"
        );
        let possible = self.capacity.is_none_or(|capacity| (1..=MOST_PLACES).contains(&capacity));
        demand(possible, "capacity", &capacity);
        let least = format!("give at least `{}`", LEAST_SPOOL.shown());
        demand(self.spool_max.0 >= LEAST_SPOOL.0, "spool_max", &least);
        let largest = format!("give a number from 1 to {MOST_LOG_FILE_MIB}");
        demand(
            (1..=MOST_LOG_FILE_MIB).contains(&self.log_file_max_size_in_mb),
            "log_file_max_size_in_mb",
            &largest,
        );
        faults
    }

    fn derived(&self) -> Vec<Derived> {
        let cores = || Derived::new("capacity", &self.capacity(), "the cores of this machine");
        self.capacity.is_none().then(cores).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_service::configuration::{Loaded, Section as _, from_values, load_with};
    use proptest::prelude::*;
    use std::path::Path;

    fn sample(variables: &[(&str, &str)]) -> Loaded<Configuration> {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../executor_config.json"));
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        load_with(path, variables).unwrap()
    }

    fn warned(loaded: &Loaded<Configuration>) -> Vec<&str> {
        loaded.warnings.iter().map(|warning| warning.key).collect()
    }

    #[test]
    fn the_sample_loads_as_it_is_and_warns_of_what_does_nothing() {
        let loaded = sample(&[]);
        assert_eq!(warned(&loaded), ["log_process_wait_time"]);
        let section = loaded.section;
        assert_eq!(section.runner, RunnerKind::Kubernetes);
        assert_eq!(section.conn_time_out, Duration::from_secs(10));
        assert_eq!(section.job_pod_annotations["key.one"], "true");
        assert_eq!(section.default_timeout(), Some(Duration::from_secs(60)));
        assert_eq!(section.state_dir, Path::new("octavius-executor"));
        assert!(section.capacity() > 0 && section.metrics_address.is_none());
        assert!(!format!("{section:?}").contains("something"), "the token is shown");
    }

    #[test]
    fn a_variable_makes_the_sample_run_processes() {
        let loaded = sample(&[("OCTAVIUS_EXECUTOR_RUNNER", "process")]);
        assert_eq!(loaded.section.runner, RunnerKind::Process);
        assert!(warned(&loaded).contains(&"kube_config"));
    }

    #[test]
    fn the_time_to_start_is_offered_with_each_runner_and_no_warning() {
        for runner in ["process", "kubernetes"] {
            let offered = |count: &str, deadline: &str| {
                let loaded = sample(&[
                    ("OCTAVIUS_EXECUTOR_RUNNER", runner),
                    ("OCTAVIUS_EXECUTOR_WAIT_FOR_RESOURCE_POLL_COUNT", count),
                    ("OCTAVIUS_EXECUTOR_JOB_ACTIVE_DEADLINE_SECONDS", deadline),
                ]);
                assert!(!warned(&loaded).contains(&"wait_for_resource_poll_count"), "{runner}");
                loaded.section.offer().start_timeout
            };
            assert_eq!(offered("5", "60"), Some(Duration::from_secs(300)));
            assert_eq!(offered("0", "60"), None);
            assert_eq!(offered("5", "0"), None);
        }
    }

    #[test]
    fn every_fault_is_named_with_key_value_and_remedy() {
        let file = r#"{"id": "-x", "capacity": 0, "ping_interval": 0, "spool_max": "1KiB", "runner": "docker"}"#;
        let problems = from_values::<Configuration>(file).unwrap_err().to_string();
        assert!(
            problems.contains("`runner` is `docker`: give `kubernetes` or `process`"),
            "{problems}"
        );
        let file = r#"{"id": "-x", "capacity": 0, "ping_interval": 0, "spool_max": "1KiB"}"#;
        let problems = from_values::<Configuration>(file).unwrap_err();
        let keys: Vec<_> = problems.0.iter().filter_map(|problem| problem.key.as_deref()).collect();
        assert_eq!(keys, ["id", "ping_interval", "capacity", "spool_max"]);
        for (alone, other) in [("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")]
        {
            let file = format!(r#"{{"id": "x", "{alone}": "a.pem"}}"#);
            let problems = from_values::<Configuration>(&file).unwrap_err().to_string();
            let wanted = format!("`{alone}` is `a.pem`: give `{other}`, too, or neither of them");
            assert!(problems.contains(&wanted), "{problems}");
        }
        let capacity =
            |places| format!(r#"{{"id": "x", "runner": "process", "capacity": {places}}}"#);
        assert!(from_values::<Configuration>(&capacity(5000)).is_ok());
        assert!(from_values::<Configuration>(&capacity(5001)).is_err());
    }

    /// What may stand behind a key, right and wrong.
    const VALUE: &str = "(null|true|-1|0|[0-9]{1,25}|1e999|\\[\\]|\\{\\}|\\[\"[a-z]{0,3}\", 7\\]|\\{\"[a-z]{0,3}\": \\{\"issuer\": \"[a-z:/]{0,9}\"\\}\\}|\"(\\PC{0,20}|[0-9a-z:/.,_-]{0,30}|[0-9]{1,4}[smhd])\")";

    fn keys() -> Vec<&'static str> {
        Configuration::keys().into_iter().map(|key| key.name).collect()
    }

    proptest! {
        #[test]
        fn no_file_breaks_the_reader(
            given in prop::collection::vec((prop::sample::select(keys()), VALUE), 0..6),
            text in "\\PC{0,40}",
        ) {
            let pair = |(key, value): &(&str, String)| format!("\"{key}\": {value}");
            let pairs: Vec<_> = given.iter().map(pair).collect();
            for file in [format!("{{{}}}", pairs.join(", ")), pairs.join("\n"), text] {
                if let Err(problems) = from_values::<Configuration>(&file) {
                    prop_assert!(!problems.to_string().is_empty());
                }
            }
        }
    }
}
