//! What is said of tokens, whatever is known of the issuer. A real one is asked in `controller/tests/server/issuer.rs`.

use super::*;
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use std::collections::BTreeSet;

const KEY: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "Hwaykp5T8FZJATYfoq5tWSaPNEPnH2UmBvJnXVmPH7Q"}]}"#;

/// An issuer of which this is known, and what it is told by.
fn of(known: Known) -> (IssuerView, watch::Sender<Known>) {
    signature::install();
    let text = str::to_owned;
    let rules = Rules {
        issuer: text("https://id.example.com"),
        whose: Whose::People(text("https://id.example.com")),
        audience: text("octavius"),
        name_claim: text("email"),
        groups_claim: text("groups"),
    };
    let (sender, known) = watch::channel(known);
    (IssuerView { rules: Arc::new(rules), known, wanted: Arc::default() }, sender)
}

fn token(header: &str) -> String {
    let [header, claims] = [header, "{}"].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
    format!("{header}.{claims}.AAAA")
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_nobodys_only_once_the_issuer_has_answered() {
    let (view, known) = of(Known::default());
    let shown = token(r#"{"alg": "EdDSA", "kid": "ed"}"#);
    let refused = || view.verify(&shown, now()).unwrap_err();
    assert!(refused().to_string().contains("being fetched"), "{}", refused());
    let asked = Some(Instant::now());
    known.send_replace(Known { asked, trouble: Some("it is away".to_owned()), keys: Vec::new() });
    assert!(refused().to_string().contains("it is away"), "{}", refused());
    known.send_replace(Known { asked, ..Known::default() });
    assert!(matches!(refused(), NotIssued::UnknownKey { .. }), "{}", refused());
    let keys = keys::read(KEY.as_bytes()).unwrap();
    known.send_replace(Known { asked, trouble: Some("it is away".to_owned()), keys });
    assert_eq!(refused(), NotIssued::Signature);
}

#[tokio::test(start_paused = true)]
async fn who_names_an_unknown_key_waits_for_an_answer_that_was_asked_for_later_and_not_for_ever() {
    let (view, known) = of(Known::default());
    let shown = token(r#"{"alg": "EdDSA", "kid": "ed"}"#);
    let before = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    // An answer to what was asked before may lack the key.
    let waiting = tokio::spawn({
        let (view, shown) = (view.clone(), shown.clone());
        async move { view.settled(&shown).await }
    });
    view.wanted.notified().await;
    known.send_replace(Known { asked: Some(before), ..Known::default() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    known.send_replace(Known { asked: Some(Instant::now()), ..Known::default() });
    waiting.await.unwrap().unwrap();

    tokio::time::advance(Duration::from_secs(1)).await;
    let began = Instant::now();
    let late = view.settled(&shown).await.unwrap_err();
    assert!(matches!(late, NotIssued::Away { .. }), "{late}");
    let waited = began.elapsed();
    assert!(waited >= SETTLE_WITHIN && waited < 2 * SETTLE_WITHIN, "{waited:?}");
    // Nobody waits for what is known, or can never be taken.
    known.send_modify(|known| known.keys = keys::read(KEY.as_bytes()).unwrap());
    let large =
        format!("{}{}", token(r#"{"alg": "EdDSA", "kid": "new"}"#), "A".repeat(LARGEST_TOKEN));
    let never =
        [token(r#"{"alg": "none", "kid": "new"}"#), token(r#"{"alg": "HS256", "kid": "new"}"#)];
    for shown in [shown, large, "..".to_owned()].iter().chain(&never) {
        assert!(view.knows(shown));
    }
    let new = token(r#"{"alg": "EdDSA", "kid": "new"}"#);
    assert!(!view.knows(&new));
    // Who waits when the controller ends is told so, and not that there is no such key.
    drop(known);
    assert!(matches!(view.settled(&new).await, Err(NotIssued::Away { .. })));
}

#[test]
fn each_refusal_has_words_of_its_own() {
    let text = str::to_owned;
    let (issuer, at) = (text("https://id.example.com"), now());
    let all = [
        NotIssued::Large { size: 20_000 },
        NotIssued::Form,
        NotIssued::Algorithm,
        NotIssued::NoKey { issuer: issuer.clone() },
        NotIssued::UnknownKey { issuer: Whose::People(issuer.clone()) },
        NotIssued::Signature,
        NotIssued::Issuer { issuer: issuer.clone() },
        NotIssued::Audience { audience: text("octavius") },
        NotIssued::Claim { claim: text("sub"), what: Wrong::Missing },
        NotIssued::Unverified,
        NotIssued::Account { cluster: text("emea"), account: text("a:b") },
        NotIssued::NotYet { at },
        NotIssued::Expired { token: text("jti:7"), issuer: Whose::People(issuer.clone()), at },
        NotIssued::Away { issuer, why: text("it is away") },
    ];
    let told: BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), all.len());
    assert!(told.iter().any(|text| text.contains("ended at 2027-01-15T08:00:00Z")), "{told:?}");
}

proptest! {
    #[test]
    fn whatever_is_shown_is_refused_or_read(
        text in "\\PC{0,60}",
        parts in prop::collection::vec("([A-Za-z0-9_-]{0,30}|\\PC{0,10})", 3),
        header in "\\PC{0,40}",
        claims in "\\PC{0,40}",
    ) {
        let (view, _known) = of(Known { keys: keys::read(KEY.as_bytes()).unwrap(), ..Known::default() });
        let [header, claims] = [header, claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
        for shown in [text, parts.join("."), format!("{header}.{claims}.{}", parts[2])] {
            prop_assert!(view.verify(&shown, now()).is_err());
            view.knows(&shown);
        }
    }
}
