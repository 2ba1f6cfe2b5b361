//! `docs/configuration.md`, from the same tables as the checks.

use super::section::{Key, Table};
use std::fmt::Write as _;

/// The document of all tables.
pub fn page(tables: &[Table]) -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Made by `cargo xtask docs` from the tables in the code: change them there. -->\n\n\
         One file for each server; the client's is [the last one here](#octavius_clientyaml). A server's holds a JSON object, or, where its name ends with `.yaml` or `.yml`, the same keys \
         in YAML; without `--config FILE` a server looks in its working folder for the name below, and else for that \
         name with one of these endings (two of them there are an error that names both). Every key can be overridden by an environment variable, whose \
         name is the key in upper case behind the server's prefix. A variable's value is read as JSON if that gives \
         what the key wants, else as text; empty text takes an optional key away. An unknown key, or an unknown \
         variable with the prefix, is an error that names the nearest known one, and all faults come at once. Times \
         are seconds as a number, or text like `\"90s\"`, `\"5m\"` and `\"30d\"`.\n\n\
         `controller config` and `executor config` start nothing and show the configuration in force: each key, its \
         value, and where that comes from (`default`, the file, the variable, or what it is derived from), or all that \
         is wrong. Secrets are never shown. `-o json` makes one document of it:\n\n\
         ```sh\n\
         OCTAVIUS_EXECUTOR_LABELS='zone=eu' executor config --config executor.yaml\n\
         controller config -o json | jq '.keys.data_dir.value'\n\
         ```\n",
    );
    for table in tables {
        section(&mut page, table);
    }
    page
}

fn section(page: &mut String, table: &Table) {
    // Writing to a string cannot fail.
    let _ = writeln!(page, "\n## `{}`\n\n{}\n", table.file, line(table.about));
    let _ = match table.prefix {
        "" => writeln!(page, "Variables have the names of the keys.\n"),
        prefix => writeln!(page, "Variables: `{prefix}` and the key in upper case.\n"),
    };
    let _ = writeln!(page, "| key | value | default | meaning |\n| --- | --- | --- | --- |");
    for key in &table.keys {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&key.wanted),
            default(key),
            cell(&meaning(key))
        );
    }
    if !table.without_effect.is_empty() {
        let _ = writeln!(page, "\nAccepted for old files, without effect:\n");
        for key in table.without_effect {
            let _ = writeln!(page, "- `{}`: {}", key.name, key.why);
        }
    }
}

fn default(key: &Key) -> String {
    match key.default.as_deref() {
        None => "must be given".to_owned(),
        Some("none") => "none".to_owned(),
        Some(default) => format!("`{}`", cell(default)),
    }
}

fn meaning(key: &Key) -> String {
    let only_if = key.only_if.map(|other| format!(" Only with `{}` `{}`.", other.key, other.value));
    line(key.meaning) + &only_if.unwrap_or_default()
}

/// A doc comment as one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        configuration::{Bounds, Fault, table},
        section,
    };

    section! {
        /// What a door
        /// is told.
        struct Door, file "door.json", variables "DOOR_";

        /// Open | closed, or
        /// ajar.
        state: String = "a|b".to_owned();
        /// Which key fits.
        #[only_if(state = "closed")]
        key: Option<u16>;
        /// Its number.
        number: u64;

        without_effect {
            colour: "doors are grey";
        }
    }

    impl Bounds for Door {
        fn faults(&self) -> Vec<Fault> {
            Vec::new()
        }
    }

    #[test]
    fn the_page_has_every_key_with_default_and_meaning() {
        let page = page(&[table::<Door>()]);
        let (_, table) = page.split_once("## ").unwrap();
        assert_eq!(
            table,
            "`door.json`\n\nWhat a door is told.\n\n\
             Variables: `DOOR_` and the key in upper case.\n\n\
             | key | value | default | meaning |\n\
             | --- | --- | --- | --- |\n\
             | `state` | text | `a\\|b` | Open \\| closed, or ajar. |\n\
             | `key` | a whole number up to 65535 | none | Which key fits. Only with `state` `closed`. |\n\
             | `number` | a whole number | must be given | Its number. |\n\
             \nAccepted for old files, without effect:\n\n\
             - `colour`: doors are grey\n"
        );
    }

    #[test]
    fn variables_without_a_prefix_have_the_names_of_the_keys() {
        let page = page(&[Table { prefix: "", ..table::<Door>() }]);
        assert!(
            page.contains("told.\n\nVariables have the names of the keys.\n\n| key "),
            "{page}"
        );
    }
}
