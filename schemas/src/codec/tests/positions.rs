//! What is read and written by position, held against the schema and against the Avro library: the
//! same bytes, the same values, the same bytes refused.

use super::*;
use crate::{
    Driver, Effect, Fault, Found, HeldBy, OnExhausted, RecordClass, TaskVerdict, Then,
    wire::{StepEvent, letter, symbols::Symbols},
};
use apache_avro::{
    reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use proptest::{collection::vec, sample::Index};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The library's reader and writer of one of our schemas.
struct Oracle {
    reader: GenericDatumReader<'static>,
    writer: GenericDatumWriter<'static>,
}

static OF_EVENTS: LazyLock<Oracle> = LazyLock::new(|| Oracle::of(EVENTS.schema));
static OF_LETTERS: LazyLock<Oracle> = LazyLock::new(|| Oracle::of(LETTERS.schema));

impl Oracle {
    fn of(schema: &'static Schema) -> Self {
        let reader = GenericDatumReader::builder(schema).build().unwrap();
        let writer = GenericDatumWriter::builder(schema).build().unwrap();
        Self { reader, writer }
    }

    fn read(&self, datum: &[u8]) -> Result<Value> {
        book::read_value(&self.reader, datum)
    }

    /// The library keeps maps in no order, so that theirs is left out of the comparison.
    fn check_bytes(&self, ours: &[u8]) {
        let mut theirs = Vec::new();
        let value = self.read(ours).unwrap();
        self.writer.write_value_ref(&mut theirs, &value).unwrap();
        match has_wide_map(&value) {
            false => assert_eq!(ours, theirs),
            true => assert_eq!(sorted(ours), sorted(&theirs)),
        }
    }

    /// Both accept the bytes with the same value, or neither does.
    fn check_reading(&self, theirs: Result<Value>, ours: Result<Vec<u8>>) {
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => {
                assert_eq!(exact(theirs), exact(self.read(&ours).unwrap()));
            }
            (Err(_), Err(error)) => assert!(matches!(error, Error::Decode(_)), "{error}"),
            (theirs, ours) => panic!("the library has {theirs:?}, we have {ours:?}"),
        }
    }
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}

fn has_wide_map(value: &Value) -> bool {
    match value {
        Value::Map(map) => map.len() > 1,
        Value::Record(fields) => fields.iter().any(|(_, value)| has_wide_map(value)),
        Value::Union(_, value) => has_wide_map(value),
        _ => false,
    }
}

/// Floating-point numbers by their bits, since one of them is not equal to itself.
fn exact(value: Value) -> Value {
    match value {
        Value::Double(number) => Value::Long(number.to_bits() as i64),
        Value::Union(branch, value) => Value::Union(branch, Box::new(exact(*value))),
        Value::Array(items) => Value::Array(items.into_iter().map(exact).collect()),
        Value::Record(fields) => {
            Value::Record(fields.into_iter().map(|(name, value)| (name, exact(value))).collect())
        }
        other => other,
    }
}

/// What we read, written again.
fn event_again(datum: &[u8]) -> Result<Vec<u8>> {
    let (mut wire, mut out) = (StepEvent::default(), Vec::new());
    avro::read(datum, &mut wire)?;
    avro::write(&wire, &mut out);
    Ok(out)
}

fn letter_again(datum: &[u8]) -> Result<Vec<u8>> {
    let (mut wire, mut out) = (letter::DeadLetter::default(), Vec::new());
    avro::read(datum, &mut wire)?;
    avro::write(&wire, &mut out);
    Ok(out)
}

/// The library knows one enum of classes; to us the attempts of a step have classes of steps only.
fn has_attempt_of_a_record(value: &Value) -> bool {
    match value {
        Value::Record(fields) => fields.iter().any(|(name, value)| match value {
            Value::Array(attempts) if name == "attempts" => attempts.iter().any(|attempt| {
                let Value::Record(fields) = attempt else { return false };
                let is_of_record = |place: u32| place as usize > ErrorClass::COUNT;
                fields.iter().any(|(_, v)| matches!(v, Value::Enum(at, _) if is_of_record(*at)))
            }),
            value => has_attempt_of_a_record(value),
        }),
        Value::Union(_, value) => has_attempt_of_a_record(value),
        _ => false,
    }
}

fn check_letter(datum: &[u8]) {
    let theirs = OF_LETTERS.read(datum);
    if theirs.as_ref().is_ok_and(has_attempt_of_a_record) {
        assert!(matches!(letter_again(datum), Err(Error::Decode(_))));
        return;
    }
    OF_LETTERS.check_reading(theirs, letter_again(datum));
}

/// Damage, and forms that a writer may choose: longer numbers, blocks with their size, more blocks.
fn change(bytes: &mut Vec<u8>, (at, how, byte): (Index, u8, u8)) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    let old = bytes[at];
    match how {
        0 => bytes.truncate(at),
        1 => bytes[at] = byte,
        2 => bytes[at] ^= 1 << (byte % 8),
        3 => bytes.insert(at, byte),
        4 => drop(bytes.remove(at)),
        5 if old < 0x80 => {
            let mut longer = vec![0x80; usize::from(byte % 12)];
            longer.push(if byte >= 0x80 { byte & 0x7F } else { 0 });
            bytes.splice(at..=at, [&[old | 0x80], &longer[..]].concat());
        }
        6 if (1..0x80).contains(&old) && old.is_multiple_of(2) => {
            bytes.splice(at..=at, [old - 1, byte & 0x7F]);
        }
        7 => drop(bytes.splice(at..=at, [2, 2, b'k', 2, b'v', 1, 12, 2, b'l', 0, 0])),
        _ => {}
    }
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    vec((any::<Index>(), 0..8u8, any::<u8>()), 1..4)
}

/// Mostly small even numbers: lengths, branches and symbols that stand in data.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![4 => (0..4u8).prop_map(|half| 2 * half), 1 => any::<u8>()], 0..300)
}

proptest! {
    #[test]
    fn our_bytes_are_those_of_the_library(
        event in arbitrary::event(),
        letter in arbitrary::letter(),
    ) {
        OF_EVENTS.check_bytes(&encode(&event).unwrap()[HEADER_BYTES..]);
        OF_LETTERS.check_bytes(&encode_letter(&letter).unwrap()[HEADER_BYTES..]);
    }

    #[test]
    fn changed_events_are_read_as_the_library_reads_them(
        event in arbitrary::event(),
        all in vec(changes(), 20),
    ) {
        let bytes = &encode(&event).unwrap()[HEADER_BYTES..];
        OF_EVENTS.check_reading(OF_EVENTS.read(bytes), event_again(bytes));
        for changes in all {
            let mut bytes = bytes.to_vec();
            changes.into_iter().for_each(|one| change(&mut bytes, one));
            OF_EVENTS.check_reading(OF_EVENTS.read(&bytes), event_again(&bytes));
        }
    }

    #[test]
    fn changed_letters_are_read_as_the_library_reads_them(
        letter in arbitrary::letter(),
        all in vec(changes(), 20),
    ) {
        let bytes = &encode_letter(&letter).unwrap()[HEADER_BYTES..];
        check_letter(bytes);
        for changes in all {
            let mut bytes = bytes.to_vec();
            changes.into_iter().for_each(|one| change(&mut bytes, one));
            check_letter(&bytes);
        }
    }

    #[test]
    fn any_bytes_are_read_as_the_library_reads_them(junk in junk()) {
        OF_EVENTS.check_reading(OF_EVENTS.read(&junk), event_again(&junk));
        check_letter(&junk);
    }
}

#[test]
fn what_version_2_wrote_is_what_we_write() {
    let events = samples();
    let written = events.iter().map(|event| to_hex(&encode(event).unwrap()));
    assert!(written.eq(HEX_EVENTS.lines()));
    let letters = sample_letters();
    let written = letters.iter().map(|letter| to_hex(&encode_letter(letter).unwrap()));
    assert!(written.eq(HEX_LETTERS.lines()));
}

#[test]
fn a_number_takes_ten_bytes_at_most() {
    let number = |bytes: &[u8]| {
        let mut number = 0i64;
        avro::read(bytes, &mut number).map(|()| number)
    };
    for (bytes, expected) in [
        (&[0][..], 0),
        (&[1], -1),
        (&[0x80, 0x01], 64),
        (&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], i64::MAX),
        (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], i64::MIN),
        // Longer than it need be, and with bits that no number of 64 bits has: as the library does.
        (&[0x82, 0x80, 0x80, 0x00], 1),
        (&[0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7E], 1),
    ] {
        assert_eq!(number(bytes), Ok(expected), "{bytes:?}");
    }
    for bytes in [&[][..], &[0x80], &[0x80; 10], &[0x80; 11], &[0, 0]] {
        assert!(matches!(number(bytes), Err(Error::Decode(_))), "{bytes:?}");
    }
    for expected in (0..63).flat_map(|bits| [1 << bits, -1 << bits, (1 << bits) - 1]) {
        let mut bytes = Vec::new();
        avro::write(&expected, &mut bytes);
        assert_eq!(number(&bytes), Ok(expected));
    }
}

#[test]
fn a_map_may_come_in_blocks_with_or_without_their_size() {
    let map = |bytes: &[u8]| {
        let mut map = crate::wire::Map::default();
        avro::read(bytes, &mut map).map(|()| map.into_owned())
    };
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let both = BTreeMap::from([entry("a", "1"), entry("b", "2")]);
    let one_block = [4, 2, b'a', 2, b'1', 2, b'b', 2, b'2', 0];
    assert_eq!(map(&one_block), Ok(both.clone()));
    let sized = [1, 8, 2, b'a', 2, b'1', 2, 2, b'b', 2, b'2', 0];
    assert_eq!(map(&sized), Ok(both));
    let twice = [4, 2, b'a', 2, b'1', 2, b'a', 2, b'2', 0];
    assert_eq!(map(&twice), Ok(BTreeMap::from([entry("a", "2")])));
    for length in 0..one_block.len() {
        assert!(map(&one_block[..length]).is_err(), "{length}");
    }
}

fn enums(schema: &Schema, found: &mut BTreeMap<String, Vec<String>>) {
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|of| enums(&of.schema, found)),
        Schema::Array(array) => enums(&array.items, found),
        Schema::Enum(of) => drop(found.insert(of.name.name().to_owned(), of.symbols.clone())),
        Schema::Union(union) => {
            assert_eq!((union.variants().len(), &union.variants()[0]), (2, &Schema::Null));
            enums(&union.variants()[1], found);
        }
        _ => {}
    }
}

/// Our symbols by their names in JSON, after `unknown`.
fn listed<T>() -> Vec<String>
where
    T: Symbols + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert!(T::at(T::COUNT).is_none());
    let name = |place| {
        let symbol = T::at(place).unwrap();
        assert_eq!(symbol.place(), place);
        let name = serde_json::to_value(symbol).unwrap();
        assert_eq!(serde_json::from_value::<T>(name.clone()).unwrap(), symbol);
        name.as_str().unwrap().to_owned()
    };
    std::iter::once("unknown".to_owned()).chain((0..T::COUNT).map(name)).collect()
}

#[test]
fn every_symbol_has_its_place_in_the_schema() {
    let (mut events, mut letters) = (BTreeMap::new(), BTreeMap::new());
    enums(EVENTS.schema, &mut events);
    enums(LETTERS.schema, &mut letters);
    let ours = [
        ("Kind", listed::<Kind>()[1..].to_vec()),
        ("Driver", listed::<Driver>()),
        ("Effect", listed::<Effect>()),
        ("OnExhausted", listed::<OnExhausted>()),
        ("ErrorClass", listed::<ErrorClass>()),
        ("Then", listed::<Then>()),
        ("TaskVerdict", listed::<TaskVerdict>()),
        ("Fault", listed::<Fault>()),
        ("HeldBy", listed::<HeldBy>()),
        ("Found", listed::<Found>()),
        ("RecordClass", listed::<RecordClass>()),
    ];
    assert_eq!(BTreeMap::from(ours.map(|(name, symbols)| (name.to_owned(), symbols))), events);
    let all = listed::<letter::AnyClass>();
    // The class of an attempt is of the same enum, and one of a step.
    assert_eq!(all[..=ErrorClass::COUNT], listed::<ErrorClass>());
    assert_eq!(BTreeMap::from([("LetterClass".to_owned(), all)]), letters);
}
