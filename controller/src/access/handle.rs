//! What others hold of access: its bounds, its deadlines, and the making of tokens, which needs no state.

use super::{
    Access, AccessError, AccessView, JoinError, NAME,
    change::{Dismiss, Grant, Keep, Revoke, Ungrant},
    join::{Join, JoinsWith, has_labels},
    look::{RolePlace, Roles, Tokens},
    record::{GrantRecord, Holder, TokenRecord},
    rules::{Role, Subject},
    token::{Kind, NewToken, TokenId},
};
use crate::{caller::Caller, configuration::FirstAdministrator, store::StoreHandle};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use octavius_protocol::id::{ExecutorId, JobName};
use octavius_service::actor::{
    ActorSystem, Handle, Limits, Priority, RestartPolicy, Unanswered, Vitals,
};
use secrecy::SecretString;
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::sync::watch;
use uuid::Uuid;

/// The most tokens of people and for joining.
pub const MOST_TOKENS: usize = 10_000;
/// The most roles that are given.
pub const MOST_GRANTS: usize = 10_000;

/// A token that was made. Its text is nowhere else.
#[derive(Debug)]
pub struct Made {
    /// What is given to whom it is for.
    pub text: SecretString,
    /// What is kept.
    pub record: TokenRecord,
}

/// A page of tokens, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenPage {
    /// The tokens.
    pub tokens: Vec<TokenRecord>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

/// A page of roles, people first, each and each group by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolePage {
    /// The roles.
    pub grants: Vec<(Subject, GrantRecord)>,
    /// Asks for the next page; empty where there is none.
    pub next_page_token: String,
}

/// The way in to access.
#[derive(Clone, Debug)]
pub struct AccessHandle {
    actor: Handle<Access>,
    view: AccessView,
}

impl AccessHandle {
    /// Starts the actor on a thread of its own.
    pub fn start(system: &mut ActorSystem, store: StoreHandle) -> io::Result<Self> {
        Self::start_with(system, store, None)
    }

    /// Starts it with an administrator whom the configuration names.
    pub fn start_with(
        system: &mut ActorSystem,
        store: StoreHandle,
        first: Option<FirstAdministrator>,
    ) -> io::Result<Self> {
        let first = first.map(|FirstAdministrator { name, id, hash }| TokenRecord {
            id,
            hash,
            holder: Holder::Person { name, groups: Vec::new() },
            created_at: Timestamp::now(),
            created_by: "first_administrator".to_owned(),
            expires_at: None,
        });
        let (known, view) = watch::channel(None);
        let gate = store.gate();
        let build = move || {
            let (store, known, first) = (store.clone(), known.clone(), first.clone());
            async move { Access::load(&store, known, first).await }
        };
        let actor = system.supervise(NAME, Limits::default(), RestartPolicy::default(), build)?;
        Ok(Self { actor: actor.behind(gate), view: AccessView(view) })
    }

    /// Who may do what, for the door.
    pub fn view(&self) -> AccessView {
        self.view.clone()
    }

    /// Makes a token for a person. The answer comes after it is on disk.
    pub async fn create(
        &self,
        name: String,
        groups: Vec<String>,
        expires_in: Option<Duration>,
        by: &Caller,
    ) -> Result<Made, AccessError> {
        self.make(Kind::Person, Holder::Person { name, groups }, expires_in, by).await
    }

    /// Makes a token with which executors join. The answer comes after it is on disk.
    pub async fn invite(
        &self,
        uses_left: u32,
        labels: BTreeMap<String, String>,
        expires_in: Duration,
        by: &Caller,
    ) -> Result<Made, AccessError> {
        self.make(Kind::Join, Holder::Join { uses_left, labels }, Some(expires_in), by).await
    }

    async fn make(
        &self,
        kind: Kind,
        holder: Holder,
        expires_in: Option<Duration>,
        by: &Caller,
    ) -> Result<Made, AccessError> {
        let NewToken { text, id, hash } = NewToken::make(kind)?;
        let created_at = Timestamp::now();
        let ends = |after: Duration| created_at.saturating_add(after).unwrap_or(Timestamp::MAX);
        let record = TokenRecord {
            id,
            hash,
            holder,
            created_at,
            created_by: by.name().to_owned(),
            expires_at: expires_in.map(ends),
        };
        let record = sure(self.actor.mutate(Priority::Submit, Keep(record, by.clone())).await)?;
        Ok(Made { text, record })
    }

    /// Trades what an executor joins with for a credential of its own. The answer comes after it is on disk.
    pub async fn join(
        &self,
        with: JoinsWith,
        executor: ExecutorId,
        place: Uuid,
        labels: BTreeMap<String, String>,
        by: &Caller,
    ) -> Result<SecretString, JoinError> {
        let NewToken { text, id, hash } =
            NewToken::make(Kind::Executor).map_err(AccessError::from)?;
        let join = Join { with, executor, place, labels, id, hash, by: by.clone() };
        sure(self.actor.mutate(Priority::Report, join).await).map(|()| text)
    }

    /// Whether an executor that has joined may register so.
    pub fn may_register(
        own: &ExecutorId,
        bound: &BTreeMap<String, String>,
        as_whom: &ExecutorId,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), JoinError> {
        if own != as_whom {
            return Err(JoinError::Other { own: own.clone(), other: as_whom.clone() });
        }
        has_labels(own, bound, labels)
    }

    /// Ends a token. The answer, what it was, comes after that is on disk.
    pub async fn revoke(&self, id: TokenId, by: &Caller) -> Result<TokenRecord, AccessError> {
        let revoke = Revoke { id, by: by.clone() };
        sure(self.actor.mutate(Priority::Submit, revoke).await)
    }

    /// Ends the credential of an executor that was forgotten, if it has one.
    pub async fn dismiss(&self, executor: ExecutorId) -> Result<(), AccessError> {
        sure(self.actor.mutate(Priority::Submit, Dismiss(executor)).await)
    }

    /// Gives a role, in all or for one job. The answer comes after it is on disk.
    pub async fn grant(
        &self,
        subject: Subject,
        job: Option<JobName>,
        role: Role,
        by: &Caller,
    ) -> Result<GrantRecord, AccessError> {
        let grant = Grant { subject, job, role, by: by.clone() };
        sure(self.actor.mutate(Priority::Submit, grant).await)
    }

    /// Takes a role away. The answer comes after that is on disk.
    pub async fn ungrant(
        &self,
        subject: Subject,
        job: Option<JobName>,
        by: &Caller,
    ) -> Result<(), AccessError> {
        let ungrant = Ungrant { subject, job, by: by.clone() };
        sure(self.actor.mutate(Priority::Submit, ungrant).await)
    }

    /// Tokens by id, behind the page that ended with `page_token`.
    pub async fn tokens(&self, most: usize, page_token: &str) -> Result<TokenPage, AccessError> {
        let after = match page_token {
            "" => None,
            token => Some(token.parse().map_err(|_| no_page(token))?),
        };
        let (tokens, more) = self.actor.query(Priority::Read, Tokens { most, after }).await??;
        let last = tokens.last().filter(|_| more);
        let next_page_token = last.map_or_else(String::new, |token| token.id.to_string());
        Ok(TokenPage { tokens, next_page_token })
    }

    /// Roles behind the page that ended with `page_token`.
    pub async fn roles(&self, most: usize, page_token: &str) -> Result<RolePage, AccessError> {
        let after = match page_token {
            "" => None,
            token => Some(read_place(token).ok_or_else(|| no_page(token))?),
        };
        let (grants, more) = self.actor.query(Priority::Read, Roles { most, after }).await??;
        let last = grants.last().filter(|_| more);
        let next_page_token = last
            .map_or_else(String::new, |(subject, grant)| role_token(subject, grant.job.as_ref()));
        Ok(RolePage { grants, next_page_token })
    }

    /// Waits until the actor serves, `within` at the most.
    pub async fn up(&self, within: Duration) -> Result<(), Unanswered> {
        self.actor.up(within).await
    }

    /// What is seen of the actor from outside.
    pub fn vitals(&self) -> &Arc<Vitals> {
        self.actor.vitals()
    }

    /// Makes the actor panic; for tests of supervision.
    #[cfg(feature = "fault-injection")]
    pub async fn inject_panic(&self) -> Result<(), Unanswered> {
        self.actor.inject_panic().await
    }
}

fn no_page(token: &str) -> AccessError {
    AccessError::PageToken(token.chars().take(80).collect())
}

/// Where a page of roles ended: whether it is a person, the name in hexadecimal, and the job.
pub(crate) fn role_token(subject: &Subject, job: Option<&JobName>) -> String {
    let (kind, name) = match subject {
        Subject::Person(name) => ('p', name),
        Subject::Group(name) => ('g', name),
    };
    let job = job.map_or("", JobName::as_str);
    format!("{kind}.{}.{job}", HEXLOWER.encode(name.as_bytes()))
}

fn read_place(token: &str) -> Option<RolePlace> {
    let (kind, rest) = token.split_once('.')?;
    let (name, job) = rest.split_once('.')?;
    let name = String::from_utf8(HEXLOWER.decode(name.as_bytes()).ok()?).ok()?;
    let subject = match kind {
        "p" => Subject::Person(name),
        "g" => Subject::Group(name),
        _ => return None,
    };
    let job = match job {
        "" => None,
        job => Some(job.parse().ok()?),
    };
    Some((subject, job))
}

/// What came of a change: whoever got no answer does not know whether it was made.
fn sure<T, E: From<AccessError>>(answer: Result<Result<T, E>, Unanswered>) -> Result<T, E> {
    match answer {
        Ok(answer) => answer,
        Err(why) if why.certainly_nothing() => Err(AccessError::Unanswered(why).into()),
        Err(why) => Err(AccessError::Unconfirmed(why.to_string()).into()),
    }
}
