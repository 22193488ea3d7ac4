//! A schema with every name replaced by what it stands for.
//!
//! The library's check takes a name and its definition for different things. Which field of a record
//! defines a shared type, and which only names it, follows from the order of the fields, on which
//! nothing else depends.

use crate::{Error, Result};
use apache_avro::{
    Schema,
    schema::{Name, UnionSchema},
};
use std::collections::HashMap;

/// Types of a spelled-out schema. Names that stand for names can make a short text endless.
const MOST_TYPES: usize = 20_000;
/// Records inside one another.
const MOST_WITHIN: usize = 64;

/// Spells a schema out. A type that contains itself keeps its name inside.
///
/// # Errors
/// [`Error::Incompatible`] over [`MOST_TYPES`] or [`MOST_WITHIN`].
pub(super) fn spelled_out(schema: &Schema) -> Result<Schema> {
    let mut definitions = HashMap::new();
    define(schema, &mut definitions);
    let mut speller = Speller { definitions, within: Vec::new(), types: 0 };
    speller.spell(schema)
}

fn define<'s>(schema: &'s Schema, into: &mut HashMap<&'s Name, &'s Schema>) {
    match schema {
        Schema::Record(record) => {
            into.insert(&record.name, schema);
            record.fields.iter().for_each(|field| define(&field.schema, into));
        }
        Schema::Union(union) => union.variants().iter().for_each(|of| define(of, into)),
        Schema::Array(array) => define(&array.items, into),
        Schema::Map(map) => define(&map.types, into),
        Schema::Ref { .. } => {}
        other => {
            if let Some(name) = other.name() {
                into.insert(name, other);
            }
        }
    }
}

struct Speller<'s> {
    definitions: HashMap<&'s Name, &'s Schema>,
    /// The records that are being spelled out.
    within: Vec<&'s Name>,
    types: usize,
}

impl<'s> Speller<'s> {
    fn spell(&mut self, schema: &'s Schema) -> Result<Schema> {
        self.types += 1;
        if self.types > MOST_TYPES || self.within.len() > MOST_WITHIN {
            let why = format!(
                "written out it has more than {MOST_TYPES} types, or {MOST_WITHIN} records inside \
                 one another"
            );
            return Err(Error::Incompatible(why));
        }
        Ok(match schema {
            Schema::Ref { name } => match self.definitions.get(name).copied() {
                Some(definition) if !self.within.contains(&name) => self.spell(definition)?,
                Some(_) | None => schema.clone(),
            },
            Schema::Record(record) => {
                let mut spelled = record.clone();
                self.within.push(&record.name);
                for (from, to) in record.fields.iter().zip(&mut spelled.fields) {
                    to.schema = self.spell(&from.schema)?;
                }
                self.within.pop();
                Schema::Record(spelled)
            }
            Schema::Union(union) => {
                let spelled: Result<Vec<_>> =
                    union.variants().iter().map(|of| self.spell(of)).collect();
                let union = UnionSchema::new(spelled?);
                Schema::Union(union.map_err(|error| Error::Incompatible(error.to_string()))?)
            }
            Schema::Array(array) => {
                let mut spelled = array.clone();
                spelled.items = Box::new(self.spell(&array.items)?);
                Schema::Array(spelled)
            }
            Schema::Map(map) => {
                let mut spelled = map.clone();
                spelled.types = Box::new(self.spell(&map.types)?);
                Schema::Map(spelled)
            }
            other => other.clone(),
        })
    }
}
