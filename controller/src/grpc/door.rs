//! The door: who asks, and whether that may be asked.
//!
//! One table says what each RPC takes; a new RPC without a row does not compile, and one without a variant fails a test.
//! Handlers get a [`Caller`] and their message from the door alone. Where nothing is proven, everybody may do everything,
//! which is why the controller listens on loopback by default. Where tokens are taken, the door knows who shows one from
//! a view that is read for each call: what was taken away lets nobody in any more. What an RPC takes for a job is demanded
//! once its handler knows which job it is about, with [`demand`]; what somebody may not see does not exist for them.

use super::certificate::Uncertified;
use crate::{
    access::{
        AccessView, Sight,
        issuer::{Issued, IssuedToken, Issuers, NotIssued, SignIn, Vouched, has_form},
        record::JoinedWith,
        rules::{Rights, Role},
        token::{Kind, ShownToken, TokenId},
        view::{Identity, NotLetIn},
    },
    caller::{Caller, Proof},
    registry::JobsView,
};
use jiff::Timestamp;
use octavius_protocol::id::JobName;
use tonic::metadata::MetadataMap;

pub use crate::caller::MOST_NAME_BYTES;

/// The metadata that says who asks, where nobody has to prove it.
pub const USER: &str = "octavius-user";
/// The metadata that proves who asks: `Bearer`, and a token.
pub const AUTHORIZATION: &str = "authorization";
/// Who asks where nobody says so.
pub const ANONYMOUS: &str = "anonymous";

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// To be somebody: a person, or an executor that has joined.
    Somebody,
    /// This role, in all or for any job. What is answered is what the caller may see.
    Anywhere(Role),
    /// This role for the job that the call is about.
    ForItsJob(Role),
    /// This role in all.
    InAll(Role),
    /// To be an executor that has joined, or one that may join.
    Joining,
    /// To be an executor that has joined.
    Executor,
}

/// Who may do what.
#[derive(Clone, Debug)]
pub enum Policy {
    /// Everybody may do everything.
    Open,
    /// Who shows a token, what it lets them.
    Tokens(AccessView),
}

/// Declares every RPC once: its variant, its service and its name in the protocol.
macro_rules! rpcs {
    ($($variant:ident = $service:literal),+ $(,)?) => {
        /// Everything that can be asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rpc { $(
            #[doc = concat!("`", $service, "/", stringify!($variant), "`")]
            $variant,
        )+ }

        impl Rpc {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its service and name, as metrics have it: `Jobs/CreateJob`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => concat!($service, "/", stringify!($variant))),+ }
            }
        }
    };
}

rpcs! {
    CreateJob = "Jobs",
    DescribeJob = "Jobs",
    ListJobs = "Jobs",
    UpdateJob = "Jobs",
    DeleteJob = "Jobs",
    Execute = "Executions",
    Rerun = "Executions",
    GetExecution = "Executions",
    ListExecutions = "Executions",
    Cancel = "Executions",
    ReadLog = "Executions",
    Register = "Executors",
    Attend = "Executors",
    Poll = "Executors",
    Report = "Executors",
    Append = "Executors",
    ListExecutors = "Executors",
    DrainExecutor = "Executors",
    ForgetExecutor = "Executors",
    SetSecret = "Secrets",
    ListSecrets = "Secrets",
    UnsetSecret = "Secrets",
    CreateToken = "Access",
    InviteExecutors = "Access",
    ListTokens = "Access",
    RevokeToken = "Access",
    GrantRole = "Access",
    RevokeRole = "Access",
    ListRoles = "Access",
    ListAudit = "Access",
    GetVersion = "System",
    Backup = "System",
}

/// What every path of ours begins with.
pub(super) const PACKAGE: &str = "/octavius.v1.";

impl Rpc {
    /// The RPC of a request's path; none: it is not one of ours.
    pub fn from_path(path: &str) -> Option<Self> {
        let name = path.strip_prefix(PACKAGE)?;
        Self::ALL.iter().copied().find(|rpc| rpc.name() == name)
    }

    /// The table: what it takes.
    pub fn needs(self) -> Needs {
        use Needs::{Anywhere, Executor, ForItsJob, InAll, Joining, Somebody};
        use Role::{Admin, Operator, Viewer};
        match self {
            Self::CreateJob | Self::UpdateJob | Self::DeleteJob => ForItsJob(Admin),
            Self::DescribeJob | Self::ListSecrets => ForItsJob(Viewer),
            Self::ListJobs | Self::ListExecutions | Self::ListExecutors => Anywhere(Viewer),
            Self::Execute | Self::Rerun | Self::Cancel => ForItsJob(Operator),
            Self::GetExecution | Self::ReadLog => ForItsJob(Viewer),
            Self::Register => Joining,
            Self::Attend | Self::Poll | Self::Report | Self::Append => Executor,
            Self::SetSecret | Self::UnsetSecret => ForItsJob(Admin),
            Self::DrainExecutor | Self::ForgetExecutor => InAll(Admin),
            Self::CreateToken | Self::InviteExecutors | Self::ListTokens => InAll(Admin),
            Self::RevokeToken | Self::GrantRole | Self::RevokeRole => InAll(Admin),
            Self::ListRoles | Self::ListAudit | Self::Backup => InAll(Admin),
            Self::GetVersion => Somebody,
        }
    }
}

/// Why somebody was not let in. No text has anything of what was shown but the id of a token that was right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// The caller's name is none.
    #[error(
        "the metadata `{USER}` is no name: give 1 to {MOST_NAME_BYTES} visible ASCII characters"
    )]
    Name,
    /// Nothing proves who asks.
    #[error("this controller asks for a token: {}{}", or_sign_in(.rpc, .sign_in), remedy(.rpc))]
    NoToken {
        /// For what.
        rpc: Rpc,
        /// Where people can have one.
        sign_in: Option<SignIn>,
    },
    /// It is no token, none that is known, or one that was revoked.
    #[error("the token is not taken: it is not whole, not of this installation, or was revoked: {}", remedy(.rpc))]
    BadToken {
        /// For what.
        rpc: Rpc,
    },
    /// It was right, and is over.
    #[error("the token {id} ended at {at:.0}: {}", remedy_of(.kind))]
    Expired {
        /// What it was for.
        kind: Kind,
        /// Which it was.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// It is an identity token, which does not let in.
    #[error(transparent)]
    Issued(#[from] NotIssued),
    /// Nobody can say yet.
    #[error("this controller is loading who may do what: try again in a moment")]
    Loading,
    /// An executor has to show a certificate.
    #[error(
        "this controller asks executors for a certificate, and the connection {0}: give one that an authority of `tls_executor_ca_file` has signed as `tls_cert_file`, with its key as `tls_key_file`, in `executor_config.json`"
    )]
    Uncertified(Uncertified),
    /// So does the controller that passes its calls on.
    #[error(
        "this controller asks executors for a certificate, and the controller that passed this call on {0}: have the one in its `tls_cert_file` signed by an authority of `tls_executor_ca_file`, for servers and clients"
    )]
    PassedOnUncertified(Uncertified),
    /// The token is for something else.
    #[error("{caller} may not call {rpc}: {}", other_kind(*.rpc), rpc = rpc.name())]
    NotFor {
        /// Who asks.
        caller: String,
        /// For what.
        rpc: Rpc,
    },
    /// It was taken away while they waited.
    #[error("{caller} may not call {rpc} any more", rpc = rpc.name())]
    NoMore {
        /// Who asks.
        caller: String,
        /// For what.
        rpc: Rpc,
    },
    /// It takes a role that they do not have.
    #[error(
        "{caller} may not call {rpc}{}: that takes the role `{role}`: ask an administrator for it (`octavius role grant {role} --person {caller}{}`)",
        for_job(.job.as_ref()), flag(.job.as_ref()), rpc = rpc.name()
    )]
    NotAllowed {
        /// Who asks.
        caller: String,
        /// For what.
        rpc: Rpc,
        /// What it takes.
        role: Role,
        /// For which job; none: in all, or not for a certain one.
        job: Option<JobName>,
    },
}

const FOR_PEOPLE: &str = "ask an administrator for one (`octavius token create`), and give it with `octavius config` or as ACCESS_TOKEN";
const FOR_EXECUTORS: &str = "ask an administrator for one (`octavius executors invite`), and give it as `access_token` in `executor_config.json`";

fn or_sign_in(rpc: &Rpc, sign_in: &Option<SignIn>) -> &'static str {
    let is_of_people = !matches!(rpc.needs(), Needs::Joining | Needs::Executor);
    match sign_in {
        Some(_) if is_of_people => "sign in with `octavius login`, or ",
        Some(_) | None => "",
    }
}

fn remedy(rpc: &Rpc) -> &'static str {
    match rpc.needs() {
        Needs::Joining | Needs::Executor => FOR_EXECUTORS,
        Needs::Somebody | Needs::Anywhere(_) | Needs::ForItsJob(_) | Needs::InAll(_) => FOR_PEOPLE,
    }
}

fn remedy_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::Person => FOR_PEOPLE,
        Kind::Join | Kind::Executor => FOR_EXECUTORS,
    }
}

fn other_kind(rpc: Rpc) -> &'static str {
    match rpc.needs() {
        Needs::Joining | Needs::Executor => "that takes the credential of an executor",
        Needs::Somebody | Needs::Anywhere(_) | Needs::ForItsJob(_) | Needs::InAll(_) => {
            "that takes the token of a person"
        }
    }
}

fn for_job(job: Option<&JobName>) -> String {
    job.map_or_else(String::new, |job| format!(" for job `{job}`"))
}

fn flag(job: Option<&JobName>) -> String {
    job.map_or_else(String::new, |job| format!(" --job {job}"))
}

/// What a caller may do with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// What was asked for.
    Granted,
    /// Nothing: it does not exist for them.
    Hidden,
    /// To see it, but not this.
    Refused(DoorError),
}

/// The door.
#[derive(Clone, Debug)]
pub struct Door {
    policy: Policy,
    jobs: JobsView,
    issuers: Issuers,
}

impl Door {
    /// A door with this policy.
    pub fn new(policy: Policy, jobs: JobsView) -> Self {
        Self { policy, jobs, issuers: Issuers::default() }
    }

    /// The same, which takes the tokens of these issuers, too, where it takes tokens.
    #[must_use]
    pub fn trusting(self, issuers: Issuers) -> Self {
        Self { issuers, ..self }
    }

    /// Who asks, with this metadata.
    pub fn caller(&self, rpc: Rpc, metadata: &MetadataMap) -> Result<Caller, DoorError> {
        let access = match &self.policy {
            Policy::Open => return Ok(Caller::new(name(metadata)?, Vec::new())),
            Policy::Tokens(access) => access,
        };
        let shown = metadata
            .get(AUTHORIZATION)
            .ok_or_else(|| DoorError::NoToken { rpc, sign_in: self.issuers.sign_in() })?;
        let shown = bearer(shown.as_encoded_bytes()).ok_or(DoorError::BadToken { rpc })?;
        let now = Timestamp::now();
        if has_form(shown) && !self.issuers.is_empty() {
            return match self.issuers.verify(shown, now)? {
                Vouched::Person(Issued { name, groups, token }) => {
                    issued(access, &name, &groups, token)
                }
                Vouched::ServiceAccount(account, token) => {
                    let name = format!("service account {account}");
                    let proof = Proof::ServiceAccount(account, token);
                    Ok(Caller::proven(name, Vec::new(), proof))
                }
            };
        }
        let shown = ShownToken::read(shown).ok_or(DoorError::BadToken { rpc })?;
        match access.identify(&shown, now) {
            Ok(holder) => self.proven(rpc, holder, shown.id),
            Err(NotLetIn::Loading) => Err(DoorError::Loading),
            Err(NotLetIn::Unknown) => Err(DoorError::BadToken { rpc }),
            Err(NotLetIn::Expired { kind, id, at }) => Err(DoorError::Expired { kind, id, at }),
        }
    }

    /// Whether somebody who was let in would still be.
    pub fn is_open_for(&self, rpc: Rpc, caller: &Caller) -> Result<Caller, DoorError> {
        let Policy::Tokens(access) = &self.policy else { return Ok(caller.clone()) };
        let now = Timestamp::now();
        let caller = match caller.proof() {
            Proof::None => return Ok(caller.clone()),
            Proof::Person(id, _) | Proof::Join(id) | Proof::Executor(id, ..) => {
                let holder = access.holder(id, now).ok_or(DoorError::BadToken { rpc })?;
                self.proven(rpc, holder, id.clone())?
            }
            Proof::Issued(token, _) => {
                token.holds(now)?;
                issued(access, caller.name(), caller.groups(), token.clone())?
            }
            Proof::ServiceAccount(_, token) => {
                token.holds(now)?;
                caller.clone()
            }
        };
        check(rpc, &caller)?;
        Ok(caller)
    }

    fn proven(&self, rpc: Rpc, holder: Identity, id: TokenId) -> Result<Caller, DoorError> {
        Ok(match holder {
            Identity::Person { name, groups, rights } => {
                Caller::proven(name, groups, Proof::Person(id, rights))
            }
            Identity::Join => Caller::proven(format!("token {id}"), Vec::new(), Proof::Join(id)),
            // A cluster that is taken out of the configuration takes those with it for whom it vouched.
            Identity::Executor { joined_with: JoinedWith::Account(account), .. }
                if !self.issuers.names(&account) =>
            {
                return Err(DoorError::BadToken { rpc });
            }
            Identity::Executor { executor, labels, .. } => Caller::proven(
                format!("executor {executor}"),
                Vec::new(),
                Proof::Executor(id, executor, labels),
            ),
        })
    }

    /// What somebody may see.
    pub fn sight(&self, caller: &Caller) -> Sight {
        let (rights, groups) = match caller.proof() {
            Proof::None => return Sight::All,
            Proof::Person(_, rights) | Proof::Issued(_, rights)
                if rights.in_all() == Some(Role::Admin) =>
            {
                return Sight::All;
            }
            Proof::Person(_, rights) | Proof::Issued(_, rights) => {
                (rights.clone(), caller.groups().to_vec())
            }
            Proof::Join(_) | Proof::ServiceAccount(..) | Proof::Executor(..) => {
                (Rights::default(), Vec::new())
            }
        };
        Sight::Of { rights, groups, jobs: self.jobs.clone() }
    }
}

/// Whether the caller, who sees so much, has for a job what `rpc` takes.
pub fn demand(rpc: Rpc, caller: &Caller, sight: &Sight, job: &JobName) -> Demand {
    let Needs::ForItsJob(role) = rpc.needs() else { return Demand::Granted };
    match sight.role_for(job) {
        None => Demand::Hidden,
        Some(has) if has >= role => Demand::Granted,
        Some(_) => Demand::Refused(DoorError::NotAllowed {
            caller: caller.name().to_owned(),
            rpc,
            role,
            job: Some(job.clone()),
        }),
    }
}

/// The token in the metadata that proves who asks.
pub(super) fn bearer(authorization: &[u8]) -> Option<&str> {
    Some(std::str::from_utf8(authorization).ok()?.strip_prefix("Bearer ")?.trim())
}

/// A person for whom the issuer vouches.
fn issued(
    access: &AccessView,
    name: &str,
    groups: &[String],
    token: IssuedToken,
) -> Result<Caller, DoorError> {
    let rights = access.rights(name, groups).ok_or(DoorError::Loading)?;
    Ok(Caller::proven(name, groups.to_vec(), Proof::Issued(token, rights)))
}

/// Whether the caller may call `rpc`, as far as that can be said without its job.
pub(super) fn check(rpc: Rpc, caller: &Caller) -> Result<(), DoorError> {
    let name = || caller.name().to_owned();
    let has = |has: Option<Role>, role: Role| match has >= Some(role) {
        true => Ok(()),
        false => Err(DoorError::NotAllowed { caller: name(), rpc, role, job: None }),
    };
    match (rpc.needs(), caller.proof()) {
        (_, Proof::None)
        | (Needs::Somebody, Proof::Person(..) | Proof::Issued(..) | Proof::Executor(..))
        | (Needs::Joining, Proof::Join(_) | Proof::ServiceAccount(..) | Proof::Executor(..))
        | (Needs::Executor, Proof::Executor(..)) => Ok(()),
        (Needs::InAll(role), Proof::Person(_, rights) | Proof::Issued(_, rights)) => {
            has(rights.in_all(), role)
        }
        // Of what is not a job's, and of jobs that somebody may not see, nothing is told to whom has nothing anywhere.
        (Needs::Anywhere(role), Proof::Person(_, rights) | Proof::Issued(_, rights)) => {
            has(rights.anywhere(), role)
        }
        (Needs::ForItsJob(_), Proof::Person(_, rights) | Proof::Issued(_, rights)) => {
            has(rights.anywhere(), Role::Viewer)
        }
        (Needs::Joining | Needs::Executor, Proof::Person(..) | Proof::Issued(..))
        | (Needs::Executor | Needs::Somebody, Proof::Join(_) | Proof::ServiceAccount(..))
        | (
            Needs::Anywhere(_) | Needs::ForItsJob(_) | Needs::InAll(_),
            Proof::Join(_) | Proof::ServiceAccount(..) | Proof::Executor(..),
        ) => Err(DoorError::NotFor { caller: name(), rpc }),
    }
}

fn name(metadata: &MetadataMap) -> Result<String, DoorError> {
    let Some(value) = metadata.get(USER) else { return Ok(ANONYMOUS.to_owned()) };
    let name = value.to_str().map_err(|_| DoorError::Name)?.trim();
    match name.len() {
        1..=MOST_NAME_BYTES => Ok(name.to_owned()),
        _ => Err(DoorError::Name),
    }
}

#[cfg(test)]
mod tests;
