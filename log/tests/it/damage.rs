//! Flipped bits and cut files: named at start, or when read; never passed over.

use crate::support::{
    DIR, append, damage, note_schema, open, options, place, record, run, segment, topic, values,
};
use bytes::Bytes;
use spine_log::{
    EventLog, NewRecord, Urgency,
    embedded::{Options, SimDisk},
};

fn typed() -> Options {
    Options { topics: vec![topic(1, Some(note_schema()))], segment_bytes: 100_000, ..options(DIR) }
}

/// A segment with every form of record, in three blocks.
async fn small_segment(disk: &SimDisk) {
    let log = open(&typed(), disk).unwrap();
    let datum = [&[0xC3, 1][..], &crate::support::FINGERPRINT, &[84, 2, 4, b'h', b'i']].concat();
    append(&log, datum.clone()).await.unwrap();
    let header = |name: &str| (name.to_owned(), Bytes::from_static(b"value"));
    let second = NewRecord {
        key: Some(Bytes::from_static(b"key")),
        headers: vec![header("a"), header("a")],
        value: Some(Bytes::from_static(b"plain")),
    };
    let third = NewRecord { key: None, headers: Vec::new(), value: None };
    log.append(&place(), vec![second, third], Urgency::Normal).await.unwrap();
    append(&log, datum).await.unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_the_active_segment_is_named_at_start() {
    run(async {
        let disk = SimDisk::new();
        small_segment(&disk).await;
        let path = segment(0, "avro");
        let good = disk.contents(&path).unwrap();
        for bit in one_bit_of_each(&good) {
            disk.flip_bit(&path, bit);
            let why = damage(open(&typed(), &disk));
            assert!(why.contains("/00000000000000000000.avro") && why.contains("byte"), "{why}");
            disk.set_contents(&path, good.clone());
        }
        assert_eq!(values(&open(&typed(), &disk).unwrap()).await.unwrap().len(), 3);
    });
}

#[test]
fn the_damaged_block_is_named_by_its_place() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&options(DIR), &disk).unwrap();
        let path = segment(0, "avro");
        let mut starts = Vec::new();
        for value in ["first", "second", "third"] {
            starts.push(disk.contents(&path).unwrap().len());
            append(&log, value).await.unwrap();
        }
        drop(log);
        for (offset, start) in starts.into_iter().enumerate() {
            disk.flip_bit(&path, (start + 8) * 8);
            let why = damage(open(&options(DIR), &disk));
            let place = format!("{} is damaged at byte {start}, record {offset}", path.display());
            assert!(why.starts_with(&place), "{why}");
            disk.flip_bit(&path, (start + 8) * 8);
        }
    });
}

#[test]
fn without_the_note_only_a_last_block_can_pass_for_a_torn_tail() {
    run(async {
        let disk = SimDisk::new();
        small_segment(&disk).await;
        let path = segment(0, "avro");
        let good = disk.contents(&path).unwrap();
        let last_block = {
            let marker = &good[good.len() - 16..];
            let before = &good[..good.len() - 16];
            before.windows(16).rposition(|window| window == marker).unwrap() + 16
        };
        for bit in one_bit_of_each(&good) {
            disk.delete(&segment(0, "durable"));
            disk.flip_bit(&path, bit);
            let outcome = open(&typed(), &disk);
            if bit / 8 < last_block {
                assert!(damage(outcome).contains("byte"), "bit {bit}");
            } else {
                assert_eq!(values(&outcome.unwrap()).await.unwrap().len(), 2, "bit {bit}");
            }
            disk.set_contents(&path, good.clone());
        }
    });
}

#[test]
fn two_broken_blocks_before_a_sound_one_are_damage_too() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&options(DIR), &disk).unwrap();
        let path = segment(0, "avro");
        let mut ends = Vec::new();
        for value in ["a", "b", "c"] {
            append(&log, value).await.unwrap();
            ends.push(disk.contents(&path).unwrap().len());
        }
        drop(log);
        disk.delete(&segment(0, "durable"));
        // The length of the first and the marker of the second: nothing leads to the third.
        disk.flip_bit(&path, (ends[0] - 17) * 8);
        disk.flip_bit(&path, (ends[1] - 1) * 8);
        assert!(damage(open(&options(DIR), &disk)).contains("record 0"));
    });
}

#[test]
fn a_record_that_contains_a_segment_does_not_hide_a_torn_tail() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&options(DIR), &disk).unwrap();
        let path = segment(0, "avro");
        append(&log, "first").await.unwrap();
        append(&log, disk.contents(&path).unwrap()).await.unwrap();
        drop(log);
        disk.delete(&segment(0, "durable"));
        let mut torn = disk.contents(&path).unwrap();
        torn.pop();
        disk.set_contents(&path, torn);
        assert_eq!(values(&open(&options(DIR), &disk).unwrap()).await.unwrap(), ["first"]);
    });
}

#[test]
fn a_cut_active_segment_is_named_at_start() {
    run(async {
        let disk = SimDisk::new();
        small_segment(&disk).await;
        let path = segment(0, "avro");
        let good = disk.contents(&path).unwrap();
        for len in 0..good.len() {
            disk.set_contents(&path, good[..len].to_vec());
            let why = damage(open(&typed(), &disk));
            assert!(why.contains("/00000000000000000000.avro") && why.contains("byte"), "{why}");
        }
    });
}

/// One bit of each byte, each time another.
fn one_bit_of_each(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    (0..bytes.len()).map(|byte| byte * 8 + byte * 5 % 8)
}

/// A log whose first segment is sealed and holds the records of [`small_segment`].
async fn sealed_segment(disk: &SimDisk) {
    small_segment(disk).await;
    // Another schema seals the segment.
    append(&open(&options(DIR), disk).unwrap(), "next").await.unwrap();
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_segment_is_named_when_it_is_read() {
    run(async {
        let disk = SimDisk::new();
        sealed_segment(&disk).await;
        let path = segment(0, "avro");
        let good = disk.contents(&path).unwrap();
        for bit in one_bit_of_each(&good) {
            disk.flip_bit(&path, bit);
            for index in [true, false] {
                if !index {
                    disk.delete(&segment(0, "index"));
                }
                let log = open(&options(DIR), &disk).expect("found when read, not at start");
                let why = damage(values(&log).await);
                assert!(
                    why.contains("/00000000000000000000.avro") && why.contains("byte"),
                    "{why}"
                );
                assert!(append(&log, "more").await.is_ok());
            }
            disk.set_contents(&path, good.clone());
        }
    });
}

#[test]
fn a_cut_sealed_segment_is_named_when_it_is_read() {
    run(async {
        let disk = SimDisk::new();
        sealed_segment(&disk).await;
        let path = segment(0, "avro");
        let good = disk.contents(&path).unwrap();
        for len in 0..good.len() {
            disk.set_contents(&path, good[..len].to_vec());
            let log = open(&options(DIR), &disk).unwrap();
            let why = damage(values(&log).await);
            assert!(why.contains("/00000000000000000000.avro") && why.contains("byte"), "{why}");
        }
    });
}

#[test]
fn a_missing_sealed_segment_is_named_when_it_is_read() {
    run(async {
        let disk = SimDisk::new();
        let options = Options { segment_bytes: 1000, ..options(DIR) };
        let log = open(&options, &disk).unwrap();
        for _ in 0..4 {
            log.append(&place(), vec![record(vec![0; 900])], Urgency::Normal).await.unwrap();
        }
        drop(log);
        disk.delete(&segment(1, "avro"));
        let log = open(&options, &disk).unwrap();
        let why = damage(values(&log).await);
        assert!(why.contains("/00000000000000000000.avro") && why.contains("record 2"), "{why}");
    });
}

#[test]
fn a_sealed_segment_that_runs_into_the_next_one_is_named() {
    run(async {
        let (disk, other) = (SimDisk::new(), SimDisk::new());
        let small = Options { segment_bytes: 1000, ..options(DIR) };
        for (options, disk) in [(small.clone(), &disk), (options(DIR), &other)] {
            let log = open(&options, disk).unwrap();
            append(&log, "first").await.unwrap();
            append(&log, vec![2; 900]).await.unwrap();
        }
        // The same log, had it never rolled: sound blocks, but one that belongs to segment 1.
        let longer = other.contents(&segment(0, "avro")).unwrap();
        disk.set_contents(&segment(0, "avro"), longer);
        let why = damage(values(&open(&small, &disk).unwrap()).await);
        assert!(why.contains("/00000000000000000000.avro") && why.contains("record 2"), "{why}");
    });
}
