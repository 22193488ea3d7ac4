//! Seeking by offset and by time, across segments and blocks larger than a chunk.

use crate::support::{DIR, EVERYTHING, TASK, append, open, options, place, record, run, values};
use spine_log::{
    Error, EventLog, PartitionReader, ReadLimit, Urgency,
    embedded::{EmbeddedLog, Options, SimDisk},
};
use spine_schemas::time::Micros;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

fn on_disk_only(segment_bytes: u64) -> Options {
    Options { segment_bytes, tail_bytes: 0, ..options(DIR) }
}

#[test]
fn every_offset_is_found_across_segments() {
    run(async {
        let disk = SimDisk::new();
        let options = on_disk_only(200_000);
        let log = open(&options, &disk).unwrap();
        for start in (0..300_u64).step_by(3) {
            let batch = (start..start + 3)
                .map(|number| record([&number.to_be_bytes()[..], &[0; 2000]].concat()));
            log.append(&place(), batch.collect(), Urgency::Normal).await.unwrap();
        }
        drop(log);
        let log = open(&options, &disk).unwrap();
        for from in 0..300_u64 {
            let mut reader = log.reader(&place(), from).await.unwrap();
            let records = reader.next(ReadLimit { records: 2, bytes: 1 << 20 }).await.unwrap();
            assert_eq!(records[0].offset, from);
            assert!(records[0].value.as_ref().unwrap().starts_with(&from.to_be_bytes()));
        }
        assert!(log.reader(&place(), 300).await.is_ok(), "the end can be read from");
        assert!(matches!(log.reader(&place(), 301).await, Err(Error::Missing(_))));
    });
}

#[test]
fn a_time_is_found_across_segments_and_among_equal_times() {
    run(async {
        let disk = SimDisk::new();
        let now = Arc::new(AtomicI64::new(0));
        let clock = {
            let now = Arc::clone(&now);
            Arc::new(move || Micros(now.load(Ordering::Relaxed)))
        };
        let options = on_disk_only(4000);
        let open = || {
            let disk = Arc::new(disk.clone());
            EmbeddedLog::open(&options, disk, clock.clone(), TASK).unwrap()
        };
        let log = open();
        // Four records share each time; a segment holds about six.
        for offset in 0..40 {
            now.store(1000 + offset / 4 * 10, Ordering::Relaxed);
            append(&log, vec![0; 500]).await.unwrap();
        }
        drop(log);
        let log = open();
        for (time, expected) in
            [(0, 0), (1000, 0), (1001, 4), (1010, 4), (1045, 20), (1090, 36), (1091, 40)]
        {
            let found = log.offset_at(&place(), Micros(time)).await.unwrap();
            assert_eq!(found, expected, "time {time}");
        }
    });
}

#[test]
fn a_block_larger_than_a_chunk_is_read() {
    run(async {
        let disk = SimDisk::new();
        let options = on_disk_only(64 << 20);
        let log = open(&options, &disk).unwrap();
        append(&log, "before").await.unwrap();
        let batch: Vec<_> = (0..5_u8).map(|number| record(vec![number; 1_000_000])).collect();
        log.append(&place(), batch, Urgency::Normal).await.unwrap();
        append(&log, "after").await.unwrap();
        drop(log);
        let log = open(&options, &disk).unwrap();
        let values = values(&log).await.unwrap();
        assert_eq!(values.len(), 7);
        assert!(
            values[1..6]
                .iter()
                .zip(0..)
                .all(|(value, number)| value[..] == vec![number; 1_000_000])
        );
        assert_eq!(values[6], "after");
    });
}

#[test]
fn a_slow_reader_leaves_memory_and_goes_on_in_the_files() {
    run(async {
        let disk = SimDisk::new();
        let options = Options { tail_bytes: 2000, segment_bytes: 10_000, ..options(DIR) };
        let log = open(&options, &disk).unwrap();
        let mut reader = log.reader(&place(), 0).await.unwrap();
        let mut seen = Vec::new();
        for number in 0..200_u32 {
            append(&log, number.to_be_bytes().repeat(25)).await.unwrap();
            if number % 17 == 0 {
                let limit = ReadLimit { records: 5, ..EVERYTHING };
                seen.extend(reader.next(limit).await.unwrap());
            }
        }
        while seen.len() < 200 {
            seen.extend(reader.next(EVERYTHING).await.unwrap());
        }
        assert!(seen.iter().zip(0..).all(|(record, offset)| record.offset == offset));
        assert!(seen.iter().zip(0_u32..).all(|(record, number)| {
            record.value.as_deref() == Some(&number.to_be_bytes().repeat(25)[..])
        }));
    });
}
