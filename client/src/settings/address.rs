//! `CP_HOST` as a URI.

use tonic::codegen::http::Uri;

/// The URI that `text` means: `host:port`, with or without `http://` before it. The error continues a sentence that
/// begins with the key.
pub(super) fn uri(text: &str) -> Result<String, String> {
    let wanted = "write `HOST:PORT`, for example `localhost:3000`";
    let text = text.trim();
    if text.starts_with("https://") {
        return Err(format!("is `{text}`: this version does not speak TLS yet, {wanted}"));
    }
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let uri: Uri =
        format!("http://{bare}").parse().map_err(|_| format!("is `{text}`: {wanted}"))?;
    let plain = uri.path() == "/" && uri.query().is_none() && !bare.contains('@');
    match uri.host() {
        Some(host) if !host.is_empty() && plain => {}
        _ => return Err(format!("is `{text}`: {wanted}")),
    }
    match uri.port_u16() {
        Some(1..) => Ok(format!("http://{bare}")),
        _ => Err(format!("is `{text}`, without a port: {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_enough() {
        for good in ["localhost:3000", "http://localhost:3000", " localhost:3000/ "] {
            assert_eq!(uri(good).as_deref(), Ok("http://localhost:3000"), "{good}");
        }
        assert_eq!(uri("[::1]:3000").as_deref(), Ok("http://[::1]:3000"));
    }

    #[test]
    fn anything_else_is_refused_with_the_form_that_is_wanted() {
        for bad in [
            "",
            "localhost",
            ":3000",
            "host:0",
            "host:70000",
            "a b:1",
            "u@h:1",
            "h:1/path",
            "ftp://h:1",
        ] {
            let problem = uri(bad).unwrap_err();
            assert!(problem.contains("`HOST:PORT`"), "{bad}: {problem}");
        }
        assert!(uri("https://h:1").unwrap_err().contains("TLS"));
    }
}
