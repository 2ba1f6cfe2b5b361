//! Executors that join with the tokens of their service accounts, on a whole controller. A real cluster's tokens are in
//! `client/cli/tests/kubernetes/accounts.rs`.

use crate::{
    askers::{Asker, create, execute, guarded, join},
    world::{World, job, refusal, registration, until},
};
use octavius_controller::{configuration::Configuration, grpc::door::Rpc};
use octavius_protocol::v1;
use octavius_service::configuration::from_values;
use octavius_testbed::issuer::{AUDIENCE, Issuer, now};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};

const ACCOUNT: &str = "octavius:executor";

/// A controller that takes the tokens of these clusters, and an administrator with one of its own.
async fn trusting(clusters: Value) -> (World, Asker) {
    let (mut world, admin) = guarded().await;
    let given = json!({ "authentication": "tokens", "clusters": clusters });
    let read = from_values::<Configuration>(&given.to_string()).unwrap().section;
    world.configuration.clusters = read.clusters;
    let world = world.restart().await;
    let admin = Asker::of(&world, admin.token.as_deref()).await;
    (world, admin)
}

/// What the API server signs for a service account.
fn claims(issuer: &Issuer, account: &str) -> Value {
    json!({
        "iss": issuer.url, "aud": [AUDIENCE], "sub": format!("system:serviceaccount:{account}"),
        "exp": now() + 300, "iat": now(), "nbf": now(),
    })
}

async fn joins(world: &World, id: &str, token: &str) -> Result<Asker, Status> {
    join(world, id, token).await.map(|joined| joined.asker)
}

/// Whether it was known by whom a token is: it is asked again otherwise.
fn is_judged<T>(joined: &Result<T, Status>) -> bool {
    joined.as_ref().err().is_none_or(|refused| refused.code() != Code::Unavailable)
}

/// What the controller says to an executor with this credential.
async fn version(asker: &Asker) -> Result<v1::GetVersionResponse, Status> {
    asker.ask(Rpc::GetVersion, v1::GetVersionRequest {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_joins_with_its_service_account_again_and_again_and_no_other_takes_its_name() {
    let issuer = Issuer::start().await;
    // Clusters that call themselves the same, as most do, are told apart by their keys.
    let mut twin = Issuer::away_with_key("twin");
    twin.url.clone_from(&issuer.url);
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, issuer.keys().to_string()).unwrap();
    let twins_keys = folder.path().join("twins-keys.json");
    std::fs::write(&twins_keys, twin.keys().to_string()).unwrap();
    let cluster = |file| {
        json!({
            "issuer": issuer.url, "audience": AUDIENCE, "keys_file": file,
            "service_accounts": [ACCOUNT],
        })
    };
    let clusters = json!({ "emea": cluster(&keys), "twin": cluster(&twins_keys) });
    let (world, admin) = trusting(clusters).await;
    let token = issuer.token(&claims(&issuer, ACCOUNT));
    let first = async || joins(&world, "e-1", &token).await;
    let first = until("judged", first, is_judged).await.unwrap();
    assert!(version(&first).await.is_ok());
    // A pod that is made anew has nothing but its service account.
    let second = joins(&world, "e-1", &token).await.unwrap();
    assert!(version(&second).await.is_ok());
    assert_eq!(version(&first).await.unwrap_err().code(), Code::Unauthenticated);

    let of_twin = twin.token(&claims(&issuer, ACCOUNT));
    let (code, reason, _) = refusal(joins(&world, "e-1", &of_twin).await.map(drop));
    assert_eq!((code, &*reason), (Code::AlreadyExists, "EXECUTOR_JOINED"));
    let (invitation, _) = admin.invite(1, &[]).await;
    let (code, reason, _) = refusal(joins(&world, "e-1", &invitation).await.map(drop));
    assert_eq!((code, &*reason), (Code::AlreadyExists, "EXECUTOR_JOINED"));
    joins(&world, "e-2", &of_twin).await.unwrap();
    // Each file is read again for a key that is not in it yet.
    twin.rotate();
    std::fs::write(&twins_keys, twin.keys().to_string()).unwrap();
    let of_twin = twin.token(&claims(&issuer, ACCOUNT));
    let third = async || joins(&world, "e-3", &of_twin).await;
    until("judged", third, is_judged).await.unwrap();
    assert!(version(&second).await.is_ok());

    // The audit says who joined, and with which token.
    let by = format!("service account emea/{ACCOUNT}");
    let asked = v1::ListAuditRequest { by, ..Default::default() };
    let listed: v1::ListAuditResponse = admin.ask(Rpc::ListAudit, asked).await.unwrap();
    let joined =
        listed.entries.iter().filter(|entry| entry.executor == "e-1" && entry.refused.is_empty());
    assert_eq!(joined.count(), 2, "{listed:?}");
    assert!(!format!("{listed:?}").contains(token.rsplit('.').next().unwrap()));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_joins_where_it_is_named_as_what_it_is_named_and_does_nothing_else() {
    let mut issuer = Issuer::start().await;
    let cluster = json!({
        "issuer": issuer.url, "audience": AUDIENCE, "service_accounts": [ACCOUNT],
        "labels": { "env": "staging" },
    });
    let (world, _admin) = trusting(json!({ "emea": cluster })).await;
    let right = issuer.token(&claims(&issuer, ACCOUNT));
    // Its keys are fetched, as those of an issuer of people are.
    let asked = async || joins(&world, "e-1", &right).await.map(drop);
    let labels = until("judged", asked, is_judged).await.unwrap_err();
    assert_eq!(labels.code(), Code::PermissionDenied);
    assert!(labels.message().contains("label `env` as `staging`"), "{labels:?}");

    let with = |claim: &str, value: Value| {
        let mut claims = claims(&issuer, ACCOUNT);
        claims[claim] = value;
        issuer.token(&claims)
    };
    let rows = [
        (issuer.token(&claims(&issuer, "default:default")), "default:default of cluster emea"),
        (with("sub", json!(ACCOUNT)), "`sub` names no service account"),
        (with("aud", json!(["https://kubernetes.default.svc"])), "is not for `octavius-tests`"),
        (with("exp", json!(now() - 61)), "ended at"),
        (with("iss", json!("https://elsewhere")), "is not of the issuer"),
        (issuer.forged(None, &claims(&issuer, ACCOUNT)), "its signature is wrong"),
    ];
    let answers = rows.iter().map(async |(token, _)| joins(&world, "e-1", token).await.map(drop));
    for ((_, told), answer) in rows.iter().zip(futures::future::join_all(answers).await) {
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{told}: {refused:?}");
        assert!(refused.message().contains(told), "{told}: {refused:?}");
    }
    let account = Asker::of(&world, Some(&right)).await;
    for rpc in [Rpc::GetVersion, Rpc::ListJobs, Rpc::Poll, Rpc::CreateToken] {
        let refused = account.raw(rpc, Vec::new()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{rpc:?}: {refused:?}");
    }
    issuer.stop().await;
    world.stop().await;
}

/// Who is refused a session has not ended the credential of who has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_executor_with_the_account_and_the_id_harms_the_first_in_no_way_while_that_has_work()
 {
    let issuer = Issuer::away();
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, issuer.keys().to_string()).unwrap();
    let cluster = json!({
        "issuer": issuer.url, "audience": AUDIENCE, "keys_file": keys, "service_accounts": [ACCOUNT],
    });
    let (world, admin) = trusting(json!({ "emea": cluster })).await;
    create(&admin, job("hello")).await;
    let token = issuer.token(&claims(&issuer, ACCOUNT));
    let first = async || join(&world, "e-1", &token).await;
    let first = until("judged", first, is_judged).await.unwrap();
    execute(&admin, "hello").await.unwrap();
    let lease = first.granted().await;
    let second = Asker::of(&world, Some(&token)).await;
    let elsewhere = registration("e-1", 2, 2).encode_to_vec();
    let refused = second.raw(Rpc::Register, elsewhere.clone()).await.unwrap_err();
    assert!(refused.message().contains("attempts: 1"), "{refused:?}");
    first.run(&lease).await;

    // Once the account is named no more, neither counts.
    let mut world = world;
    world.configuration.clusters = Default::default();
    let world = world.restart().await;
    let first = Asker::of(&world, first.asker.token.as_deref()).await;
    assert_eq!(version(&first).await.unwrap_err().code(), Code::Unauthenticated);
    world.stop().await;
}
