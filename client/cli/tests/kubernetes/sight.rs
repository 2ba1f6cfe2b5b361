//! What an executor cannot see of its cluster, as users see it.

use crate::world::World;
use octavius_testbed::cluster::{Failed, Namespace};
use serde_json::{Value, json};

#[tokio::test]
async fn an_executor_that_may_not_look_into_one_of_its_namespaces_says_which_and_until_when()
-> Result<(), Failed> {
    let world = World::start("sight").await?;
    let dark = world.other_namespace("dark").await?;
    let mut executor = world.executor_in(&[dark.name()], "watcher", "watcher");
    executor.start();
    world.user.waits_for(&["executors"], " ready (blind) ").await;
    let named = format!("pods in the namespace `{}`", dark.name());
    world.user.waits_for(&["executors"], &named).await;
    // The words may change while it finds out what it cannot see: these are two looks at the same ones.
    let both_tell = || async {
        let unseen = unseen(&world);
        let table = world.user.run(&["executors"])?;
        let told = format!("watcher takes no new work: {unseen}");
        if table.lines().any(|line| line == told) { Ok(told) } else { Err(table) }
    };
    let told = world.eventually(both_tell).await;
    assert!(told.contains("cannot be seen: ") && told.contains("forbidden"), "{told}");
    assert!(!told.contains(&format!("`{}`", world.namespace.name())), "{told}");
    let waits = world.execute(1);

    dark.apply(&rights(&dark, world.namespace.name())).await?;
    world.user.waits_for(&["executors"], " ready  ").await;
    assert_eq!(unseen(&world), "");
    world.have_run(&waits, 1).await;
    world.let_end();
    world.ran_once(&waits[0]).await;
    assert_eq!(executor.end().await, Some(0), "{}", executor.said());
    Ok(())
}

fn unseen(world: &World) -> String {
    let shown = world.user.run(&["executors", "--output", "json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    shown["executors"][0]["unseen"].as_str().unwrap().to_owned()
}

/// The rights of an executor in `namespace` for the account of the one in `other`.
fn rights(namespace: &Namespace, other: &str) -> String {
    let name = "octavius-executor";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": "of-the-other", "namespace": namespace.name() },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": other }],
    });
    binding.to_string()
}
