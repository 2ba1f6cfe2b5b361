//! `controller_config.json`, or the same in YAML: what the controller is told.

use crate::{
    access::{
        issuer::Clusters,
        token::{TokenHash, TokenId},
    },
    caller::is_person,
    job_queue::rules::QueueLimits,
    log_store::LogStoreUrl,
    web::SafeUrl,
};
use octavius_protocol::MAX_TIME;
use octavius_service::{
    choice,
    configuration::{Bounds, Bytes, Derived, Fault, Setting, private::Value},
    section,
    telemetry::logging::{Format, Level, Settings},
};
use secrecy::SecretString;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

/// Where the controller listens unless it is told otherwise.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Pings and their answers need some time of their own.
pub(crate) const SHORTEST_PING_DEADLINE: Duration = Duration::from_millis(100);
/// Whoever waits for an execution, or says a wish again, comes back within this time.
pub(crate) const SHORTEST_HISTORY: Duration = Duration::from_secs(60 * 60);

/// The shortest time for which who did what is kept.
const SHORTEST_AUDIT: Duration = Duration::from_secs(24 * 60 * 60);
/// What etcd takes unless it is told otherwise, and what one decision may need.
const LEAST_OPERATIONS: u64 = 128;
const MOST_OPERATIONS: u64 = 10_000;
const LEAST_REQUEST: Bytes = Bytes(1536 << 10);
/// A member of an etcd that takes longer is as good as away.
const LONGEST_DIAL: Duration = Duration::from_secs(60);
/// etcd 3.4 silently raises what is shorter, to one and a half of its election timeout.
const LEADER_TTLS: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(60);
/// Each takes a kilobyte or two of memory.
const MOST_PENDING: u64 = 10_000_000;
/// More than a controller answers.
const MOST_CALLS_PER_SECOND: u64 = 1_000_000;
/// A segment of a log is about that large.
pub(crate) const LEAST_LOG_LIMIT: Bytes = Bytes(1 << 20);

choice! {
    /// Where the state is kept.
    pub enum StoreKind {
        /// In an etcd.
        Etcd = "etcd",
        /// In a file in `data_dir`.
        Embedded = "embedded",
    }
}

choice! {
    /// How who calls is known.
    pub enum Authentication {
        /// Not at all: whoever reaches the controller may do everything.
        Open = "open",
        /// By a token, which says who they are and what they may do.
        Tokens = "tokens",
    }
}

choice! {
    /// What a controller that others reach has to have.
    pub enum Security {
        /// TLS, and who calls shows a token.
        Strict = "strict",
        /// Nothing: whoever wrote this word knows the network.
        Insecure = "insecure",
    }
}

/// The first administrator: a name, and the id and the hash of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstAdministrator {
    /// Whose the token is.
    pub name: String,
    /// Names it.
    pub id: TokenId,
    /// Proves it.
    pub hash: TokenHash,
}

impl Setting for FirstAdministrator {
    fn wanted() -> String {
        "a name, and the id and the SHA-256 of a token, as `controller init` writes them, with a space between each"
            .to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let wrong = || format!("give {}", Self::wanted());
        let text = value.as_str().ok_or_else(wrong)?;
        let mut words = text.split_whitespace();
        let (name, id, hash) = (words.next(), words.next(), words.next());
        let name = name.filter(|name| is_person(name)).ok_or_else(wrong)?.to_owned();
        let id = id.and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
        let hash = hash.and_then(|hash| TokenHash::try_from(hash.to_owned()).ok());
        let hash = hash.filter(|_| words.next().is_none()).ok_or_else(wrong)?;
        Ok(Self { name, id, hash })
    }

    fn shown(&self) -> String {
        format!("{} {} {}", self.name, self.id, String::from(self.hash.clone()))
    }
}

choice! {
    /// Who compacts the history of etcd.
    pub enum Compaction {
        /// The controller, where nobody else does.
        Auto = "auto",
        /// Somebody else.
        Off = "off",
    }
}

/// A member of an etcd: `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdEndpoint(String);

impl Setting for EtcdEndpoint {
    fn wanted() -> String {
        "a member of an etcd, `http://HOST:PORT` or `https://HOST:PORT`, for example `http://localhost:2379`"
            .to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let wrong = || format!("give {}", Self::wanted());
        let text = value.as_str().map(str::trim).ok_or_else(wrong)?;
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let text = text.trim_end_matches('/').to_owned();
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let is_right = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.port_u16().is_some()
            && matches!(uri.path(), "" | "/")
            && uri.query().is_none();
        if is_right { Ok(Self(text)) } else { Err(wrong()) }
    }

    fn shown(&self) -> String {
        self.0.clone()
    }
}

/// Where an issuer of identity tokens is asked: over TLS, or on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerUrl(pub SafeUrl);

impl Setting for IssuerUrl {
    fn wanted() -> String {
        "the URL of an issuer as it writes it itself, `https://HOST/PATH`, for example `https://accounts.google.com`; with `http://` on this machine alone"
            .to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().filter(|text| !text.contains('?'));
        text.and_then(SafeUrl::parse).map(Self).ok_or_else(|| format!("give {}", Self::wanted()))
    }

    fn shown(&self) -> String {
        self.0.as_str().to_owned()
    }
}

/// An address of this machine, without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress(pub IpAddr);

impl Setting for ListenAddress {
    fn wanted() -> String {
        "an address of this machine without a port, for example `127.0.0.1`, `0.0.0.0` or `::`"
            .to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str().map(str::trim) {
            Some("localhost") => Ok(Self(LOOPBACK)),
            Some(text) => text.parse().map(Self).map_err(|_| format!("give {}", Self::wanted())),
            None => Err(format!("give {}", Self::wanted())),
        }
    }

    fn shown(&self) -> String {
        self.0.to_string()
    }
}

section! {
    /// What the controller is told: where it listens, where its state is, when a silent executor is given up.
    pub struct Configuration, file "controller_config.json", variables "OCTAVIUS_CONTROLLER_";

    /// The port that clients and executors dial; 0 takes any free one.
    app_port: u16 = 3000;
    /// Where it listens. Beyond loopback that takes TLS (`tls_cert_file`, `tls_key_file`) and `authentication: tokens`, all of
    /// which `controller init` makes, or the words `security: insecure`.
    listen_address: ListenAddress = ListenAddress(LOOPBACK);
    /// How who calls is known: `open` lets whoever reaches the controller do everything; with `tokens` each call shows a
    /// token, which people get with `octavius token create` and executors with `octavius executors invite`
    /// ([access.md](access.md)).
    authentication: Authentication = Authentication::Open;
    /// Who is an administrator although no command has made them one: a name, and the id and the SHA-256 of their token, as
    /// `controller init` writes them. It counts as long as it stands here, and only where tokens are taken.
    first_administrator: Option<FirstAdministrator>;
    /// The issuer of identity tokens of OpenID Connect that are taken as they are, beside those that the controller makes
    /// itself ([access.md](access.md#identity-tokens)): the URL that it has in its own documents, byte for byte. Only with
    /// `authentication: tokens`.
    oidc_issuer: Option<IssuerUrl>;
    /// For whom an identity token has to be (`aud`): what the issuer knows this installation as, often a client id.
    oidc_audience: Option<String>;
    /// The claim of an identity token that names the person. With `email` a token is refused that says that this was not
    /// verified.
    oidc_name_claim: String = "email".to_owned();
    /// The claim of an identity token that names their groups, a list of texts; those without it are in none.
    oidc_groups_claim: String = "groups".to_owned();
    /// The PEM file of the authority whose certificates are trusted when the issuer is asked for its keys, read once, at
    /// the start. Unless it is given: those that this machine trusts.
    oidc_ca_file: Option<PathBuf>;
    /// Clusters whose executors join with the token of their service account, in place of one that they were invited with.
    /// A token counts that names the cluster's `issuer` (`iss`) and `audience` (`aud`; `octavius` unless it is given), and is
    /// of one of its `service_accounts`; executors that join so have its `labels`. Its keys are read from `keys_file`, or
    /// fetched from its issuer, trusting the authority in `ca_file` ([access.md](access.md#executors-in-a-cluster)). Only
    /// with `authentication: tokens`.
    clusters: Clusters = Clusters::default();
    /// What a controller has to have that listens beyond loopback: with `strict` TLS and `authentication: tokens`; with
    /// `insecure` neither, in a network where whoever reaches it may do what it lets them.
    security: Security = Security::Strict;
    /// The PEM file of the controller's certificate, and of the authorities between it and the one that is trusted. With
    /// it and `tls_key_file` TLS is spoken at the port that clients and executors dial, and nothing else. Both files are
    /// read again when they change.
    tls_cert_file: Option<PathBuf>;
    /// The PEM file of that certificate's private key.
    tls_key_file: Option<PathBuf>;
    /// The PEM file of the authority whose certificates are trusted when calls are passed on to the controller that
    /// leads, over TLS. Unless it is given: those that this machine trusts.
    tls_ca_file: Option<PathBuf>;
    /// The PEM file of the authorities that sign the certificates of executors. Where it is given, executors have to show one,
    /// besides their credential: `tls_cert_file` and `tls_key_file` in their file. So has a controller that passes calls of
    /// executors on: the certificate in `tls_cert_file` is then for clients, too, and of one of these authorities. People need
    /// none. It is read again when it changes ([security.md](security.md#certificates-of-executors)).
    tls_executor_ca_file: Option<PathBuf>;
    /// Where `/metrics`, `/healthz` and `/readyz` are answered.
    metrics_address: SocketAddr = SocketAddr::new(LOOPBACK, 3001);
    /// Where the other controllers of the same etcd reach this one: `HOST:PORT`. Without it the address where it listens,
    /// which has to be one that they reach.
    advertise_address: Option<String>;
    /// Where the state is kept. Without it: `etcd` if one of the `etcd_` keys is given, else `embedded`.
    store: Option<StoreKind>;
    /// The folder of the embedded store, and of the logs unless `log_store` says otherwise; made if it is not there.
    data_dir: PathBuf = PathBuf::from("octavius-data");
    /// Where the bytes of logs are kept: a folder, `file:///shared/folder`, or a bucket of a cloud, `s3://bucket/prefix`,
    /// `gs://bucket/prefix` or `az://container/prefix`. Without it: the folder `logs` in `data_dir`. No secrets belong
    /// into it: keys of a cloud come from its own variables ([logs.md](logs.md#where-logs-are-kept)).
    log_store: Option<LogStoreUrl>;
    /// The members of the etcd: a list, or a text with commas. The next one is asked where one does not answer.
    etcd_endpoints: Vec<EtcdEndpoint> = Vec::new();
    /// The host of an etcd of one member: another way to give `etcd_endpoints`. Without any `localhost`.
    etcd_host: Option<String>;
    /// The port of an etcd of one member. Without any 2379.
    etcd_port: Option<u16>;
    /// How long one member of the etcd may take for its first answer. Without it `2s`.
    etcd_dial_timeout: Option<Duration>;
    /// The user that the etcd knows us as, where it has users.
    etcd_user: Option<String>;
    /// That user's password.
    etcd_password: Option<SecretString>;
    /// The certificates that members at `https://` are checked with, PEM. Without it those of the system.
    etcd_ca_file: Option<PathBuf>;
    /// The certificate that the etcd knows us by, PEM, where it asks for one.
    etcd_cert_file: Option<PathBuf>;
    /// The key of that certificate, PEM.
    etcd_key_file: Option<PathBuf>;
    /// What all keys in the etcd begin with: an installation has one of its own.
    etcd_prefix: String = "octavius/".to_owned();
    /// How many operations the etcd takes in a transaction: its `--max-txn-ops`. More make larger batches.
    etcd_max_txn_ops: u64 = 128;
    /// How many bytes the etcd takes in a request: its `--max-request-bytes`. More make larger batches.
    etcd_max_request_bytes: Bytes = Bytes(1536 << 10);
    /// Who compacts the history of the etcd: `auto` is the controller, where nobody else does, and keeps ten minutes;
    /// `off` leaves it to others.
    etcd_compaction: Compaction = Compaction::Auto;
    /// How long a controller that is silent leads on: after a crash another one follows so much later. Whole seconds.
    leader_ttl: Duration = Duration::from_secs(5);
    /// How long an executor may be silent until it gets no more work. What it runs is not touched.
    executor_ping_deadline: Duration = Duration::from_secs(9);
    /// How long an executor may be silent until its executions end as lost.
    executor_lost_after: Duration = Duration::from_secs(15 * 60);
    /// How many executions may wait for an executor; more are refused.
    max_pending: u64 = 100_000;
    /// How many of them may be of one team, so that it does not fill the queue for others; those of all jobs without a
    /// team count as one. Without it: as many as `max_pending`.
    max_pending_of_team: Option<u64>;
    /// How many calls one person may make in a second, with all their tokens; five times as many may come at once. Further
    /// ones are refused, and our clients try again. It does not count for executors, nor with `authentication: open`.
    calls_per_second: u64 = 200;
    /// In what time an execution that waits gains a step of priority, so that none waits for ever behind those of a higher
    /// one. A team that waits while others are served before it gains a place in it.
    priority_ageing: Duration = Duration::from_secs(10 * 60);
    /// How much of one log is kept, counted before it is compressed: the first half and the last half; of a longer one
    /// the middle is left out while it grows, in whole segments of 1 to 2 MiB. Followers see all of it.
    log_limit: Bytes = Bytes(64 << 20);
    /// How long a log is kept after it was closed, by this machine's clock.
    keep_logs_for: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// How long a final execution is kept after its end, with its logs, by this machine's clock; at least `1h`, so that
    /// whoever waits for it or asks again finds it, and more than `executor_lost_after`.
    keep_executions_for: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// How many final executions are kept, with their logs: of more the oldest are removed, but not within `1h` or
    /// `executor_lost_after` of their end. It is looked for them every ten minutes at the latest. Each takes some hundred
    /// bytes in the store, and its log what it has.
    keep_executions: u64 = 1_000_000;
    /// How long the audit keeps who did what; at least `1d`. Nothing is recorded with `authentication: open`.
    keep_audit_for: Duration = Duration::from_secs(90 * 24 * 60 * 60);
    /// Which lines are logged.
    log_level: Level = Level::default();
    /// How lines are written.
    log_format: Format = Format::Text;
    /// The file that is logged to; without it standard error.
    log_file_path: Option<PathBuf>;
    /// How large that file may grow, in mebibytes, before it is set aside, compressed, and a new one begun. How many of
    /// those are kept is in [limits.md](limits.md).
    log_file_max_size_in_mb: u64 = 100;
}

impl Bounds for Configuration {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let is_guarded =
            self.tls_cert_file.is_some() && self.authentication == Authentication::Tokens;
        let is_reached = !self.listen_address.0.to_canonical().is_loopback();
        if is_reached && !is_guarded && self.security == Security::Strict {
            let remedy = "whoever reaches it there could do everything, or read along: give `tls_cert_file`, `tls_key_file` and `authentication: tokens`, all of which `controller init` makes, or listen at `127.0.0.1`, or write `security: insecure` where you trust the network";
            faults.push(Fault::new("listen_address", remedy));
        }
        if self.executor_ping_deadline < SHORTEST_PING_DEADLINE {
            let least = SHORTEST_PING_DEADLINE.shown();
            let remedy = format!("give a time of at least `{least}`, for example `9s`");
            faults.push(Fault::new("executor_ping_deadline", remedy));
        }
        for (key, time) in [
            ("executor_ping_deadline", self.executor_ping_deadline),
            ("executor_lost_after", self.executor_lost_after),
        ] {
            if time > MAX_TIME {
                let remedy = format!("give a time of at most `{}`", MAX_TIME.shown());
                faults.push(Fault::new(key, remedy));
            }
        }
        if self.executor_lost_after <= self.executor_ping_deadline {
            let remedy = format!(
                "give a time above `executor_ping_deadline`, which is `{}`, for example `15m`",
                self.executor_ping_deadline.shown()
            );
            faults.push(Fault::new("executor_lost_after", remedy));
        }
        match self.store() {
            StoreKind::Etcd if cfg!(feature = "etcd") => faults.extend(self.etcd_faults()),
            StoreKind::Etcd => {
                let remedy = "this program was built without etcd: give `embedded`, or take the `controller` that has it";
                faults.push(Fault::new("store", remedy));
            }
            StoreKind::Embedded => {}
        }
        if self.log_limit.0 < LEAST_LOG_LIMIT.0 {
            let remedy =
                format!("give at least `{}`, for example `64MiB`", LEAST_LOG_LIMIT.shown());
            faults.push(Fault::new("log_limit", remedy));
        }
        if self.keep_logs_for.is_zero() {
            faults.push(Fault::new("keep_logs_for", "give a time above zero, for example `30d`"));
        }
        if self.keep_executions_for < SHORTEST_HISTORY {
            let least = SHORTEST_HISTORY.shown();
            let remedy = format!("give a time of at least `{least}`, for example `30d`");
            faults.push(Fault::new("keep_executions_for", remedy));
        } else if self.keep_executions_for <= self.executor_lost_after {
            let remedy = format!(
                "give a time above `executor_lost_after`, which is `{}`, for example `30d`",
                self.executor_lost_after.shown()
            );
            faults.push(Fault::new("keep_executions_for", remedy));
        }
        if self.keep_audit_for < SHORTEST_AUDIT {
            let least = SHORTEST_AUDIT.shown();
            let remedy = format!("give a time of at least `{least}`, for example `90d`");
            faults.push(Fault::new("keep_audit_for", remedy));
        }
        for (given, key, other, missing) in [
            (&self.tls_cert_file, "tls_cert_file", "tls_key_file", &self.tls_key_file),
            (&self.tls_key_file, "tls_key_file", "tls_cert_file", &self.tls_cert_file),
        ] {
            if given.is_some() && missing.is_none() {
                faults.push(Fault::new(key, format!("give `{other}`, too, or neither of them")));
            }
        }
        if self.tls_executor_ca_file.is_some() && self.tls_cert_file.is_none() {
            let remedy = "executors show certificates over TLS alone: give `tls_cert_file` and `tls_key_file`, too, or leave it out";
            faults.push(Fault::new("tls_executor_ca_file", remedy));
        }
        if !(1..=MOST_CALLS_PER_SECOND).contains(&self.calls_per_second) {
            let remedy =
                format!("give a number from 1 to {MOST_CALLS_PER_SECOND}, for example `200`");
            faults.push(Fault::new("calls_per_second", remedy));
        }
        faults.extend(self.issuer_faults());
        let of_team = ("max_pending_of_team", self.max_pending_of_team.unwrap_or(1));
        for (key, count) in [("max_pending", self.max_pending), of_team] {
            if !(1..=MOST_PENDING).contains(&count) {
                let remedy =
                    format!("give a number from 1 to {MOST_PENDING}, for example `100000`");
                faults.push(Fault::new(key, remedy));
            }
        }
        if self.priority_ageing.is_zero() || self.priority_ageing > MAX_TIME {
            let remedy = format!(
                "give a time above zero of at most `{}`, for example `10m`",
                MAX_TIME.shown()
            );
            faults.push(Fault::new("priority_ageing", remedy));
        }
        if self.keep_executions == 0 {
            faults.push(Fault::new("keep_executions", "give at least 1, for example `1000000`"));
        }
        if self.log_file_max_size_in_mb == 0 {
            let remedy = "give a size of at least 1, in mebibytes";
            faults.push(Fault::new("log_file_max_size_in_mb", remedy));
        }
        faults
    }

    fn derived(&self) -> Vec<Derived> {
        let from = match self.store() {
            StoreKind::Etcd => "the `etcd_` keys that are given",
            StoreKind::Embedded => "the lack of `etcd_` keys",
        };
        let store = self.store.is_none().then(|| Derived::new("store", &self.store(), from));
        store.into_iter().collect()
    }
}

impl Configuration {
    /// Where the state is to be kept.
    pub fn store(&self) -> StoreKind {
        match self.store {
            Some(store) => store,
            None if self.names_etcd() => StoreKind::Etcd,
            None => StoreKind::Embedded,
        }
    }

    /// The bounds of the queue, and how those that wait gain priority.
    pub(crate) fn queue_limits(&self) -> QueueLimits {
        let bound = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        QueueLimits {
            pending: bound(self.max_pending),
            pending_of_team: bound(self.max_pending_of_team.unwrap_or(self.max_pending)),
            ageing: self.priority_ageing,
            unheard_within: self.executor_lost_after / 2,
            ..QueueLimits::default()
        }
    }

    /// Whether keys are given that only an etcd needs.
    pub fn names_etcd(&self) -> bool {
        self.etcd_host.is_some()
            || self.etcd_port.is_some()
            || self.etcd_dial_timeout.is_some()
            || !self.etcd_endpoints.is_empty()
    }

    fn issuer_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let has_audience = self.oidc_audience.as_ref().is_some_and(|audience| !audience.is_empty());
        if self.oidc_issuer.is_some() && !has_audience {
            let remedy = "give `oidc_audience`, too: without it the tokens that the issuer makes for any other program would be taken";
            faults.push(Fault::new("oidc_issuer", remedy));
        }
        if self.oidc_issuer.is_some() && self.authentication != Authentication::Tokens {
            let remedy =
                "give `authentication: tokens`, too: nobody is asked for a token without it";
            faults.push(Fault::new("oidc_issuer", remedy));
        }
        if !self.clusters.0.is_empty() && self.authentication != Authentication::Tokens {
            let remedy =
                "give `authentication: tokens`, too: no executor is asked for a token without it";
            faults.push(Fault::new("clusters", remedy));
        }
        for (key, given) in [
            ("oidc_audience", self.oidc_audience.is_some()),
            ("oidc_ca_file", self.oidc_ca_file.is_some()),
        ] {
            if given && self.oidc_issuer.is_none() {
                faults.push(Fault::new(key, "give `oidc_issuer`, too, or take it out"));
            }
        }
        for (key, claim, example) in [
            ("oidc_name_claim", &self.oidc_name_claim, "email"),
            ("oidc_groups_claim", &self.oidc_groups_claim, "groups"),
        ] {
            if claim.is_empty() {
                let remedy = format!("give the name of a claim, for example `{example}`");
                faults.push(Fault::new(key, remedy));
            }
        }
        faults
    }

    fn etcd_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let both = self.etcd_host.is_some() || self.etcd_port.is_some();
        if both && !self.etcd_endpoints.is_empty() {
            let remedy = "give it alone, or `etcd_host` and `etcd_port`";
            faults.push(Fault::new("etcd_endpoints", remedy));
        }
        for (key, other, alone) in [
            (
                "etcd_user",
                "etcd_password",
                self.etcd_user.is_some() && self.etcd_password.is_none(),
            ),
            (
                "etcd_password",
                "etcd_user",
                self.etcd_password.is_some() && self.etcd_user.is_none(),
            ),
            (
                "etcd_cert_file",
                "etcd_key_file",
                self.etcd_cert_file.is_some() && self.etcd_key_file.is_none(),
            ),
            (
                "etcd_key_file",
                "etcd_cert_file",
                self.etcd_key_file.is_some() && self.etcd_cert_file.is_none(),
            ),
        ] {
            if alone {
                faults.push(Fault::new(key, format!("give `{other}`, too")));
            }
        }
        if self.etcd_dial_timeout.is_some_and(|time| time.is_zero() || time > LONGEST_DIAL) {
            let remedy =
                format!("give a time of up to `{}`, for example `2s`", LONGEST_DIAL.shown());
            faults.push(Fault::new("etcd_dial_timeout", remedy));
        }
        if self.etcd_max_txn_ops < LEAST_OPERATIONS || self.etcd_max_txn_ops > MOST_OPERATIONS {
            let remedy = format!(
                "give what etcd has as `--max-txn-ops`, from {LEAST_OPERATIONS}, which is etcd's own default and the least that a decision needs, to {MOST_OPERATIONS}"
            );
            faults.push(Fault::new("etcd_max_txn_ops", remedy));
        }
        if self.etcd_max_request_bytes.0 < LEAST_REQUEST.0 {
            let remedy = format!(
                "give what etcd has as `--max-request-bytes`, at least `{}`, which is etcd's own default",
                LEAST_REQUEST.shown()
            );
            faults.push(Fault::new("etcd_max_request_bytes", remedy));
        }
        if self.etcd_prefix.len() < 2 || !self.etcd_prefix.ends_with('/') {
            let remedy = "give a text that ends in `/`, for example `octavius/`";
            faults.push(Fault::new("etcd_prefix", remedy));
        }
        let whole = self.leader_ttl.subsec_nanos() == 0;
        if !whole || !LEADER_TTLS.contains(&self.leader_ttl) {
            let (least, most) = (LEADER_TTLS.start().shown(), LEADER_TTLS.end().shown());
            let remedy = format!("give whole seconds from `{least}` to `{most}`, for example `5s`");
            faults.push(Fault::new("leader_ttl", remedy));
        }
        if self.advertise_address.is_none() && self.listen_address.0.is_unspecified() {
            let remedy = "`listen_address` is no address that others reach: give `advertise_address`, for example `controller-1.example.com:3000`";
            faults.push(Fault::new("advertise_address", remedy));
        }
        faults
    }

    /// How the etcd is reached.
    #[cfg(feature = "etcd")]
    pub fn etcd(&self) -> crate::store::etcd::EtcdSettings {
        let mut endpoints: Vec<_> = self.etcd_endpoints.iter().map(EtcdEndpoint::shown).collect();
        if endpoints.is_empty() {
            let host = self.etcd_host.as_deref().unwrap_or("localhost");
            endpoints.push(format!("http://{host}:{}", self.etcd_port.unwrap_or(2379)));
        }
        crate::store::etcd::EtcdSettings {
            endpoints,
            user: self.etcd_user.clone().zip(self.etcd_password.clone()),
            ca_file: self.etcd_ca_file.clone(),
            identity: self.etcd_cert_file.clone().zip(self.etcd_key_file.clone()),
            dial_timeout: self.etcd_dial_timeout.unwrap_or(Duration::from_secs(2)),
            max_txn_ops: usize::try_from(self.etcd_max_txn_ops).unwrap_or(usize::MAX),
            max_request_bytes: usize::try_from(self.etcd_max_request_bytes.0).unwrap_or(usize::MAX),
            prefix: self.etcd_prefix.clone(),
        }
    }

    /// Where other controllers reach this one, which listens at `address`: `HOST:PORT`, with `https://` before it where it
    /// speaks TLS.
    pub fn advertised(&self, address: SocketAddr) -> String {
        let address = self.advertise_address.clone().unwrap_or_else(|| address.to_string());
        match self.tls_cert_file {
            Some(_) if !address.contains("://") => format!("https://{address}"),
            Some(_) | None => address,
        }
    }

    /// Whether the history of the etcd is compacted where nobody else does.
    pub fn compacts_etcd(&self) -> bool {
        self.etcd_compaction == Compaction::Auto
    }

    /// Where clients and executors dial.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen_address.0, self.app_port)
    }

    /// What the log is told.
    pub fn logging(&self) -> Settings {
        Settings {
            level: self.log_level.clone(),
            format: self.log_format,
            file: self.log_file_path.clone(),
            largest_in_mb: self.log_file_max_size_in_mb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_service::configuration::{Loaded, Problems, Section as _, from_values};
    use proptest::prelude::*;

    fn load(text: &str) -> Result<Loaded<Configuration>, Problems> {
        from_values(text)
    }

    #[test]
    fn the_file_of_the_old_one_loads_unchanged() {
        let sample = include_str!("../../controller_config.json");
        let Loaded { section, warnings, .. } = load(sample).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(section.address(), "127.0.0.1:3000".parse().unwrap());
        assert_eq!(section.executor_ping_deadline, Duration::from_secs(9));
        assert_eq!(section.executor_lost_after, Duration::from_secs(900));
        assert_eq!(section.log_file_path, Some(PathBuf::from("controller.log")));
        assert_eq!(section.store(), StoreKind::Etcd);
    }

    #[test]
    fn an_empty_file_is_a_controller_of_its_own() {
        let section = load("{}").unwrap().section;
        assert_eq!(section.store(), StoreKind::Embedded);
        assert_eq!(section.metrics_address, "127.0.0.1:3001".parse().unwrap());
        assert_eq!(section.data_dir, PathBuf::from("octavius-data"));
    }

    #[test]
    fn the_word_wins_over_what_other_keys_suggest() {
        let store = |text| load(text).unwrap().section.store();
        assert_eq!(store(r#"{"etcd_port": 2379, "store": "embedded"}"#), StoreKind::Embedded);
        assert_eq!(store(r#"{"store": "etcd"}"#), StoreKind::Etcd);
        assert_eq!(store(r#"{"etcd_dial_timeout": 2}"#), StoreKind::Etcd);
    }

    #[test]
    fn all_faults_come_at_once_with_key_value_and_remedy() {
        let text = r#"{"app_prot": 1, "listen_address": "everywhere", "store": "file"}"#;
        let problems = load(text).unwrap_err().to_string();
        for wanted in
            ["did you mean `app_port`?", "`everywhere`", "`0.0.0.0`", "`etcd` or `embedded`"]
        {
            assert!(problems.contains(wanted), "no {wanted} in {problems}");
        }
        let text = r#"{"log_limit": "64KiB", "keep_logs_for": 0, "keep_executions_for": "59m"}"#;
        let problems = load(text).unwrap_err().to_string();
        assert!(problems.contains("`log_limit` is `64KiB`: give at least `1MiB`"), "{problems}");
        assert!(problems.contains("`keep_logs_for` is `0`"), "{problems}");
        assert!(problems.contains("`keep_executions_for` is `59m`: give a time of at least `1h`"));
        let text = r#"{"executor_ping_deadline": "20m", "log_file_max_size_in_mb": 0, "keep_executions": 0}"#;
        let problems = load(text).unwrap_err().to_string();
        assert!(problems.contains("`keep_executions` is `0`: give at least 1"), "{problems}");
        assert!(problems.contains("above `executor_ping_deadline`, which is `20m`"), "{problems}");
        assert!(problems.contains("`log_file_max_size_in_mb` is `0`"), "{problems}");
        assert!(load(r#"{"executor_ping_deadline": 0}"#).is_err());
        let text = r#"{"keep_executions_for": "2h", "executor_lost_after": "2h"}"#;
        let problems = load(text).unwrap_err().to_string();
        let wanted =
            "`keep_executions_for` is `2h`: give a time above `executor_lost_after`, which is `2h`";
        assert!(problems.contains(wanted), "{problems}");
        assert!(load(r#"{"keep_executions_for": "3h", "executor_lost_after": "2h"}"#).is_ok());
        let written = load(r#"{"keep_executions_for": "30d"}"#).unwrap().section;
        assert_eq!(written.keep_executions_for, load("{}").unwrap().section.keep_executions_for);
    }

    #[test]
    fn a_wrong_log_store_is_told_with_its_remedy_and_without_its_secrets() {
        for (given, shown) in [
            ("s3://key:hush@bucket/p", "s3://…@bucket/p"),
            ("s3://bucket?secret_access_key=hush", "s3://bucket?…"),
        ] {
            let problems = load(&format!(r#"{{"log_store": "{given}"}}"#)).unwrap_err().to_string();
            assert!(problems.contains(&format!("`log_store` is `{shown}`: ")), "{problems}");
            assert!(problems.contains("AWS_SECRET_ACCESS_KEY"), "{problems}");
            assert!(!problems.contains("hush"), "{problems}");
        }
        let section = load(r#"{"log_store": "s3://bucket/prefix"}"#).unwrap().section;
        assert_eq!(section.log_store.unwrap().shown(), "s3://bucket/prefix");
    }

    #[test]
    fn who_listens_beyond_loopback_has_tls_and_tokens_or_says_that_it_is_insecure() {
        let tls = r#""tls_cert_file": "c", "tls_key_file": "k""#;
        let tokens = r#""authentication": "tokens""#;
        for more in ["", tls, tokens] {
            for address in ["0.0.0.0", "::", "192.0.2.7", "::ffff:192.0.2.7"] {
                let comma = if more.is_empty() { "" } else { "," };
                let given = format!(r#""listen_address": "{address}"{comma}{more}"#);
                let problems = load(&format!("{{{given}}}")).unwrap_err().to_string();
                for told in ["`listen_address`", "controller init", "`security: insecure`"] {
                    assert!(problems.contains(told), "{problems}");
                }
                assert!(load(&format!(r#"{{{given}, "security": "insecure"}}"#)).is_ok());
            }
            for address in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"] {
                assert!(load(&format!(r#"{{"listen_address": "{address}"}}"#)).is_ok());
            }
        }
        let guarded = format!(r#"{{"listen_address": "0.0.0.0", {tls}, {tokens}}}"#);
        assert!(load(&guarded).is_ok());
    }

    #[test]
    fn who_asks_executors_for_certificates_speaks_tls() {
        let problems = load(r#"{"tls_executor_ca_file": "ca"}"#).unwrap_err().to_string();
        let wanted = "`tls_executor_ca_file` is `ca`: executors show certificates over TLS alone: give `tls_cert_file` and `tls_key_file`";
        assert!(problems.contains(wanted), "{problems}");
        let tls = r#"{"tls_executor_ca_file": "ca", "tls_cert_file": "c", "tls_key_file": "k"}"#;
        assert!(load(tls).is_ok());
        let problems = load(r#"{"calls_per_second": 0}"#).unwrap_err().to_string();
        assert!(problems.contains("`calls_per_second` is `0`: give a number from 1"), "{problems}");
    }

    #[test]
    fn the_first_administrator_is_read_as_it_is_shown() {
        let hash = "0f".repeat(32);
        let text = format!("ada@example.com 0123456789abcdef {hash}");
        let section = load(&format!(r#"{{"first_administrator": "{text}"}}"#)).unwrap().section;
        assert_eq!(section.first_administrator.unwrap().shown(), text);
        for wrong in ["ada", "ada 0123456789abcdef 0f", "ada id hash", &format!("{text} x")] {
            let given = format!(r#"{{"first_administrator": "{wrong}"}}"#);
            let problems = load(&given).unwrap_err().to_string();
            assert!(problems.contains("controller init"), "{problems}");
        }
    }

    #[test]
    fn an_issuer_is_asked_over_tls_or_on_this_machine_and_comes_with_its_audience() {
        let given = |issuer: &str, more: &str| {
            load(&format!(r#"{{"oidc_issuer": "{issuer}", "authentication": "tokens"{more}}}"#))
        };
        let audience = r#", "oidc_audience": "octavius""#;
        for issuer in [
            "https://id.example.com",
            "https://id.example.com/realms/main/",
            "http://127.0.0.1:9",
            "http://[::1]:9/a",
            "http://localhost",
        ] {
            let section = given(issuer, audience).unwrap().section;
            assert_eq!(section.oidc_issuer.unwrap().0.as_str(), issuer);
        }
        for wrong in [
            "http://id.example.com",
            "http://localhost.example.com",
            "https://ada@id.example.com",
            "https://id.example.com?a=b",
            "https://id.example.com#a",
            "file:///id",
            "id.example.com",
        ] {
            let problems = given(wrong, audience).unwrap_err().to_string();
            assert!(problems.contains("as it writes it itself"), "{wrong}: {problems}");
        }
        for more in ["", r#", "oidc_audience": """#] {
            let problems = given("https://id.example.com", more).unwrap_err().to_string();
            assert!(problems.contains("give `oidc_audience`, too"), "{problems}");
        }
        let open = r#"{"oidc_issuer": "https://id.example.com", "oidc_audience": "octavius"}"#;
        let problems = load(open).unwrap_err().to_string();
        assert!(problems.contains("give `authentication: tokens`, too"), "{problems}");
        let alone = r#"{"oidc_audience": "a", "oidc_ca_file": "b", "oidc_name_claim": ""}"#;
        let problems = load(alone).unwrap_err().to_string();
        for key in ["oidc_audience", "oidc_ca_file", "oidc_name_claim"] {
            assert!(problems.contains(&format!("`{key}` is")), "{problems}");
        }
    }

    #[test]
    fn any_address_can_be_listened_at() {
        for (given, address) in
            [("0.0.0.0", "0.0.0.0:3000"), ("::", "[::]:3000"), ("localhost", "127.0.0.1:3000")]
        {
            let text = format!(r#"{{"listen_address": "{given}", "security": "insecure"}}"#);
            let section = load(&text).unwrap().section;
            assert_eq!(section.address(), address.parse().unwrap());
        }
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
