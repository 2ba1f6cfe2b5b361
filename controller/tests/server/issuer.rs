//! Identity tokens of a real issuer on a whole controller: who is let in with them, who is not and why, and what becomes of
//! it when the issuer changes its key or is away.

use crate::{
    askers::{Asker, create, execute, for_sre, guarded, join},
    world::{SOON, World, job, refusal, until},
};
use octavius_controller::{configuration::Configuration, grpc::door::Rpc};
use octavius_protocol::v1;
use octavius_service::configuration::from_values;
use octavius_testbed::issuer::{AUDIENCE, Issuer, now};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// A controller that takes the tokens of this issuer, and an administrator with one of its own.
async fn trusting(issuer: &Issuer) -> (World, Asker) {
    let (mut world, admin) = guarded().await;
    let given = json!({
        "authentication": "tokens", "oidc_issuer": issuer.url, "oidc_audience": AUDIENCE,
    });
    let read = from_values::<Configuration>(&given.to_string());
    let read = read.unwrap().section;
    world.configuration.oidc_issuer = read.oidc_issuer;
    world.configuration.oidc_audience = read.oidc_audience;
    if let Some(certificate) = &issuer.certificate {
        let file = world.folder.path().join("issuer.pem");
        std::fs::write(&file, certificate).unwrap();
        world.configuration.oidc_ca_file = Some(file);
    }
    let world = world.restart().await;
    let admin = Asker::of(&world, admin.token.as_deref()).await;
    (world, admin)
}

async fn version(asker: &Asker) -> Result<v1::GetVersionResponse, Status> {
    asker.ask(Rpc::GetVersion, v1::GetVersionRequest {}).await
}

/// What the controller answers to who shows this token.
async fn shown(world: &World, token: &str) -> Result<v1::GetVersionResponse, Status> {
    version(&Asker::of(world, Some(token)).await).await
}

/// The same, asked again until the issuer was asked for its key.
async fn judged(world: &World, token: &str) -> Result<v1::GetVersionResponse, Status> {
    let asker = Asker::of(world, Some(token)).await;
    let is_judged = |answer: &Result<_, Status>| {
        answer.as_ref().err().is_none_or(|refused| refused.code() != Code::Unavailable)
    };
    until("judged", || version(&asker), is_judged).await
}

/// Asks until the issuer's keys are there.
async fn let_in(world: &World, token: &str) {
    let asker = Asker::of(world, Some(token)).await;
    until("let in", || version(&asker), Result::is_ok).await.unwrap();
}

async fn grant_to_group(admin: &Asker, group: &str, role: v1::Role) {
    let subject = v1::Subject { is: Some(v1::subject::Is::Group(group.to_owned())) };
    let request =
        v1::GrantRoleRequest { subject: Some(subject), role: role.into(), job: String::new() };
    admin.ask::<v1::GrantRoleResponse>(Rpc::GrantRole, request).await.unwrap();
}

/// The right claims with these others; null: without it.
fn with(issuer: &Issuer, others: Value) -> Value {
    let mut claims = issuer.claims("ada@example.com", &["sre"]);
    for (claim, value) in others.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_an_identity_token_may_do_what_their_name_and_groups_may() {
    let issuer = Issuer::start().await;
    let (world, admin) = trusting(&issuer).await;
    create(&admin, for_sre("deploy")).await;
    create(&admin, job("hello")).await;
    grant_to_group(&admin, "sre", v1::Role::Operator).await;
    admin.grant("bob@example.com", v1::Role::Viewer, "").await;

    let asker = async |claims: Value| Asker::of(&world, Some(&issuer.token(&claims))).await;
    let ada = asker(with(&issuer, json!({ "jti": "token-7" }))).await;
    let done = execute(&ada, "deploy").await.unwrap();
    assert_eq!(done.submitted_by, "ada@example.com");
    let bob = asker(issuer.claims("bob@example.com", &[])).await;
    assert_eq!(execute(&bob, "deploy").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(execute(&bob, "hello").await.unwrap_err().code(), Code::PermissionDenied);
    let eve = asker(issuer.claims("eve@example.com", &["web"])).await;
    assert!(version(&eve).await.is_ok());
    assert_eq!(execute(&eve, "hello").await.unwrap_err().code(), Code::PermissionDenied);

    // A large one comes through whole.
    let groups: Vec<_> =
        (0..200).map(|number| format!("{number:036}")).chain(["sre".to_owned()]).collect();
    let large = asker(with(&issuer, json!({ "groups": groups }))).await;
    assert!(large.token.as_ref().is_some_and(|token| token.len() > 10_000));
    execute(&large, "deploy").await.unwrap();

    // What they did is in the audit, with the token's own id and without the token.
    let listed: v1::ListAuditResponse = admin
        .ask(
            Rpc::ListAudit,
            v1::ListAuditRequest { by: "ada@example.com".to_owned(), ..Default::default() },
        )
        .await
        .unwrap();
    let entry = listed.entries.iter().find(|entry| entry.token == "jti:token-7").unwrap();
    assert_eq!((&*entry.job, &*entry.call), ("deploy", "Executions/Execute"));
    let signature = ada.token.as_ref().unwrap().rsplit('.').next().unwrap();
    assert!(!format!("{listed:?}").contains(signature));

    // Our own tokens are taken as before, and nobody joins with one of the issuer's.
    let (own, _) = admin.token("eve@example.com", &["sre"]).await;
    execute(&Asker::of(&world, Some(&own)).await, "deploy").await.unwrap();
    let refused = join(&world, "mine", ada.token.as_ref().unwrap()).await.map(|_| ());
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuer_did_not_sign_for_us_and_for_now_lets_nobody_in() {
    let mut issuer = Issuer::start().await;
    let (world, _admin) = trusting(&issuer).await;
    let right = with(&issuer, json!({}));
    let_in(&world, &issuer.token(&right)).await;
    let other = Issuer::away();
    let head = |others: Value| {
        let mut head = json!({ "alg": "ES256", "kid": "key-0" });
        head.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        head
    };
    let changed = {
        let token = issuer.token(&right);
        let mut parts: Vec<_> = token.split('.').collect();
        let eve = issuer.token(&issuer.claims("eve@example.com", &["admins"]));
        parts[1] = eve.split('.').nth(1).unwrap();
        parts.join(".")
    };
    let whole = issuer.token(&right);
    let rows = [
        ("is not for `octavius-tests`", issuer.token(&with(&issuer, json!({ "aud": "other" })))),
        ("is not of the issuer", issuer.token(&with(&issuer, json!({ "iss": other.url })))),
        ("its signature is wrong", issuer.forged(None, &right)),
        ("its signature is wrong", changed),
        ("no whole JSON Web Token", issuer.unsigned(&right)),
        ("no whole JSON Web Token", issuer.by_public_key(&right)),
        ("does not sign so", issuer.token_with(&head(json!({ "alg": "RS256" })), &right)),
        ("does not sign so", issuer.token_with(&head(json!({ "alg": "ES384" })), &right)),
        ("no whole JSON Web Token", issuer.token_with(&head(json!({ "crit": ["exp"] })), &right)),
        ("its claim `exp` is missing", issuer.token(&with(&issuer, json!({ "exp": null })))),
        ("it holds from", issuer.token(&with(&issuer, json!({ "nbf": now() + 300 })))),
        (
            "has not verified its `email`",
            issuer.token(&with(&issuer, json!({ "email_verified": false }))),
        ),
        ("its claim `email` is no name", issuer.token(&with(&issuer, json!({ "email": "ada b" })))),
        ("has 12289 bytes, and 12288", format!("{whole}{}", "A".repeat(12_289 - whole.len()))),
        ("no whole JSON Web Token", "..".to_owned()),
        ("not whole, not of this installation", whole.replace('.', "-")),
    ];
    // All at once: those with wrong tokens wait for their answers.
    let answers = rows.iter().map(async |(_, token)| shown(&world, token).await);
    let answers = futures::future::join_all(answers).await;
    for ((told, token), answer) in rows.iter().zip(answers) {
        let (code, reason, _) = refusal(answer.clone());
        let text = answer.unwrap_err().message().to_owned();
        assert_eq!((code, &*reason), (Code::Unauthenticated, "BAD_TOKEN"), "{text}");
        assert!(text.contains(told), "{told}: {text}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(signature.len() < 10 || !text.contains(signature), "{text}");
    }
    let over = issuer.token(&with(&issuer, json!({ "exp": now() - 61, "jti": "7" })));
    let answer = shown(&world, &over).await;
    let (code, reason, _) = refusal(answer.clone());
    assert_eq!((code, &*reason), (Code::Unauthenticated, "TOKEN_EXPIRED"));
    let text = answer.unwrap_err().message().to_owned();
    assert!(text.contains(&format!("jti:7 of {} ended at", issuer.url)), "{text}");
    // All that, and who shows a right one is let in at once.
    assert!(shown(&world, &whole).await.is_ok());
    issuer.stop().await;
    assert!(shown(&world, &whole).await.is_ok());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_the_issuer_counts_with_the_first_token_and_invented_ones_ask_it_rarely() {
    let mut issuer = Issuer::start().await;
    let began = Instant::now();
    let (world, _admin) = trusting(&issuer).await;
    let before = issuer.token(&issuer.claims("ada@example.com", &[]));
    let_in(&world, &before).await;
    issuer.rotate();
    let after = issuer.token(&issuer.claims("ada@example.com", &[]));
    assert!(judged(&world, &after).await.is_ok());
    let refused = judged(&world, &before).await.unwrap_err();
    assert!(refused.message().contains("has no such key"), "{refused:?}");

    let invented = async |number: usize| {
        let kid = format!("invented-{number}");
        let token = issuer.forged(Some(&kid), &issuer.claims("eve@example.com", &[]));
        judged(&world, &token).await.unwrap_err().code()
    };
    let strangers = futures::future::join_all((0..50).map(invented)).await;
    assert!(strangers.iter().all(|code| *code == Code::Unauthenticated), "{strangers:?}");
    // Once in ten seconds, and once at the start.
    let most = began.elapsed().as_secs() as usize / 10 + 1;
    assert!(issuer.asked() <= most, "{} times in {:?}", issuer.asked(), began.elapsed());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_stay_good_while_the_issuer_is_away_and_it_may_come_late() {
    let mut issuer = Issuer::away();
    let (world, admin) = trusting(&issuer).await;
    let token = issuer.token(&issuer.claims("ada@example.com", &[]));
    let answer = shown(&world, &token).await;
    let (code, reason, _) = refusal(answer.clone());
    assert_eq!((code, &*reason), (Code::Unavailable, "ISSUER_AWAY"), "{answer:?}");
    assert!(answer.unwrap_err().message().contains("/.well-known/openid-configuration"));
    assert!(version(&admin).await.is_ok(), "our own tokens need no issuer");
    // Somebody else answers there.
    issuer.discovers(
        json!({ "issuer": "https://id.example.com", "jwks_uri": "https://id.example.com/k" }),
    );
    issuer.come().await;
    let other = || async { shown(&world, &token).await.unwrap_err().message().to_owned() };
    until("told whose it is", other, |told| told.contains("it is that of the issuer")).await;
    let keys = |uri: &str| json!({ "issuer": issuer.url, "jwks_uri": uri });
    issuer.discovers(keys("http://id.example.com/keys"));
    until("told of plain HTTP", other, |told| told.contains("`jwks_uri` is neither")).await;
    issuer.discovers(keys(&format!("{}/keys", issuer.url)));
    let_in(&world, &token).await;

    issuer.stop().await;
    assert!(shown(&world, &token).await.is_ok());
    let invented = issuer.forged(Some("invented"), &issuer.claims("eve@example.com", &[]));
    assert_eq!(refusal(shown(&world, &invented).await).0, Code::Unavailable);
    assert!(shown(&world, &token).await.is_ok());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_asked_over_tls_with_the_authority_that_is_named() {
    let issuer = Issuer::start_with_tls().await;
    let (world, _admin) = trusting(&issuer).await;
    let token = issuer.token(&issuer.claims("ada@example.com", &[]));
    let_in(&world, &token).await;
    let mut world = world;
    world.configuration.oidc_ca_file = None;
    let world = world.restart().await;
    let refused = shown(&world, &token).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("UnknownIssuer"), "{refused:?}");
    world.stop().await;
}

/// Who waits, and was let in before that.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_ends_for_its_reader_with_their_identity_token_and_with_their_role() {
    let issuer = Issuer::start().await;
    let (world, admin) = trusting(&issuer).await;
    create(&admin, job("hello")).await;
    let (invitation, _) = admin.invite(1, &[]).await;
    let executor = join(&world, "mine", &invitation).await.unwrap();
    let id = execute(&admin, "hello").await.unwrap().id;
    let lease = executor.granted().await;
    executor.run(&lease).await;
    executor.append(&lease, 0).await;
    grant_to_group(&admin, "sre", v1::Role::Viewer).await;
    // The leeway of a minute lets it begin, with some seconds to spare for a machine that stands still.
    let short = with(&issuer, json!({ "exp": now() - 45 }));
    let mut logs = Vec::new();
    for claims in [short, with(&issuer, json!({}))] {
        let reader = Asker::of(&world, Some(&issuer.token(&claims))).await;
        let mut client = v1::executions_client::ExecutionsClient::new(reader.channel.clone());
        let follow =
            v1::ReadLogRequest { execution: id.clone(), follow: true, ..Default::default() };
        let mut log = client.read_log(reader.request(follow)).await.unwrap().into_inner();
        assert!(log.message().await.unwrap().is_some());
        logs.push(log);
    }
    let mut offset = 5;
    let mut ended = async |log: &mut tonic::Streaming<v1::ReadLogResponse>| {
        let began = Instant::now();
        loop {
            executor.append(&lease, offset).await;
            offset += 5;
            match tokio::time::timeout(Duration::from_millis(200), log.message()).await {
                Ok(Err(refused)) => return refused,
                Ok(Ok(None)) => panic!("the log ended as if it were over"),
                Ok(Ok(Some(_))) | Err(_) => {}
            }
            assert!(began.elapsed() < 2 * SOON, "it goes on");
        }
    };
    let refused = ended(&mut logs[0]).await;
    assert_eq!(refusal(Err::<(), _>(refused)).1, "TOKEN_EXPIRED");
    let role = v1::RevokeRoleRequest {
        subject: Some(v1::Subject { is: Some(v1::subject::Is::Group("sre".to_owned())) }),
        job: String::new(),
    };
    admin.ask::<v1::RevokeRoleResponse>(Rpc::RevokeRole, role).await.unwrap();
    assert_eq!(ended(&mut logs[1]).await.code(), Code::PermissionDenied);
    world.stop().await;
}
