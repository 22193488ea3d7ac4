//! Encoding and decoding: round trips, limits, and the bytes of past versions.

mod foreign;
mod positions;
mod speed;
mod traps;

use super::*;
use crate::{
    Body, ErrorClass, Kind, LetterAttempt, LetterSource, RunEvent, RunKey, StepKey, arbitrary,
    json, time::Micros,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const LINES: &str = include_str!("../../fixtures/v2/events.ndjson");
const HEX_EVENTS: &str = include_str!("../../fixtures/v2/events.hex");
const HEX_LETTERS: &str = include_str!("../../fixtures/v2/letters.hex");
/// Events as text, events, and letters of earlier versions.
const EARLIER: [[&str; 3]; 1] = [[
    include_str!("../../fixtures/v1/events.ndjson"),
    include_str!("../../fixtures/v1/events.hex"),
    include_str!("../../fixtures/v1/letters.hex"),
]];

/// One event of each kind at least.
pub(super) fn samples() -> Vec<Event> {
    read_lines(LINES)
}

fn read_lines(lines: &str) -> Vec<Event> {
    let defaults = json::Defaults {
        now: Micros(0),
        tenant: "default",
        actor: "door",
        event_id: &|| unreachable!("the samples name themselves"),
    };
    lines.lines().map(|line| json::parse_event(line.as_bytes(), &defaults).unwrap()).collect()
}

pub(super) fn sample_letters() -> Vec<DeadLetter> {
    let attempt = LetterAttempt {
        attempt: 4,
        started_at: Micros(10),
        ended_at: Micros(20),
        class: ErrorClass::Timeout,
        code: "timeout".into(),
        message: "no answer".into(),
    };
    let step = LetterSource::Step {
        run: RunKey::new("default", "r1"),
        step: StepKey::new("a", "refund", 2).unwrap(),
        class: ErrorClass::Timeout,
        generation: 1,
        policy: r#"{"max_attempts":4}"#.into(),
        attempts: vec![attempt],
        attempts_omitted: 3,
    };
    let record = LetterSource::Record { class: crate::RecordClass::WrongPartition };
    let letter = |source| DeadLetter {
        letter_id: crate::Digest::of_bytes(b"letter"),
        source,
        topic: "spine.steps".into(),
        partition: 7,
        offset: 39,
        key: Some("default/r1".into()),
        headers: vec![("h".into(), Bytes::from_static(&[0, 255])), ("h".into(), Bytes::new())],
        value: None,
        code: "timeout".into(),
        message: "no answer in 30 s".into(),
        dead_at: Micros(1_767_323_045_000_006),
    };
    vec![letter(step), DeadLetter { value: Some("\u{1}garbage".into()), ..letter(record) }]
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_earlier_versions_wrote_is_still_read() {
    let book = SchemaBook::compiled_in();
    for [lines, hex_events, hex_letters] in EARLIER {
        let events = read_lines(lines);
        assert_eq!(hex_events.lines().count(), events.len());
        for (hex, event) in hex_events.lines().zip(events) {
            assert_eq!(decode(&from_hex(hex), &book).unwrap(), event);
        }
        let letters = sample_letters();
        assert_eq!(hex_letters.lines().count(), letters.len());
        for (hex, letter) in hex_letters.lines().zip(letters) {
            assert_eq!(decode_letter(&from_hex(hex), &book).unwrap(), letter);
        }
    }
}

/// Run once when a version is frozen: `cargo test … -- --ignored --nocapture print_fixtures`.
#[test]
#[ignore = "prints what to check in"]
fn print_fixtures() {
    samples().iter().for_each(|event| println!("E {}", to_hex(&encode(event).unwrap())));
    let letters = sample_letters();
    letters.iter().for_each(|letter| println!("L {}", to_hex(&encode_letter(letter).unwrap())));
}

#[test]
fn the_samples_have_every_kind() {
    let kinds: BTreeSet<_> =
        samples().iter().map(|event| event.kind().as_str().to_owned()).collect();
    let Schema::Record(record) = EVENTS.schema else { panic!("not a record") };
    let kind = record.fields.iter().find(|field| field.name == "kind").unwrap();
    let Schema::Enum(kind) = &kind.schema else { panic!("not an enum") };
    let ours: BTreeSet<_> = kind.symbols.iter().cloned().collect();
    let missing: Vec<_> = ours.difference(&kinds).collect();
    assert_eq!(missing, [Kind::Unknown.as_str()]);
}

#[test]
fn fingerprints_equal_those_of_other_implementations() {
    // From fastavro: fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"), which prints the
    // bytes as they stand in the frame.
    assert_eq!(to_hex(&step_event_fingerprint()), "fe2aaaa14aa229a7");
    assert_eq!(to_hex(&dead_letter_fingerprint()), "656cffbb82c84a13");
    let bytes = encode(&samples()[0]).unwrap();
    assert_eq!(bytes[..2], MARKER);
    assert_eq!(bytes[2..HEADER_BYTES], step_event_fingerprint());
    let number = u64::from_le_bytes(step_event_fingerprint());
    assert_eq!(framed_fingerprint(&bytes), Ok(number));
    assert_eq!(fingerprint_of(step_event_schema()), Ok(number));
}

#[test]
fn the_record_of_the_log_holds_the_current_event_schema() {
    let parsed: serde_json::Value = serde_json::from_str(log_record_schema()).unwrap();
    let event: serde_json::Value = serde_json::from_str(step_event_schema()).unwrap();
    let body = &parsed["fields"][6];
    assert_eq!(body["name"], "body");
    assert_eq!(body["type"][0], event);
    assert!(Schema::parse_str(log_record_schema()).is_ok());
}

#[test]
fn c4_every_field_of_a_decision_survives() {
    let event = samples().into_iter().find(|event| event.kind() == Kind::DecisionRecorded).unwrap();
    let Body::Run(_, RunEvent::DecisionRecorded(decision)) = &event.body else {
        panic!("no decision")
    };
    let texts = [&decision.decision, &decision.request, &decision.agent, &decision.reasoning];
    assert_eq!(texts, ["refund", "please", "billing-1", "paid twice"]);
    assert_eq!(decision.action, "charge.refund");
    assert_eq!(decision.params.as_ref().unwrap().data, r#"{"cents":4200}"#);
    assert_eq!(decision.result.as_ref().unwrap().data, "null");
    assert_eq!(decision.error.as_deref(), Some("none"));
    assert_eq!(decision.confidence, Some(0.91));
    assert_eq!(decision.step, Some(StepKey::new("a/b", "refund", 2).unwrap()));
    let bytes = encode(&event).unwrap();
    assert_eq!(decode(&bytes, &SchemaBook::default()).unwrap(), event);
}

#[test]
fn an_event_over_its_limit_is_refused_and_leaves_no_bytes() {
    let mut event =
        samples().into_iter().find(|event| event.kind() == Kind::DecisionRecorded).unwrap();
    let Body::Run(_, RunEvent::DecisionRecorded(decision)) = &mut event.body else {
        panic!("no decision")
    };
    let text = "x".repeat(limits::PAYLOAD_BYTES);
    decision.request.clone_from(&text);
    decision.reasoning.clone_from(&text);
    decision.action.clone_from(&text);
    assert!(encode(&event).is_ok());
    let Body::Run(_, RunEvent::DecisionRecorded(decision)) = &mut event.body else {
        panic!("no decision")
    };
    decision.decision = text;
    let mut out = b"before".to_vec();
    let refused = encode_into(&event, &mut out);
    assert!(matches!(refused, Err(Error::TooLarge { field, .. }) if field == "event"));
    assert_eq!(out, b"before");
    let long = vec![0; limits::EVENT_BYTES + 1];
    assert!(matches!(decode(&long, &SchemaBook::default()), Err(Error::TooLarge { .. })));
}

#[test]
fn encode_into_appends() {
    let events = samples();
    let mut out = encode(&events[0]).unwrap().to_vec();
    let first = out.len();
    encode_into(&events[1], &mut out).unwrap();
    assert_eq!(decode(&out[..first], &SchemaBook::default()).unwrap(), events[0]);
    assert_eq!(decode(&out[first..], &SchemaBook::default()).unwrap(), events[1]);
}

proptest! {
    #[test]
    fn any_event_survives_avro(event in arbitrary::event()) {
        let bytes = encode(&event).unwrap();
        prop_assert_eq!(decode(&bytes, &SchemaBook::default()).unwrap(), event);
    }

    #[test]
    fn any_letter_survives_avro(letter in arbitrary::letter()) {
        let bytes = encode_letter(&letter).unwrap();
        let decoded = decode_letter(&bytes, &SchemaBook::default()).unwrap();
        // A letter that is published twice is the same letter.
        prop_assert_eq!(encode_letter(&decoded).unwrap(), bytes);
        prop_assert_eq!(decoded, letter);
    }
}
