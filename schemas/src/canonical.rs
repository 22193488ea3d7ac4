//! JSON as text: nesting limit, sorted-key digests, `$ref` look-up. Numbers are never parsed, so that
//! 64-bit integers and `1.0` against `1` survive.

use crate::{Digest, Error, Result, StepKey, limits};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A `$ref` inside an input: `run#/pointer` or `step#/pointer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The step whose output is meant; `None` is the run's input.
    pub step: Option<StepKey>,
    /// JSON pointer into it (RFC 6901).
    pub pointer: String,
}

impl Reference {
    /// Reads the text of a `$ref`. The step may carry its occurrence, as in `poll#2#/x`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `$ref`.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("$ref", format!("'{text}' is not step#/json/pointer"));
        let (source, pointer) = match text.find("#/") {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text.strip_suffix('#').ok_or_else(wrong)?, ""),
        };
        let step = if source == "run" { None } else { Some(source.parse().map_err(|_| wrong())?) };
        Ok(Self { step, pointer: pointer.to_owned() })
    }
}

/// SHA-256 of the sorted-key form of a JSON text.
///
/// # Errors
/// [`Error::Invalid`] naming `field`, when it is not JSON, nested too deeply, or repeats a key.
pub fn digest(field: &str, text: &[u8]) -> Result<Digest> {
    check_depth(field, text)?;
    let mut out = Vec::with_capacity(text.len());
    let raw: &RawValue = parse(field, text)?;
    write_sorted(field, raw, &mut out)?;
    Ok(Digest::of_bytes(&out))
}

/// Refuses nesting beyond [`limits::JSON_DEPTH`] before any recursive reader sees the text.
///
/// # Errors
/// [`Error::Invalid`] naming `field`.
pub fn check_depth(field: &str, text: &[u8]) -> Result<()> {
    if is_deeper(text, limits::JSON_DEPTH) {
        let message = format!("is nested deeper than {}", limits::JSON_DEPTH);
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

/// Whether a JSON text is nested deeper than so many levels.
pub fn is_deeper(text: &[u8], most: usize) -> bool {
    // Nesting needs an opening bracket per level, and counting them is much cheaper than following.
    if text.iter().filter(|&&byte| byte == b'[' || byte == b'{').count() <= most {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

fn parse<'a, T: serde::Deserialize<'a>>(field: &str, text: &'a [u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| Error::invalid(field, error.to_string()))
}

/// Every level reads the texts of its values again, so the cost is the size times the depth, which is
/// bounded by [`limits::JSON_DEPTH`].
fn write_sorted(field: &str, raw: &RawValue, out: &mut Vec<u8>) -> Result<()> {
    let text = raw.get().as_bytes();
    match text.first() {
        Some(b'{') => {
            out.push(b'{');
            for (at, (key, value)) in object(field, text)?.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(&key, out);
                out.push(b':');
                write_sorted(field, value, out)?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            out.push(b'[');
            for (at, value) in parse::<Vec<&RawValue>>(field, text)?.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_sorted(field, value, out)?;
            }
            out.push(b']');
        }
        // A string may be escaped in many ways; without a backslash there is only one.
        Some(b'"') if text.contains(&b'\\') => write_string(&parse::<String>(field, text)?, out),
        _ => out.extend_from_slice(text),
    }
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is always JSON, and memory takes it");
}

/// The key of a member, borrowed where it holds no escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Key<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The members of an object, sorted; a repeated key is refused, since readers differ on it.
fn object<'a>(field: &str, text: &'a [u8]) -> Result<Vec<(Key<'a>, &'a RawValue)>> {
    let Members(mut members) = parse::<Members<'a>>(field, text)?;
    members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let key: &str = &pair[0].0;
        return Err(Error::invalid(field, format!("key '{key}' is there twice")));
    }
    Ok(members)
}

struct Members<'a>(Vec<(Key<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut access: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// All `$ref` objects in a JSON text, in order.
///
/// # Errors
/// [`Error::Invalid`] for a malformed reference.
pub fn references(text: &[u8]) -> Result<Vec<Reference>> {
    let mut found = Vec::new();
    // Nothing that is put in is longer than the reference, so the text itself is the limit.
    substitute(text, text.len(), &mut |reference| {
        found.push(reference.clone());
        Ok(b"null")
    })?;
    Ok(found)
}

/// What is put in for a reference.
type Resolve<'r, 'a> = &'r mut dyn FnMut(&Reference) -> Result<&'a [u8]>;

/// The JSON text with every `{"$ref":"…"}` replaced by what `resolve` gives for it, if that has at
/// most `limit` bytes. It stops at the piece with which it would have more: a short text may name a
/// long one many times.
///
/// # Errors
/// Those of `resolve`, [`Error::TooLarge`] beyond the limit, and [`Error::Invalid`] for a malformed
/// reference or text that is nested too deeply.
pub fn substitute<'a>(text: &[u8], limit: usize, resolve: Resolve<'_, 'a>) -> Result<Vec<u8>> {
    check_depth("input", text)?;
    let raw: &RawValue = parse("input", text)?;
    let mut out = Filled { text: Vec::with_capacity(text.len().min(limit)), limit };
    substitute_into(raw, resolve, &mut out)?;
    // What is not a reference has no more bytes than the text.
    out.check(0)?;
    Ok(out.text)
}

/// A text that is filled up to a limit.
struct Filled {
    text: Vec<u8>,
    limit: usize,
}

impl Filled {
    fn check(&self, more: usize) -> Result<()> {
        let bytes = self.text.len() + more;
        if bytes > self.limit {
            return Err(Error::too_large("input", bytes, self.limit));
        }
        Ok(())
    }
}

fn substitute_into<'a>(raw: &RawValue, resolve: Resolve<'_, 'a>, out: &mut Filled) -> Result<()> {
    let text = raw.get().as_bytes();
    match text.first() {
        Some(b'{') => {
            let members = object("input", text)?;
            if let [(key, target)] = &members[..]
                && **key == *"$ref"
            {
                let reference =
                    Reference::parse(&parse::<String>("$ref", target.get().as_bytes())?)?;
                let piece = resolve(&reference)?;
                out.check(piece.len())?;
                out.text.extend_from_slice(piece);
                return Ok(());
            }
            out.text.push(b'{');
            for (at, (key, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.text.push(b',');
                }
                write_string(&key, &mut out.text);
                out.text.push(b':');
                substitute_into(value, resolve, out)?;
            }
            out.text.push(b'}');
        }
        Some(b'[') => {
            out.text.push(b'[');
            for (at, value) in parse::<Vec<&RawValue>>("input", text)?.into_iter().enumerate() {
                if at > 0 {
                    out.text.push(b',');
                }
                substitute_into(value, resolve, out)?;
            }
            out.text.push(b']');
        }
        _ => out.text.extend_from_slice(text),
    }
    Ok(())
}

/// The text that a JSON pointer (RFC 6901) finds.
///
/// # Errors
/// [`Error::Invalid`] naming the pointer, when nothing is there.
pub fn pointer<'a>(text: &'a [u8], path: &str) -> Result<&'a [u8]> {
    pointer_at_cost(text, path, &mut 0)
}

/// As [`pointer`], and adds the bytes that were read on the way to `read_bytes`: every part of the
/// path reads all that lies below it.
///
/// # Errors
/// As [`pointer`].
pub fn pointer_at_cost<'a>(text: &'a [u8], path: &str, read_bytes: &mut usize) -> Result<&'a [u8]> {
    let missing = || Error::invalid("$ref", format!("nothing at '{path}'"));
    *read_bytes += text.len();
    let mut raw: &'a RawValue = parse("$ref", text)?;
    for part in path.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        let inner: &'a [u8] = raw.get().as_bytes();
        *read_bytes += inner.len();
        raw = match inner.first() {
            Some(b'{') => {
                let members = object("$ref", inner)?;
                let member = members.into_iter().find(|(key, _)| **key == *name);
                member.ok_or_else(missing)?.1
            }
            Some(b'[') => {
                let index = array_index(&name).ok_or_else(missing)?;
                parse::<Vec<&'a RawValue>>("$ref", inner)?
                    .get(index)
                    .copied()
                    .ok_or_else(missing)?
            }
            _ => return Err(missing()),
        };
    }
    Ok(raw.get().as_bytes())
}

/// RFC 6901 allows digits without leading zeros, and no sign.
fn array_index(text: &str) -> Option<usize> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests;
