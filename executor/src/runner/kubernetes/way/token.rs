//! A token that is in a file: whoever renews it writes it there anew.

use secrecy::{ExposeSecret as _, SecretString};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::Instant;
use tonic::codegen::http::HeaderValue;

/// How often the file is read.
pub(super) const READ: Duration = Duration::from_secs(60);

/// A token that is in a file.
pub(super) struct TokenFile {
    path: PathBuf,
    /// The token that is used.
    pub(super) token: SecretString,
    /// The last that the API server knew.
    pub(super) known: Option<SecretString>,
    /// When the file was last read.
    pub(super) read: Instant,
}

impl TokenFile {
    /// Reads it for the first time. An error is for the user.
    pub(super) async fn open(path: &Path) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "the token file `{}` cannot be used: {why}; the kubeconfig names it under `tokenFile`, or it is that of \
                 the pod's service account",
                path.display()
            )
        };
        let text =
            tokio::fs::read_to_string(path).await.map_err(|error| wrong(&error.to_string()))?;
        let token = token(&text).ok_or_else(|| wrong("it holds no token"))?;
        Ok(Self { path: path.to_owned(), token, known: None, read: Instant::now() })
    }

    /// Reads the file. What is in it is not believed where it is no token.
    pub(super) async fn read(&mut self) {
        self.read = Instant::now();
        match tokio::fs::read_to_string(&self.path).await.map(|text| token(&text)) {
            Ok(Some(token)) => self.token = token,
            Ok(None) => {
                tracing::debug!(path = %self.path.display(), "the file holds no token: the old one is used on");
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the token file cannot be read: the old token is used on");
            }
        }
    }

    /// Goes over to another token than one that is not known. Whether there is one.
    pub(super) async fn other_than(&mut self, unknown: &SecretString) -> bool {
        // Else it and the file's would be tried by turns for ever.
        self.known.take_if(|known| same(known, unknown));
        self.read().await;
        if !same(&self.token, unknown) {
            return true;
        }
        match self.known.clone() {
            Some(known) => {
                self.token = known;
                true
            }
            None => false,
        }
    }
}

/// What a file holds, if that may be a token.
fn token(text: &str) -> Option<SecretString> {
    let token = SecretString::from(text.trim());
    let usable = !token.expose_secret().is_empty() && bearer(&token).is_some();
    usable.then_some(token)
}

/// What a token is in the head of a call; none: nothing that could be there.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether two tokens are one.
pub(super) fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_not_believed() {
        assert_eq!(token("abc.def\n").unwrap().expose_secret(), "abc.def");
        for wrong in ["", "  \n", "abc\ndef", "abc\0"] {
            assert!(token(wrong).is_none(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn two_tokens_that_are_both_refused_are_not_tried_by_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "file").unwrap();
        let mut file = TokenFile::open(&path).await.unwrap();
        file.known = Some("known".into());
        let mut tried = Vec::new();
        loop {
            let token = file.token.clone();
            tried.push(token.expose_secret().to_owned());
            assert!(tried.len() < 10, "{tried:?}");
            if !file.other_than(&token).await {
                break;
            }
        }
        assert_eq!(tried, ["file", "known", "file"]);
        // A refusal of another one says nothing of what is known.
        file.known = Some("known".into());
        assert!(file.other_than(&"other".into()).await);
        assert!(file.known.is_some());
    }

    #[tokio::test]
    async fn a_token_that_is_not_known_gives_way_to_the_files_and_else_to_the_last_that_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "first").unwrap();
        let mut file = TokenFile::open(&path).await.unwrap();
        let first = file.token.clone();
        assert!(!file.other_than(&first).await, "there is no other");
        file.known = Some(first.clone());
        std::fs::write(&path, "seco").unwrap();
        file.read().await;
        let half = file.token.clone();
        assert_eq!(half.expose_secret(), "seco");
        assert!(file.other_than(&half).await);
        assert_eq!(file.token.expose_secret(), "first");
        std::fs::write(&path, "second").unwrap();
        assert!(file.other_than(&first).await);
        assert_eq!(file.token.expose_secret(), "second");
        std::fs::write(&path, "").unwrap();
        file.read().await;
        assert_eq!(file.token.expose_secret(), "second", "an empty file is believed");
    }
}
