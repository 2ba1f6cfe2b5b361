//! What no right client sends: to each call that there is, nothing at all, values that cannot be meant, and too much.

use crate::{
    wire::{Leaf, Nonsense, Protocol, Raw},
    world::{SOON, World, job, refusal, registration},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::uri::PathAndQuery;
use octavius_controller::grpc::door::Rpc;
use octavius_protocol::{MAX_MESSAGE, v1};
use prost::Message;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::time::Duration;
use tonic::{Code, Request, Status, client::Grpc, transport::Channel};

/// For how long a call that may rightly wait is waited for. Nothing is wrong when this has passed, nor when there was an
/// answer before.
const PARKED: Duration = Duration::from_millis(500);

/// What comes of a request without a word.
#[derive(Debug, PartialEq, Eq)]
enum Empty {
    /// It asks for what the protocol says.
    Answered,
    /// These fields are missing.
    Refused(&'static [&'static str]),
}

struct Hostile {
    world: World,
    protocol: Protocol,
    session: u64,
    lease: v1::LeaseName,
    waits: String,
}

impl Hostile {
    /// A controller with a job of each kind, an execution that runs, and one that waits.
    async fn start() -> Self {
        let world = World::start().await;
        world.create(job("hello")).await;
        let secret = |name: &str| v1::SecretName { name: name.to_owned(), ..Default::default() };
        let secrets = vec![secret("TOKEN"), secret("OTHER")];
        world.create(v1::JobDefinition { secrets, ..job("sealed") }).await;
        world.execute("hello").await;
        let mut executor = world.executor("e", 1).await;
        let lease = executor.granted().await.name.unwrap();
        executor.run(&lease).await;
        executor.append(&lease, 0, "kept\n").await.unwrap();
        let waits = world.execute("hello").await.id;
        let session = executor.session;
        Self { world, protocol: Protocol::read(), session, lease, waits }
    }

    /// A row for each call: what comes of an empty request, and one that is right. A new call does not compile until it
    /// has its row.
    fn row(&self, rpc: Rpc) -> (Empty, Vec<u8>) {
        use Empty::{Answered, Refused};
        let name = |name: &str| name.to_owned();
        let ada = || Some(v1::Subject { is: Some(v1::subject::Is::Person("ada".to_owned())) });
        let (session, lease) = (self.session, Some(self.lease.clone()));
        let held = || {
            let phase = v1::HeldPhase::Running.into();
            vec![v1::HeldAttempt { lease: lease.clone(), phase, lacks_secrets: true }]
        };
        // Each has one of all that may be said, so that what is added to it is the only thing that is wrong.
        let definition = || {
            let retry = Some(v1::Retry { attempts: 2, ..v1::Retry::default() });
            Some(v1::JobDefinition { retry, ..job("other") })
        };
        match rpc {
            Rpc::CreateJob => (
                Refused(&["definition"]),
                v1::CreateJobRequest { definition: definition(), dry_run: true }.encode_to_vec(),
            ),
            Rpc::UpdateJob => (
                Refused(&["definition"]),
                v1::UpdateJobRequest {
                    definition: definition(),
                    create: true,
                    dry_run: true,
                    expected_version: 0,
                }
                .encode_to_vec(),
            ),
            Rpc::DeleteJob => (
                Refused(&["name"]),
                v1::DeleteJobRequest { name: name("nobody"), force: false }.encode_to_vec(),
            ),
            Rpc::DescribeJob => (
                Refused(&["name"]),
                v1::DescribeJobRequest { name: name("hello"), version: 0 }.encode_to_vec(),
            ),
            Rpc::ListJobs => (Answered, v1::ListJobsRequest::default().encode_to_vec()),
            Rpc::Execute => (
                Refused(&["job"]),
                v1::ExecuteRequest { job: name("hello"), ..Default::default() }.encode_to_vec(),
            ),
            Rpc::Rerun => (
                Refused(&["id"]),
                v1::RerunRequest { id: self.waits.clone(), ..Default::default() }.encode_to_vec(),
            ),
            Rpc::GetExecution => (
                Refused(&["id"]),
                v1::GetExecutionRequest { id: self.waits.clone(), wait: None, explain: false }
                    .encode_to_vec(),
            ),
            Rpc::ListExecutions => (Answered, v1::ListExecutionsRequest::default().encode_to_vec()),
            Rpc::Cancel => (
                Refused(&["id"]),
                v1::CancelRequest { id: self.waits.clone(), force: false }.encode_to_vec(),
            ),
            Rpc::ReadLog => (
                Refused(&["execution"]),
                v1::ReadLogRequest {
                    execution: self.lease.execution.clone(),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            Rpc::Register => (
                Refused(&["executor", "place", "instance", "runner", "capacity"]),
                registration("another", 9, 9).encode_to_vec(),
            ),
            Rpc::Attend => (
                Refused(&["session"]),
                v1::AttendRequest { session, held: held(), ..Default::default() }.encode_to_vec(),
            ),
            Rpc::Poll => (
                Refused(&["session", "free"]),
                v1::PollRequest { session, free: 1, wait: None, held: held() }.encode_to_vec(),
            ),
            Rpc::Report => (
                Refused(&["session", "lease", "event"]),
                v1::ReportRequest {
                    session,
                    lease: lease.clone(),
                    event: Some(v1::report_request::Event::Running(v1::Running::default())),
                }
                .encode_to_vec(),
            ),
            Rpc::Append => (
                Refused(&["session", "lease"]),
                v1::AppendRequest { session, lease: lease.clone(), ..Default::default() }
                    .encode_to_vec(),
            ),
            Rpc::ListExecutors => (Answered, v1::ListExecutorsRequest::default().encode_to_vec()),
            Rpc::DrainExecutor => (
                Refused(&["executor"]),
                v1::DrainExecutorRequest { executor: name("nobody"), undrain: false }
                    .encode_to_vec(),
            ),
            Rpc::ForgetExecutor => (
                Refused(&["executor"]),
                v1::ForgetExecutorRequest { executor: name("nobody") }.encode_to_vec(),
            ),
            Rpc::SetSecret => (
                Refused(&["job", "name"]),
                v1::SetSecretRequest {
                    job: name("sealed"),
                    name: name("TOKEN"),
                    value: b"long enough".into(),
                    unmasked: false,
                }
                .encode_to_vec(),
            ),
            Rpc::ListSecrets => {
                (Refused(&["job"]), v1::ListSecretsRequest { job: name("sealed") }.encode_to_vec())
            }
            Rpc::UnsetSecret => (
                Refused(&["job", "name"]),
                v1::UnsetSecretRequest { job: name("sealed"), name: name("OTHER") }.encode_to_vec(),
            ),
            Rpc::CreateToken => (
                Refused(&["name"]),
                v1::CreateTokenRequest {
                    name: name("ada"),
                    groups: vec![name("sre")],
                    expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
                }
                .encode_to_vec(),
            ),
            Rpc::InviteExecutors => (
                Refused(&["uses", "expires_in"]),
                v1::InviteExecutorsRequest {
                    uses: 1,
                    expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
                    ..Default::default()
                }
                .encode_to_vec(),
            ),
            Rpc::ListTokens => (Answered, v1::ListTokensRequest::default().encode_to_vec()),
            Rpc::RevokeToken => (
                Refused(&["id"]),
                v1::RevokeTokenRequest { id: name("0123456789abcdef") }.encode_to_vec(),
            ),
            Rpc::GrantRole => (
                Refused(&["subject", "role"]),
                v1::GrantRoleRequest {
                    subject: ada(),
                    role: v1::Role::Viewer.into(),
                    job: name("hello"),
                }
                .encode_to_vec(),
            ),
            Rpc::RevokeRole => (
                Refused(&["subject"]),
                v1::RevokeRoleRequest { subject: ada(), job: name("hello") }.encode_to_vec(),
            ),
            Rpc::ListRoles => (Answered, v1::ListRolesRequest::default().encode_to_vec()),
            Rpc::ListAudit => (Answered, v1::ListAuditRequest::default().encode_to_vec()),
            Rpc::GetVersion => (Answered, v1::GetVersionRequest {}.encode_to_vec()),
            Rpc::Backup => (Answered, v1::BackupRequest {}.encode_to_vec()),
        }
    }

    /// How often actors were built again, or panicked: each of them, so that one that is never counted is seen.
    async fn falls(&self) -> Vec<String> {
        let (_, metrics) = self.world.look("/metrics").await;
        let counted = ["octavius_actor_restarts_total{", "octavius_actor_panics_total{"];
        let falls =
            metrics.lines().filter(|line| counted.iter().any(|name| line.starts_with(name)));
        let mut falls: Vec<_> = falls.map(str::to_owned).collect();
        falls.sort();
        assert!(falls.len() >= 12, "{falls:?}");
        falls
    }
}

/// Sends these bytes as a request, and waits for the first message of the answer.
async fn send(
    channel: Channel,
    rpc: Rpc,
    request: impl Into<Bytes>,
) -> Result<Option<Bytes>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(format!("/octavius.v1.{}", rpc.name())).unwrap();
    let answer = client.server_streaming(Request::new(request.into()), path, Raw).await?;
    answer.into_inner().message().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_request_to_each_call_is_answered_as_documented_or_refused_by_field() {
    let hostile = Hostile::start().await;
    let known: Vec<_> = Rpc::ALL.iter().map(|rpc| rpc.name().to_owned()).collect();
    let mut described: Vec<_> = hostile.protocol.requests.keys().cloned().collect();
    described.sort_by_key(|name| known.iter().position(|known| known == name));
    assert_eq!(described, known, "a call without a row");
    let falls = hostile.falls().await;
    for rpc in Rpc::ALL {
        let answer = send(hostile.world.channel().await, *rpc, Bytes::new()).await;
        match hostile.row(*rpc).0 {
            Empty::Answered => assert!(answer.is_ok(), "{rpc:?}: {answer:?}"),
            Empty::Refused(missing) => {
                let (code, _, faults) = refusal(answer);
                assert_eq!(code, Code::InvalidArgument, "{rpc:?}: {faults:?}");
                let split = |fault: &String| {
                    let (field, what) = fault.split_once(": ").unwrap();
                    assert!(what.len() > 10, "{rpc:?}: no remedy for {field}: {what}");
                    field.to_owned()
                };
                let fields: Vec<_> = faults.iter().map(split).collect();
                assert_eq!(fields, missing, "{rpc:?}");
            }
        }
        // And one that is right is taken: else what is sent below would be refused for something else.
        let right = hostile.row(*rpc).1;
        let answer = send(hostile.world.channel().await, *rpc, right).await;
        let unknown = [
            Rpc::DeleteJob,
            Rpc::UnsetSecret,
            Rpc::DrainExecutor,
            Rpc::ForgetExecutor,
            Rpc::RevokeToken,
        ]
        .contains(rpc);
        let taken = if unknown { refusal(answer).0 == Code::NotFound } else { answer.is_ok() };
        assert!(taken, "{rpc:?}");
    }
    assert_eq!(hostile.falls().await, falls);
    hostile.world.stop().await;
}

/// What came of a request with nonsense in one field, if that is not right.
fn wrong(
    rpc: Rpc,
    leaf: &Leaf,
    nonsense: &Nonsense,
    answer: &Result<(), Status>,
) -> Option<String> {
    let field = leaf.name.rsplit('.').next().unwrap_or_default();
    // How far a holder says that it is tells people something, and nothing is decided by it.
    let unread = leaf.name == "held.phase";
    let says = format!("{rpc:?}: {} came to", nonsense.says);
    let Err(status) = answer else {
        return (nonsense.never && !unread).then(|| format!("{says} nothing"));
    };
    let (code, _, faults) = refusal(answer.clone());
    let right = match code {
        Code::InvalidArgument => {
            let named = faults.iter().filter_map(|fault| fault.split_once(": ")).any(|(at, _)| {
                let at = at.rsplit('.').next().unwrap_or_default();
                at.split('[').next() == Some(field)
            });
            !faults.is_empty() && (named || !nonsense.never || unread)
        }
        Code::NotFound | Code::FailedPrecondition | Code::OutOfRange | Code::AlreadyExists => {
            !nonsense.never
        }
        // Who names a grant, or an execution, that the store does not know is left alone.
        Code::Unavailable => leaf.name.starts_with("lease."),
        _ => false,
    };
    (!right).then(|| format!("{says} {status:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_any_field_of_any_call_is_refused_by_name_and_harms_nobody() {
    let hostile = Hostile::start().await;
    let falls = hostile.falls().await;
    let channel = hostile.world.channel().await;
    let mut sent = Vec::new();
    for rpc in Rpc::ALL {
        let right = hostile.row(*rpc).1;
        for leaf in hostile.protocol.leaves(&hostile.protocol.requests[rpc.name()]) {
            let each = leaf.nonsense();
            sent.extend(each.into_iter().map(|nonsense| {
                let request = [&right[..], &nonsense.bytes].concat();
                (*rpc, leaf.clone(), nonsense, request, channel.clone())
            }));
        }
    }
    let count = sent.len();
    assert!(count > 500, "{count}");
    let answers = stream::iter(sent).map(|(rpc, leaf, nonsense, request, channel)| async move {
        let waits = (leaf.name == "wait" || leaf.name == "follow") && !nonsense.never;
        // Whatever else waits for so long was not refused.
        let within = if waits { PARKED } else { SOON };
        let answer = tokio::time::timeout(within, send(channel, rpc, request)).await;
        match answer {
            Ok(answer) => wrong(rpc, &leaf, &nonsense, &answer.map(drop)),
            Err(_) if waits => None,
            Err(_) => Some(format!("{rpc:?}: {} was not answered", nonsense.says)),
        }
    });
    let wrong: Vec<String> =
        answers.buffered(8).filter_map(|wrong| async { wrong }).collect().await;
    assert_eq!(wrong, Vec::<String>::new(), "{} of {count}", wrong.len());

    assert_eq!(hostile.falls().await, falls);
    assert_eq!(hostile.world.look("/readyz").await.0, 200);
    let running = hostile.world.get(&hostile.lease.execution).await;
    assert_eq!(running.log_size, 5, "{running:?}");
    hostile.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_refused_with_its_size_and_the_limit_by_each_call() {
    let hostile = Hostile::start().await;
    let falls = hostile.falls().await;
    let large = Bytes::from(vec![0; MAX_MESSAGE + 1]);
    for rpc in Rpc::ALL {
        let answer = send(hostile.world.channel().await, *rpc, large.clone());
        let answer = tokio::time::timeout(SOON, answer).await.expect("no answer");
        let status = answer.unwrap_err();
        let (code, reason, _) = refusal(Err::<(), _>(status.clone()));
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "TOO_LARGE"), "{status:?}");
        for told in [(MAX_MESSAGE + 1).to_string(), MAX_MESSAGE.to_string()] {
            assert!(status.message().contains(&told), "{rpc:?}: {status:?}");
        }
    }
    assert_eq!(hostile.falls().await, falls);
    hostile.world.stop().await;
}

/// A request that was right, with something else in some places.
fn spoilt(mut request: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    for _ in 0..random.random_range(1..5) {
        let at = random.random_range(0..=request.len());
        let end = random.random_range(at..=request.len().min(at + 20));
        match random.random_range(0..5) {
            0 => request.truncate(at),
            1 => drop(request.drain(at..end)),
            2 => request.insert(at, random.random()),
            3 => {
                let again = request[at..end].to_vec();
                request.splice(at..at, again);
            }
            _ => {
                if let Some(byte) = request.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
        }
    }
    request
}

/// `PROPTEST_CASES` says how many requests there are, as for properties, and `OCTAVIUS_TEST_SEED` which.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_bytes_come_in_a_call_are_answered_and_harm_nobody() {
    let given = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let cases = given("PROPTEST_CASES").unwrap_or(2_000);
    let seed = given("OCTAVIUS_TEST_SEED").unwrap_or_else(rand::random);
    println!("OCTAVIUS_TEST_SEED={seed}, {cases} requests");
    let mut random = StdRng::seed_from_u64(seed);
    let hostile = Hostile::start().await;
    let falls = hostile.falls().await;
    let channel = hostile.world.channel().await;
    let rights: Vec<_> = Rpc::ALL.iter().map(|rpc| (*rpc, hostile.row(*rpc).1)).collect();
    let sent = (0..cases).map(|_| {
        let (rpc, right) = &rights[random.random_range(0..rights.len())];
        (*rpc, spoilt(right.clone(), &mut random), channel.clone())
    });
    let answers = stream::iter(sent).map(|(rpc, request, channel)| async move {
        let may_wait = matches!(rpc, Rpc::Attend | Rpc::Poll | Rpc::GetExecution | Rpc::ReadLog);
        let within = if may_wait { PARKED } else { SOON };
        let answer = tokio::time::timeout(within, send(channel, rpc, request.clone())).await;
        match answer {
            Err(_) if may_wait => None,
            Err(_) => Some(format!("{rpc:?} {request:?} was not answered")),
            Ok(Ok(_)) => None,
            Ok(Err(refused)) => {
                // What is no message at all is an internal error to gRPC.
                let is_told = refused.message().starts_with("failed to decode Protobuf message")
                    || !matches!(refused.code(), Code::Internal | Code::Unknown | Code::DataLoss);
                (!is_told).then(|| format!("{rpc:?} {request:?}: {refused:?}"))
            }
        }
    });
    let wrong: Vec<String> =
        answers.buffer_unordered(16).filter_map(|wrong| async { wrong }).collect().await;
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(hostile.falls().await, falls);
    assert_eq!(hostile.world.look("/readyz").await.0, 200);
    hostile.world.stop().await;
}
