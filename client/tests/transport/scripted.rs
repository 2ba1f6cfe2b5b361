//! A controller that says what a test tells it to say, over a real connection.
//!
//! For what a real controller cannot be made to do on demand: to break off in the middle, to be busy, to say nothing.

use octavius_client::{Client, Settings, v1};
use secrecy::SecretString;
use std::{collections::VecDeque, future::pending, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{Mutex, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, metadata::MetadataMap};

/// What the controller does with one call.
pub(crate) enum Say {
    /// Answers so.
    Execution(Box<v1::Execution>),
    Executions(v1::ListExecutionsResponse),
    /// Streams these, then does what follows.
    Log(Vec<v1::ReadLogResponse>, Then),
    /// Refuses so.
    No(Status),
    /// Never answers.
    Nothing,
}

/// What follows the last message of a stream.
pub(crate) enum Then {
    /// The stream ends as if all was well.
    Ends,
    /// The stream ends with a status.
    Fails(Status),
    /// Nothing comes any more.
    Hangs,
}

/// What the controller was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Execute(v1::ExecuteRequest),
    Get(String),
    List(v1::ListExecutionsRequest),
    Read(v1::ReadLogRequest),
    /// Is answered with yes, and not in the script, unless that refuses next.
    Unset(v1::UnsetSecretRequest),
    /// The same.
    Delete(v1::DeleteJobRequest),
}

#[derive(Default)]
struct State {
    script: VecDeque<Say>,
    asked: Vec<(Asked, MetadataMap)>,
}

#[derive(Clone, Default)]
struct Service(Arc<Mutex<State>>);

impl Service {
    async fn say(&self, asked: Asked, metadata: &MetadataMap) -> Result<Say, Status> {
        let mut state = self.0.lock().await;
        state.asked.push((asked, metadata.clone()));
        match state.script.pop_front() {
            Some(Say::No(status)) => Err(status),
            Some(Say::Nothing) => {
                drop(state);
                pending().await
            }
            Some(say) => Ok(say),
            None => Err(Status::internal("the script is over")),
        }
    }

    /// Says yes, unless the script refuses next.
    async fn yes(&self, asked: Asked, metadata: MetadataMap) -> Result<(), Status> {
        let mut state = self.0.lock().await;
        state.asked.push((asked, metadata));
        match state.script.pop_front_if(|next| matches!(next, Say::No(_))) {
            Some(Say::No(status)) => Err(status),
            _ => Ok(()),
        }
    }
}

fn off_script<T>() -> Result<T, Status> {
    Err(Status::internal("the script has another answer here"))
}

#[tonic::async_trait]
impl v1::executions_server::Executions for Service {
    type ReadLogStream = ReceiverStream<Result<v1::ReadLogResponse, Status>>;

    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        match self.say(Asked::Execute(message), &metadata).await? {
            Say::Execution(execution) => Ok(Response::new(v1::ExecuteResponse {
                execution: Some(*execution),
                created: true,
            })),
            _ => off_script(),
        }
    }

    async fn rerun(
        &self,
        _request: Request<v1::RerunRequest>,
    ) -> Result<Response<v1::RerunResponse>, Status> {
        off_script()
    }

    async fn get_execution(
        &self,
        request: Request<v1::GetExecutionRequest>,
    ) -> Result<Response<v1::GetExecutionResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        match self.say(Asked::Get(message.id), &metadata).await? {
            Say::Execution(execution) => Ok(Response::new(v1::GetExecutionResponse {
                execution: Some(*execution),
                ..Default::default()
            })),
            _ => off_script(),
        }
    }

    async fn list_executions(
        &self,
        request: Request<v1::ListExecutionsRequest>,
    ) -> Result<Response<v1::ListExecutionsResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        match self.say(Asked::List(message), &metadata).await? {
            Say::Executions(page) => Ok(Response::new(page)),
            _ => off_script(),
        }
    }

    async fn cancel(
        &self,
        _request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        off_script()
    }

    async fn read_log(
        &self,
        request: Request<v1::ReadLogRequest>,
    ) -> Result<Response<Self::ReadLogStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let Say::Log(messages, then) = self.say(Asked::Read(message), &metadata).await? else {
            return off_script();
        };
        let (send, receive) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for message in messages {
                send.send(Ok(message)).await.ok();
            }
            match then {
                Then::Ends => {}
                Then::Fails(status) => drop(send.send(Err(status)).await),
                Then::Hangs => send.closed().await,
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

#[tonic::async_trait]
impl v1::secrets_server::Secrets for Service {
    async fn set_secret(
        &self,
        _request: Request<v1::SetSecretRequest>,
    ) -> Result<Response<v1::SetSecretResponse>, Status> {
        off_script()
    }

    async fn list_secrets(
        &self,
        _request: Request<v1::ListSecretsRequest>,
    ) -> Result<Response<v1::ListSecretsResponse>, Status> {
        off_script()
    }

    async fn unset_secret(
        &self,
        request: Request<v1::UnsetSecretRequest>,
    ) -> Result<Response<v1::UnsetSecretResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.yes(Asked::Unset(message), metadata).await?;
        Ok(Response::new(v1::UnsetSecretResponse::default()))
    }
}

#[tonic::async_trait]
impl v1::jobs_server::Jobs for Service {
    async fn create_job(
        &self,
        _request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        off_script()
    }

    async fn describe_job(
        &self,
        _request: Request<v1::DescribeJobRequest>,
    ) -> Result<Response<v1::DescribeJobResponse>, Status> {
        off_script()
    }

    async fn update_job(
        &self,
        _request: Request<v1::UpdateJobRequest>,
    ) -> Result<Response<v1::UpdateJobResponse>, Status> {
        off_script()
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        self.yes(Asked::Delete(message), metadata).await?;
        Ok(Response::new(v1::DeleteJobResponse::default()))
    }

    async fn list_jobs(
        &self,
        _request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        off_script()
    }
}

/// A controller with a script, and what it was asked so far. Ends with the test.
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    service: Service,
    ending: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// What a real one takes of one connection at a time.
const MOST_STREAMS: u32 = 1_024;

impl Controller {
    pub(crate) async fn start(script: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, script)
    }

    /// Serves whoever connects from now on.
    pub(crate) fn serve(listener: TcpListener, script: impl IntoIterator<Item = Say>) -> Self {
        Self::serve_some(listener, script, MOST_STREAMS)
    }

    /// The same, and takes so many calls at a time on a connection.
    pub(crate) fn serve_some(
        listener: TcpListener,
        script: impl IntoIterator<Item = Say>,
        streams: u32,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let state = State { script: script.into_iter().collect(), ..State::default() };
        let service = Service(Arc::new(Mutex::new(state)));
        let executions = v1::executions_server::ExecutionsServer::new(service.clone());
        let secrets = v1::secrets_server::SecretsServer::new(service.clone());
        let jobs = v1::jobs_server::JobsServer::new(service.clone());
        let (ending, mut ends) = watch::channel(false);
        let serving = tokio::spawn(async move {
            let connections = TcpListenerStream::new(listener);
            let mut server = tonic::transport::Server::builder().max_concurrent_streams(streams);
            let server = server.add_service(executions).add_service(secrets).add_service(jobs);
            let end = async move { drop(ends.wait_for(|ends| *ends).await) };
            server.serve_with_incoming_shutdown(connections, end).await.unwrap();
        });
        Self { address, service, ending, serving }
    }

    /// Takes no more calls, and goes on with those that it has.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    pub(crate) async fn asked(&self) -> Vec<Asked> {
        let state = self.service.0.lock().await;
        state.asked.iter().map(|(asked, _)| asked.clone()).collect()
    }

    pub(crate) async fn metadata(&self) -> Vec<MetadataMap> {
        let state = self.service.0.lock().await;
        state.asked.iter().map(|(_, metadata)| metadata.clone()).collect()
    }

    /// A client that may take 10 seconds.
    pub(crate) fn client(&self) -> Client {
        client(self.address, Duration::from_secs(10))
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) fn settings(address: SocketAddr, timeout: Duration) -> Settings {
    Settings {
        ca_file: None,
        address: format!("http://{address}"),
        email: Some("ada@example.com".to_owned()),
        token: Some(SecretString::from("t0p")),
        timeout,
    }
}

pub(crate) fn client(address: SocketAddr, timeout: Duration) -> Client {
    Client::new(&settings(address, timeout)).unwrap()
}

pub(crate) fn execution(state: v1::ExecutionState) -> v1::Execution {
    v1::Execution {
        id: "0".repeat(26),
        attempt: 1,
        state: state.into(),
        ..v1::Execution::default()
    }
}

/// Bytes of a log, and up to where it is durable by then, as its messages have them.
pub(crate) fn chunk(offset: usize, data: &[u8], durable: usize) -> v1::ReadLogResponse {
    let chunk = v1::LogChunk {
        offset: offset as u64,
        data: data.to_vec().into(),
        durable_offset: durable as u64,
        observed_at: None,
    };
    v1::ReadLogResponse { part: Some(v1::read_log_response::Part::Chunk(chunk)) }
}

/// The end of a log.
pub(crate) fn end(size: usize) -> v1::ReadLogResponse {
    let end = v1::LogEnd { size: size as u64, ..v1::LogEnd::default() };
    v1::ReadLogResponse { part: Some(v1::read_log_response::Part::End(end)) }
}
