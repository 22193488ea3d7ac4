//! Identities: runs, steps and digests, and the rules that their text must follow.

use crate::{Error, Result, limits};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// The identity of a run: unique inside its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// `[a-z0-9_-]{1,63}`.
    pub tenant: Arc<str>,
    /// The caller's or a generated id, at most [`limits::ID_BYTES`] bytes.
    pub run_id: Arc<str>,
}

impl RunKey {
    /// Names a run. The parts are taken as they are; the door has checked them.
    pub fn new(tenant: &str, run_id: &str) -> Self {
        Self { tenant: tenant.into(), run_id: run_id.into() }
    }

    /// The record key `tenant/run_id`, from which every producer derives the same partition.
    pub fn record_key(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.run_id)
    }
}

/// The identity of a step inside its run: `scope/name#occurrence`.
///
/// The scope is a path for nested or parallel branches and may be empty. The occurrence tells
/// wanted repeats apart; the caller gives it, it is never counted from state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey {
    /// Path of the branch, without leading or trailing slash; empty at the top.
    pub scope: Arc<str>,
    /// The step's name; holds neither `/` nor `#`.
    pub name: Arc<str>,
    /// From 1.
    pub occurrence: u32,
}

impl StepKey {
    /// A step at the top of its run that occurs once.
    pub fn named(name: &str) -> Self {
        Self { scope: "".into(), name: name.into(), occurrence: 1 }
    }

    /// A step with all three parts, checked.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `step.scope`, `step.name` or `step.occurrence`.
    pub fn new(scope: &str, name: &str, occurrence: u32) -> Result<Self> {
        let key = Self { scope: scope.into(), name: name.into(), occurrence };
        key.check()?;
        Ok(key)
    }

    /// Checks the three parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `step.scope`, `step.name` or `step.occurrence`.
    pub fn check(&self) -> Result<()> {
        let Self { scope, name, occurrence } = self;
        let printable = |text: &str| !has_controls(text) && !text.as_bytes().contains(&b'#');
        if name.is_empty() || name.len() > limits::STEP_NAME_BYTES {
            return Err(Error::invalid("step.name", "must have 1 to 128 bytes"));
        }
        if name.contains('/') || !printable(name) {
            return Err(Error::invalid("step.name", "must hold neither '/', '#' nor controls"));
        }
        if scope.len() > limits::STEP_NAME_BYTES || !printable(scope) {
            return Err(Error::invalid("step.scope", "must be a path of at most 128 bytes"));
        }
        if !scope.is_empty() && scope.split('/').any(str::is_empty) {
            return Err(Error::invalid("step.scope", "must not have empty parts"));
        }
        if *occurrence == 0 {
            return Err(Error::invalid("step.occurrence", "counts from 1"));
        }
        Ok(())
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scope.is_empty() {
            f.write_str(&self.scope)?;
            f.write_str("/")?;
        }
        f.write_str(&self.name)?;
        match self.occurrence {
            1 => f.write_str("#1"),
            other => write!(f, "#{other}"),
        }
    }
}

impl FromStr for StepKey {
    type Err = Error;

    /// Reads the text form; `#occurrence` may be left out and is then 1.
    fn from_str(text: &str) -> Result<Self> {
        let (path, occurrence) = match text.rsplit_once('#') {
            Some((path, digits)) => {
                let number = digits.parse().map_err(|_| {
                    Error::invalid("step.occurrence", "must be a whole number from 1")
                })?;
                (path, number)
            }
            None => (text, 1),
        };
        let (scope, name) = path.rsplit_once('/').unwrap_or(("", path));
        Self::new(scope, name, occurrence)
    }
}

impl Serialize for StepKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StepKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A SHA-256 digest; its text form is 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of parts, each preceded by its length, so that no two lists of parts collide.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        use sha2::Digest as _;
        let mut hash = sha2::Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The digest of plain bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Its first 8 bytes as a number, high byte first: where a short hash is enough.
    pub fn short(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("a digest has 32 bytes"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (byte, two) in self.0.iter().zip(text.as_chunks_mut::<2>().0) {
            *two = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xF)]];
        }
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("digest", "must have 64 hexadecimal digits");
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Checks a tenant name.
///
/// # Errors
/// [`Error::Invalid`] naming `tenant`.
pub fn check_tenant(tenant: &str) -> Result<()> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
    if tenant.is_empty() || tenant.len() > limits::TENANT_BYTES || !tenant.bytes().all(allowed) {
        return Err(Error::invalid("tenant", "must match [a-z0-9_-]{1,63}"));
    }
    Ok(())
}

/// Checks an identity that a caller chose: 1 to 128 bytes without control characters.
///
/// # Errors
/// [`Error::Invalid`] naming `field`.
pub fn check_id(field: &'static str, id: &str) -> Result<()> {
    if id.is_empty() || id.len() > limits::ID_BYTES || has_controls(id) {
        return Err(Error::invalid(field, "must have 1 to 128 bytes and no control characters"));
    }
    Ok(())
}

/// Nearly all identities are ASCII, where bytes are enough. All of them are looked at, which for
/// short texts takes less time than looking for the first.
fn has_controls(text: &str) -> bool {
    let (mut controls, mut highest) = (false, 0);
    for &byte in text.as_bytes() {
        controls |= byte.is_ascii_control();
        highest |= byte;
    }
    controls || (highest >= 0x80 && text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests;
