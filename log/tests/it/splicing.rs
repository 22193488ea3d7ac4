//! What is spliced into a segment, and what is kept as plain bytes.

use crate::support::{
    DIR, FINGERPRINT, append, note_schema, open, options, run, segment, topic, values,
};
use apache_avro::{Reader, types::Value};
use bytes::Bytes;
use spine_log::{
    Error,
    embedded::{DatumSchema, Options, SimDisk},
};

fn typed() -> Options {
    Options { topics: vec![topic(1, Some(note_schema()))], ..options(DIR) }
}

fn framed(datum: &[u8]) -> Bytes {
    [&[0xC3, 1][..], &FINGERPRINT, datum].concat().into()
}

/// The branch that each record of the first segment took: 0 datum, 1 bytes, 2 null.
fn branches(disk: &SimDisk) -> Vec<u32> {
    let file = disk.contents(&segment(0, "avro")).unwrap();
    let records = Reader::new(&file[..]).unwrap().map(|value| match value.unwrap() {
        Value::Record(fields) => match &fields.last().unwrap().1 {
            Value::Union(branch, _) => *branch,
            other => panic!("body is {other:?}"),
        },
        other => panic!("record is {other:?}"),
    });
    records.collect()
}

#[test]
fn a_whole_datum_is_spliced_and_anything_else_is_bytes() {
    run(async {
        let disk = SimDisk::new();
        let log = open(&typed(), &disk).unwrap();
        let cases: [(Bytes, u32); 9] = [
            (framed(&[84, 2, 4, b'h', b'i']), 0),
            (framed(&[84, 0]), 0),
            (framed(&[84]), 1),                   // cut short
            (framed(&[84, 0, 0]), 1),             // one byte too many
            (framed(&[84, 4]), 1),                // no such branch
            (framed(&[84, 2, 4, 0xFF, 0xFF]), 1), // text that is not UTF-8
            (framed(&[]), 1),                     // nothing
            (Bytes::from_static(b"not framed"), 1),
            ([&[0xC3, 1][..], &[0; 8], &[84, 0]].concat().into(), 1), // another fingerprint
        ];
        for (value, _) in &cases {
            append(&log, value.clone()).await.unwrap();
        }
        drop(log);
        assert_eq!(branches(&disk), cases.clone().map(|(_, branch)| branch));
        let log = open(&typed(), &disk).unwrap();
        assert_eq!(values(&log).await.unwrap(), cases.map(|(value, _)| value));
    });
}

#[test]
fn garbage_under_our_fingerprint_leaves_the_file_readable() {
    let random = spine_log::embedded::seeded_random(5);
    run(async {
        let disk = SimDisk::new();
        let log = open(&typed(), &disk).unwrap();
        let mut sent = Vec::new();
        for _ in 0..2000 {
            let len = random() % 12;
            let datum: Vec<u8> = (0..len).map(|_| (random() % 256) as u8 & 0x8F).collect();
            sent.push(framed(&datum));
            append(&log, framed(&datum)).await.unwrap();
        }
        drop(log);
        let taken = branches(&disk);
        assert_eq!(taken.len(), sent.len());
        assert!(taken.contains(&0) && taken.contains(&1), "both forms occur");
        assert_eq!(values(&open(&typed(), &disk).unwrap()).await.unwrap(), sent);
    });
}

#[test]
fn a_schema_that_cannot_be_a_branch_is_refused() {
    for json in [r#""bytes""#, r#""null""#, "{", r#"{"type":"map","values":"int"}"#, r#""Nope""#] {
        let datum = DatumSchema { json: json.into(), fingerprint: FINGERPRINT };
        let options = Options { topics: vec![topic(1, Some(datum))], ..options(DIR) };
        assert!(matches!(open(&options, &SimDisk::new()), Err(Error::Refused(_))), "{json}");
    }
}
