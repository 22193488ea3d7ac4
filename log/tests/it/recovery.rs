//! What a crash may leave in the active segment, byte by byte.

use crate::support::{
    DIR, append, damage, note_schema, noted_bytes, open, options, place, record, run, segment,
    topic, values,
};
use spine_log::{
    EventLog, Urgency,
    embedded::{Options, SimDisk},
};

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_written_over() {
    run(async {
        let disk = SimDisk::new();
        let path = segment(0, "avro");
        let log = open(&options(DIR), &disk).unwrap();
        append(&log, "kept").await.unwrap();
        let note = disk.contents(&segment(0, "durable")).unwrap();
        let kept = disk.contents(&path).unwrap();
        log.append(&place(), vec![record("torn"), record("torn")], Urgency::Normal).await.unwrap();
        drop(log);
        let whole = disk.contents(&path).unwrap();
        for len in kept.len()..whole.len() {
            for fill in [None, Some(0), Some(0xFF)] {
                let mut torn = whole[..len].to_vec();
                if let Some(fill) = fill {
                    torn.resize(whole.len(), fill);
                }
                disk.set_contents(&path, torn);
                disk.set_contents(&segment(0, "durable"), note.clone());
                let log = open(&options(DIR), &disk).unwrap();
                assert_eq!(values(&log).await.unwrap(), ["kept"], "torn at {len}");
                assert_eq!(disk.contents(&path).unwrap(), kept);
                assert_eq!(append(&log, "next").await.unwrap().first_offset, 1);
                drop(log);
                assert_eq!(
                    values(&open(&options(DIR), &disk).unwrap()).await.unwrap(),
                    ["kept", "next"]
                );
            }
        }
    });
}

#[test]
fn a_lost_stale_or_garbled_note_loses_no_record() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&options(DIR), &disk).unwrap();
        let first = disk.contents(&segment(0, "durable")).unwrap();
        append(&log, "a").await.unwrap();
        append(&log, "b").await.unwrap();
        drop(log);
        for note in [None, Some(first), Some(vec![]), Some(vec![0xFF; 12]), Some(vec![1; 99])] {
            match note {
                None => disk.delete(&segment(0, "durable")),
                Some(contents) => disk.set_contents(&segment(0, "durable"), contents),
            }
            let before = disk.syncs();
            let log = open(&options(DIR), &disk).unwrap();
            assert!(disk.syncs() > before, "written again and synced");
            assert_eq!(values(&log).await.unwrap(), ["a", "b"]);
        }
        let before = disk.syncs();
        drop(open(&options(DIR), &disk).unwrap());
        assert_eq!(disk.syncs(), before, "nothing is in doubt");
    });
}

#[test]
fn a_crash_at_any_change_of_opening_and_rolling_is_survived() {
    run(async {
        let options = Options { segment_bytes: 1500, ..options(DIR) };
        for changes in 0..120 {
            for seed in 0..4 {
                let disk = SimDisk::new();
                disk.die_after_changes(changes);
                let mut acknowledged = Vec::new();
                if let Ok(log) = open(&options, &disk) {
                    for number in 0..6_u8 {
                        let value = vec![number; 700];
                        match append(&log, value.clone()).await {
                            Ok(_) => acknowledged.push(value),
                            Err(_) => break,
                        }
                    }
                }
                if seed == 0 {
                    disk.kill()
                } else {
                    disk.power_loss(seed * 1000 + changes)
                }
                let log = open(&options, &disk).unwrap();
                let found = values(&log).await.unwrap();
                assert!(found.len() <= acknowledged.len() + 1, "after {changes} changes");
                assert_eq!(found[..acknowledged.len()], acknowledged, "after {changes} changes");
                append(&log, "alive").await.unwrap();
            }
        }
    });
}

/// Settings under which space is reserved from the first record on.
fn reserving() -> Options {
    Options { reserve_from_bytes: 0, ..options(DIR) }
}

/// Kills a log with a reserve behind these records.
async fn kill_with(disk: &SimDisk, records: &[&'static str]) {
    let log = open(&reserving(), disk).unwrap();
    for value in records {
        append(&log, *value).await.unwrap();
    }
    disk.kill();
}

#[test]
fn a_reserve_survives_a_kill_is_used_again_and_goes_when_the_log_is_closed() {
    run(async {
        let disk = SimDisk::new();
        let path = segment(0, "avro");
        let plain = {
            let disk = SimDisk::new();
            let log = open(&options(DIR), &disk).unwrap();
            for value in ["a", "b", "c"] {
                append(&log, value).await.unwrap();
            }
            disk.contents(&path).unwrap()
        };
        kill_with(&disk, &["a", "b"]).await;
        let reserved = disk.contents(&path).unwrap();
        let before = disk.syncs();
        let log = open(&reserving(), &disk).unwrap();
        assert_eq!(disk.syncs(), before, "nothing is in doubt");
        assert_eq!(disk.contents(&path).unwrap(), reserved, "nothing was cut");
        append(&log, "c").await.unwrap();
        assert_eq!(disk.contents(&path).unwrap().len(), reserved.len(), "its space was used");
        assert_eq!(values(&log).await.unwrap(), ["a", "b", "c"]);
        assert!(reserved.len() > plain.len());
        log.close().await;
        drop(log);
        let closed = disk.contents(&path).unwrap();
        assert_eq!(closed.len(), plain.len(), "as if nothing had been reserved");
    });
}

#[test]
fn a_block_torn_at_any_byte_of_a_reserve_is_cut_and_written_over() {
    run(async {
        let disk = SimDisk::new();
        let path = segment(0, "avro");
        let log = open(&reserving(), &disk).unwrap();
        append(&log, "kept").await.unwrap();
        let note = disk.contents(&segment(0, "durable")).unwrap();
        let kept = disk.contents(&path).unwrap();
        log.append(&place(), vec![record("torn"), record("torn")], Urgency::Normal).await.unwrap();
        let whole = disk.contents(&path).unwrap();
        disk.kill();
        assert_eq!(whole.len(), kept.len(), "the second block lies in the reserve");
        let changed: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != kept[*at]).collect();
        let (first, last) = (changed[0], changed[changed.len() - 1]);
        for cut in first..=last {
            // What came to the disk of the write: its beginning, or its end.
            for torn in [
                [&whole[..cut], &kept[cut..]].concat(),
                [&kept[..cut + 1], &whole[cut + 1..]].concat(),
            ] {
                disk.set_contents(&path, torn);
                disk.set_contents(&segment(0, "durable"), note.clone());
                let log = open(&reserving(), &disk).unwrap();
                let found = values(&log).await.unwrap();
                assert!(found == ["kept"] || found == ["kept", "torn", "torn"], "torn at {cut}");
                append(&log, "next").await.unwrap();
                disk.kill();
                let log = open(&reserving(), &disk).unwrap();
                assert_eq!(values(&log).await.unwrap(), [found, vec!["next".into()]].concat());
                disk.kill();
            }
        }
    });
}

#[test]
fn only_what_lies_behind_the_noted_length_may_be_cut_or_changed_where_a_reserve_follows() {
    run(async {
        let disk = SimDisk::new();
        let path = segment(0, "avro");
        kill_with(&disk, &["a", "b"]).await;
        let good = disk.contents(&path).unwrap();
        let noted = noted_bytes(&disk);
        assert!(noted < good.len());
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << (at % 8);
            for changed in [good[..at].to_vec(), flipped] {
                disk.set_contents(&path, changed);
                let opened = open(&reserving(), &disk);
                if at < noted {
                    assert!(damage(opened).contains("byte"), "byte {at}");
                } else {
                    assert_eq!(values(&opened.unwrap()).await.unwrap(), ["a", "b"], "byte {at}");
                    let left = disk.contents(&path).unwrap();
                    // What is cut off where one of its blocks ends is a shorter reserve.
                    assert!(left == good[..noted] || left == good[..at], "byte {at}");
                }
                disk.kill();
            }
        }
    });
}

#[test]
fn a_closed_log_has_no_reserve_even_where_nothing_was_appended_since_the_kill() {
    run(async {
        let disk = SimDisk::new();
        let path = segment(0, "avro");
        kill_with(&disk, &["a"]).await;
        let reserved = disk.contents(&path).unwrap().len();
        let log = open(&reserving(), &disk).unwrap();
        log.close().await;
        assert!(disk.contents(&path).unwrap().len() < reserved);
        drop(log);
        assert_eq!(values(&open(&reserving(), &disk).unwrap()).await.unwrap(), ["a"]);
    });
}

#[test]
fn a_reserve_that_comes_back_after_its_segment_was_closed_is_gone_when_it_is_sealed() {
    run(async {
        for seed in 0..50 {
            let disk = SimDisk::new();
            let log = open(&reserving(), &disk).unwrap();
            append(&log, "a").await.unwrap();
            log.close().await;
            drop(log);
            // Another schema seals the segment.
            let typed = Options { topics: vec![topic(1, Some(note_schema()))], ..reserving() };
            let log = open(&typed, &disk).unwrap();
            append(&log, "b").await.unwrap();
            disk.power_loss(seed);
            let log = open(&typed, &disk).unwrap();
            assert_eq!(values(&log).await.unwrap(), ["a", "b"], "seed {seed}");
        }
    });
}
