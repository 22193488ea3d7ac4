//! Is a foreign schema safe to decode with? Schemas come from producers; bytes that cost nothing to
//! write must not cost much to read.

use crate::{Error, Result, limits};
use apache_avro::{
    Schema,
    schema::{FixedSchema, InnerDecimalSchema, Name, ResolvedSchema},
};
use std::collections::HashMap;

/// Refuses recursive schemas, lists of items that take no bytes, values of a fixed size that no event
/// can hold, and schemas that unfold to more than [`limits::SCHEMA_NODES`].
///
/// # Errors
/// [`Error::Incompatible`] or [`Error::TooLarge`].
pub(super) fn check(schema: &Schema) -> Result<()> {
    let resolved =
        ResolvedSchema::new(schema).map_err(|error| Error::Incompatible(super::brief(&error)))?;
    let mut walk = Walk { names: resolved.get_names(), open: Vec::new(), nodes: 0 };
    walk.least_bytes(schema).map(|_bytes| ())
}

struct Walk<'s> {
    names: &'s HashMap<Name, &'s Schema>,
    open: Vec<Name>,
    nodes: usize,
}

impl<'s> Walk<'s> {
    /// The fewest bytes that a value of the schema can take.
    fn least_bytes(&mut self, schema: &'s Schema) -> Result<usize> {
        self.nodes += 1;
        if self.nodes > limits::SCHEMA_NODES {
            return Err(Error::too_large("schema", self.nodes, limits::SCHEMA_NODES));
        }
        match schema {
            Schema::Null => Ok(0),
            Schema::Fixed(fixed) | Schema::Duration(fixed) => fixed_bytes(fixed),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Fixed(fixed) => fixed_bytes(fixed),
                InnerDecimalSchema::Bytes => Ok(1),
            },
            Schema::Array(array) => self.items(&array.items),
            Schema::Map(map) => self.items(&map.types),
            Schema::Union(union) => {
                for variant in union.variants() {
                    self.least_bytes(variant)?;
                }
                Ok(1)
            }
            Schema::Record(record) => {
                if self.open.contains(&record.name) {
                    return Err(Error::Incompatible(format!("{} holds itself", record.name)));
                }
                self.open.push(record.name.clone());
                let mut bytes = 0usize;
                for field in &record.fields {
                    bytes = bytes.saturating_add(self.least_bytes(&field.schema)?);
                }
                self.open.pop();
                Ok(bytes)
            }
            Schema::Ref { name } => match self.names.get(name).copied() {
                Some(named) => self.least_bytes(named),
                None => Err(Error::Incompatible(format!("it does not define {name}"))),
            },
            _ => Ok(1),
        }
    }

    fn items(&mut self, items: &'s Schema) -> Result<usize> {
        match self.least_bytes(items)? {
            0 => Err(Error::Incompatible("it has a list of items that take no bytes".into())),
            _ => Ok(1),
        }
    }
}

/// The library allocates the size that the schema states before it reads a byte.
fn fixed_bytes(fixed: &FixedSchema) -> Result<usize> {
    if fixed.size > limits::EVENT_BYTES {
        return Err(Error::too_large("size", fixed.size, limits::EVENT_BYTES));
    }
    Ok(fixed.size)
}
