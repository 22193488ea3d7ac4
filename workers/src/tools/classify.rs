//! What does an answer, or its absence, mean for the step? Pure: status and effect class in, error
//! class out, by the letter of DESIGN 5.
//!
//! The careful classes count an attempt as not done only where the remote says so in a way that leaves
//! no doubt. Whatever else comes, or does not come, is an unknown outcome.

use super::{CallEnd, connection::Silence, limits::EXCERPT_CHARS};
use hyper::StatusCode;
use spine_schemas::{Effect, ErrorClass, StepError, limits::MESSAGE_BYTES};
use std::time::Duration;

/// The error class that a status means for an effect class; `None` where the tool has succeeded.
///
/// `not_applied` holds the statuses by which the tool says that nothing was done; only the careful
/// classes need them.
pub(super) fn classify(
    effect: Effect,
    not_applied: &[u16],
    status: u16,
    retry_after_ms: Option<u64>,
) -> Option<ErrorClass> {
    if !effect.is_careful() {
        return repeatable(status);
    }
    match status {
        429 => Some(ErrorClass::RateLimited),
        503 if retry_after_ms.is_some() => Some(ErrorClass::RateLimited),
        400 | 401 | 403 | 404 | 405 | 410 | 411 | 413 | 414 | 415 | 422 | 431 => {
            Some(ErrorClass::Terminal)
        }
        // The tool's own word that nothing was done: then repeating is as safe as for the other
        // classes. A success that was not applied is no success, and nothing says that time helps.
        _ if not_applied.contains(&status) => {
            Some(repeatable(status).unwrap_or(ErrorClass::Terminal))
        }
        200..=299 => None,
        _ => Some(ErrorClass::UnknownOutcome),
    }
}

/// The same where repeating is safe. A status above 599 counts as a server's error (RFC 9110, 15).
fn repeatable(status: u16) -> Option<ErrorClass> {
    match status {
        200..=299 => None,
        429 => Some(ErrorClass::RateLimited),
        408 | 409 | 423 | 425 | 500.. => Some(ErrorClass::Transient),
        0..=199 | 300..=499 => Some(ErrorClass::Terminal),
    }
}

/// The end of an attempt whose answer was a failure.
pub(super) fn failure(
    class: ErrorClass,
    status: StatusCode,
    retry_after_ms: Option<u64>,
    body: &[u8],
) -> CallEnd {
    let mut message = status.as_u16().to_string();
    if let Some(reason) = status.canonical_reason() {
        message = format!("{message} {reason}");
    }
    if status.is_redirection() {
        message.push_str(" (redirects are not followed; call the target itself)");
    }
    let excerpt = excerpt(body);
    if !excerpt.is_empty() {
        message = format!("{message}: {excerpt}");
    }
    let mut error = StepError::new(class, format!("http_{}", status.as_u16()), cut(message));
    if is_tried_again(class) {
        error.retry_after_ms = retry_after_ms;
    }
    CallEnd::Failed(error)
}

/// The end of an attempt that was sent and has no whole answer.
pub(super) fn silence(effect: Effect, silence: &Silence, timeout: Duration) -> CallEnd {
    let (class, code, message) = match silence {
        Silence::TimedOut => {
            (ErrorClass::Timeout, "timeout", format!("no answer within {} ms", timeout.as_millis()))
        }
        Silence::Dropped(why) => (
            ErrorClass::Transient,
            "dropped",
            format!("the connection ended before the answer did: {why}"),
        ),
        Silence::Malformed(why) => {
            (ErrorClass::Transient, "bad_answer", format!("the answer is not HTTP/1.1: {why}"))
        }
    };
    let class = if effect.is_careful() { ErrorClass::UnknownOutcome } else { class };
    CallEnd::Failed(StepError::new(class, code, cut(message)))
}

/// Whether a wish for a pause means anything.
fn is_tried_again(class: ErrorClass) -> bool {
    match class {
        ErrorClass::Transient | ErrorClass::RateLimited => true,
        ErrorClass::Timeout
        | ErrorClass::Lost
        | ErrorClass::Terminal
        | ErrorClass::Contract
        | ErrorClass::Policy
        | ErrorClass::Budget
        | ErrorClass::UnknownOutcome
        | ErrorClass::NonDeterminism
        | ErrorClass::TooLarge
        | ErrorClass::Cancelled => false,
    }
}

/// The beginning of a body on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut characters = text.trim().chars();
    let shown: String = characters
        .by_ref()
        .take(EXCERPT_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if characters.next().is_some() { format!("{shown}…") } else { shown }
}

/// A message within its limit.
pub(super) fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES - '…'.len_utf8()));
        message.push('…');
    }
    message
}
