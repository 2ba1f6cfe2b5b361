//! A new master key for a whole controller's store: everything opens with it afterwards, and with it alone.

use crate::world::{World, job};
use octavius_controller::{
    rotate::{RotateError, rotate},
    server::Controller,
};
use octavius_protocol::v1;
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path};

async fn submit(world: &World, token: &str) -> String {
    let set = v1::SetSecretRequest {
        job: "deploy".to_owned(),
        name: "TOKEN".to_owned(),
        value: token.as_bytes().to_vec(),
        unmasked: false,
    };
    let channel = world.channel().await;
    v1::secrets_client::SecretsClient::new(channel).set_secret(set).await.unwrap();
    let values = [("place", "live"), ("password", token)];
    let request = v1::ExecuteRequest {
        job: "deploy".to_owned(),
        arguments: values.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Default::default()
    };
    let executed = world.executions().await.execute(request).await.unwrap().into_inner();
    executed.execution.unwrap().id
}

async fn create(world: &World) {
    let argument = |name: &str, kind: v1::ArgumentType| v1::Argument {
        name: name.to_owned(),
        r#type: kind.into(),
        ..Default::default()
    };
    let arguments = vec![
        argument("place", v1::ArgumentType::String),
        argument("password", v1::ArgumentType::Secret),
    ];
    let secrets = vec![v1::SecretName { name: "TOKEN".to_owned(), ..Default::default() }];
    world.create(v1::JobDefinition { arguments, secrets, ..job("deploy") }).await;
}

fn lines(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("master.key")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn set_aside(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    names.filter(|name| name.starts_with("master.key.")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_opens_with_the_new_key_alone_also_after_a_break_in_the_middle() {
    let world = World::start().await;
    create(&world).await;
    let mut submitted = vec![(submit(&world, "the first value").await, "the first value")];
    let folder = world.configuration.data_dir.clone();
    let first = lines(&folder);

    let refused = rotate(&world.configuration).await.unwrap_err();
    assert!(matches!(refused, RotateError::Open(_)), "{refused}");
    assert_eq!((lines(&folder), set_aside(&folder)), (first.clone(), BTreeSet::new()));

    let configuration = world.configuration.clone();
    world.running.stop().await;
    let rotated = rotate(&configuration).await.unwrap();
    // A secret's value, what may be shown of the arguments, and what may not.
    assert_eq!(rotated.values, 3);
    let second = lines(&folder);
    assert!(second.len() == 1 && second != first, "{second:?}");
    let former = rotated.former.unwrap();
    assert_eq!(fs::read_to_string(&former).unwrap(), format!("{}\n", first[0]));
    assert_eq!(fs::metadata(&former).unwrap().permissions().mode() & 0o7777, 0o600);

    // One breaks off as soon as the new key is there, and a controller goes on with both.
    let third = format!("octavius-master-key-1 {}=", "A".repeat(43));
    fs::write(folder.join("master.key"), format!("{third}\n{}\n", second[0])).unwrap();
    let running = Controller::start(&configuration).await.unwrap();
    let world = World { running, ..world };
    submitted.push((submit(&world, "the second value").await, "the second value"));
    world.running.stop().await;
    let rotated = rotate(&configuration).await.unwrap();
    assert_eq!(rotated.values, 3, "what was sealed under the new one already stays as it is");
    assert_eq!(lines(&folder), [third.as_str()]);

    let running = Controller::start(&configuration).await.unwrap();
    let world = World { running, ..world };
    let mut executor = world.executor("e", 2).await;
    for (id, token) in submitted {
        let lease = executor.granted().await;
        let name = lease.name.clone().unwrap();
        assert_eq!(name.execution, id);
        let secret = |name: &str| lease.secrets.get(name).map(|value| value.to_vec());
        assert_eq!(secret("TOKEN").as_deref(), Some(token.as_bytes()));
        assert_eq!(secret("password").as_deref(), Some(token.as_bytes()));
        let shown = world.get(&id).await;
        assert!(format!("{shown:?}").contains("live"), "{shown:?}");
        executor.run(&name).await;
        executor.succeed(&name, "").await;
    }
    world.running.stop().await;

    // The former key opens nothing any more.
    fs::write(folder.join("master.key"), format!("{}\n", second[0])).unwrap();
    let refused = Controller::start(&configuration).await.unwrap_err().to_string();
    assert!(refused.contains("another key"), "{refused}");
    let refused = rotate(&configuration).await.unwrap_err().to_string();
    assert!(refused.contains("another key"), "{refused}");
}
