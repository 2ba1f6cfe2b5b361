//! Addresses of controllers, as people write them.

use std::fmt;
use tonic::transport::Uri;

/// The most addresses that may be given.
pub const MOST_ADDRESSES: usize = 16;

/// Where one controller is, or several that share a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
}

/// Why a text is no address. It continues a sentence that begins with the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongAddress {
    /// It has another form.
    #[error("is `{0}`: write `HOST:PORT`, for example `localhost:3000`")]
    Form(String),
    /// It has no port.
    #[error("is `{0}`, without a port: write `HOST:PORT`, for example `localhost:3000`")]
    NoPort(String),
    /// They are too many.
    #[error("has {0} addresses, and at most {MOST_ADDRESSES} are tried: leave some out")]
    Many(usize),
}

impl Address {
    /// Reads `HOST:PORT`, with `http://` or `https://` before it or neither; then `tls` says which of them is meant.
    ///
    /// # Errors
    /// Where it has another form.
    pub fn parse(text: &str, tls: bool) -> Result<Self, WrongAddress> {
        let text = text.trim();
        let form = || WrongAddress::Form(text.to_owned());
        let (scheme, bare) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), bare)) => (scheme, bare),
            Some(_) => return Err(form()),
            None => (if tls { "https" } else { "http" }, text),
        };
        let bare = bare.trim_end_matches('/');
        let uri: Uri = format!("{scheme}://{bare}").parse().map_err(|_| form())?;
        let plain = uri.path() == "/" && uri.query().is_none() && !bare.contains('@');
        let host = uri.host().filter(|host| !host.is_empty() && plain).ok_or_else(form)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        match uri.port_u16() {
            Some(port @ 1..) => Ok(Self { uri, host, port }),
            _ => Err(WrongAddress::NoPort(text.to_owned())),
        }
    }

    /// The address as a URI.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host alone; an IPv6 address has no brackets here.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Whether both name the same host and port, whatever is spoken there.
    pub fn is_place_of(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

/// `http://HOST:PORT` or `https://HOST:PORT`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri.to_string().trim_end_matches('/'))
    }
}

/// Reads addresses with commas between them; each as [`Address::parse`]. What is written twice counts once.
///
/// # Errors
/// Where one has another form, there is none, or they are too many.
pub fn addresses(text: &str, tls: bool) -> Result<Vec<Address>, WrongAddress> {
    let mut all = Vec::new();
    for one in text.split(',') {
        let address = Address::parse(one, tls)?;
        if !all.contains(&address) {
            all.push(address);
        }
    }
    if all.len() > MOST_ADDRESSES {
        return Err(WrongAddress::Many(all.len()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(text: &str, tls: bool) -> Vec<String> {
        addresses(text, tls).unwrap().iter().map(Address::to_string).collect()
    }

    #[test]
    fn a_host_and_a_port_are_enough_and_a_scheme_says_whether_tls_is_spoken() {
        for good in ["localhost:3000", "http://localhost:3000", " localhost:3000/ "] {
            assert_eq!(told(good, false), ["http://localhost:3000"], "{good}");
        }
        assert_eq!(told("https://[::1]:3000", false), ["https://[::1]:3000"]);
        assert_eq!(told("a:1, http://b:2,a:1", true), ["https://a:1", "http://b:2"]);
        let address = Address::parse("https://[::1]:3000", false).unwrap();
        assert_eq!((address.host(), address.port(), address.is_tls()), ("::1", 3000, true));
    }

    #[test]
    fn anything_else_is_refused_with_the_form_that_is_wanted() {
        for bad in [
            "",
            ",",
            "a:1,",
            "localhost",
            ":3000",
            "host:0",
            "host:70000",
            "a b:1",
            "u@h:1",
            "h:1/path",
            "ftp://h:1",
            "a:1;b:2",
        ] {
            let problem = addresses(bad, false).unwrap_err().to_string();
            assert!(problem.contains("`HOST:PORT`"), "{bad}: {problem}");
        }
        let many: Vec<_> = (1..=17).map(|port| format!("h:{port}")).collect();
        assert_eq!(addresses(&many.join(","), false), Err(WrongAddress::Many(17)));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "(https?://)?(\\PC|[a-z0-9:/.,@\\[\\]%?#]){0,40}", tls: bool) {
            for address in addresses(&text, tls).unwrap_or_default() {
                prop_assert_eq!(Address::parse(&address.to_string(), tls), Ok(address));
            }
        }
    }
}
