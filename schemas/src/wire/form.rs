//! How wire records and their scalars are written: by position in Avro, by name in JSON.
//!
//! One definition serves both forms, so that they cannot drift apart. By position is the fast path of
//! the Avro library, since it spares a look-up per field; a test holds every wire record to its schema.

use crate::{Digest, time::Micros};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess, Visitor},
};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A record that is read by position.
pub(crate) trait WireRecord: Sized {
    /// The record's name in the schema; the library compares it.
    const NAME: &'static str;
    /// Its fields, in the order of the schema.
    const FIELDS: &'static [&'static str];

    /// Reads the fields in order.
    fn read<'de, A: SeqAccess<'de>>(fields: &mut A) -> Result<Self, A::Error>;
}

/// Defines a record of the wire: by position in Avro, by name and without unknown fields in JSON.
macro_rules! wire_record {
    ($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? as $record:literal {
        $($(#[$attr:meta])* $field:ident: $type:ty,)+
    }) => {
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(remote = $record, deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $name $(<$life>)? {
            $($(#[$attr])* pub(crate) $field: $type,)+
        }

        impl $(<$life>)? $crate::wire::form::WireRecord for $name $(<$life>)? {
            const NAME: &'static str = $record;
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn read<'de, A: ::serde::de::SeqAccess<'de>>(
                fields: &mut A,
            ) -> ::std::result::Result<Self, A::Error> {
                Ok(Self { $($field: $crate::wire::form::next(fields)?,)+ })
            }
        }

        impl $(<$life>)? ::serde::Serialize for $name $(<$life>)? {
            fn serialize<S: ::serde::Serializer>(
                &self,
                to: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                use ::serde::ser::SerializeTupleStruct as _;
                if to.is_human_readable() {
                    return $name::serialize(self, to);
                }
                let fields = <Self as $crate::wire::form::WireRecord>::FIELDS;
                let mut tuple = to.serialize_tuple_struct($record, fields.len())?;
                $(tuple.serialize_field(&self.$field)?;)+
                tuple.end()
            }
        }

        impl<'de $(, $life)?> ::serde::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                from: D,
            ) -> ::std::result::Result<Self, D::Error> {
                if from.is_human_readable() {
                    return $name::deserialize(from);
                }
                let fields = <Self as $crate::wire::form::WireRecord>::FIELDS;
                let positions = $crate::wire::form::Positions::<Self>::default();
                from.deserialize_tuple_struct($record, fields.len(), positions)
            }
        }
    };
}
pub(crate) use wire_record;

/// Reads a record by position.
pub(crate) struct Positions<T>(PhantomData<T>);

impl<T> Default for Positions<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: WireRecord> Visitor<'de> for Positions<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}", T::NAME)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<T, A::Error> {
        T::read(&mut fields)
    }
}

/// The next field of a record.
pub(crate) fn next<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    fields: &mut A,
) -> Result<T, A::Error> {
    fields.next_element()?.ok_or_else(|| de::Error::custom("the record ends early"))
}

/// A symbol of a closed set, or one that is newer than this build.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Symbol<T> {
    /// One of ours.
    Known(T),
    /// Any other; Avro readers see the default of the enum in its place.
    #[default]
    Unknown,
}

impl<T: Serialize> Serialize for Symbol<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(symbol) => symbol.serialize(to),
            Self::Unknown => to.serialize_unit_variant("", 0, "unknown"),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Symbol<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_enum("", &[], SymbolVisitor(PhantomData))
    }
}

struct SymbolVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for SymbolVisitor<T> {
    type Value = Symbol<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a symbol")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Symbol<T>, A::Error> {
        let (symbol, variant) = access.variant_seed(self)?;
        variant.unit_variant()?;
        Ok(symbol)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Symbol<T>, E> {
        if name == "unknown" {
            return Ok(Symbol::Unknown);
        }
        let symbol: de::value::StrDeserializer<'_, E> = name.into_deserializer();
        T::deserialize(symbol).map(Symbol::Known)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for SymbolVisitor<T> {
    type Value = Symbol<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Symbol<T>, D::Error> {
        from.deserialize_identifier(self)
    }
}

/// Bytes: as they are in Avro, base64 in JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Blob<'a>(pub(crate) Cow<'a, [u8]>);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use base64::{display::Base64Display, prelude::BASE64_STANDARD};
        if to.is_human_readable() {
            return to.collect_str(&Base64Display::new(&self.0, &BASE64_STANDARD));
        }
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use base64::{Engine, prelude::BASE64_STANDARD};
        if from.is_human_readable() {
            let text = Cow::<'de, str>::deserialize(from)?;
            let bytes = BASE64_STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)?;
            return Ok(Self(Cow::Owned(bytes)));
        }
        from.deserialize_byte_buf(BytesVisitor).map(|bytes| Self(Cow::Owned(bytes)))
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }
}

/// A digest: 32 bytes in Avro, 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sum(pub(crate) Digest);

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self.0.serialize(to);
        }
        to.serialize_bytes(&self.0.0)
    }
}

impl<'de> Deserialize<'de> for Sum {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return Digest::deserialize(from).map(Self);
        }
        let bytes = from.deserialize_byte_buf(BytesVisitor)?;
        let bytes = bytes.try_into().map_err(|_| de::Error::custom("a digest has 32 bytes"))?;
        Ok(Self(Digest(bytes)))
    }
}

/// A point in time: microseconds in Avro, RFC 3339 in JSON, or the plain number where the calendar
/// of RFC 3339 does not reach.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Time(pub(crate) Micros);

impl Time {
    /// Stands for a time that the JSON form left out; the door replaces it.
    pub(crate) fn unset() -> Self {
        Self(Micros(i64::MIN))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return to.serialize_i64(self.0.0);
        }
        let text = self.0.to_string();
        if Micros::parse(&text) == Some(self.0) {
            return to.serialize_str(&text);
        }
        to.serialize_i64(self.0.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            return from.deserialize_any(TimeVisitor);
        }
        i64::deserialize(from).map(|micros| Self(Micros(micros)))
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in RFC 3339 form or in microseconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        Micros::parse(text).map(Time).ok_or_else(|| E::custom("must be a time in RFC 3339 form"))
    }

    fn visit_i64<E: de::Error>(self, micros: i64) -> Result<Time, E> {
        Ok(Time(Micros(micros)))
    }

    fn visit_u64<E: de::Error>(self, micros: u64) -> Result<Time, E> {
        let micros = i64::try_from(micros).map_err(|_| E::custom("is too late"))?;
        Ok(Time(Micros(micros)))
    }
}
