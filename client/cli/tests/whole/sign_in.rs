//! `octavius login`: the sign-in at an issuer that the controller trusts, as somebody at a terminal does it.

use crate::{
    access::token,
    user::{Ran, User},
    world::World,
};
use octavius_testbed::issuer::{AUDIENCE, Answer, Issuer, USER_CODE};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt};

/// A controller that lets anybody in, the token of an administrator for when it does not, and somebody whose file names it.
async fn open() -> (World, String, User) {
    let mut world = World::new(1);
    world.controller.start();
    world.serves().await;
    let open = User::of(&world);
    let admin = token(&open, &["token", "create", "ada@example.com"]).await;
    open.says(&["role", "grant", "admin", "--person", "ada@example.com"]).await;
    let bob = User::new();
    bob.says(&["config", "--cp-host", &world.address]).await;
    (world, admin, bob)
}

/// One that takes the tokens of this issuer, its administrator, and somebody whose file names it.
async fn world(issuer: &Issuer) -> (World, User, User) {
    let (mut world, admin, bob) = open().await;
    world.controller.end().await;
    let keys = [
        ("authentication", json!("tokens")),
        ("oidc_issuer", json!(issuer.url)),
        ("oidc_audience", json!(AUDIENCE)),
    ];
    for (key, value) in keys {
        world.configure_controller(key, value);
    }
    world.controller.start();
    world.show_token(&admin);
    world.serves().await;
    let ada = User::of(&world).with("ACCESS_TOKEN", &admin);
    (world, ada, bob)
}

const FILE: &str = ".config/octavius/octavius_client.yaml";

/// Somebody begins to sign in, and the issuer answers so once it was asked for the first time.
async fn signs_in(issuer: &Issuer, user: &User, words: &[&str], answer: Answer) -> Ran {
    issuer.answers(Answer::default());
    let before = issuer.polls();
    let login = user.begin(&[&["login"], words].concat());
    issuer.polled(before + 1).await;
    issuer.answers(answer);
    login.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_in_is_known_by_their_name_and_groups_until_the_token_ends() {
    let issuer = Issuer::start().await;
    issuer.offers_device_flow();
    let (world, ada, bob) = world(&issuer).await;
    ada.says(&["role", "grant", "viewer", "--group", "sre"]).await;
    let unknown = bob.run(&["list"]).await;
    assert!(unknown.err.contains("sign in with `octavius login`, or ask"), "{unknown:?}");

    let right = issuer.token(&issuer.claims("bob@example.com", &["sre"]));
    let done = signs_in(&issuer, &bob, &[], Answer::Token(right.clone())).await;
    assert_eq!(done.status, Some(0), "{done:?}");
    for shown in ["http://127.0.0.1:1/activate", USER_CODE, &issuer.url, &world.address] {
        assert!(done.err.contains(shown), "{shown}: {done:?}");
    }
    assert!(done.text().starts_with(&format!("signed in at {} until 20", issuer.url)), "{done:?}");
    let file = bob.path(FILE);
    assert!(fs::read_to_string(&file).unwrap().contains(&right));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let signature = right.rsplit('.').next().unwrap();
    assert!(!done.text().contains(signature) && !done.err.contains(signature), "{done:?}");
    assert_eq!(bob.says(&["list", "-o", "name"]).await, "");
    let refused = bob.run(&["token", "list"]).await;
    assert!(refused.err.contains("bob@example.com"), "{refused:?}");

    // Another one, to be printed: the file stays as it is.
    let eve = issuer.token(&issuer.claims("eve@example.com", &[]));
    let printed = signs_in(&issuer, &bob, &["--print-token"], Answer::Token(eve.clone())).await;
    assert_eq!((printed.status, printed.text()), (Some(0), format!("{eve}\n")), "{printed:?}");
    assert!(fs::read_to_string(&file).unwrap().contains(&right));
    drop(world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_sign_in_is_told_why_and_their_file_stays_as_it_was() {
    let issuer = Issuer::start().await;
    let (world, ada, bob) = world(&issuer).await;
    let before = fs::read(bob.path(FILE)).unwrap();
    let told = |ran: &Ran, words: &str| {
        assert!(ran.status == Some(3) && ran.err.contains(words), "{words}: {ran:?}");
        assert_eq!(fs::read(bob.path(FILE)).unwrap(), before);
    };
    told(&bob.run(&["login"]).await, "offers no sign-in from another device");
    issuer.offers_device_flow();
    let refused = bob.run(&["login", "--scope", "openid,everything"]).await;
    told(&refused, "lets nobody sign in (invalid_client)");
    let ends = [
        ("access_denied", "the sign-in was refused"),
        ("expired_token", "`octavius login` asks for a new one"),
        ("invalid_grant", "(invalid_grant)"),
    ];
    for (error, words) in ends {
        told(&signs_in(&issuer, &bob, &[], Answer::Error(error)).await, words);
    }
    // What the controller does not take is not kept.
    let mut claims = issuer.claims("bob@example.com", &[]);
    claims["aud"] = json!("another");
    let other = Answer::Token(issuer.token(&claims));
    told(&signs_in(&issuer, &bob, &[], other).await, "is not for `octavius-tests`");

    // The variable would come before the file, and a file that does not name the controller is not its.
    let usage = ada.run(&["login"]).await;
    assert!(usage.status == Some(2) && usage.err.contains("--print-token"), "{usage:?}");
    let both = User::new().with("ACCESS_TOKEN", "");
    both.says(&["config", "--cp-host", &world.address]).await;
    let usage = both.run(&["login"]).await;
    assert!(
        usage.status == Some(2) && usage.err.contains("the variable ACCESS_TOKEN"),
        "{usage:?}"
    );
    drop(world);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_signs_in_where_no_identity_tokens_are_taken_or_the_issuer_is_away() {
    let (mut world, _admin, bob) = open().await;
    let open = bob.run(&["login"]).await;
    assert!(open.status == Some(3) && open.err.contains("asks nobody for a token"), "{open:?}");
    world.controller.end().await;
    world.configure_controller("authentication", json!("tokens"));
    world.controller.start();
    let own = crate::world::eventually(|| async {
        let own = bob.run(&["login"]).await;
        if own.err.contains("takes tokens of its own alone") {
            Ok(own)
        } else {
            Err(format!("{own:?}"))
        }
    });
    assert_eq!(own.await.unwrap().status, Some(3));
    world.controller.end().await;
    let issuer = Issuer::away();
    world.configure_controller("oidc_issuer", json!(issuer.url));
    world.configure_controller("oidc_audience", json!(AUDIENCE));
    world.controller.start();
    let away = crate::world::eventually(|| async {
        let away = bob.run(&["login"]).await;
        if away.err.contains("/.well-known/openid-configuration") {
            Ok(away)
        } else {
            Err(format!("{away:?}"))
        }
    });
    assert_eq!(away.await.unwrap().status, Some(4));
}
