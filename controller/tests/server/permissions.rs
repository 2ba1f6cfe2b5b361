//! Who may call what, asked of a whole controller that takes tokens: each call by each kind of caller.

use crate::{
    askers::{Asker, create, execute, for_sre, guarded, join, subject},
    world::{SOON, World, refusal, registration, span},
};
use octavius_controller::grpc::door::Rpc;
use octavius_protocol::v1;
use prost::Message;
use std::{collections::BTreeMap, time::Duration};
use tonic::Code;

/// Who asks, in the order of the columns.
const CALLERS: [&str; 9] = [
    "nobody",
    "a viewer",
    "an operator of another group",
    "an operator",
    "an administrator of the job",
    "an administrator",
    "who may join",
    "another executor",
    "the executor",
];

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// It is let in.
    In,
    /// It has to prove who it is.
    Token,
    /// It may not do that.
    No,
    /// There is nothing for it.
    None,
    /// That is not its session.
    Session,
    /// Somebody else has joined as that.
    Taken,
}

struct Table {
    world: World,
    askers: Vec<Asker>,
    session: u64,
    lease: v1::LeaseName,
    waits: String,
}

impl Table {
    async fn start() -> Self {
        let (world, admin) = guarded().await;
        let secret = v1::SecretName { name: "TOKEN".to_owned(), ..Default::default() };
        create(&admin, v1::JobDefinition { secrets: vec![secret], ..for_sre("deploy") }).await;
        let set = v1::SetSecretRequest {
            job: "deploy".to_owned(),
            name: "TOKEN".to_owned(),
            value: b"long enough".into(),
            unmasked: false,
        };
        admin.ask::<v1::SetSecretResponse>(Rpc::SetSecret, set).await.unwrap();
        let (invitation, _) = admin.invite(2, &[]).await;
        let executor = join(&world, "mine", &invitation).await.unwrap();
        let stranger = join(&world, "other", &invitation).await.unwrap();
        execute(&admin, "deploy").await.unwrap();
        let lease = executor.granted().await;
        executor.run(&lease).await;
        executor.append(&lease, 0).await;
        let waits = execute(&admin, "deploy").await.unwrap().id;
        let mut askers = vec![Asker::of(&world, None).await];
        for (name, group, role) in [
            ("viewer", "sre", v1::Role::Viewer),
            ("other", "web", v1::Role::Operator),
            ("operator", "sre", v1::Role::Operator),
        ] {
            let (token, _) = admin.token(name, &[group, "all"]).await;
            admin.grant(name, role, "").await;
            askers.push(Asker::of(&world, Some(&token)).await);
        }
        let (token, _) = admin.token("of-deploy", &[]).await;
        admin.grant("of-deploy", v1::Role::Admin, "deploy").await;
        let of_job = Asker::of(&world, Some(&token)).await;
        let invite = v1::InviteExecutorsRequest {
            uses: 1,
            expires_in: Some(span(Duration::from_secs(3_600))), // longer than the table takes
            labels: BTreeMap::new(),
        };
        let invited: v1::InviteExecutorsResponse =
            admin.ask(Rpc::InviteExecutors, invite).await.unwrap();
        let joining = Asker::of(&world, Some(&invited.token)).await;
        askers.extend([of_job, admin, joining, stranger.asker, executor.asker]);
        Self { world, askers, session: executor.session, lease, waits }
    }

    /// A request that is right, the word for who is let in and asks for what cannot be done, and what comes of it for each
    /// caller. A new call does not compile until it has its row.
    fn row(&self, rpc: Rpc) -> (Vec<u8>, &'static str, [Comes; 9]) {
        use Comes::{In, No, None as Hidden, Session, Taken, Token};
        let name = |name: &str| name.to_owned();
        let (session, lease) = (self.session, Some(self.lease.clone()));
        let of_admins = [Token, No, No, No, No, In, No, No, No];
        let changes_the_job = [Token, No, No, No, In, In, No, No, No];
        let of_the_jobs_admins = [Token, No, Hidden, No, In, In, No, No, No];
        let of_operators = [Token, No, Hidden, In, In, In, No, No, No];
        let of_viewers = [Token, In, Hidden, In, In, In, No, No, No];
        let lists = [Token, In, In, In, In, In, No, No, No];
        let of_its_executor = [Token, No, No, No, No, No, No, Session, In];
        let (request, word, comes) = match rpc {
            Rpc::CreateJob => (
                v1::CreateJobRequest { definition: Some(for_sre("new")), dry_run: true }
                    .encode_to_vec(),
                "",
                of_admins,
            ),
            Rpc::UpdateJob => (
                v1::UpdateJobRequest {
                    definition: Some(for_sre("deploy")),
                    dry_run: true,
                    ..Default::default()
                }
                .encode_to_vec(),
                "",
                changes_the_job,
            ),
            Rpc::DeleteJob => (
                v1::DeleteJobRequest { name: name("deploy"), force: false }.encode_to_vec(),
                "JOB_IN_USE",
                of_the_jobs_admins,
            ),
            Rpc::DescribeJob => (
                v1::DescribeJobRequest { name: name("deploy"), version: 0 }.encode_to_vec(),
                "",
                of_viewers,
            ),
            Rpc::ListJobs => (v1::ListJobsRequest::default().encode_to_vec(), "", lists),
            Rpc::Execute => (
                v1::ExecuteRequest { job: name("deploy"), ..Default::default() }.encode_to_vec(),
                "",
                of_operators,
            ),
            Rpc::Rerun => (
                v1::RerunRequest { id: self.waits.clone(), ..Default::default() }.encode_to_vec(),
                "",
                of_operators,
            ),
            Rpc::GetExecution => (
                v1::GetExecutionRequest { id: self.waits.clone(), wait: None, explain: true }
                    .encode_to_vec(),
                "",
                of_viewers,
            ),
            Rpc::ListExecutions => {
                (v1::ListExecutionsRequest::default().encode_to_vec(), "", lists)
            }
            Rpc::Cancel => (
                v1::CancelRequest { id: self.waits.clone(), force: false }.encode_to_vec(),
                "",
                of_operators,
            ),
            Rpc::ReadLog => {
                let execution = self.lease.execution.clone();
                (
                    v1::ReadLogRequest { execution, ..Default::default() }.encode_to_vec(),
                    "",
                    of_viewers,
                )
            }
            Rpc::Register => (
                registration("mine", 1, 1).encode_to_vec(),
                "",
                [Token, No, No, No, No, No, Taken, No, In],
            ),
            Rpc::Attend => (
                v1::AttendRequest { session, ..Default::default() }.encode_to_vec(),
                "",
                of_its_executor,
            ),
            Rpc::Poll => (
                v1::PollRequest { session, free: 1, ..Default::default() }.encode_to_vec(),
                "",
                of_its_executor,
            ),
            Rpc::Report => (
                v1::ReportRequest {
                    session,
                    lease,
                    event: Some(v1::report_request::Event::Running(v1::Running::default())),
                }
                .encode_to_vec(),
                "",
                of_its_executor,
            ),
            Rpc::Append => (
                v1::AppendRequest { session, lease, ..Default::default() }.encode_to_vec(),
                "",
                of_its_executor,
            ),
            Rpc::ListExecutors => (v1::ListExecutorsRequest::default().encode_to_vec(), "", lists),
            Rpc::DrainExecutor => (
                v1::DrainExecutorRequest { executor: name("mine"), undrain: true }.encode_to_vec(),
                "",
                of_admins,
            ),
            Rpc::ForgetExecutor => (
                v1::ForgetExecutorRequest { executor: name("mine") }.encode_to_vec(),
                "EXECUTOR_HEARD",
                of_admins,
            ),
            Rpc::SetSecret => (
                v1::SetSecretRequest {
                    job: name("deploy"),
                    name: name("TOKEN"),
                    value: b"another one".into(),
                    unmasked: false,
                }
                .encode_to_vec(),
                "",
                of_the_jobs_admins,
            ),
            Rpc::ListSecrets => {
                (v1::ListSecretsRequest { job: name("deploy") }.encode_to_vec(), "", of_viewers)
            }
            Rpc::UnsetSecret => (
                v1::UnsetSecretRequest { job: name("deploy"), name: name("OTHER") }.encode_to_vec(),
                "SECRET_NOT_SET",
                of_the_jobs_admins,
            ),
            Rpc::CreateToken => (
                v1::CreateTokenRequest { name: name("zoe"), ..Default::default() }.encode_to_vec(),
                "",
                of_admins,
            ),
            Rpc::InviteExecutors => {
                let expires_in = Some(span(SOON));
                let invite =
                    v1::InviteExecutorsRequest { uses: 1, expires_in, labels: BTreeMap::new() };
                (invite.encode_to_vec(), "", of_admins)
            }
            Rpc::ListTokens => (v1::ListTokensRequest::default().encode_to_vec(), "", of_admins),
            Rpc::RevokeToken => (
                v1::RevokeTokenRequest { id: name("0123456789abcdef") }.encode_to_vec(),
                "UNKNOWN_TOKEN",
                of_admins,
            ),
            Rpc::GrantRole => (
                v1::GrantRoleRequest {
                    subject: subject("zoe"),
                    role: v1::Role::Viewer.into(),
                    job: name("deploy"),
                }
                .encode_to_vec(),
                "",
                of_admins,
            ),
            Rpc::RevokeRole => (
                v1::RevokeRoleRequest { subject: subject("zoe"), job: name("other") }
                    .encode_to_vec(),
                "UNKNOWN_ROLE",
                of_admins,
            ),
            Rpc::ListRoles => (v1::ListRolesRequest::default().encode_to_vec(), "", of_admins),
            Rpc::ListAudit => (v1::ListAuditRequest::default().encode_to_vec(), "", of_admins),
            Rpc::GetVersion => {
                let comes = [Token, In, In, In, In, In, No, In, In];
                (v1::GetVersionRequest {}.encode_to_vec(), "", comes)
            }
            Rpc::Backup => (v1::BackupRequest {}.encode_to_vec(), "", of_admins),
        };
        (request, word, comes)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_lets_in_whom_its_row_says_and_nobody_else() {
    let table = Table::start().await;
    let (mut wrong, mut nobodys) = (Vec::new(), Vec::new());
    for rpc in Rpc::ALL {
        let (request, word, columns) = table.row(*rpc);
        // Whoever proves nothing waits the longer for each answer, and asks for all at once.
        let nobody = table.askers[0].clone();
        let of_nobody = (*rpc, request.clone());
        nobodys.push(async move { (of_nobody.0, nobody.raw(of_nobody.0, of_nobody.1).await) });
        for ((who, asker), comes) in CALLERS.iter().zip(&table.askers).zip(columns).skip(1) {
            let answer = tokio::time::timeout(SOON, asker.raw(*rpc, request.clone())).await;
            let answer = answer.expect("no answer");
            let came = match &answer {
                Ok(_) => (Code::Ok, String::new()),
                Err(_) => {
                    let (code, reason, _) = refusal(answer.clone());
                    (code, reason)
                }
            };
            let right = match comes {
                Comes::In => came.1 == word && (came.0 == Code::Ok) == word.is_empty(),
                Comes::Token => came == (Code::Unauthenticated, "NO_TOKEN".to_owned()),
                Comes::No => came == (Code::PermissionDenied, "NOT_ALLOWED".to_owned()),
                Comes::None => {
                    let unknown = ["UNKNOWN_JOB", "UNKNOWN_EXECUTION"];
                    came.0 == Code::NotFound && unknown.contains(&came.1.as_str())
                }
                Comes::Taken => came == (Code::AlreadyExists, "EXECUTOR_JOINED".to_owned()),
                Comes::Session => came == (Code::FailedPrecondition, "SESSION_CLOSED".to_owned()),
            };
            if !right {
                wrong.push(format!("{rpc:?} by {who}: {comes:?} was to come, and {came:?} came"));
            }
        }
    }
    for (rpc, answer) in futures::future::join_all(nobodys).await {
        let (code, reason, _) = refusal(answer);
        if (code, reason.as_str()) != (Code::Unauthenticated, "NO_TOKEN") {
            wrong.push(format!("{rpc:?} by nobody: {code:?} {reason} came"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    table.world.stop().await;
}
