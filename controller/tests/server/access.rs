//! Tokens, roles and groups on a whole controller: what they let see, when they end, and what is left of them where.

use crate::{
    askers::{Asker, Joined, create, execute, for_sre, guarded, join, subject, texts},
    world::{SOON, job, refusal, registration, span, until},
};
use octavius_controller::grpc::door::Rpc;
use octavius_protocol::v1;
use std::{collections::BTreeMap, time::Duration};
use tonic::Code;
use tonic_types::StatusExt;

async fn jobs(asker: &Asker) -> Vec<String> {
    let listed: v1::ListJobsResponse =
        asker.ask(Rpc::ListJobs, v1::ListJobsRequest::default()).await.unwrap();
    listed.jobs.into_iter().map(|job| job.definition.unwrap().name).collect()
}

async fn executed_jobs(asker: &Asker) -> Vec<String> {
    let listed: v1::ListExecutionsResponse =
        asker.ask(Rpc::ListExecutions, v1::ListExecutionsRequest::default()).await.unwrap();
    let mut jobs: Vec<_> = listed.executions.into_iter().map(|execution| execution.job).collect();
    jobs.sort();
    jobs
}

/// `live` is for one group alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_for_a_group_is_taken_from_its_members_alone() {
    let (world, admin) = guarded().await;
    let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let place = v1::Argument {
        name: "place".to_owned(),
        r#type: v1::ArgumentType::Enum.into(),
        allowed: values(&["staging", "live"]),
        allowed_for: [("sre".to_owned(), v1::ArgumentValues { values: values(&["live"]) })].into(),
        ..Default::default()
    };
    create(&admin, v1::JobDefinition { arguments: vec![place], ..job("deploy") }).await;
    let execute = async |asker: &Asker, place: &str| {
        let request = v1::ExecuteRequest {
            job: "deploy".to_owned(),
            arguments: texts(&[("place", place)]),
            ..Default::default()
        };
        let executed: Result<v1::ExecuteResponse, _> = asker.ask(Rpc::Execute, request).await;
        executed.map(|executed| executed.execution.unwrap().id)
    };
    let mut askers = Vec::new();
    for (name, group) in [("sue", "sre"), ("web", "web")] {
        let (token, _) = admin.token(name, &[group]).await;
        admin.grant(name, v1::Role::Operator, "").await;
        askers.push(Asker::of(&world, Some(&token)).await);
    }
    for asker in [&admin, &askers[0], &askers[1]] {
        execute(asker, "staging").await.unwrap();
    }
    let live = execute(&admin, "live").await.unwrap();
    execute(&askers[0], "live").await.unwrap();
    let refused = execute(&askers[1], "live").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let faults = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(faults[0].field, "arguments.place");
    assert!(faults[0].description.contains("`live`, which is for `sre` alone"), "{faults:?}");
    // Not either by running again what somebody else ran.
    let again = v1::RerunRequest { id: live, ..Default::default() };
    let refused = askers[1].ask::<v1::RerunResponse>(Rpc::Rerun, again.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    askers[0].ask::<v1::RerunResponse>(Rpc::Rerun, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_may_not_see_does_not_exist_for_them() {
    let (world, admin) = guarded().await;
    for definition in [job("for-all"), for_sre("deploy"), for_sre("deploy-2"), for_sre("gone")] {
        let name = definition.name.clone();
        create(&admin, definition).await;
        let id = execute(&admin, &name).await.unwrap().id;
        if name != "deploy" {
            let cancel = v1::CancelRequest { id, force: false };
            admin.ask::<v1::CancelResponse>(Rpc::Cancel, cancel).await.unwrap();
        }
    }
    let delete = v1::DeleteJobRequest { name: "gone".to_owned(), force: false };
    admin.ask::<v1::DeleteJobResponse>(Rpc::DeleteJob, delete).await.unwrap();
    let mut askers = BTreeMap::new();
    for (name, groups) in [("web", &["web"][..]), ("sre", &["web", "sre"]), ("one", &[])] {
        let (token, _) = admin.token(name, groups).await;
        askers.insert(name, Asker::of(&world, Some(&token)).await);
    }
    admin.grant("web", v1::Role::Operator, "").await;
    admin.grant("sre", v1::Role::Viewer, "").await;
    admin.grant("one", v1::Role::Operator, "deploy").await;

    let world = world.restart().await;
    let mut again = BTreeMap::new();
    for (name, asker) in &askers {
        again.insert(*name, Asker::of(&world, asker.token.as_deref()).await);
    }
    let (web, sre, one) = (&again["web"], &again["sre"], &again["one"]);
    assert_eq!(jobs(web).await, ["for-all"]);
    assert_eq!(jobs(sre).await, ["deploy", "deploy-2", "for-all"]);
    assert_eq!(jobs(one).await, ["deploy"]);
    assert_eq!(executed_jobs(web).await, ["for-all"]);
    assert_eq!(executed_jobs(sre).await, ["deploy", "deploy-2", "for-all", "gone"]);
    assert_eq!(executed_jobs(one).await, ["deploy"]);

    // What is hidden is answered word for word as what is not there.
    let described = |name: &str| v1::DescribeJobRequest { name: name.to_owned(), version: 0 };
    let refused = async |asker: &Asker, name: &str| {
        let answer = asker.ask::<v1::DescribeJobResponse>(Rpc::DescribeJob, described(name)).await;
        answer.unwrap_err().message().to_owned()
    };
    let nothing = refused(web, "nothing-like-it").await;
    for hidden in ["deploy", "deplo", "gone"] {
        assert_eq!(refused(web, hidden).await, nothing.replace("nothing-like-it", hidden));
    }
    assert!(refused(sre, "deplo").await.contains("there is `deploy`"));
    assert!(execute(one, "deploy").await.is_ok());
    let refused = execute(sre, "deploy").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("octavius role grant operator --person sre"), "{refused:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_or_over_is_out_at_once_also_while_waiting() {
    let (world, admin) = guarded().await;
    create(&admin, job("hello")).await;
    let (invitation, _) = admin.invite(1, &[]).await;
    let executor = join(&world, "mine", &invitation).await.unwrap();
    let id = execute(&admin, "hello").await.unwrap().id;
    let lease = executor.granted().await;
    executor.run(&lease).await;
    executor.append(&lease, 0).await;
    let (token, token_id) = admin.token("ada", &[]).await;
    admin.grant("ada", v1::Role::Viewer, "").await;
    let ada = Asker::of(&world, Some(&token)).await;

    let mut executions = v1::executions_client::ExecutionsClient::new(ada.channel.clone());
    let follow = v1::ReadLogRequest { execution: id.clone(), follow: true, ..Default::default() };
    let follow = executions.read_log(ada.request(follow)).await;
    let mut log = follow.unwrap().into_inner();
    assert!(log.message().await.unwrap().is_some());
    let revoke = v1::RevokeTokenRequest { id: token_id.clone() };
    let revoked: v1::RevokeTokenResponse = admin.ask(Rpc::RevokeToken, revoke).await.unwrap();
    assert_eq!(revoked.about.unwrap().name, "ada");
    executor.append(&lease, 5).await;
    let refused = loop {
        match tokio::time::timeout(SOON, log.message()).await.expect("the log goes on") {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the log ended as if it were over"),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let refused =
        ada.ask::<v1::GetVersionResponse>(Rpc::GetVersion, v1::GetVersionRequest {}).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    for told in ["was revoked", "octavius token create", "ACCESS_TOKEN"] {
        assert!(refused.message().contains(told), "{refused:?}");
    }
    assert!(!format!("{refused:?}").contains(&token[22..]), "{refused:?}");

    let request = v1::CreateTokenRequest {
        name: "bob".to_owned(),
        groups: Vec::new(),
        expires_in: Some(span(Duration::from_millis(1))),
    };
    let made: v1::CreateTokenResponse = admin.ask(Rpc::CreateToken, request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await; // for the token's own time, by the wall clock
    let bob = Asker::of(&world, Some(&made.token)).await;
    let over = bob.ask::<v1::GetVersionResponse>(Rpc::GetVersion, v1::GetVersionRequest {}).await;
    let (code, reason, _) = refusal(over.clone());
    assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    let text = over.unwrap_err().message().to_owned();
    assert!(text.contains(&made.about.unwrap().id) && !text.contains(&made.token[22..]), "{text}");

    // A role that is taken away acts at once, too.
    let (token, _) = admin.token("eve", &[]).await;
    admin.grant("eve", v1::Role::Operator, "").await;
    let eve = Asker::of(&world, Some(&token)).await;
    assert!(execute(&eve, "hello").await.is_ok());
    let revoke = v1::RevokeRoleRequest { subject: subject("eve"), job: String::new() };
    admin.ask::<v1::RevokeRoleResponse>(Rpc::RevokeRole, revoke).await.unwrap();
    assert_eq!(execute(&eve, "hello").await.unwrap_err().code(), Code::PermissionDenied);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_joins_once_as_what_it_was_invited_as_and_speaks_for_itself_alone() {
    let (world, admin) = guarded().await;
    create(&admin, job("hello")).await;
    let (invitation, _) = admin.invite(2, &[("env", "staging")]).await;
    let joins = Asker::of(&world, Some(&invitation)).await;
    let with = |id: &str, place: u128, labels: &[(&str, &str)]| v1::RegisterRequest {
        labels: texts(labels),
        ..registration(id, place, 1)
    };
    let register = async |asker: &Asker, request: v1::RegisterRequest| {
        asker.ask::<v1::RegisterResponse>(Rpc::Register, request).await
    };
    let staging = [("env", "staging"), ("zone", "a")];
    for labels in [&[("env", "prod")][..], &[]] {
        let refused = register(&joins, with("mine", 1, labels)).await;
        assert_eq!(refusal(refused.clone()).0, Code::PermissionDenied);
        let text = refused.unwrap_err().message().to_owned();
        assert!(text.contains("`env` as `staging`"), "{text}");
    }
    let first = register(&joins, with("mine", 1, &staging)).await.unwrap();
    // The first answer may be lost: then it gets another credential, the first one is nothing, and no use is counted.
    let second = register(&joins, with("mine", 1, &staging)).await.unwrap();
    assert_ne!(first.credential, second.credential);
    let lost = Asker::of(&world, Some(&first.credential)).await;
    let refused = register(&lost, with("mine", 1, &staging)).await;
    assert_eq!(refusal(refused).0, Code::Unauthenticated);
    // Nobody takes its id from another place, not even with the same token.
    let refused = register(&joins, with("mine", 2, &staging)).await;
    assert_eq!(refusal(refused.clone()).0, Code::AlreadyExists);
    let text = refused.unwrap_err().message().to_owned();
    assert!(text.contains("octavius token revoke"), "{text}");
    let other = register(&joins, with("other", 3, &staging)).await.unwrap();
    let refused = register(&joins, with("third", 4, &staging)).await;
    assert_eq!(refusal(refused).0, Code::Unauthenticated);

    let mine = Asker::of(&world, Some(&second.credential)).await;
    let refused = register(&mine, with("mine", 1, &[("env", "prod")])).await;
    assert_eq!(refusal(refused).0, Code::PermissionDenied);
    let again = register(&mine, with("mine", 1, &staging)).await.unwrap();
    assert!(again.credential.is_empty());
    let mine = Joined { asker: mine, session: again.session };
    execute(&admin, "hello").await.unwrap();
    let lease = mine.granted().await;
    mine.run(&lease).await;
    mine.append(&lease, 0).await;
    // In its own session another one has nothing of it.
    let asker = Asker::of(&world, Some(&other.credential)).await;
    let stranger = Joined { asker, session: other.session };
    let ended = v1::report_request::Event::Ended(v1::Ended {
        state: v1::ExecutionState::Failed.into(),
        reason_code: "exit_code".to_owned(),
        exit_code: Some(1),
        ..Default::default()
    });
    let verdict = stranger.report(&lease, ended).await.unwrap();
    assert_eq!(verdict, v1::ReportVerdict::Superseded);
    assert!(stranger.append(&lease, 5).await.closed);
    let get = v1::GetExecutionRequest { id: lease.execution.clone(), ..Default::default() };
    let shown: v1::GetExecutionResponse = admin.ask(Rpc::GetExecution, get).await.unwrap();
    let shown = shown.execution.unwrap();
    assert_eq!((shown.state(), shown.log_size), (v1::ExecutionState::Running, 5));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_outlive_what_breaks_and_lie_nowhere() {
    let (world, admin) = guarded().await;
    let (token, id) = admin.token("ada", &["sre"]).await;
    let (invitation, _) = admin.invite(1, &[]).await;
    let executor = join(&world, "mine", &invitation).await.unwrap();
    let credential = executor.asker.token.clone().unwrap();
    world.running.faults().panic("Access").await.unwrap().unwrap_err();
    let ada = Asker::of(&world, Some(&token)).await;
    let version = || v1::GetVersionRequest {};
    assert!(ada.ask::<v1::GetVersionResponse>(Rpc::GetVersion, version()).await.is_ok());

    let mut kept = Vec::new();
    let mut system = v1::system_client::SystemClient::new(admin.channel.clone());
    let mut backup = system.backup(admin.request(v1::BackupRequest {})).await.unwrap().into_inner();
    while let Some(part) = backup.message().await.unwrap() {
        kept.extend(
            part.entries
                .into_iter()
                .flat_map(|entry| [entry.key.into_bytes(), entry.value.to_vec()].concat()),
        );
    }
    let kept = String::from_utf8_lossy(&kept).into_owned();
    // It is being built again, and who is let in is known all the while.
    let list = || async {
        admin.ask::<v1::ListTokensResponse>(Rpc::ListTokens, v1::ListTokensRequest::default()).await
    };
    let listed = until("built again", list, Result::is_ok).await.unwrap();
    let said = format!("{kept}{listed:?}");
    assert!(said.contains(&id));
    for token in [&token, &invitation, &credential, admin.token.as_ref().unwrap()] {
        let secret = token.rsplit('_').next().unwrap();
        assert!(!said.contains(secret));
    }
    // A page is a page also where it ends in the middle.
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListTokensRequest { page_size: 1, page_token };
        let page: v1::ListTokensResponse = admin.ask(Rpc::ListTokens, request).await.unwrap();
        all.extend(page.tokens);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(all, listed.tokens);
    for (person, job) in [("ada", "deploy"), ("ada", ""), ("bob", "deploy")] {
        admin.grant(person, v1::Role::Viewer, job).await;
    }
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRolesRequest { page_size: 1, page_token };
        let page: v1::ListRolesResponse = admin.ask(Rpc::ListRoles, request).await.unwrap();
        all.extend(page.grants.into_iter().map(|grant| (grant.subject, grant.job)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let text = str::to_owned;
    let wanted = [
        (subject("ada"), text("")),
        (subject("ada"), text("deploy")),
        (subject("bob"), text("deploy")),
        (subject("root@example.org"), text("")),
    ];
    assert_eq!(all, wanted);
    let world = world.restart().await;
    let ada = Asker::of(&world, Some(&token)).await;
    assert!(ada.ask::<v1::GetVersionResponse>(Rpc::GetVersion, version()).await.is_ok());
    world.stop().await;
}
