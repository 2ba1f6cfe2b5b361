//! The table, and who is let in by it. The whole server is asked in `controller/tests/server/permissions.rs`.

use super::*;
use crate::access::token::NewToken;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

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
    }
    assert_eq!(Rpc::from_path("/grpc.health.v1.Health/Check"), None);
}

fn id() -> TokenId {
    NewToken::make(Kind::Person).unwrap().id
}

fn person(of: Option<&str>, role: Role) -> Caller {
    let mut rights = Rights::default();
    rights.add(of.map(|job| job.parse().unwrap()).as_ref(), role);
    Caller::proven("ada", Vec::new(), Proof::Person(id(), rights))
}

#[test]
fn who_has_no_role_of_the_row_is_refused() {
    let may = |caller: &Caller| -> Vec<&'static str> {
        let all = Rpc::ALL.iter().filter(|rpc| check(**rpc, caller).is_ok());
        all.map(|rpc| rpc.name()).collect()
    };
    let executor = "e".parse().unwrap();
    let executor = Caller::proven("e", vec![], Proof::Executor(id(), executor, BTreeMap::new()));
    let calls = ["Register", "Attend", "Poll", "Report", "Append"];
    let calls: Vec<_> = calls.iter().map(|name| format!("Executors/{name}")).collect();
    let of_executors: BTreeSet<_> = calls.iter().map(String::as_str).collect();
    let its_own: BTreeSet<_> = may(&executor).into_iter().collect();
    assert_eq!(its_own, &of_executors | &BTreeSet::from(["System/GetVersion"]));
    let joins = Caller::proven("t", vec![], Proof::Join(id()));
    assert_eq!(may(&joins), ["Executors/Register"]);
    let nothing = Caller::proven("bob", vec![], Proof::Person(id(), Rights::default()));
    assert_eq!(may(&nothing), ["System/GetVersion"]);

    let in_all = ["Executors/DrainExecutor", "Executors/ForgetExecutor", "System/Backup"];
    let is_of_all = |rpc: &&str| rpc.starts_with("Access/") || in_all.contains(rpc);
    // Who administers one job administers nothing else.
    for caller in [person(None, Role::Operator), person(Some("deploy"), Role::Admin)] {
        assert!(!may(&caller).iter().any(is_of_all), "{:?}", may(&caller));
        assert!(may(&caller).contains(&"Executions/Execute"));
    }
    let all: BTreeSet<_> = may(&person(None, Role::Admin)).into_iter().collect();
    let rest: BTreeSet<_> = Rpc::ALL.iter().map(|rpc| rpc.name()).collect();
    assert_eq!(all, &rest - &of_executors);

    let refused = check(Rpc::DrainExecutor, &person(None, Role::Viewer)).unwrap_err().to_string();
    assert!(refused.contains("ada may not call Executors/DrainExecutor"), "{refused}");
    assert!(refused.contains("octavius role grant admin --person ada"), "{refused}");
}

fn jobs() -> JobsView {
    JobsView::for_tests(&[("open", &[]), ("of-sre", &["sre"])])
}

#[test]
fn what_is_demanded_for_a_job_is_granted_hidden_or_refused() {
    let door = Door::new(Policy::Open, jobs());
    let job = |name: &str| name.parse::<JobName>().unwrap();
    let granted =
        |rpc, caller: &Caller, of: &str| demand(rpc, caller, &door.sight(caller), &job(of));
    let viewer = person(None, Role::Viewer);
    assert_eq!(granted(Rpc::DescribeJob, &viewer, "open"), Demand::Granted);
    for rpc in [Rpc::DescribeJob, Rpc::Execute, Rpc::DeleteJob] {
        assert_eq!(granted(rpc, &viewer, "of-sre"), Demand::Hidden);
        assert_eq!(granted(rpc, &viewer, "not-there"), Demand::Hidden);
    }
    let Demand::Refused(refused) = granted(Rpc::Execute, &viewer, "open") else { panic!() };
    assert!(refused.to_string().contains("for job `open`: that takes the role `operator`"));
    let admin = person(None, Role::Admin);
    assert_eq!(granted(Rpc::CreateJob, &admin, "not-there"), Demand::Granted);
    let nobody_proves = Caller::new("ada", Vec::new());
    assert_eq!(granted(Rpc::DeleteJob, &nobody_proves, "of-sre"), Demand::Granted);
}

#[test]
fn a_caller_has_a_name_and_the_open_policy_lets_everybody_in() {
    let door = Door::new(Policy::Open, jobs());
    let enter = |user: Option<&str>| {
        let mut metadata = MetadataMap::new();
        if let Some(user) = user {
            metadata.insert(USER, user.parse().unwrap());
        }
        door.caller(Rpc::CreateJob, &metadata).map(|caller| caller.name().to_owned())
    };
    assert_eq!(enter(Some("ada@example.org")), Ok("ada@example.org".to_owned()));
    assert_eq!(enter(None), Ok(ANONYMOUS.to_owned()));
    for wrong in ["", "  ", &"a".repeat(257)] {
        assert_eq!(enter(Some(wrong)), Err(DoorError::Name));
    }
}

#[test]
fn nobody_is_let_in_before_it_is_known_who_may_do_what() {
    let door = Door::new(Policy::Tokens(AccessView::loading()), jobs());
    let enter = |authorization: Option<&str>| {
        let mut metadata = MetadataMap::new();
        metadata.insert(USER, "root".parse().unwrap());
        if let Some(authorization) = authorization {
            metadata.insert(AUTHORIZATION, authorization.parse().unwrap());
        }
        door.caller(Rpc::GetVersion, &metadata).map(drop)
    };
    let rpc = Rpc::GetVersion;
    assert_eq!(enter(None), Err(DoorError::NoToken { rpc, sign_in: None }));
    for wrong in ["", "Bearer", "Bearer ", "Bearer token", "Basic b2N0", "octp_"] {
        assert_eq!(enter(Some(wrong)), Err(DoorError::BadToken { rpc }), "{wrong}");
    }
    use secrecy::ExposeSecret;
    let token = NewToken::make(Kind::Person).unwrap();
    let bearer = format!("Bearer {}", token.text.expose_secret());
    assert_eq!(enter(Some(&bearer)), Err(DoorError::Loading));
}
