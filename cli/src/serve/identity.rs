//! Who this installation is, for ever, and who this process is, until it ends.
//!
//! Idempotency keys derive from the installation's id, so it lies with the log: a log that lost it must
//! not go on under another, or remotes would do finished work again.

use crate::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

const NAME: &str = "installation.json";

#[derive(Serialize, Deserialize)]
struct Installation {
    installation_id: String,
}

/// The id of the installation whose log lies in `home`. It is made where the log is new.
///
/// # Errors
/// When it cannot be read, or is missing although the log has records.
pub(super) fn installation(home: &Path, log_is_new: bool) -> Result<String, Failure> {
    let path = home.join(NAME);
    match fs::read(&path) {
        Ok(text) => {
            let found: Installation = serde_json::from_slice(&text).map_err(|error| {
                Failure::new(Exit::Damaged, format!("{} is damaged: {error}", path.display()))
            })?;
            Ok(found.installation_id)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::Refused, format!("could not read {}: {error}", path.display())))
        }
        Err(_) if !log_is_new => {
            let message = format!("{} is missing, but the log has records", path.display());
            Err(Failure::new(Exit::Damaged, message).remedy(
                "restore it: with another id, finished calls would get new idempotency keys",
            ))
        }
        Err(_) => {
            let made = Installation { installation_id: fresh_id()? };
            write_durably(home, &made).map_err(|error| {
                Failure::new(Exit::Refused, format!("could not write {}: {error}", path.display()))
            })?;
            Ok(made.installation_id)
        }
    }
}

/// Contents first, then the name, so that it is there whole or not at all.
fn write_durably(home: &Path, made: &Installation) -> io::Result<()> {
    let unfinished = home.join(format!("{NAME}.tmp"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec_pretty(made)?)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&unfinished, home.join(NAME))?;
    File::open(home)?.sync_all()
}

/// 32 hexadecimal digits that nobody had before.
///
/// # Errors
/// When the system gives no randomness.
pub(crate) fn fresh_id() -> Result<String, Failure> {
    Ok(hex(&fresh()?))
}

/// A name for this process that no other had.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn worker() -> Result<String, Failure> {
    Ok(format!("w-{}", &hex(&fresh()?)[..12]))
}

/// Chance for identities that callers leave out. A system that gave randomness at the start goes on
/// giving it.
pub(super) fn random() -> spine_ingest::Random {
    Arc::new(|| fresh().expect("the system gave randomness before"))
}

fn fresh() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Failed, format!("the system gives no randomness: {error}"))
    })?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
