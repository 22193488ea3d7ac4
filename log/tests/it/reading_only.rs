//! A log that is only read, beside its writer or without one.

use crate::support::{append, open_os, options, place, read_all, record, values};
use spine_log::{
    Error, EventLog, PartitionReader, ReadLimit, Urgency,
    embedded::{Driver, EmbeddedLog, OsDisk},
};
use std::{path::Path, sync::Arc};

fn open_read_only(dir: &Path) -> spine_log::Result<EmbeddedLog> {
    EmbeddedLog::open_read_only(dir, Arc::new(OsDisk))
}

fn files_of(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_reader_beside_the_writer_sees_what_is_durable_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    // Small segments, so that there are sealed ones.
    options.segment_bytes = 2000;
    let writer = open_os(&options, Driver::Thread);
    for number in 0..50 {
        append(&writer, format!("value {number} {}", "x".repeat(100))).await.unwrap();
    }
    let partition_dir = dir.path().join("steps/0");
    let before = files_of(&partition_dir);
    let reader = open_read_only(dir.path()).unwrap();
    assert_eq!(reader.log_id(), writer.log_id());
    assert_eq!(values(&reader).await.unwrap(), values(&writer).await.unwrap());
    let time = read_all(&writer).await.unwrap()[20].timestamp;
    assert_eq!(reader.offset_at(&place(), time).await.unwrap(), 20);
    assert_eq!(files_of(&partition_dir), before);

    append(&writer, "later").await.unwrap();
    assert_eq!(reader.bounds(&place()).await.unwrap().end, 50);
    assert_eq!(open_read_only(dir.path()).unwrap().bounds(&place()).await.unwrap().end, 51);
}

#[tokio::test]
async fn it_takes_no_append_and_ends_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let writer = open_os(&options(dir.path()), Driver::Thread);
    append(&writer, "one").await.unwrap();
    drop(writer);
    let log = open_read_only(dir.path()).unwrap();
    let refused = log.append(&place(), vec![record("two")], Urgency::Outcome).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let mut reader = log.reader(&place(), 1).await.unwrap();
    let at_end = reader.next(ReadLimit { records: 1, bytes: 1 }).await;
    assert!(matches!(at_end, Err(Error::Missing(_))), "{at_end:?}");
    // The lock was not taken: a writer may come.
    open_os(&options(dir.path()), Driver::Thread);
}

#[test]
fn a_directory_without_a_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Err(Error::Missing(what)) = open_read_only(dir.path()) else { panic!("a log was made up") };
    assert!(what.contains(&dir.path().display().to_string()), "{what}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
