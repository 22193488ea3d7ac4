//! How wire records and their scalars are written: by position in Avro, by name in JSON.
//!
//! One definition serves both forms, so that they cannot drift apart; a test holds every wire record to
//! its schema.

use super::avro::{Read, ReadDatum, Reader, WriteDatum, Writer};
use crate::{Digest, time::Micros};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, EnumAccess, IntoDeserializer, VariantAccess, Visitor},
};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// Defines a record of the wire: by position in Avro, by name and without unknown fields in JSON.
macro_rules! wire_record {
    ($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? as $record:literal {
        $($(#[$attr:meta])* $field:ident: $type:ty,)+
    }) => {
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub(crate) struct $name $(<$life>)? {
            $($(#[$attr])* pub(crate) $field: $type,)+
        }

        impl<'de $(: $life, $life)?> $crate::wire::avro::ReadDatum<'de> for $name $(<$life>)? {
            fn read(
                from: &mut $crate::wire::avro::Reader<'de>,
            ) -> $crate::wire::avro::Read<Self> {
                Ok(Self { $($field: $crate::wire::avro::ReadDatum::read(from)?,)+ })
            }

            #[inline]
            fn fill(
                &mut self,
                from: &mut $crate::wire::avro::Reader<'de>,
            ) -> $crate::wire::avro::Read<()> {
                $($crate::wire::avro::ReadDatum::fill(&mut self.$field, from)?;)+
                Ok(())
            }
        }

        impl $(<$life>)? $crate::wire::avro::WriteDatum for $name $(<$life>)? {
            fn write(&self, to: &mut $crate::wire::avro::Writer<'_>) {
                $($crate::wire::avro::WriteDatum::write(&self.$field, to);)+
            }
        }

        #[cfg(test)]
        impl $(<$life>)? $crate::wire::form::Listed for $name $(<$life>)? {
            const NAME: &'static str = $record;
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),+];
        }
    };
}
pub(crate) use wire_record;

/// What a record says of itself, to be held against the schema.
#[cfg(test)]
pub(crate) trait Listed {
    /// The record's name.
    const NAME: &'static str;
    /// Its fields, in the order in which they are read and written.
    const FIELDS: &'static [&'static str];
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
        to.collect_str(&Base64Display::new(&self.0, &BASE64_STANDARD))
    }
}

impl<'de> Deserialize<'de> for Blob<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let text = Cow::<'de, str>::deserialize(from)?;
        let bytes = BASE64_STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)?;
        Ok(Self(Cow::Owned(bytes)))
    }
}

impl<'de: 'a, 'a> ReadDatum<'de> for Blob<'a> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        from.counted().map(Cow::Borrowed).map(Self)
    }
}

impl WriteDatum for Blob<'_> {
    fn write(&self, to: &mut Writer<'_>) {
        to.counted(&self.0);
    }
}

/// A digest: 32 bytes in Avro, 64 hexadecimal digits in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sum(pub(crate) Digest);

impl<'de> ReadDatum<'de> for Sum {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        from.array().map(Digest).map(Self)
    }
}

impl WriteDatum for Sum {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&self.0.0);
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
        let text = self.0.to_string();
        if Micros::parse(&text) == Some(self.0) {
            return to.serialize_str(&text);
        }
        to.serialize_i64(self.0.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TimeVisitor)
    }
}

impl<'de> ReadDatum<'de> for Time {
    #[inline]
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        from.long().map(Micros).map(Self)
    }
}

impl WriteDatum for Time {
    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        to.long(self.0.0);
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
