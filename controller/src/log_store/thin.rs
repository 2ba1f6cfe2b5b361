//! Making the middle of a long log go: the index first, which is told of a gap, then the objects.

use super::{
    index,
    middle::{LeftOut, Thinning},
};
use crate::store::{Commit, StoreHandle, Write, Writer, keys};
use octavius_protocol::id::AttemptId;

/// So many segments go with one commit, which takes 120 writes.
const AT_ONCE: usize = 100;

/// What is to be committed for the last segments that go, and to be deleted then.
#[derive(Debug, Default)]
pub(super) struct Thinned {
    pub(super) writes: Vec<Write>,
    /// What is left out of the log with that; none where nothing went.
    pub(super) left_out: Option<LeftOut>,
    /// What the index does not know any more.
    pub(super) objects: Vec<String>,
}

/// Finds the segments that go. If they are too many for one commit, all but the last ones are gone from the index when
/// this returns. An error: a commit was refused, or nobody knows what became of it.
pub(super) async fn thinned(
    store: &StoreHandle,
    writer: &Writer,
    attempt: AttemptId,
    mut thinning: Thinning,
) -> Result<Thinned, String> {
    let mut thinned = Thinned::default();
    loop {
        let segments = match index::segments(store, attempt, thinning.at, AT_ONCE).await {
            Ok(segments) => segments,
            // What cannot be read now is kept until the next time; what is to be stored must not wait for it.
            Err(error) => {
                tracing::warn!(%attempt, %error, "the middle of a long log stays for now");
                return Ok(thinned);
            }
        };
        let (count, Some(gap)) = thinning.gap(&segments) else { return Ok(thinned) };
        if !thinned.writes.is_empty() {
            match writer.commit(std::mem::take(&mut thinned.writes)).await {
                Commit::Done => {}
                Commit::Refused(why) | Commit::Unknown(why) => return Err(why),
            }
        }
        let (from, to, limit) = (gap.offset, gap.end(), thinning.limit);
        thinned.left_out = Some(LeftOut { from, to, limit });
        thinned.writes.push(index::segment(attempt, &gap));
        for gone in segments.into_iter().take(count) {
            if gone.offset != from {
                thinned.writes.push(Write::Delete(keys::log_segment(attempt, gone.offset)));
            }
            thinned.objects.extend(gone.object());
        }
        thinning.at = to;
    }
}
