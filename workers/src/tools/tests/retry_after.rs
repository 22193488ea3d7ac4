//! The forms of `Retry-After`, as values and over a socket.

use super::{
    super::{Tools, retry_after::retry_after_ms},
    call, failed,
    server::{Server, answer},
    tools,
};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use spine_schemas::{Effect, ErrorClass, limits::DEADLINE_MS, time::Micros};

const DUE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn read(headers: &[(&'static str, &str)], now: &str) -> Option<u64> {
    let pair = |&(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    let headers: HeaderMap = headers.iter().map(pair).collect();
    retry_after_ms(&headers, Micros::parse(now).unwrap())
}

#[test]
fn seconds_and_dates_are_read_and_what_is_malformed_is_absent() {
    let now = "1994-11-06T08:49:07.500Z";
    for (text, expected) in [
        ("0", Some(0)),
        ("7", Some(7000)),
        (" 120 ", Some(120_000)),
        ("99999999999999999999999999", Some(DEADLINE_MS)),
        (DUE, Some(29_500)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(29_500)),
        ("Sun Nov  6 08:49:37 1994", Some(29_500)),
        ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DEADLINE_MS)),
        ("", None),
        ("-1", None),
        ("+1", None),
        ("1.5", None),
        ("7s", None),
        ("soon", None),
        ("Sun, 06 Nov 1994", None),
    ] {
        assert_eq!(read(&[("retry-after", text)], now), expected, "{text}");
    }
    assert_eq!(read(&[], now), None);
}

#[test]
fn a_date_counts_from_the_clock_that_wrote_it() {
    let (now, date) = ("2026-01-01T00:00:00Z", ("date", "Sun, 06 Nov 1994 08:49:27 GMT"));
    assert_eq!(read(&[("retry-after", DUE), date], now), Some(10_000));
    assert_eq!(read(&[("retry-after", DUE), ("date", "today")], now), Some(0));
    assert_eq!(read(&[("retry-after", "7"), date], now), Some(7000));
}

#[tokio::test]
async fn the_wish_reaches_the_error_of_classes_that_are_tried_again() {
    for (status, headers, effect, class, wish) in [
        ("429 Too Many", "Retry-After: 3\r\n", Effect::Pure, ErrorClass::RateLimited, Some(3000)),
        ("429 Too Many", "", Effect::AtMostOnce, ErrorClass::RateLimited, None),
        ("503 Busy", "Retry-After: 2\r\n", Effect::Probe, ErrorClass::RateLimited, Some(2000)),
        ("503 Busy", "Retry-After: soon\r\n", Effect::Probe, ErrorClass::UnknownOutcome, None),
        ("503 Busy", "Retry-After: 2\r\n", Effect::Idempotent, ErrorClass::Transient, Some(2000)),
        ("404 None", "Retry-After: 2\r\n", Effect::Idempotent, ErrorClass::Terminal, None),
        ("502 Bad", "Retry-After: 2\r\n", Effect::Probe, ErrorClass::UnknownOutcome, None),
    ] {
        let server = Server::answering(answer(status, headers, "")).await;
        let error = failed(tools().call(call(&server.url("/"), effect)).await);
        assert_eq!((error.class, error.retry_after_ms), (class, wish), "{status} {headers}");
    }
}
