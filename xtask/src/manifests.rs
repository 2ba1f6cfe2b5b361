//! What each member's Cargo.toml leaves to the workspace: lints, versions, edition, licence.

use anyhow::{Context as _, Result};
use cargo_metadata::Metadata;
use std::fs;

const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Everything that a member states for itself and should not.
pub(crate) fn faults(metadata: &Metadata) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let path = &package.manifest_path;
        let text = fs::read_to_string(path).with_context(|| path.to_string())?;
        faults.extend(wrong(&text).into_iter().map(|fault| format!("{}: {fault}", package.name)));
    }
    Ok(faults)
}

fn wrong(manifest: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut section = "";
    let mut inherits_lints = false;
    let mut inherited = Vec::new();
    for line in manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            if section.contains("dependencies.") {
                faults.push(format!("`[{section}]`: write one line for each dependency"));
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        match section {
            "lints" => inherits_lints |= key == "workspace" && value == "true",
            "package" => {
                inherited.extend(key.strip_suffix(".workspace").filter(|_| value == "true"));
            }
            _ if section.ends_with("dependencies") => {
                let whole = key.ends_with(".workspace") && value == "true";
                let part = value.contains("workspace = true") || value.contains("path = \".\"");
                let own = value.contains("version") || !part;
                if !whole && own {
                    faults.push(format!(
                        "`{key}` has a version of its own: give it `workspace = true`"
                    ));
                }
            }
            _ => {}
        }
    }
    if !inherits_lints {
        faults.push(
            "the lints of the workspace are not inherited: add `[lints] workspace = true`"
                .to_owned(),
        );
    }
    let own = INHERITED.iter().filter(|key| !inherited.contains(key));
    faults.extend(own.map(|key| format!("`{key}` is its own: write `{key}.workspace = true`")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\n\
        [dependencies]\nserde.workspace = true\ntokio = { workspace = true, features = [\"fs\"] }\n\n\
        [dev-dependencies]\na = { path = \".\", features = [\"x\"] }\n\n[lints]\nworkspace = true\n";

    #[test]
    fn who_leaves_it_to_the_workspace_is_right() {
        assert_eq!(wrong(GOOD), Vec::<String>::new());
    }

    #[test]
    fn what_a_member_states_for_itself_is_found() {
        let check = |from: &str, to: &str, part: &str| {
            let manifest = GOOD.replacen(from, to, 1);
            assert_ne!(manifest, GOOD);
            let faults = wrong(&manifest);
            assert!(matches!(faults.as_slice(), [fault] if fault.contains(part)), "{faults:?}");
        };
        check("serde.workspace = true", "serde = \"1\"", "`serde`");
        check("{ workspace = true,", "{ version = \"1\",", "`tokio`");
        check("{ path = \".\",", "{ path = \"../b\",", "`a`");
        check("[lints]\nworkspace = true", "[lints.rust]\nunsafe_code = \"forbid\"", "lints");
        check("edition.workspace = true", "edition = \"2021\"", "`edition`");
        check("[lints]", "[dependencies.rand]\nworkspace = true\n[lints]", "rand");
    }
}
