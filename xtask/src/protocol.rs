//! The .proto files are the manual of the wire: every service, call, message, enum and field has its comment.

use crate::Source;

/// Everything in the files without a comment.
pub(crate) fn faults(sources: &[Source]) -> Vec<String> {
    sources.iter().flat_map(undocumented).collect()
}

/// A comment stands on the line before, or behind on the same one.
fn undocumented(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut commented = false;
    let mut inside = false; // of a declaration that goes over several lines
    for (index, line) in source.text.lines().map(str::trim).enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        if !inside && declares(code) && !commented && code == line {
            faults.push(format!("{}:{} has no comment: {code}", source.path, index + 1));
        }
        commented = code.is_empty() && line.starts_with("//");
        inside = !code.is_empty() && !code.ends_with(['{', ';', '}']);
    }
    faults
}

/// Whether a line begins something that needs a comment.
fn declares(code: &str) -> bool {
    match code.split_whitespace().next() {
        Some("service" | "rpc" | "message" | "enum" | "oneof") => true,
        None | Some("syntax" | "package" | "import" | "option" | "reserved" | "}") => false,
        // Fields and values; the longest type may push the number to the next line.
        Some(word) => word.chars().all(|c| c.is_alphanumeric() || "_.<>,".contains(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// The file.\nsyntax = \"proto3\";\n\npackage a.v1;\n\nimport \"b.proto\";\n\n\
        // Serves.\nservice Jobs {\n  // Lists.\n  rpc List(ListRequest) returns (ListResponse);\n}\n\n\
        // A kind.\nenum Kind {\n  KIND_UNSPECIFIED = 0; // none\n  // One.\n  KIND_ONE = 1;\n}\n\n\
        // Asks.\nmessage ListRequest {\n  reserved 3;\n  // How many.\n  uint32 size = 1;\n  // Or.\n  oneof way {\n    \
        // By name.\n    string name = 2;\n  }\n  // Labels.\n  map<string, string> labels = 4;\n  // Long.\n  \
        google.protobuf.Timestamp\n      time = 5;\n}\n";

    fn lines(text: &str) -> Vec<String> {
        faults(&[Source { path: "a.proto".to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn a_file_with_all_its_comments_is_right() {
        assert_eq!(lines(GOOD), Vec::<String>::new());
    }

    #[test]
    fn whatever_lost_its_comment_is_found() {
        let comments = GOOD.lines().filter(|line| line.contains("//")).skip(1).count();
        let mut found = 0;
        for (index, line) in
            GOOD.lines().enumerate().skip(1).filter(|(_, line)| line.contains("//"))
        {
            let code = line.split("//").next().unwrap();
            let text =
                GOOD.lines().enumerate().map(|(at, line)| if at == index { code } else { line });
            let faults = lines(&text.collect::<Vec<_>>().join("\n"));
            assert_eq!(faults.len(), 1, "without {line:?}: {faults:?}");
            found += 1;
        }
        assert_eq!(found, comments);
    }
}
