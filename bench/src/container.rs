//! Events as Avro object container files, as a producer with any Avro library makes them.

use spine_schemas::{Event, codec};

/// The first bytes of every container file.
const MAGIC: &[u8] = b"Obj\x01";
/// What ends every block; any 16 bytes do.
const MARKER: &[u8; 16] = b"spine-bench-sync";
/// Records of one block, as libraries make them.
const BLOCK_RECORDS: usize = 100;

/// A whole file.
pub(crate) fn of<'e>(events: impl Iterator<Item = &'e Event>) -> Vec<u8> {
    let mut file = header();
    let (mut block, mut records, mut frame) = (Vec::new(), 0, Vec::new());
    for event in events {
        frame.clear();
        codec::encode_into(event, &mut frame).expect("a legal event");
        block.extend_from_slice(&frame[codec::HEADER_BYTES..]);
        records += 1;
        if records == BLOCK_RECORDS {
            put_block(&mut file, records, &block);
            (records, block) = (0, Vec::new());
        }
    }
    if records > 0 {
        put_block(&mut file, records, &block);
    }
    file
}

fn header() -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    let entries = [("avro.codec", "null"), ("avro.schema", codec::step_event_schema())];
    put_number(&mut file, entries.len());
    for text in entries.iter().flat_map(|(name, value)| [name, value]) {
        put_number(&mut file, text.len());
        file.extend_from_slice(text.as_bytes());
    }
    put_number(&mut file, 0);
    file.extend_from_slice(MARKER);
    file
}

fn put_block(file: &mut Vec<u8>, records: usize, block: &[u8]) {
    put_number(file, records);
    put_number(file, block.len());
    file.extend_from_slice(block);
    file.extend_from_slice(MARKER);
}

/// Avro's `long`: zig-zag, seven bits a byte, the low ones first.
fn put_number(file: &mut Vec<u8>, number: usize) {
    let mut rest = (number as u64) << 1;
    while rest > 0x7F {
        file.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    file.push(rest as u8);
}
