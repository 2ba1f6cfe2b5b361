//! The door: who asks, and whether that may be asked.
//!
//! One table says which roles may call which RPC; a new RPC without a row does not compile, and one without a variant
//! fails a test. Handlers get a [`Caller`] and their message from the door alone. In this version the policy is open:
//! nobody proves who they are, and everybody has every role, which is why the controller listens on loopback by default.

use crate::caller::Caller;
use tonic::{Request, metadata::MetadataMap};

/// The metadata that says who asks.
pub const USER: &str = "octavius-user";
/// Who asks where nobody says so.
pub const ANONYMOUS: &str = "anonymous";
/// The most bytes of a caller's name.
pub const MOST_NAME_BYTES: usize = 256;

/// What somebody may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs jobs, and looks at what became of them.
    User,
    /// Writes jobs, too.
    Administrator,
    /// An executor's process.
    Executor,
}

/// Who has which role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everybody has every role.
    Open,
}

impl Policy {
    fn roles(self, _: &Caller) -> &'static [Role] {
        match self {
            Self::Open => &[Role::User, Role::Administrator, Role::Executor],
        }
    }
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
    SetSecret = "Secrets",
    ListSecrets = "Secrets",
    UnsetSecret = "Secrets",
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

    /// The table: who may ask for it.
    pub fn access(self) -> &'static [Role] {
        use Role::{Administrator, Executor, User};
        match self {
            Self::CreateJob | Self::UpdateJob | Self::DeleteJob => &[Administrator],
            Self::DescribeJob | Self::ListJobs => &[User, Administrator],
            Self::Execute | Self::Rerun | Self::Cancel => &[User, Administrator],
            Self::GetExecution | Self::ListExecutions | Self::ReadLog => &[User, Administrator],
            Self::Register | Self::Attend | Self::Poll | Self::Report | Self::Append => &[Executor],
            Self::SetSecret | Self::UnsetSecret => &[Administrator],
            Self::ListSecrets => &[User, Administrator],
            Self::ListExecutors => &[User, Administrator],
            Self::DrainExecutor => &[Administrator],
            Self::GetVersion => &[User, Administrator, Executor],
            Self::Backup => &[Administrator],
        }
    }
}

/// Why somebody was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// The caller's name is none.
    #[error(
        "the metadata `{USER}` is no name: give 1 to {MOST_NAME_BYTES} visible ASCII characters"
    )]
    Name,
    /// Others may ask for it.
    #[error("{caller} may not call {rpc}: that takes one of the roles {roles:?}", rpc = rpc.name(), roles = rpc.access())]
    NotAllowed {
        /// Who asks.
        caller: String,
        /// For what.
        rpc: Rpc,
    },
}

/// The door.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    policy: Policy,
}

impl Door {
    /// A door with this policy.
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// The caller and the message of a request that may be made.
    pub fn enter<T>(self, rpc: Rpc, request: Request<T>) -> Result<(Caller, T), DoorError> {
        let caller = Caller::new(name(request.metadata())?, Vec::new());
        check(rpc, self.policy.roles(&caller), &caller)?;
        Ok((caller, request.into_inner()))
    }
}

fn check(rpc: Rpc, roles: &[Role], caller: &Caller) -> Result<(), DoorError> {
    if rpc.access().iter().any(|role| roles.contains(role)) {
        return Ok(());
    }
    Err(DoorError::NotAllowed { caller: caller.name().to_owned(), rpc })
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
mod tests {
    use super::*;
    use prost::Message;
    use std::collections::BTreeSet;

    /// `Service/Method` of everything in the protocol.
    fn described() -> BTreeSet<String> {
        let set = prost_types::FileDescriptorSet::decode(octavius_protocol::DESCRIPTORS).unwrap();
        let ours = set.file.iter().filter(|file| file.package() == "octavius.v1");
        let services = ours.flat_map(|file| &file.service);
        services
            .flat_map(|service| {
                service.method.iter().map(|method| format!("{}/{}", service.name(), method.name()))
            })
            .collect()
    }

    #[test]
    fn every_method_of_the_protocol_has_its_row() {
        let rows: BTreeSet<String> = Rpc::ALL.iter().map(|rpc| rpc.name().to_owned()).collect();
        assert_eq!(rows, described());
        assert_eq!(rows.len(), Rpc::ALL.len());
        for rpc in Rpc::ALL {
            assert_eq!(Rpc::from_path(&format!("{PACKAGE}{}", rpc.name())), Some(*rpc));
            assert!(!rpc.access().is_empty(), "nobody may call {rpc:?}");
        }
        assert_eq!(Rpc::from_path("/grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn who_has_no_role_of_the_row_is_refused() {
        let ada = Caller::new("ada", Vec::new());
        let may = |roles: &[Role]| -> Vec<&'static str> {
            let all = Rpc::ALL.iter().filter(|rpc| check(**rpc, roles, &ada).is_ok());
            all.map(|rpc| rpc.name()).collect()
        };
        let executor = ["Register", "Attend", "Poll", "Report", "Append"];
        let executor = executor.map(|name| format!("Executors/{name}"));
        for rpc in may(&[Role::Executor]) {
            assert!(rpc == "System/GetVersion" || executor.iter().any(|name| name == rpc), "{rpc}");
        }
        for rpc in may(&[Role::User]) {
            let administrators = [
                "Jobs/CreateJob",
                "Secrets/SetSecret",
                "Secrets/UnsetSecret",
                "Executors/DrainExecutor",
                "System/Backup",
            ];
            assert!(
                !administrators.contains(&rpc) && !executor.iter().any(|name| name == rpc),
                "{rpc}"
            );
        }
        assert!(may(&[Role::Administrator]).contains(&"Jobs/CreateJob"));
        assert_eq!(may(&[]), Vec::<&str>::new());
        let refused = check(Rpc::CreateJob, &[Role::User], &ada).unwrap_err().to_string();
        assert!(refused.contains("ada may not call Jobs/CreateJob"), "{refused}");
    }

    #[test]
    fn a_caller_has_a_name_and_the_open_policy_lets_everybody_in() {
        let door = Door::new(Policy::Open);
        let enter = |user: Option<&str>| {
            let mut request = Request::new(());
            if let Some(user) = user {
                request.metadata_mut().insert(USER, user.parse().unwrap());
            }
            door.enter(Rpc::CreateJob, request).map(|(caller, ())| caller.name().to_owned())
        };
        assert_eq!(enter(Some("ada@example.org")), Ok("ada@example.org".to_owned()));
        assert_eq!(enter(None), Ok(ANONYMOUS.to_owned()));
        for wrong in ["", "  ", &"a".repeat(257)] {
            assert_eq!(enter(Some(wrong)), Err(DoorError::Name));
        }
    }
}
