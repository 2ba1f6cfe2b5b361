//! What this side knows of grants and orders: the controller's words as types, without the protocol.

use crate::runner::{Identity, Work};
use octavius_protocol::id::{AttemptId, Epoch};

/// Names one attempt, and the grant by which somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseName {
    /// Which attempt.
    pub attempt: AttemptId,
    /// By which grant: a newer one has a greater epoch.
    pub epoch: Epoch,
}

/// The controller's grant of one attempt to this executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// All that it takes to run it.
    pub work: Work,
    /// What was prepared for it, as the controller knows; none: nothing yet.
    pub identity: Option<Identity>,
}

/// What the controller wants of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Terminate, grace, kill; then say how it ended.
    Stop,
    /// Forget it: it is somebody else's, or over.
    Release,
}

/// Something to be done with one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which attempt, by which grant.
    pub lease: LeaseName,
    /// What to do.
    pub kind: OrderKind,
    /// Why, in words.
    pub reason: String,
}

/// How far an attempt is, as the controller and this executor's metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HeldPhase {
    /// Known; nothing made yet.
    Accepted,
    /// Made by an earlier process, which alone had its secrets. It is not named to the controller, so that its grant
    /// comes again.
    Bare,
    /// Made, and unable to run yet.
    Prepared,
    /// Its program runs, or that cannot be excluded.
    Running,
    /// Its program is over; state or log are not acknowledged yet.
    Ended,
}

impl HeldPhase {
    /// All of them, in the order of life.
    pub const ALL: [Self; 5] =
        [Self::Accepted, Self::Bare, Self::Prepared, Self::Running, Self::Ended];

    /// The phase as a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Bare => "bare",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Ended => "ended",
        }
    }
}

/// One attempt that is held here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which one, by which grant.
    pub lease: LeaseName,
    /// How far it is.
    pub phase: HeldPhase,
    /// An earlier process had the values that are masked in its log, and this one has not: its grant is sent again.
    pub lacks_secrets: bool,
}
