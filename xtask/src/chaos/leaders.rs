//! That no two controllers ever led at once.

use super::oracle::Oracle;
use anyhow::{Error, Result};
use octavius_testbed::{
    etcd::Etcd,
    leaders::{Judged, Record},
};
use std::time::Duration;

/// In a run that is not shorter than this somebody else leads in the end.
const SURELY_CHANGES: Duration = Duration::from_secs(600);

/// Looks at the rest of all that was written, and judges it.
pub(super) async fn look(
    etcd: &Etcd,
    record: &mut Record,
    oracle: &Oracle,
    time: Duration,
) -> Result<()> {
    record.go_on(etcd).await.map_err(Error::msg)?;
    let Judged { batches, leaders, wrong } = record.judged();
    println!("{batches} batches were written by {leaders} leaders");
    for wrong in wrong {
        oracle.is_wrong(wrong);
    }
    if batches == 0 || (leaders < 2 && time >= SURELY_CHANGES) {
        oracle.is_wrong(format!("{leaders} led in {time:?}, and wrote {batches} batches"));
    }
    Ok(())
}
