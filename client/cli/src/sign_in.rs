//! Signing in from another device: the device flow of OAuth 2.0 (RFC 8628), of which the identity token is taken.

use crate::{exit::Failure, render::text::one_line};
use oauth2::{
    AuthType, ClientId, DeviceAuthorizationUrl, DeviceCodeErrorResponseType, EndpointNotSet,
    EndpointSet, ErrorResponse, ExtraTokenFields, HttpRequest, HttpResponse, RequestTokenError,
    Scope, StandardDeviceAuthorizationResponse, StandardRevocableToken, StandardTokenResponse,
    TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use octavius_controller::{
    access::issuer::Discovery,
    web::{SafeUrl, Web, WebError},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// What is asked for, of what the issuer offers.
const WANTED: [&str; 4] = ["openid", "email", "profile", "groups"];
/// What is asked for where it does not say what it offers.
const ALWAYS: [&str; 2] = ["openid", "email"];
/// For how long somebody may take to sign in, whatever the issuer says.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(30 * 60);
/// The shortest pause between two questions, whatever the issuer says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a question that nobody answered.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What an issuer adds to its answer for OpenID Connect. The program has no use for the other tokens in it.
#[derive(Deserialize, Serialize)]
struct Identity {
    id_token: Option<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

impl ExtraTokenFields for Identity {}

type Client = oauth2::Client<
    BasicErrorResponse,
    StandardTokenResponse<Identity, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Somebody who is to sign in.
pub(crate) struct SignIn {
    issuer: String,
    client: Client,
    web: Web,
    asked: StandardDeviceAuthorizationResponse,
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
            Failure::Unknown(format!(
                "`{issuer}` is neither `https://…` nor of this machine: nobody signs in there"
            ))
        })?;
        let found = Discovery::of(&url, &web).await;
        let found = found.map_err(|error| Failure::Unanswered(error.to_string()))?;
        let (Some(device), Some(token)) =
            (&found.device_authorization_endpoint, &found.token_endpoint)
        else {
            return Err(Failure::Unknown(format!(
                "{issuer} offers no sign-in from another device (the device flow of RFC 8628): have it enabled there, or get an identity token from it in another way and give it as ACCESS_TOKEN"
            )));
        };
        let wrong =
            |url: &str| Failure::Unknown(format!("{issuer} names `{url}`, which is no URL"));
        let client = oauth2::Client::new(ClientId::new(client_id))
            .set_device_authorization_url(
                DeviceAuthorizationUrl::new(device.clone()).map_err(|_| wrong(device))?,
            )
            .set_token_uri(TokenUrl::new(token.clone()).map_err(|_| wrong(token))?)
            // Whoever runs this program could read a secret of it: it has none.
            .set_auth_type(AuthType::RequestBody);
        let scopes = wanted(found.scopes_supported.as_deref(), scopes).map(Scope::new);
        let asking = |request: HttpRequest| ask(&web, request);
        let asked = client.exchange_device_code().add_scopes(scopes).request_async(&asking).await;
        let asked = asked.map_err(|error| failed(issuer, error))?;
        Ok(Self { issuer: issuer.to_owned(), client, web, asked })
    }

    /// What somebody has to do, in words.
    pub(crate) fn words(&self) -> String {
        let (page, code) = (self.asked.verification_uri(), self.asked.user_code().secret());
        let mut words = format!("Open  {}\nCode  {}\n", one_line(page.as_str()), one_line(code));
        if let Some(whole) = self.asked.verification_uri_complete() {
            words += &format!("or    {}\n", one_line(whole.secret()));
        }
        words
    }

    /// Waits until that is done: the identity token.
    pub(crate) async fn token(self) -> Result<SecretString, Failure> {
        let within = self.asked.expires_in().min(SIGN_IN_WITHIN);
        let asking = |request: HttpRequest| ask(&self.web, request);
        let pause = |pause: Duration| tokio::time::sleep(pause.max(SHORTEST_PAUSE));
        let waiting = self.client.exchange_device_access_token(&self.asked);
        let waiting = waiting.set_max_backoff_interval(LONGEST_PAUSE);
        let answered = waiting.request_async(&asking, pause, Some(within)).await;
        let answered = answered.map_err(|error| refused(&self.issuer, error))?;
        let token = answered.extra_fields().id_token.clone().map(SecretString::from);
        token.ok_or_else(|| {
            Failure::Unknown(format!(
                "{} gave no identity token: have its client know the scope `openid`",
                self.issuer
            ))
        })
    }
}

/// What is asked for: what people want, or of what helps here what is offered.
fn wanted(offered: Option<&[String]>, given: &[String]) -> impl Iterator<Item = String> {
    let scopes: Vec<String> = match (given, offered) {
        ([], None) => ALWAYS.map(str::to_owned).to_vec(),
        ([], Some(offered)) => {
            let is_offered =
                |scope: &str| scope == "openid" || offered.iter().any(|one| one == scope);
            WANTED.into_iter().filter(|scope| is_offered(scope)).map(str::to_owned).collect()
        }
        (given, _) => given.to_vec(),
    };
    scopes.into_iter()
}

async fn ask(web: &Web, request: HttpRequest) -> Result<HttpResponse, WebError> {
    let answer = web.ask(request.map(Into::into)).await?;
    Ok(answer.map(|body| body.to_vec()))
}

/// Why the issuer lets nobody sign in.
fn failed<T: ErrorResponse>(issuer: &str, error: RequestTokenError<WebError, T>) -> Failure {
    match error {
        RequestTokenError::Request(error) => Failure::Unanswered(error.to_string()),
        RequestTokenError::ServerResponse(answer) => Failure::Unknown(format!(
            "{issuer} lets nobody sign in ({}): is this installation known there as a client that may use the device flow?",
            one_line(&answer.to_string())
        )),
        // What was answered may hold a token.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Failure::Unknown(format!("{issuer} answered otherwise than RFC 8628 says"))
        }
    }
}

/// Why somebody did not sign in.
fn refused(
    issuer: &str,
    error: RequestTokenError<WebError, oauth2::DeviceCodeErrorResponse>,
) -> Failure {
    if let RequestTokenError::ServerResponse(answer) = &error {
        match answer.error() {
            DeviceCodeErrorResponseType::AccessDenied => {
                return Failure::Unknown(format!("at {issuer} the sign-in was refused"));
            }
            DeviceCodeErrorResponseType::ExpiredToken => {
                return Failure::Unknown(
                    "nobody signed in with the code before it ended: `octavius login` asks for a new one"
                        .to_owned(),
                );
            }
            _ => {}
        }
    }
    failed(issuer, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_the_issuer_offers_unless_somebody_says_what() {
        let asked = |offered: Option<&[&str]>, given: &[&str]| {
            let owned =
                |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
            wanted(offered.map(owned).as_deref(), &owned(given)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(asked(None, &[]), "openid email");
        assert_eq!(asked(Some(&["groups", "phone", "email"]), &[]), "openid email groups");
        assert_eq!(asked(Some(&["groups"]), &["openid", "roles"]), "openid roles");
    }
}
