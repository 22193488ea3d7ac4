//! The header of a segment: a standard Avro object container header that checks itself.
//!
//! Its last metadata entry is a checksum of every other byte, the sync marker included, so that a
//! changed header is found without knowing what it should have been.

use super::{schema::FRAME_BYTES, varint};
use crate::limits::HEADER_BYTES;

/// Bytes of a sync marker.
pub(crate) const MARKER_BYTES: usize = 16;

const MAGIC: &[u8; 4] = b"Obj\x01";
const CHECK_KEY: &str = "spine.header_crc32c";
const CHECK_DIGITS: usize = 8;
/// Metadata entries, in the order in which they are written and must be read.
const KEYS: [&str; 9] = [
    "avro.schema",
    "avro.codec",
    "spine.log_id",
    "spine.topic",
    "spine.partition",
    "spine.base_offset",
    "spine.floor_micros",
    "spine.fingerprint",
    CHECK_KEY,
];

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// JSON text of the record schema.
    pub(crate) schema: String,
    /// The log that the segment belongs to.
    pub(crate) log_id: String,
    /// Its topic.
    pub(crate) topic: String,
    /// Its partition.
    pub(crate) partition: u32,
    /// Offset of the first record.
    pub(crate) first_offset: u64,
    /// No record of the segment is older than this, in microseconds.
    pub(crate) floor_micros: i64,
    /// Fingerprint of spliced data, as it stands in the frame; `None` if nothing is spliced.
    pub(crate) fingerprint: Option<[u8; 8]>,
    /// Ends every block.
    pub(crate) marker: [u8; MARKER_BYTES],
}

impl Header {
    /// The bytes that open the segment.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let values = [
            self.schema.clone(),
            "null".to_owned(),
            self.log_id.clone(),
            self.topic.clone(),
            self.partition.to_string(),
            self.first_offset.to_string(),
            self.floor_micros.to_string(),
            self.fingerprint.map(|bytes| hex(&bytes)).unwrap_or_default(),
            "0".repeat(CHECK_DIGITS),
        ];
        let mut out = MAGIC.to_vec();
        varint::put_len(&mut out, KEYS.len());
        for (key, value) in KEYS.iter().zip(&values) {
            varint::put_len(&mut out, key.len());
            out.extend_from_slice(key.as_bytes());
            varint::put_len(&mut out, value.len());
            out.extend_from_slice(value.as_bytes());
        }
        varint::put(&mut out, 0);
        out.extend_from_slice(&self.marker);
        let digits = digits_end(out.len()) - CHECK_DIGITS..digits_end(out.len());
        let check = format!("{:08x}", check(&out, digits.start));
        out[digits].copy_from_slice(check.as_bytes());
        out
    }

    /// Reads a header and its length off the front of a file; `None` if a byte is not as written.
    pub(crate) fn decode(file: &[u8]) -> Option<(Self, usize)> {
        let mut rest = file.strip_prefix(MAGIC)?;
        if varint::take_len(&mut rest)? != KEYS.len() {
            return None;
        }
        let mut values = [""; KEYS.len()];
        for (key, value) in KEYS.iter().zip(&mut values) {
            if varint::take_bytes(&mut rest)? != key.as_bytes() {
                return None;
            }
            *value = str::from_utf8(varint::take_bytes(&mut rest)?).ok()?;
        }
        if varint::take(&mut rest)? != 0 {
            return None;
        }
        let marker = varint::take_raw(&mut rest, MARKER_BYTES)?.try_into().ok()?;
        let len = file.len() - rest.len();
        let [schema, _codec, log_id, topic, partition, first, floor, fingerprint, written] = values;
        let start = digits_end(len).checked_sub(CHECK_DIGITS)?;
        if written != format!("{:08x}", check(&file[..len], start)) {
            return None;
        }
        let header = Self {
            schema: schema.to_owned(),
            log_id: log_id.to_owned(),
            topic: topic.to_owned(),
            partition: partition.parse().ok()?,
            first_offset: first.parse().ok()?,
            floor_micros: floor.parse().ok()?,
            fingerprint: if fingerprint.is_empty() { None } else { Some(unhex(fingerprint)?) },
            marker,
        };
        Some((header, len))
    }

    /// The ten bytes in front of a spliced datum.
    pub(crate) fn frame(&self) -> Option<[u8; FRAME_BYTES]> {
        self.fingerprint.map(super::schema::frame)
    }
}

/// How many bytes to read of a file of this size to be sure to have its header.
pub(crate) fn prefix_bytes(file_bytes: u64) -> usize {
    usize::try_from(file_bytes).unwrap_or(usize::MAX).min(HEADER_BYTES)
}

/// The checksum's digits are followed by the map's end and the marker.
fn digits_end(header_len: usize) -> usize {
    header_len - MARKER_BYTES - 1
}

fn check(header: &[u8], digits_start: usize) -> u32 {
    let before = crc32c::crc32c(&header[..digits_start]);
    crc32c::crc32c_append(before, &header[digits_start + CHECK_DIGITS..])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 8]> {
    u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16).map(u64::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            schema: r#"{"type":"bytes"}"#.into(),
            log_id: "log-1".into(),
            topic: "spine.steps".into(),
            partition: 3,
            first_offset: 42,
            floor_micros: -7,
            fingerprint: Some([1, 2, 3, 4, 5, 6, 7, 255]),
            marker: [9; MARKER_BYTES],
        }
    }

    #[test]
    fn a_header_comes_back_with_its_length() {
        let mut bytes = header().encode();
        let len = bytes.len();
        bytes.extend_from_slice(b"blocks");
        assert_eq!(Header::decode(&bytes), Some((header(), len)));
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), None, "bit {bit}");
        }
    }
}
