//! The secrets of jobs: they go in, and never out again.

use super::{Client, Wire, call::Repeat};
use crate::error::Error;
use octavius_protocol::{
    MAX_MESSAGE,
    v1::{self, secrets_client::SecretsClient},
};
use secrecy::{ExposeSecret, SecretString};

impl Client {
    /// Sets a secret that the job `job` declares. The value goes to the controller, and no call gives it back.
    /// `unmasked` takes one of fewer than 8 bytes, too.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn set_secret(
        &self,
        job: &str,
        name: &str,
        value: SecretString,
        unmasked: bool,
    ) -> Result<v1::SecretState, Error> {
        let (job, name) = (job.to_owned(), name.to_owned());
        let value = value.expose_secret().as_bytes().to_vec();
        let message = v1::SetSecretRequest { job, name, value, unmasked };
        let set = self.call(message, Repeat::IfBroken, |request| {
            let mut secrets = self.secrets_service();
            async move { secrets.set_secret(request).await }
        });
        self.whole(set.await?.secret)
    }

    /// The secrets of the job `job`, and which of them are set.
    ///
    /// # Errors
    /// Where the controller refuses or does not answer.
    pub async fn secrets(&self, job: &str) -> Result<Vec<v1::SecretState>, Error> {
        let message = v1::ListSecretsRequest { job: job.to_owned() };
        let listed = self.call(message, Repeat::IfBroken, |request| {
            let mut secrets = self.secrets_service();
            async move { secrets.list_secrets(request).await }
        });
        Ok(listed.await?.secrets)
    }

    /// Takes a secret of the job `job` away. Not asked again where it may have been done: a second try would find none.
    ///
    /// # Errors
    /// Where it is not set, or the controller refuses or does not answer.
    pub async fn unset_secret(&self, job: &str, name: &str) -> Result<(), Error> {
        let message = v1::UnsetSecretRequest { job: job.to_owned(), name: name.to_owned() };
        self.call(message, Repeat::IfNothingDone, |request| {
            let mut secrets = self.secrets_service();
            async move { secrets.unset_secret(request).await }
        })
        .await
        .map(|_| ())
    }

    fn secrets_service(&self) -> SecretsClient<Wire> {
        SecretsClient::new(self.wire.clone()).max_decoding_message_size(MAX_MESSAGE)
    }
}
