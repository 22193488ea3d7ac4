//! How long does the remote ask us to wait? `Retry-After` as seconds or as a date.

use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use spine_schemas::{limits::DEADLINE_MS, time::Micros};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads `Retry-After`. A date counts from the answer's own `Date`, so that a difference between the
/// clocks cancels out, and from `now` where there is none. What is malformed counts as absent: no
/// promise of the remote may rest on it.
pub(super) fn retry_after_ms(headers: &HeaderMap, now: Micros) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(seconds.saturating_mul(1000).min(DEADLINE_MS));
    }
    let due = httpdate::parse_http_date(text).ok()?;
    let answered = date(headers, DATE).unwrap_or_else(|| system_time(now));
    let wait = due.duration_since(answered).unwrap_or(Duration::ZERO);
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).min(DEADLINE_MS))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn system_time(at: Micros) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(at.0).unwrap_or(0))
}
