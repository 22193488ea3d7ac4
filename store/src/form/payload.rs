//! Payloads: bytes and digest in columns of their own, the little that is left in `state`.

use super::read_digest;
use crate::Result;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spine_schemas::{Output, Payload, payload::JSON};
use std::borrow::Cow;

/// What a payload is beyond bytes and digest. All empty for plain JSON that was kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PayloadForm<'a> {
    /// Absent for JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    omitted: bool,
    /// Absent where it is the number of the kept bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
}

impl<'a> PayloadForm<'a> {
    pub(super) fn of(payload: &'a Payload) -> Self {
        let Payload { content_type, data, digest: _, omitted, size_bytes } = payload;
        Self {
            content_type: (content_type != JSON).then_some(Cow::Borrowed(content_type)),
            omitted: *omitted,
            size_bytes: (*size_bytes != data.len() as u64).then_some(*size_bytes),
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.content_type.is_none() && !self.omitted && self.size_bytes.is_none()
    }

    pub(super) fn into_payload(
        self,
        column: &str,
        digest: &[u8],
        data: Cow<'_, [u8]>,
    ) -> Result<Payload> {
        Ok(Payload {
            content_type: self.content_type.map_or_else(|| JSON.to_owned(), Cow::into_owned),
            digest: read_digest(column, digest)?,
            omitted: self.omitted,
            size_bytes: self.size_bytes.unwrap_or(data.len() as u64),
            data: Bytes::from(data.into_owned()),
        })
    }
}

/// What an output is beyond bytes and digest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct OutputForm<'a> {
    #[serde(default, skip_serializing_if = "PayloadForm::is_plain")]
    payload: PayloadForm<'a>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
}

impl<'a> OutputForm<'a> {
    pub(super) fn of(output: Option<&'a Output>) -> Self {
        let Some(Output { payload, degraded, source }) = output else { return Self::default() };
        Self {
            payload: PayloadForm::of(payload),
            degraded: *degraded,
            source: source.as_deref().map(Cow::Borrowed),
        }
    }

    pub(super) fn is_plain(&self) -> bool {
        self.payload.is_plain() && !self.degraded && self.source.is_none()
    }

    /// The output; an empty digest says that there is none.
    pub(super) fn into_output(self, digest: &[u8], data: Cow<'_, [u8]>) -> Result<Option<Output>> {
        if digest.is_empty() {
            return Ok(None);
        }
        Ok(Some(Output {
            payload: self.payload.into_payload("output", digest, data)?,
            degraded: self.degraded,
            source: self.source.map(Cow::into_owned),
        }))
    }
}

/// The columns of an optional payload: digest and bytes, both empty where there is none.
pub(super) fn columns(payload: Option<&Payload>) -> (Cow<'_, [u8]>, Cow<'_, [u8]>) {
    payload.map_or((Cow::Borrowed(&[]), Cow::Borrowed(&[])), |payload| {
        (Cow::Borrowed(&payload.digest.0[..]), Cow::Borrowed(&payload.data[..]))
    })
}
