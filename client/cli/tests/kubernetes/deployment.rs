//! Octavius as `deploy/` has it in Kubernetes: our image, our manifests, a controller and an executor in pods.

use crate::world::{self, User};
use octavius_testbed::cluster::{Cluster, Failed, Namespace, shared};
use std::{fs, path::Path, process::Command};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

#[tokio::test]
async fn an_executor_in_a_pod_runs_what_a_controller_in_a_pod_hands_out() -> Result<(), Failed> {
    let cluster = shared().await?;
    let image = Image::given(&cluster).await?;
    let namespace = cluster.namespace("product").await?;
    let manifests = |file: &str| image.manifests(file, &namespace);

    namespace.apply(&manifests("controller.yaml")).await?;
    ready(&namespace, "octavius-controller").await?;
    let ip = "--output=jsonpath={.items[0].status.podIP}";
    let of_controller = "--selector=app.kubernetes.io/name=octavius-controller";
    let ip = namespace.kubectl(&["get", "pods", of_controller, ip]).await?;

    namespace.apply(&manifests("executor-role.yaml")).await?;
    // The development cluster has no names and no addresses of Services.
    let executor =
        manifests("executor.yaml").replace("octavius-controller:3000", &format!("{ip}:3000"));
    namespace.apply(&executor).await?;
    ready(&namespace, "octavius-executor").await?;

    let way = namespace.forward("deployment/octavius-controller", 3000).await?;
    let user = User::of(way.address());
    user.waits_for(&["executors"], "ready").await;
    let definition = serde_json::json!({
        "name": "version",
        "image_name": image.name,
        "command": ["octavius", "--version"],
    });
    user.creates(&definition);
    let version = format!("octavius {}", env!("CARGO_PKG_VERSION"));
    let execute = ["execute", "version", "--follow", "--exit-code", "--wait-timeout", "300s"];
    let printed = user.run(&execute).unwrap();
    assert!(printed.contains(&version), "{printed}");

    let jobs = ["get", "events", "--field-selector=involvedObject.kind=Job", "--output=name"];
    assert!(!namespace.kubectl(&jobs).await?.is_empty(), "it did not run as a Kubernetes Job");

    // Another pod takes its place.
    let selector = "--selector=app.kubernetes.io/name=octavius-executor";
    let pods = |output| ["get", "pods", selector, output];
    let first = namespace.kubectl(&pods("--output=jsonpath={.items[0].metadata.name}")).await?;
    namespace.kubectl(&["delete", "pod", &first, "--wait=false"]).await?;
    let ready = "--output=jsonpath={range .items[*]}\
        {.metadata.name}={.status.conditions[?(@.type=='Ready')].status} {end}";
    let other_is_ready =
        |seen: &str| seen.split(' ').any(|pod| pod.ends_with("=True") && !pod.starts_with(&first));
    namespace.until(&pods(ready), other_is_ready).await?;
    user.waits_for(&["executors"], "ready").await;
    let printed = user.run(&execute).unwrap();
    assert!(printed.contains(&version), "{printed}");
    image.taken_back(&cluster).await
}

#[test]
fn the_same_binaries_make_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = folder.path().join("binaries");
    fs::create_dir(&binaries).unwrap();
    let build = |output: &str| {
        for name in BINARIES {
            let _ = fs::remove_file(binaries.join(name)); // there is none the first time
            fs::copy("/bin/true", binaries.join(name)).unwrap(); // each time with another date
        }
        let output = folder.path().join(output);
        pack(&binaries, "octavius:same", &output);
        fs::read(output).unwrap()
    };
    assert!(build("one.tar") == build("other.tar"), "two images of the same are not the same");
}

/// Names an image of ours that the cluster finds by itself.
const GIVEN: &str = "OCTAVIUS_TEST_IMAGE";
const BINARIES: [&str; 3] = ["controller", "executor", "octavius"];

fn pack(binaries: &Path, name: &str, output: &Path) {
    let mut build = Command::new(format!("{DEPLOY}/image/build.sh"));
    let built = build.arg(binaries).arg(name).arg(output).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// Our image, where pods find it.
struct Image {
    name: String,
}

impl Image {
    /// The one that [`GIVEN`] names; else one of the binaries that are tested, which the development cluster
    /// is given.
    async fn given(cluster: &Cluster) -> Result<Self, Failed> {
        if let Ok(name) = std::env::var(GIVEN) {
            return Ok(Self { name });
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        let name = format!("octavius:test-{:08x}", rand::random::<u32>());
        pack(binaries(), &name, &file);
        cluster.load(&file).await?;
        Ok(Self { name })
    }

    /// Takes it away again, if it is this test's.
    async fn taken_back(self, cluster: &Cluster) -> Result<(), Failed> {
        if std::env::var_os(GIVEN).is_some() {
            return Ok(());
        }
        cluster.unload(&self.name).await
    }

    /// A file of `deploy/kubernetes/`, as it is applied for a test: with this image, in this namespace, without a disk.
    fn manifests(&self, file: &str, namespace: &Namespace) -> String {
        let manifests = fs::read_to_string(format!("{DEPLOY}/kubernetes/{file}")).unwrap();
        // The development cluster has no storage class.
        let disk = "persistentVolumeClaim:\n            claimName: octavius-controller";
        let own = |text: &str, before: &str, after: &str| {
            text.replace(
                &format!("{before}octavius{after}"),
                &format!("{before}{}{after}", namespace.name()),
            )
        };
        let manifests = own(&manifests, "namespace: ", "\n");
        let manifests = own(&manifests, "\"default_namespace\": \"", "\"");
        let released = format!("octavius:{}", env!("CARGO_PKG_VERSION"));
        let manifests = manifests.replace(&released, &self.name);
        manifests.replace(disk, "emptyDir: {}")
    }
}

/// The folder of our binaries, which are built if they are not there.
fn binaries() -> &'static Path {
    for name in ["controller", "executor"] {
        world::binary(name);
    }
    Path::new(env!("CARGO_BIN_EXE_octavius")).parent().unwrap()
}

/// Waits until what a Deployment runs is ready; says what it said if it never is.
async fn ready(namespace: &Namespace, deployment: &str) -> Result<(), Failed> {
    let name = format!("deployment/{deployment}");
    let ready = ["get", &name, "--output=jsonpath={.status.readyReplicas}"];
    let waited = namespace.until(&ready, |ready| ready == "1").await;
    if let Err(failed) = &waited {
        let pods = format!("--selector=app.kubernetes.io/name={deployment}");
        let what = namespace.kubectl(&["describe", "pods", &pods]).await;
        let said = namespace.kubectl(&["logs", &pods, "--tail=50"]).await;
        panic!("{failed}\n{what:?}\n{said:?}");
    }
    Ok(())
}
