//! The schema book: a compacted topic of one partition in which producers publish their schemas.
//!
//! The key is the schema's CRC-64-AVRO fingerprint as 16 lower-case hex digits, the number written
//! from its highest digit (the frame holds it little-endian). The value is a JSON object:
//! `{"schema": "<the schema's JSON text>", "subject": "<its full name>"}`. `schema` is a string, as
//! registries have it; further members, such as `sha256`, are ignored. A producer in any
//! language publishes the same form before it first uses a schema.

use super::{options::Options, scan, writer::Writer};
use crate::{Error, NewRecord, Result, TopicPartition, Urgency};
use bytes::Bytes;
use rdkafka::{Message, Offset};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::ControlFlow};

/// A schema of the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookEntry {
    /// Its fingerprint, 16 lower-case hex digits.
    pub fingerprint: String,
    /// What it describes: the full name of its record.
    pub subject: String,
    /// The schema as JSON text.
    pub json: String,
}

#[derive(Serialize, Deserialize)]
struct Page {
    schema: String,
    #[serde(default)]
    subject: String,
}

fn place(options: &Options) -> TopicPartition {
    TopicPartition::new(options.topics().schemas, 0)
}

/// Every schema in the book, by fingerprint. Entries that are no schemas are passed over with a
/// warning, since one bad producer must not keep everybody from starting. Blocks.
pub(crate) fn read(options: &Options) -> Result<Vec<BookEntry>> {
    let place = place(options);
    let mut book: BTreeMap<String, BookEntry> = BTreeMap::new();
    scan::to_end(options, &place, Offset::Beginning, |message| {
        let offset = message.offset();
        match entry(message.key(), message.payload()) {
            Ok(entry) => keep(&mut book, entry, offset),
            Err(why) => tracing::warn!(topic = %place.topic, offset, why, "no schema"),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(book.into_values().collect())
}

/// The first text of a fingerprint counts. Events were written with it.
fn keep(book: &mut BTreeMap<String, BookEntry>, entry: BookEntry, offset: i64) {
    let fingerprint = entry.fingerprint.clone();
    let first = book.entry(fingerprint.clone()).or_insert_with(|| entry.clone());
    if !is_same(&first.json, &entry.json) {
        tracing::warn!(fingerprint, offset, "another schema of a fingerprint that is taken");
    }
}

fn entry(key: Option<&[u8]>, value: Option<&[u8]>) -> std::result::Result<BookEntry, String> {
    let key = key.and_then(|key| std::str::from_utf8(key).ok()).ok_or("its key is no text")?;
    check_fingerprint(key)?;
    let value = value.ok_or("it is a tombstone")?;
    let page: Page = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    Ok(BookEntry { fingerprint: key.to_owned(), subject: page.subject, json: page.schema })
}

fn check_fingerprint(text: &str) -> std::result::Result<(), String> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() == 16 && text.bytes().all(is_digit) {
        return Ok(());
    }
    Err(format!("a fingerprint is 16 lower-case hex digits, not {text:?}"))
}

/// Publishes the schemas that the book does not have.
pub(crate) async fn publish(options: &Options, writer: &Writer, new: &[BookEntry]) -> Result<()> {
    let asked = options.clone();
    let known = super::client::blocking(move || read(&asked)).await?;
    for entry in new {
        check_fingerprint(&entry.fingerprint).map_err(Error::Refused)?;
        match known.iter().find(|known| known.fingerprint == entry.fingerprint) {
            Some(known) if is_same(&known.json, &entry.json) => {}
            Some(_) => {
                let BookEntry { fingerprint, subject, .. } = entry;
                return Err(Error::Refused(format!(
                    "the schema {subject} has the fingerprint {fingerprint} of another schema in \
                     the book; change a name in it"
                )));
            }
            None => append(options, writer, entry).await?,
        }
    }
    Ok(())
}

async fn append(options: &Options, writer: &Writer, entry: &BookEntry) -> Result<()> {
    let page = Page { schema: entry.json.clone(), subject: entry.subject.clone() };
    let value = serde_json::to_vec(&page)
        .map_err(|error| Error::Refused(format!("the schema has no JSON form: {error}")))?;
    let record = NewRecord::plain(Some(Bytes::from(entry.fingerprint.clone())), value);
    writer.append(&place(options), vec![record], Urgency::Normal).await.map(drop)
}

/// Whether two texts are one schema. Documentation is no part of a fingerprint and may improve.
fn is_same(one: &str, other: &str) -> bool {
    let parse = |text: &str| serde_json::from_str(text).map(without_doc);
    match (parse(one), parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

fn without_doc(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| name != "doc");
            Value::Object(kept.map(|(name, value)| (name, without_doc(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_doc).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_one_form() {
        let value = br#"{"schema":"{\"type\":\"string\"}","subject":"s","sha256":"00"}"#;
        let read = entry(Some(b"00000000000000ff"), Some(value)).unwrap();
        assert_eq!((read.subject.as_str(), read.json.as_str()), ("s", r#"{"type":"string"}"#));
        assert!(entry(Some(b"FF"), Some(value)).is_err());
        assert!(entry(Some(b"00000000000000ff"), None).is_err());
    }

    #[test]
    fn documentation_does_not_make_another_schema() {
        assert!(is_same(r#"{"type":"string","doc":"a"}"#, r#"{ "type": "string" }"#));
        assert!(!is_same(r#"{"type":"string"}"#, r#"{"type":"bytes"}"#));
    }
}
