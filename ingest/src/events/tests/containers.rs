//! Container files: the same events as their lines, whole or not at all.

use super::{Author, Form, Parsed, author, parse};
use crate::{
    Problem,
    limits::HEADER_ENTRIES,
    tests::world::{ndjson, six_events},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use spine_schemas::{
    BatchItem, Body, Event, Op, StepEvent,
    codec::{self, HEADER_BYTES, SchemaBook},
    limits,
    time::Micros,
};

const MARKER: [u8; 16] = *b"sixteen bytes it";

/// A schema with little in it, as a small producer writes it: other order, other symbols.
const SMALL: &str = r#"{"type":"record","name":"spine.v1.StepEvent","fields":[
    {"name":"run_id","type":"string"},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["step_lost","run_created"]}},
    {"name":"run","type":["null",{"type":"record","name":"Run","fields":[
        {"name":"version","type":"string"},{"name":"workflow","type":"string"},
        {"name":"input","type":{"type":"record","name":"Payload","fields":[
            {"name":"bytes","type":["null","bytes"]}]}}]}]}]}"#;

pub(crate) fn number(number: i64) -> Vec<u8> {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    let mut out = Vec::new();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

pub(crate) fn sized(bytes: &[u8]) -> Vec<u8> {
    [number(bytes.len() as i64), bytes.to_vec()].concat()
}

fn header(schema: &str, codec: &str) -> Vec<u8> {
    let entries = [
        sized(b"avro.codec"),
        sized(codec.as_bytes()),
        sized(b"avro.schema"),
        sized(schema.as_bytes()),
    ];
    [b"Obj\x01".to_vec(), number(2), entries.concat(), number(0), MARKER.to_vec()].concat()
}

fn block(records: usize, bytes: &[u8]) -> Vec<u8> {
    [number(records as i64), sized(bytes), MARKER.to_vec()].concat()
}

/// Deflate without compression: what a file grows to is what is tested.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in bytes.chunks(0xffff) {
        let size = piece.len() as u16;
        out.extend([&[0][..], &size.to_le_bytes(), &(!size).to_le_bytes(), piece].concat());
    }
    [out, vec![1, 0, 0, 0xff, 0xff]].concat()
}

/// The records of our own schema that lines become.
pub(crate) fn data(lines: &[Value]) -> Vec<Vec<u8>> {
    let text = ndjson(lines);
    let parsed = parse(Form::Lines, text.as_bytes(), &author(), 1).unwrap();
    values(&parsed).into_iter().map(|value| value[HEADER_BYTES..].to_vec()).collect()
}

/// A file of our own schema, so many records a block.
pub(crate) fn file(data: &[Vec<u8>], in_block: usize) -> Vec<u8> {
    let blocks = data.chunks(in_block).map(|data| block(data.len(), &data.concat()));
    [vec![header(codec::step_event_schema(), "null")], blocks.collect()].concat().concat()
}

fn small(run: &str, input: &str) -> Vec<u8> {
    let texts = [number(1), sized(b"3"), sized(b"refund"), number(1), sized(input.as_bytes())];
    [sized(run.as_bytes()), number(1), texts.concat()].concat()
}

fn values(parsed: &Parsed) -> Vec<Vec<u8>> {
    let records = parsed.batches.values().flatten();
    records.map(|record| record.value.as_deref().unwrap().to_vec()).collect()
}

fn read(file: &[u8]) -> Result<Parsed, Problem> {
    parse(Form::Container, file, &author(), 1)
}

fn events(file: &[u8]) -> Vec<Event> {
    let parsed = read(file).unwrap_or_else(|problem| panic!("{}", problem.to_json()));
    let book = SchemaBook::compiled_in();
    values(&parsed).iter().map(|value| codec::decode(value, &book).unwrap()).collect()
}

fn refused(file: &[u8]) -> Value {
    match read(file) {
        Err(problem) => problem.to_json(),
        Ok(parsed) => panic!("{} events were taken", parsed.places.len()),
    }
}

/// A file of each way to be read, in one block, with its name.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let data = data(&six_events("r1"));
    let foreign = [small("a", "1"), small("b", "[2]")].concat();
    let ours = codec::step_event_schema();
    let deflated = block(data.len(), &stored(&data.concat()));
    vec![
        ("ours", file(&data, 100)),
        ("ours, deflated", [header(ours, "deflate"), deflated].concat()),
        ("foreign", [header(SMALL, "null"), block(2, &foreign)].concat()),
        ("foreign, deflated", [header(SMALL, "deflate"), block(2, &stored(&foreign))].concat()),
    ]
}

#[test]
fn a_file_makes_the_records_that_its_lines_make() {
    let lines = six_events("r1");
    let text = ndjson(&lines);
    let of_lines = values(&parse(Form::Lines, text.as_bytes(), &author(), 1).unwrap());
    let data = data(&lines);
    for in_block in [1, 4, 100] {
        assert_eq!(values(&read(&file(&data, in_block)).unwrap()), of_lines, "{in_block}");
    }
    assert_eq!(values(&read(&samples()[1].1).unwrap()), of_lines);
    let other_text = codec::step_event_schema().replace('\n', " ");
    let other_text = [header(&other_text, "null"), block(data.len(), &data.concat())].concat();
    assert_eq!(values(&read(&other_text).unwrap()), of_lines);
}

#[test]
fn a_file_of_an_earlier_version_is_read() {
    let schema = include_str!("../../../../schemas/avro/v1/step_event.avsc");
    let hex = include_str!("../../../../schemas/fixtures/v1/events.hex").lines();
    let lines = include_str!("../../../../schemas/fixtures/v1/events.ndjson").lines();
    let is_cancelled = |(_, line): &(&str, &str)| line.contains("run_cancelled");
    let (hex, line) = hex.zip(lines).find(is_cancelled).unwrap();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    // The frame around a single object is not part of a file.
    let datum: Vec<u8> = (20..hex.len()).step_by(2).map(byte).collect();
    let of_file = read(&[header(schema, "null"), block(1, &datum)].concat()).unwrap();
    let of_line = parse(Form::Lines, line.as_bytes(), &author(), 1).unwrap();
    assert_eq!(values(&of_file), values(&of_line));
}

#[test]
fn what_is_left_out_is_put_in_as_in_json() {
    let whole = data(&[json!({"kind": "run_created", "event_id": "e", "run_id": "r",
        "occurred_at": "2026-01-02T03:04:05Z", "run": {"workflow": "w", "version": "1", "input": 1}})]);
    let datum = whole[0].strip_prefix(&[2, b'e'][..]).unwrap();
    let empty = [&[0][..], datum].concat();
    let file = file(&[whole[0].clone(), empty], 9);
    let lines =
        r#"{"kind":"run_created","run_id":"r","run":{"workflow":"w","version":"1","input":1}}"#;
    let text = format!("\n{lines}");
    let of_line = values(&parse(Form::Lines, text.as_bytes(), &author(), 1).unwrap());
    let of_line = codec::decode(&of_line[0], &SchemaBook::compiled_in()).unwrap();
    assert_eq!(events(&file)[1].event_id, of_line.event_id);
    assert!(read(&file).unwrap().dedupe);
    let nobody = Author::fixed(None, Micros(7));
    assert!(!parse(Form::Container, &file, &nobody, 1).unwrap().dedupe);

    let foreign = [header(SMALL, "null"), block(1, &small("r", "1"))].concat();
    let event = &events(&foreign)[0];
    assert_eq!((&*event.tenant, event.actor.as_str()), (&*of_line.tenant, of_line.actor.as_str()));
    assert_eq!(event.occurred_at, Micros(7));
    assert_eq!(event.event_id, crate::ids::of_line("key", 1));
}

#[test]
fn no_size_and_no_digest_of_a_caller_is_believed() {
    let foreign = [header(SMALL, "null"), block(1, &small("r", "{\"b\":1.0, \"a\":2}"))].concat();
    let line = json!({"kind": "run_created", "event_id": events(&foreign)[0].event_id, "run_id": "r",
        "occurred_at": "1970-01-01T00:00:00.000007Z", "run": {"workflow": "refund", "version": "3"}});
    let text =
        line.to_string().replace("\"version\"", "\"input\":{\"b\":1.0, \"a\":2},\"version\"");
    let of_line = values(&parse(Form::Lines, text.as_bytes(), &author(), 1).unwrap());
    assert_eq!(values(&read(&foreign).unwrap()), of_line);
    let mut forged = of_line[0][HEADER_BYTES..].to_vec();
    let digest = spine_schemas::Payload::json("", "{\"b\":1.0, \"a\":2}").unwrap().digest.0;
    let at = forged.windows(32).position(|window| window == digest).unwrap();
    forged[at..at + 32].fill(7);
    assert_eq!(values(&read(&file(&[forged], 1)).unwrap()), of_line);
}

#[test]
fn every_cut_is_an_error() {
    for (what, file) in samples() {
        assert!(read(&file).is_ok(), "{what}");
        for size in 0..file.len() {
            let name = refused(&file[..size])["name"].clone();
            let whole = size == file.len() - cut_block(&file) || size == 0;
            assert_eq!(name, if whole { "empty_body" } else { "bad_avro" }, "{what} to {size}");
        }
    }
    let data = data(&six_events("r1"));
    let file = file(&data, 2);
    let head = header(codec::step_event_schema(), "null").len();
    let whole: Vec<_> = (1..file.len()).filter(|size| read(&file[..*size]).is_ok()).collect();
    assert_eq!(whole.len(), 2, "only where one of three blocks ends: {whole:?}");
    assert!(whole.iter().all(|size| *size > head && file[..*size].ends_with(&MARKER)));
}

/// Bytes of the one block of a sample.
fn cut_block(file: &[u8]) -> usize {
    let head = file.windows(16).position(|window| window == MARKER).unwrap() + 16;
    file.len() - head
}

#[test]
fn bytes_inside_a_block_that_are_missing_are_an_error() {
    let foreign = small("r", "1");
    let ours = data(&six_events("r1")).remove(0);
    for (schema, datum) in [(SMALL, foreign), (codec::step_event_schema(), ours)] {
        for size in 0..datum.len() {
            let file = [header(schema, "null"), block(1, &datum[..size])].concat();
            assert_eq!(refused(&file)["name"], "bad_avro", "{size} of {}", datum.len());
        }
    }
}

#[test]
fn damage_is_told_by_place() {
    let ours = codec::step_event_schema();
    let data = data(&six_events("r1"));
    let all = data.concat();
    let head = header(ours, "null");
    let mut marker = file(&data, 100);
    *marker.last_mut().unwrap() ^= 1;
    let huge = [head.clone(), number(1), number(i64::MAX)].concat();
    let less = [head.clone(), number(1), number(-1)].concat();
    let overlong = [head.clone(), vec![0xff; 10], vec![0; 9]].concat();
    let datum = |bytes: &[u8]| [head.clone(), block(1, bytes)].concat();
    let mut schema = head.clone();
    let at = schema.windows(11).position(|window| window == b"avro.schema").unwrap();
    schema[at] = b'x';
    for (what, file, name, words) in [
        ("nothing", vec![], "empty_body", "no event"),
        ("no record", head.clone(), "empty_body", "no event"),
        ("an empty block", [head.clone(), block(0, b"")].concat(), "empty_body", "no event"),
        ("magic", b"Obj\x02rest".to_vec(), "bad_avro", "does not begin with Obj"),
        ("no schema", schema, "bad_avro", "no avro.schema"),
        ("marker", marker, "bad_avro", "sync marker"),
        ("huge block", huge, "bad_avro", "states 9223372036854775807 bytes"),
        ("negative size", less, "bad_avro", "does not state its size"),
        ("overlong number", overlong, "bad_avro", "number of records"),
        ("huge text", datum(&number(1 << 40)), "bad_avro", "record 1"),
        (
            "more after it",
            [file(&data, 9), vec![0]].concat(),
            "bad_avro",
            "does not state its size",
        ),
        ("too few", [head.clone(), block(5, &all)].concat(), "bad_avro", "follow the last record"),
        ("too many", [head.clone(), block(7, &all)].concat(), "bad_avro", "record 7"),
        ("far too many", [head.clone(), block(1 << 40, &all)].concat(), "bad_avro", "records in"),
        (
            "not deflated",
            [header(ours, "deflate"), block(6, &all)].concat(),
            "bad_avro",
            "block at",
        ),
        (
            "snappy",
            [header(ours, "snappy"), block(6, &all)].concat(),
            "media_type",
            "deflate or null",
        ),
        ("zstandard", header(ours, "zstandard"), "media_type", "'zstandard'"),
    ] {
        let problem = refused(&file);
        assert_eq!(problem["name"], name, "{what}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{what}: {detail}");
    }
}

#[test]
fn a_file_may_not_grow_without_end() {
    let ours = codec::step_event_schema();
    let grown = |bytes: usize| block(1, &stored(&vec![0; bytes]));
    let one = [header(ours, "deflate"), grown(limits::DECODE_BYTES + 1)].concat();
    assert_eq!(refused(&one)["name"], "body_too_large", "{}", refused(&one)["detail"]);
    // Real records, so that the blocks before are good.
    let line = json!({"kind": "decision_recorded", "run_id": "r",
        "decision": {"decision": "d", "reasoning": "x".repeat(250_000)}});
    let datum = data(&[line]).remove(0).repeat(40);
    let blocks = block(40, &stored(&datum)).repeat(4);
    let file = [header(ours, "deflate"), blocks].concat();
    assert_eq!(refused(&file)["limit_bytes"], limits::BODY_BYTES);
    let mut held = 0;
    let one = [header(ours, "deflate"), block(40, &stored(&datum))].concat();
    let author = author();
    let mut hold = |bytes| {
        held += bytes;
        Ok(())
    };
    super::super::lines::parse(Form::Container, &one, &author, 1, &mut hold).unwrap();
    assert_eq!(held, datum.len(), "what a file grows to is held for it");
    let mut full = |_bytes| Err(Problem::new(crate::Code::Busy, "full"));
    let busy = super::super::lines::parse(Form::Container, &one, &author, 1, &mut full);
    assert_eq!(busy.err().unwrap().code(), crate::Code::Busy);
}

#[test]
fn a_header_of_very_many_entries_is_refused() {
    let with = |count: usize| {
        let entries = vec![[sized(b""), sized(b"")].concat(); count - 2].concat();
        let known = header(SMALL, "null");
        let known = &known[5..known.len() - MARKER.len() - 1];
        let size = number(count as i64);
        [b"Obj\x01".to_vec(), size, entries, known.to_vec(), number(0), MARKER.to_vec()].concat()
    };
    let rest = block(1, &small("r", "{}"));
    assert_eq!(events(&[with(HEADER_ENTRIES), rest.clone()].concat()).len(), 1);
    let detail = refused(&[with(HEADER_ENTRIES + 1), rest].concat());
    assert_eq!(detail["detail"], "its header has more than 1000 entries");
}

#[test]
fn only_schemas_that_lose_nothing_are_taken() {
    let swap = |from: &str, to: &str| SMALL.replace(from, to);
    let time = r#"{"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}}"#;
    for (what, schema, words) in [
        ("no JSON", "{".to_owned(), "incompatible schema"),
        ("no schema", "{}".to_owned(), "incompatible schema"),
        ("a text", "\"string\"".to_owned(), "spine.v1.StepEvent"),
        ("another name", swap("spine.v1.StepEvent", "StepEvent"), "spine.v1.StepEvent"),
        ("the log's own", codec::log_record_schema().to_owned(), "spine.v1.StepEvent"),
        ("one field more", swap("\"run_id\"", "\"cost\""), "StepEvent has no field 'cost'"),
        ("one field more inside", swap("\"workflow\"", "\"flow\""), "Run has no field 'flow'"),
        (
            "another type",
            swap("\"run_id\",\"type\":\"string\"", "\"run_id\",\"type\":\"long\""),
            "",
        ),
        ("no kind", swap("\"kind\"", "\"reason\""), ""),
        (
            "milliseconds",
            swap("{\"name\":\"run_id\"", &format!("{time},{{\"name\":\"run_id\"")),
            "timestamp-millis",
        ),
        (
            "milliseconds in ours",
            codec::step_event_schema().replace("-micros", "-millis"),
            "timestamp-millis",
        ),
        ("itself", swap("\"type\":\"string\"}", "\"type\":\"spine.v1.StepEvent\"}"), "itself"),
        (
            "too much",
            swap("{\"type\"", &format!("{}{{\"type\"", " ".repeat(limits::SCHEMA_BYTES))),
            "",
        ),
    ] {
        let problem = refused(&[header(&schema, "null"), block(1, &small("r", "1"))].concat());
        assert_eq!(problem["name"], "bad_avro", "{what}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{what}: {detail}");
    }
}

#[test]
fn bad_records_are_listed_by_their_number_and_none_is_taken() {
    let good = small("r", "1");
    let lost = [sized(b"r"), number(0), number(0)].concat();
    let nameless = small("", "1");
    let no_json = small("r", "{");
    let records = [good.clone(), lost, nameless, no_json, good].concat();
    let problem = refused(&[header(SMALL, "null"), block(5, &records)].concat());
    assert_eq!((&problem["name"], &problem["appended"]), (&json!("bad_events"), &json!(0)));
    let errors = problem["errors"].as_array().unwrap();
    let lines: Vec<_> = errors.iter().map(|error| (&error["line"], &error["field"])).collect();
    assert_eq!(
        lines,
        [
            (&json!(2), &json!("step")),
            (&json!(3), &json!("run_id")),
            (&json!(4), &json!("run.input"))
        ]
    );
}

#[test]
fn only_facts_are_taken() {
    let book = SchemaBook::compiled_in();
    let frame = codec::step_event_fingerprint();
    let data = data(&six_events("r1"));
    let forged = |at: usize, forge: &dyn Fn(&mut Event)| {
        let mut event =
            codec::decode(&[&codec::MARKER, &frame[..], &data[at]].concat(), &book).unwrap();
        forge(&mut event);
        codec::encode(&event).unwrap()[HEADER_BYTES..].to_vec()
    };
    let lost = |event: &mut Event| {
        let Body::Step(_, _, body) = &mut event.body else { panic!("not of a step") };
        *body = StepEvent::Unknown { attempt: 1, reason: String::new() };
    };
    let op = Op { session: "s".into(), op_id: 1, replaces: None, version: None };
    let item = BatchItem { id: "b".into(), index: 0 };
    let records = [
        forged(1, &|event| event.claim = Some(3)),
        forged(1, &|event| event.op = Some(op.clone())),
        forged(1, &|event| event.batch = Some(item.clone())),
        forged(1, &lost),
    ];
    let errors = refused(&file(&records, 9))["errors"].clone();
    let names: Vec<_> = (0..4).map(|at| errors[at]["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["owners_field", "owners_field", "owners_field", "not_a_fact"], "{errors}");
}

proptest! {
    #[test]
    fn a_changed_byte_does_no_harm(which in 0usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (_, mut file) = samples().swap_remove(which);
        let head = file.len() - cut_block(&file);
        let at = at.index(file.len() - head + 40) + head - 40;
        file[at] = byte;
        if let Ok(parsed) = read(&file) {
            prop_assert!(parsed.places.len() == values(&parsed).len());
        }
    }
}
