//! Those who ask a controller that takes tokens, each with a token of its own.

use crate::{
    wire::Raw,
    world::{SOON, World, job, registration, span},
};
use bytes::Bytes;
use http::uri::PathAndQuery;
use octavius_controller::{
    configuration::{Authentication, Configuration},
    grpc::door::Rpc,
};
use octavius_protocol::v1;
use prost::Message;
use std::{collections::BTreeMap, time::Duration};
use tonic::{Request, Status, client::Grpc, metadata::MetadataValue, transport::Channel};

/// Asks with a token, or without one.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) channel: Channel,
    pub(crate) token: Option<String>,
}

impl Asker {
    pub(crate) async fn of(world: &World, token: Option<&str>) -> Self {
        Self { channel: world.channel().await, token: token.map(str::to_owned) }
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let bearer = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
            request.metadata_mut().insert("authorization", bearer);
        }
        request
    }

    /// What a call is answered first, encoded.
    pub(crate) async fn raw(&self, rpc: Rpc, request: Vec<u8>) -> Result<Bytes, Status> {
        let mut client = Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::try_from(format!("/octavius.v1.{}", rpc.name())).unwrap();
        let request = self.request(Bytes::from(request));
        let mut answer = client.server_streaming(request, path, Raw).await?.into_inner();
        Ok(answer.message().await?.unwrap_or_default())
    }

    /// What a call is answered.
    pub(crate) async fn ask<A: Message + Default>(
        &self,
        rpc: Rpc,
        request: impl Message,
    ) -> Result<A, Status> {
        let answered = self.raw(rpc, request.encode_to_vec()).await?;
        Ok(A::decode(answered).unwrap())
    }

    /// Makes a person's token; its text and its id.
    pub(crate) async fn token(&self, name: &str, groups: &[&str]) -> (String, String) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let request = v1::CreateTokenRequest { name: name.to_owned(), groups, expires_in: None };
        let made: v1::CreateTokenResponse = self.ask(Rpc::CreateToken, request).await.unwrap();
        (made.token, made.about.unwrap().id)
    }

    /// Gives a role to a person.
    pub(crate) async fn grant(&self, person: &str, role: v1::Role, job: &str) {
        let request = v1::GrantRoleRequest {
            subject: subject(person),
            role: role.into(),
            job: job.to_owned(),
        };
        self.ask::<v1::GrantRoleResponse>(Rpc::GrantRole, request).await.unwrap();
    }

    /// Makes a token for so many executors with these labels.
    pub(crate) async fn invite(&self, uses: u32, labels: &[(&str, &str)]) -> (String, String) {
        let request = v1::InviteExecutorsRequest {
            uses,
            expires_in: Some(span(SOON)),
            labels: texts(labels),
        };
        let made: v1::InviteExecutorsResponse =
            self.ask(Rpc::InviteExecutors, request).await.unwrap();
        (made.token, made.about.unwrap().id)
    }
}

pub(crate) fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn subject(person: &str) -> Option<v1::Subject> {
    Some(v1::Subject { is: Some(v1::subject::Is::Person(person.to_owned())) })
}

/// A controller that takes tokens, and its first administrator: made while it was open.
pub(crate) async fn guarded() -> (World, Asker) {
    guarded_with(|_| {}, async |world| world.channel().await).await
}

/// The same where `change` says more of it, and `connect` how it is reached then.
pub(crate) async fn guarded_with(
    change: impl FnOnce(&mut Configuration),
    connect: impl AsyncFnOnce(&World) -> Channel,
) -> (World, Asker) {
    let mut world = World::start().await;
    let open = Asker::of(&world, None).await;
    let (token, _) = open.token("root@example.org", &[]).await;
    open.grant("root@example.org", v1::Role::Admin, "").await;
    world.configuration.authentication = Authentication::Tokens;
    change(&mut world.configuration);
    let world = world.restart().await;
    let admin = Asker { channel: connect(&world).await, token: Some(token) };
    (world, admin)
}

/// A job for one group.
pub(crate) fn for_sre(name: &str) -> v1::JobDefinition {
    v1::JobDefinition { authorized_groups: vec!["sre".to_owned()], ..job(name) }
}

pub(crate) async fn create(admin: &Asker, definition: v1::JobDefinition) {
    let request = v1::CreateJobRequest { definition: Some(definition), dry_run: false };
    admin.ask::<v1::CreateJobResponse>(Rpc::CreateJob, request).await.unwrap();
}

pub(crate) async fn execute(asker: &Asker, job: &str) -> Result<v1::Execution, Status> {
    let request = v1::ExecuteRequest { job: job.to_owned(), ..Default::default() };
    let executed: v1::ExecuteResponse = asker.ask(Rpc::Execute, request).await?;
    Ok(executed.execution.unwrap())
}

/// An executor that has joined, and its session.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) asker: Asker,
    pub(crate) session: u64,
}

pub(crate) async fn join(world: &World, id: &str, token: &str) -> Result<Joined, Status> {
    let joins = Asker::of(world, Some(token)).await;
    let registered: v1::RegisterResponse = joins.ask(Rpc::Register, registration(id, 1, 1)).await?;
    assert!(!registered.credential.is_empty());
    let asker = Asker::of(world, Some(&registered.credential)).await;
    Ok(Joined { asker, session: registered.session })
}

impl Joined {
    pub(crate) async fn granted(&self) -> v1::LeaseName {
        let (session, wait) = (self.session, Some(span(Duration::from_secs(5))));
        let poll = v1::PollRequest { session, free: 1, wait, held: Vec::new() };
        let mut polled: v1::PollResponse = self.asker.ask(Rpc::Poll, poll).await.unwrap();
        polled.grants.pop().expect("a grant").name.unwrap()
    }

    pub(crate) async fn report(
        &self,
        lease: &v1::LeaseName,
        event: v1::report_request::Event,
    ) -> Result<v1::ReportVerdict, Status> {
        let (session, lease, event) = (self.session, Some(lease.clone()), Some(event));
        let report = v1::ReportRequest { session, lease, event };
        let answer: v1::ReportResponse = self.asker.ask(Rpc::Report, report).await?;
        Ok(answer.verdict())
    }

    pub(crate) async fn run(&self, lease: &v1::LeaseName) {
        use v1::report_request::Event;
        let prepared = v1::Prepared { identity: "made".to_owned() };
        for event in [Event::Prepared(prepared), Event::Running(v1::Running::default())] {
            let verdict = self.report(lease, event).await.unwrap();
            assert_eq!(verdict, v1::ReportVerdict::Recorded);
        }
    }

    pub(crate) async fn append(&self, lease: &v1::LeaseName, offset: u64) -> v1::AppendResponse {
        let chunk = v1::AppendChunk {
            observed_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            data: "kept\n".into(),
        };
        let append = v1::AppendRequest {
            session: self.session,
            lease: Some(lease.clone()),
            offset,
            chunks: vec![chunk],
            cursor: Vec::new(),
        };
        self.asker.ask(Rpc::Append, append).await.unwrap()
    }
}
