//! Every error of the surface as `application/problem+json` (RFC 9457), with a code that never changes.

mod causes;
mod code;

pub use code::{Code, Row, reference_text};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The media type of every refusal.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal: a code, what happened here, and when to come back.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    code: Code,
    detail: String,
    retry_after_s: Option<u32>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of a known kind; `detail` says what happened this time.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after_s = code.row().retry_after_s;
        Self { code, detail: detail.into(), retry_after_s, members: Map::new() }
    }

    /// Adds a member for programs. Whatever has no JSON form is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.members.insert(name.to_owned(), value);
        }
        self
    }

    /// The same problem of a part of the request.
    #[must_use]
    pub(crate) fn within(self, part: &str) -> Self {
        let detail = format!("{part}: {}", self.detail);
        let field = self.members.get("field").and_then(|field| field.as_str());
        let field = field.map_or_else(|| part.to_owned(), |field| format!("{part}.{field}"));
        Self { detail, ..self }.with("field", field)
    }

    /// The kind of problem.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened this time.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let row = self.code.row();
        let mut members = self.members.clone();
        for (name, value) in [
            ("type", json!(format!("urn:spine:problem:{}", row.name))),
            ("title", json!(row.title)),
            ("status", json!(row.status)),
            ("code", json!(row.number)),
            ("name", json!(row.name)),
            ("detail", json!(self.detail)),
            ("remedy", json!(row.remedy)),
        ] {
            members.insert(name.to_owned(), value);
        }
        Value::Object(members)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let row = self.code.row();
        crate::metrics::observe_problem(row.name);
        if row.status >= 500 {
            tracing::warn!(code = row.number, name = row.name, detail = %self.detail, "refused");
        }
        let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = self.to_json().to_string();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
