//! The keys of the client's file: a part of `docs/configuration.md`.

use octavius_client::{Absent, Contents, FileKey};
use octavius_service::configuration::{Key, Table};

/// The client's file.
pub fn client_file() -> Table {
    let key = |FileKey { name, wanted, absent, meaning }| Key {
        name,
        wanted: wanted.to_owned(),
        default: match absent {
            Absent::Fault => None,
            Absent::Without => Some("none".to_owned()),
            Absent::Default(value) => Some(value.to_owned()),
        },
        meaning,
        secret: name == "ACCESS_TOKEN",
        only_if: None,
    };
    Table {
        file: "octavius_client.yaml",
        prefix: "",
        about: "What `octavius` and the client library are told: whom to ask, as whom, and how long to wait. It is \
                YAML, a line for each key; `octavius config` writes it, for its user alone to read. Which one is read: \
                the one that `--config` names, else that of `--context`, else `$OCTAVIUS_CONFIG`, else \
                `job_data_example/config/octavius_client.yaml` in the working folder, where it once was, else that of \
                the context in use, which is `octavius/octavius_client.yaml` in `$XDG_CONFIG_HOME` or `~/.config` \
                unless `octavius config use` said otherwise. With `--context` the first three variables are not looked \
                at. An unknown key is an error; empty text is none.",
        keys: Contents::KEYS.map(key).into(),
        without_effect: &[],
    }
}
