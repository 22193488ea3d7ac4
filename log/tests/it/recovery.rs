//! What a crash may leave in the active segment, byte by byte.

use crate::support::{DIR, append, open, options, place, record, run, segment, values};
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
