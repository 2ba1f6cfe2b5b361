//! That no two controllers ever led at once.

use super::oracle::Oracle;
use anyhow::{Error, Result};
use octavius_testbed::{
    etcd::Etcd,
    leaders::{self, Judged},
};
use std::time::Duration;

/// In a run that is not shorter than this somebody else leads in the end.
const SURELY_CHANGES: Duration = Duration::from_secs(600);

/// Looks at all that was written.
pub(super) async fn look(etcd: &Etcd, oracle: &Oracle, time: Duration) -> Result<()> {
    let Judged { batches, leaders, wrong } = leaders::look(etcd).await.map_err(Error::msg)?;
    println!("{batches} batches were written by {leaders} leaders");
    for wrong in wrong {
        oracle.is_wrong(wrong);
    }
    if batches == 0 || (leaders < 2 && time >= SURELY_CHANGES) {
        oracle.is_wrong(format!("{leaders} led in {time:?}, and wrote {batches} batches"));
    }
    Ok(())
}
