//! Events in files that outsiders wrote: any schema that resolves into ours, without a place in the
//! book, and with the same defaults and the same repairs as the JSON form has.
//!
//! How a file is cut into blocks is not known here; `ingest` reads that.

use super::{EVENTS, STEP_EVENT, brief, canonical_form, fingerprint, shape};
use crate::{
    Error, Event, Result, RetryPolicy, canonical, compat, json::Defaults, limits, payload::JSON,
    spec, time::Micros, wire,
};
use apache_avro::{
    Codec, DeflateSettings, Schema, error::Details, reader::datum::GenericDatumReader,
    types::Value as AvroValue, writer::datum::GenericDatumWriter,
};
use serde_json::{Map, Value, json};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::LazyLock,
};
use wire::{Slot, Sum, Time, avro, form::Blob};

/// Our schema, with a default wherever the JSON form has one, so that a writer may leave that field
/// out of its own. Defaults are no part of an encoding: what it resolves to is of our own schema.
static AT_THE_DOOR: LazyLock<Schema> = LazyLock::new(|| {
    let mut ours: Value = serde_json::from_str(STEP_EVENT).expect("a compiled-in schema is JSON");
    each_record(&mut ours, &mut |name, record| {
        let Some(Value::Array(fields)) = record.get_mut("fields") else { return };
        for field in fields.iter_mut().filter_map(Value::as_object_mut) {
            let of = field.get("name").and_then(Value::as_str).unwrap_or_default();
            if let Some(default) = default_of(name, of) {
                field.entry("default").or_insert(default);
            }
        }
    });
    Schema::parse(&ours).expect("our schema with defaults is one")
});

/// Writes what a foreign record resolves to.
static WRITER: LazyLock<GenericDatumWriter<'static>> = LazyLock::new(|| {
    let writer = GenericDatumWriter::builder(EVENTS.schema).build();
    writer.expect("a compiled-in schema names only its own types")
});

/// The fields of our records, by the record's name.
static FIELDS: LazyLock<BTreeMap<String, BTreeSet<String>>> = LazyLock::new(|| {
    let ours: Value = serde_json::from_str(STEP_EVENT).expect("a compiled-in schema is JSON");
    fields_of(ours)
});

/// The schema that a file was written with.
#[derive(Debug)]
pub struct FileSchema {
    /// None where its bytes are those of our own schema.
    foreign: Option<Schema>,
}

impl FileSchema {
    /// Reads the JSON text of a schema and checks that everything it writes can be read. Fields that
    /// we do not have are refused, as in JSON: what a caller sends must not vanish.
    ///
    /// # Errors
    /// [`Error::Incompatible`], and [`Error::TooLarge`] over [`limits::SCHEMA_BYTES`].
    pub fn parse(text: &str) -> Result<Self> {
        if text == STEP_EVENT {
            return Ok(Self { foreign: None });
        }
        if text.len() > limits::SCHEMA_BYTES {
            return Err(Error::too_large("schema", text.len(), limits::SCHEMA_BYTES));
        }
        let refuse = |why: String| Error::Incompatible(why);
        let json: Value = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let schema = Schema::parse(&json).map_err(|error| refuse(brief(&error)))?;
        if schema.name().is_none() || schema.name() != EVENTS.schema.name() {
            return Err(refuse("it does not describe the record spine.v1.StepEvent".into()));
        }
        shape::check(&schema)?;
        check_times(&json)?;
        if is_ours(&schema) {
            return Ok(Self { foreign: None });
        }
        check_fields(json)?;
        compat::can_read(&schema, &AT_THE_DOOR)?;
        Ok(Self { foreign: Some(schema) })
    }

    /// Whether its records are read without a detour.
    pub fn is_ours(&self) -> bool {
        self.foreign.is_none()
    }

    /// What reads its records.
    ///
    /// # Errors
    /// [`Error::Incompatible`].
    pub fn reader(&self) -> Result<FileReader<'_>> {
        let Some(schema) = &self.foreign else { return Ok(FileReader { foreign: None }) };
        let reader = GenericDatumReader::builder(schema).reader_schema(&AT_THE_DOOR).build();
        let reader = reader.map_err(|error| Error::Incompatible(brief(&error)))?;
        Ok(FileReader { foreign: Some((reader, Vec::new())) })
    }
}

/// Reads the records of a file, one after another.
pub struct FileReader<'s> {
    /// What resolves into our schema, and room for the record that comes of it.
    foreign: Option<(GenericDatumReader<'s>, Vec<u8>)>,
}

impl FileReader<'_> {
    /// Takes one record off the front of a block, and makes it an event as
    /// [`crate::json::parse_event`] does: an empty identity, tenant or actor and a time of 0 stand for
    /// what was left out, sizes and digests of payloads are computed, outcomes are made to fit. The
    /// inner error is that of the event, after which the next record can be read.
    ///
    /// # Errors
    /// [`Error::Decode`] for bytes that are no record, [`Error::TooLarge`] for a foreign one over
    /// [`limits::EVENT_BYTES`]; where the next record begins is not known then.
    pub fn take(&mut self, block: &mut &[u8], defaults: &Defaults<'_>) -> Result<Result<Event>> {
        let mut record = wire::StepEvent::default();
        match &mut self.foreign {
            None => avro::take(block, &mut record)?,
            Some((reader, ours)) => {
                // Values take many times the bytes that they are made of.
                let all = block.len().min(limits::EVENT_BYTES);
                let mut datum = Strict { rest: &block[..all], is_short: false };
                let value = take_value(reader, &mut datum);
                if datum.is_short && all < block.len() {
                    return Err(Error::too_large("event", all + 1, limits::EVENT_BYTES));
                }
                let value = value?;
                *block = &block[all - datum.rest.len()..];
                ours.clear();
                let written = WRITER.write_value_ref(ours, &value);
                written.map_err(|error| Error::Decode(brief(&error)))?;
                avro::read(ours, &mut record)?;
            }
        }
        Ok(event_of(record, defaults))
    }
}

/// Takes a value off the front. The library has paths that panic on schemas that we did not write.
fn take_value(reader: &GenericDatumReader<'_>, from: &mut Strict<'_>) -> Result<AvroValue> {
    match catch_unwind(AssertUnwindSafe(|| reader.read_value(from))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::Decode(brief(&error))),
        Err(_panic) => Err(Error::Decode("the Avro library failed on it".into())),
    }
}

/// Reports a short read as damage: at the end of the input the library's value path would take a
/// union, a string or a boolean for null, and truncated data would seem whole.
struct Strict<'a> {
    rest: &'a [u8],
    is_short: bool,
}

impl Read for Strict<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.rest.read(into)
    }

    fn read_exact(&mut self, into: &mut [u8]) -> std::io::Result<()> {
        self.rest.read_exact(into).map_err(|_| {
            self.is_short = true;
            std::io::Error::new(ErrorKind::InvalidData, "the bytes end early")
        })
    }
}

/// Inflates a block of the codec `deflate`, to at most [`limits::DECODE_BYTES`].
///
/// # Errors
/// [`Error::TooLarge`] naming `block`, [`Error::Decode`] for bytes that are not deflated.
pub fn inflate(block: &[u8]) -> Result<Vec<u8>> {
    // The library's limit is set with the first codec.
    LazyLock::force(&EVENTS);
    let mut bytes = block.to_vec();
    match Codec::Deflate(DeflateSettings::default()).decompress(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if matches!(error.details(), Details::MemoryAllocation { .. }) => {
            let limit = limits::DECODE_BYTES;
            Err(Error::too_large("block", limit + 1, limit))
        }
        Err(error) => Err(Error::Decode(brief(&error))),
    }
}

fn event_of(mut record: wire::StepEvent<'_>, defaults: &Defaults<'_>) -> Result<Event> {
    if record.event_id.is_empty() {
        record.event_id = Cow::Owned((defaults.event_id)());
    }
    if record.tenant.is_empty() {
        record.tenant = Cow::Owned(defaults.tenant.to_owned());
    }
    if record.actor.is_empty() {
        record.actor = Cow::Owned(defaults.actor.to_owned());
    }
    if record.occurred_at == Time(Micros(0)) || record.occurred_at == Time::unset() {
        record.occurred_at = Time(defaults.now);
    }
    let decision = record.decision.as_deref_mut();
    let (params, result) = decision
        .map_or((None, None), |decision| (decision.params.as_mut(), decision.result.as_mut()));
    let slots = [
        ("run.input", record.run.as_deref_mut().map(|run| &mut run.input)),
        ("spec.input", record.spec.as_deref_mut().map(|spec| &mut spec.input)),
        ("output.data", record.output.as_mut().map(|output| &mut output.data)),
        ("decision.params", params),
        ("decision.result", result),
    ];
    for (field, slot) in slots {
        slot.map_or(Ok(()), |slot| seal(field, slot))?;
    }
    let event = record.into_event().map_err(known)?.fit();
    event.check()?;
    Ok(event)
}

/// Size and digest of a payload, from its bytes. No digest but our own is ever appended.
fn seal(field: &str, slot: &mut Slot<'_>) -> Result<()> {
    let payload = &mut slot.0;
    let Some(Blob(bytes)) = &payload.bytes else { return Ok(()) };
    let rest = payload.content_type.strip_prefix(JSON);
    let digest = if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(';')) {
        canonical::digest(field, bytes)?
    } else {
        crate::Digest::of_bytes(bytes)
    };
    (payload.size_bytes, payload.digest) = (bytes.len() as i64, Sum(digest));
    Ok(())
}

/// At the door an unknown symbol is the sender's mistake, not a newer build's.
fn known(error: Error) -> Error {
    let Error::UnknownKind { field, symbol, .. } = error else { return error };
    Error::invalid(field, format!("must not be '{symbol}'"))
}

/// Whether records have our own encoding.
fn is_ours(schema: &Schema) -> bool {
    fingerprint(schema) == EVENTS.fingerprint
        && canonical_form(schema) == canonical_form(EVENTS.schema)
}

/// Neither the fingerprint nor the library's comparison knows of logical types: milliseconds would be
/// taken for microseconds.
fn check_times(json: &Value) -> Result<()> {
    match logical_types(json).find(|name| *name != "timestamp-micros") {
        None => Ok(()),
        Some(name) => {
            let message = format!("it has the logical type {name}; times are timestamp-micros");
            Err(Error::Incompatible(message))
        }
    }
}

fn logical_types(json: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match json {
        Value::Object(members) => Box::new(
            members.get("logicalType").into_iter().chain(members.values().flat_map(logical_types)),
        ),
        Value::Array(items) => Box::new(items.iter().flat_map(logical_types)),
        _ => Box::new(std::iter::empty()),
    }
}

fn check_fields(writer: Value) -> Result<()> {
    for (record, fields) in fields_of(writer) {
        let Some(known) = FIELDS.get(&record) else {
            return Err(Error::Incompatible(format!("{record} is not a record of ours")));
        };
        if let Some(field) = fields.difference(known).next() {
            return Err(Error::Incompatible(format!("{record} has no field '{field}'")));
        }
    }
    Ok(())
}

fn fields_of(mut schema: Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    each_record(&mut schema, &mut |name, record| {
        let fields = record.get("fields").and_then(Value::as_array).into_iter().flatten();
        let names = fields.filter_map(|field| field["name"].as_str().map(str::to_owned));
        found.entry(name.to_owned()).or_default().extend(names);
    });
    found
}

/// Visits the definition of every record, with its name without the namespace.
fn each_record(schema: &mut Value, visit: &mut impl FnMut(&str, &mut Map<String, Value>)) {
    match schema {
        Value::Array(branches) => branches.iter_mut().for_each(|of| each_record(of, visit)),
        Value::Object(members) => {
            if members.get("type").and_then(Value::as_str) == Some("record") {
                let name = members.get("name").and_then(Value::as_str).unwrap_or_default();
                let name = name.rsplit('.').next().unwrap_or_default().to_owned();
                visit(&name, members);
            }
            for inner in ["type", "items", "values", "fields"] {
                if let Some(inner) = members.get_mut(inner) {
                    each_record(inner, visit);
                }
            }
        }
        _ => {}
    }
}

/// What stands for a field that the writer's schema does not have.
fn default_of(record: &str, field: &str) -> Option<Value> {
    Some(match (record, field) {
        ("StepEvent", "event_id" | "tenant" | "actor")
        | ("Step", "scope")
        | ("Error", "message")
        | ("Decision", "request" | "agent" | "reasoning" | "action") => json!(""),
        ("StepEvent", "occurred_at")
        | ("Payload", "size_bytes")
        | ("Spec", "schedule_to_start_ms")
        | (
            "Usage",
            "input_uncached" | "cache_read" | "cache_write" | "output_text" | "output_reasoning"
            | "cost_micros",
        ) => json!(0),
        ("Step", "occurrence") => json!(1),
        ("Run", "driver") => json!("record"),
        ("Payload", "content_type") => json!(JSON),
        ("Payload", "digest") => json!("\0".repeat(32)),
        ("Spec", "effect") => json!(spec::Effect::default()),
        ("Spec", "on_exhausted") => json!(spec::OnExhausted::default()),
        ("Spec", "retry") => json!(RetryPolicy::default()),
        ("Spec", "timeout_ms") => json!(spec::TIMEOUT_MS),
        ("Spec", "deadline_ms") => json!(spec::DEADLINE_MS),
        ("Spec", "key_ttl_ms") => json!(spec::KEY_TTL_MS),
        _ => return None,
    })
}
