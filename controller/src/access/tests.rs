//! The actor on the real embedded store. A whole controller is asked in `controller/tests/server/access.rs`.

use super::{record::Holder, rules::*, token::ShownToken, view::Identity, *};
use crate::{
    caller::Caller,
    store::{Lead, Patience, embedded::EmbeddedOpener},
};
use jiff::Timestamp;
use octavius_service::actor::ActorSystem;
use secrecy::ExposeSecret;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tempfile::TempDir;
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(20);

struct World {
    system: ActorSystem,
    access: AccessHandle,
    folder: TempDir,
}

impl World {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let mut system = ActorSystem::start("test").unwrap();
        let opener = Arc::new(EmbeddedOpener::new(folder.path()));
        let store = StoreHandle::start(&mut system, opener, Lead::sole(), Patience::default());
        let store = store.await.unwrap();
        let access = AccessHandle::start(&mut system, store).unwrap();
        access.up(SOON).await.unwrap();
        Self { system, access, folder }
    }

    async fn restart(self) -> Self {
        self.system.stop().await;
        Self::start_in(self.folder).await
    }

    fn who(&self, made: &Made) -> Option<Identity> {
        let shown = ShownToken::read(made.text.expose_secret()).unwrap();
        self.access.view().identify(&shown, Timestamp::now()).ok()
    }
}

fn root() -> Caller {
    Caller::new("root", Vec::new())
}

fn rights(identity: Option<Identity>) -> Rights {
    let Some(Identity::Person { rights, .. }) = identity else { panic!("{identity:?}") };
    rights
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let world = World::start().await;
    let groups = vec!["sre".to_owned()];
    let ada = world.access.create("ada".to_owned(), groups, None, &root()).await.unwrap();
    let bob = world.access.create("bob".to_owned(), Vec::new(), None, &root()).await.unwrap();
    let sre = Subject::Group("sre".to_owned());
    let deploy: octavius_protocol::id::JobName = "deploy".parse().unwrap();
    world.access.grant(sre.clone(), None, Role::Viewer, &root()).await.unwrap();
    world.access.grant(sre, Some(deploy.clone()), Role::Admin, &root()).await.unwrap();
    let person = Subject::Person("ada".to_owned());
    world.access.grant(person.clone(), None, Role::Admin, &root()).await.unwrap();
    world.access.grant(person.clone(), None, Role::Operator, &root()).await.unwrap();
    world.access.revoke(bob.record.id.clone(), &root()).await.unwrap();
    let gone = world.access.revoke(bob.record.id.clone(), &root()).await.unwrap_err();
    assert!(matches!(gone, AccessError::NoToken(_)), "{gone}");
    let none = world.access.ungrant(person, Some(deploy.clone()), &root()).await.unwrap_err();
    assert_eq!(
        none.to_string(),
        "person `ada` has no role for job `deploy`: `octavius role list` shows all"
    );
    let before = world.access.roles(10, "").await.unwrap();
    let world = world.restart().await;
    assert_eq!(world.access.roles(10, "").await.unwrap(), before);
    let has = rights(world.who(&ada));
    assert_eq!(has.in_all(), Some(Role::Operator));
    assert_eq!(has.for_job(&deploy, &[], None), Some(Role::Admin));
    assert_eq!(world.who(&bob), None);
    world.system.stop().await;
}

#[tokio::test]
async fn a_use_is_counted_once_for_each_executor_over_restarts() {
    let world = World::start().await;
    let made = world.access.invite(2, BTreeMap::new(), SOON, &root()).await.unwrap();
    let with = made.record.id.clone();
    let join = async |world: &World, executor: &str, place: u128| {
        let executor = executor.parse().unwrap();
        let place = Uuid::from_u128(place);
        world
            .access
            .join(JoinsWith::Token(with.clone()), executor, place, BTreeMap::new(), &root())
            .await
    };
    join(&world, "a", 1).await.unwrap();
    let world = world.restart().await;
    join(&world, "a", 1).await.unwrap();
    join(&world, "b", 2).await.unwrap();
    let over = join(&world, "c", 3).await.unwrap_err();
    assert!(matches!(over, JoinError::Over(_)), "{over}");
    // Who has joined may ask again also when all uses are gone.
    join(&world, "b", 2).await.unwrap();
    let taken = join(&world, "b", 3).await.unwrap_err();
    assert!(matches!(taken, JoinError::Taken { .. }), "{taken}");
    // Who was forgotten makes room for another place.
    world.access.dismiss("b".parse().unwrap()).await.unwrap();
    let over = join(&world, "b", 3).await.unwrap_err();
    assert!(matches!(over, JoinError::Over(_)), "{over}");
    let page = world.access.tokens(10, "").await.unwrap();
    let of_executors =
        page.tokens.iter().filter(|token| matches!(token.holder, Holder::Executor { .. }));
    assert_eq!(of_executors.count(), 1);
    world.system.stop().await;
}
