//! Payloads on the wire: a record in Avro; in JSON the value itself as text, so that numbers are never
//! parsed, or `{"$payload":{…}}` where the bytes are not plain JSON or were omitted.

use super::{
    Sum, Text,
    avro::{Read, ReadDatum, Reader, WriteDatum, Writer},
    form::{Blob, wire_record},
    long,
};
use crate::{Digest, canonical, payload::JSON};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The one key of the form for payloads that are not plain JSON.
const ESCAPE: &str = "$payload";

wire_record! {
    /// A payload as Avro has it.
    #[derive(Default)]
    Payload<'a> as "Payload" {
        #[serde(default)]
        content_type: Text<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<Blob<'a>>,
        #[serde(default)]
        size_bytes: i64,
        #[serde(default)]
        digest: Sum,
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self(Digest([0; 32]))
    }
}

/// A place for a payload.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot<'a>(pub(crate) Payload<'a>);

impl Default for Slot<'_> {
    fn default() -> Self {
        Self::from(crate::Payload::null())
    }
}

impl<'a> From<&'a crate::Payload> for Slot<'a> {
    fn from(payload: &'a crate::Payload) -> Self {
        let bytes = (!payload.omitted).then(|| Blob(Cow::Borrowed(&payload.data)));
        Self(Payload {
            content_type: Cow::Borrowed(&payload.content_type),
            bytes,
            size_bytes: long(payload.size_bytes),
            digest: Sum(payload.digest),
        })
    }
}

impl From<crate::Payload> for Slot<'_> {
    fn from(payload: crate::Payload) -> Self {
        let bytes = (!payload.omitted).then(|| Blob(Cow::Owned(payload.data.into())));
        Self(Payload {
            content_type: Cow::Owned(payload.content_type),
            bytes,
            size_bytes: long(payload.size_bytes),
            digest: Sum(payload.digest),
        })
    }
}

impl Slot<'_> {
    /// The typed payload.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] when its size is negative, naming `field`.
    pub(crate) fn into_typed(self, field: &str) -> crate::Result<crate::Payload> {
        let Payload { content_type, bytes, size_bytes, digest } = self.0;
        let size_bytes = u64::try_from(size_bytes)
            .map_err(|_| crate::Error::invalid(field, "must not have a negative size"))?;
        let omitted = bytes.is_none();
        let data = bytes.map_or_else(Bytes::new, |blob| Bytes::from(blob.0.into_owned()));
        let content_type = content_type.into_owned();
        Ok(crate::Payload { content_type, data, digest: digest.0, omitted, size_bytes })
    }

    /// The text that may stand in JSON as it is, so that reading it gives the same bytes again.
    fn plain_json(&self) -> Option<&RawValue> {
        let Some(Blob(bytes)) = &self.0.bytes else { return None };
        if self.0.content_type != JSON || canonical::check_depth("", bytes).is_err() {
            return None;
        }
        let raw: &RawValue = serde_json::from_slice(bytes).ok()?;
        (raw.get().len() == bytes.len() && !is_escaped(raw.get())).then_some(raw)
    }
}

impl Serialize for Slot<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let Some(raw) = self.plain_json() {
            return raw.serialize(to);
        }
        let mut escaped = to.serialize_map(Some(1))?;
        escaped.serialize_entry(ESCAPE, &self.0)?;
        escaped.end()
    }
}

impl<'de> Deserialize<'de> for Slot<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(from)?;
        if is_escaped(raw.get()) {
            return unescape(raw.get()).map(Self::from).map_err(de::Error::custom);
        }
        let text = Bytes::copy_from_slice(raw.get().as_bytes());
        crate::Payload::json("payload", text).map(Self::from).map_err(de::Error::custom)
    }
}

impl<'de: 'a, 'a> ReadDatum<'de> for Slot<'a> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        Payload::read(from).map(Self)
    }
}

impl WriteDatum for Slot<'_> {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }
}

fn is_escaped(json: &str) -> bool {
    let inner = json.strip_prefix('{').map(str::trim_start);
    let key =
        inner.and_then(|text| text.strip_prefix('"')).and_then(|text| text.strip_prefix(ESCAPE));
    key.is_some_and(|rest| rest.starts_with('"'))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Escaped<'a> {
    #[serde(rename = "$payload")]
    payload: Payload<'a>,
}

/// A payload that is not plain JSON. Its digest is computed here whenever the bytes are.
fn unescape(json: &str) -> crate::Result<crate::Payload> {
    let refuse = |error: serde_json::Error| crate::Error::invalid(ESCAPE, error.to_string());
    let Escaped { payload } = serde_json::from_str(json).map_err(refuse)?;
    let content_type = payload.content_type.clone();
    let typed = Slot(payload).into_typed(ESCAPE)?;
    if typed.omitted {
        return Ok(typed);
    }
    if typed.is_json() {
        return Ok(crate::Payload {
            content_type: typed.content_type,
            ..crate::Payload::json(ESCAPE, typed.data)?
        });
    }
    Ok(crate::Payload::opaque(&content_type, typed.data))
}

/// Reads a payload that is there, `null` included: only a field that is left out is none.
pub(crate) fn present<'de, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Slot<'a>>, D::Error> {
    Slot::deserialize(from).map(Some)
}

/// JSON that is text in Avro and itself in JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JsonText<'a>(pub(crate) Text<'a>);

impl Serialize for JsonText<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(to)
    }
}

impl<'de> Deserialize<'de> for JsonText<'_> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(from)?;
        Ok(Self(Cow::Owned(raw.get().to_owned())))
    }
}

impl<'de: 'a, 'a> ReadDatum<'de> for JsonText<'a> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        Text::read(from).map(Self)
    }
}

impl WriteDatum for JsonText<'_> {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }
}
