//! One owner per directory, and a directory that knows what it is.

use crate::support::{DIR, TASK, append, damage, open, options, run, ticking_clock, topic, values};
use spine_log::{
    Error, EventLog,
    embedded::{Driver, EmbeddedLog, OsDisk, SimDisk, seeded_random},
};
use std::{path::Path, sync::Arc};

#[test]
fn a_second_owner_is_told_who_holds_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        EmbeddedLog::open(&options(dir.path()), Arc::new(OsDisk), ticking_clock(), Driver::Thread)
    };
    let first = open().unwrap();
    let Err(Error::Refused(why)) = open() else { panic!("two owners") };
    assert!(why.contains("process 42 at 127.0.0.1:7700"), "{why}");
    drop(first);
    open().unwrap();
}

#[test]
fn a_killed_process_holds_no_lock() {
    run(async {
        let disk = SimDisk::new();
        let old = open(&options(DIR), &disk).unwrap();
        append(&old, "x").await.unwrap();
        assert!(matches!(open(&options(DIR), &disk), Err(Error::Refused(_))));
        disk.kill();
        let new = open(&options(DIR), &disk).unwrap();
        assert!(append(&old, "zombie").await.is_err(), "the dead process writes");
        drop(old);
        assert!(matches!(open(&options(DIR), &disk), Err(Error::Refused(_))), "not freed by it");
        assert_eq!(values(&new).await.unwrap(), ["x"]);
    });
}

#[test]
fn the_identity_is_made_once() {
    run(async {
        let disk = SimDisk::new();
        let id = open(&options(DIR), &disk).unwrap().log_id().to_owned();
        let mut options = options(DIR);
        options.random = seeded_random(99);
        assert_eq!(open(&options, &disk).unwrap().log_id(), id);
        options.dir = "/other".into();
        assert_ne!(open(&options, &disk).unwrap().log_id(), id);
    });
}

#[test]
fn another_partition_count_is_refused_by_name() {
    run(async {
        let disk = SimDisk::new();
        drop(open(&options(DIR), &disk).unwrap());
        let mut options = options(DIR);
        options.topics = vec![topic(3, None)];
        let Err(Error::Refused(why)) = open(&options, &disk) else { panic!("opened") };
        assert!(why.contains("steps") && why.contains("1 partitions, not 3"), "{why}");
        options.topics[0].partitions = 0;
        assert!(matches!(open(&options, &disk), Err(Error::Refused(_))));
    });
}

#[test]
fn a_topic_can_be_added_later() {
    run(async {
        let disk = SimDisk::new();
        append(&open(&options(DIR), &disk).unwrap(), "x").await.unwrap();
        let mut options = options(DIR);
        options.topics.push(topic(2, None));
        options.topics[1].name = "letters".into();
        let log = open(&options, &disk).unwrap();
        assert_eq!(log.partitions("letters").await.unwrap(), 2);
        assert_eq!(values(&log).await.unwrap(), ["x"]);
    });
}

#[test]
fn names_that_would_leave_the_directory_are_refused() {
    for name in ["", ".", "..", "../x", "a/b", "LOCK", "meta.json", "ä", "a b"] {
        let mut options = options(DIR);
        options.topics[0].name = name.into();
        assert!(matches!(open(&options, &SimDisk::new()), Err(Error::Refused(_))), "{name:?}");
    }
}

#[test]
fn a_topic_that_is_named_twice_is_refused() {
    let mut options = options(DIR);
    options.topics.push(topic(1, None));
    assert!(matches!(open(&options, &SimDisk::new()), Err(Error::Refused(_))));
}

#[test]
fn a_directory_of_another_format_is_refused() {
    let disk = SimDisk::new();
    drop(open(&options(DIR), &disk).unwrap());
    let path = Path::new(DIR).join("meta.json");
    let text = String::from_utf8(disk.contents(&path).unwrap()).unwrap();
    disk.set_contents(&path, text.replace("\"format\": 1", "\"format\": 2").into_bytes());
    assert!(matches!(open(&options(DIR), &disk), Err(Error::Refused(_))));
    disk.set_contents(&path, b"{".to_vec());
    assert!(damage(open(&options(DIR), &disk)).contains("meta.json"));
}

#[test]
fn files_of_another_log_are_refused_by_name() {
    run(async {
        let (here, there) = (SimDisk::new(), SimDisk::new());
        append(&open(&options(DIR), &here).unwrap(), "here").await.unwrap();
        let mut options = options(DIR);
        options.random = seeded_random(1000);
        append(&open(&options, &there).unwrap(), "there").await.unwrap();
        let path = crate::support::segment(0, "avro");
        here.set_contents(&path, there.contents(&path).unwrap());
        let why = damage(open(&options, &here));
        assert!(why.contains("00000000000000000000.avro") && why.contains("out of place"), "{why}");
    });
}

#[test]
fn a_lost_newest_segment_is_betrayed_by_its_note() {
    run(async {
        let disk = SimDisk::new();
        let mut options = options(DIR);
        options.segment_bytes = 1000;
        let log = open(&options, &disk).unwrap();
        append(&log, vec![1; 900]).await.unwrap();
        append(&log, vec![2; 900]).await.unwrap();
        drop(log);
        disk.delete(&crate::support::segment(1, "avro"));
        let why = damage(open(&options, &disk));
        assert!(why.contains("00000000000000000001.durable"), "{why}");
    });
}

#[test]
fn a_lost_description_or_segment_is_named_and_never_replaced() {
    run(async {
        type Lose = fn(&SimDisk);
        let losses: [(&str, Lose); 3] = [
            ("meta.json", |disk| disk.delete(&Path::new(DIR).join("meta.json"))),
            ("segment", |disk| disk.delete(&crate::support::segment(0, "avro"))),
            ("segments", |disk| {
                disk.delete(&crate::support::segment(0, "avro"));
                disk.delete(&crate::support::segment(0, "durable"));
            }),
        ];
        for (what, lose) in losses {
            let disk = SimDisk::new();
            append(&open(&options(DIR), &disk).unwrap(), "x").await.unwrap();
            lose(&disk);
            let outcome = EmbeddedLog::open(&options(DIR), Arc::new(disk), ticking_clock(), TASK);
            assert!(damage(outcome).contains(what), "{what}");
        }
    });
}
