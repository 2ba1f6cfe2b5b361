//! What can be asked about jobs.

use super::{Client, PAGE, call::Repeat};
use crate::error::Error;
use octavius_protocol::v1;

/// How a job is given other content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Also where there is none of that name.
    pub create: bool,
    /// Nothing is stored; the answer says what would be.
    pub dry_run: bool,
    /// Only where this is the newest version; 0: whichever is.
    pub expected_version: u64,
}

impl Client {
    /// Stores a new job. Creating it again with equal content succeeds and changes nothing.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn create_job(
        &self,
        definition: v1::JobDefinition,
    ) -> Result<v1::CreateJobResponse, Error> {
        self.send_job(definition, false).await
    }

    /// Has a new job checked, and stores nothing; the answer says what would be stored.
    ///
    /// # Errors
    /// Where the controller would refuse the job, or does not answer.
    pub async fn check_job(
        &self,
        definition: v1::JobDefinition,
    ) -> Result<v1::CreateJobResponse, Error> {
        self.send_job(definition, true).await
    }

    async fn send_job(
        &self,
        definition: v1::JobDefinition,
        dry_run: bool,
    ) -> Result<v1::CreateJobResponse, Error> {
        let message = v1::CreateJobRequest { definition: Some(definition), dry_run };
        self.call(message, Repeat::IfBroken, |request| {
            let mut jobs = self.jobs_service();
            async move { jobs.create_job(request).await }
        })
        .await
    }

    /// The newest version of the job `name`.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn describe_job(&self, name: &str) -> Result<v1::Job, Error> {
        self.whole(self.describe_job_version(name, 0).await?.job)
    }

    /// One version of the job `name` (0: the newest), with what is known of its secrets.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn describe_job_version(
        &self,
        name: &str,
        version: u64,
    ) -> Result<v1::DescribeJobResponse, Error> {
        let message = v1::DescribeJobRequest { name: name.to_owned(), version };
        self.call(message, Repeat::IfBroken, |request| {
            let mut jobs = self.jobs_service();
            async move { jobs.describe_job(request).await }
        })
        .await
    }

    /// Gives a job other content. Equal content changes nothing, so that asking again is safe.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn update_job(
        &self,
        definition: v1::JobDefinition,
        update: Update,
    ) -> Result<v1::UpdateJobResponse, Error> {
        let Update { create, dry_run, expected_version } = update;
        let definition = Some(definition);
        let message = v1::UpdateJobRequest { definition, create, dry_run, expected_version };
        self.call(message, Repeat::IfBroken, |request| {
            let mut jobs = self.jobs_service();
            async move { jobs.update_job(request).await }
        })
        .await
    }

    /// Deletes a job, with `force` also while executions of it wait, which are cancelled then, or run. How many were
    /// cancelled. Not asked again where it may have been done: a second try would find no job.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn delete_job(&self, name: &str, force: bool) -> Result<u64, Error> {
        let message = v1::DeleteJobRequest { name: name.to_owned(), force };
        let deleted = self.call(message, Repeat::IfNothingDone, |request| {
            let mut jobs = self.jobs_service();
            async move { jobs.delete_job(request).await }
        });
        Ok(deleted.await?.cancelled)
    }

    /// All jobs that the caller may see, by name.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn jobs(&self) -> Result<Vec<v1::Job>, Error> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let message = v1::ListJobsRequest { page_size: PAGE, page_token };
            let page = self.call(message, Repeat::IfBroken, |request| {
                let mut jobs = self.jobs_service();
                async move { jobs.list_jobs(request).await }
            });
            let page = page.await?;
            all.extend(page.jobs);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(all);
            }
        }
    }
}
