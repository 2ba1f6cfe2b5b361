//! The actor on the real embedded store. A whole controller is asked in `controller/tests/server/audit.rs`.

use super::{expire::removed_before, look::MOST_LOOKED_AT, *};
use crate::{
    access::{rules::Rights, token},
    caller::{Caller, Proof},
    store::{Lead, Patience, embedded::EmbeddedOpener, keys},
};
use jiff::{SignedDuration, Timestamp};
use octavius_protocol::v1;
use octavius_service::actor::ActorSystem;
use prost::Message as _;
use std::sync::Arc;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing goes by itself in a test of something else.
const LONG: Duration = Duration::from_secs(400 * 24 * 60 * 60);

struct World {
    system: ActorSystem,
    store: StoreHandle,
    audit: AuditHandle,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut system = ActorSystem::start("test").unwrap();
        let opener = Arc::new(EmbeddedOpener::new(folder.path()));
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default());
        let store = store.await.unwrap();
        let audit = AuditHandle::start(&mut system, store.clone(), LONG).unwrap();
        audit.up(SOON).await.unwrap();
        Self { system, store, audit, _folder: folder }
    }

    async fn all(&self, wanted: Wanted, most: usize) -> Vec<v1::AuditEntry> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.audit.list(&wanted, most, &token).await.unwrap();
            assert!(page.entries.len() <= most && page.tokens.len() == page.entries.len());
            all.extend(page.entries);
            token = page.next_page_token;
            if token.is_empty() {
                return all;
            }
        }
    }
}

fn proven(name: &str) -> Caller {
    let id = token::NewToken::make(token::Kind::Person).unwrap().id;
    let caller = Caller::proven(name, Vec::new(), Proof::Person(id, Rights::default()));
    caller.calling("Jobs/CreateJob", Some("::ffff:192.0.2.1".parse().unwrap()))
}

fn deploy() -> About {
    About::job(&"deploy".parse().unwrap())
}

#[tokio::test]
async fn what_was_done_and_refused_is_there_the_newest_first() {
    let world = World::start().await;
    let (ada, bob) = (proven("ada"), proven("bob"));
    world.audit.did(&ada, deploy().and("version 1")).await.unwrap();
    world.audit.did(&bob, About::default()).await.unwrap();
    world.audit.refused(&bob, deploy(), "they may not");
    world.audit.did(&Caller::new("anybody", Vec::new()), deploy()).await.unwrap();
    let refused = || async { world.all(Wanted { refused: true, ..Wanted::default() }, 10).await };
    while refused().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let all = world.all(Wanted::default(), 2).await;
    let said: Vec<_> = all.iter().map(|entry| (&*entry.by, &*entry.job, &*entry.refused)).collect();
    assert_eq!(said, [("bob", "deploy", "they may not"), ("bob", "", ""), ("ada", "deploy", "")]);
    let first = all.last().unwrap();
    assert_eq!((&*first.from, &*first.call), ("192.0.2.1", "Jobs/CreateJob"));
    assert_eq!((&*first.about, &first.token), ("version 1", &ada.token().unwrap()));
    let of = |wanted: Wanted| world.all(wanted, 10);
    assert_eq!(of(Wanted { by: "bob".to_owned(), ..Wanted::default() }).await.len(), 2);
    assert_eq!(of(Wanted { job: "deploy".to_owned(), ..Wanted::default() }).await.len(), 2);
    let wrong = world.audit.list(&Wanted::default(), 1, "no page").await.unwrap_err();
    assert!(wrong.to_string().contains("`no page`"), "{wrong}");
    world.system.stop().await;
}

#[tokio::test]
async fn a_span_of_time_has_what_was_recorded_in_it_and_what_was_kept_long_enough_goes() {
    let world = World::start().await;
    let writer = world.store.enlist("test").await.unwrap();
    let now = Timestamp::now();
    let ago = |days: i64| now - SignedDuration::from_hours(24 * days);
    let count = MOST_LOOKED_AT + 10;
    let day = |index: usize| i64::try_from(index % 10).unwrap();
    let puts = (0..count).map(|index| {
        let entry = v1::AuditEntry { by: day(index).to_string(), ..Default::default() };
        // Each in a millisecond of its own.
        let at = ago(day(index)) + SignedDuration::from_millis(i64::try_from(index).unwrap());
        Write::Put(entry::newest_before(at), entry.encode_to_vec().into())
    });
    for some in puts.collect::<Vec<_>>().chunks(100) {
        assert_eq!(writer.commit(some.to_vec()).await, Commit::Done);
    }
    let span = |since, until| Wanted {
        since: Some(ago(since)),
        until: Some(ago(until)),
        ..Wanted::default()
    };
    let between = world.all(span(5, 3), 1_000).await;
    assert!(between.iter().all(|entry| ["4", "5", "3"].contains(&&*entry.by)));
    assert!(between.len().abs_diff(count / 5) <= 2, "{}", between.len());
    let none = Wanted { by: "nobody".to_owned(), ..Wanted::default() };
    let page = world.audit.list(&none, 10, "").await.unwrap();
    assert!(page.entries.is_empty() && !page.next_page_token.is_empty(), "it has a bound");
    assert_eq!(world.all(none, 10).await, []);

    let removed = removed_before(&world.store, &writer, ago(3)).await.unwrap();
    assert!(removed.abs_diff(count * 6 / 10) <= 2, "{removed}");
    assert_eq!(world.all(Wanted::default(), 1_000).await.len(), count - removed);
    assert_eq!(removed_before(&world.store, &writer, ago(3)).await.unwrap(), 0);
    world.system.stop().await;
}

#[tokio::test]
async fn what_is_too_old_goes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut system = ActorSystem::start("test").unwrap();
    let opener = Arc::new(EmbeddedOpener::new(folder.path()));
    let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default());
    let store = store.await.unwrap();
    store.handle().up(SOON).await.unwrap();
    let writer = store.enlist("test").await.unwrap();
    let at = |days: i64| Timestamp::now() - SignedDuration::from_hours(24 * days);
    let put = |days| Write::Put(entry::newest_before(at(days)), Vec::new().into());
    assert_eq!(writer.commit(vec![put(3), put(2), put(0)]).await, Commit::Done);
    let audit = AuditHandle::start(&mut system, store.clone(), DAY).unwrap();
    audit.up(SOON).await.unwrap();
    let left = async {
        while store.all(crate::store::Range::prefix(keys::AUDIT, 10)).await.unwrap().len() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, left).await.unwrap();
    system.stop().await;
}
