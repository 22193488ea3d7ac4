//! Segments: rolled by size and by schema, tidy directories, indexes that can be lost.

use crate::support::{
    DIR, append, note_schema, open, options, place, record, run, segment, topic, values,
};
use spine_log::{
    EventLog, Urgency,
    embedded::{DatumSchema, Options, SimDisk},
};
use std::path::Path;

fn names(disk: &SimDisk) -> Vec<String> {
    let partition = Path::new(DIR).join("steps/0");
    let paths = disk.paths();
    let inside = paths.iter().filter(|path| path.parent() == Some(&partition));
    inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

fn small() -> Options {
    Options { segment_bytes: 3000, ..options(DIR) }
}

#[test]
fn a_segment_is_sealed_before_it_grows_past_its_size() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&small(), &disk).unwrap();
        for number in 0..20_u8 {
            append(&log, vec![number; 400]).await.unwrap();
        }
        let segments: Vec<_> =
            disk.paths().into_iter().filter(|path| path.extension().unwrap() == "avro").collect();
        assert!(segments.len() > 3, "{segments:?}");
        assert!(segments.iter().all(|path| disk.contents(path).unwrap().len() <= 3000));
        let notes = names(&disk).iter().filter(|name| name.ends_with(".durable")).count();
        let indexes = names(&disk).iter().filter(|name| name.ends_with(".index")).count();
        assert_eq!((notes, indexes), (1, segments.len() - 1), "{:?}", names(&disk));
        assert_eq!(values(&log).await.unwrap().len(), 20);
        drop(log);
        let log = open(&small(), &disk).unwrap();
        let values = values(&log).await.unwrap();
        assert!(values.iter().zip(0..).all(|(value, number)| value == &vec![number; 400]));
        assert_eq!(append(&log, "next").await.unwrap().first_offset, 20);
    });
}

#[test]
fn a_batch_larger_than_a_segment_gets_one_of_its_own() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&small(), &disk).unwrap();
        append(&log, "a").await.unwrap();
        let batch = vec![record(vec![1; 9000]), record(vec![2; 9000])];
        log.append(&place(), batch, Urgency::Normal).await.unwrap();
        append(&log, "b").await.unwrap();
        let log = {
            drop(log);
            open(&small(), &disk).unwrap()
        };
        let sizes: Vec<_> = values(&log).await.unwrap().iter().map(|value| value.len()).collect();
        assert_eq!(sizes, [1, 9000, 9000, 1]);
        assert!(disk.contents(&segment(1, "avro")).is_some());
        assert!(disk.contents(&segment(3, "avro")).is_some());
    });
}

#[test]
fn another_schema_starts_another_segment() {
    run(async {
        let disk = SimDisk::new();
        let plain = options(DIR);
        let typed = Options { topics: vec![topic(1, Some(note_schema()))], ..options(DIR) };
        let newer = DatumSchema { fingerprint: [9; 8], ..note_schema() };
        let newer = Options { topics: vec![topic(1, Some(newer))], ..options(DIR) };
        for (options, value) in [(&plain, "a"), (&typed, "b"), (&typed, "c"), (&newer, "d")] {
            append(&open(options, &disk).unwrap(), value).await.unwrap();
        }
        let log = open(&newer, &disk).unwrap();
        assert_eq!(values(&log).await.unwrap(), ["a", "b", "c", "d"]);
        let starts: Vec<_> =
            names(&disk).into_iter().filter(|name| name.ends_with(".avro")).collect();
        assert_eq!(starts.len(), 3, "{starts:?}");
    });
}

#[test]
fn an_empty_segment_of_another_schema_is_replaced() {
    run(async {
        let disk = SimDisk::new();
        let typed = Options { topics: vec![topic(1, Some(note_schema()))], ..options(DIR) };
        drop(open(&typed, &disk).unwrap());
        drop(open(&options(DIR), &disk).unwrap());
        let log = open(&typed, &disk).unwrap();
        append(&log, "x").await.unwrap();
        drop(log);
        assert_eq!(values(&open(&typed, &disk).unwrap()).await.unwrap(), ["x"]);
        assert_eq!(names(&disk).len(), 2, "{:?}", names(&disk));
    });
}

#[test]
fn a_lost_or_garbled_index_is_built_again() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&small(), &disk).unwrap();
        for number in 0..20_u8 {
            append(&log, vec![number; 400]).await.unwrap();
        }
        drop(log);
        let path = segment(0, "index");
        let good = disk.contents(&path).unwrap();
        for bad in [None, Some(vec![]), Some(vec![0; 100]), Some(good[..good.len() - 1].to_vec())] {
            match bad {
                None => disk.delete(&path),
                Some(contents) => disk.set_contents(&path, contents),
            }
            let log = open(&small(), &disk).unwrap();
            assert_eq!(values(&log).await.unwrap().len(), 20);
            assert_eq!(disk.contents(&path), Some(good.clone()), "built again");
        }
    });
}

#[test]
fn unfinished_files_and_stale_notes_are_removed() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&small(), &disk).unwrap();
        for number in 0..10_u8 {
            append(&log, vec![number; 400]).await.unwrap();
        }
        drop(log);
        let before = names(&disk);
        disk.set_contents(&segment(99, "avro.tmp"), b"Obj".to_vec());
        disk.set_contents(&segment(0, "index.tmp"), b"x".to_vec());
        disk.set_contents(&segment(0, "durable"), b"stale".to_vec());
        let log = open(&small(), &disk).unwrap();
        assert_eq!((names(&disk), values(&log).await.unwrap().len()), (before, 10));
    });
}
