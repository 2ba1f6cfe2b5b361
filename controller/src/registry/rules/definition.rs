//! Whether a job's definition is right.

use super::{
    super::{JobDefinition, Violation, Violations, no_id, quoted},
    declared::{check_patterns, check_rules},
    running::check_running,
};
use octavius_protocol::id::{JobName, VariableName};
use std::collections::BTreeMap;

/// The most bytes of a whole definition, as it is stored.
pub(crate) const MOST_BYTES: usize = 256 * 1024;
/// The most bytes of a job's description.
pub(crate) const MOST_DESCRIPTION_BYTES: usize = 4_096;
/// The most bytes of any other text for people.
pub(crate) const MOST_TEXT_BYTES: usize = 1_024;
/// The most bytes of an image's name.
pub(crate) const MOST_IMAGE_BYTES: usize = 1_024;
/// The most bytes of a command, with a NUL behind each word: what Linux takes for one word.
pub(crate) const MOST_COMMAND_BYTES: usize = 128 * 1024;
/// The most arguments of a job.
pub const MOST_ARGUMENTS: usize = 1_000;
/// The most secrets that a job declares, and that are set of one.
pub(crate) const MOST_SECRETS: usize = 100;
pub(crate) const MOST_GROUPS: usize = 100;
pub(crate) const MOST_GROUP_BYTES: usize = 256;

/// All that is wrong with a definition; nothing where it may be stored.
pub fn check_definition(definition: &JobDefinition) -> Vec<Violation> {
    let mut violations = Violations::default();
    if let Err(invalid) = definition.name.parse::<JobName>() {
        violations.add("name", || no_id(&definition.name, &invalid));
    }
    check_program(definition, &mut violations);
    check_running(definition, &mut violations);
    check_texts(definition, &mut violations);
    check_variables(definition, &mut violations);
    if check_patterns(&definition.arguments, &mut violations) {
        for (index, argument) in definition.arguments.iter().enumerate().take(MOST_ARGUMENTS) {
            check_rules(&format!("arguments[{index}]"), argument, &mut violations);
        }
    }
    check_groups(&definition.authorized_groups, &mut violations);
    check_size(definition, &mut violations);
    violations.into_vec()
}

fn check_program(definition: &JobDefinition, violations: &mut Violations) {
    let JobDefinition { image_name, command, .. } = definition;
    violations.add_if(image_name.is_empty() && command.is_empty(), "image_name", || {
        "is empty, and so is `command`: give an image, or a command for executors of the kind `process`"
            .to_owned()
    });
    let size = image_name.len();
    violations.add_if(size > MOST_IMAGE_BYTES, "image_name", || {
        format!("has {size} bytes, and at most {MOST_IMAGE_BYTES} are taken: shorten it")
    });
    let odd = |c: char| c.is_whitespace() || c.is_control();
    violations.add_if(image_name.contains(odd), "image_name", || {
        format!(
            "is {}, which holds a space or a control character: take it out",
            quoted(image_name)
        )
    });
    violations.add_if(command.first().is_some_and(String::is_empty), "command[0]", || {
        "is empty: begin with the program's name".to_owned()
    });
    for (index, word) in command.iter().enumerate() {
        if word.contains('\0') {
            violations.add(format!("command[{index}]"), || {
                "holds a NUL character, which no program can be given: take it out".to_owned()
            });
        }
    }
    let size: usize = command.iter().map(|word| word.len() + 1).sum();
    violations.add_if(size > MOST_COMMAND_BYTES, "command", || {
        format!(
            "has {size} bytes with a NUL behind each word, and at most {MOST_COMMAND_BYTES} are taken: put the script into the image or a file"
        )
    });
}

fn check_texts(definition: &JobDefinition, violations: &mut Violations) {
    check_text("description", &definition.description, MOST_DESCRIPTION_BYTES, violations);
    let JobDefinition { author, contributors, organization, .. } = definition;
    for (field, text) in
        [("author", author), ("contributors", contributors), ("organization", organization)]
    {
        check_text(field, text, MOST_TEXT_BYTES, violations);
    }
}

fn check_text(field: &str, text: &str, most: usize, violations: &mut Violations) {
    let size = text.len();
    violations.add_if(size > most, field, || {
        format!("has {size} bytes, and at most {most} are taken: shorten it")
    });
}

/// Arguments and secrets become environment variables of one process: no name may stand twice among both.
fn check_variables(definition: &JobDefinition, violations: &mut Violations) {
    let JobDefinition { arguments, secrets, .. } = definition;
    for (field, count, most) in
        [("arguments", arguments.len(), MOST_ARGUMENTS), ("secrets", secrets.len(), MOST_SECRETS)]
    {
        violations.add_if(count > most, field, || {
            format!("are {count}, and a job has at most {most}: take some out")
        });
    }
    let arguments = arguments.iter().enumerate();
    let secrets = secrets.iter().enumerate();
    let variables = arguments
        .map(|(index, one)| (format!("arguments[{index}]"), &one.name, &one.description))
        .chain(
            secrets.map(|(index, one)| (format!("secrets[{index}]"), &one.name, &one.description)),
        );
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    for (place, name, description) in variables.take(MOST_ARGUMENTS + MOST_SECRETS) {
        let field = format!("{place}.name");
        match name.parse::<VariableName>() {
            Err(invalid) => violations.add(field, || no_id(name, &invalid)),
            Ok(_) => match places.get(name.as_str()) {
                Some(first) => violations.add(field, || {
                    format!("is `{name}`, which stands at `{first}` already: arguments and secrets share one set of names, rename one")
                }),
                None => {
                    places.insert(name, place.clone());
                }
            },
        }
        check_text(&format!("{place}.description"), description, MOST_TEXT_BYTES, violations);
    }
}

fn check_groups(groups: &[String], violations: &mut Violations) {
    let count = groups.len();
    violations.add_if(count > MOST_GROUPS, "authorized_groups", || {
        format!("are {count}, and a job has at most {MOST_GROUPS}: take some out")
    });
    for (index, group) in groups.iter().enumerate().take(MOST_GROUPS) {
        check_group(&format!("authorized_groups[{index}]"), group, violations);
    }
}

/// Notes it where no group can be called so.
pub(super) fn check_group(field: &str, group: &str, violations: &mut Violations) {
    let wrong = group.trim().is_empty() || group.len() > MOST_GROUP_BYTES;
    violations.add_if(wrong, field.to_owned(), || {
        format!("is {}, which is no group's name: 1 to {MOST_GROUP_BYTES} bytes", quoted(group))
    });
}

fn check_size(definition: &JobDefinition, violations: &mut Violations) {
    // A definition is texts, numbers and lists: it always has a JSON form.
    let size = serde_json::to_vec(definition).map_or(usize::MAX, |text| text.len());
    violations.add_if(size > MOST_BYTES, "", || {
        format!(
            "the definition has {size} bytes as JSON, and at most {MOST_BYTES} are taken: shorten its texts"
        )
    });
}

#[cfg(test)]
#[path = "definition_tests.rs"]
mod tests;
