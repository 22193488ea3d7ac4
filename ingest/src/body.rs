//! Request bodies: media type, size, pace, and JSON that names the field that is wrong.

use crate::{Code, Problem, in_flight::InFlight, limits};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

/// A whole body and its place among the bytes that are held.
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    pub(crate) place: OwnedSemaphorePermit,
}

/// The media type without its parameters, in lower case; empty if there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Takes the body of a JSON request.
pub(crate) async fn take_json(
    in_flight: &InFlight,
    request: Request,
    limit: usize,
) -> Result<Taken, Problem> {
    match media_type(request.headers()).as_str() {
        "application/json" => take(in_flight, request, limit).await,
        other => Err(Problem::new(Code::MediaType, format!("'{other}' is not application/json"))),
    }
}

/// Takes a body of at most `limit` bytes that does not pause for long.
pub(crate) async fn take(
    in_flight: &InFlight,
    request: Request,
    limit: usize,
) -> Result<Taken, Problem> {
    if let Some(coding) = request.headers().get(header::CONTENT_ENCODING)
        && coding.as_bytes() != b"identity"
    {
        return Err(Problem::new(Code::MediaType, "compressed bodies are not taken"));
    }
    let stated = stated_bytes(request.headers());
    if stated.is_some_and(|bytes| bytes > limit) {
        return Err(too_large(limit));
    }
    let stated = stated.unwrap_or(0);
    // What the caller announces is reserved before any of it is read.
    let mut place = in_flight.take_body_bytes(stated)?;
    let mut bytes = BytesMut::with_capacity(stated);
    let mut body = request.into_body();
    while let Some(piece) = next_piece(&mut body).await? {
        let size = bytes.len() + piece.len();
        if size > limit {
            return Err(too_large(limit));
        }
        if size > place.num_permits() {
            place.merge(in_flight.take_body_bytes(size - place.num_permits())?);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Taken { bytes: bytes.freeze(), place })
}

async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout(limits::BODY_IDLE_TIMEOUT, body.frame()).await.map_err(|_| {
            let seconds = limits::BODY_IDLE_TIMEOUT.as_secs();
            Problem::new(Code::BodySlow, format!("nothing came for {seconds} seconds"))
        })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|error| Problem::new(Code::BodyBroken, error.to_string()))?;
        // Trailers are of no use here.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

fn stated_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the body is over the limit of {limit} bytes"))
        .with("limit_bytes", limit)
}

/// Reads a request from JSON. Unknown fields are refused by name, if its type says so.
pub(crate) fn read_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    // Keeping the path of the field that is being read costs as much as reading it.
    serde_json::from_slice(text).or_else(|_| read_json_by_path(text))
}

/// The same, knowing which field is wrong.
fn read_json_by_path<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() { bad_field(&field, &inner) } else { bad_json(&inner) }
    })?;
    json.end().map_err(|error| bad_json(&error))?;
    Ok(value)
}

fn bad_json(error: &serde_json::Error) -> Problem {
    Problem::new(Code::BadJson, error.to_string())
}

fn bad_field(field: &str, error: &serde_json::Error) -> Problem {
    if field == "." {
        return Problem::new(Code::InvalidField, error.to_string());
    }
    Problem::new(Code::InvalidField, format!("{field}: {error}")).with("field", field)
}

/// The reason for what can be taken back, or for what ends nothing but a run.
pub(crate) fn optional_reason(given: Option<&str>) -> String {
    let given = given.map(str::trim).filter(|reason| !reason.is_empty());
    given.unwrap_or("no reason was given").to_owned()
}

/// The reason that must be given for what cannot be seen from the rest of the history.
pub(crate) fn reason(given: Option<&str>) -> Result<String, Problem> {
    match given.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => Ok(reason.to_owned()),
        None => {
            Err(Problem::new(Code::ReasonMissing, "reason: is missing").with("field", "reason"))
        }
    }
}
