//! Who did what, of a whole controller: an entry for each change, in the order in which they were made, and for each
//! refusal; none where nobody proves who they are.

use crate::{
    askers::{Asker, create, execute, for_sre, guarded, join, subject},
    world::{SOON, World},
};
use octavius_controller::grpc::door::Rpc;
use octavius_protocol::v1;
use prost::Message;
use std::time::Duration;

async fn audit(admin: &Asker, wanted: v1::ListAuditRequest) -> Vec<v1::AuditEntry> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListAuditRequest { page_size: 7, page_token, ..wanted.clone() };
        let page: v1::ListAuditResponse = admin.ask(Rpc::ListAudit, request).await.unwrap();
        all.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

const SECRET: &str = "hush-hush-hush";

#[tokio::test]
async fn each_change_leaves_an_entry_and_no_entry_has_a_value() {
    let (world, admin) = guarded().await;
    let (_, bob) = admin.token("bob", &["sre"]).await;
    admin.grant("bob", v1::Role::Viewer, "").await;
    let revoke = v1::RevokeRoleRequest { subject: subject("bob"), job: String::new() };
    admin.ask::<v1::RevokeRoleResponse>(Rpc::RevokeRole, revoke).await.unwrap();
    let secret = v1::SecretName { name: "TOKEN".to_owned(), ..Default::default() };
    let arg = v1::Argument {
        name: "password".to_owned(),
        r#type: v1::ArgumentType::Secret.into(),
        required: true,
        ..Default::default()
    };
    let definition =
        v1::JobDefinition { secrets: vec![secret], arguments: vec![arg], ..for_sre("deploy") };
    create(&admin, definition.clone()).await;
    let definition = v1::JobDefinition { description: "another".to_owned(), ..definition };
    let update = v1::UpdateJobRequest { definition: Some(definition), ..Default::default() };
    // Once, though it is asked for twice.
    for _ in 0..2 {
        admin.ask::<v1::UpdateJobResponse>(Rpc::UpdateJob, update.clone()).await.unwrap();
    }
    let named = |value: &str| v1::SetSecretRequest {
        job: "deploy".to_owned(),
        name: "TOKEN".to_owned(),
        value: value.as_bytes().to_vec(),
        unmasked: false,
    };
    admin.ask::<v1::SetSecretResponse>(Rpc::SetSecret, named(SECRET)).await.unwrap();
    let request = v1::ExecuteRequest {
        job: "deploy".to_owned(),
        arguments: [("password".to_owned(), SECRET.to_owned())].into(),
        request_id: "once".to_owned(),
        ..Default::default()
    };
    let executed: v1::ExecuteResponse = admin.ask(Rpc::Execute, request.clone()).await.unwrap();
    let id = executed.execution.unwrap().id;
    // The same wish again changes nothing.
    admin.ask::<v1::ExecuteResponse>(Rpc::Execute, request).await.unwrap();
    let cancel = v1::CancelRequest { id: id.clone(), force: false };
    admin.ask::<v1::CancelResponse>(Rpc::Cancel, cancel).await.unwrap();
    let (invitation, invited) = admin.invite(1, &[]).await;
    drop(join(&world, "e-1", &invitation).await.unwrap());
    let drain = v1::DrainExecutorRequest { executor: "e-1".to_owned(), undrain: false };
    admin.ask::<v1::DrainExecutorResponse>(Rpc::DrainExecutor, drain).await.unwrap();
    let unset = v1::UnsetSecretRequest { job: "deploy".to_owned(), name: "TOKEN".to_owned() };
    admin.ask::<v1::UnsetSecretResponse>(Rpc::UnsetSecret, unset).await.unwrap();
    let revoke = v1::RevokeTokenRequest { id: bob.clone() };
    admin.ask::<v1::RevokeTokenResponse>(Rpc::RevokeToken, revoke).await.unwrap();
    let delete = v1::DeleteJobRequest { name: "deploy".to_owned(), force: false };
    admin.ask::<v1::DeleteJobResponse>(Rpc::DeleteJob, delete).await.unwrap();
    admin.raw(Rpc::Backup, v1::BackupRequest {}.encode_to_vec()).await.unwrap();

    let world = world.restart().await;
    let admin = Asker::of(&world, admin.token.as_deref()).await;
    let mut all = audit(&admin, v1::ListAuditRequest::default()).await;
    all.reverse();
    let said: Vec<_> = all
        .iter()
        .map(|entry| {
            let v1::AuditEntry { by, call, job, execution, executor, about, refused, .. } = entry;
            assert_eq!(refused, "");
            let execution = if *execution == id { "it" } else { execution };
            [by, call, job, execution, executor, about].map(str::to_owned).join("|")
        })
        .collect();
    let root = "root@example.org";
    let credential = all[9].about.clone();
    assert!(credential.starts_with("joined, credential "), "{credential}");
    assert_eq!(
        said,
        [
            format!("{root}|Access/CreateToken||||token {bob} of `bob`"),
            format!("{root}|Access/GrantRole||||viewer for person `bob`"),
            format!("{root}|Access/RevokeRole||||viewer for person `bob`"),
            format!("{root}|Jobs/CreateJob|deploy|||version 1"),
            format!("{root}|Jobs/UpdateJob|deploy|||version 2"),
            format!("{root}|Secrets/SetSecret|deploy|||secret `TOKEN`"),
            format!("{root}|Executions/Execute|deploy|it||"),
            format!("{root}|Executions/Cancel|deploy|it||"),
            format!("{root}|Access/InviteExecutors||||token {invited} for joining"),
            format!("token {invited}|Executors/Register|||e-1|{credential}"),
            format!("{root}|Executors/DrainExecutor|||e-1|drained"),
            format!("{root}|Secrets/UnsetSecret|deploy|||secret `TOKEN`"),
            format!("{root}|Access/RevokeToken||||token {bob} of `bob`"),
            format!("{root}|Jobs/DeleteJob|deploy|||"),
            format!("{root}|System/Backup||||"),
        ]
    );
    assert!(all.iter().all(|entry| entry.from == "127.0.0.1" && entry.at.is_some()), "{all:?}");
    assert!(!format!("{all:?}").contains(SECRET));
    let about_it = v1::ListAuditRequest { execution: id, ..Default::default() };
    assert_eq!(audit(&admin, about_it).await.len(), 2);
}

#[tokio::test]
async fn each_refusal_leaves_an_entry_also_where_nothing_is_said_to_be_there() {
    let (world, admin) = guarded().await;
    create(&admin, for_sre("deploy")).await;
    let id = execute(&admin, "deploy").await.unwrap().id;
    let (token, bob) = admin.token("bob", &["web"]).await;
    admin.grant("bob", v1::Role::Operator, "").await;
    let asks = Asker::of(&world, Some(&token)).await;
    execute(&asks, "deploy").await.unwrap_err();
    let cancel = v1::CancelRequest { id: id.clone(), force: false };
    asks.ask::<v1::CancelResponse>(Rpc::Cancel, cancel).await.unwrap_err();
    let backup = v1::BackupRequest {}.encode_to_vec();
    asks.raw(Rpc::Backup, backup).await.unwrap_err();
    let revoke = v1::RevokeTokenRequest { id: bob.clone() };
    admin.ask::<v1::RevokeTokenResponse>(Rpc::RevokeToken, revoke).await.unwrap();
    execute(&asks, "deploy").await.unwrap_err();
    execute(&Asker::of(&world, None).await, "deploy").await.unwrap_err();

    // Nobody is held up until they are on disk.
    let recorded = async {
        loop {
            let wanted = v1::ListAuditRequest { refused: true, ..Default::default() };
            let entries = audit(&admin, wanted).await;
            if entries.len() >= 5 {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut refused = tokio::time::timeout(SOON, recorded).await.unwrap();
    refused.sort_by_key(|entry| (entry.by.clone(), entry.call.clone(), entry.refused.clone()));
    let said: Vec<_> =
        refused.iter().map(|entry| [&*entry.by, &*entry.call, &*entry.job].join("|")).collect();
    assert_eq!(
        said,
        [
            "|Executions/Execute|",
            "|Executions/Execute|",
            "bob|Executions/Cancel|deploy",
            "bob|Executions/Execute|deploy",
            "bob|System/Backup|",
        ]
    );
    assert!(refused[2].refused.contains("told that it is not there"), "{:?}", refused[2]);
    assert_eq!((&refused[2].execution, &refused[2].token), (&id, &bob));
    assert!(!format!("{refused:?}").contains(token.rsplit('_').next().unwrap()));
}

#[tokio::test]
async fn with_an_open_door_nothing_is_recorded() {
    let world = World::start().await;
    let anybody = Asker::of(&world, None).await;
    create(&anybody, for_sre("deploy")).await;
    execute(&anybody, "deploy").await.unwrap();
    assert_eq!(audit(&anybody, v1::ListAuditRequest::default()).await, []);
}
