//! A controller, seen from outside: a method for each thing that a user can ask it. Of several that are named, the one
//! that answers is asked.
//!
//! A call ends within the settings' time-out. What is safe to repeat is repeated inside it: nearly everything here is,
//! because reading changes nothing, a job is created once for equal content, a cancel is a wish that holds, a secret is set
//! to the same value, and `execute` and `rerun` carry a request id of their own. To delete a job, to unset a secret, and to
//! make or end a token are asked again only while it is certain that nothing was done: a second time they would find
//! nothing, or make another one. What was not sent
//! because the controller was ending is sent to the next one; of calls that wait for room on a connection the transport may
//! hold one as if it were sent. An error says that nothing was done only where that is true of each try. Waiting and
//! following outlive an outage of the controller of up to [`Client::PATIENCE`].

mod access;
mod call;
mod jobs;
mod pages;
mod secrets;

pub use access::AuditPages;
pub use jobs::Update;
pub use pages::ExecutionPages;

use crate::{
    error::Error,
    follow::{self, LogStream},
    pause::Pauses,
    settings::Settings,
    state::is_final,
    values,
};
use call::{Credentials, Repeat};
use octavius_protocol::{
    MAX_MESSAGE,
    reach::{Address, Reach, ReachOptions, addresses, tls},
    v1::{
        self, executions_client::ExecutionsClient, executors_client::ExecutorsClient,
        jobs_client::JobsClient, system_client::SystemClient,
    },
};
use std::{collections::BTreeMap, error::Error as _, time::Duration};
use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;

/// How many entries are asked for at once.
const PAGE: u32 = 100;
/// For how long a call waits for an end: shorter than what gateways let be silent.
const PARKED: Duration = Duration::from_secs(20);

pub(crate) type Wire = InterceptedService<Reach, Credentials>;

/// Asks a controller. Cheap to clone; clones share a connection.
#[derive(Clone, Debug)]
pub struct Client {
    wire: Wire,
    reach: Reach,
    address: String,
    timeout: Duration,
    patience: Duration,
}

impl Client {
    /// How long an outage may last before waiting and following give up, if nothing else was asked for.
    pub const PATIENCE: Duration = Duration::from_secs(300);
    /// A controller that is full and says that it has room after this time at the most is asked again then; a longer pause
    /// is the caller's to decide.
    pub const LONGEST_TURN: Duration = Duration::from_secs(2);

    /// A client for the controllers that `settings` name. Nothing is sent yet: the first call connects. The file with
    /// the authority of their certificates is read here.
    ///
    /// # Errors
    /// Where the settings hold what cannot be sent.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let unusable = |what: &str| Error::Settings(format!("{what} cannot be used as it is"));
        let ca = settings.ca_file.as_deref();
        let addresses = addresses(&settings.address, ca.is_some())
            .map_err(|problem| Error::Settings(format!("CP_HOST {problem}")))?;
        let tls = addresses.iter().any(Address::is_tls).then(|| tls::trusting(ca)).transpose();
        let ca_key = Settings::CA_KEY;
        let tls = tls.map_err(|problem| Error::Settings(format!("{ca_key} {problem}")))?;
        let reach = Reach::new(ReachOptions {
            addresses,
            tls,
            ca_key,
            connect_within: settings.timeout,
            user_agent: concat!("octavius/", env!("CARGO_PKG_VERSION")),
        });
        let reach = reach.map_err(|error| {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            Error::Settings(format!(
                "TLS cannot be set up ({cause}): name the PEM file of the authority that is trusted with {ca_key}"
            ))
        })?;
        let credentials =
            Credentials::new(settings).ok_or_else(|| unusable("EMAIL_ID or ACCESS_TOKEN"))?;
        Ok(Self {
            wire: InterceptedService::new(reach.clone(), credentials),
            reach,
            address: settings.address.clone(),
            timeout: settings.timeout,
            patience: Self::PATIENCE,
        })
    }

    /// The same client, whose waiting and following outlive an outage of up to `patience`.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The controller's address as a URI; of several, all with commas between them.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks to run `job`. After the answer the execution is on disk. While nobody answers it asks again with the same
    /// request id, so that one execution comes of it at the most.
    ///
    /// # Errors
    /// Where a value cannot be passed on, or the controller refuses or does not answer in time. In the last case the execution may
    /// exist.
    pub async fn execute(
        &self,
        job: &str,
        arguments: BTreeMap<String, String>,
    ) -> Result<v1::Execution, Error> {
        let job = job.to_owned();
        let request = v1::ExecuteRequest { job, arguments, ..v1::ExecuteRequest::default() };
        self.execute_with(request).await
    }

    /// The same for a request that says more than job and arguments. It gets a request id if it has none.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub async fn execute_with(&self, request: v1::ExecuteRequest) -> Result<v1::Execution, Error> {
        values::check(&request.job, &request.arguments)?;
        let request_id = request_id(request.request_id);
        let message = v1::ExecuteRequest { request_id, ..request };
        let accepted = self.call(message, Repeat::Always, |request| {
            let mut executions = self.executions_service();
            async move { executions.execute(request).await }
        });
        self.whole(accepted.await?.execution)
    }

    /// Asks to run again what an execution ran, and answers the new one. The request gets a request id if it has none; while
    /// nobody answers it is asked again, and one execution comes of it at the most.
    ///
    /// # Errors
    /// As [`Client::execute`].
    pub async fn rerun(&self, request: v1::RerunRequest) -> Result<v1::Execution, Error> {
        values::check(&request.id, &request.arguments)?;
        let request_id = request_id(request.request_id);
        let message = v1::RerunRequest { request_id, ..request };
        let accepted = self.call(message, Repeat::Always, |request| {
            let mut executions = self.executions_service();
            async move { executions.rerun(request).await }
        });
        self.whole(accepted.await?.execution)
    }

    /// One execution, as it stands.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn execution(&self, id: &str) -> Result<v1::Execution, Error> {
        self.parked_execution(id, Duration::ZERO).await
    }

    /// One execution as it stands, and why each executor could take it or not.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn explain(&self, id: &str) -> Result<v1::GetExecutionResponse, Error> {
        let message = v1::GetExecutionRequest { id: id.to_owned(), wait: None, explain: true };
        self.call(message, Repeat::IfBroken, |request| {
            let mut executions = self.executions_service();
            async move { executions.get_execution(request).await }
        })
        .await
    }

    /// Executions, the newest first: of one job or of all, all or the first `limit`.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn executions(
        &self,
        job: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<v1::Execution>, Error> {
        let job = job.unwrap_or_default().to_owned();
        self.find_executions(v1::ListExecutionsRequest { job, ..Default::default() }, limit).await
    }

    /// The executions that `wanted` asks for, the newest first: all of them, or the first `limit`.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn find_executions(
        &self,
        wanted: v1::ListExecutionsRequest,
        limit: Option<usize>,
    ) -> Result<Vec<v1::Execution>, Error> {
        let mut pages = self.execution_pages(wanted, limit);
        let mut all = Vec::new();
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// One page of executions. It may be short, or empty, and go on nevertheless: its token says so.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn executions_page(
        &self,
        wanted: v1::ListExecutionsRequest,
    ) -> Result<v1::ListExecutionsResponse, Error> {
        self.call(wanted, Repeat::IfBroken, |request| {
            let mut executions = self.executions_service();
            async move { executions.list_executions(request).await }
        })
        .await
    }

    /// Asks that an execution end, and answers how it stands now.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn cancel(&self, id: &str) -> Result<v1::Execution, Error> {
        self.cancel_with(v1::CancelRequest { id: id.to_owned(), force: false }).await
    }

    /// Ends an execution without waiting for the word of its executor: what runs there may go on.
    ///
    /// # Errors
    /// As [`Client::cancel`].
    pub async fn force_cancel(&self, id: &str) -> Result<v1::Execution, Error> {
        self.cancel_with(v1::CancelRequest { id: id.to_owned(), force: true }).await
    }

    async fn cancel_with(&self, message: v1::CancelRequest) -> Result<v1::Execution, Error> {
        let wished = self.call(message, Repeat::IfBroken, |request| {
            let mut executions = self.executions_service();
            async move { executions.cancel(request).await }
        });
        self.whole(wished.await?.execution)
    }

    /// All executors that the controller knows, by id.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn executors(&self) -> Result<Vec<v1::Executor>, Error> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let message = v1::ListExecutorsRequest { page_size: PAGE, page_token };
            let page = self.call(message, Repeat::IfBroken, |request| {
                let mut executors = self.executors_service();
                async move { executors.list_executors(request).await }
            });
            let page = page.await?;
            all.extend(page.executors);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Ends new work for the executor `id`, or begins it again; what it holds goes on. The executor as it is then.
    ///
    /// # Errors
    /// Where there is no such executor, or the controller refuses or does not answer.
    pub async fn drain_executor(&self, id: &str, undrain: bool) -> Result<v1::Executor, Error> {
        let message = v1::DrainExecutorRequest { executor: id.to_owned(), undrain };
        let drained = self.call(message, Repeat::IfBroken, |request| {
            let mut executors = self.executors_service();
            async move { executors.drain_executor(request).await }
        });
        self.whole(drained.await?.executor)
    }

    /// Forgets the executor `id`, which is gone for good. How many attempts ended as lost with that.
    ///
    /// # Errors
    /// Where there is no such executor, or it is heard; where the controller refuses or does not answer.
    pub async fn forget_executor(&self, id: &str) -> Result<u32, Error> {
        let message = v1::ForgetExecutorRequest { executor: id.to_owned() };
        let forgotten = self.call(message, Repeat::IfNothingDone, |request| {
            let mut executors = self.executors_service();
            async move { executors.forget_executor(request).await }
        });
        Ok(forgotten.await?.lost)
    }

    /// What the controller is.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn version(&self) -> Result<v1::GetVersionResponse, Error> {
        self.call(v1::GetVersionRequest {}, Repeat::IfBroken, |request| {
            let mut system = self.system_service();
            async move { system.get_version(request).await }
        })
        .await
    }

    /// The log of one attempt (0 is the newest) from `offset` on; with `follow` until the log ends, else what is there.
    /// A stream that is cut is taken up again by itself, and no byte is delivered twice.
    ///
    /// # Errors
    /// Where the execution is not known, or the controller does not answer. Later errors come in the stream, which
    /// they end.
    pub async fn follow_log(
        &self,
        execution: &str,
        attempt: u32,
        offset: u64,
        follow: bool,
    ) -> Result<LogStream, Error> {
        let execution = execution.to_owned();
        let rest = v1::ReadLogRequest::default();
        self.read_log(v1::ReadLogRequest { execution, attempt, offset, follow, ..rest }).await
    }

    /// What `request` wants of a log: like [`Client::follow_log`], and by lines and times, too.
    ///
    /// # Errors
    /// As there.
    pub async fn read_log(&self, request: v1::ReadLogRequest) -> Result<LogStream, Error> {
        // Asked once, so that a later attempt does not continue the log of this one after a cut.
        let found = self.execution(&request.execution).await?;
        let attempt = if request.attempt == 0 { found.attempt } else { request.attempt };
        let request = v1::ReadLogRequest { execution: found.id, attempt, ..request };
        Ok(follow::stream(self.clone(), request))
    }

    /// Waits until an execution is final, and hears of it at once: the controller keeps the call until then.
    ///
    /// # Errors
    /// Where the execution is not known, or the controller stays away for longer than the client's patience.
    pub async fn wait(&self, id: &str) -> Result<v1::Execution, Error> {
        self.watch(id, Some(PARKED), |_| false).await
    }

    /// Waits until an execution is final or `enough` says yes, which hears of it each time it has changed: of a change
    /// within a second, of the end at once.
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub async fn wait_until(
        &self,
        id: &str,
        enough: impl FnMut(&v1::Execution) -> bool,
    ) -> Result<v1::Execution, Error> {
        self.watch(id, None, enough).await
    }

    /// Waits as [`Client::wait_until`]. A call is parked for as long as `parked`; none: for a moment, because what
    /// happens before the end is of interest too.
    async fn watch(
        &self,
        id: &str,
        parked: Option<Duration>,
        mut enough: impl FnMut(&v1::Execution) -> bool,
    ) -> Result<v1::Execution, Error> {
        let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut outages = Pauses::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut last: Option<v1::Execution> = None;
        let mut heard = Instant::now();
        loop {
            let asked = Instant::now();
            let pause = pauses.next();
            // Asked without waiting first, so that who is told nothing at all learns that at once.
            let wait = last.as_ref().map_or(Duration::ZERO, |_| parked.unwrap_or(pause));
            match self.parked_execution(id, wait).await {
                Ok(found) => {
                    heard = Instant::now();
                    outages.reset();
                    let mut done = is_final(found.state());
                    if last.as_ref() != Some(&found) {
                        pauses.reset();
                        done |= enough(&found);
                    }
                    if done {
                        return Ok(found);
                    }
                    last = Some(found);
                    // A controller that does not know of waiting answers too early.
                    tokio::time::sleep(wait.saturating_sub(asked.elapsed()).min(pause)).await;
                }
                Err(error)
                    if is_outage(&error) && last.is_some() && heard.elapsed() < self.patience =>
                {
                    tokio::time::sleep(outages.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One execution when it is final, or as it stands after `wait`.
    async fn parked_execution(&self, id: &str, wait: Duration) -> Result<v1::Execution, Error> {
        let span = prost_types::Duration::try_from(wait).ok().filter(|_| !wait.is_zero());
        let message = v1::GetExecutionRequest { id: id.to_owned(), wait: span, explain: false };
        let within = self.timeout + wait;
        let found = self.call_within(within, message, Repeat::IfBroken, |request| {
            let mut executions = self.executions_service();
            async move { executions.get_execution(request).await }
        });
        self.whole(found.await?.execution)
    }

    /// What the answer has to hold, or that it does not.
    fn whole<T>(&self, part: Option<T>) -> Result<T, Error> {
        let broken = || tonic::Status::internal("the controller's answer lacks what was asked for");
        part.ok_or_else(|| Error::from_status(&self.address, &broken(), self.timeout))
    }

    fn jobs_service(&self) -> JobsClient<Wire> {
        JobsClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(crate) fn executions_service(&self) -> ExecutionsClient<Wire> {
        ExecutionsClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn executors_service(&self) -> ExecutorsClient<Wire> {
        ExecutorsClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn system_service(&self) -> SystemClient<Wire> {
        SystemClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// What names a wish, so that it can be said again: a new name where it has none.
fn request_id(given: String) -> String {
    if given.is_empty() { uuid::Uuid::new_v4().to_string() } else { given }
}

/// Whether an error says of a wish that was heard before no more than: ask later.
fn is_outage(error: &Error) -> bool {
    match error {
        Error::Unanswered { .. } => true,
        // The controller has too much to do, and says so, or the question came too slowly.
        Error::Refused(refusal) => refusal.passes(),
        Error::Given(_) | Error::Settings(_) | Error::File { .. } => false,
    }
}
