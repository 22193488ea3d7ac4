//! The schemas that other versions write with, by fingerprint.
//!
//! The compiled-in ones are always there. Others come from a directory or a topic; who fetches them
//! is not decided here.

use super::{DEAD_LETTER, EVENTS, LETTERS, STEP_EVENT, brief, canonical_form, fingerprint, shape};
use crate::{Error, Result, compat, limits, wire::avro::no_rest};
use apache_avro::{
    Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use std::{
    collections::BTreeMap,
    fmt,
    io::{ErrorKind, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{PoisonError, RwLock},
};

/// Every version that was ever released, so that old logs stay readable.
const FROZEN: [&str; 2] =
    [include_str!("../../avro/v1/step_event.avsc"), include_str!("../../avro/v1/dead_letter.avsc")];

/// Writer schemas by fingerprint. Cheap to ask; shared by reference between partitions.
#[derive(Default)]
pub struct SchemaBook {
    writers: RwLock<BTreeMap<u64, &'static Writer>>,
}

impl fmt::Debug for SchemaBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writers = self.writers.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_set().entries(writers.keys().map(|id| format!("{id:016x}"))).finish()
    }
}

/// A foreign writer schema with the readers that were made for it.
struct Writer {
    canonical: String,
    /// Resolves into our own schema.
    resolving: GenericDatumReader<'static>,
    /// Reads as written, to name what the resolution loses.
    plain: GenericDatumReader<'static>,
    /// Writes the resolved value with our own schema.
    ours: GenericDatumWriter<'static>,
    target: &'static Schema,
}

impl SchemaBook {
    /// A book with every version that this build was compiled with.
    pub fn compiled_in() -> Self {
        let book = Self::default();
        for text in FROZEN.iter().chain(&[STEP_EVENT, DEAD_LETTER]) {
            book.add(text).expect("compiled-in versions can be read");
        }
        book
    }

    /// Adds a writer schema and gives its fingerprint. Adding one again changes nothing.
    ///
    /// # Errors
    /// [`Error::Incompatible`] when the text is not a schema of an event or a letter, when this build
    /// cannot read what it writes, or when another schema has the same fingerprint;
    /// [`Error::TooLarge`] over [`limits::SCHEMA_BYTES`] or [`limits::SCHEMAS`].
    pub fn add(&self, text: &str) -> Result<u64> {
        if text.len() > limits::SCHEMA_BYTES {
            return Err(Error::too_large("schema", text.len(), limits::SCHEMA_BYTES));
        }
        let parsed = Schema::parse_str(text).map_err(|error| Error::Incompatible(brief(&error)))?;
        shape::check(&parsed)?;
        let ours = target(&parsed)?;
        let (id, canonical) = (fingerprint(&parsed), canonical_form(&parsed));
        if id == fingerprint(ours) {
            return same(id, &canonical, &canonical_form(ours));
        }
        let mut writers = self.writers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = writers.get(&id) {
            return same(id, &canonical, &known.canonical);
        }
        if writers.len() >= limits::SCHEMAS {
            return Err(Error::too_large("schemas", writers.len() + 1, limits::SCHEMAS));
        }
        compat::can_read(&parsed, ours)?;
        // A schema that no reader can be made for would be leaked each time that it is met.
        readers(&parsed, ours)?;
        // Readers borrow their schema. A book lives as long as the process, and its size is bounded.
        let writer = Writer::new(Box::leak(Box::new(parsed)), ours, canonical)?;
        writers.insert(id, Box::leak(Box::new(writer)));
        Ok(id)
    }

    /// Whether values with this fingerprint can be decoded.
    pub fn knows(&self, fingerprint: u64) -> bool {
        fingerprint == EVENTS.fingerprint
            || fingerprint == LETTERS.fingerprint
            || self.writer(fingerprint).is_some()
    }

    /// A foreign datum, written again with our schema `target`.
    pub(super) fn bring_over(
        &self,
        target: &'static Schema,
        fingerprint: u64,
        datum: &[u8],
    ) -> Result<Vec<u8>> {
        let writer = match self.writer(fingerprint) {
            Some(writer) if std::ptr::eq(writer.target, target) => writer,
            Some(_) => return Err(Error::Decode("it is of another record type".into())),
            None if fingerprint == EVENTS.fingerprint || fingerprint == LETTERS.fingerprint => {
                return Err(Error::Decode("it is of another record type".into()));
            }
            None => return Err(Error::SchemaUnknown(fingerprint)),
        };
        let value = read_value(&writer.resolving, datum)?;
        let mut out = Vec::with_capacity(datum.len() + 64);
        let written = writer.ours.write_value_ref(&mut out, &value);
        written.map_err(|error| Error::Decode(brief(&error)))?;
        Ok(out)
    }

    /// Puts the symbol that the writer used for a newer kind into the error.
    pub(super) fn with_symbol(&self, error: Error, value: &[u8]) -> Error {
        let Error::UnknownKind { field, symbol, claimed } = error else { return error };
        let written = self.written_kind(value).filter(|_| field == "kind");
        Error::UnknownKind { field, symbol: written.unwrap_or(symbol), claimed }
    }

    fn written_kind(&self, value: &[u8]) -> Option<String> {
        let (fingerprint, datum) = super::frame(value).ok()?;
        let Value::Record(fields) = read_value(&self.writer(fingerprint)?.plain, datum).ok()?
        else {
            return None;
        };
        let (_, kind) = fields.into_iter().find(|(name, _)| name == "kind")?;
        if let Value::Enum(_, symbol) = kind { Some(symbol) } else { None }
    }

    fn writer(&self, fingerprint: u64) -> Option<&'static Writer> {
        let writers = self.writers.read().unwrap_or_else(PoisonError::into_inner);
        writers.get(&fingerprint).copied()
    }
}

impl Writer {
    fn new(schema: &'static Schema, target: &'static Schema, canonical: String) -> Result<Self> {
        let (resolving, plain) = readers(schema, target)?;
        let ours = GenericDatumWriter::builder(target).validate(false).build();
        Ok(Self { canonical, resolving, plain, ours: ours.map_err(refused)?, target })
    }
}

/// The readers of a foreign schema: into our own one, and as written.
fn readers<'s>(
    schema: &'s Schema,
    target: &'s Schema,
) -> Result<(GenericDatumReader<'s>, GenericDatumReader<'s>)> {
    let resolving = GenericDatumReader::builder(schema).reader_schema(target).build();
    let plain = GenericDatumReader::builder(schema).build();
    Ok((resolving.map_err(refused)?, plain.map_err(refused)?))
}

fn refused(error: apache_avro::Error) -> Error {
    Error::Incompatible(brief(&error))
}

/// Our schema for the record that a foreign one describes.
fn target(schema: &Schema) -> Result<&'static Schema> {
    let ours = [EVENTS.schema, LETTERS.schema];
    let name = schema.name();
    ours.into_iter().find(|own| name.is_some() && own.name() == name).ok_or_else(|| {
        Error::Incompatible(
            "it describes neither spine.v1.StepEvent nor spine.v1.DeadLetter".into(),
        )
    })
}

/// CRC-64 collides; two schemas must not share one number.
fn same(id: u64, new: &str, known: &str) -> Result<u64> {
    if new == known {
        return Ok(id);
    }
    Err(Error::Incompatible(format!("another schema has the fingerprint {id:016x}")))
}

/// Reads a value that a foreign schema describes. The library has paths that panic on schemas that we
/// did not write; none of them may take the partition down.
pub(super) fn read_value(reader: &GenericDatumReader<'_>, datum: &[u8]) -> Result<Value> {
    let mut strict = Strict(datum);
    let read = catch_unwind(AssertUnwindSafe(|| reader.read_value(&mut strict)));
    let value = match read {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => return Err(Error::Decode(brief(&error))),
        Err(_panic) => return Err(Error::Decode("the Avro library failed on it".into())),
    };
    no_rest(strict.0)?;
    Ok(value)
}

/// Reports a short read as damage: at the end of the input the library's value path would take a
/// union, a string or a boolean for null, and truncated data would seem whole.
struct Strict<'a>(&'a [u8]);

impl Read for Strict<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }

    fn read_exact(&mut self, into: &mut [u8]) -> std::io::Result<()> {
        self.0
            .read_exact(into)
            .map_err(|_| std::io::Error::new(ErrorKind::InvalidData, "the bytes end early"))
    }
}
