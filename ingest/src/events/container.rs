//! Avro object container files as bodies: header, blocks, records. What a record means and which
//! schemas resolve into ours is known to `codec`; what is said about a wrong event, to `door`.
//!
//! A file is taken whole or not at all. Cut where a block ends, it is a whole file to every reader of
//! this format: only the length of the body tells.

use super::lines::{Batch, Hold};
use crate::{Code, Problem, limits::HEADER_ENTRIES};
use spine_schemas::{
    Error,
    codec::{self, FileSchema},
    limits,
};
use std::borrow::Cow;

/// The first bytes of every container file.
const MAGIC: &[u8; 4] = b"Obj\x01";
/// Bytes of a sync marker.
const MARKER_BYTES: usize = 16;
/// Most bytes of a number.
const NUMBER_BYTES: usize = 10;

/// What is wrong with a file, as the end of a sentence.
type Wrong = Cow<'static, str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Null,
    Deflate,
}

/// The entries of a header, by name.
type Entries<'f> = Vec<(&'f [u8], &'f [u8])>;

/// What a file says about its blocks.
#[derive(Debug)]
struct Header<'f> {
    schema: &'f str,
    compression: Compression,
    marker: &'f [u8],
}

/// Some records, as they stand in the file.
#[derive(Debug)]
struct Block<'f> {
    records: usize,
    bytes: &'f [u8],
}

/// Reads the events of a file into a batch; `hold` is asked before more is held than the file itself.
pub(super) fn read(file: &[u8], batch: &mut Batch<'_>, hold: Hold<'_>) -> Result<(), Problem> {
    let mut rest = file;
    if file.is_empty() {
        return Ok(());
    }
    let header = Header::take(&mut rest)?;
    let schema = FileSchema::parse(header.schema).map_err(|error| bad(error.to_string()))?;
    let mut reader = schema.reader().map_err(|error| bad(error.to_string()))?;
    let (mut line, mut inflated) = (0, 0);
    while !rest.is_empty() {
        let place = format!("the block at byte {}", file.len() - rest.len());
        let block = Block::take(&mut rest, header.marker);
        let block = block.map_err(|wrong| bad(format!("{place} {wrong}")))?;
        let bytes = match header.compression {
            Compression::Null => Cow::Borrowed(block.bytes),
            Compression::Deflate => Cow::Owned(inflate(&place, block.bytes, &mut inflated, hold)?),
        };
        let mut records = &*bytes;
        if block.records > records.len() {
            let (stated, held) = (block.records, records.len());
            return Err(bad(format!("{place} states {stated} records in {held} bytes")));
        }
        for _ in 0..block.records {
            line += 1;
            batch.take(line, |defaults| {
                let event = reader.take(&mut records, defaults);
                event.map_err(|error| bad(format!("record {line}, in {place}: {error}")))
            })?;
        }
        if !records.is_empty() {
            let more = records.len();
            return Err(bad(format!("{more} bytes follow the last record of {place}")));
        }
    }
    Ok(())
}

/// The records of a compressed block. All blocks together may grow to the size of a plain body.
fn inflate(
    place: &str,
    block: &[u8],
    inflated: &mut usize,
    hold: Hold<'_>,
) -> Result<Vec<u8>, Problem> {
    let too_large = |bytes: usize| {
        let detail = format!("{place} inflates beyond the limit of {bytes} bytes");
        Problem::new(Code::BodyTooLarge, detail).with("limit_bytes", bytes)
    };
    let bytes = codec::inflate(block).map_err(|error| match error {
        Error::TooLarge { limit, .. } => too_large(limit),
        other => bad(format!("{place}: {other}")),
    })?;
    *inflated += bytes.len();
    if *inflated > limits::BODY_BYTES {
        return Err(too_large(limits::BODY_BYTES));
    }
    hold(bytes.len())?;
    Ok(bytes)
}

impl<'f> Header<'f> {
    fn take(from: &mut &'f [u8]) -> Result<Self, Problem> {
        *from = from
            .strip_prefix(MAGIC)
            .ok_or_else(|| bad("it does not begin with Obj and 1, as a container file does"))?;
        let entries = entries(from).map_err(bad)?;
        let marker = raw(from, MARKER_BYTES).ok_or_else(|| bad("its header ends early"))?;
        let named = |name: &str| {
            let found = entries.iter().rev().find(|(key, _)| *key == name.as_bytes());
            found.map(|(_, value)| *value)
        };
        let schema = named("avro.schema").ok_or_else(|| bad("its header has no avro.schema"))?;
        let schema = str::from_utf8(schema).map_err(|_| bad("its avro.schema is not text"))?;
        let compression = match named("avro.codec") {
            None | Some(b"null") => Compression::Null,
            Some(b"deflate") => Compression::Deflate,
            Some(other) => {
                let other = String::from_utf8_lossy(&other[..other.len().min(40)]);
                let detail = format!("its codec is '{other}'; write it with deflate or null");
                return Err(Problem::new(Code::MediaType, detail));
            }
        };
        Ok(Self { schema, compression, marker })
    }
}

impl<'f> Block<'f> {
    fn take(from: &mut &'f [u8], marker: &[u8]) -> Result<Self, Wrong> {
        let records = length(from).ok_or("does not begin with a number of records")?;
        let size = length(from).ok_or("does not state its size")?;
        let held = from.len();
        let bytes = raw(from, size)
            .ok_or_else(|| format!("states {size} bytes, and {held} are there: the file is cut"))?;
        match raw(from, MARKER_BYTES) {
            Some(end) if end == marker => Ok(Self { records, bytes }),
            Some(_) => Err("does not end with the sync marker of the file".into()),
            None => Err("ends early: the file is cut".into()),
        }
    }
}

/// The entries of a map of bytes. Their number is bounded: one that is empty takes two bytes in the
/// file, and many times as many here.
fn entries<'f>(from: &mut &'f [u8]) -> Result<Entries<'f>, Wrong> {
    let early = "its header ends early or is damaged";
    let mut entries = Vec::new();
    loop {
        let count = number(from).ok_or(early)?;
        if count == 0 {
            return Ok(entries);
        }
        // A negative count is followed by the size of the entries.
        if count < 0 {
            length(from).ok_or(early)?;
        }
        for _ in 0..count.unsigned_abs() {
            if entries.len() >= HEADER_ENTRIES {
                return Err(format!("its header has more than {HEADER_ENTRIES} entries").into());
            }
            let mut sized = || length(from).and_then(|size| raw(from, size)).ok_or(early);
            entries.push((sized()?, sized()?));
        }
    }
}

fn raw<'f>(from: &mut &'f [u8], size: usize) -> Option<&'f [u8]> {
    let (taken, rest) = from.split_at_checked(size)?;
    *from = rest;
    Some(taken)
}

fn length(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(number(from)?).ok()
}

/// A zigzag number of variable length.
fn number(from: &mut &[u8]) -> Option<i64> {
    let end = from.iter().take(NUMBER_BYTES).position(|byte| byte & 0x80 == 0)?;
    let bytes = raw(from, end + 1)?;
    if end + 1 == NUMBER_BYTES && bytes[end] > 1 {
        return None;
    }
    let zigzag = bytes.iter().rev().fold(0u64, |all, byte| (all << 7) | u64::from(byte & 0x7f));
    Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

fn bad(detail: impl Into<Wrong>) -> Problem {
    let detail: Wrong = detail.into();
    Problem::new(Code::BadAvro, detail)
}
