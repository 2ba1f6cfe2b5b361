//! Who may know whom: the edges between our packages that the design draws, and who may know the store.
//!
//! An edge is the rarest kind of change. Whoever adds one changes the design first, and then the table here.

use cargo_metadata::{Dependency, DependencyKind, Metadata, Package};

/// Each package, and which of ours it may depend on.
const EDGES: [(&str, &[&str]); 8] = [
    ("octavius-protocol", &[]),
    ("octavius-service", &[]),
    (TESTBED, &[]),
    ("octavius-controller", &["octavius-protocol", "octavius-service", TESTBED]),
    ("octavius-executor", &["octavius-protocol", "octavius-service", TESTBED]),
    ("octavius-client", &["octavius-protocol"]),
    (
        "octavius",
        &[
            "octavius-client",
            "octavius-controller",
            "octavius-executor",
            "octavius-protocol",
            "octavius-service",
            TESTBED,
        ],
    ),
    // The bench asks as users do, through the client library, and with its protocol as an executor does.
    (
        "xtask",
        &[
            "octavius",
            "octavius-client",
            "octavius-controller",
            "octavius-executor",
            "octavius-service",
            TESTBED,
        ],
    ),
];

/// What no server and no command of ours may have in it: only its tests, and what is for ourselves alone.
const TESTBED: &str = "octavius-testbed";
const FOR_OURSELVES: &str = "xtask";

/// What only the controller may know: where the state and the logs are kept.
const STORES: [&str; 3] = ["redb", "object_store", "etcd-client"];
const KEEPER: &str = "octavius-controller";

/// All edges that the design does not draw.
pub(crate) fn faults(metadata: &Metadata) -> Vec<String> {
    let ours: Vec<_> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let edges = metadata.packages.iter().flat_map(needs);
    let mut faults: Vec<_> = edges.filter_map(|(from, to)| wrong(&ours, from, to)).collect();
    faults.extend(metadata.packages.iter().flat_map(|package| {
        let shipped = package.dependencies.iter().filter(|to| ships(&package.name, to));
        shipped.map(|to| format!("{} ships {}: make it a dev-dependency", package.name, to.name))
    }));
    faults.extend(ours.iter().filter(|name| allowed(name).is_none()).map(|name| {
        format!("{name} is not in the table of packages: draw it in the design and in xtask")
    }));
    faults
}

/// Whether the test bed would be part of what users get.
fn ships(from: &str, to: &Dependency) -> bool {
    to.name == TESTBED && from != FOR_OURSELVES && to.kind != DependencyKind::Development
}

fn needs(package: &Package) -> impl Iterator<Item = (&str, &str)> {
    let needed = package.dependencies.iter().map(|dependency| dependency.name.as_str());
    needed.map(|name| (package.name.as_str(), name))
}

fn allowed(package: &str) -> Option<&'static [&'static str]> {
    EDGES.iter().find(|(name, _)| *name == package).map(|(_, allowed)| *allowed)
}

/// What is wrong with the edge `from` → `to`. Tests may depend on their own package, with its features.
fn wrong(ours: &[&str], from: &str, to: &str) -> Option<String> {
    if STORES.contains(&to) && from != KEEPER {
        return Some(format!("{from} depends on {to}: only {KEEPER} knows the store"));
    }
    let drawn = from == to || allowed(from).is_none_or(|allowed| allowed.contains(&to));
    (ours.contains(&to) && !drawn)
        .then(|| format!("{from} depends on {to}: the design draws no such edge"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [&str; 3] = ["octavius-client", "octavius-controller", "octavius-protocol"];

    #[test]
    fn an_edge_that_is_drawn_is_right() {
        assert_eq!(wrong(&OURS, "octavius-client", "octavius-protocol"), None);
        assert_eq!(wrong(&OURS, "octavius-client", "octavius-client"), None);
        assert_eq!(wrong(&OURS, "octavius-client", "serde"), None);
        assert_eq!(wrong(&OURS, "octavius-controller", "redb"), None);
    }

    #[test]
    fn an_edge_that_is_not_drawn_is_wrong() {
        assert!(wrong(&OURS, "octavius-client", "octavius-controller").is_some());
        assert!(wrong(&OURS, "octavius-protocol", "octavius-client").is_some());
        assert!(wrong(&OURS, "octavius-executor", "redb").is_some());
    }

    #[test]
    fn the_test_bed_is_for_tests() {
        let dependency = |kind: &str| -> Dependency {
            let json = serde_json::json!({ "name": TESTBED, "req": "*", "kind": kind,
                "optional": false, "uses_default_features": true, "features": [] });
            serde_json::from_value(json).unwrap()
        };
        assert!(ships("octavius-controller", &dependency("normal")));
        assert!(!ships("octavius-controller", &dependency("dev")));
        assert!(!ships("xtask", &dependency("normal")));
    }

    #[test]
    fn this_workspace_has_the_edges_of_the_design() {
        let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
        assert_eq!(metadata.packages.len(), EDGES.len());
        assert_eq!(faults(&metadata), Vec::<String>::new());
    }
}
