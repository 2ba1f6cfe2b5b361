//! What an identity token says, once its signature is known to be right: plain functions over its claims and the time.

use super::{
    MOST_GROUPS, NotIssued,
    error::{Whose, Wrong},
};
use crate::{
    caller::{MOST_NAME_BYTES, is_person},
    registry::rules::definition::MOST_GROUP_BYTES,
};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use jiff::{SignedDuration, Timestamp};
use ring::digest;
use serde::Deserialize;
use serde_json::{Map, Value};

/// By so much the clocks of the issuer and of the controller may differ.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// The claim in which the issuer may say itself that it has not verified what it says.
const EMAIL: &str = "email";
/// The most bytes of a token's own id that are taken to call it by.
const MOST_ID_BYTES: usize = 128;

/// What a token has to say, and where it says who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// What it calls itself.
    pub(super) issuer: String,
    /// What people are told.
    pub(super) whose: Whose,
    pub(super) audience: String,
    pub(super) name_claim: String,
    pub(super) groups_claim: String,
}

/// Who has issued a token, as it says itself: nothing proves it.
pub(super) fn said_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        iss: String,
    }
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    serde_json::from_slice(&claims).ok().map(|Said { iss }| iss)
}

/// What an issuer vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Who it is.
    pub name: String,
    /// What they belong to.
    pub groups: Vec<String>,
    /// The token that says so.
    pub token: IssuedToken,
}

/// A token that was right, without what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// What the audit calls it: the id that its issuer gave it, `jti:…`, or the beginning of its SHA-256, `sha256:…`.
    pub name: String,
    /// When it ends.
    expires_at: Timestamp,
    issuer: Whose,
}

impl IssuedToken {
    /// Whether it still holds.
    pub(crate) fn holds(&self, now: Timestamp) -> Result<(), NotIssued> {
        let ends = self.expires_at.saturating_add(LEEWAY).unwrap_or(Timestamp::MAX);
        if now < ends {
            return Ok(());
        }
        let (token, issuer) = (self.name.clone(), self.issuer.clone());
        Err(NotIssued::Expired { token, issuer, at: self.expires_at })
    }
}

/// Whom the claims of `token` let in at this time.
pub(super) fn read(
    token: &str,
    claims: &Map<String, Value>,
    rules: &Rules,
    now: Timestamp,
) -> Result<Issued, NotIssued> {
    if claims.get("iss").and_then(Value::as_str) != Some(rules.issuer.as_str()) {
        return Err(NotIssued::Issuer { issuer: rules.whose.to_string() });
    }
    let is_for = |audience: &Value| audience.as_str() == Some(rules.audience.as_str());
    let is_right = claims.get("aud").is_some_and(|audience| match audience {
        Value::Array(audiences) => audiences.iter().any(is_for),
        audience => is_for(audience),
    });
    if !is_right {
        return Err(NotIssued::Audience { audience: rules.audience.clone() });
    }
    let expires_at = time(claims, "exp")?.ok_or_else(|| wrong("exp", Wrong::Missing))?;
    let name = named(token, claims);
    let token = IssuedToken { name, expires_at, issuer: rules.whose.clone() };
    token.holds(now)?;
    let begins = time(claims, "nbf")?;
    let is_early = |at: &Timestamp| now < at.saturating_sub(LEEWAY).unwrap_or(Timestamp::MIN);
    if let Some(at) = begins.filter(is_early) {
        return Err(NotIssued::NotYet { at });
    }
    let has_subject = claims.get("sub").and_then(Value::as_str);
    if !has_subject.is_some_and(|subject| (1..=MOST_NAME_BYTES).contains(&subject.len())) {
        return Err(wrong("sub", Wrong::Missing));
    }
    let name =
        claims.get(&rules.name_claim).ok_or_else(|| wrong(&rules.name_claim, Wrong::Missing))?;
    let name = name.as_str().filter(|name| is_person(name));
    let name = name.ok_or_else(|| wrong(&rules.name_claim, Wrong::Name))?.to_owned();
    // Some issuers write it as a text. What is neither is no word of theirs for it.
    let verified = claims.get("email_verified");
    let is_verified = verified.is_none_or(|it| it.as_bool() == Some(true) || it == "true");
    if rules.name_claim == EMAIL && !is_verified {
        return Err(NotIssued::Unverified);
    }
    let groups = groups(claims, &rules.groups_claim)?;
    Ok(Issued { name, groups, token })
}

fn wrong(claim: &str, what: Wrong) -> NotIssued {
    NotIssued::Claim { claim: claim.to_owned(), what }
}

/// The groups that jobs and roles can name; others would count for nothing.
fn groups(claims: &Map<String, Value>, claim: &str) -> Result<Vec<String>, NotIssued> {
    let given = match claims.get(claim) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(given)) => given.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if given.len() > MOST_GROUPS {
        return Err(wrong(claim, Wrong::Many));
    }
    let texts: Option<Vec<&str>> = given.iter().map(Value::as_str).collect();
    let texts = texts.ok_or_else(|| wrong(claim, Wrong::Groups))?;
    let is_group = |group: &&str| !group.trim().is_empty() && group.len() <= MOST_GROUP_BYTES;
    Ok(texts.into_iter().filter(is_group).map(str::to_owned).collect())
}

fn time(claims: &Map<String, Value>, claim: &str) -> Result<Option<Timestamp>, NotIssued> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    // A time may have a fraction, which nobody needs here. What is beyond all times becomes one that is none.
    let whole = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
    let time = whole.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some).ok_or_else(|| wrong(claim, Wrong::Time))
}

fn named(token: &str, claims: &Map<String, Value>) -> String {
    let id = claims.get("jti").and_then(Value::as_str);
    match id.filter(|id| is_person(id) && id.len() <= MOST_ID_BYTES) {
        Some(id) => format!("jti:{id}"),
        None => {
            let hash = digest::digest(&digest::SHA256, token.as_bytes());
            format!("sha256:{}", HEXLOWER.encode(&hash.as_ref()[..8]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn rules() -> Rules {
        let text = str::to_owned;
        Rules {
            issuer: text("https://id.example.com"),
            whose: Whose::People("https://id.example.com".to_owned()),
            audience: text("octavius"),
            name_claim: text("email"),
            groups_claim: text("groups"),
        }
    }

    fn right() -> Value {
        json!({
            "iss": "https://id.example.com", "aud": "octavius", "sub": "42",
            "exp": NOW + 300, "email": "ada@example.com",
        })
    }

    fn reading(claims: &Value, rules: &Rules) -> Result<Issued, NotIssued> {
        let now = Timestamp::from_second(NOW).unwrap();
        read("a.b.c", claims.as_object().unwrap(), rules, now)
    }

    /// What comes of claims of which these are others; null: there is none.
    fn with(others: Value) -> Result<Issued, NotIssued> {
        let mut claims = right();
        for (claim, value) in others.as_object().unwrap() {
            claims[claim] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        reading(&claims, &rules())
    }

    #[test]
    fn what_is_right_names_a_person_and_their_groups() {
        let issued = with(json!({})).unwrap();
        assert_eq!((issued.name.as_str(), issued.groups.len()), ("ada@example.com", 0));
        assert!(issued.token.name.starts_with("sha256:"), "{issued:?}");
        assert_eq!(issued.token.name.len(), "sha256:".len() + 16);
        let long = "x".repeat(MOST_GROUP_BYTES + 1);
        let rows = [
            json!({ "aud": ["others", "octavius"] }),
            json!({ "exp": NOW as f64 + 0.5 }),
            json!({ "exp": NOW - 59, "nbf": NOW + 60 }), // clocks differ
            json!({ "email_verified": true }),
            json!({ "email_verified": "true" }),
            json!({ "groups": [] }),
        ];
        for others in rows {
            assert_eq!(
                with(others.clone()).map(|issued| issued.name),
                Ok(right()["email"].as_str().unwrap().to_owned()),
                "{others}"
            );
        }
        assert_eq!(with(json!({ "groups": "sre" })).unwrap().groups, ["sre"]);
        assert_eq!(
            with(json!({ "groups": ["sre", "web", "", long] })).unwrap().groups,
            ["sre", "web"]
        );
        assert_eq!(with(json!({ "jti": "7-a" })).unwrap().token.name, "jti:7-a");
        for id in [json!("two words"), json!("x".repeat(MOST_ID_BYTES + 1)), json!(7)] {
            assert!(with(json!({ "jti": id })).unwrap().token.name.starts_with("sha256:"));
        }
        // What is not verified of an address says nothing of another name.
        let claims = json!({
            "iss": "https://id.example.com", "aud": "octavius", "sub": "42", "exp": NOW + 300,
            "preferred_username": "ada", "email": "a@b", "email_verified": false, "roles": ["sre"],
        });
        let rules = Rules {
            name_claim: "preferred_username".to_owned(),
            groups_claim: "roles".to_owned(),
            ..rules()
        };
        let issued = reading(&claims, &rules).unwrap();
        assert_eq!((issued.name.as_str(), &*issued.groups), ("ada", &["sre".to_owned()][..]));
    }

    #[test]
    fn each_claim_that_is_wrong_is_refused_by_its_name() {
        let others = NotIssued::Issuer { issuer: rules().issuer };
        let audience = NotIssued::Audience { audience: rules().audience };
        let at = |seconds| Timestamp::from_second(NOW + seconds).unwrap();
        let expired = |token: &str, seconds| NotIssued::Expired {
            token: token.to_owned(),
            issuer: rules().whose,
            at: at(seconds),
        };
        let many: Vec<_> = (0..=MOST_GROUPS).map(|number| format!("g{number}")).collect();
        let rows = [
            (json!({ "iss": "https://id.example.com/" }), others.clone()),
            (json!({ "iss": null }), others.clone()),
            (json!({ "iss": ["https://id.example.com"] }), others),
            (json!({ "aud": "other" }), audience.clone()),
            (json!({ "aud": ["other"] }), audience.clone()),
            (json!({ "aud": null }), audience.clone()),
            (json!({ "aud": [["octavius"]] }), audience),
            (json!({ "exp": null }), wrong("exp", Wrong::Missing)),
            (json!({ "exp": "soon" }), wrong("exp", Wrong::Time)),
            (json!({ "exp": 1e300 }), wrong("exp", Wrong::Time)),
            (json!({ "exp": NOW - 60, "jti": "7" }), expired("jti:7", -60)),
            (json!({ "nbf": NOW + 61 }), NotIssued::NotYet { at: at(61) }),
            (json!({ "nbf": true }), wrong("nbf", Wrong::Time)),
            (json!({ "sub": null }), wrong("sub", Wrong::Missing)),
            (json!({ "sub": "" }), wrong("sub", Wrong::Missing)),
            (json!({ "email": null }), wrong("email", Wrong::Missing)),
            (json!({ "email": "" }), wrong("email", Wrong::Name)),
            (json!({ "email": "ada lovelace" }), wrong("email", Wrong::Name)),
            (json!({ "email": "adä" }), wrong("email", Wrong::Name)),
            (json!({ "email": "a".repeat(MOST_NAME_BYTES + 1) }), wrong("email", Wrong::Name)),
            (json!({ "email": ["ada"] }), wrong("email", Wrong::Name)),
            (json!({ "email_verified": false }), NotIssued::Unverified),
            (json!({ "email_verified": "false" }), NotIssued::Unverified),
            (json!({ "groups": ["sre", 7] }), wrong("groups", Wrong::Groups)),
            (json!({ "groups": { "sre": true } }), wrong("groups", Wrong::Groups)),
            (json!({ "groups": many }), wrong("groups", Wrong::Many)),
        ];
        for (others, refused) in rows {
            assert_eq!(with(others.clone()), Err(refused), "{others}");
        }
    }

    #[test]
    fn what_was_right_holds_until_it_ends() {
        let token = with(json!({})).unwrap().token;
        let at = |seconds| Timestamp::from_second(NOW + seconds).unwrap();
        assert_eq!(token.holds(at(359)), Ok(()));
        let over = token.holds(at(360)).unwrap_err();
        assert!(
            matches!(&over, NotIssued::Expired { at: ended, .. } if *ended == at(300)),
            "{over}"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            Just(json!("octavius")),
            Just(json!("https://id.example.com")),
            Just(json!(NOW + 300)),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Value::from)
        })
    }

    proptest! {
        /// Whatever a right token is changed to, who is let in has a name that can be stored, and groups that can be meant.
        #[test]
        fn whatever_is_claimed_is_read_or_refused(
            others in prop::collection::btree_map(
                "(iss|aud|exp|nbf|sub|email|email_verified|groups|jti)", value(), 0..4,
            ),
        ) {
            if let Ok(Issued { name, groups, token }) = with(json!(others)) {
                prop_assert!(is_person(&name));
                prop_assert!(groups.len() <= MOST_GROUPS);
                prop_assert!(groups.iter().all(|group| group.len() <= MOST_GROUP_BYTES));
                prop_assert!(token.name.len() <= "jti:".len() + MOST_ID_BYTES);
            }
        }
    }
}
