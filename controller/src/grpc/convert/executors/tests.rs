//! What fits into an answer, and what is kept of a request.

use super::*;
use crate::job_queue::{record::Spec, rules::Grant};
use octavius_protocol::id::ExecutionId;

fn leased(bytes: usize) -> Leased {
    let attempt =
        AttemptId { execution: ExecutionId::from_bytes([7; 16]), attempt: AttemptNumber(1) };
    let spec = Spec {
        job: "hello".parse().unwrap(),
        job_uid: String::new(),
        job_version: 1,
        user: "ada".to_owned(),
        image_name: String::new(),
        command: vec!["x".repeat(bytes)],
        arguments: Default::default(),
        hidden: Default::default(),
        timeout_ms: Some(1_500),
        defaulted: Default::default(),
        again: None,
        namespace: None,
        resources: None,
        kubernetes: String::new(),
        own: Default::default(),
    };
    let lease = LeaseName { attempt, epoch: Epoch(1) };
    let timeout = Some(Duration::from_millis(1_500));
    let grant =
        Grant { lease, identity: None, timeout, start_timeout: None, stop_if_unheard: None };
    Leased { grant, spec, secrets: Default::default() }
}

#[test]
fn an_answer_holds_as_many_grants_as_fit_and_never_none() {
    let sent =
        |sizes: &[usize]| leases(sizes.iter().map(|size| leased(*size)).collect(), "i").len();
    assert_eq!(sent(&[100; 64]), 64);
    assert_eq!(sent(&[1 << 20; 10]), 2);
    assert_eq!(sent(&[4 << 20, 1]), 1, "a grant that never fits would never be given");
    assert_eq!(sent(&[]), 0);
    let lease = lease(leased(1), "i");
    assert_eq!(lease.timeout, Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }));
}

#[test]
fn a_small_chunk_does_not_hold_the_buffer_that_it_came_in() {
    let taken = |size: usize| {
        let request = v1::AppendRequest {
            session: 1,
            lease: Some(v1::LeaseName {
                execution: ExecutionId::from_bytes([7; 16]).to_string(),
                attempt: 1,
                epoch: 1,
            }),
            chunks: vec![v1::AppendChunk {
                observed_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
                data: vec![b'x'; size].into(),
            }],
            ..v1::AppendRequest::default()
        };
        // As the codec does it: out of one buffer, which is large.
        let mut buffer = bytes::BytesMut::with_capacity(64 << 10);
        request.encode(&mut buffer).unwrap();
        let buffer = buffer.freeze();
        let decoded = v1::AppendRequest::decode(buffer.clone()).unwrap();
        let append = crate::grpc::convert::checked(|check| append(decoded, check)).unwrap();
        let data = append.chunks.into_iter().next().unwrap().data;
        assert_eq!(data, vec![b'x'; size]);
        (data, buffer)
    };
    let shares = |(data, buffer): (Bytes, Bytes)| buffer.as_ptr_range().contains(&data.as_ptr());
    assert!(!shares(taken(Chunk::SHARES_FROM - 1)));
    assert!(
        shares(taken(Chunk::SHARES_FROM)),
        "a copy of a large one costs more than what it saves"
    );
}
