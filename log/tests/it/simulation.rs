//! Random lives of a log on a simulated disk: appends, readers, full disks, failed syncs, kills and
//! power losses. Whatever was acknowledged or read is there in the next life, byte for byte.

use crate::support::{DIR, EVERYTHING, note_schema, options, place, run, ticking_clock, topic};
use bytes::Bytes;
use spine_log::{
    Error, EventLog, NewRecord, PartitionReader, Record, Urgency,
    embedded::{Driver, EmbeddedLog, Latency, Options, Random, SimDisk, seeded_random},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinSet;

const SEEDS: u64 = 3000;
const LIVES: u64 = 4;

/// What the outside knows: records that were acknowledged or read, by offset.
type Known = BTreeMap<u64, Record>;

struct World {
    disk: SimDisk,
    options: Options,
    random: Random,
    known: Known,
    batches: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = seeded_random(seed);
        let datum = random().is_multiple_of(2).then(note_schema);
        let options = Options {
            topics: vec![topic(1, datum)],
            segment_bytes: 2000 + random() % 8000,
            reserve_from_bytes: [0, 3000, u64::MAX][pick(&random, 3)],
            tail_bytes: [0, 2000, 1 << 20][pick(&random, 3)],
            random: seeded_random(seed + 1),
            ..options(DIR)
        };
        Self { disk: SimDisk::new(), options, random, known: Known::new(), batches: 0 }
    }

    /// Opens the log, crashing it a few times on the way if the seed says so.
    fn open(&self) -> EmbeddedLog {
        while (self.random)().is_multiple_of(4) {
            self.disk.die_after_changes((self.random)() % 30);
            drop(EmbeddedLog::open(
                &self.options,
                Arc::new(self.disk.clone()),
                ticking_clock(),
                self.driver(),
            ));
            self.crash();
        }
        let disk = Arc::new(self.disk.clone());
        EmbeddedLog::open(&self.options, disk, ticking_clock(), self.driver())
            .expect("nothing was damaged")
    }

    fn crash(&self) {
        if (self.random)().is_multiple_of(2) {
            self.disk.kill();
        } else {
            self.disk.power_loss((self.random)());
        }
    }

    fn driver(&self) -> Driver {
        let random = Arc::clone(&self.random);
        let latency: Latency =
            Arc::new(move |_| Box::pin(tokio::time::sleep(Duration::from_micros(random() % 3000))));
        Driver::Task { latency: Some(latency) }
    }

    /// A batch whose records name it, their place in it, and its size.
    fn batch(&mut self) -> Vec<NewRecord> {
        self.batches += 1;
        let size = 1 + (self.random)() % 4;
        (0..size)
            .map(|place| {
                let mut value = [self.batches, place, size].map(u64::to_be_bytes).concat();
                value.resize(24 + pick(&self.random, 900), self.batches as u8);
                let key = Some(Bytes::from(value[..8].to_vec()));
                NewRecord::plain(key, value)
            })
            .collect()
    }

    fn plan_fault(&self) {
        let disk = &self.disk;
        match (self.random)() % 6 {
            0 => disk.fail_syncs(1),
            1 => disk.set_capacity_bytes(Some(disk.used_bytes() + (self.random)() % 4000)),
            2 | 3 => disk.die_after_changes((self.random)() % 60),
            _ => {}
        }
    }

    /// One life: concurrent appends and a reader, until enough was tried or everything failed.
    async fn live(&mut self) {
        let log = self.open();
        self.check(&log).await;
        self.plan_fault();
        let seen = Arc::new(Mutex::new(Known::new()));
        let reading = tokio::spawn(read_along(log.clone(), Arc::clone(&seen)));
        let mut appending = JoinSet::new();
        for _ in 0..4 + (self.random)() % 12 {
            let batch = self.batch();
            let log = log.clone();
            let wait = Duration::from_micros((self.random)() % 6000);
            appending.spawn(async move {
                tokio::time::sleep(wait).await;
                let outcome = log.append(&place(), batch.clone(), Urgency::Normal).await;
                (batch, outcome)
            });
        }
        let patience = tokio::time::sleep(Duration::from_micros(1 + (self.random)() % 20_000));
        tokio::pin!(patience);
        loop {
            tokio::select! {
                biased;
                () = &mut patience => break,
                joined = appending.join_next() => match joined {
                    Some(outcome) => self.remember(outcome.unwrap()),
                    None => break,
                },
            }
        }
        appending.abort_all();
        reading.abort();
        drop(log);
        self.disk.set_capacity_bytes(None);
        self.disk.fail_syncs(0);
        self.crash();
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        for (offset, record) in seen {
            let known = self.known.entry(offset).or_insert_with(|| record.clone());
            assert_eq!(*known, record, "a reader saw another record at offset {offset}");
        }
    }

    fn remember(&mut self, (batch, outcome): (Vec<NewRecord>, Result<spine_log::Appended, Error>)) {
        let Ok(at) = outcome else { return };
        assert_eq!(at.last_offset - at.first_offset + 1, batch.len() as u64);
        for (new, offset) in batch.into_iter().zip(at.first_offset..) {
            let NewRecord { key, headers, value } = new;
            let record = Record { offset, timestamp: at.timestamp, key, headers, value };
            if let Some(other) = self.known.insert(offset, record.clone()) {
                assert_eq!(other, record, "two records at offset {offset}");
            }
        }
    }

    /// Everything known is in the log, batches are whole, and times do not go back.
    async fn check(&mut self, log: &EmbeddedLog) {
        let found = crate::support::read_all(log).await.unwrap();
        for (offset, record) in &self.known {
            assert_eq!(found.get(*offset as usize), Some(record), "offset {offset}");
        }
        let mut rest = &found[..];
        while let Some(first) = rest.first() {
            let [batch, place, size] = numbers(first);
            assert_eq!(place, 0, "a batch that lost its beginning");
            let (whole, behind) = rest.split_at_checked(size as usize).expect("a batch cut short");
            assert!(whole.iter().zip(0..).all(|(one, at)| numbers(one) == [batch, at, size]));
            rest = behind;
        }
        assert!(found.is_sorted_by_key(|record| record.timestamp));
        self.known.extend(found.into_iter().map(|record| (record.offset, record)));
    }
}

fn pick(random: &Random, among: usize) -> usize {
    (random() % among as u64) as usize
}

fn numbers(record: &Record) -> [u64; 3] {
    let value = record.value.as_deref().unwrap();
    let number = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().unwrap());
    [number(0), number(8), number(16)]
}

/// Lives through a seed and returns the disk that is left and what is known.
fn live_through(seed: u64) -> (SimDisk, Known) {
    run(async {
        let mut world = World::new(seed);
        for _ in 0..LIVES {
            world.live().await;
        }
        let log = world.open();
        world.check(&log).await;
        (world.disk, world.known)
    })
}

/// Tails the log from its beginning until it fails, and notes each record that it sees.
async fn read_along(log: EmbeddedLog, seen: Arc<Mutex<Known>>) {
    let Ok(mut reader) = log.reader(&place(), 0).await else { return };
    drop(log);
    while let Ok(records) = reader.next(EVERYTHING).await {
        let records = records.into_iter().map(|record| (record.offset, record));
        seen.lock().unwrap().extend(records);
    }
}

#[test]
fn whatever_was_acknowledged_or_read_is_there_in_the_next_life() {
    let mut records = 0;
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| live_through(seed).1.len());
        records += outcome.unwrap_or_else(|_| panic!("seed {seed} fails"));
    }
    assert!(records > 10 * SEEDS as usize, "only {records} records were ever known");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..20 {
        let files = |disk: SimDisk| -> Vec<_> {
            disk.paths().into_iter().map(|path| (disk.contents(&path), path)).collect()
        };
        let ((first, known), (second, again)) = (live_through(seed), live_through(seed));
        assert_eq!(files(first), files(second), "seed {seed}");
        assert_eq!(known, again, "seed {seed}");
    }
}
