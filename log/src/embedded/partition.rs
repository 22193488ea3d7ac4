//! One partition as appenders, readers and the committer share it.

use super::{
    Clock, Random,
    disk::Disk,
    driver::Runs,
    lock, metrics,
    queue::Queue,
    schema::SegmentSchema,
    segment::{Identity, OpenSegment, Segment},
    tail::Tail,
};
use crate::{Bounds, Error, Result, TopicPartition};
use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, Weak},
};
use tokio::sync::watch;

/// What all partitions of one log share.
pub(crate) struct Shared {
    /// The directory of the log.
    pub(crate) dir: PathBuf,
    /// Where it lies.
    pub(crate) disk: Arc<dyn Disk>,
    /// Gives record times.
    pub(crate) clock: Clock,
    /// Gives sync markers.
    pub(crate) random: Random,
    /// Where blocking work runs.
    pub(crate) runs: Runs,
    /// Size at which a segment is sealed.
    pub(crate) segment_bytes: u64,
    /// Size from which on space is reserved behind a segment.
    pub(crate) reserve_from_bytes: u64,
    /// Free space that is kept for outcomes.
    pub(crate) headroom_bytes: u64,
    /// Every partition, so that one failure stops all. Filled once, while the log opens.
    pub(crate) partitions: OnceLock<Vec<Weak<Partition>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Shared {
    /// Stops the whole log: durability is no longer certain, and nothing but opening it again,
    /// which reads and writes everything doubtful anew, can make it so.
    pub(crate) fn poison(&self, cause: String) -> Error {
        tracing::error!(cause, dir = %self.dir.display(), "the log stopped and must be restarted");
        metrics::observe_poisoned();
        let error = Error::Poisoned(cause);
        for partition in self.partitions.get().into_iter().flatten().filter_map(Weak::upgrade) {
            partition.queue.abandon(&error);
            partition.end_readers(&error);
        }
        error
    }
}

/// What readers wait for.
#[derive(Clone, Debug)]
pub(crate) struct Tip {
    /// One past the newest durable offset.
    pub(crate) end_offset: u64,
    /// Why the end will not move any more, once that is so.
    pub(crate) ended: Option<Error>,
}

/// One partition.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Its name.
    pub(crate) name: TopicPartition,
    /// What it shares with the others.
    pub(crate) shared: Arc<Shared>,
    /// Which files belong to it.
    pub(crate) identity: Identity,
    /// Where they lie.
    pub(crate) dir: PathBuf,
    /// How its segments are written.
    pub(crate) schema: Arc<SegmentSchema>,
    /// Batches that wait.
    pub(crate) queue: Queue,
    /// The newest records.
    pub(crate) tail: Mutex<Tail>,
    /// The durable end.
    pub(crate) tip: watch::Sender<Tip>,
    /// All segments, oldest first; never empty, and the last is the active one.
    pub(crate) segments: Mutex<Vec<Arc<Segment>>>,
}

impl Partition {
    /// The durable extent.
    pub(crate) fn bounds(&self) -> Bounds {
        let first = lock(&self.segments).first().map_or(0, |segment| segment.first_offset);
        Bounds { first, end: self.tip.borrow().end_offset }
    }

    /// The segment that holds an offset, and the first offset of the one after it.
    pub(crate) fn segment_at(&self, offset: u64) -> Result<(Arc<Segment>, Option<u64>)> {
        let segments = lock(&self.segments);
        let behind = segments.partition_point(|segment| segment.first_offset <= offset);
        let found = behind.checked_sub(1).and_then(|at| segments.get(at));
        let segment =
            found.ok_or_else(|| Error::Missing(format!("offset {offset} of {}", self.name)))?;
        Ok((Arc::clone(segment), segments.get(behind).map(|next| next.first_offset)))
    }

    /// Opens a segment, or shares one that is open.
    pub(crate) fn open(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
        segment.open(&*self.shared.disk, &self.identity)
    }

    /// Lets waiting readers know that nothing more will come.
    pub(crate) fn end_readers(&self, why: &Error) {
        self.tip.send_modify(|tip| {
            tip.ended.get_or_insert_with(|| why.clone());
        });
    }
}
