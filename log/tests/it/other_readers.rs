//! The files are plain Avro: other libraries read them without us.

use crate::support::{FINGERPRINT, append, note_schema, open_os, options, place, topic};
use apache_avro::{Reader, types::Value};
use bytes::Bytes;
use spine_log::{
    EventLog, NewRecord, Urgency,
    embedded::{Driver, EmbeddedLog, Options},
};
use std::{path::Path, process::Command};

/// Writes three records: a datum, plain bytes with headers, a tombstone. As long as the log is open, space is
/// reserved behind them.
async fn write(dir: &Path) -> EmbeddedLog {
    let topics = vec![topic(1, Some(note_schema()))];
    let options = Options { topics, reserve_from_bytes: 0, ..options(dir) };
    let log = open_os(&options, Driver::Thread);
    let datum = [&[0xC3, 1][..], &FINGERPRINT, &[84, 2, 4, b'h', b'i']].concat();
    append(&log, datum).await.unwrap();
    let plain = NewRecord {
        key: None,
        headers: vec![("h".into(), Bytes::from_static(b"v"))],
        value: Some(Bytes::from_static(b"plain")),
    };
    let tombstone =
        NewRecord { key: Some(Bytes::from_static(b"k")), headers: Vec::new(), value: None };
    log.append(&place(), vec![plain, tombstone], Urgency::Normal).await.unwrap();
    log
}

const SEGMENT: &str = "steps/0/00000000000000000000.avro";

/// Reads the segment while the log is open, with a reserve, and once it is closed.
async fn open_and_closed(read: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let log = write(dir.path()).await;
    let path = dir.path().join(SEGMENT);
    let open_bytes = std::fs::metadata(&path).unwrap().len();
    read(&path);
    drop(log);
    assert!(std::fs::metadata(&path).unwrap().len() < open_bytes, "nothing was reserved");
    read(&path);
}

#[tokio::test]
async fn apache_avro_reads_a_segment() {
    open_and_closed(apache_avro_reads).await;
}

fn apache_avro_reads(path: &Path) {
    let reader = Reader::new(std::fs::File::open(path).unwrap()).unwrap();
    assert_eq!(reader.user_metadata().get("spine.topic"), Some(&b"steps".to_vec()));
    let records: Vec<_> = reader.map(|record| record.unwrap()).collect();
    let field = |record: usize, name: &str| match &records[record] {
        Value::Record(fields) => fields.iter().find(|(field, _)| field == name).unwrap().1.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2].map(|record| field(record, "offset")), [0, 1, 2].map(Value::Long));
    let note = Value::Record(vec![
        ("number".into(), Value::Long(42)),
        ("text".into(), Value::Union(1, Box::new(Value::String("hi".into())))),
    ]);
    assert_eq!(field(0, "body"), Value::Union(0, Box::new(note)));
    assert_eq!(field(0, "size"), Value::Int(15));
    assert_eq!(field(1, "body"), Value::Union(1, Box::new(Value::Bytes(b"plain".to_vec()))));
    assert_eq!(field(2, "body"), Value::Union(2, Box::new(Value::Null)));
    assert_eq!(field(1, "key"), Value::Union(0, Box::new(Value::Null)));
}

#[tokio::test]
async fn fastavro_reads_a_segment_and_its_checksums_hold() {
    let installed = Command::new("python3").args(["-c", "import fastavro"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 with fastavro is not installed");
        return;
    }
    open_and_closed(fastavro_reads).await;
}

fn fastavro_reads(path: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_segment.py");
    let output = Command::new("python3").arg(script).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "0 b'tenant/run' [] {'number': 42, 'text': 'hi'} checksum holds",
            "1 None [('h', b'v')] b'plain' checksum holds",
            "2 b'k' [] None checksum holds",
        ]
    );
}
