//! Secrets: what may be known of them, which is never a value.

use super::{Shown, Style, table, text::one_line, time::timestamp};
use comfy_table::Cell;
use jiff::Timestamp;
use octavius_client::v1::SecretState;
use serde_json::{Value, json};

/// The secrets of a job.
pub(crate) struct Secrets(pub(crate) Vec<SecretState>);

/// A secret that was set.
pub(crate) struct Set {
    pub(crate) job: String,
    pub(crate) secret: SecretState,
}

/// A secret that was taken away.
pub(crate) struct Unset {
    pub(crate) job: String,
    pub(crate) name: String,
}

fn set_at(secret: &SecretState) -> Option<Timestamp> {
    secret.set_at.as_ref().and_then(|at| timestamp(at.seconds, at.nanos))
}

/// Whether, since when and by whom it is set.
pub(crate) fn state(style: &Style, secret: &SecretState) -> String {
    match (secret.set, set_at(secret)) {
        (false, _) => "not set".to_owned(),
        (true, None) => format!("set by {}", one_line(&secret.set_by)),
        (true, Some(at)) => format!("set {} by {}", style.time(at), one_line(&secret.set_by)),
    }
}

/// A secret, for programs.
pub(crate) fn document(secret: &SecretState) -> Value {
    json!({
        "name": secret.name,
        "set": secret.set,
        "set_at": set_at(secret).map(|at| at.to_string()),
        "set_by": secret.set.then_some(&secret.set_by),
    })
}

impl Shown for Secrets {
    fn text(&self, style: &Style) -> String {
        let row = |secret: &SecretState| {
            let at = set_at(secret).map(|at| style.time(at)).unwrap_or_default();
            let set = if secret.set { "yes" } else { "no" };
            let cells = [one_line(&secret.name), set.to_owned(), at, one_line(&secret.set_by)];
            cells.map(Cell::new).to_vec()
        };
        table(style, &["NAME", "SET", "SINCE", "BY"], self.0.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|secret| one_line(&secret.name)).collect()
    }

    fn document(&self) -> Value {
        json!({ "secrets": self.0.iter().map(document).collect::<Vec<_>>() })
    }
}

impl Shown for Set {
    fn text(&self, _style: &Style) -> String {
        format!("secret {} of job `{}` is set\n", one_line(&self.secret.name), one_line(&self.job))
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.secret.name)]
    }

    fn document(&self) -> Value {
        let mut document = document(&self.secret);
        document["job"] = json!(self.job);
        document
    }
}

impl Shown for Unset {
    fn text(&self, _style: &Style) -> String {
        format!(
            "secret {} of job `{}` is not set any more\n",
            one_line(&self.name),
            one_line(&self.job)
        )
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.name)]
    }

    fn document(&self) -> Value {
        json!({ "job": self.job, "name": self.name, "set": false })
    }
}
