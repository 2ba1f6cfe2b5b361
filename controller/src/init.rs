//! `controller init`: what a controller needs that others reach, for those who have none of it.
//!
//! A small authority, which signs one certificate and is then of no more use than to sign the next one; the certificate;
//! the token of the first administrator, of which the configuration holds the hash; and the configuration. What is there is
//! never overwritten, and where something fails nothing is left behind.

use crate::{
    access::token::{Kind, NewToken, NoRandom},
    caller::is_person,
    configuration::FirstAdministrator,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use octavius_service::configuration::Setting;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
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
    name: &'static str,
    content: SecretString,
    /// Whether others may read it.
    is_public: bool,
}

/// Makes all of it in `folder`, for these names; in words, what to hand to whom.
pub fn init(administrator: &str, names: &[String], folder: &Path) -> Result<String, InitError> {
    if !is_person(administrator) {
        return Err(InitError::Name(administrator.chars().take(80).collect()));
    }
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Io { path, source }
    };
    let (certificates, ends) = certificates(names).map_err(InitError::Certificate)?;
    let token = NewToken::make(Kind::Person)?;
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io(folder))?;
    let folder = folder.canonicalize().map_err(io(folder))?;
    let first =
        FirstAdministrator { name: administrator.to_owned(), id: token.id, hash: token.hash };
    let mut made: Vec<Made> = certificates.into();
    let content = format!("{}\n", token.text.expose_secret()).into();
    made.push(Made { name: TOKEN, content, is_public: false });
    let content = configuration(&folder, &first).into();
    made.push(Made { name: CONFIGURATION, content, is_public: true });
    if let Some(there) = made.iter().map(|made| folder.join(made.name)).find(|path| path.exists()) {
        return Err(InitError::Exists(there));
    }
    let mut written = Vec::new();
    for made in made {
        let path = folder.join(made.name);
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
    Ok(told(administrator, names, &folder, &until))
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

/// The authority and the controller's certificate with their keys, and when the latter ends.
fn certificates(names: &[String]) -> Result<([Made; 4], Timestamp), rcgen::Error> {
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

    let key = KeyPair::generate()?;
    let mut all = names.to_vec();
    all.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    all.sort();
    all.dedup();
    let mut own = CertificateParams::new(all)?;
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.distinguished_name.push(DnType::CommonName, "Octavius controller");
    (own.not_before, own.not_after) = (day(now - BEFORE), day(ends));
    let (ca_key_pem, key_pem) = (ca_key.serialize_pem(), key.serialize_pem());
    let pem = own.signed_by(&key, &Issuer::new(ca, ca_key))?.pem();
    let made = |name, content: String, is_public| Made { name, content: content.into(), is_public };
    Ok((
        [
            made(CA, ca_pem, true),
            made(CA_KEY, ca_key_pem, false),
            made(CERTIFICATE, pem, true),
            made(KEY, key_pem, false),
        ],
        ends,
    ))
}

fn configuration(folder: &Path, first: &FirstAdministrator) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let keys = serde_json::json!({
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
    format!("{keys:#}\n")
}

fn told(administrator: &str, names: &[String], folder: &Path, until: &str) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let host = names.first().map_or("localhost", String::as_str);
    format!(
        "\
made in {folder}:
  {CONFIGURATION}  the controller's: it listens everywhere, over TLS, and takes tokens
  {CERTIFICATE}, {KEY}  its certificate, until {until}, and the key
  {CA}  what clients and executors trust: hand it to all of them
  {CA_KEY}  signs the next certificate: keep it where nobody else comes to it, not on this machine
  {TOKEN}  for {administrator} alone: hand it over, and take it away here

start it:
  controller start --config {configuration}
{administrator} then, with {CA} and {TOKEN}:
  octavius config --cp-host {host}:3000 --ca-cert-file {CA} --token-stdin < {TOKEN}
  octavius token create bob@example.com --groups sre
  octavius role grant operator --group sre
  octavius executors invite
an executor's executor_config.json:
  \"cp_host\": \"{host}:3000\", \"tls_ca_file\": \"{CA}\", \"access_token\": what `octavius executors invite` said",
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
        let told = init("ada@example.com", &names, &at).unwrap();
        for name in [CA, CA_KEY, CERTIFICATE, KEY, TOKEN, CONFIGURATION] {
            assert!(told.contains(name), "{told}");
            let mode = fs::metadata(at.join(name)).unwrap().permissions().mode() & 0o077;
            let is_secret = [CA_KEY, KEY, TOKEN].contains(&name);
            assert_eq!(mode == 0, is_secret, "{name}: {mode:o}");
        }
        let text = fs::read_to_string(at.join(CONFIGURATION)).unwrap();
        let section = from_values::<Configuration>(&text).unwrap().section;
        let token = fs::read_to_string(at.join(TOKEN)).unwrap();
        let shown = ShownToken::read(token.trim()).unwrap();
        let first = section.first_administrator.unwrap();
        assert_eq!((first.id, first.hash), (shown.id, shown.hash));
        assert!(!told.contains(token.trim()) && !text.contains(token.trim()));

        let before = fs::read(at.join(KEY)).unwrap();
        fs::remove_file(at.join(CA)).unwrap();
        let refused = init("bob@example.com", &names, &at).unwrap_err();
        assert!(matches!(refused, InitError::Exists(_)), "{refused}");
        assert!(!at.join(CA).exists(), "a part of it was made");
        assert_eq!(fs::read(at.join(KEY)).unwrap(), before);
        assert!(matches!(init("a b", &names, &at), Err(InitError::Name(_))));
        let wrong = init("ada", &["ä".to_owned()], &folder.path().join("other")).unwrap_err();
        assert!(matches!(wrong, InitError::Certificate(_)), "{wrong}");
        assert!(!folder.path().join("other").exists());
    }
}
