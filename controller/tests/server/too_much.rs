//! Arguments that are too many or too large, by a client that does not look at them first: refused at once, with the
//! field, what there is, what is taken, the first faults and how many more there are.

use crate::world::{SOON, World, job, refusal};
use octavius_protocol::v1;
use std::collections::BTreeMap;
use tonic::Code;

struct TooMuch {
    world: World,
}

impl TooMuch {
    /// A controller with a job that takes 20 arguments.
    async fn start() -> Self {
        let world = World::start().await;
        let argument =
            |number| v1::Argument { name: format!("a{number:02}"), ..v1::Argument::default() };
        let arguments = (0..20).map(argument).collect();
        world.create(v1::JobDefinition { arguments, ..job("hello") }).await;
        Self { world }
    }

    /// The word and the faults with which these are refused.
    async fn refused(&self, arguments: BTreeMap<String, String>) -> (String, Vec<String>) {
        let job = "hello".to_owned();
        let request = v1::ExecuteRequest { job, arguments, ..v1::ExecuteRequest::default() };
        let mut executions = self.world.executions().await;
        let answer = tokio::time::timeout(SOON, executions.execute(request)).await;
        let (code, reason, faults) = refusal(answer.expect("no answer"));
        assert_eq!(code, Code::InvalidArgument, "{reason}: {faults:?}");
        (reason, faults)
    }

    /// Nothing of all that was stored.
    async fn end(self) {
        let request = v1::ListExecutionsRequest::default();
        let listed = self.world.executions().await.list_executions(request).await.unwrap();
        assert_eq!(listed.into_inner().executions, []);
        self.world.stop().await;
    }
}

/// So many arguments of so many bytes, with names of three characters while there are not more than a hundred.
fn arguments(count: usize, size: usize) -> BTreeMap<String, String> {
    (0..count).map(|number| (format!("a{number:02}"), "x".repeat(size))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_hundred_kilobytes_of_arguments_are_refused_with_their_size_and_the_limit() {
    let much = TooMuch::start().await;
    let together = much.refused(arguments(16, 100_000 - "a00".len())).await;
    let told = "arguments: have 1600000 bytes together, and at most 524288 are taken: pass places where the job finds the \
                values";
    assert_eq!(together, ("BAD_ARGUMENTS".to_owned(), vec![told.to_owned()]));

    let (reason, faults) = much.refused(arguments(1, 1_600_000 - "a00=".len())).await;
    let one = "arguments.a00: has 1600000 bytes with its name, and an environment variable holds at most 131071: pass a \
               place where the job finds the value";
    let all = "arguments: have 1599999 bytes together, and at most 524288 are taken: pass places where the job finds the \
               values";
    assert_eq!((reason.as_str(), faults), ("BAD_ARGUMENTS", vec![one.to_owned(), all.to_owned()]));
    much.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_arguments_are_refused_with_their_number_and_the_limit() {
    let much = TooMuch::start().await;
    let told = "arguments: are 10000, and no job takes more than 1000: leave out those that are not the job's";
    let refused = much.refused(arguments(10_000, 1)).await;
    assert_eq!(refused, ("INVALID_REQUEST".to_owned(), vec![told.to_owned()]));
    much.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_arguments_that_are_wrong_the_first_twenty_are_named_and_the_others_counted()
{
    let much = TooMuch::start().await;
    let (reason, faults) = much.refused(arguments(1_000, 1)).await;
    assert_eq!((reason.as_str(), faults.len()), ("BAD_ARGUMENTS", 21), "{faults:?}");
    for (number, fault) in faults[..20].iter().enumerate() {
        // In the order of their names, of which the job takes those up to `a19`.
        let is_named = fault.starts_with("arguments.a") && fault.contains(": is no argument");
        assert!(is_named, "{number}: {fault}");
    }
    assert_eq!(faults[20], ": and 960 more faults");
    much.end().await;
}
