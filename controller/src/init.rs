//! `controller init`: what a controller needs that others reach, for those who have none of it.
//!
//! A small authority, which signs the certificates that are made here and is then of no more use than to sign the next
//! ones; the controller's certificate; one for each executor that is named; the token of the first administrator, of which
//! the configuration holds the hash; and the configuration. What is there is never overwritten, and where something fails
//! nothing is left behind.

use crate::{
    access::token::{Kind, NewToken, NoRandom},
    caller::is_person,
    configuration::FirstAdministrator,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use octavius_protocol::id::ExecutorId;
use octavius_service::configuration::Setting;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The authority's certificate: what clients and executors trust.
pub const CA: &str = "ca.pem";
/// The authority's key.
pub const CA_KEY: &str = "ca-key.pem";
/// The controller's certificate.
pub const CERTIFICATE: &str = "controller.pem";
/// The controller's key.
pub const KEY: &str = "controller-key.pem";
/// The first administrator's token.
pub const TOKEN: &str = "administrator.token";
/// The configuration.
pub const CONFIGURATION: &str = "controller_config.json";

/// For how long the authority's certificate is valid.
const CA_FOR: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// For how long the controller's is.
const CERTIFICATE_FOR: SignedDuration = SignedDuration::from_hours(397 * 24);
/// Clocks of those who look at it may be behind.
const BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Nobody is called so.
    #[error(
        "`--administrator` is `{0}`, which is no person's name: give 1 to 256 visible ASCII characters, for example an e-mail address"
    )]
    Name(String),
    /// No executor is called so, or the files of two would be.
    #[error(
        "`--executor` is `{0}`: give each executor's id once, with 1 to 63 characters of `a-z`, `A-Z`, `0-9`, `-`, `_` and `.`, the first a letter or digit; its certificate goes into `ID.pem`, its key into `ID-key.pem`, and neither may be a file of something else"
    )]
    Executor(String),
    /// It is there.
    #[error("`{}` is there already, and nothing is overwritten: give another folder", .0.display())]
    Exists(PathBuf),
    /// A file or the folder cannot be written.
    #[error("`{}` cannot be written: let this user write there, or give another folder", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name cannot be in a certificate.
    #[error(
        "no certificate can be made for these names: give host names and addresses with `--name`"
    )]
    Certificate(#[source] rcgen::Error),
    /// No token can be made.
    #[error(transparent)]
    NoRandom(#[from] NoRandom),
}

/// One file that is to be made.
struct Made {
    name: String,
    content: SecretString,
    /// Whether others may read it.
    is_public: bool,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Who is the first administrator.
    pub administrator: &'a str,
    /// The names in the controller's certificate.
    pub names: &'a [String],
    /// The executors that get a certificate; none: executors need not show any.
    pub executors: &'a [String],
}

/// Makes all of it in `folder`; in words, what to hand to whom.
pub fn init(wanted: &Wanted<'_>, folder: &Path) -> Result<String, InitError> {
    let Wanted { administrator, executors, .. } = *wanted;
    if !is_person(administrator) {
        return Err(InitError::Name(administrator.chars().take(80).collect()));
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Io { path, source }
    };
    check_executors(executors)?;
    let (certificates, ends) = certificates(wanted).map_err(InitError::Certificate)?;
    let token = NewToken::make(Kind::Person)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io(folder))?;
    let folder = folder.canonicalize().map_err(io(folder))?;
    let first =
        FirstAdministrator { name: administrator.to_owned(), id: token.id, hash: token.hash };
    let mut made = certificates;
    let content = format!("{}\n", token.text.expose_secret()).into();
    made.push(Made { name: TOKEN.to_owned(), content, is_public: false });
    let content = configuration(&folder, &first, !executors.is_empty()).into();
    made.push(Made { name: CONFIGURATION.to_owned(), content, is_public: true });
    if let Some(there) = made.iter().map(|made| folder.join(&made.name)).find(|path| path.exists())
    {
        return Err(InitError::Exists(there));
    }
    let mut written = Vec::new();
    for made in made {
        let path = folder.join(&made.name);
        if let Err(source) = write(&path, &made) {
            for path in &written {
                // What cannot be taken away either is seen by whoever looks into the folder.
                let _ = fs::remove_file(path);
            }
            return Err(match source.kind() {
                io::ErrorKind::AlreadyExists => InitError::Exists(path),
                _ => InitError::Io { path, source },
            });
        }
        written.push(path);
    }
    let until = ends.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
    Ok(told(wanted, &folder, &until))
}

/// An executor's certificate and its key.
fn files_of(executor: &str) -> [String; 2] {
    [format!("{executor}.pem"), format!("{executor}-key.pem")]
}

/// Whether all of them can be executors, and each has files of its own.
fn check_executors(executors: &[String]) -> Result<(), InitError> {
    let mut taken: BTreeSet<_> = [CA, CA_KEY, CERTIFICATE, KEY].map(str::to_owned).into();
    for executor in executors {
        let is_one = executor.parse::<ExecutorId>().is_ok();
        if !is_one || files_of(executor).into_iter().any(|file| !taken.insert(file)) {
            return Err(InitError::Executor(executor.chars().take(80).collect()));
        }
    }
    Ok(())
}

fn write(path: &Path, made: &Made) -> io::Result<()> {
    let mode = if made.is_public { 0o644 } else { 0o600 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(made.content.expose_secret().as_bytes());
    if let Err(error) = written.and_then(|()| file.sync_all()) {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(())
}

/// The authority, and the certificates of the controller and of executors, with their keys; and when those end.
fn certificates(wanted: &Wanted<'_>) -> Result<(Vec<Made>, Timestamp), rcgen::Error> {
    let now = Timestamp::now();
    let ends = now + CERTIFICATE_FOR;
    let day = |at: Timestamp| {
        let date = at.to_zoned(TimeZone::UTC).date();
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(date.year().into(), month, day)
    };
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "Octavius authority");
    (ca.not_before, ca.not_after) = (day(now - BEFORE), day(now + CA_FOR));
    let ca_pem = ca.self_signed(&ca_key)?.pem();

    let (ca_key_pem, authority) = (ca_key.serialize_pem(), Issuer::new(ca, ca_key));
    let made = |name: &str, content: String, is_public| Made {
        name: name.to_owned(),
        content: content.into(),
        is_public,
    };
    let signed = |mut own: CertificateParams, name: String| {
        let key = KeyPair::generate()?;
        own.distinguished_name.push(DnType::CommonName, name);
        (own.not_before, own.not_after) = (day(now - BEFORE), day(ends));
        let pem = own.signed_by(&key, &authority)?.pem();
        Ok::<_, rcgen::Error>([pem, key.serialize_pem()])
    };
    let mut all = wanted.names.to_vec();
    all.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    all.sort();
    all.dedup();
    let mut own = CertificateParams::new(all)?;
    // As a client it passes calls on to the controller that leads.
    own.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let [pem, key] = signed(own, "Octavius controller".to_owned())?;
    let mut all = vec![
        made(CA, ca_pem, true),
        made(CA_KEY, ca_key_pem, false),
        made(CERTIFICATE, pem, true),
        made(KEY, key, false),
    ];
    for executor in wanted.executors {
        let mut own = CertificateParams::default();
        own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let [pem, key] = signed(own, format!("Octavius executor {executor}"))?;
        let [certificate_file, key_file] = files_of(executor);
        all.extend([made(&certificate_file, pem, true), made(&key_file, key, false)]);
    }
    Ok((all, ends))
}

fn configuration(folder: &Path, first: &FirstAdministrator, asks_executors: bool) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut keys = serde_json::json!({
        "listen_address": "0.0.0.0",
        "app_port": 3000,
        "tls_cert_file": path(CERTIFICATE),
        "tls_key_file": path(KEY),
        "tls_ca_file": path(CA),
        "authentication": "tokens",
        "first_administrator": first.shown(),
        "store": "embedded",
        "data_dir": path("data"),
    });
    if asks_executors {
        keys["tls_executor_ca_file"] = path(CA).into();
    }
    format!("{keys:#}\n")
}

fn told(wanted: &Wanted<'_>, folder: &Path, until: &str) -> String {
    let Wanted { administrator, names, executors } = *wanted;
    let path = |name: &str| folder.join(name).display().to_string();
    let host = names.first().map_or("localhost", String::as_str);
    let mut of_executors = String::new();
    for executor in executors {
        let [certificate, key] = files_of(executor);
        of_executors.push_str(&format!(
            "  {certificate}, {key}  what the executor {executor} shows, until {until}, and the key: hand them to it, and take the key away here\n"
        ));
    }
    let shows = match executors {
        [] => "",
        _ => ", \"tls_cert_file\" and \"tls_key_file\": its own two",
    };
    format!(
        "\
made in {folder}:
  {CONFIGURATION}  the controller's: it listens everywhere, over TLS, and takes tokens
  {CERTIFICATE}, {KEY}  its certificate, until {until}, and the key
  {CA}  what clients and executors trust: hand it to all of them
{of_executors}  {CA_KEY}  signs the next certificate: keep it where nobody else comes to it, not on this machine
  {TOKEN}  for {administrator} alone: hand it over, and take it away here

start it:
  controller start --config {configuration}
{administrator} then, with {CA} and {TOKEN}:
  octavius config --cp-host {host}:3000 --ca-cert-file {CA} --token-stdin < {TOKEN}
  octavius token create bob@example.com --groups sre
  octavius role grant operator --group sre
  octavius executors invite
an executor's executor_config.json:
  \"cp_host\": \"{host}:3000\", \"tls_ca_file\": \"{CA}\", \"access_token\": what `octavius executors invite` said{shows}",
        folder = folder.display(),
        configuration = path(CONFIGURATION),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{access::token::ShownToken, configuration::Configuration};
    use octavius_service::configuration::from_values;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_made_fits_together_and_is_overwritten_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("deep/octavius");
        let names = ["octavius.example.com".to_owned()];
        let executors = ["one".to_owned(), "two.eu".to_owned()];
        let wanted =
            Wanted { administrator: "ada@example.com", names: &names, executors: &executors };
        let told = init(&wanted, &at).unwrap();
        let of_executors = ["one.pem", "one-key.pem", "two.eu.pem", "two.eu-key.pem"];
        for name in [CA, CA_KEY, CERTIFICATE, KEY, TOKEN, CONFIGURATION].iter().chain(&of_executors)
        {
            assert!(told.contains(*name), "{told}");
            let mode = fs::metadata(at.join(name)).unwrap().permissions().mode() & 0o077;
            let is_secret = [CA_KEY, KEY, TOKEN].contains(name) || name.ends_with("-key.pem");
            assert_eq!(mode == 0, is_secret, "{name}: {mode:o}");
        }
        let text = fs::read_to_string(at.join(CONFIGURATION)).unwrap();
        let section = from_values::<Configuration>(&text).unwrap().section;
        let token = fs::read_to_string(at.join(TOKEN)).unwrap();
        let shown = ShownToken::read(token.trim()).unwrap();
        let first = section.first_administrator.unwrap();
        assert_eq!((first.id, first.hash), (shown.id, shown.hash));
        assert_eq!(section.tls_executor_ca_file, section.tls_ca_file);
        assert!(!told.contains(token.trim()) && !text.contains(token.trim()));

        let before = fs::read(at.join(KEY)).unwrap();
        fs::remove_file(at.join(CA)).unwrap();
        let bob = Wanted { administrator: "bob@example.com", names: &names, executors: &[] };
        let refused = init(&bob, &at).unwrap_err();
        assert!(matches!(refused, InitError::Exists(_)), "{refused}");
        assert!(!at.join(CA).exists(), "a part of it was made");
        assert_eq!(fs::read(at.join(KEY)).unwrap(), before);
        let nobody = Wanted { administrator: "a b", ..bob };
        assert!(matches!(init(&nobody, &at), Err(InitError::Name(_))));
        let other = folder.path().join("other");
        for executors in [["ca", "one"], ["one", "one"], ["x", "x-key"], ["one", "a/b"]] {
            let executors = executors.map(str::to_owned);
            let refused = init(&Wanted { executors: &executors, ..bob }, &other).unwrap_err();
            assert!(matches!(refused, InitError::Executor(_)), "{executors:?}: {refused}");
        }
        let wrong = init(&Wanted { names: &["ä".to_owned()], ..bob }, &other).unwrap_err();
        assert!(matches!(wrong, InitError::Certificate(_)), "{wrong}");
        assert!(!other.exists());
        let text = init(&bob, &other).unwrap();
        assert!(!text.contains("tls_cert_file"), "{text}");
        let text = fs::read_to_string(other.join(CONFIGURATION)).unwrap();
        assert!(!text.contains("tls_executor_ca_file"), "{text}");
    }
}
