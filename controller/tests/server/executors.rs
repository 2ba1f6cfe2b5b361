//! Sessions, and who may have one.

use crate::world::{World, job, refusal, registration};
use octavius_protocol::v1::{self, executors_client::ExecutorsClient};
use std::{collections::BTreeMap, time::Duration};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_the_controller_and_the_term_grows() {
    let world = World::start().await;
    let first = world.executor("e", 2).await;
    let world = world.restart().await;
    let mut client = ExecutorsClient::new(world.channel().await);
    let attend = v1::AttendRequest { session: first.session, ..v1::AttendRequest::default() };
    let answer = client.attend(attend).await.unwrap().into_inner();
    let (before, after) = (first.registered.term.unwrap(), answer.term.unwrap());
    assert_eq!(before.generation, after.generation);
    assert!(after.revision > before.revision);
    // The same process that asks again has its session still.
    let again = v1::RegisterRequest {
        installation: first.registered.installation.clone(),
        ..registration("e", 1, 1)
    };
    let again = client.register(again).await.unwrap().into_inner();
    assert_eq!((again.session, again.installation), (first.session, first.registered.installation));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_process_takes_over_and_the_older_one_hears_it() {
    let world = World::start().await;
    let mut older = world.executor("e", 1).await;
    let parked = {
        let mut older = older.clone();
        tokio::spawn(async move { older.poll(Duration::from_secs(30)).await })
    };
    let newer = older.client.register(registration("e", 1, 2)).await.unwrap().into_inner();
    assert!(newer.session > older.session);
    let (code, reason, _) = refusal(older.attend(&[], Duration::ZERO).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SESSION_CLOSED"));
    let (code, reason, _) = refusal(older.poll(Duration::ZERO).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SESSION_CLOSED"));
    let back = older.client.register(registration("e", 1, 1)).await;
    let (code, reason, _) = refusal(back);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "EXECUTOR_REPLACED"));
    parked.abort();
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_place_is_refused_while_the_first_has_work() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut first = world.executor("e", 1).await;
    world.execute("hello").await;
    let name = first.granted().await.name.unwrap();
    first.run(&name).await;
    let status = first.client.register(registration("e", 2, 2)).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let place = uuid::Uuid::from_u128(1).to_string();
    assert!(status.message().contains(&place), "{}", status.message());
    assert!(first.attend(std::slice::from_ref(&name), Duration::ZERO).await.is_ok());
    first.append(&name, 0, "").await.unwrap();
    first.succeed(&name, "").await;
    assert!(first.client.register(registration("e", 2, 2)).await.is_ok());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_registration_is_answered_with_all_its_faults() {
    let world = World::start().await;
    let mut client = ExecutorsClient::new(world.channel().await);
    let bad = v1::RegisterRequest {
        executor: "-".to_owned(),
        place: "here".to_owned(),
        runner: "docker".to_owned(),
        capacity: 0,
        ..registration("e", 1, 1)
    };
    let (code, _, faults) = refusal(client.register(bad).await);
    assert_eq!(code, Code::InvalidArgument);
    let fields: Vec<_> = faults.iter().filter_map(|fault| fault.split(": ").next()).collect();
    assert_eq!(fields, ["executor", "place", "runner", "capacity"]);
    let newer = v1::RegisterRequest { protocol_level: 9, ..registration("e", 1, 1) };
    let (code, reason, _) = refusal(client.register(newer).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "PROTOCOL_LEVEL"));
    let other = v1::RegisterRequest { installation: "other".to_owned(), ..registration("e", 1, 1) };
    let (code, reason, _) = refusal(client.register(other).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "OTHER_INSTALLATION"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_hold_an_attempt_can_neither_report_nor_append() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut holder = world.executor("e", 1).await;
    world.execute("hello").await;
    let name = holder.granted().await.name.unwrap();
    holder.run(&name).await;
    holder.append(&name, 0, "mine\n").await.unwrap();
    let mut other = world.executor("other", 1).await;
    let appended = other.append(&name, 5, "not mine\n").await.unwrap();
    assert!(appended.closed);
    // Nobody was ever granted that: the store may be an older one, and nothing is closed or stopped for it.
    let unheard_of = v1::LeaseName { epoch: name.epoch + 1, ..name.clone() };
    let status = holder.append(&unheard_of, 5, "from another grant\n").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let running = v1::report_request::Event::Running(v1::Running::default());
    let verdict = other.report(&name, running).await.unwrap();
    assert_eq!(verdict.verdict(), v1::ReportVerdict::Superseded);
    assert_eq!(holder.append(&name, 5, "").await.unwrap().next_offset, 5);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_append_is_refused_at_the_door() {
    let world = World::start().await;
    let executor = world.executor("e", 1).await;
    let mut client = executor.client.clone();
    let chunk = v1::AppendChunk { observed_at: None, data: vec![0; (1 << 20) + 1].into() };
    let bad = v1::AppendRequest {
        session: executor.session,
        lease: Some(v1::LeaseName { execution: "x".to_owned(), attempt: 0, epoch: 0 }),
        offset: u64::MAX,
        chunks: vec![chunk],
        cursor: vec![0; 257],
    };
    let (code, _, faults) = refusal(client.append(bad).await);
    assert_eq!(code, Code::InvalidArgument);
    let fields: Vec<_> = faults.iter().filter_map(|fault| fault.split(": ").next()).collect();
    assert_eq!(
        fields,
        [
            "lease.execution",
            "lease.attempt",
            "lease.epoch",
            "chunks",
            "offset",
            "cursor",
            "chunks[0].observed_at"
        ]
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_are_listed_with_what_they_hold() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut busy = world.executor("busy", 3).await;
    world.executor("idle", 1).await;
    world.execute("hello").await;
    busy.granted().await;
    let request = v1::ListExecutorsRequest { page_size: 1, page_token: String::new() };
    let first = busy.client.list_executors(request).await.unwrap().into_inner();
    let seen = &first.executors[0];
    assert_eq!((seen.id.as_str(), seen.held, seen.capacity), ("busy", 1, 3));
    assert_eq!(seen.state(), v1::ExecutorState::Ready);
    assert!(seen.silent_for.is_some());
    let request = v1::ListExecutorsRequest { page_size: 1, page_token: first.next_page_token };
    let second = busy.client.list_executors(request).await.unwrap().into_inner();
    assert_eq!((second.executors[0].id.as_str(), second.executors[0].held), ("idle", 0));
    assert_eq!(second.next_page_token, "");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_executor_gets_nothing_new_over_a_restart_until_it_is_undrained() {
    let world = World::start().await;
    world.create(job("hello")).await;
    let mut executor = world.executor("e", 3).await;
    let unknown = v1::DrainExecutorRequest { executor: "nobody".to_owned(), undrain: false };
    let (code, reason, _) = refusal(executor.client.drain_executor(unknown).await);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "UNKNOWN_EXECUTOR"));
    let drain = |undrain| v1::DrainExecutorRequest { executor: "e".to_owned(), undrain };
    let drained = executor.client.drain_executor(drain(false)).await.unwrap().into_inner();
    let drained = drained.executor.unwrap();
    assert!(drained.drained_at.is_some() && drained.held == 0, "{drained:?}");
    assert_eq!(drained.drained_by, "anonymous");
    world.execute("hello").await;
    assert_eq!(executor.poll(Duration::from_millis(200)).await.unwrap(), []);
    let world = world.restart().await;
    let mut executor = world.executor("e", 3).await;
    assert_eq!(executor.poll(Duration::from_millis(200)).await.unwrap(), []);
    executor.client.drain_executor(drain(true)).await.unwrap();
    executor.granted().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_fits_into_no_message_comes_in_pages() {
    let world = World::start().await;
    // 200 times 32 KiB: more than one message holds.
    let labels: BTreeMap<_, _> =
        (0..64).map(|index| (format!("{index:0256}"), "x".repeat(256))).collect();
    let mut client = ExecutorsClient::new(world.channel().await);
    let mut ids: Vec<_> = (0..200).map(|index| format!("e{index:03}")).collect();
    for (id, place) in ids.iter().zip(1..) {
        let request =
            v1::RegisterRequest { labels: labels.clone(), ..registration(id, place, place) };
        client.register(request).await.unwrap();
    }
    let (mut page_token, mut pages) = (String::new(), 0);
    loop {
        let request = v1::ListExecutorsRequest { page_size: 1_000, page_token };
        let page = client.list_executors(request).await.unwrap().into_inner();
        let listed: Vec<_> = page.executors.iter().map(|executor| executor.id.clone()).collect();
        assert!(!listed.is_empty() && ids.starts_with(&listed), "{listed:?} of {ids:?}");
        ids.drain(..listed.len());
        pages += 1;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(ids.is_empty() && pages > 5, "{pages} pages, without {ids:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_executor_does_not_take_the_places_of_all_who_wait_for_work() {
    let world = World::start().await;
    let greedy = world.executor("greedy", 1).await;
    let mut polls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let mut greedy = greedy.clone();
        // So long that none has left when the last one comes.
        polls.spawn(async move { greedy.poll(Duration::from_secs(8)).await });
    }
    let (mut parked, mut refused) = (0, 0);
    while let Some(answer) = polls.join_next().await {
        match answer.unwrap() {
            Ok(grants) => parked += usize::from(grants.is_empty()),
            answer => {
                let (code, reason, _) = refusal(answer);
                assert_eq!((code, reason.as_str()), (Code::ResourceExhausted, "TOO_MANY_PARKED"));
                refused += 1;
            }
        }
    }
    assert_eq!((parked, refused), (64, 36));
    // The others are parked as ever, and so is it when it has left room.
    world.create(job("hello")).await;
    let mut other = world.executor("other", 1).await;
    assert!(other.poll(Duration::ZERO).await.unwrap().is_empty());
    world.execute("hello").await;
    greedy.clone().granted().await;
    world.stop().await;
}
