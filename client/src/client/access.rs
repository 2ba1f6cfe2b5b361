//! Tokens and roles: who may ask this controller for what.

use super::{Client, PAGE, Wire, call::Repeat};
use crate::error::Error;
use octavius_protocol::{
    MAX_MESSAGE,
    v1::{self, access_client::AccessClient},
};

impl Client {
    /// Makes a token for a person. The answer is the only one that has it. Not asked again where it may have been made:
    /// a second try would make another one.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn create_token(
        &self,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, Error> {
        self.call(request, Repeat::IfNothingDone, |request| {
            let mut access = self.access_service();
            async move { access.create_token(request).await }
        })
        .await
    }

    /// Makes a token with which executors join. The answer is the only one that has it. Not asked again where it may have
    /// been made.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn invite_executors(
        &self,
        request: v1::InviteExecutorsRequest,
    ) -> Result<v1::InviteExecutorsResponse, Error> {
        self.call(request, Repeat::IfNothingDone, |request| {
            let mut access = self.access_service();
            async move { access.invite_executors(request).await }
        })
        .await
    }

    /// All tokens, by their ids; none has the token itself.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn tokens(&self) -> Result<Vec<v1::Token>, Error> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = v1::ListTokensRequest { page_size: PAGE, page_token };
            let page = self.call(message, Repeat::IfBroken, |request| {
                let mut access = self.access_service();
                async move { access.list_tokens(request).await }
            });
            let page = page.await?;
            all.extend(page.tokens);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Ends the token of this id; what it was. Not asked again where it may have been done: a second try would find none.
    ///
    /// # Errors
    /// Where there is none, or the controller refuses or does not answer.
    pub async fn revoke_token(&self, id: &str) -> Result<v1::Token, Error> {
        let message = v1::RevokeTokenRequest { id: id.to_owned() };
        let revoked = self.call(message, Repeat::IfNothingDone, |request| {
            let mut access = self.access_service();
            async move { access.revoke_token(request).await }
        });
        self.whole(revoked.await?.about)
    }

    /// Gives a role; one that is there is replaced.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn grant_role(&self, request: v1::GrantRoleRequest) -> Result<v1::RoleGrant, Error> {
        let granted = self.call(request, Repeat::IfBroken, |request| {
            let mut access = self.access_service();
            async move { access.grant_role(request).await }
        });
        self.whole(granted.await?.grant)
    }

    /// Takes a role away. Not asked again where it may have been done: a second try would find none.
    ///
    /// # Errors
    /// Where there is none, or the controller refuses or does not answer.
    pub async fn revoke_role(&self, request: v1::RevokeRoleRequest) -> Result<(), Error> {
        self.call(request, Repeat::IfNothingDone, |request| {
            let mut access = self.access_service();
            async move { access.revoke_role(request).await }
        })
        .await
        .map(|_| ())
    }

    /// All roles that were given.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn roles(&self) -> Result<Vec<v1::RoleGrant>, Error> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let message = v1::ListRolesRequest { page_size: PAGE, page_token };
            let page = self.call(message, Repeat::IfBroken, |request| {
                let mut access = self.access_service();
                async move { access.list_roles(request).await }
            });
            let page = page.await?;
            all.extend(page.grants);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// What was done and what was refused, the newest first, a page at a time. What is empty or absent in `wanted` wants all.
    pub fn audit_pages(&self, wanted: v1::ListAuditRequest) -> AuditPages {
        AuditPages {
            client: self.clone(),
            next: Some(v1::ListAuditRequest { page_size: PAGE, ..wanted }),
        }
    }

    fn access_service(&self) -> AccessClient<Wire> {
        AccessClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// Pages of the audit.
#[derive(Debug)]
pub struct AuditPages {
    client: Client,
    next: Option<v1::ListAuditRequest>,
}

impl AuditPages {
    /// The next page, which may be empty; none: there is no further one.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn next(&mut self) -> Result<Option<Vec<v1::AuditEntry>>, Error> {
        let Some(wanted) = self.next.take() else { return Ok(None) };
        let page = self.client.call(wanted.clone(), Repeat::IfBroken, |request| {
            let mut access = self.client.access_service();
            async move { access.list_audit(request).await }
        });
        let v1::ListAuditResponse { entries, next_page_token: page_token } = page.await?;
        self.next =
            (!page_token.is_empty()).then_some(v1::ListAuditRequest { page_token, ..wanted });
        Ok(Some(entries))
    }
}
