//! Reads a file, or standard input for `-`, that a verb was given.

use crate::exit::{Exit, Failure};
use bytes::Bytes;
use std::{io::Read, path::Path};

/// The bytes of the file; `-` is standard input.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Bytes, Failure> {
    let read = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    read.map(Bytes::from).map_err(|error| {
        Failure::new(Exit::Usage, format!("could not read {}: {error}", name(path)))
    })
}

/// The text of a file that must hold JSON, so that a slip is found before anything is sent.
///
/// # Errors
/// When it cannot be read, or is not JSON.
pub(crate) fn read_json(path: &Path) -> Result<Box<serde_json::value::RawValue>, Failure> {
    let bytes = read(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::new(Exit::Usage, format!("{} is not JSON: {error}", name(path))))
}

/// The name of the file for people.
pub(crate) fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() }
}
