//! One record inside a block: encoded by the caller of an append, placed by the committer, checked
//! and rebuilt by readers.
//!
//! The checksum covers everything that a reader is given, the framed value included also where only
//! the datum stands in the file; its exact rule is in the segment's schema. Offset and time come
//! last in it, so that all the rest is done before the record has its place.

use super::{
    schema::{FRAME_BYTES, Splice},
    varint,
};
use crate::{
    NewRecord, Record,
    limits::{HEADER_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES},
};
use bytes::{Bytes, BytesMut};
use spine_schemas::time::Micros;

/// A batch that is encoded but for the places of its records.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The records as they were given, for readers at the tail.
    pub(crate) records: Vec<NewRecord>,
    /// Bytes of keys, headers and values, with an overhead for each record: the unit of bounds.
    pub(crate) cost_bytes: usize,
    encoded: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    end: usize,
    content_crc: u32,
}

/// Bytes that a record brings along: key, headers with their overhead, and value.
pub(crate) fn content_bytes(record: &NewRecord) -> usize {
    let header = |(name, value): &(String, Bytes)| name.len() + value.len() + HEADER_OVERHEAD_BYTES;
    let headers: usize = record.headers.iter().map(header).sum();
    headers
        + record.key.as_ref().map_or(0, Bytes::len)
        + record.value.as_ref().map_or(0, Bytes::len)
}

impl Prepared {
    /// Encodes a batch of `content` bytes that is known to be within its limits.
    pub(crate) fn new(records: Vec<NewRecord>, content: usize, splice: Option<&Splice>) -> Self {
        let cost_bytes = content + records.len() * RECORD_OVERHEAD_BYTES;
        let mut encoded = Vec::with_capacity(content + records.len() * 24);
        let mut parts = Vec::with_capacity(records.len());
        for record in &records {
            put_content(&mut encoded, record, splice);
            parts.push(Part { end: encoded.len(), content_crc: record_crc(record) });
        }
        Self { records, cost_bytes, encoded, parts }
    }

    /// Appends the records to a block, at the offsets from `first`.
    pub(crate) fn place(&self, out: &mut Vec<u8>, first: u64, timestamp: Micros) {
        let mut start = 0;
        for (offset, part) in (first..).zip(&self.parts) {
            varint::put(out, offset as i64);
            varint::put(out, timestamp.0);
            varint::put(out, i64::from(placed_crc(part.content_crc, offset, timestamp)));
            out.extend_from_slice(&self.encoded[start..part.end]);
            start = part.end;
        }
    }
}

fn put_content(out: &mut Vec<u8>, record: &NewRecord, splice: Option<&Splice>) {
    varint::put_len(out, record.value.as_ref().map_or(0, Bytes::len));
    match &record.key {
        Some(key) => {
            varint::put(out, 1);
            put_bytes(out, key);
        }
        None => varint::put(out, 0),
    }
    if !record.headers.is_empty() {
        varint::put_len(out, record.headers.len());
        for (name, value) in &record.headers {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value);
        }
    }
    varint::put(out, 0);
    let branches = Branches::new(splice.is_some());
    let Some(value) = &record.value else {
        return varint::put(out, branches.none);
    };
    match splice.and_then(|splice| splice.datum(value)) {
        Some(datum) => {
            varint::put(out, 0);
            out.extend_from_slice(datum);
        }
        None => {
            varint::put(out, branches.bytes);
            put_bytes(out, value);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Union branches of the body; where there is a datum type it is branch 0.
struct Branches {
    bytes: i64,
    none: i64,
}

impl Branches {
    fn new(spliced: bool) -> Self {
        let bytes = i64::from(spliced);
        Self { bytes, none: bytes + 1 }
    }
}

/// An encoded record.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) offset: u64,
    pub(crate) timestamp: Micros,
    crc: u32,
    key: Option<&'a [u8]>,
    header_count: usize,
    headers: &'a [u8],
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    None,
    Plain(&'a [u8]),
    Spliced(&'a [u8]),
}

impl<'a> Entry<'a> {
    /// Takes one record off the front of a block's bytes; `None` if a byte is not as written.
    pub(crate) fn take(bytes: &mut &'a [u8], frame: Option<&[u8; FRAME_BYTES]>) -> Option<Self> {
        Self::parse(bytes, frame).filter(|entry| entry.is_sound(frame))
    }

    /// The same without a look at the checksum; `None` where no record begins so.
    pub(crate) fn parse(bytes: &mut &'a [u8], frame: Option<&[u8; FRAME_BYTES]>) -> Option<Self> {
        let offset = u64::try_from(varint::take(bytes)?).ok()?;
        let timestamp = Micros(varint::take(bytes)?);
        let crc = u32::try_from(varint::take(bytes)?).ok()?;
        let size = varint::take_len(bytes)?;
        let key = match varint::take(bytes)? {
            0 => None,
            1 => Some(varint::take_bytes(bytes)?),
            _ => return None,
        };
        let (header_count, headers) = take_headers(bytes)?;
        let body = take_body(bytes, size, frame.is_some())?;
        Some(Self { offset, timestamp, crc, key, header_count, headers, body })
    }

    /// Whether the checksum holds.
    pub(crate) fn is_sound(&self, frame: Option<&[u8; FRAME_BYTES]>) -> bool {
        placed_crc(self.content_crc(frame), self.offset, self.timestamp) == self.crc
    }

    /// Whether it is a record without a key.
    pub(crate) fn is_keyless(&self) -> bool {
        self.key.is_none()
    }

    /// The record as it was appended. All its bytes lie in `arena`, which others share, so that the
    /// buffer that the block was read into can be used again.
    pub(crate) fn record(
        &self,
        frame: Option<&[u8; FRAME_BYTES]>,
        arena: &mut BytesMut,
    ) -> Option<Record> {
        let key = self.key.map(|key| put_aside(arena, [key, &[]]));
        let value = match (&self.body, frame) {
            (Body::None, _) => None,
            (Body::Plain(value), _) => Some(put_aside(arena, [value, &[]])),
            (Body::Spliced(datum), Some(frame)) => Some(put_aside(arena, [frame, datum])),
            (Body::Spliced(_), None) => return None,
        };
        let headers = self
            .headers()
            .map(|(name, value)| {
                Some((str::from_utf8(name).ok()?.to_owned(), put_aside(arena, [value, &[]])))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Record { offset: self.offset, timestamp: self.timestamp, key, headers, value })
    }

    /// Bytes that [`Self::record`] needs in the arena, or a little more.
    pub(crate) fn arena_bytes(&self) -> usize {
        let value = match self.body {
            Body::None => 0,
            Body::Plain(value) => value.len(),
            Body::Spliced(datum) => FRAME_BYTES + datum.len(),
        };
        self.key.map_or(0, <[u8]>::len) + self.headers.len() + value
    }

    fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.headers;
        std::iter::from_fn(move || {
            Some((varint::take_bytes(&mut rest)?, varint::take_bytes(&mut rest)?))
        })
    }

    fn content_crc(&self, frame: Option<&[u8; FRAME_BYTES]>) -> u32 {
        let mut check = Check::default();
        check.key(self.key);
        check.headers(self.header_count, self.headers());
        match self.body {
            Body::None => check.value(None),
            Body::Plain(value) => check.value(Some((value, &[]))),
            Body::Spliced(datum) => {
                check.value(Some((frame.map_or(&[], |frame| frame.as_slice()), datum)));
            }
        }
        check.0
    }
}

fn put_aside(arena: &mut BytesMut, parts: [&[u8]; 2]) -> Bytes {
    parts.iter().for_each(|part| arena.extend_from_slice(part));
    arena.split().freeze()
}

fn take_headers<'a>(bytes: &mut &'a [u8]) -> Option<(usize, &'a [u8])> {
    let count = varint::take_len(bytes)?;
    if count == 0 {
        return Some((0, &[]));
    }
    let all = *bytes;
    for _ in 0..count {
        str::from_utf8(varint::take_bytes(bytes)?).ok()?;
        varint::take_bytes(bytes)?;
    }
    let headers = &all[..all.len() - bytes.len()];
    (varint::take(bytes)? == 0).then_some((count, headers))
}

fn take_body<'a>(bytes: &mut &'a [u8], size: usize, spliced: bool) -> Option<Body<'a>> {
    let branches = Branches::new(spliced);
    let branch = varint::take(bytes)?;
    if spliced && branch == 0 {
        let datum = varint::take_raw(bytes, size.checked_sub(FRAME_BYTES)?)?;
        return Some(Body::Spliced(datum));
    }
    if branch == branches.bytes {
        return varint::take_bytes(bytes).filter(|value| value.len() == size).map(Body::Plain);
    }
    (branch == branches.none && size == 0).then_some(Body::None)
}

fn record_crc(record: &NewRecord) -> u32 {
    let mut check = Check::default();
    check.key(record.key.as_deref());
    let headers = record.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_ref()));
    check.headers(record.headers.len(), headers);
    check.value(record.value.as_deref().map(|value| (value, [].as_slice())));
    check.0
}

fn placed_crc(content_crc: u32, offset: u64, timestamp: Micros) -> u32 {
    let crc = crc32c::crc32c_append(content_crc, &offset.to_le_bytes());
    crc32c::crc32c_append(crc, &timestamp.0.to_le_bytes())
}

#[derive(Default)]
struct Check(u32);

impl Check {
    fn add(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.add(&(bytes.len() as u32).to_le_bytes());
        self.add(bytes);
    }

    fn key(&mut self, key: Option<&[u8]>) {
        self.add(&[u8::from(key.is_some())]);
        if let Some(key) = key {
            self.sized(key);
        }
    }

    fn headers<'a>(&mut self, count: usize, headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.add(&(count as u32).to_le_bytes());
        for (name, value) in headers {
            self.sized(name);
            self.sized(value);
        }
    }

    fn value(&mut self, value: Option<(&[u8], &[u8])>) {
        self.add(&[u8::from(value.is_some())]);
        if let Some((head, tail)) = value {
            self.add(head);
            self.add(tail);
        }
    }
}
