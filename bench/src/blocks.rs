//! The blocks of Avro object container files: in the embedded log each is one group of appends that was written
//! and synced at once. Only what stands before a block is read.

use crate::error::{Error, Result, tried};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// The first bytes of every container file.
const MAGIC: &[u8; 4] = b"Obj\x01";
/// What ends header and blocks.
const MARKER_BYTES: i64 = 16;

/// Bytes of the largest block of these files.
pub(crate) fn largest(files: &[PathBuf]) -> Result<u64> {
    let mut largest = 0;
    for path in files {
        let of_file = tried(format!("read {}", path.display()), largest_of(path))?;
        largest = largest.max(of_file);
    }
    match largest {
        0 => Err(Error::Server("the log has no block".into())),
        bytes => Ok(bytes),
    }
}

fn largest_of(path: &Path) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(io::Error::other("no container file"));
    }
    loop {
        let entries = number(&mut file)?;
        if entries == 0 {
            break;
        }
        // A name and a value each.
        for _ in 0..2 * entries {
            let bytes = number(&mut file)?;
            file.seek_relative(bytes)?;
        }
    }
    file.seek_relative(MARKER_BYTES)?;
    let mut largest = 0;
    while !file.fill_buf()?.is_empty() {
        let _records = number(&mut file)?;
        let bytes = number(&mut file)?;
        largest = largest.max(bytes);
        file.seek_relative(bytes + MARKER_BYTES)?;
    }
    Ok(largest.unsigned_abs())
}

/// Avro's `long`: zig-zag, seven bits a byte, the low ones first. None is negative here.
fn number(file: &mut impl Read) -> io::Result<i64> {
    let (mut number, mut byte) = (0u64, [0]);
    for shift in (0..64).step_by(7) {
        file.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7F) << shift;
        if byte[0] & 0x80 == 0 {
            return Ok((number >> 1) as i64);
        }
    }
    Err(io::Error::other("a number of more than 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{container, events};
    use spine_schemas::codec;

    #[test]
    fn the_largest_block_of_a_file_is_found() {
        let events: Vec<_> = (0..150).map(|at| events::event("b", at / 8, at % 8)).collect();
        let bytes = container::of(events.iter());
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("file.avro");
        std::fs::write(&path, &bytes).unwrap();
        // The first block holds 100 events, the second one the others.
        let frames = events[..100].iter().map(|event| codec::encode(event).unwrap().len());
        let wanted: usize = frames.map(|bytes| bytes - codec::HEADER_BYTES).sum();
        assert_eq!(largest(&[path]).unwrap(), wanted as u64);
        largest(&[]).unwrap_err();
    }
}
