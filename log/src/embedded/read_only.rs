//! Opening a log for reading only: what was durable at that moment, also while another process
//! writes. It takes no lock, writes nothing and recovers nothing.

use super::{
    EmbeddedLog, Inner,
    active::noted_bytes,
    disk::{Access, Disk},
    driver::{Driver, Runs, Seat},
    files::{self, Kind},
    meta::Meta,
    partition::{Partition, Shared, Tip},
    queue::Queue,
    read_only_disk::ReadOnlyDisk,
    recover::survey,
    schema::SegmentSchema,
    segment::{Identity, OpenSegment, Segment},
    tail::Tail,
};
use crate::{Error, Result, TopicPartition};
use spine_schemas::time::Micros;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};
use tokio::sync::watch;

/// How often a partition is looked at anew, because its writer was beginning another segment.
const LOOKS: usize = 10;

/// Opens the log that lies in `dir`. Blocks on the disk.
pub(crate) fn open(dir: &Path, disk: Arc<dyn Disk>) -> Result<EmbeddedLog> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk(disk));
    let Some(meta) = Meta::read(&*disk, dir)? else {
        return Err(Error::Missing(format!("a log in {}", dir.display())));
    };
    let shared = Arc::new(Shared {
        dir: dir.to_owned(),
        disk,
        clock: Arc::new(Micros::default),
        random: Arc::new(u64::default),
        runs: Runs::of(&Driver::Thread),
        segment_bytes: 0,
        reserve_from_bytes: u64::MAX,
        headroom_bytes: 0,
        partitions: OnceLock::new(),
    });
    let schema = Arc::new(SegmentSchema::new(None)?);
    let mut topics = BTreeMap::new();
    for (name, topic) in &meta.topics {
        let name: Arc<str> = name.as_str().into();
        let open = |number| {
            let named = TopicPartition::new(Arc::clone(&name), number);
            open_partition(named, &meta.log_id, &shared, &schema)
        };
        let seats = (0..topic.partitions).map(open).collect::<Result<Vec<_>>>()?;
        topics.insert(Arc::clone(&name), seats);
    }
    let (driver, lock) = (Driver::Thread, Mutex::new(None));
    Ok(EmbeddedLog { inner: Arc::new(Inner { log_id: meta.log_id, topics, driver, lock }) })
}

fn open_partition(
    name: TopicPartition,
    log_id: &str,
    shared: &Arc<Shared>,
    schema: &Arc<SegmentSchema>,
) -> Result<Seat> {
    let identity = Identity {
        log_id: log_id.to_owned(),
        topic: Arc::clone(&name.topic),
        partition: name.partition,
    };
    let dir = shared.dir.join(&*name.topic).join(name.partition.to_string());
    let Seen { segments, end_offset } = look(&*shared.disk, &dir, &identity)?;
    let ended = Error::Missing(format!(
        "offset {end_offset} of {name} (the log was opened for reading only)"
    ));
    let partition = Partition {
        name,
        shared: Arc::clone(shared),
        identity,
        dir,
        schema: Arc::clone(schema),
        queue: Queue::new(0, 0),
        tail: Mutex::new(Tail::new(0)),
        tip: watch::Sender::new(Tip { end_offset, ended: Some(ended) }),
        segments: Mutex::new(segments),
    };
    Ok(Seat::for_reading(Arc::new(partition)))
}

/// What a look at a partition's directory found.
struct Seen {
    segments: Vec<Arc<Segment>>,
    end_offset: u64,
}

/// Looks until the newest segment has a note: without one it was sealed under our eyes.
fn look(disk: &dyn Disk, dir: &Path, identity: &Identity) -> Result<Seen> {
    for _ in 0..LOOKS {
        let names = disk.list(dir).map_err(files::failed("list", dir))?;
        let mut firsts: Vec<u64> =
            names.iter().filter_map(|name| files::offset(name, Kind::Segment)).collect();
        let Some(newest) = firsts.pop() else {
            return Err(Error::Damaged(format!("{} has lost its segments", dir.display())));
        };
        let noted_bytes = noted_bytes(disk, dir, newest)?;
        if noted_bytes == 0 {
            continue;
        }
        let path = dir.join(files::name(newest, Kind::Segment));
        let opened = OpenSegment::open(disk, path, Access::Read, identity, newest)?;
        let found = survey(&opened, noted_bytes)?;
        let mut segments: Vec<_> =
            firsts.iter().map(|first| Arc::new(Segment::sealed(dir, *first))).collect();
        let active = Segment::active(dir, &Arc::new(opened), noted_bytes, found.index);
        segments.push(Arc::new(active));
        return Ok(Seen { segments, end_offset: found.end_offset });
    }
    Err(Error::Unavailable(format!(
        "{} has no note of its durable length: open the log for writing once, which recovers it",
        dir.display()
    )))
}
