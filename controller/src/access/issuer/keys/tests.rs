//! Keys of each kind, with what another program has signed. The private ones are nowhere: they were thrown away.

use super::*;
use proptest::prelude::*;
use serde_json::json;

const N: &str = "mkmePaY9-xGOly0LOB6xA_B3i_clc5arJHEvJhR_eVutiuFIvEYPGQ5espLcnRfDxfNLw9yS6_48xHw1Jqt3nrcK3vWod-0t2v3ctufJCIa3bVVoJ1KYr7BHphcuEJAzMrJvIg3VdBL0vO45yfdvB08vejOMXJR5Po33GWK2OqoQvqJSBoukXElxKb7q3xNm2hvRvRqHTEDFABplkWlinYtUcHSuiLBsAtbxt2FM8MIc7uftjOEhSk0s43FrFfgICDD3RWNgsX_cnLT5V8TCxgBKqJncgpcqlYxPTO6ACKRsohF4Eir23uG6pK0VgGbfDlB0VIyNyDiKcjvexE_1ew";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiI0MiJ9.KJDcjOO96ibz9kRsguAYWT_LS3m5aZgxQonm85LYYeugk03H-OmzyTVtFRNMRaHspsaatIeUN6CD2GzNV1YqsRim946o-J4nXL6NL2Sp19EXKHzzvqyc5u9zoqLX37TbxqLFtJ99FNNe4r0SQXtWK-74ICk5SZOMpr79PrP8VXOkyuZqR5ywSeJLNzJeL3rgV-dTIZ2HFMPdzMP1chUcWQeDk7_qdoIZdgdqg8sNs5sIk-mZFZG-6qNpp26wyz3OhZh6Dn7fg0fGcB4pDFXoWtFtdOk78Sr1soKaeoYtK4olDD1ZDeqKbsY2hwZ-6701pCpyaqEQc6ylMQd2kfIkcQ";
const PS384: &str = "eyJhbGciOiJQUzM4NCIsImtpZCI6InJzYSJ9.eyJzdWIiOiI0MiJ9.V4UScANSIJyQP9k_vMRB-_Cmp1PWIQqRF_loRjHFB1Ff0Yf3DpiJaAWhMKh2F3I40L6NmZuWF7zJLycj8o7N_1fz_AjGMdprTgedXMEE9zygptwe69byXOPn3fKqid-7Ay66Ntts0HOy1tTnHIkjcgTaALO9QL3yU1moq3L4UB4ue6A_4jmT3T-P_-ylYCBy7r4QgXnRWH8z6UXv63u88eJUfGUhA9NB5X7yjx9RLtOdCWt5Dgo37KFY1JzqxZrC68v-dC6vb4oIwg7VXN32QOzYO4cm73Nju0LrMf1yJIk36eq0qtRiIgomRs_FMEioXDaeHE2aoYFaePRRPa-f4w";
const X: &str = "Hwaykp5T8FZJATYfoq5tWSaPNEPnH2UmBvJnXVmPH7Q";
const EDDSA: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIn0.eyJzdWIiOiI0MiJ9.Fn3Jf9hLReq4Et2Tgc2DERF0d_AOOj_TzBxZKGzGULLi5EaIfptgLmXx1Ihzi3q7S6K9K7yS1OXQPZdxso6jBQ";

fn rsa(others: Value) -> Value {
    merged(json!({ "kty": "RSA", "kid": "rsa", "n": N, "e": "AQAB" }), others)
}

fn ed(others: Value) -> Value {
    merged(json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": X }), others)
}

fn merged(mut key: Value, others: Value) -> Value {
    for (name, value) in others.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

fn set(keys: &[Value]) -> Result<Vec<Key>, NoKeys> {
    signature::install();
    read(json!({ "keys": keys }).to_string().as_bytes())
}

fn it() -> Whose {
    Whose::People("it".to_owned())
}

fn open(token: &str, keys: &[Key]) -> Result<Value, NotIssued> {
    SaidKey::of(token)?.open(token, keys, &it()).map(|claims| claims["sub"].clone())
}

#[test]
fn what_another_program_has_signed_is_opened_with_its_key_alone() {
    let both = set(&[rsa(json!({})), ed(json!({}))]).unwrap();
    // One of two kinds has the name of the other.
    let same = set(&[
        ed(json!({ "kid": "rsa" })),
        rsa(json!({})),
        rsa(json!({ "kid": "ed" })),
        ed(json!({})),
    ]);
    for keys in [both.clone(), same.unwrap()] {
        for token in [RS256, PS384, EDDSA] {
            assert_eq!(open(token, &keys), Ok(json!("42")));
            let last = token.rfind('.').unwrap();
            let mut other = token.to_owned();
            other.replace_range(
                last + 9..=last + 9,
                if &token[last + 9..=last + 9] == "A" { "B" } else { "A" },
            );
            assert_eq!(open(&other, &keys), Err(NotIssued::Signature));
            let cut = &token[..last];
            assert_eq!(open(cut, &keys), Err(NotIssued::Form));
        }
    }
    let unknown = NotIssued::UnknownKey { issuer: it() };
    assert_eq!(open(EDDSA, &both[..1]), Err(unknown));
}

#[test]
fn a_key_signs_as_its_kind_and_its_issuer_say_and_in_no_other_way() {
    let opens = |token: &str, key: Value| match set(&[key]) {
        Ok(keys) => open(token, &keys).map_err(|error| error.to_string()),
        Err(none) => Err(none.to_string()),
    };
    assert!(opens(RS256, rsa(json!({ "alg": "RS256", "use": "sig" }))).is_ok());
    let refused = opens(PS384, rsa(json!({ "alg": "RS256" }))).unwrap_err();
    assert_eq!(refused, NotIssued::Algorithm.to_string());
    let refused = opens(EDDSA, rsa(json!({ "kid": "ed" }))).unwrap_err();
    assert_eq!(refused, NotIssued::Algorithm.to_string());
    let none = NoKeys::None.to_string();
    for of_no_use in [
        json!({ "use": "enc" }),
        json!({ "alg": "RSA-OAEP" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "none" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "n": "no base64!" }),
    ] {
        assert_eq!(opens(RS256, rsa(of_no_use.clone())), Err(none.clone()), "{of_no_use}");
    }
    // What is no key of its kind opens nothing.
    let wrong = NotIssued::Signature.to_string();
    for broken in [json!({ "n": "AQAB" }), json!({ "e": "" }), json!({ "n": "" })] {
        assert_eq!(opens(RS256, rsa(broken.clone())), Err(wrong.clone()), "{broken}");
    }
    assert_eq!(opens(EDDSA, ed(json!({ "x": "AQAB" }))), Err(wrong));
}

#[test]
fn a_key_without_a_name_is_the_only_one() {
    let unnamed = |key: Value| {
        let mut key = key;
        key.as_object_mut().unwrap().remove("kid");
        key
    };
    let nameless = "eyJhbGciOiJFZERTQSJ9.e30.AAAA"; // {"alg":"EdDSA"}
    let one = set(&[unnamed(ed(json!({})))]).unwrap();
    assert_eq!(open(nameless, &one), Err(NotIssued::Signature));
    let two = set(&[unnamed(ed(json!({}))), rsa(json!({}))]).unwrap();
    assert_eq!(open(nameless, &two), Err(NotIssued::NoKey { issuer: "it".to_owned() }));
    assert_eq!(open(nameless, &[]), Err(NotIssued::UnknownKey { issuer: it() }));
    // Who names a key means no other.
    assert!(matches!(open(EDDSA, &one), Err(NotIssued::UnknownKey { .. })));
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    for form in ["", "[]", "{}", "null", r#"{"keys": {}}"#] {
        assert_eq!(read(form.as_bytes()).unwrap_err(), NoKeys::Form, "{form}");
    }
    assert_eq!(set(&[]).unwrap_err(), NoKeys::None);
    assert_eq!(set(&[json!(7), json!("key"), json!({ "kty": "new" })]).unwrap_err(), NoKeys::None);
    let many: Vec<_> =
        (0..=MOST_KEYS).map(|number| rsa(json!({ "kid": number.to_string() }))).collect();
    assert_eq!(set(&many[1..]).unwrap().len(), MOST_KEYS);
    assert_eq!(set(&many).unwrap_err(), NoKeys::Many);
}

proptest! {
    #[test]
    fn whatever_is_published_is_read_or_refused(text in "\\PC{0,80}", kty in "(RSA|EC|OKP|oct)", crv in "(P-256|P-384|P-521|Ed25519|X25519)", part in "[A-Za-z0-9_-]{0,90}") {
        let _ = read(text.as_bytes());
        let key = json!({ "kty": kty, "crv": crv, "kid": "ed", "x": part, "y": part, "n": part, "e": part, "k": part });
        if let Ok(keys) = set(&[key]) {
            for token in [RS256, EDDSA] {
                prop_assert!(open(token, &keys).is_err());
            }
        }
    }
}
