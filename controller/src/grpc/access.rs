//! The service `Access`. A token is in the answer that makes it, and in no other.

use super::{
    Services,
    convert::{access, audit, checked, fitting, fitting_by, page_size},
    door::Rpc,
};
use crate::{
    access::{Made, record::GrantRecord, role_token, rules::Subject},
    audit::AuditPage,
};
use octavius_protocol::v1;
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status, async_trait};

#[async_trait]
impl v1::access_server::Access for Services {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let (caller, request) = self.enter(Rpc::CreateToken, request)?;
        let person = checked(|check| access::person(request, check))?;
        let access::Person { name, groups, expires_in } = person;
        let made = self.parts.access.create(name, groups, expires_in, &caller).await?;
        let Made { text, record } = made;
        let (token, about) = (text.expose_secret().to_owned(), Some(access::token(record)));
        Ok(Response::new(v1::CreateTokenResponse { token, about }))
    }

    async fn invite_executors(
        &self,
        request: Request<v1::InviteExecutorsRequest>,
    ) -> Result<Response<v1::InviteExecutorsResponse>, Status> {
        let (caller, request) = self.enter(Rpc::InviteExecutors, request)?;
        let invitation = checked(|check| access::invitation(request, check))?;
        let access::Invitation { uses, expires_in, labels } = invitation;
        let Made { text, record } =
            self.parts.access.invite(uses, labels, expires_in, &caller).await?;
        let (token, about) = (text.expose_secret().to_owned(), Some(access::token(record)));
        Ok(Response::new(v1::InviteExecutorsResponse { token, about }))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let (_, request) = self.enter(Rpc::ListTokens, request)?;
        let v1::ListTokensRequest { page_size: size, page_token } = request;
        let page = self.parts.access.tokens(page_size(size), &page_token).await?;
        let tokens = page.tokens.into_iter().map(access::token).collect();
        let (tokens, next_page_token) =
            fitting(tokens, page.next_page_token, |last: &v1::Token| last.id.clone());
        Ok(Response::new(v1::ListTokensResponse { tokens, next_page_token }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let (caller, request) = self.enter(Rpc::RevokeToken, request)?;
        let id = checked(|check| access::token_id(&request.id, check))?;
        let about = Some(access::token(self.parts.access.revoke(id, &caller).await?));
        Ok(Response::new(v1::RevokeTokenResponse { about }))
    }

    async fn grant_role(
        &self,
        request: Request<v1::GrantRoleRequest>,
    ) -> Result<Response<v1::GrantRoleResponse>, Status> {
        let (caller, request) = self.enter(Rpc::GrantRole, request)?;
        let v1::GrantRoleRequest { subject, role, job } = request;
        let (subject, role, job) = checked(|check| {
            let subject = access::subject(subject, check);
            let role = access::role(role, check);
            let job = access::job(&job, check);
            Some((subject?, role?, job?))
        })?;
        let record = self.parts.access.grant(subject.clone(), job, role, &caller).await?;
        let grant = Some(access::grant((subject, record)));
        Ok(Response::new(v1::GrantRoleResponse { grant }))
    }

    async fn revoke_role(
        &self,
        request: Request<v1::RevokeRoleRequest>,
    ) -> Result<Response<v1::RevokeRoleResponse>, Status> {
        let (caller, request) = self.enter(Rpc::RevokeRole, request)?;
        let v1::RevokeRoleRequest { subject, job } = request;
        let (subject, job) = checked(|check| {
            let subject = access::subject(subject, check);
            let job = access::job(&job, check);
            subject.zip(job)
        })?;
        self.parts.access.ungrant(subject, job, &caller).await?;
        Ok(Response::new(v1::RevokeRoleResponse {}))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let (_, request) = self.enter(Rpc::ListAudit, request)?;
        let wanted = checked(|check| audit::wanted(&request, check))?;
        let v1::ListAuditRequest { page_size: size, page_token, .. } = request;
        let AuditPage { entries, tokens, next_page_token } =
            self.parts.audit.list(&wanted, page_size(size), &page_token).await?;
        let (entries, next_page_token) = fitting_by(entries, next_page_token, tokens);
        Ok(Response::new(v1::ListAuditResponse { entries, next_page_token }))
    }

    async fn list_roles(
        &self,
        request: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        let (_, request) = self.enter(Rpc::ListRoles, request)?;
        let v1::ListRolesRequest { page_size: size, page_token } = request;
        let page = self.parts.access.roles(page_size(size), &page_token).await?;
        let token =
            |(subject, grant): &(Subject, GrantRecord)| role_token(subject, grant.job.as_ref());
        let tokens = page.grants.iter().map(token).collect();
        let grants = page.grants.into_iter().map(access::grant).collect();
        let (grants, next_page_token) = fitting_by(grants, page.next_page_token, tokens);
        Ok(Response::new(v1::ListRolesResponse { grants, next_page_token }))
    }
}
