//! Bytes of events and letters: Avro single-object encoding (C3 01, CRC-64-AVRO fingerprint in little
//! endian, datum).
//!
//! What our own schema wrote is read by position, in `wire::avro`; what another known schema wrote is
//! first brought into our form through the Avro library, by `book`.

mod book;
mod door;
mod shape;

pub use book::SchemaBook;
pub use door::{FileReader, FileSchema, inflate};

use crate::{DeadLetter, Error, Event, Result, limits, wire};
use apache_avro::{Schema, rabin::Rabin};
use bytes::Bytes;
use std::{borrow::Cow, sync::LazyLock};
use wire::avro::{self, WriteDatum};

/// The two bytes that open every value.
pub const MARKER: [u8; 2] = [0xC3, 0x01];
/// Bytes before the datum: the marker and the fingerprint.
pub const HEADER_BYTES: usize = 10;

const STEP_EVENT: &str = include_str!("../avro/step_event.avsc");
const DEAD_LETTER: &str = include_str!("../avro/dead_letter.avsc");
const LOG_RECORD: &str = include_str!("../avro/log_record.avsc");

static EVENTS: LazyLock<Codec> = LazyLock::new(|| Codec::new(STEP_EVENT));
static LETTERS: LazyLock<Codec> = LazyLock::new(|| Codec::new(DEAD_LETTER));

/// The schema of events, as JSON text with its documentation.
pub fn step_event_schema() -> &'static str {
    STEP_EVENT
}

/// The schema of dead letters, as JSON text with its documentation.
pub fn dead_letter_schema() -> &'static str {
    DEAD_LETTER
}

/// The schema of the embedded log's records on a topic of events, as JSON text.
pub fn log_record_schema() -> &'static str {
    LOG_RECORD
}

/// CRC-64-AVRO of the event schema, as it stands in the frame.
pub fn step_event_fingerprint() -> [u8; 8] {
    EVENTS.fingerprint.to_le_bytes()
}

/// CRC-64-AVRO of the letter schema, as it stands in the frame.
pub fn dead_letter_fingerprint() -> [u8; 8] {
    LETTERS.fingerprint.to_le_bytes()
}

/// CRC-64-AVRO of any schema text.
///
/// # Errors
/// [`Error::Incompatible`] when the text is not an Avro schema.
pub fn fingerprint_of(schema: &str) -> Result<u64> {
    let parsed = Schema::parse_str(schema).map_err(|error| Error::Incompatible(brief(&error)))?;
    Ok(fingerprint(&parsed))
}

/// The canonical JSON text of the event schema, from which its fingerprint is computed.
pub fn step_event_canonical() -> String {
    canonical_form(EVENTS.schema)
}

/// The canonical JSON text of the letter schema, from which its fingerprint is computed.
pub fn dead_letter_canonical() -> String {
    canonical_form(LETTERS.schema)
}

/// The fingerprint in the frame of a value.
///
/// # Errors
/// [`Error::Decode`] when the value does not begin with a frame.
pub fn framed_fingerprint(value: &[u8]) -> Result<u64> {
    frame(value).map(|(fingerprint, _datum)| fingerprint)
}

/// Encodes an event.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::TooLarge`] naming the field that [`Event::check`] refuses, or
/// `event` when the whole is above [`limits::EVENT_BYTES`].
pub fn encode(event: &Event) -> Result<Bytes> {
    let mut out = Vec::with_capacity(1024);
    encode_into(event, &mut out)?;
    Ok(out.into())
}

/// Appends the encoded event to `out`; leaves `out` as it was when it fails.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_into(event: &Event, out: &mut Vec<u8>) -> Result<()> {
    event.check()?;
    let mut wire = wire::StepEvent::default();
    wire.put_event(event);
    EVENTS.write("event", limits::EVENT_BYTES, &wire, out)
}

/// Decodes and checks an event.
///
/// # Errors
/// [`Error::Decode`] for bytes that are not a whole event and nothing else, [`Error::SchemaUnknown`]
/// for a fingerprint that `book` does not hold, [`Error::UnknownKind`] for what is newer than this
/// build, [`Error::Invalid`] and [`Error::TooLarge`] for values that [`encode`] would refuse.
pub fn decode(value: &[u8], book: &SchemaBook) -> Result<Event> {
    let datum = EVENTS.datum("event", limits::EVENT_BYTES, value, book)?;
    let mut wire = wire::StepEvent::default();
    avro::read(&datum, &mut wire)?;
    let event = wire.into_event().map_err(|error| book.with_symbol(error, value))?;
    event.check()?;
    Ok(event)
}

/// Encodes a dead letter.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::TooLarge`] naming the field that [`DeadLetter::check`] refuses, or
/// `letter` when the whole is above [`limits::LETTER_BYTES`].
pub fn encode_letter(letter: &DeadLetter) -> Result<Bytes> {
    letter.check()?;
    let mut out = Vec::with_capacity(1024 + letter.value.as_ref().map_or(0, Bytes::len));
    let wire = wire::letter::DeadLetter::from(letter);
    LETTERS.write("letter", limits::LETTER_BYTES, &wire, &mut out)?;
    Ok(out.into())
}

/// Decodes and checks a dead letter.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_letter(value: &[u8], book: &SchemaBook) -> Result<DeadLetter> {
    let datum = LETTERS.datum("letter", limits::LETTER_BYTES, value, book)?;
    let mut wire = wire::letter::DeadLetter::default();
    avro::read(&datum, &mut wire)?;
    let letter = wire.into_letter()?;
    letter.check()?;
    Ok(letter)
}

/// One of our own schemas, and the frame of what it writes.
struct Codec {
    schema: &'static Schema,
    fingerprint: u64,
    header: [u8; HEADER_BYTES],
}

impl Codec {
    /// Compiles one of our own schemas. It lives as long as the process, since readers borrow it.
    fn new(text: &str) -> Self {
        limit_allocation();
        let parsed = Schema::parse_str(text).expect("a compiled-in schema is one");
        let schema: &'static Schema = Box::leak(Box::new(parsed));
        let fingerprint = fingerprint(schema);
        let mut header = [0; HEADER_BYTES];
        header[..2].copy_from_slice(&MARKER);
        header[2..].copy_from_slice(&fingerprint.to_le_bytes());
        Self { schema, fingerprint, header }
    }

    fn write<T: WriteDatum>(
        &self,
        what: &str,
        limit: usize,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = out.len();
        out.extend_from_slice(&self.header);
        avro::write(value, out);
        let size = out.len() - start;
        if size > limit {
            out.truncate(start);
            return Err(Error::too_large(what, size, limit));
        }
        Ok(())
    }

    /// The datum in a frame, as our own schema writes it.
    fn datum<'v>(
        &self,
        what: &str,
        limit: usize,
        value: &'v [u8],
        book: &SchemaBook,
    ) -> Result<Cow<'v, [u8]>> {
        if value.len() > limit {
            return Err(Error::too_large(what, value.len(), limit));
        }
        let (fingerprint, datum) = frame(value)?;
        if fingerprint == self.fingerprint {
            return Ok(Cow::Borrowed(datum));
        }
        book.bring_over(self.schema, fingerprint, datum).map(Cow::Owned)
    }
}

fn frame(value: &[u8]) -> Result<(u64, &[u8])> {
    let datum = value.strip_prefix(&MARKER).and_then(|rest| rest.split_first_chunk::<8>());
    let (fingerprint, datum) = datum
        .ok_or_else(|| Error::Decode("it does not begin with C3 01 and a fingerprint".into()))?;
    Ok((u64::from_le_bytes(*fingerprint), datum))
}

fn fingerprint(schema: &Schema) -> u64 {
    let canonical =
        Schema::parse_str(&canonical_form(schema)).expect("a canonical form is a schema");
    let bytes = canonical.fingerprint::<Rabin>().bytes;
    let bytes: [u8; 8] = bytes.try_into().expect("CRC-64 has 8 bytes");
    u64::from_le_bytes(bytes)
}

/// The parsing canonical form. The library leaves `{"type":"long"}` where a logical type was; the
/// specification, Java and Python have `"long"`, and a fingerprint must be the same everywhere.
fn canonical_form(schema: &Schema) -> String {
    let primitives = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    primitives.iter().fold(schema.canonical_form(), |form, name| {
        form.replace(&format!("{{\"type\":\"{name}\"}}"), &format!("\"{name}\""))
    })
}

/// The library takes its limit once per process, and its own default would let one length prefix
/// ask for half a gigabyte.
fn limit_allocation() {
    apache_avro::util::max_allocation_bytes(limits::DECODE_BYTES);
}

/// The library prints whole schemas in its errors; the beginning says what is wrong.
fn brief(error: &apache_avro::Error) -> String {
    const CHARACTERS: usize = 200;
    error.to_string().chars().take(CHARACTERS).collect()
}

#[cfg(test)]
mod tests;
