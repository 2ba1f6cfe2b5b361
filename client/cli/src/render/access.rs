//! Tokens and roles: what may be known of them, and a token itself once, when it is made.

use super::{Shown, Style, table, text::one_line, time::timestamp};
use comfy_table::Cell;
use jiff::Timestamp;
use octavius_client::v1::{Role, RoleGrant, Subject, Token, TokenKind, subject::Is};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A token that was made.
pub(crate) struct MadeToken {
    text: SecretString,
    about: Token,
}

impl MadeToken {
    pub(crate) fn new(text: String, about: Option<Token>) -> Self {
        Self { text: text.into(), about: about.unwrap_or_default() }
    }
}

/// All tokens.
pub(crate) struct Tokens(pub(crate) Vec<Token>);

/// A token that has ended.
pub(crate) struct RevokedToken(pub(crate) Token);

/// A role that was given.
pub(crate) struct Granted(pub(crate) RoleGrant);

/// Whose role was taken away, and where.
pub(crate) struct RevokedRole(pub(crate) RoleGrant);

/// All roles.
pub(crate) struct Roles(pub(crate) Vec<RoleGrant>);

fn moment(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| timestamp(at.seconds, at.nanos))
}

fn kind(token: &Token) -> &'static str {
    match token.kind() {
        TokenKind::Person => "person",
        TokenKind::Join => "join",
        TokenKind::Executor => "executor",
        TokenKind::Unspecified => "unknown",
    }
}

fn pairs(labels: &BTreeMap<String, String>) -> Vec<String> {
    labels.iter().map(|(name, value)| format!("{}={}", one_line(name), one_line(value))).collect()
}

/// Whose it is, and what it is bound to.
fn bound_to(token: &Token) -> String {
    let groups = token.groups.iter().map(|group| one_line(group));
    groups.chain(pairs(&token.labels)).collect::<Vec<_>>().join(",")
}

fn ends(style: &Style, token: &Token) -> String {
    let used_up = token.kind() == TokenKind::Join && token.uses_left == 0;
    match moment(token.expires_at.as_ref()) {
        _ if used_up => "used up".to_owned(),
        Some(at) if token.expired => format!("ended {}", style.time(at)),
        Some(at) => style.time(at),
        None => "never".to_owned(),
    }
}

fn document(token: &Token) -> Value {
    json!({
        "id": token.id,
        "kind": kind(token),
        "name": token.name,
        "groups": token.groups,
        "labels": token.labels,
        "uses_left": (token.kind() == TokenKind::Join).then_some(token.uses_left),
        "created_at": moment(token.created_at.as_ref()).map(|at| at.to_string()),
        "created_by": token.created_by,
        "expires_at": moment(token.expires_at.as_ref()).map(|at| at.to_string()),
        "expired": token.expired,
    })
}

impl Shown for MadeToken {
    fn text(&self, _: &Style) -> String {
        format!("{}\n", one_line(self.text.expose_secret()))
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.about.id)]
    }

    fn document(&self) -> Value {
        let mut document = document(&self.about);
        document["token"] = json!(self.text.expose_secret());
        document
    }
}

impl Shown for Tokens {
    fn text(&self, style: &Style) -> String {
        let row = |token: &Token| {
            let name = match token.kind() {
                TokenKind::Join => format!("{} may join", token.uses_left),
                _ => one_line(&token.name),
            };
            let (id, by) = (one_line(&token.id), one_line(&token.created_by));
            let cells = [id, kind(token).to_owned(), name, bound_to(token), ends(style, token), by];
            cells.map(Cell::new).to_vec()
        };
        let header = ["ID", "KIND", "NAME", "GROUPS, LABELS", "ENDS", "BY"];
        table(style, &header, self.0.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|token| one_line(&token.id)).collect()
    }

    fn document(&self) -> Value {
        json!({ "tokens": self.0.iter().map(document).collect::<Vec<_>>() })
    }
}

impl Shown for RevokedToken {
    fn text(&self, _: &Style) -> String {
        let (id, name) = (one_line(&self.0.id), one_line(&self.0.name));
        match self.0.kind() {
            TokenKind::Join => format!("nobody joins with token {id} any more\n"),
            TokenKind::Executor => {
                format!("executor `{name}` is out: its credential {id} is revoked\n")
            }
            TokenKind::Person | TokenKind::Unspecified => {
                format!("token {id} of {name} is revoked\n")
            }
        }
    }

    fn names(&self) -> Vec<String> {
        vec![one_line(&self.0.id)]
    }

    fn document(&self) -> Value {
        json!({ "revoked": document(&self.0) })
    }
}

/// What a subject is, and its name.
fn who(subject: Option<&Subject>) -> (&'static str, String) {
    match subject.and_then(|subject| subject.is.as_ref()) {
        Some(Is::Person(name)) => ("person", one_line(name)),
        Some(Is::Group(name)) => ("group", one_line(name)),
        None => ("unknown", String::new()),
    }
}

fn role(grant: &RoleGrant) -> &'static str {
    match grant.role() {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
        Role::Unspecified => "unknown",
    }
}

fn place(grant: &RoleGrant) -> String {
    match grant.job.as_str() {
        "" => "in all".to_owned(),
        job => format!("for job `{}`", one_line(job)),
    }
}

fn grant_document(grant: &RoleGrant) -> Value {
    let (kind, name) = who(grant.subject.as_ref());
    json!({
        "subject": { kind: name },
        "role": role(grant),
        "job": (!grant.job.is_empty()).then_some(&grant.job),
        "granted_at": moment(grant.granted_at.as_ref()).map(|at| at.to_string()),
        "granted_by": grant.granted_by,
    })
}

impl Shown for Granted {
    fn text(&self, _: &Style) -> String {
        let (kind, name) = who(self.0.subject.as_ref());
        format!("{kind} {name} is {} {}\n", role(&self.0), place(&self.0))
    }

    fn names(&self) -> Vec<String> {
        vec![who(self.0.subject.as_ref()).1]
    }

    fn document(&self) -> Value {
        grant_document(&self.0)
    }
}

impl Shown for RevokedRole {
    fn text(&self, _: &Style) -> String {
        let (kind, name) = who(self.0.subject.as_ref());
        format!("{kind} {name} has no role {} any more\n", place(&self.0))
    }

    fn names(&self) -> Vec<String> {
        vec![who(self.0.subject.as_ref()).1]
    }

    fn document(&self) -> Value {
        let (kind, name) = who(self.0.subject.as_ref());
        let job = (!self.0.job.is_empty()).then_some(&self.0.job);
        json!({ "subject": { kind: name }, "role": null, "job": job })
    }
}

impl Shown for Roles {
    fn text(&self, style: &Style) -> String {
        let row = |grant: &RoleGrant| {
            let (kind, name) = who(grant.subject.as_ref());
            let job = if grant.job.is_empty() { "(all)".to_owned() } else { one_line(&grant.job) };
            let at = moment(grant.granted_at.as_ref()).map(|at| style.time(at));
            let by = one_line(&grant.granted_by);
            let cells =
                [kind.to_owned(), name, role(grant).to_owned(), job, at.unwrap_or_default(), by];
            cells.map(Cell::new).to_vec()
        };
        let header = ["KIND", "NAME", "ROLE", "JOB", "SINCE", "BY"];
        table(style, &header, self.0.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|grant| who(grant.subject.as_ref()).1).collect()
    }

    fn document(&self) -> Value {
        json!({ "roles": self.0.iter().map(grant_document).collect::<Vec<_>>() })
    }
}
