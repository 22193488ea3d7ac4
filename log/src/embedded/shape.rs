//! Where does a datum end? Walks bytes along a schema, so that only a datum that every Avro reader
//! will find complete is spliced into a segment.
//!
//! Stricter than Avro where readers differ: what this accepts, all of them read. It decides only
//! between splicing and plain bytes, so a refusal costs nothing but a less readable file.

use super::varint;
use crate::limits::DATUM_DEPTH;
use apache_avro::{
    Schema,
    schema::{InnerDecimalSchema, Name},
};
use std::collections::HashMap;

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Shape {
    nodes: Vec<Node>,
    root: usize,
}

#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Fixed(usize),
    Bytes,
    Text,
    Enum(usize),
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<usize>),
    /// A logical type whose readers check more than its extent; its data are never spliced.
    Opaque,
}

impl Shape {
    /// Compiles a schema whose names are all fully qualified, as the parser leaves them.
    pub(crate) fn compile(schema: &Schema) -> Self {
        let mut shape = Self { nodes: Vec::new(), root: 0 };
        shape.root = shape.add(schema, &mut HashMap::new());
        shape
    }

    /// Whether `datum` is one complete datum of this shape and nothing else.
    pub(crate) fn fits(&self, datum: &[u8]) -> bool {
        let mut rest = datum;
        self.skip(self.root, &mut rest, 0).is_some() && rest.is_empty()
    }

    fn add(&mut self, schema: &Schema, names: &mut HashMap<Name, usize>) -> usize {
        if let Schema::Ref { name } = schema {
            return match names.get(name) {
                Some(node) => *node,
                None => self.put(Node::Opaque),
            };
        }
        // The place is taken first, so that a recursive type finds itself.
        let place = self.put(Node::Opaque);
        if let Some(name) = schema.name() {
            names.insert(name.clone(), place);
        }
        let node = self.node(schema, names);
        self.nodes[place] = node;
        place
    }

    fn put(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn node(&mut self, schema: &Schema, names: &mut HashMap<Name, usize>) -> Node {
        match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Node::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Node::Long,
            Schema::Float => Node::Fixed(4),
            Schema::Double => Node::Fixed(8),
            Schema::Bytes => Node::Bytes,
            Schema::String => Node::Text,
            Schema::Array(array) => Node::Array(self.add(&array.items, names)),
            Schema::Map(map) => Node::Map(self.add(&map.types, names)),
            Schema::Union(union) => {
                Node::Union(union.variants().iter().map(|one| self.add(one, names)).collect())
            }
            Schema::Record(record) => Node::Record(
                record.fields.iter().map(|field| self.add(&field.schema, names)).collect(),
            ),
            Schema::Enum(symbols) => Node::Enum(symbols.symbols.len()),
            Schema::Fixed(fixed) => Node::Fixed(fixed.size),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Node::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Node::Fixed(fixed.size),
            },
            Schema::Duration(fixed) => Node::Fixed(fixed.size),
            Schema::BigDecimal | Schema::Uuid(_) | Schema::Ref { .. } => Node::Opaque,
        }
    }

    fn skip(&self, node: usize, bytes: &mut &[u8], depth: usize) -> Option<()> {
        if depth > DATUM_DEPTH {
            return None;
        }
        match &self.nodes[node] {
            Node::Null => Some(()),
            Node::Boolean => varint::take_raw(bytes, 1).filter(|byte| byte[0] <= 1).map(drop),
            Node::Int => i32::try_from(varint::take(bytes)?).ok().map(drop),
            Node::Long => varint::take(bytes).map(drop),
            Node::Fixed(size) => varint::take_raw(bytes, *size).map(drop),
            Node::Bytes => varint::take_bytes(bytes).map(drop),
            Node::Text => str::from_utf8(varint::take_bytes(bytes)?).ok().map(drop),
            Node::Enum(symbols) => (varint::take_len(bytes)? < *symbols).then_some(()),
            Node::Array(item) => self.skip_items(false, *item, bytes, depth),
            Node::Map(value) => self.skip_items(true, *value, bytes, depth),
            Node::Union(variants) => {
                let variant = variants.get(varint::take_len(bytes)?)?;
                self.skip(*variant, bytes, depth + 1)
            }
            Node::Record(fields) => {
                fields.iter().try_for_each(|field| self.skip(*field, bytes, depth + 1))
            }
            Node::Opaque => None,
        }
    }

    fn skip_items(&self, keyed: bool, item: usize, bytes: &mut &[u8], depth: usize) -> Option<()> {
        loop {
            let count = varint::take(bytes)?;
            if count == 0 {
                return Some(());
            }
            // A negative count is followed by the block's size, which must then be right.
            let sized = if count < 0 { Some(varint::take_len(bytes)?) } else { None };
            let before = bytes.len();
            // Items without bytes of their own could make a few bytes stand for billions of items.
            let count = usize::try_from(count.unsigned_abs()).ok().filter(|n| *n <= before)?;
            for _ in 0..count {
                if keyed {
                    str::from_utf8(varint::take_bytes(bytes)?).ok()?;
                }
                self.skip(item, bytes, depth + 1)?;
            }
            if sized.is_some_and(|size| size != before - bytes.len()) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
