//! Reading an answer: the body becomes the step's output, a header may say what was used.
//!
//! A result is never refused. What is over the payload limit is hashed as it passes and not kept; what
//! calls itself JSON and is none is recorded as plain bytes, since the effect has happened.

use super::{
    connection::{Connection, Silence},
    limits::{EXCERPT_BYTES, RESULT_BYTES},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Incoming},
    header::{CONTENT_TYPE, HeaderMap},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use spine_schemas::{Digest, Payload, Usage, limits, payload::JSON};
use tokio::time::{Instant, timeout_at};

/// The header in which a tool may state what it used: a JSON object of [`Usage`]'s fields.
const USAGE: &str = "spine-usage";
/// The type of bytes of which nothing is known.
const BYTES: &str = "application/octet-stream";

/// A result as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Within the limit.
    Kept(Bytes),
    /// Over it: only this is left of it.
    Omitted {
        /// Of the bytes that were read.
        digest: Digest,
        /// What was read, or announced if that is more. No more than an event can state.
        size_bytes: u64,
    },
}

/// Bytes that are kept until they are too many.
struct Sink {
    kept: Vec<u8>,
    /// Runs once the bytes are over the limit.
    hash: Option<Sha256>,
    read_bytes: u64,
}

impl Sink {
    fn take(&mut self, data: &[u8]) {
        self.read_bytes += data.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(data);
            return;
        }
        self.kept.extend_from_slice(data);
        if self.kept.len() > limits::PAYLOAD_BYTES {
            self.hash = Some(Sha256::new_with_prefix(std::mem::take(&mut self.kept)));
        }
    }

    fn finish(self, announced_bytes: u64) -> Received {
        match self.hash {
            None => Received::Kept(self.kept.into()),
            Some(hash) => Received::Omitted {
                digest: Digest(hash.finalize().into()),
                size_bytes: self.read_bytes.max(announced_bytes).min(i64::MAX.unsigned_abs()),
            },
        }
    }
}

/// Reads a result to its end, or to [`RESULT_BYTES`]: one that goes on without end is a success too.
///
/// # Errors
/// When the body breaks off or is not there by the deadline.
pub(super) async fn read_result(
    connection: &mut Connection,
    mut body: Incoming,
    deadline: Instant,
) -> Result<Received, Silence> {
    let announced_bytes = body.size_hint().lower();
    let mut sink = Sink { kept: Vec::new(), hash: None, read_bytes: 0 };
    while sink.read_bytes < RESULT_BYTES {
        let frame = connection.along(body.frame());
        match timeout_at(deadline, frame).await.map_err(|_| Silence::TimedOut)? {
            Some(Ok(frame)) => frame.data_ref().map_or((), |data| sink.take(data)),
            Some(Err(error)) => return Err(Silence::of(&error)),
            None => break,
        }
    }
    Ok(sink.finish(announced_bytes))
}

/// Reads the beginning of a failing answer's body. Its status has decided, so a body that is broken or
/// slow is only a shorter message.
pub(super) async fn read_excerpt(
    connection: &mut Connection,
    mut body: Incoming,
    until: Instant,
) -> Vec<u8> {
    let mut excerpt = Vec::new();
    while excerpt.len() < EXCERPT_BYTES {
        let frame = connection.along(body.frame());
        match timeout_at(until, frame).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                excerpt.extend_from_slice(&data[..data.len().min(EXCERPT_BYTES)]);
            }
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    excerpt
}

/// The output that a result is. Without a type it is JSON if it reads as JSON.
pub(super) fn payload(headers: &HeaderMap, received: Received) -> Payload {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let declared = declared.filter(|text| !text.is_empty() && text.len() <= limits::NAME_BYTES);
    let may_be_json = declared.is_none_or(is_json);
    match received {
        Received::Kept(data) if data.is_empty() => Payload::null(),
        Received::Kept(data) if may_be_json => Payload::json("output", data.clone())
            .unwrap_or_else(|error| {
                tracing::debug!(%error, "a result is not JSON and is kept as bytes");
                Payload::opaque(BYTES, data)
            }),
        Received::Kept(data) => Payload::opaque(declared.unwrap_or(BYTES), data),
        Received::Omitted { digest, size_bytes } => Payload {
            content_type: declared.unwrap_or(BYTES).to_owned(),
            data: Bytes::new(),
            digest,
            omitted: true,
            size_bytes,
        },
    }
}

fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(JSON)
}

/// [`Usage`] as tools write it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StatedUsage {
    provider: Option<String>,
    model: Option<String>,
    input_uncached: u64,
    cache_read: u64,
    cache_write: u64,
    output_text: u64,
    output_reasoning: u64,
    cost_micros: u64,
    price_version: Option<String>,
}

impl StatedUsage {
    /// Whether an event can hold it. An outcome must never be refused for what a tool says of itself.
    fn is_within_limits(&self) -> bool {
        let texts = [&self.provider, &self.model, &self.price_version];
        let numbers = [
            self.input_uncached,
            self.cache_read,
            self.cache_write,
            self.output_text,
            self.output_reasoning,
            self.cost_micros,
        ];
        texts.into_iter().flatten().all(|text| text.len() <= limits::NAME_BYTES)
            && numbers.into_iter().all(|number| i64::try_from(number).is_ok())
    }
}

/// What the tool says that it used. A malformed statement is ignored with a warning.
pub(super) fn usage(headers: &HeaderMap) -> Option<Usage> {
    let stated = headers.get(USAGE)?;
    let read = serde_json::from_slice::<StatedUsage>(stated.as_bytes()).ok();
    let Some(usage) = read.filter(StatedUsage::is_within_limits) else {
        tracing::warn!(header = USAGE, "a tool states its usage in a form that cannot be read");
        return None;
    };
    Some(Usage {
        provider: usage.provider,
        model: usage.model,
        input_uncached: usage.input_uncached,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        output_text: usage.output_text,
        output_reasoning: usage.output_reasoning,
        cost_micros: usage.cost_micros,
        price_version: usage.price_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absurd_announcement_does_not_cost_the_outcome() {
        let mut sink = Sink { kept: Vec::new(), hash: None, read_bytes: 0 };
        sink.take(&vec![b'x'; limits::PAYLOAD_BYTES + 1]);
        let payload = payload(&HeaderMap::new(), sink.finish(u64::MAX));
        assert!(payload.omitted);
        let size = i64::try_from(payload.size_bytes);
        assert_eq!(size, Ok(i64::MAX), "an event states sizes as signed numbers");
    }
}
