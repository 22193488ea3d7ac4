//! The schema of a segment's records, and the rule that says which values are spliced in.

use super::{DatumSchema, shape::Shape};
use crate::{Error, Result};
use apache_avro::Schema;

/// Bytes before a datum in single-object encoding: the marker C3 01 and the fingerprint.
pub(crate) const FRAME_BYTES: usize = 10;

const CHECK_DOC: &str = "CRC-32C over: key (one byte 0 or 1, then if present its length as 4 bytes \
     and its bytes); number of headers as 4 bytes, then for each name and value its length as 4 \
     bytes and its bytes; value (one byte 0 or 1, then if present the framed value: for a record \
     body C3 01, the 8 bytes of spine.fingerprint and the datum, else the bytes); offset and \
     timestamp as 8 bytes each. Numbers are little-endian.";

/// How one kind of segment is written: its schema text, and what may be spliced into it.
#[derive(Debug)]
pub(crate) struct SegmentSchema {
    /// The JSON text of the `LogRecord` schema.
    pub(crate) text: String,
    /// What is spliced; `None` if every value is kept as bytes.
    pub(crate) splice: Option<Splice>,
}

/// The datum type of a topic: its frame and its shape.
#[derive(Debug)]
pub(crate) struct Splice {
    /// The ten bytes that open a value of this type.
    pub(crate) frame: [u8; FRAME_BYTES],
    shape: Shape,
}

impl Splice {
    /// The datum inside a framed value, if it can stand in the file as it is.
    pub(crate) fn datum<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        value.strip_prefix(&self.frame).filter(|datum| self.shape.fits(datum))
    }
}

impl SegmentSchema {
    /// The schema of a topic's segments. The datum's schema must be a record.
    pub(crate) fn new(datum: Option<&DatumSchema>) -> Result<Self> {
        let branches = datum.map(|datum| format!("{},\n", datum.json.trim())).unwrap_or_default();
        let text = log_record(&branches);
        let parsed = Schema::parse_str(&text).map_err(refused)?;
        let splice = match datum {
            Some(datum) => Some(splice(datum, &parsed)?),
            None => None,
        };
        Ok(Self { text, splice })
    }

    /// The fingerprint that the segment's header names.
    pub(crate) fn fingerprint(&self) -> Option<[u8; 8]> {
        self.splice.as_ref().and_then(|splice| splice.frame[2..].try_into().ok())
    }
}

fn splice(datum: &DatumSchema, log_record: &Schema) -> Result<Splice> {
    let Schema::Record(outer) = log_record else {
        return Err(refused("the segment schema is not a record"));
    };
    let body = outer.fields.iter().find(|field| field.name == "body").map(|field| &field.schema);
    let Some(Schema::Union(body)) = body else {
        return Err(refused("the body is not a union"));
    };
    match body.variants().first() {
        Some(record @ Schema::Record(_)) => {
            Ok(Splice { frame: frame(datum.fingerprint), shape: Shape::compile(record) })
        }
        _ => Err(refused("it is not a record")),
    }
}

/// The ten bytes in front of a datum with this fingerprint.
pub(crate) fn frame(fingerprint: [u8; 8]) -> [u8; FRAME_BYTES] {
    let mut frame = [0xC3, 0x01, 0, 0, 0, 0, 0, 0, 0, 0];
    frame[2..].copy_from_slice(&fingerprint);
    frame
}

/// The text is put together by hand, so that the same schema always gives the same bytes.
fn log_record(branches: &str) -> String {
    format!(
        r#"{{"type":"record","name":"LogRecord","namespace":"spine.log.v1","doc":"One record of a Spine log partition.","fields":[
{{"name":"offset","type":"long"}},
{{"name":"timestamp","type":{{"type":"long","logicalType":"timestamp-micros"}}}},
{{"name":"crc32c","type":"long","doc":"{CHECK_DOC}"}},
{{"name":"size","type":"int","doc":"Bytes of the framed value; 0 for none."}},
{{"name":"key","type":["null","bytes"]}},
{{"name":"headers","type":{{"type":"array","items":{{"type":"record","name":"LogHeader","fields":[{{"name":"name","type":"string"}},{{"name":"value","type":"bytes"}}]}}}}}},
{{"name":"body","type":[{branches}"bytes","null"]}}]}}"#
    )
}

fn refused(cause: impl std::fmt::Display) -> Error {
    Error::Refused(format!("the datum schema cannot be used in a segment: {cause}"))
}
