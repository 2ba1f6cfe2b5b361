//! What the configuration names as the place of the segments: a folder, or a bucket of a cloud.

use octavius_service::configuration::{Setting, private::Value};
use std::path::PathBuf;
use url::Url;

/// The URL of an object store: `file:///shared/folder`, `s3://bucket/prefix`, `gs://bucket/prefix`, or
/// `az://container/prefix`, with parameters behind a `?` that are no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStoreUrl {
    url: Url,
    kind: Kind,
}

/// What is behind a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    S3,
    Google,
    Azure,
}

impl Kind {
    /// The parameters that are taken behind the `?`.
    fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Folder => &[],
            Self::S3 => &["endpoint", "region"],
            Self::Google => &["endpoint"],
            Self::Azure => &["endpoint", "account"],
        }
    }

    /// Where its keys come from.
    pub(super) fn keys(self) -> &'static str {
        match self {
            Self::Folder => "the user that the controller runs as",
            Self::S3 => {
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from the role of the machine or the pod"
            }
            Self::Google => "GOOGLE_SERVICE_ACCOUNT, the path of a key file, or from the machine",
            Self::Azure => {
                "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or from the machine"
            }
        }
    }
}

impl LogStoreUrl {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The folder, where it is one.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        (self.kind == Kind::Folder).then(|| self.url.to_file_path().ok()).flatten()
    }

    /// The value of a parameter.
    #[cfg(any(feature = "clouds", test))]
    pub(super) fn parameter(&self, wanted: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    }

    /// The URL without its parameters.
    #[cfg(any(feature = "clouds", test))]
    pub(super) fn bare(&self) -> Url {
        let mut bare = self.url.clone();
        bare.set_query(None);
        bare
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("give {}", Self::wanted());
        let url: Url = text.trim().parse().map_err(|_| wrong())?;
        let kind = match url.scheme() {
            "file" => Kind::Folder,
            "s3" => Kind::S3,
            "gs" => Kind::Google,
            "az" => Kind::Azure,
            _ => return Err(wrong()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!(
                "leave out what is before the `@`: keys come from {}",
                kind.keys()
            ));
        }
        let named = url.host_str().is_some_and(|host| !host.is_empty());
        match kind {
            Kind::Folder if named || url.to_file_path().is_err() => {
                return Err(
                    "give the whole path, with three slashes: `file:///shared/folder`".to_owned()
                );
            }
            Kind::Folder => {}
            Kind::S3 | Kind::Google | Kind::Azure if !named => return Err(wrong()),
            Kind::S3 | Kind::Google | Kind::Azure => {}
        }
        if url.port().is_some() || url.fragment().is_some() {
            let server = "a server of your own is named by a parameter: `s3://bucket/prefix?endpoint=http://127.0.0.1:9000`";
            return Err(server.to_owned());
        }
        for (name, value) in url.query_pairs() {
            if !kind.parameters().contains(&&*name) {
                return Err(unknown_parameter(&name, kind));
            }
            if name == "endpoint" && !is_endpoint(&value) {
                let remedy =
                    "give `endpoint` the address of a server, for example `http://127.0.0.1:9000`";
                return Err(remedy.to_owned());
            }
        }
        Ok(Self { url, kind })
    }
}

fn unknown_parameter(name: &str, kind: Kind) -> String {
    let known: Vec<_> = kind.parameters().iter().map(|name| format!("`{name}`")).collect();
    let known = match known.is_empty() {
        true => "a folder has no parameters".to_owned(),
        false => format!("the parameters are {}", known.join(" and ")),
    };
    format!("leave out `{name}`: {known}, and keys come from {}", kind.keys())
}

fn is_endpoint(text: &str) -> bool {
    text.parse::<Url>().is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.has_host()
    })
}

impl Setting for LogStoreUrl {
    fn wanted() -> String {
        "a URL: `file:///shared/folder`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`"
            .to_owned()
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| format!("give {}", Self::wanted()))?;
        Self::parse(text)
    }

    fn shown(&self) -> String {
        self.url.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        LogStoreUrl::parse(text).unwrap_err()
    }

    #[test]
    fn folders_and_buckets_are_taken_with_their_parameters() {
        let folder = LogStoreUrl::parse("file:///shared/my%20logs").unwrap();
        assert_eq!(folder.folder(), Some(PathBuf::from("/shared/my logs")));
        let own = "s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=here";
        let bucket = LogStoreUrl::parse(own).unwrap();
        assert_eq!(
            (bucket.kind(), bucket.folder(), bucket.shown()),
            (Kind::S3, None, own.to_owned())
        );
        assert_eq!(bucket.parameter("endpoint").as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(bucket.parameter("region").as_deref(), Some("here"));
        assert_eq!(bucket.bare().as_str(), "s3://bucket/a/b");
        for (text, kind) in [("gs://bucket", Kind::Google), ("az://box/p?account=me", Kind::Azure)]
        {
            assert_eq!(LogStoreUrl::parse(text).unwrap().kind(), kind);
        }
    }

    #[test]
    fn what_is_no_place_for_logs_is_refused_with_the_remedy() {
        for text in ["", "/shared/folder", "http://host/bucket", "s3:///prefix", "memory:///"] {
            assert!(refused(text).contains("`s3://bucket/prefix`"), "{text}: {}", refused(text));
        }
        for text in ["file://shared/folder", "file://host/folder"] {
            assert!(refused(text).contains("three slashes"), "{text}: {}", refused(text));
        }
        assert!(refused("s3://key:secret@bucket/p").contains("AWS_SECRET_ACCESS_KEY"));
        let unknown = refused("s3://bucket?secret_access_key=x");
        assert!(
            unknown.contains(
                "leave out `secret_access_key`: the parameters are `endpoint` and `region`"
            )
        );
        assert!(refused("file:///logs?region=x").contains("no parameters"));
        assert!(refused("s3://bucket:9000/p").contains("?endpoint=http"));
        assert!(refused("s3://bucket?endpoint=127.0.0.1:9000").contains("`http://127.0.0.1:9000`"));
    }
}
