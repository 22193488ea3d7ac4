//! DESIGN 5 as a table: every status and every effect class, as values and over a socket.

use super::{
    super::classify::{classify, failure},
    EFFECTS, call, completed, failed,
    server::{Server, answer},
    tools,
};
use crate::tools::CallEnd;
use hyper::StatusCode;
use spine_schemas::{Effect, ErrorClass, limits::MESSAGE_BYTES};

use ErrorClass::{RateLimited, Terminal, Transient, UnknownOutcome};

/// Status, what it means for `pure` and `idempotent`, what it means for `probe` and `at_most_once`;
/// `None` is a success. Without `Retry-After`.
const TABLE: &[(u16, Option<ErrorClass>, Option<ErrorClass>)] = &[
    (200, None, None),
    (201, None, None),
    (202, None, None),
    (204, None, None),
    (226, None, None),
    (300, Some(Terminal), Some(UnknownOutcome)),
    (301, Some(Terminal), Some(UnknownOutcome)),
    (302, Some(Terminal), Some(UnknownOutcome)),
    (303, Some(Terminal), Some(UnknownOutcome)),
    (304, Some(Terminal), Some(UnknownOutcome)),
    (307, Some(Terminal), Some(UnknownOutcome)),
    (308, Some(Terminal), Some(UnknownOutcome)),
    (400, Some(Terminal), Some(Terminal)),
    (401, Some(Terminal), Some(Terminal)),
    (402, Some(Terminal), Some(UnknownOutcome)),
    (403, Some(Terminal), Some(Terminal)),
    (404, Some(Terminal), Some(Terminal)),
    (405, Some(Terminal), Some(Terminal)),
    (406, Some(Terminal), Some(UnknownOutcome)),
    (407, Some(Terminal), Some(UnknownOutcome)),
    (408, Some(Transient), Some(UnknownOutcome)),
    (409, Some(Transient), Some(UnknownOutcome)),
    (410, Some(Terminal), Some(Terminal)),
    (411, Some(Terminal), Some(Terminal)),
    (412, Some(Terminal), Some(UnknownOutcome)),
    (413, Some(Terminal), Some(Terminal)),
    (414, Some(Terminal), Some(Terminal)),
    (415, Some(Terminal), Some(Terminal)),
    (416, Some(Terminal), Some(UnknownOutcome)),
    (417, Some(Terminal), Some(UnknownOutcome)),
    (418, Some(Terminal), Some(UnknownOutcome)),
    (421, Some(Terminal), Some(UnknownOutcome)),
    (422, Some(Terminal), Some(Terminal)),
    (423, Some(Transient), Some(UnknownOutcome)),
    (424, Some(Terminal), Some(UnknownOutcome)),
    (425, Some(Transient), Some(UnknownOutcome)),
    (426, Some(Terminal), Some(UnknownOutcome)),
    (428, Some(Terminal), Some(UnknownOutcome)),
    (429, Some(RateLimited), Some(RateLimited)),
    (431, Some(Terminal), Some(Terminal)),
    (451, Some(Terminal), Some(UnknownOutcome)),
    (499, Some(Terminal), Some(UnknownOutcome)),
    (500, Some(Transient), Some(UnknownOutcome)),
    (501, Some(Transient), Some(UnknownOutcome)),
    (502, Some(Transient), Some(UnknownOutcome)),
    (503, Some(Transient), Some(UnknownOutcome)),
    (504, Some(Transient), Some(UnknownOutcome)),
    (507, Some(Transient), Some(UnknownOutcome)),
    (529, Some(Transient), Some(UnknownOutcome)),
    (599, Some(Transient), Some(UnknownOutcome)),
    (600, Some(Transient), Some(UnknownOutcome)),
    (999, Some(Transient), Some(UnknownOutcome)),
];

fn expected(
    effect: Effect,
    row: &(u16, Option<ErrorClass>, Option<ErrorClass>),
) -> Option<ErrorClass> {
    if effect.is_careful() { row.2 } else { row.1 }
}

#[test]
fn every_status_and_effect_has_its_class() {
    for row in TABLE {
        for effect in EFFECTS {
            let class = classify(effect, &[], row.0, None);
            assert_eq!(class, expected(effect, row), "{} for {effect:?}", row.0);
        }
    }
}

#[test]
fn a_status_outside_the_table_is_never_a_success_and_never_safe_for_the_careful() {
    for status in (0..=u16::MAX).filter(|status| TABLE.iter().all(|row| row.0 != *status)) {
        let success = (200..300).contains(&status);
        for effect in EFFECTS {
            let class = classify(effect, &[], status, Some(1));
            let careful = Some(UnknownOutcome).filter(|_| !success);
            assert!(!effect.is_careful() || class == careful, "{status} for {effect:?}");
            assert_eq!(class.is_none(), success, "{status} for {effect:?}");
        }
    }
}

#[test]
fn a_503_with_retry_after_is_a_pause_for_the_careful_and_transient_for_the_others() {
    assert_eq!(classify(Effect::AtMostOnce, &[], 503, Some(0)), Some(RateLimited));
    assert_eq!(classify(Effect::Probe, &[], 503, Some(7000)), Some(RateLimited));
    assert_eq!(classify(Effect::Idempotent, &[], 503, Some(7000)), Some(Transient));
    assert_eq!(classify(Effect::Pure, &[], 503, Some(7000)), Some(Transient));
    assert_eq!(classify(Effect::AtMostOnce, &[], 502, Some(7000)), Some(UnknownOutcome));
}

#[test]
fn statuses_that_the_tool_lists_count_as_not_done_for_the_careful() {
    for effect in [Effect::Probe, Effect::AtMostOnce] {
        assert_eq!(classify(effect, &[409, 500], 500, None), Some(Transient));
        assert_eq!(classify(effect, &[409, 500], 409, None), Some(Transient));
        assert_eq!(classify(effect, &[412], 412, None), Some(Terminal));
        assert_eq!(classify(effect, &[302], 302, None), Some(Terminal));
        assert_eq!(classify(effect, &[202], 202, None), Some(Terminal));
        assert_eq!(classify(effect, &[409], 500, None), Some(UnknownOutcome));
        assert_eq!(classify(effect, &[429], 429, None), Some(RateLimited));
    }
    assert_eq!(classify(Effect::Idempotent, &[202], 202, None), None);
    assert_eq!(classify(Effect::Idempotent, &[412], 412, None), Some(Terminal));
}

#[tokio::test]
async fn the_table_holds_over_a_socket() {
    for row in TABLE.iter().filter(|row| row.0 != 204 && row.0 != 304) {
        let reason = StatusCode::from_u16(row.0).unwrap().canonical_reason().unwrap_or("Other");
        let server = Server::answering(answer(&format!("{} {reason}", row.0), "", "7")).await;
        let tools = tools();
        for effect in EFFECTS {
            let end = super::super::Tools::call(&tools, call(&server.url("/t"), effect)).await;
            match expected(effect, row) {
                None => assert_eq!(completed(end).payload.data, "7"),
                Some(class) => {
                    let error = failed(end);
                    assert_eq!((error.class, error.code), (class, format!("http_{}", row.0)));
                }
            }
        }
        assert_eq!(server.seen().len(), EFFECTS.len(), "{}: one request a call", row.0);
    }
}

#[test]
fn messages_hold_status_and_the_beginning_of_the_body_within_the_limit() {
    let end = failure(Transient, StatusCode::SERVICE_UNAVAILABLE, Some(5), b" down\nfor\0now ");
    let error = failed(end);
    assert_eq!(error.message, "503 Service Unavailable: down for now");
    assert_eq!(error.retry_after_ms, Some(5));

    let long = "é".repeat(5000);
    let end = failure(Terminal, StatusCode::BAD_REQUEST, Some(5), long.as_bytes());
    let CallEnd::Failed(error) = end else { panic!("{end:?}") };
    assert_eq!(error.message, format!("400 Bad Request: {}…", "é".repeat(200)));
    assert_eq!(error.retry_after_ms, None, "a pause helps no terminal error");

    let cut = super::super::classify::cut("ö".repeat(MESSAGE_BYTES));
    assert!(cut.len() <= MESSAGE_BYTES && cut.ends_with('…'));

    let end = failure(Terminal, StatusCode::FOUND, None, b"");
    assert!(failed(end).message.contains("redirects are not followed; call the target itself"));
}
