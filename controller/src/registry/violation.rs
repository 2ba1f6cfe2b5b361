//! Faults of a request, all at once and no more than an answer can hold.

use octavius_protocol::id::Invalid;

/// The most faults that are named in one answer; the others are counted.
pub const MOST_NAMED: usize = 20;

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which field.
    pub field: String,
    /// What is wrong with which value, and what to do: continues the sentence that the field begins.
    pub description: String,
}

impl Violation {
    /// One fault.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// Gathers faults: names the first, and counts the others without working out their texts.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    named: Vec<Violation>,
    unnamed: usize,
}

impl Violations {
    /// Notes a fault of `field`.
    pub fn add(&mut self, field: impl Into<String>, describe: impl FnOnce() -> String) {
        if self.named.len() < MOST_NAMED {
            self.named.push(Violation::new(field, describe()));
        } else {
            self.unnamed += 1;
        }
    }

    /// Notes a fault of `field` where `wrong`.
    pub fn add_if(
        &mut self,
        wrong: bool,
        field: impl Into<String>,
        describe: impl FnOnce() -> String,
    ) {
        if wrong {
            self.add(field, describe);
        }
    }

    /// How many faults there are so far.
    pub fn count(&self) -> usize {
        self.named.len() + self.unnamed
    }

    /// The first faults; a last one says how many more there are.
    pub fn into_vec(self) -> Vec<Violation> {
        let Self { mut named, unnamed } = self;
        if unnamed > 0 {
            named.push(Violation::new("", format!("and {unnamed} more faults")));
        }
        named
    }
}

/// What is wrong with a field that holds `text` and should hold an id.
pub fn no_id(text: &str, invalid: &Invalid) -> String {
    format!("is {}, not {}", quoted(text), invalid.wanted())
}

/// A text as an error quotes it: not longer than helps, and on one line.
pub fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() { format!("`{shown}…`") } else { format!("`{shown}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_faults_are_named_and_the_others_counted() {
        let mut violations = Violations::default();
        for n in 0..MOST_NAMED + 17 {
            violations.add(format!("field {n}"), || {
                assert!(n < MOST_NAMED, "a text that nobody will read was worked out");
                "is wrong".to_owned()
            });
        }
        let violations = violations.into_vec();
        assert_eq!(violations.len(), MOST_NAMED + 1);
        assert_eq!(violations[MOST_NAMED].description, "and 17 more faults");
    }

    #[test]
    fn a_quote_is_one_short_line() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted(&"ä".repeat(61)).chars().count(), 63);
    }
}
