//! Payloads: kept byte for byte as received, with a digest that ignores only cosmetics.

use crate::{Digest, Result, canonical, limits};
use bytes::Bytes;

/// JSON's content type; the default.
pub const JSON: &str = "application/json";

/// An input or output as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Media type of the bytes.
    pub content_type: String,
    /// The bytes; empty when omitted.
    pub data: Bytes,
    /// For JSON: SHA-256 of the sorted-key form. Else of the bytes.
    pub digest: Digest,
    /// Set when the bytes were over the limit and only digest and size are kept.
    pub omitted: bool,
    /// Size of the bytes, kept ones or omitted ones.
    pub size_bytes: u64,
}

impl Payload {
    /// A JSON payload. The text is checked and kept as it is.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] when it is not JSON or nested too deeply, naming `field`.
    pub fn json(field: &str, text: impl Into<Bytes>) -> Result<Self> {
        let data = text.into();
        let digest = canonical::digest(field, &data)?;
        let size_bytes = data.len() as u64;
        Ok(Self { content_type: JSON.into(), data, digest, omitted: false, size_bytes })
    }

    /// The JSON value `null`, for steps without input or output.
    pub fn null() -> Self {
        Self {
            content_type: JSON.into(),
            data: Bytes::from_static(b"null"),
            digest: Digest::of_bytes(b"null"),
            omitted: false,
            size_bytes: 4,
        }
    }

    /// A payload of another media type.
    pub fn opaque(content_type: &str, data: impl Into<Bytes>) -> Self {
        let data = data.into();
        let digest = Digest::of_bytes(&data);
        let size_bytes = data.len() as u64;
        Self { content_type: content_type.into(), data, digest, omitted: false, size_bytes }
    }

    /// The same payload, without its bytes when they are over the limit. An outcome is never
    /// refused for its size.
    #[must_use]
    pub fn omit_if_large(mut self) -> Self {
        self.omit_large();
        self
    }

    pub(crate) fn omit_large(&mut self) {
        if self.data.len() > limits::PAYLOAD_BYTES {
            self.data = Bytes::new();
            self.omitted = true;
        }
    }

    /// Whether the bytes are JSON.
    pub fn is_json(&self) -> bool {
        self.content_type == JSON || self.content_type.starts_with("application/json;")
    }
}

/// What a step or a run produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The bytes.
    pub payload: Payload,
    /// Whether it is a degraded result.
    pub degraded: bool,
    /// Where it came from when not from the step's own tool, for example `resolved`.
    pub source: Option<String>,
}

impl Output {
    /// An ordinary output.
    pub fn of(payload: Payload) -> Self {
        Self { payload, degraded: false, source: None }
    }
}
