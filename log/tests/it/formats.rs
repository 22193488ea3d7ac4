//! The files of this version, kept as they were: a later version must read them, and this one must
//! not change them by accident.

use crate::support::{DIR, append, note_schema, open, options, place, run, segment, topic, values};
use bytes::Bytes;
use spine_log::{
    EventLog, NewRecord, Urgency,
    embedded::{Options, SimDisk},
};
use std::path::Path;

const SEGMENT: &[u8] = include_bytes!("../fixtures/segment-1.avro");
const NOTE: &[u8] = include_bytes!("../fixtures/segment-1.durable");
const META: &[u8] = include_bytes!("../fixtures/meta-1.json");

fn typed() -> Options {
    Options { topics: vec![topic(1, Some(note_schema()))], ..options(DIR) }
}

fn datum() -> Vec<u8> {
    [&[0xC3, 1][..], &crate::support::FINGERPRINT, &[84, 2, 4, b'h', b'i']].concat()
}

async fn write(disk: &SimDisk) {
    let log = open(&typed(), disk).unwrap();
    append(&log, datum()).await.unwrap();
    let plain = NewRecord {
        key: None,
        headers: vec![("h".into(), Bytes::from_static(b"v"))],
        value: Some(Bytes::from_static(b"plain")),
    };
    let tombstone =
        NewRecord { key: Some(Bytes::from_static(b"k")), headers: Vec::new(), value: None };
    log.append(&place(), vec![plain, tombstone], Urgency::Normal).await.unwrap();
}

#[test]
fn the_files_are_written_byte_for_byte_as_they_were() {
    run(async {
        let disk = SimDisk::new();
        write(&disk).await;
        let written = |path: &Path| disk.contents(path).unwrap();
        assert_eq!(written(&segment(0, "avro")), SEGMENT);
        assert_eq!(written(&segment(0, "durable")), NOTE);
        assert_eq!(written("/log/meta.json".as_ref()), META);
    });
}

#[test]
fn the_files_of_format_1_are_read() {
    run(async {
        let disk = SimDisk::new();
        drop(open(&typed(), &disk).unwrap());
        disk.set_contents(&segment(0, "avro"), SEGMENT.to_vec());
        disk.set_contents(&segment(0, "durable"), NOTE.to_vec());
        disk.set_contents("/log/meta.json".as_ref(), META.to_vec());
        let log = open(&typed(), &disk).unwrap();
        assert_eq!(values(&log).await.unwrap(), [datum(), b"plain".to_vec()]);
        assert_eq!(append(&log, "next").await.unwrap().first_offset, 3);
    });
}
