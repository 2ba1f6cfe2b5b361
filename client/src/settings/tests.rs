use super::*;
use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

const SAMPLE: &str = include_str!("../../tests/files/octavius_client.yaml");

/// A working folder and a home folder of its own, and the variables that a test sets.
struct World {
    folder: TempDir,
    around: Surroundings,
}

impl World {
    fn new(variables: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let home = folder.path().join("home").display().to_string();
        let given = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables = given.chain([("HOME".to_owned(), home)]).collect();
        let around = Surroundings { working_folder: folder.path().join("project"), variables };
        Self { folder, around }
    }

    fn write(self, place: &str, text: &str) -> Self {
        let path = self.folder.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn load(&self) -> Result<Settings, Error> {
        Settings::load_in(&self.around, &Choice::Usual)
    }

    /// The error, with this test's folder left out.
    fn error(&self) -> String {
        let folder = self.folder.path().display().to_string();
        self.load().unwrap_err().to_string().replace(&folder, "")
    }
}

const NEW: &str = "home/.config/octavius/octavius_client.yaml";
const OLD: &str = "project/job_data_example/config/octavius_client.yaml";

#[test]
fn the_sample_loads_and_a_timeout_of_0_is_10_seconds() {
    let settings = World::new(&[]).write(OLD, SAMPLE).load().unwrap();
    assert_eq!(settings.address, "http://localhost:3000");
    assert_eq!(settings.email.as_deref(), Some("someone@example.com"));
    assert_eq!(settings.token.unwrap().expose_secret(), "MyToken");
    assert_eq!(settings.timeout, Duration::from_secs(10));
}

#[test]
fn each_key_is_taken_and_documented_with_the_numbers_that_hold() {
    let [host, ca, email, token, timeout] = Contents::KEYS;
    let file = format!(
        "{}: a:1,b:2\n{}: ca.pem\n{}: b\n{}: c\n{}: 7",
        host.name, ca.name, email.name, token.name, timeout.name
    );
    let settings = World::new(&[]).write(NEW, &file).load().unwrap();
    assert_eq!(settings.email.as_deref(), Some("b"));
    // Who names an authority wants TLS, and names it beside the file.
    assert_eq!(settings.address, "https://a:1,https://b:2");
    assert!(settings.ca_file.unwrap().ends_with("home/.config/octavius/ca.pem"));
    assert_eq!(settings.token.unwrap().expose_secret(), "c");
    assert_eq!(settings.timeout, Duration::from_secs(7));
    for key in Contents::KEYS {
        assert!(Surroundings::VARIABLES.contains(&key.name), "{} is no variable", key.name);
    }
    let seconds = |time: Duration| time.as_secs().to_string();
    assert!(timeout.wanted.ends_with(&seconds(Contents::LONGEST_TIMEOUT)), "{}", timeout.wanted);
}

#[test]
fn what_is_documented_of_a_key_that_is_left_out_holds() {
    let absent = Contents::KEYS.map(|key| key.absent);
    let [
        Absent::Fault,
        Absent::Without,
        Absent::Default(user),
        Absent::Without,
        Absent::Default(seconds),
    ] = absent
    else {
        panic!("{absent:?}")
    };
    assert!(World::new(&[]).write(NEW, "EMAIL_ID: b").load().is_err());
    let settings = World::new(&[]).write(NEW, "CP_HOST: a:1").load().unwrap();
    assert_eq!((settings.user(), settings.token.is_none()), (user, true));
    assert_eq!(settings.timeout.as_secs().to_string(), seconds);
}

#[test]
fn the_first_file_of_the_search_order_is_the_one() {
    let host =
        |world: &World, asked: &Choice| Settings::load_in(&world.around, asked).unwrap().address;
    let world = World::new(&[("OCTAVIUS_CONFIG", "named.yaml")])
        .write("project/asked.yaml", "CP_HOST: asked:1")
        .write("project/named.yaml", "CP_HOST: named:1")
        .write(OLD, "CP_HOST: old:1")
        .write(NEW, "CP_HOST: new:1");
    assert_eq!(host(&world, &Choice::File("asked.yaml".into())), "http://asked:1");
    assert_eq!(host(&world, &Choice::Usual), "http://named:1");
    let mut world = world;
    world.around.variables.remove("OCTAVIUS_CONFIG");
    assert_eq!(host(&world, &Choice::Usual), "http://old:1");
    fs::remove_file(world.folder.path().join(OLD)).unwrap();
    assert_eq!(host(&world, &Choice::Usual), "http://new:1");
    let elsewhere = world.folder.path().join("xdg").display().to_string();
    world.around.variables.insert("XDG_CONFIG_HOME".to_owned(), elsewhere);
    let world = world.write("xdg/octavius/octavius_client.yaml", "CP_HOST: xdg:1");
    assert_eq!(host(&world, &Choice::Usual), "http://xdg:1");
}

#[test]
fn a_named_file_has_to_be_there() {
    let world = World::new(&[("OCTAVIUS_CONFIG", "named.yaml")]).write(NEW, SAMPLE);
    insta::assert_snapshot!(world.error(), @"/project/named.yaml cannot be read: No such file or directory (os error 2)");
    insta::assert_snapshot!(World::new(&[]).error(), @"no controller is named: write its address down once with `octavius config --cp-host HOST:PORT`, or set the variable CP_HOST (looked for a file at /project/job_data_example/config/octavius_client.yaml and /home/.config/octavius/octavius_client.yaml)");
}

#[test]
fn variables_override_the_file() {
    let variables =
        [("EMAIL_ID", "other@example.com"), ("CONNECTION_TIMEOUT_SECS", "3"), ("CP_HOST", "")];
    let settings = World::new(&variables).write(NEW, SAMPLE).load().unwrap();
    assert_eq!(settings.address, "http://localhost:3000");
    assert_eq!(settings.email.as_deref(), Some("other@example.com"));
    assert_eq!(settings.timeout, Duration::from_secs(3));
    let alone = World::new(&[("CP_HOST", "h:1"), ("ACCESS_TOKEN", "t")]).load().unwrap();
    assert_eq!((alone.address.as_str(), alone.token.is_some()), ("http://h:1", true));
}

#[test]
fn a_token_is_not_sent_to_a_host_that_another_source_names() {
    let token_of_the_environment =
        World::new(&[("ACCESS_TOKEN", "t0p")]).write(OLD, "CP_HOST: evil:1");
    insta::assert_snapshot!(token_of_the_environment.error(), @"CP_HOST comes from /project/job_data_example/config/octavius_client.yaml, and ACCESS_TOKEN from the variable ACCESS_TOKEN: a token is sent only to a host that its own source names, so set both there, or set the variable ACCESS_TOKEN to nothing to go without");
    let host_of_the_environment = World::new(&[("CP_HOST", "evil:1")]).write(NEW, SAMPLE);
    let refused = host_of_the_environment.error();
    assert!(refused.contains("own source") && !refused.contains("MyToken"), "{refused}");
    let without = World::new(&[("CP_HOST", "h:1"), ("ACCESS_TOKEN", "")]).write(NEW, SAMPLE);
    assert!(without.load().unwrap().token.is_none());
}

const STAGING: &str = "home/.config/octavius/contexts/staging.yaml";

fn context(name: &str) -> Choice {
    Choice::Context(name.parse().unwrap())
}

#[test]
fn a_context_is_used_until_another_is_and_a_named_one_for_once() {
    let world = World::new(&[])
        .write(NEW, "CP_HOST: new:1")
        .write(STAGING, "CP_HOST: staging:1\nACCESS_TOKEN: t0p\n");
    let host = |choice: &Choice| Settings::load_in(&world.around, choice).unwrap().address;
    assert_eq!(host(&Choice::Usual), "http://new:1");
    assert_eq!(host(&context("staging")), "http://staging:1");
    world.around.use_context(&"staging".parse().unwrap()).unwrap();
    assert_eq!(host(&Choice::Usual), "http://staging:1");
    assert_eq!(host(&context("default")), "http://new:1");
    let listed = world.around.contexts().unwrap();
    let listed: Vec<_> = listed.iter().map(|one| (one.name.to_string(), one.in_use)).collect();
    assert_eq!(listed, [("default".to_owned(), false), ("staging".to_owned(), true)]);
    // What is written next is what is read next.
    let place = world.around.place_to_write(&Choice::Usual).unwrap();
    assert_eq!(place, world.folder.path().join(STAGING));
    // A file in the working folder, and a named one, come before it.
    let world = world.write(OLD, "CP_HOST: old:1");
    assert_eq!(world.load().unwrap().address, "http://old:1");
    world.around.use_context(&ContextName::default()).unwrap();
    fs::remove_file(world.folder.path().join(OLD)).unwrap();
    assert_eq!(world.load().unwrap().address, "http://new:1");
}

#[test]
fn the_variables_do_not_say_whom_a_named_context_asks() {
    let variables = [
        ("CP_HOST", "evil:1"),
        ("ACCESS_TOKEN", "t0p"),
        ("EMAIL_ID", "eve@example.com"),
        ("CONNECTION_TIMEOUT_SECS", "3"),
    ];
    let world = World::new(&variables).write(STAGING, "CP_HOST: staging:1\nEMAIL_ID: ada\n");
    let settings = Settings::load_in(&world.around, &context("staging")).unwrap();
    assert_eq!(
        (settings.address.as_str(), settings.email.as_deref(), settings.token.is_some()),
        ("http://staging:1", Some("ada"), false)
    );
    assert_eq!(settings.timeout, Duration::from_secs(3));
}

#[test]
fn a_context_that_is_not_there_is_told_with_the_nearest() {
    let mut world = World::new(&[]).write(STAGING, "CP_HOST: staging:1");
    let missing = world.around.use_context(&"stagin".parse().unwrap()).unwrap_err();
    insta::assert_snapshot!(missing, @"there is no context `stagin` (the nearest is `staging`): `octavius config list` shows them, and `octavius config --context stagin --cp-host HOST:PORT` makes it");
    world.around.use_context(&"staging".parse().unwrap()).unwrap();
    fs::remove_file(world.folder.path().join(STAGING)).unwrap();
    insta::assert_snapshot!(world.error(), @"there is no context `staging`: `octavius config list` shows them, and `octavius config --context staging --cp-host HOST:PORT` makes it");
    let world2 = World::new(&[]).write("home/.config/octavius/context", "../evil");
    insta::assert_snapshot!(world2.error(), @"/home/.config/octavius/context: a context's name has 1 to 63 letters, digits, `-`, `_` and `.`, and begins with a letter or a digit: `octavius config use NAME` writes one");
    world.around.variables.clear();
    let homeless = Settings::load_in(&world.around, &context("staging")).unwrap_err();
    insta::assert_snapshot!(homeless, @"there is no home folder, so that there are no contexts: set the variable HOME, or name a file with --config FILE");
}

#[test]
fn a_context_of_a_name_that_is_a_path_is_none() {
    for name in ["", "../x", ".x", "a/b", "a b", "-x", &"x".repeat(64)] {
        assert!(name.parse::<ContextName>().is_err(), "{name:?}");
    }
    assert!("Prod-eu_1.2".parse::<ContextName>().is_ok());
}

#[test]
fn wrong_types_in_a_file_are_told_with_their_line() {
    let error = |text: &str| World::new(&[]).write(NEW, text).error();
    insta::assert_snapshot!(error("CP_HOST: [a, b]\n"), @"/home/.config/octavius/octavius_client.yaml: is not a YAML file of `KEY: value` lines (line 1): write each of CP_HOST, CA_CERT_FILE, EMAIL_ID, ACCESS_TOKEN, CONNECTION_TIMEOUT_SECS at most once, and a value with special characters in quotes");
    insta::assert_snapshot!(error("CP_HOST: a:1\nACCESS_TOKEN: {a: t0p}\n"), @"/home/.config/octavius/octavius_client.yaml: is not a YAML file of `KEY: value` lines (line 2): write each of CP_HOST, CA_CERT_FILE, EMAIL_ID, ACCESS_TOKEN, CONNECTION_TIMEOUT_SECS at most once, and a value with special characters in quotes");
    insta::assert_snapshot!(error("- CP_HOST\n"), @"/home/.config/octavius/octavius_client.yaml: is not a YAML file of `KEY: value` lines (line 1): write each of CP_HOST, CA_CERT_FILE, EMAIL_ID, ACCESS_TOKEN, CONNECTION_TIMEOUT_SECS at most once, and a value with special characters in quotes");
    insta::assert_snapshot!(error("CP_HOST: a:1\nCONNECTION_TIMEOUT_SECS: -1\n"), @"/home/.config/octavius/octavius_client.yaml: `CONNECTION_TIMEOUT_SECS` is `-1`: write a number of seconds from 0 to 86400, where 0 means 10");
    insta::assert_snapshot!(error("CP_HOST: localhost\n"), @"/home/.config/octavius/octavius_client.yaml: `CP_HOST` is `localhost`, without a port: write `HOST:PORT`, for example `localhost:3000`");
    insta::assert_snapshot!(error("CP_HOST: a:1,ftp://a:1\n"), @"/home/.config/octavius/octavius_client.yaml: `CP_HOST` is `ftp://a:1`: write `HOST:PORT`, for example `localhost:3000`");
}

#[test]
fn all_faults_of_a_file_are_told_and_never_its_token() {
    let wrong = "CP_HOTS: a:1\nACCESS_TOKEN: t0p\nCONNECTION_TIMEOUT_SECS: soon\nother: 1\n";
    insta::assert_snapshot!(World::new(&[]).write(NEW, wrong).error(), @r"
    /home/.config/octavius/octavius_client.yaml: 3 things are wrong
      `CONNECTION_TIMEOUT_SECS` is `soon`: write a number of seconds from 0 to 86400, where 0 means 10
      `CP_HOTS` is not known: the nearest known key is `CP_HOST`
      `other` is not known: the nearest known key is `CP_HOST`
    ");
    let broken = "CP_HOST: a:1\nACCESS_TOKEN: \"t0p\nEMAIL_ID: b\n";
    insta::assert_snapshot!(World::new(&[]).write(NEW, broken).error(), @"/home/.config/octavius/octavius_client.yaml: is not a YAML file of `KEY: value` lines (line 2): write each of CP_HOST, CA_CERT_FILE, EMAIL_ID, ACCESS_TOKEN, CONNECTION_TIMEOUT_SECS at most once, and a value with special characters in quotes");
    let twice = "CP_HOST: a:1\nACCESS_TOKEN: t0p\nACCESS_TOKEN: t0p\n";
    let told = World::new(&[]).write(NEW, twice).error();
    assert!(!told.contains("t0p") && told.contains("line 3"), "{told}");
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_key() {
    let world = World::new(&[("EMAIL_ID", "jos\u{e9}@example.com")]).write(NEW, "CP_HOST: h:1");
    insta::assert_snapshot!(world.error(), @"the variable EMAIL_ID: `EMAIL_ID` holds characters that cannot be sent: write it with letters, digits and signs of ASCII");
}

#[test]
fn a_token_of_digits_stays_as_it_was_written() {
    for token in ["0123", "1e5", "true", "0x1f", "1_000"] {
        let file = format!("CP_HOST: h:1\nACCESS_TOKEN: {token}\n");
        let settings = World::new(&[]).write(NEW, &file).load().unwrap();
        assert_eq!(settings.token.unwrap().expose_secret(), token);
    }
}

#[test]
fn debug_hides_the_token() {
    let settings = World::new(&[]).write(NEW, SAMPLE).load().unwrap();
    assert!(!format!("{settings:?}").contains("MyToken"));
    let client = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        format!("{:?}", crate::Client::new(&settings).unwrap())
    };
    assert!(!client.contains("MyToken"), "{client}");
}

#[test]
#[cfg(unix)]
fn a_written_file_is_for_the_user_alone_and_replaces_the_old_one() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(&[]).write(NEW, "CP_HOST: old:1");
    let path = world.around.place_to_write(&Choice::Usual).unwrap();
    assert_eq!(path, world.folder.path().join(NEW));
    let contents = Contents {
        host: Some("h:1".to_owned()),
        token: Some("t".to_owned().into()),
        ..Contents::default()
    };
    contents.write(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(world.load().unwrap().address, "http://h:1");
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))] // each writes a file and syncs it

    #[test]
    fn what_is_written_is_read_again(
        email in prop::option::of("[ -~]{1,20}"),
        token in prop::option::of("[ -~]{1,20}"),
        seconds in 0..=86_400_u64,
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a/octavius_client.yaml");
        let contents = Contents {
            host: Some("h:1".to_owned()),
            ca_file: Some("/a/ca.pem".into()),
            email: email.clone(),
            token: token.clone().map(SecretString::from),
            timeout: Some(Duration::from_secs(seconds)),
        };
        contents.write(&path).unwrap();
        let read = Contents::read(&path).unwrap();
        prop_assert_eq!(read.ca_file, Some("/a/ca.pem".into()));
        prop_assert_eq!(read.email, email);
        prop_assert_eq!(read.token.map(|token| token.expose_secret().to_owned()), token);
        prop_assert_eq!(read.timeout, Some(Duration::from_secs(seconds)));
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(
        key in prop::sample::select(Contents::KEYS.map(|key| key.name).to_vec()),
        text in "(\\PC|[\n:{}\\[\\]\"'#&*!|>%-]){0,60}",
    ) {
        for file in [format!("{key}: {text}"), text] {
            if let Err(faults) = Contents::parse(&file, "a.yaml") {
                prop_assert!(!faults.to_string().is_empty());
            }
        }
    }
}

#[test]
fn what_could_not_be_used_is_not_written() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("octavius_client.yaml");
    let right = Contents { host: Some("h:1".to_owned()), ..Contents::default() };
    let refused = |contents: Contents, named: &str| {
        let error = contents.write(&path).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
        assert!(!path.exists(), "{named} was written");
    };
    refused(Contents { host: Some("h :1".to_owned()), ..right.clone() }, "CP_HOST");
    refused(Contents { email: Some("grüße".to_owned()), ..right.clone() }, "EMAIL_ID");
    let hidden = Contents { token: Some("gehe\u{2009}im".into()), ..right.clone() };
    assert!(!hidden.write(&path).unwrap_err().to_string().contains("gehe"));
    refused(hidden, "ACCESS_TOKEN");
    let long = Contents { timeout: Some(Duration::from_secs(100_000)), ..right };
    refused(long, "from 0 to 86400");
}
