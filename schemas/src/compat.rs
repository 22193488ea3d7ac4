//! May a schema be changed in this way? Used by CI against the frozen versions, by `spine schemas
//! check`, and when a foreign schema is added to the book.

mod spelled_out;

use crate::{Error, Result};
use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use serde_json::{Map, Value};
use spelled_out::spelled_out;

/// Checks that old and new readers can read old and new records, in all combinations.
///
/// The library answers for names and types. It knows nothing of what the canonical form drops, so the
/// texts are compared too: defaults, logical types, symbols, removed fields.
///
/// # Errors
/// [`Error::Incompatible`], naming the first difference that breaks a reader.
pub fn check(old: &str, new: &str) -> Result<()> {
    let (old_schema, new_schema) = (parse(old)?, parse(new)?);
    can_read(&old_schema, &new_schema)?;
    can_read(&new_schema, &old_schema)?;
    compare("", &json(old)?, &json(new)?)
}

/// Checks that a reader can read everything that a writer may write. Partly is not enough.
///
/// # Errors
/// [`Error::Incompatible`].
pub(crate) fn can_read(writer: &Schema, reader: &Schema) -> Result<()> {
    match SchemaCompatibility::can_read(&spelled_out(writer)?, &spelled_out(reader)?) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => {
            Err(Error::Incompatible("some records could be read and others not".into()))
        }
        Err(error) => Err(Error::Incompatible(error.to_string().chars().take(300).collect())),
    }
}

fn parse(text: &str) -> Result<Schema> {
    Schema::parse_str(text).map_err(|error| Error::Incompatible(error.to_string()))
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::Incompatible(error.to_string()))
}

fn broken(path: &str, message: &str) -> Error {
    Error::Incompatible(format!("{path}: {message}"))
}

fn compare(path: &str, old: &Value, new: &Value) -> Result<()> {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => compare_types(path, old, new),
        (Value::Array(old), Value::Array(new)) => compare_unions(path, old, new),
        _ if old == new => Ok(()),
        _ => Err(broken(path, "the type has changed")),
    }
}

fn compare_types(path: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> Result<()> {
    for attribute in ["type", "name", "namespace", "logicalType", "size"] {
        let (before, after) = (old.get(attribute), new.get(attribute));
        let nested = matches!(before, Some(Value::Object(_) | Value::Array(_)));
        if before != after && !nested {
            return Err(broken(path, &format!("{attribute} has changed")));
        }
    }
    if old.get("symbols").is_some() {
        compare_symbols(path, old, new)?;
    }
    if let (Some(Value::Array(old)), Some(Value::Array(new))) =
        (old.get("fields"), new.get("fields"))
    {
        compare_fields(path, old, new)?;
    }
    for inner in ["type", "items", "values"] {
        if let (Some(old), Some(new)) = (old.get(inner), new.get(inner)) {
            compare(path, old, new)?;
        }
    }
    Ok(())
}

/// Symbols are numbers on the wire and names in readers: they stay, in order, and new ones follow.
fn compare_symbols(path: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> Result<()> {
    let symbols = |of: &Map<String, Value>| of.get("symbols").and_then(Value::as_array).cloned();
    let (before, after) = (symbols(old).unwrap_or_default(), symbols(new).unwrap_or_default());
    if !after.starts_with(&before) {
        return Err(broken(path, "symbols may only be added at the end"));
    }
    if old.get("default") != new.get("default") {
        return Err(broken(path, "the default symbol has changed"));
    }
    if after.len() > before.len() && new.get("default").is_none() {
        return Err(broken(path, "a symbol was added to an enum without a default"));
    }
    Ok(())
}

/// Branches of a union are numbered too: they stay, in order. A new branch would be unreadable to old
/// readers.
fn compare_unions(path: &str, old: &[Value], new: &[Value]) -> Result<()> {
    if old.len() != new.len() {
        return Err(broken(path, "the branches of a union have changed"));
    }
    old.iter().zip(new).try_for_each(|(old, new)| compare(path, old, new))
}

fn compare_fields(path: &str, old: &[Value], new: &[Value]) -> Result<()> {
    let name = |field: &Value| field["name"].as_str().unwrap_or_default().to_owned();
    for field in old {
        let path = format!("{path}.{}", name(field));
        let Some(after) = new.iter().find(|candidate| name(candidate) == name(field)) else {
            return Err(broken(&path, "the field was removed"));
        };
        if field.get("default") != after.get("default") {
            return Err(broken(&path, "the default has changed"));
        }
        compare(&path, &field["type"], &after["type"])?;
    }
    let added = new.iter().filter(|field| old.iter().all(|known| name(known) != name(field)));
    for field in added {
        check_added(&format!("{path}.{}", name(field)), field)?;
    }
    Ok(())
}

/// The rule for new fields: nullable, and null by default.
fn check_added(path: &str, field: &Value) -> Result<()> {
    let nullable = field["type"].get(0).and_then(Value::as_str) == Some("null");
    if nullable && field.get("default") == Some(&Value::Null) {
        return Ok(());
    }
    Err(broken(path, "a new field must be nullable, with null as its default"))
}

#[cfg(test)]
mod tests;
