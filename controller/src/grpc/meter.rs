//! How long each RPC took, and how it ended.

use super::{
    accompany::{Accompany, Companion, Part},
    door::Rpc,
};
use http::{HeaderMap, Request};
use octavius_protocol::code_name;
use tokio::time::Instant;
use tonic::{Code, Status};

/// Measures every call.
#[derive(Clone, Copy, Debug)]
pub struct Meter;

impl Accompany for Meter {
    type Companion = Call;

    fn begin<B>(&self, request: &Request<B>) -> Option<Call> {
        Some(Call::begin(request.uri().path()))
    }
}

/// One call; recorded when it is dropped.
#[derive(Debug)]
pub struct Call {
    method: &'static str,
    began: Instant,
    /// None: nobody waited for its end.
    code: Option<Code>,
}

impl Call {
    fn begin(path: &str) -> Self {
        // Paths are the callers' own, and would never end as labels.
        let method = Rpc::from_path(path).map_or("other", Rpc::name);
        Self { method, began: Instant::now(), code: None }
    }

    fn note(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(Status::GRPC_STATUS) {
            self.code = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = code_name(self.code.unwrap_or(Code::Cancelled));
        metrics::histogram!("octavius_rpc_seconds", "method" => self.method, "code" => code)
            .record(self.began.elapsed());
    }
}

impl Companion for Call {
    fn answered(&mut self, headers: &HeaderMap) {
        self.note(headers);
    }

    fn pass(&mut self, part: Part) -> Part {
        match &part {
            Ok(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.note(trailers);
                }
            }
            Err(status) => self.code = Some(status.code()),
        }
        part
    }
}
