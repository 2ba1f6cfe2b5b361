//! By what this executor's place is known, and which installation it belongs to: kept where the next process finds it.

#[cfg(feature = "kubernetes")]
use crate::runner::kubernetes::ClusterPlace;
use crate::{
    runner::RunnerError,
    state_dir::{StateDir, StateDirError},
};
use std::sync::Arc;
use uuid::Uuid;

/// Why what is kept cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum BelongingError {
    /// In the state folder.
    #[error(transparent)]
    Folder(#[from] StateDirError),
    /// In the cluster.
    #[error(transparent)]
    Cluster(#[from] RunnerError),
}

impl BelongingError {
    /// Whether it may work later.
    pub fn is_later(&self) -> bool {
        matches!(self, Self::Cluster(RunnerError::Failed { .. }))
    }
}

/// Where it is kept. Clones share it.
#[derive(Clone, Debug)]
pub enum Belonging {
    /// With the runner `process`: what runs is on this machine, and so is this.
    Folder(Arc<StateDir>),
    /// With the runner `kubernetes`: what runs is in the cluster, and so is this.
    #[cfg(feature = "kubernetes")]
    Cluster(Arc<ClusterPlace>),
}

impl Belonging {
    /// Names the place for ever.
    pub fn place(&self) -> Uuid {
        match self {
            Self::Folder(folder) => folder.place(),
            #[cfg(feature = "kubernetes")]
            Self::Cluster(place) => place.uid(),
        }
    }

    /// The installation that the place belongs to; none before the first registration.
    pub async fn installation(&self) -> Result<Option<String>, BelongingError> {
        Ok(match self {
            Self::Folder(folder) => folder.installation().await?,
            #[cfg(feature = "kubernetes")]
            Self::Cluster(place) => place.installation(),
        })
    }

    /// This process has the executor's session. What is in a folder, which one process at a time can have, needs no saying.
    pub async fn claim(&self) -> Result<(), BelongingError> {
        match self {
            Self::Folder(_) => {}
            #[cfg(feature = "kubernetes")]
            Self::Cluster(place) => place.claim().await?,
        }
        Ok(())
    }

    /// Whether no other process has claimed since what runs here.
    pub async fn is_claimed(&self) -> Result<bool, BelongingError> {
        match self {
            Self::Folder(_) => Ok(true),
            #[cfg(feature = "kubernetes")]
            Self::Cluster(place) => Ok(place.is_claimed().await?),
        }
    }

    /// From now on the place belongs to that installation.
    pub async fn keep_installation(&self, installation: &str) -> Result<(), BelongingError> {
        match self {
            Self::Folder(folder) => folder.keep_installation(installation).await?,
            #[cfg(feature = "kubernetes")]
            Self::Cluster(place) => place.keep_installation(installation).await?,
        }
        Ok(())
    }
}
