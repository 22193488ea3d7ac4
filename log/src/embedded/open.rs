//! Opening a log: take the lock, read or make the description, recover every partition.

use super::{
    Clock, Driver, EmbeddedLog, Inner, Options, TopicOptions,
    active::Active,
    committer::Committer,
    disk::{Disk, Lock},
    driver::{Runs, Seat},
    files::{self, Kind},
    meta::{Meta, TopicMeta},
    partition::{Partition, Shared, Tip},
    queue::Queue,
    random::Random,
    schema::SegmentSchema,
    segment::{Identity, Segment},
    tail::Tail,
};
use crate::{Error, Result, TopicPartition, limits::TOPIC_BYTES};
use spine_schemas::time::Micros;
use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};
use tokio::sync::watch;

const LOCK: &str = "LOCK";

/// Opens the log, or makes it. Blocks on the disk.
pub(crate) fn open(
    options: &Options,
    disk: Arc<dyn Disk>,
    clock: Clock,
    driver: Driver,
) -> Result<EmbeddedLog> {
    check(options)?;
    files::make_dirs(&*disk, &options.dir)?;
    let lock = take_lock(options, &*disk)?;
    let mut meta = describe(options, &*disk)?;
    let shared = Arc::new(Shared {
        dir: options.dir.clone(),
        disk,
        clock,
        random: Arc::clone(&options.random),
        runs: Runs::of(&driver),
        segment_bytes: options.segment_bytes,
        reserve_from_bytes: options.reserve_from_bytes,
        headroom_bytes: options.headroom_bytes,
        partitions: OnceLock::new(),
    });
    let mut topics = BTreeMap::new();
    for topic in &options.topics {
        let seats = open_topic(options, topic, &meta, &shared)?;
        topics.insert(Arc::from(topic.name.as_str()), seats);
    }
    mark_created(&mut meta, &*shared.disk, &options.dir)?;
    let all = topics.values().flatten().map(|seat: &Seat| Arc::downgrade(&seat.partition));
    // Set here for the first and only time.
    let _ = shared.partitions.set(all.collect());
    let inner = Inner { log_id: meta.log_id, topics, driver, lock: Mutex::new(Some(lock)) };
    Ok(EmbeddedLog { inner: Arc::new(inner) })
}

fn check(options: &Options) -> Result<()> {
    let mut names = BTreeSet::new();
    for topic in &options.topics {
        let name = topic.name.as_str();
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let sane = (1..=TOPIC_BYTES).contains(&name.len()) && name.bytes().all(known);
        if !sane || name.starts_with('.') || name == LOCK || name == "meta.json" {
            return Err(Error::Refused(format!("{name:?} cannot name a topic")));
        }
        if !names.insert(name) {
            return Err(Error::Refused(format!("topic {name} is named twice")));
        }
        if topic.partitions == 0 {
            return Err(Error::Refused(format!("topic {name} needs at least one partition")));
        }
    }
    Ok(())
}

fn take_lock(options: &Options, disk: &dyn Disk) -> Result<Box<dyn Any + Send + Sync>> {
    let path = options.dir.join(LOCK);
    match disk.lock(&path, &options.owner).map_err(files::failed("lock", &path))? {
        Lock::Held(lock) => Ok(lock),
        Lock::Busy(owner) => {
            let owner = if owner.is_empty() { "an unknown process" } else { owner.trim() };
            Err(Error::Refused(format!("{} is in use by {owner}", options.dir.display())))
        }
    }
}

/// Reads the description and adds what is new. It is durable before any partition is made.
fn describe(options: &Options, disk: &dyn Disk) -> Result<Meta> {
    let dir = &options.dir;
    let found = Meta::read(disk, dir)?;
    if found.is_none() {
        refuse_orphans(options, disk)?;
    }
    let mut meta = found.clone().unwrap_or_else(|| Meta::new(new_log_id(&options.random)));
    for topic in &options.topics {
        let wanted = TopicMeta { partitions: topic.partitions, created: false };
        let known = *meta.topics.entry(topic.name.clone()).or_insert(wanted);
        if known.partitions != topic.partitions {
            return Err(Error::Refused(format!(
                "topic {} in {} has {} partitions, not {}: the number is fixed for its life",
                topic.name,
                dir.display(),
                known.partitions,
                topic.partitions
            )));
        }
    }
    if found.as_ref() == Some(&meta) {
        // A killed process may have left it seen but not durable.
        disk.sync_dir(dir).map_err(files::failed("sync", dir))?;
    } else {
        meta.write(disk, dir)?;
    }
    Ok(meta)
}

/// A directory with topics and no description has lost it; a new identity would hide that.
fn refuse_orphans(options: &Options, disk: &dyn Disk) -> Result<()> {
    match options.topics.iter().find(|topic| disk.exists(&options.dir.join(&topic.name))) {
        Some(topic) => Err(Error::Damaged(format!(
            "{} has topic {} but its meta.json is missing",
            options.dir.display(),
            topic.name
        ))),
        None => Ok(()),
    }
}

fn new_log_id(random: &Random) -> String {
    format!("{:016x}{:016x}", random(), random())
}

fn mark_created(meta: &mut Meta, disk: &dyn Disk, dir: &Path) -> Result<()> {
    if meta.topics.values().all(|topic| topic.created) {
        return Ok(());
    }
    meta.topics.values_mut().for_each(|topic| topic.created = true);
    meta.write(disk, dir)
}

fn open_topic(
    options: &Options,
    topic: &TopicOptions,
    meta: &Meta,
    shared: &Arc<Shared>,
) -> Result<Vec<Seat>> {
    let schema = Arc::new(SegmentSchema::new(topic.datum.as_ref())?);
    let must_exist = meta.topics.get(&topic.name).is_some_and(|topic| topic.created);
    let topic_dir = options.dir.join(&topic.name);
    if !must_exist {
        files::make_dir(&*shared.disk, &topic_dir)?;
    }
    let name: Arc<str> = topic.name.as_str().into();
    (0..topic.partitions)
        .map(|number| {
            let partition = Partition {
                name: TopicPartition::new(Arc::clone(&name), number),
                shared: Arc::clone(shared),
                identity: Identity {
                    log_id: meta.log_id.clone(),
                    topic: Arc::clone(&name),
                    partition: number,
                },
                dir: topic_dir.join(number.to_string()),
                schema: Arc::clone(&schema),
                queue: Queue::new(options.queue_records, options.queue_bytes),
                tail: Mutex::new(Tail::new(options.tail_bytes)),
                tip: watch::Sender::new(Tip { end_offset: 0, ended: None }),
                segments: Mutex::default(),
            };
            open_partition(partition, must_exist)
        })
        .collect()
}

fn open_partition(partition: Partition, must_exist: bool) -> Result<Seat> {
    let disk = &*partition.shared.disk;
    if must_exist {
        require_dir(disk, &partition.dir)?;
    } else {
        files::make_dir(disk, &partition.dir)?;
    }
    let mut segments = tidy(disk, &partition.dir)?;
    // A killed process may have left a name that is seen but not durable.
    disk.sync_dir(&partition.dir).map_err(files::failed("sync", &partition.dir))?;
    if segments.is_empty() && must_exist {
        return Err(missing_segments(&partition.dir));
    }
    let (active, end_offset, last_time) = open_active(&partition, segments.pop())?;
    let mut shown: Vec<_> =
        segments.iter().map(|first| Arc::new(Segment::sealed(&partition.dir, *first))).collect();
    if let Some(sealed) = active.sealed {
        shown.push(sealed);
    }
    shown.push(active.active.segment());
    *super::lock(&partition.segments) = shown;
    partition.tip.send_modify(|tip| tip.end_offset = end_offset);
    Ok(Seat::new(Committer::new(Arc::new(partition), active.active, end_offset, last_time)))
}

/// The segment to write, and the one that was sealed for it just now.
struct Opened {
    active: Active,
    sealed: Option<Arc<Segment>>,
}

/// Recovers the newest segment, or makes the first. A segment of another schema is sealed.
fn open_active(partition: &Partition, newest: Option<u64>) -> Result<(Opened, u64, Micros)> {
    let Some(first_offset) = newest else {
        let floor = Micros(i64::MIN);
        let active = Active::create(partition, 0, floor)?;
        return Ok((Opened { active, sealed: None }, 0, floor));
    };
    let (mut active, found) = Active::recover(partition, first_offset)?;
    let (end_offset, last_time) = (found.end_offset, found.last_time);
    if active.has_schema(&partition.schema) {
        return Ok((Opened { active, sealed: None }, end_offset, last_time));
    }
    if end_offset == first_offset {
        // The new segment takes the name of the empty one, whose note must not outlive it.
        active.forget_note(partition)?;
        let active = Active::create(partition, end_offset, last_time)?;
        return Ok((Opened { active, sealed: None }, end_offset, last_time));
    }
    let path = partition.dir.join(files::name(first_offset, Kind::Segment));
    active.complete().map_err(files::failed("truncate", &path))?;
    let next = Active::create(partition, end_offset, last_time)?;
    let sealed = active.segment();
    active.seal(partition);
    Ok((Opened { active: next, sealed: Some(sealed) }, end_offset, last_time))
}

/// Removes what a crash may leave behind and returns the first offsets of all segments, sorted.
fn tidy(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>> {
    let names = disk.list(dir).map_err(files::failed("list", dir))?;
    let segments: Vec<_> =
        names.iter().filter_map(|name| files::offset(name, Kind::Segment)).collect();
    for name in &names {
        let note = files::offset(name, Kind::Note);
        let lost = note.filter(|first| segments.binary_search(first).is_err());
        if lost.is_some() {
            return Err(Error::Damaged(format!(
                "{} is there, but its segment is missing",
                dir.join(name).display()
            )));
        }
        let is_stale = note.is_some_and(|first| segments.last() != Some(&first));
        if is_stale || files::is_unfinished(name) {
            remove(disk, dir.join(name))?;
        }
    }
    Ok(segments)
}

fn remove(disk: &dyn Disk, path: PathBuf) -> Result<()> {
    disk.remove(&path).map_err(files::failed("remove", &path))
}

/// A directory that is not there is damage; a disk that cannot tell is only out of reach.
fn require_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    match disk.list(dir) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing_segments(dir)),
        Err(error) => Err(files::failed("list", dir)(error)),
    }
}

fn missing_segments(dir: &Path) -> Error {
    Error::Damaged(format!("{} has lost its segments", dir.display()))
}
