//! Lists of executions that are too long to be held whole.

use super::{Client, PAGE};
use crate::error::Error;
use octavius_protocol::v1;

/// Executions page by page, the newest first: see [`Client::execution_pages`].
#[derive(Debug)]
pub struct ExecutionPages {
    client: Client,
    wanted: v1::ListExecutionsRequest,
    /// How many are still to be handed out at the most.
    left: usize,
}

impl Client {
    /// The executions that `wanted` asks for, as [`Client::find_executions`] answers them, one page after the other.
    /// Nothing is asked until the first is wanted.
    pub fn execution_pages(
        &self,
        wanted: v1::ListExecutionsRequest,
        limit: Option<usize>,
    ) -> ExecutionPages {
        ExecutionPages { client: self.clone(), wanted, left: limit.unwrap_or(usize::MAX) }
    }
}

impl ExecutionPages {
    /// The next page, which holds at least one; none: there are no more, or the limit is reached.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer. The same page can be asked for again then.
    pub async fn next(&mut self) -> Result<Option<Vec<v1::Execution>>, Error> {
        while self.left > 0 {
            self.wanted.page_size = u32::try_from(self.left).unwrap_or(PAGE).min(PAGE);
            let page = self.client.executions_page(self.wanted.clone()).await?;
            let mut executions = page.executions;
            executions.truncate(self.left);
            self.left =
                if page.next_page_token.is_empty() { 0 } else { self.left - executions.len() };
            self.wanted.page_token = page.next_page_token;
            if !executions.is_empty() {
                return Ok(Some(executions));
            }
        }
        Ok(None)
    }
}
