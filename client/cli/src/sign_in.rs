//! Signing in from another device: the device flow of OAuth 2.0 (RFC 8628), of whose answer the identity token is taken.
//!
//! Two questions are all there is to it, and the second is asked again until somebody has signed in. Whoever runs this
//! program could read a secret of it, so that it has none: it is a public client.

use crate::{exit::Failure, render::text::one_line};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use octavius_controller::{
    access::issuer::{Discovery, DiscoveryError},
    web::{SafeUrl, Web, WebError},
};
use secrecy::SecretString;
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use url::form_urlencoded::Serializer;

/// What is asked for, of what the issuer offers.
const WANTED: [&str; 4] = ["openid", "email", "profile", "groups"];
/// What is asked for where it does not say what it offers.
const ALWAYS: [&str; 2] = ["openid", "email"];
/// How a question for a token says what it is (RFC 8628, 3.4).
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// For how long somebody may take to sign in, whatever the issuer says.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(30 * 60);
/// The pause between two questions where the issuer names none (RFC 8628, 3.2), and what is added where it says
/// `slow_down` (3.5).
const PAUSE: Duration = Duration::from_secs(5);
/// The shortest and the longest pause between two questions, whatever the issuer says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Somebody who is to sign in.
#[derive(Debug)]
pub(crate) struct SignIn {
    issuer: String,
    client_id: String,
    token_url: String,
    web: Web,
    asked: Asked,
    began: Instant,
}

/// What the issuer answers to who wants to sign in (RFC 8628, 3.2).
#[derive(Debug, Deserialize)]
struct Asked {
    device_code: SecretString,
    user_code: String,
    #[serde(alias = "verification_url")] // as Google calls it
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: Option<u64>,
}

/// What it answers once somebody has. The program has no use for the other tokens in it.
#[derive(Deserialize)]
struct Given {
    id_token: Option<SecretString>,
}

/// Why it does not (RFC 6749, 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl SignIn {
    /// Asks an issuer to let somebody sign in who then has a token for `client_id`.
    pub(crate) async fn begin(
        issuer: &str,
        client_id: String,
        scopes: &[String],
        web: Web,
    ) -> Result<Self, Failure> {
        let url = SafeUrl::parse(issuer).ok_or_else(|| {
            let issuer = one_line(issuer);
            Failure::Unknown(format!(
                "`{issuer}` is neither `https://…` nor of this machine: nobody signs in there"
            ))
        })?;
        let found = Discovery::of(&url, &web).await.map_err(|error| match error {
            DiscoveryError::Web(error) => Failure::Unanswered(error.to_string()),
            DiscoveryError::Document { .. } | DiscoveryError::Other { .. } => {
                Failure::Unknown(format!("{error}; ask the administrator of the controller"))
            }
        })?;
        let (Some(device_url), Some(token_url)) =
            (found.device_authorization_endpoint, found.token_endpoint)
        else {
            return Err(Failure::Unknown(format!(
                "{issuer} offers no sign-in from another device (the device flow of RFC 8628): have it enabled there, or get an identity token from it in another way and give it as ACCESS_TOKEN"
            )));
        };
        for url in [&device_url, &token_url] {
            if SafeUrl::parse(url).is_none() {
                return Err(Failure::Unknown(format!(
                    "{issuer} names `{}` for signing in, which is neither `https://…` nor of this machine: nobody signs in there",
                    one_line(url)
                )));
            }
        }
        let scopes = wanted(found.scopes_supported.as_deref(), scopes).join(" ");
        let began = Instant::now();
        let form = [("client_id", client_id.as_str()), ("scope", &scopes)];
        let asked = ask(&web, &device_url, &form).await;
        let asked: Asked = asked.map_err(|error| match error {
            NoAnswer::Web(error) => Failure::Unanswered(error.to_string()),
            NoAnswer::Refused(error) => no_sign_in(issuer, &error),
            NoAnswer::Form => otherwise(issuer),
        })?;
        let issuer = issuer.to_owned();
        Ok(Self { issuer, client_id, token_url, web, asked, began })
    }

    /// What somebody has to do, in words.
    pub(crate) fn words(&self) -> String {
        let Asked { verification_uri: page, user_code: code, .. } = &self.asked;
        let mut words = format!("Open  {}\nCode  {}\n", one_line(page), one_line(code));
        if let Some(whole) = &self.asked.verification_uri_complete {
            words += &format!("or    {}\n", one_line(whole));
        }
        words
    }

    /// Waits until that is done: the identity token.
    pub(crate) async fn token(self) -> Result<SecretString, Failure> {
        let Self { issuer, asked, .. } = &self;
        let until = self.began + Duration::from_secs(asked.expires_in).min(SIGN_IN_WITHIN);
        let mut pause = asked.interval.map_or(PAUSE, Duration::from_secs);
        let mut unanswered: Option<WebError> = None;
        let code = secrecy::ExposeSecret::expose_secret(&asked.device_code);
        let form = [
            ("grant_type", DEVICE_CODE),
            ("device_code", code),
            ("client_id", self.client_id.as_str()),
        ];
        loop {
            pause = pause.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
            // Who does not answer is asked half as often (RFC 8628, 3.5).
            let this = if unanswered.is_some() { pause * 2 } else { pause };
            if timeout_at(until, sleep(this)).await.is_err() {
                return Err(match unanswered {
                    Some(error) => Failure::Unanswered(error.to_string()),
                    None => over(),
                });
            }
            let answered: Result<Given, _> = ask(&self.web, &self.token_url, &form).await;
            match answered {
                Ok(Given { id_token }) => {
                    return id_token.ok_or_else(|| {
                        Failure::Unknown(format!(
                            "{issuer} gave no identity token: have its client know the scope `openid`"
                        ))
                    });
                }
                // It may be back before the code ends.
                Err(NoAnswer::Web(error)) => unanswered = Some(error),
                Err(NoAnswer::Form) => return Err(otherwise(issuer)),
                Err(NoAnswer::Refused(error)) => match error.as_str() {
                    "authorization_pending" => unanswered = None,
                    "slow_down" => (unanswered, pause) = (None, pause + PAUSE),
                    "expired_token" => return Err(over()),
                    "access_denied" => {
                        let denied = format!("at {issuer} the sign-in was refused");
                        return Err(Failure::Unknown(denied));
                    }
                    error => return Err(no_sign_in(issuer, error)),
                },
            }
        }
    }
}

fn over() -> Failure {
    let over =
        "nobody signed in with the code before it ended: `octavius login` asks for a new one";
    Failure::Unknown(over.to_owned())
}

fn no_sign_in(issuer: &str, error: &str) -> Failure {
    Failure::Unknown(format!(
        "{issuer} lets nobody sign in ({}): is this installation known there as a public client that may use the device flow?",
        one_line(error)
    ))
}

fn otherwise(issuer: &str) -> Failure {
    Failure::Unknown(format!(
        "{issuer} answered otherwise than RFC 8628 says: ask its administrator"
    ))
}

/// What is asked for: what people want, or of what helps here what is offered.
fn wanted(offered: Option<&[String]>, given: &[String]) -> Vec<String> {
    match (given, offered) {
        ([], None) => ALWAYS.map(str::to_owned).to_vec(),
        ([], Some(offered)) => {
            let is_offered =
                |scope: &&str| *scope == "openid" || offered.iter().any(|one| one == scope);
            WANTED.into_iter().filter(is_offered).map(str::to_owned).collect()
        }
        (given, _) => given.to_vec(),
    }
}

/// Why a question has no answer that one can go on with.
enum NoAnswer {
    /// It has none at all.
    Web(WebError),
    /// It is a no, in a word of the specifications.
    Refused(String),
    /// It is something else. What was answered may hold a token, and is not told.
    Form,
}

/// Asks with a form, as OAuth 2.0 has it.
async fn ask<A: DeserializeOwned>(
    web: &Web,
    url: &str,
    form: &[(&str, &str)],
) -> Result<A, NoAnswer> {
    let form = Serializer::new(String::new()).extend_pairs(form).finish();
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(Bytes::from(form))
        .map_err(|_| NoAnswer::Form)?;
    let answer = web.ask(request).await.map_err(NoAnswer::Web)?;
    if answer.status() == StatusCode::OK {
        return serde_json::from_slice(answer.body()).map_err(|_| NoAnswer::Form);
    }
    if answer.status().is_server_error() {
        let (url, status) = (url.to_owned(), answer.status());
        return Err(NoAnswer::Web(WebError::Status { url, status }));
    }
    let refused = serde_json::from_slice(answer.body()).map_err(|_| NoAnswer::Form);
    refused.and_then(|Refused { error }| Err(NoAnswer::Refused(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_the_issuer_offers_unless_somebody_says_what() {
        let asked = |offered: Option<&[&str]>, given: &[&str]| {
            let owned =
                |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            wanted(offered.map(owned).as_deref(), &owned(given)).join(" ")
        };
        assert_eq!(asked(None, &[]), "openid email");
        assert_eq!(asked(Some(&["groups", "phone", "email"]), &[]), "openid email groups");
        assert_eq!(asked(Some(&["groups"]), &["openid", "roles"]), "openid roles");
    }
}
