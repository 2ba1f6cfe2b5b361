//! One connection as a backend.

use super::{dial::Connected, errors};
use crate::store::{
    Entry, Page, Range, Write,
    backend::{Backend, CommitError, Compare, Outcome, RangeError, Snapshot, Transaction},
    keys,
};
use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{Compare as EtcdCompare, CompareOp, GetOptions, GetResponse, Txn, TxnOp};
use futures::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

/// How many entries of a snapshot are read at a time.
const PART: usize = 1_000;
/// For how long that may take.
const PART_WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of one page. What is larger is asked for in smaller ones.
const MOST_PAGE_BYTES: usize = 4 << 20;

/// Reads and writes through one member.
#[derive(Clone, Debug)]
pub(super) struct EtcdBackend {
    connected: Connected,
    prefix: String,
}

impl EtcdBackend {
    pub(super) fn new(connected: Connected, prefix: &str) -> Self {
        Self { connected, prefix: prefix.to_owned() }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn compare(&self, compare: &Compare) -> EtcdCompare {
        match compare {
            Compare::Absent(key) => {
                EtcdCompare::create_revision(self.key(key), CompareOp::Equal, 0)
            }
            Compare::Holds(key, value) => {
                EtcdCompare::value(self.key(key), CompareOp::Equal, value.to_vec())
            }
        }
    }

    fn write(&self, write: &Write) -> TxnOp {
        match write {
            Write::Put(key, value) => TxnOp::put(self.key(key), value.to_vec(), None),
            Write::Delete(key) => TxnOp::delete(self.key(key), None),
        }
    }

    /// A page as it is now, or was at a revision.
    async fn get(
        &self,
        range: &Range,
        revision: Option<i64>,
    ) -> Result<GetResponse, etcd_client::Error> {
        let mut limit = i64::try_from(range.limit.max(1)).unwrap_or(i64::MAX);
        loop {
            let options = GetOptions::new()
                .with_range(self.key(&range.end))
                .with_limit(limit)
                .with_revision(revision.unwrap_or_default());
            let got = self.connected.call(|client| {
                let mut kv = client.kv_client().max_decoding_message_size(MOST_PAGE_BYTES);
                let (start, options) = (self.key(&range.start), options.clone());
                async move { kv.get(start, Some(options)).await }
            });
            match got.await {
                Err(error) if errors::is_too_large(&error) && limit > 1 => {
                    limit = (limit / 4).max(1);
                }
                answer => return answer,
            }
        }
    }

    fn unread(&self, error: &etcd_client::Error) -> RangeError {
        self.connected.failed();
        RangeError(format!("etcd at {}: {}", self.connected.endpoint, errors::said(error)))
    }

    fn page(&self, found: &mut GetResponse) -> Result<Page, RangeError> {
        let more = found.more();
        let entries = found.take_kvs().into_iter().map(|found| {
            let (key, value) = found.into_key_value();
            let key = key.get(self.prefix.len()..).unwrap_or_default().to_vec();
            let key = String::from_utf8(key).map_err(|error| {
                let key = String::from_utf8_lossy(error.as_bytes()).into_owned();
                RangeError(format!("the key `{key}` is no text: remove it from etcd"))
            })?;
            Ok(Entry { key, value: Bytes::from(value) })
        });
        Ok(Page { entries: entries.collect::<Result<_, RangeError>>()?, more })
    }
}

#[async_trait]
impl Backend for EtcdBackend {
    async fn range(&self, range: Range) -> Result<Page, RangeError> {
        if range.start >= range.end {
            return Ok(Page::default());
        }
        match self.get(&range, None).await {
            Ok(mut found) => self.page(&mut found),
            Err(error) => Err(self.unread(&error)),
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, RangeError> {
        let backend = self.clone();
        let first = Some((Range::prefix(keys::ALL, PART), None));
        let parts = futures::stream::try_unfold(first, move |next| {
            let backend = backend.clone();
            async move {
                let Some((range, revision)) = next else { return Ok(None) };
                let reading = timeout(PART_WITHIN, backend.get(&range, revision)).await;
                let late = |_| RangeError(format!("etcd: no answer within {PART_WITHIN:?}"));
                let mut found = reading.map_err(late)?.map_err(|error| backend.unread(&error))?;
                // The first page says at which revision all is read.
                let revision =
                    revision.or_else(|| found.header().map(etcd_client::ResponseHeader::revision));
                let page = backend.page(&mut found)?;
                let last = page.entries.last().map(|last| last.key.clone()).filter(|_| page.more);
                Ok(Some((page.entries, last.map(|last| (range.after(&last), revision)))))
            }
        });
        Ok(parts.boxed())
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, CommitError> {
        let compares: Vec<_> =
            transaction.compares().iter().map(|compare| self.compare(compare)).collect();
        let writes: Vec<_> = transaction.writes().iter().map(|write| self.write(write)).collect();
        let txn = Txn::new().when(compares).and_then(writes);
        let sent = self.connected.call(|client| {
            let (mut kv, txn) = (client.kv_client(), txn.clone());
            async move { kv.txn(txn).await }
        });
        match sent.await {
            Ok(answer) if answer.succeeded() => Ok(Outcome::Done),
            Ok(_) => Ok(Outcome::CompareFailed),
            Err(error) => {
                let error = errors::of_commit(&self.connected.endpoint, &error);
                if matches!(error, CommitError::Unknown(_)) {
                    self.connected.failed();
                }
                Err(error)
            }
        }
    }
}
