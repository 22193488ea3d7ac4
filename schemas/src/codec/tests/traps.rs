//! What the Avro library does not do for us, one test per trap, on our own schema.

use super::*;
use crate::wire::form::Listed;
use std::collections::BTreeMap;

fn records(schema: &Schema, found: &mut BTreeMap<String, Vec<String>>) {
    match schema {
        Schema::Record(record) => {
            let names = record.fields.iter().map(|field| field.name.clone()).collect();
            found.insert(record.name.name().to_owned(), names);
            record.fields.iter().for_each(|field| records(&field.schema, found));
        }
        Schema::Union(union) => union.variants().iter().for_each(|branch| records(branch, found)),
        Schema::Array(array) => records(&array.items, found),
        _ => {}
    }
}

fn listed<T: Listed>() -> (String, Vec<String>) {
    (T::NAME.to_owned(), T::FIELDS.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn every_wire_record_lists_the_fields_of_its_schema_in_order() {
    use crate::wire::*;
    let mut events = BTreeMap::new();
    records(EVENTS.schema, &mut events);
    let ours = BTreeMap::from([
        listed::<StepEvent<'_>>(),
        listed::<Step<'_>>(),
        listed::<Trace<'_>>(),
        listed::<Batch<'_>>(),
        listed::<Op<'_>>(),
        listed::<Run<'_>>(),
        listed::<Spec<'_>>(),
        listed::<Retry>(),
        listed::<Start>(),
        listed::<Output<'_>>(),
        listed::<payload::Payload<'_>>(),
        listed::<crate::wire::Error<'_>>(),
        listed::<Usage<'_>>(),
        listed::<Decision<'_>>(),
        listed::<Timer>(),
        listed::<Resolution>(),
        listed::<LetterRef>(),
        listed::<Redrive<'_>>(),
        listed::<Edit<'_>>(),
        listed::<Discard>(),
        listed::<Owner<'_>>(),
        listed::<Record<'_>>(),
        listed::<Disposal>(),
        listed::<Cancel>(),
        listed::<Task>(),
        listed::<Wait<'_>>(),
        listed::<Signal<'_>>(),
        listed::<Fork<'_>>(),
        listed::<Caller<'_>>(),
        listed::<Probe<'_>>(),
        listed::<Probed>(),
    ]);
    assert_eq!(ours, events);

    use crate::wire::letter::{Attempt, DeadLetter, DeadStep, Header};
    let mut letters = BTreeMap::new();
    records(LETTERS.schema, &mut letters);
    let ours = BTreeMap::from([
        listed::<DeadLetter<'_>>(),
        listed::<Header<'_>>(),
        listed::<DeadStep<'_>>(),
        listed::<Attempt<'_>>(),
    ]);
    assert_eq!(ours, letters);
}

#[test]
fn a_value_cut_at_any_byte_is_an_error() {
    for event in samples() {
        let bytes = encode(&event).unwrap();
        for end in 0..bytes.len() {
            let cut = decode(&bytes[..end], &SchemaBook::default());
            assert!(matches!(cut, Err(crate::Error::Decode(_))), "{:?} at {end}", event.kind());
        }
    }
    for letter in sample_letters() {
        let bytes = encode_letter(&letter).unwrap();
        for end in 0..bytes.len() {
            assert!(decode_letter(&bytes[..end], &SchemaBook::default()).is_err(), "{end}");
        }
    }
}

#[test]
fn bytes_after_the_record_are_an_error() {
    for event in samples() {
        let mut bytes = encode(&event).unwrap().to_vec();
        bytes.push(0);
        let longer = decode(&bytes, &SchemaBook::default());
        assert!(matches!(longer, Err(crate::Error::Decode(_))), "{:?}", event.kind());
    }
}

#[test]
fn a_huge_length_is_an_error_and_not_an_allocation() {
    // The event id says how long it is: 2^62, 17 MiB, and more than the bytes that follow.
    let lengths: [&[u8]; 4] = [
        &[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        &[0x80, 0x80, 0x80, 0x11],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[0x80, 0x80, 0x01],
    ];
    for length in lengths {
        let bytes = [&EVENTS.header[..], length, b"abc"].concat();
        let decoded = decode(&bytes, &SchemaBook::default());
        assert!(matches!(decoded, Err(crate::Error::Decode(_))), "{length:?}");
    }
    let limit = apache_avro::util::max_allocation_bytes(usize::MAX);
    assert_eq!(limit, limits::DECODE_BYTES, "the codec sets the limit before it decodes");
}

#[test]
fn a_huge_block_of_attributes_is_an_error() {
    let event = &samples()[3];
    let bytes = encode(event).unwrap();
    let wire = crate::wire::StepEvent::from(event);
    assert!(wire.attributes.is_empty());
    // The empty map is the byte before key_id, batch and op, of which this event has none.
    let at = (HEADER_BYTES..bytes.len()).find(|&at| {
        let mut longer = bytes.to_vec();
        longer.splice(at..=at, [2, 2, b'k', 2, b'v', 0]);
        decode(&longer, &SchemaBook::default()).is_ok_and(|event| event.attributes.len() == 1)
    });
    let at = at.expect("the map is somewhere");
    for count in
        [&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..], &[0x80, 0x80, 0x80, 0x11]]
    {
        let mut longer = bytes.to_vec();
        longer.splice(at..=at, [count, &[2, b'k', 2, b'v', 0]].concat());
        assert!(decode(&longer, &SchemaBook::default()).is_err());
    }
}

#[test]
fn bytes_without_our_frame_are_not_records() {
    for bytes in [&b""[..], b"\xC3", b"\xC3\x01", b"\x00\x00\x00\x00\x01abc", b"{\"kind\":1}"] {
        assert!(matches!(decode(bytes, &SchemaBook::default()), Err(crate::Error::Decode(_))));
    }
    let unknown = [&MARKER[..], &[7; 8], b"datum"].concat();
    let refused = decode(&unknown, &SchemaBook::compiled_in()).unwrap_err();
    assert_eq!(refused, crate::Error::SchemaUnknown(0x0707_0707_0707_0707));
    assert!(refused.is_retryable());
}

#[test]
fn a_letter_is_not_an_event() {
    let book = SchemaBook::compiled_in();
    let letter = encode_letter(&sample_letters()[0]).unwrap();
    assert!(matches!(decode(&letter, &book), Err(crate::Error::Decode(_))));
    let event = encode(&samples()[0]).unwrap();
    assert!(matches!(decode_letter(&event, &book), Err(crate::Error::Decode(_))));
}

#[test]
fn fields_that_a_kind_does_not_allow_are_refused_by_name() {
    let sample = &samples()[11];
    let mut completed = crate::wire::StepEvent::from(sample);
    completed.kind = Kind::StepHeartbeat;
    let refused = completed.clone().into_event().unwrap_err();
    assert!(matches!(refused, crate::Error::Invalid { field, .. } if field == "output"));
    completed.kind = Kind::StepCompleted;
    completed.output = None;
    let refused = completed.clone().into_event().unwrap_err();
    assert!(matches!(refused, crate::Error::Invalid { field, .. } if field == "output"));
    completed.step = None;
    let refused = completed.into_event().unwrap_err();
    assert!(matches!(refused, crate::Error::Invalid { field, .. } if field == "step"));
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(datum in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&datum, &SchemaBook::default());
        let _ = decode(&[&EVENTS.header[..], &datum].concat(), &SchemaBook::default());
        let _ = decode_letter(&[&LETTERS.header[..], &datum].concat(), &SchemaBook::default());
    }

    #[test]
    fn mutated_events_decode_to_legal_events_or_not_at_all(
        event in arbitrary::event(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&event).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(decoded) = decode(&bytes, &SchemaBook::default()) {
            prop_assert!(decoded.check().is_ok());
            prop_assert_eq!(decode(&encode(&decoded).unwrap(), &SchemaBook::default()), Ok(decoded));
        }
    }
}
