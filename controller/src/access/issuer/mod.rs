//! Who issues tokens that are taken beside ours: an issuer of identity tokens of people, and clusters of those of service
//! accounts; their keys, and whom their tokens let in.
//!
//! One task of the controller for each of them fetches the keys, from its start on, whoever leads: now and then, again
//! after a pause where that fails, and when somebody shows a token with a key that is not known. It owns them; readers get
//! a snapshot, and no call that is let in waits for the network. Keys that were known stay good while the issuer is away: what it signed it
//! still has signed. Who shows a key that is not known can wait for a while until the issuer was asked, with
//! `IssuerView::settled`; however many do, it is asked once in ten seconds.
//!
//! Nothing of this is in the store, and no token is kept. Not here: what somebody may do, which is the view's.

mod claims;
mod clusters;
mod error;
mod fetch;
mod issuers;
mod keys;
mod signature;
#[cfg(test)]
mod tests;

pub use claims::{Issued, IssuedToken};
pub use clusters::{Cluster, Clusters, ServiceAccount};
pub use error::{NotIssued, Whose, Wrong};
pub(crate) use fetch::FETCH_WITHIN;
pub use fetch::{Discovery, DiscoveryError};
pub use issuers::{Issuers, NeverAsked, Vouched};

use crate::pauses::{Pauses, Reminder};
use claims::Rules;
use fetch::Fetch;
use jiff::Timestamp;
use keys::{Key, SaidKey};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The most bytes of a token: it comes in the metadata of each call, with what else belongs there.
pub(crate) const LARGEST_TOKEN: usize = 12 << 10;
/// The most groups of a token.
pub(crate) const MOST_GROUPS: usize = 500;
/// How often the keys are fetched where all is well.
pub(crate) const FETCH_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often they are fetched because of keys that are not known: strangers name what they like.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(10);
/// For how long a call waits for that: less than its client does, which asks again.
pub(crate) const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// The pauses after which an issuer that does not answer is asked again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is known of an issuer.
#[derive(Clone, Debug, Default)]
struct Known {
    keys: Vec<Key>,
    /// When it was last asked, and has answered or not.
    asked: Option<Instant>,
    /// Why it did not answer then.
    trouble: Option<String>,
}

impl Known {
    /// Whether it has answered when it was last asked.
    fn is_whole(&self) -> bool {
        self.asked.is_some() && self.trouble.is_none()
    }

    /// Whether it was asked at that time or later.
    fn since(&self, began: Instant) -> bool {
        self.asked.is_some_and(|asked| asked >= began)
    }
}

/// An issuer that a configuration names.
#[derive(Debug)]
pub(crate) struct Issuer {
    fetch: Fetch,
    known: watch::Sender<Known>,
    view: IssuerView,
}

/// Whom the tokens of an issuer let in, for the door.
#[derive(Clone, Debug)]
pub struct IssuerView {
    rules: Arc<Rules>,
    known: watch::Receiver<Known>,
    wanted: Arc<Notify>,
}

/// Whether this has the form of a token that an issuer signs. None of ours has.
pub(crate) fn has_form(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Issuer {
    /// One whose tokens have to say this, and whose keys are fetched so. Asks nobody yet.
    fn new(rules: Rules, fetch: Fetch) -> Self {
        signature::install();
        let (known, seen) = watch::channel(Known::default());
        let (rules, wanted) = (Arc::new(rules), Arc::default());
        Self { fetch, known, view: IssuerView { rules, known: seen, wanted } }
    }

    /// Whom its tokens let in.
    pub(crate) fn view(&self) -> IssuerView {
        self.view.clone()
    }

    /// Fetches its keys again and again, until `ending`. Who waits for them then is told that they are not known.
    pub(crate) async fn run(self, ending: CancellationToken) {
        ending.run_until_cancelled(self.go_on()).await;
    }

    async fn go_on(self) {
        let issuer = &self.view.rules.whose;
        let (mut pauses, mut reminder) = Self::in_order();
        loop {
            let began = Instant::now();
            // What comes from outside is read on a task of its own: if that panics, the keys are fetched again.
            let fetching = AbortOnDropHandle::new(tokio::spawn(self.fetch.clone().keys()));
            let fetched = match fetching.await {
                Ok(fetched) => fetched.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let next = match fetched {
                Ok(keys) => {
                    let is_news = self.known.borrow().trouble.is_some()
                        || self.known.borrow().asked.is_none();
                    if is_news {
                        tracing::info!(%issuer, keys = keys.len(), "the keys of an issuer are there: its tokens are taken");
                    }
                    (pauses, reminder) = Self::in_order();
                    self.known.send_replace(Known { keys, asked: Some(began), trouble: None });
                    began + FETCH_EVERY
                }
                Err(error) => {
                    if reminder.is_due() {
                        let keys = self.known.borrow().keys.len();
                        tracing::warn!(%issuer, keys, %error, "the keys of an issuer cannot be had: those that are known stay good, and tokens with others are refused");
                    }
                    self.known.send_modify(|known| {
                        (known.asked, known.trouble) = (Some(began), Some(error));
                    });
                    Instant::now() + pauses.next()
                }
            };
            let asked_for = async {
                self.view.wanted.notified().await;
                sleep_until(began + ASK_EVERY).await;
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = asked_for => {}
            }
        }
    }

    fn in_order() -> (Pauses, Reminder) {
        (Pauses::new(FIRST_PAUSE, LONGEST_PAUSE), Reminder::default())
    }
}

/// Where people sign in who have no token, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The issuer.
    pub issuer: String,
    /// What it knows this installation as: its tokens are for that.
    pub client_id: String,
}

impl IssuerView {
    /// What it calls itself.
    fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// Where people get a token that is taken.
    fn sign_in(&self) -> SignIn {
        SignIn { issuer: self.rules.issuer.clone(), client_id: self.rules.audience.clone() }
    }

    /// Whom a token lets in at this time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Issued, NotIssued> {
        let said = self.said(token)?;
        let issuer = &self.rules.whose;
        let claims = {
            let known = self.known.borrow();
            said.open(token, &known.keys, issuer).map_err(|error| match error {
                NotIssued::UnknownKey { .. } if !known.is_whole() => self.away(&known),
                error => error,
            })?
        };
        claims::read(token, &claims, &self.rules, now)
    }

    /// Whether there is nothing to be waited for: the key of this token is known, or it cannot be taken in any case.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.said(token).map_or(true, |said| said.is_among(&self.known.borrow().keys))
    }

    /// Waits until the issuer was asked for the key of this token, or has it. An error: it was not within
    /// [`SETTLE_WITHIN`], or the controller ends.
    pub(crate) async fn settled(&self, token: &str) -> Result<(), NotIssued> {
        let Ok(said) = self.said(token) else { return Ok(()) };
        let mut known = self.known.clone();
        let came = Instant::now();
        self.wanted.notify_one();
        let settled = known.wait_for(|known| said.is_among(&known.keys) || known.since(came));
        match timeout(SETTLE_WITHIN, settled).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.not_settled()),
        }
    }

    /// Why nobody can say whose the key of a token is that is not known.
    pub(crate) fn not_settled(&self) -> NotIssued {
        self.away(&self.known.borrow())
    }

    fn away(&self, known: &Known) -> NotIssued {
        let why = known.trouble.clone().unwrap_or_else(|| "they are being fetched".to_owned());
        NotIssued::Away { issuer: self.rules.whose.to_string(), why }
    }

    fn said(&self, token: &str) -> Result<SaidKey, NotIssued> {
        match token.len() {
            size if size > LARGEST_TOKEN => Err(NotIssued::Large { size }),
            _ => SaidKey::of(token),
        }
    }
}
