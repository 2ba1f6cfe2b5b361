//! How fast one person may call, asked of a whole controller.

use crate::{
    askers::{Asker, guarded_with, join},
    world::{World, until},
};
use futures::future::join_all;
use octavius_controller::grpc::door::Rpc;
use octavius_protocol::v1;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const A_SECOND: u64 = 20;
const AT_ONCE: u64 = 5 * A_SECOND;

async fn list(asker: &Asker) -> Result<(), Status> {
    let listed = asker.ask::<v1::ListJobsResponse>(Rpc::ListJobs, v1::ListJobsRequest::default());
    listed.await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_floods_is_bounded_and_others_and_executors_are_served() {
    let (world, admin) = guarded_with(
        |configuration| configuration.calls_per_second = A_SECOND,
        async |world: &World| world.channel().await,
    )
    .await;
    let mut people = Vec::new();
    for name in ["flooder", "other"] {
        let (token, _) = admin.token(name, &[]).await;
        admin.grant(name, v1::Role::Viewer, "").await;
        people.push(Asker::of(&world, Some(&token)).await);
    }
    let [flooder, other] = &people[..] else { panic!() };
    let (invitation, _) = admin.invite(1, &[]).await;
    let executor = join(&world, "one", &invitation).await.unwrap();

    let began = Instant::now();
    let answers = join_all((0..4 * AT_ONCE).map(|_| list(flooder))).await;
    let refilled = began.elapsed().as_secs() * A_SECOND + A_SECOND;
    let (served, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let served = served.len() as u64;
    assert!((AT_ONCE..=AT_ONCE + refilled).contains(&served), "{served} were served");
    for refused in refused {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        assert!(
            refused.message().contains("flooder makes more than 20 calls a second"),
            "{refused}"
        );
        assert_eq!(refused.get_details_error_info().unwrap().reason, "TOO_FAST");
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    }
    for _ in 0..A_SECOND {
        list(other).await.unwrap();
    }
    let attend = v1::AttendRequest { session: executor.session, ..Default::default() };
    for attended in join_all(
        (0..2 * AT_ONCE)
            .map(|_| executor.asker.ask::<v1::AttendResponse>(Rpc::Attend, attend.clone())),
    )
    .await
    {
        attended.unwrap();
    }
    let _ = until("served again", || list(flooder), Result::is_ok).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_says_who_calls_nobody_is_bounded() {
    let world = World::start_with(|configuration| configuration.calls_per_second = 1).await;
    let anybody = Asker::of(&world, None).await;
    for answer in join_all((0..200).map(|_| list(&anybody))).await {
        answer.unwrap();
    }
    world.stop().await;
}
