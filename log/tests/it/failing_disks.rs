//! Full and broken disks: what is refused, what stops the log, and how it goes on.

use crate::support::{
    DIR, EVERYTHING, append, noted_bytes, open, options, place, record, run, segment, topic, values,
};
use bytes::Bytes;
use spine_log::{
    Error, EventLog, PartitionReader, TopicPartition, Urgency,
    embedded::{EmbeddedLog, Options, SimDisk},
};

#[test]
fn a_failed_sync_stops_the_whole_log_until_it_is_opened_again() {
    run(async {
        let disk = SimDisk::new();
        let mut options = options(DIR);
        options.topics = vec![topic(2, None)];
        let log = open(&options, &disk).unwrap();
        append(&log, "kept").await.unwrap();
        let mut reader = log.reader(&place(), 1).await.unwrap();
        disk.fail_syncs(1);
        let failed = append(&log, "doubtful").await.unwrap_err();
        assert!(matches!(&failed, Error::Poisoned(why) if why.contains(".avro")), "{failed}");
        assert!(failed.is_ambiguous());
        assert_eq!(append(&log, "refused").await.unwrap_err(), failed);
        let other = TopicPartition::new(crate::support::TOPIC, 1);
        let elsewhere = log.append(&other, vec![record("x")], Urgency::Outcome).await;
        assert_eq!(elsewhere.unwrap_err(), failed, "the other partition");
        assert_eq!(reader.next(EVERYTHING).await.unwrap_err(), failed, "a waiting reader");
        assert_eq!(values(&log).await.unwrap(), ["kept"], "what is durable can be read");
        drop(log);
        let log = open(&options, &disk).unwrap();
        append(&log, "again").await.unwrap();
    });
}

/// Settings with space reserved from the first record on, and with none.
fn both() -> [Options; 2] {
    [0, u64::MAX].map(|reserve_from_bytes| Options { reserve_from_bytes, ..options(DIR) })
}

/// A log of which it is not known whether its second record is durable.
async fn in_doubt(options: &Options, disk: &SimDisk, value: impl Into<Bytes>) -> EmbeddedLog {
    let log = open(options, disk).unwrap();
    append(&log, "kept").await.unwrap();
    disk.fail_syncs(1);
    append(&log, value).await.unwrap_err();
    log
}

#[test]
fn what_a_failed_sync_left_is_written_again_before_anyone_reads_it() {
    run(async {
        for (seed, options) in (0..50).flat_map(|seed| both().map(|options| (seed, options))) {
            let disk = SimDisk::new();
            drop(in_doubt(&options, &disk, vec![7; 3000]).await);
            disk.kill();
            let log = open(&options, &disk).unwrap();
            let seen = values(&log).await.unwrap();
            assert_eq!(seen.len(), 2, "the bytes are in the file, so they are kept");
            append(&log, "more").await.unwrap();
            disk.power_loss(seed);
            let log = open(&options, &disk).unwrap();
            let wanted = [seen, vec!["more".into()]].concat();
            assert_eq!(values(&log).await.unwrap(), wanted, "seed {seed}");
        }
    });
}

#[test]
fn a_log_that_is_closed_in_doubt_leaves_the_doubtful_block_to_the_next_start() {
    run(async {
        for (seed, options) in (0..50).flat_map(|seed| both().map(|options| (seed, options))) {
            let disk = SimDisk::new();
            let log = in_doubt(&options, &disk, "doubtful").await;
            let before = disk.contents(&segment(0, "avro")).unwrap();
            log.close().await;
            assert_eq!(disk.contents(&segment(0, "avro")).unwrap(), before);
            drop(log);
            let seen = values(&open(&options, &disk).unwrap()).await.unwrap();
            assert_eq!(seen, ["kept", "doubtful"]);
            disk.power_loss(seed);
            assert_eq!(values(&open(&options, &disk).unwrap()).await.unwrap(), seen);
        }
    });
}

#[test]
fn a_disk_without_space_for_a_reserve_takes_the_block_alone() {
    run(async {
        let mut taken = 0;
        for spare in (0..1300).step_by(7) {
            let disk = SimDisk::new();
            let options = &both()[0];
            let log = open(options, &disk).unwrap();
            append(&log, "kept").await.unwrap();
            let noted = noted_bytes(&disk);
            disk.set_capacity_bytes(Some(disk.used_bytes() + spare));
            let mut wanted: Vec<Bytes> = vec!["kept".into()];
            match append(&log, vec![1; 1000]).await {
                Ok(_) => wanted.push(vec![1; 1000].into()),
                Err(Error::Full { .. }) => {
                    assert_eq!(disk.contents(&segment(0, "avro")).unwrap().len(), noted);
                }
                Err(error) => panic!("{error}"),
            }
            taken += wanted.len() - 1;
            disk.set_capacity_bytes(None);
            append(&log, "later").await.unwrap();
            wanted.push("later".into());
            disk.power_loss(spare);
            let log = open(options, &disk).unwrap();
            assert_eq!(values(&log).await.unwrap(), wanted, "{spare} bytes spare");
        }
        assert!((10..180).contains(&taken), "{taken} blocks were taken");
    });
}

#[test]
fn no_space_is_reserved_that_is_kept_for_outcomes() {
    run(async {
        let disk = SimDisk::new();
        let options = Options { headroom_bytes: 10_000, ..both()[0].clone() };
        let log = open(&options, &disk).unwrap();
        disk.set_capacity_bytes(Some(disk.used_bytes() + 12_000));
        append(&log, vec![1; 1000]).await.unwrap();
        assert_eq!(disk.contents(&segment(0, "avro")).unwrap().len(), noted_bytes(&disk));
    });
}

#[test]
fn a_failed_write_stops_the_log() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&options(DIR), &disk).unwrap();
        disk.fail_writes(1);
        assert!(matches!(append(&log, "x").await, Err(Error::Poisoned(_))));
        assert!(matches!(append(&log, "y").await, Err(Error::Poisoned(_))));
    });
}

#[test]
fn a_full_disk_refuses_and_leaves_no_trace_until_there_is_space() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&options(DIR), &disk).unwrap();
        append(&log, "kept").await.unwrap();
        let before = disk.contents(&segment(0, "avro")).unwrap();
        for spare in [0, 1, 100, 900] {
            disk.set_capacity_bytes(Some(disk.used_bytes() + spare));
            let refused = append(&log, vec![1; 1000]).await.unwrap_err();
            assert!(matches!(refused, Error::Full { .. }), "{refused}");
            assert!(refused.is_retryable() && !refused.is_ambiguous());
            assert_eq!(disk.contents(&segment(0, "avro")).unwrap(), before, "{spare} bytes spare");
        }
        disk.set_capacity_bytes(None);
        assert_eq!(append(&log, "later").await.unwrap().first_offset, 1);
        disk.power_loss(1);
        drop(log);
        let log = open(&options(DIR), &disk).unwrap();
        assert_eq!(values(&log).await.unwrap(), ["kept", "later"]);
    });
}

#[test]
fn a_full_disk_at_a_segments_end_refuses_and_goes_on_later() {
    run(async {
        let options = Options { segment_bytes: 4000, ..options(DIR) };
        for spare in 0..1500 {
            let disk = SimDisk::new();
            let log = open(&options, &disk).unwrap();
            append(&log, vec![1; 1500]).await.unwrap();
            disk.set_capacity_bytes(Some(disk.used_bytes() + spare));
            assert!(matches!(append(&log, vec![2; 1500]).await, Err(Error::Full { .. })));
            disk.set_capacity_bytes(None);
            // It would fit into the old segment, but the name of the next one may be there.
            append(&log, "small").await.unwrap();
            drop(log);
            let log = open(&options, &disk).unwrap();
            let sizes: Vec<_> = values(&log).await.unwrap().iter().map(|one| one.len()).collect();
            assert_eq!(sizes, [1500, 5], "{spare} bytes spare");
        }
    });
}

#[test]
fn head_room_is_kept_for_outcomes() {
    run(async {
        let disk = SimDisk::new();
        let options = Options { headroom_bytes: 10_000, ..options(DIR) };
        let log = open(&options, &disk).unwrap();
        disk.set_capacity_bytes(Some(disk.used_bytes() + 10_000));
        let refused = append(&log, "new work").await.unwrap_err();
        assert!(matches!(refused, Error::Full { free_bytes: 10_000, .. }), "{refused}");
        let outcome = log.append(&place(), vec![record("outcome")], Urgency::Outcome).await;
        assert_eq!(outcome.unwrap().first_offset, 0);
        disk.set_capacity_bytes(Some(disk.used_bytes() + 11_000));
        assert_eq!(append(&log, "new work").await.unwrap().first_offset, 1);
    });
}
