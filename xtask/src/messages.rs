//! The texts that the page on troubleshooting is arranged by, and those that the tables of limits quote, are texts that the
//! programs can say.
//!
//! A heading shows a text between backticks, with `…` where the text differs from one time to the next. What stands
//! between two of them has to occur in the code, so that a page is never about words that nobody sees any more.

use crate::Source;
use octavius_service::limits::Section;

/// The page.
const PAGE: &str = "docs/troubleshooting.md";
/// What begins a heading that quotes a text.
const HEADING: &str = "### `";

/// The tables of limits quote what others say.
const TABLES: &str = "/src/limits";

/// Every quoted text that the code does not have.
pub(crate) fn faults(documents: &[Source], code: &[Source]) -> Vec<String> {
    let said = said(code);
    let page = documents.iter().filter(|document| document.path == PAGE);
    let lines = page.flat_map(|document| document.text.lines().enumerate());
    let pieces = lines.flat_map(|(index, line)| {
        let text = line.strip_prefix(HEADING).and_then(|rest| rest.rsplit_once('`'));
        let pieces = text.into_iter().flat_map(|(text, _)| text.split('…'));
        pieces.map(move |piece| (index + 1, piece.trim()))
    });
    pieces
        .filter(|(_, piece)| !piece.is_empty() && !said.iter().any(|text| text.contains(piece)))
        .map(|(line, piece)| format!("{PAGE}:{line}: no program says \"{piece}\""))
        .collect()
}

/// Every quoted text of the tables of limits that the code does not have.
pub(crate) fn unsaid(limits: &[Section], code: &[Source]) -> Vec<String> {
    let said = said(code);
    let quoted = limits.iter().flat_map(|section| &section.limits);
    let pieces = quoted.flat_map(|limit| {
        let pieces = limit.beyond.words().into_iter().flat_map(|words| words.split('…'));
        let pieces = pieces.flat_map(|piece| piece.split("{}"));
        pieces.map(|piece| (limit.what, piece.trim()))
    });
    pieces
        .filter(|(_, piece)| !piece.is_empty() && !said.iter().any(|text| text.contains(piece)))
        .map(|(what, piece)| format!("limit `{what}`: no program says \"{piece}\""))
        .collect()
}

/// What the programs can say: their code.
fn said(code: &[Source]) -> Vec<String> {
    let programs = code
        .iter()
        .filter(|source| !source.path.starts_with("xtask/") && !source.path.contains(TABLES));
    programs.map(|source| joined(&source.text)).collect()
}

/// Code with the texts that are broken over lines in one piece, as they are said.
fn joined(code: &str) -> String {
    let mut parts = code.split("\\\n");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push_str(part.trim_start());
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use octavius_service::limits::{Amount, Beyond, Limit};

    #[test]
    fn a_heading_has_to_be_said_by_some_program() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let code =
            [source("a.rs", "format!(\"no job {name} is \\\n        known: see the list\")")];
        let page = |heading: &str| [source(PAGE, &format!("# Page\n\n### `{heading}`\n"))];
        assert_eq!(faults(&page("no job … is known: see"), &code), Vec::<String>::new());
        let expected = vec![format!("{PAGE}:3: no program says \"was lost\"")];
        assert_eq!(faults(&page("no job … was lost"), &code), expected);
    }

    #[test]
    fn what_a_limit_quotes_has_to_be_said_by_some_other_file() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let words = "{} jobs wait, the most of …: come later";
        let limit = Limit::fixed("Jobs", Amount::Count(7), Beyond::Stops(words));
        let limits = [Section { title: "All", limits: vec![limit] }];
        let code = |path| [source(path, "\"{most} jobs wait, the most of {place}: come later\"")];
        assert_eq!(unsaid(&limits, &code("a/src/rules.rs")), Vec::<String>::new());
        assert_eq!(unsaid(&limits, &code("a/src/limits.rs")).len(), 2);
        let other = [source("a.rs", "jobs wait, the most of {place}: go away")];
        assert_eq!(unsaid(&limits, &other), ["limit `Jobs`: no program says \": come later\""]);
    }
}
