//! From a 2xx body to the step's output.

use super::{
    super::Tools,
    BRIEF, call, completed, failed,
    server::{Server, answer, ok},
    tools,
};
use crate::tools::CallEnd;
use spine_schemas::{Digest, Effect, ErrorClass, Output, Payload, Usage, limits};

async fn output_of(answer: impl Into<Vec<u8>>) -> Output {
    let server = Server::answering(answer).await;
    completed(tools().call(call(&server.url("/"), Effect::AtMostOnce)).await)
}

async fn usage_of(header: &str) -> Option<Usage> {
    let head = answer("200 OK", &format!("Spine-Usage: {header}\r\n"), "1");
    let server = Server::answering(head).await;
    match tools().call(call(&server.url("/"), Effect::Pure)).await {
        CallEnd::Completed { usage, .. } => usage,
        CallEnd::Failed(error) | CallEnd::NeverSent(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn json_is_kept_byte_for_byte() {
    let body = r#"{ "b":1.0, "a":12345678901234567890 }"#;
    for kind in ["application/json", "Application/JSON", "application/json; charset=utf-8"] {
        let head = format!("Content-Type: {kind}\r\n");
        let output = output_of(answer("200 OK", &head, body)).await;
        assert_eq!(output, Output::of(Payload::json("output", body).unwrap()));
    }
}

#[tokio::test]
async fn a_body_without_a_type_is_json_if_it_reads_as_json() {
    let output = output_of(answer("200 OK", "", "[1]")).await;
    assert_eq!(output.payload, Payload::json("output", "[1]").unwrap());
    let output = output_of(answer("200 OK", "", "hello")).await;
    assert_eq!(output.payload, Payload::opaque("application/octet-stream", "hello"));
}

#[tokio::test]
async fn an_empty_body_is_null() {
    for head in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        assert_eq!(output_of(head).await.payload, Payload::null());
    }
}

#[tokio::test]
async fn other_types_are_kept_as_bytes_with_their_type() {
    let output = output_of(answer("200 OK", "Content-Type: text/csv\r\n", "a,b")).await;
    assert_eq!(output.payload, Payload::opaque("text/csv", "a,b"));
}

#[tokio::test]
async fn what_calls_itself_json_and_is_none_is_a_result_all_the_same() {
    let deep = "[".repeat(limits::JSON_DEPTH + 1) + &"]".repeat(limits::JSON_DEPTH + 1);
    for body in [r#"{"ok":"#, "\u{feff}1", r#"{"a":1,"a":2}"#, &deep] {
        let output = output_of(ok(body)).await;
        assert_eq!(output.payload, Payload::opaque("application/octet-stream", body.to_owned()));
    }
}

#[tokio::test]
async fn a_content_type_that_no_event_can_hold_is_dropped() {
    let head = format!("Content-Type: {}\r\n", "x".repeat(limits::NAME_BYTES + 1));
    let output = output_of(answer("200 OK", &head, "hello")).await;
    assert_eq!(output.payload.content_type, "application/octet-stream");
}

#[tokio::test]
async fn chunks_are_put_together() {
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n2;x=y\r\n2]\r\n0\r\nTrailer: t\r\n\r\n";
    assert_eq!(output_of(chunked).await.payload.data, "[1,2]");
}

#[tokio::test]
async fn a_result_at_the_limit_is_kept_and_one_above_it_is_omitted_with_its_digest() {
    let kept = "x".repeat(limits::PAYLOAD_BYTES);
    let output = output_of(answer("200 OK", "Content-Type: text/plain\r\n", &kept)).await;
    assert_eq!(output.payload, Payload::opaque("text/plain", kept.clone()));

    let large = kept + "x";
    let output = output_of(answer("200 OK", "Content-Type: text/plain\r\n", &large)).await;
    assert_eq!(output.payload, Payload::opaque("text/plain", large.clone()).omit_if_large());
    assert!(output.payload.omitted);
    assert_eq!(output.payload.digest, Digest::of_bytes(large.as_bytes()));
}

#[tokio::test]
async fn a_result_without_end_is_a_success_of_at_least_that_size() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.write(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let chunk = vec![b'x'; 1024 * 1024];
        for _ in 0..80 {
            peer.write(&chunk).await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    let output = completed(tools().call(call(&server.url("/"), Effect::AtMostOnce)).await);
    assert!(output.payload.omitted);
    assert!((64 << 20..80 << 20).contains(&output.payload.size_bytes));
}

#[tokio::test]
async fn an_announced_size_counts_where_not_all_is_read() {
    let server = Server::start(|mut peer| async move {
        peer.request().await;
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n").await;
        peer.write(&vec![b'x'; 99_000_000]).await;
    })
    .await;
    let output = completed(tools().call(call(&server.url("/"), Effect::Pure)).await);
    assert_eq!(output.payload.size_bytes, 99_000_000);
}

#[tokio::test]
async fn a_large_result_that_breaks_off_is_silence() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n".to_owned();
    let server = Server::closing(head.clone() + &"x".repeat(500_000)).await;
    let error = failed(tools().call(call(&server.url("/"), Effect::AtMostOnce)).await);
    assert_eq!((error.class, &*error.code), (ErrorClass::UnknownOutcome, "dropped"));

    let server = Server::stalling(head + &"x".repeat(500_000)).await;
    let mut call = call(&server.url("/"), Effect::Idempotent);
    call.timeout = BRIEF;
    assert_eq!(failed(tools().call(call).await).class, ErrorClass::Timeout);
}

#[tokio::test]
async fn usage_is_read_from_its_header() {
    let stated = r#"{"provider":"p","model":"m","input_uncached":812,"cost_micros":4100}"#;
    let expected = Usage {
        provider: Some("p".into()),
        model: Some("m".into()),
        input_uncached: 812,
        cost_micros: 4100,
        ..Usage::default()
    };
    assert_eq!(usage_of(stated).await, Some(expected));
}

#[tokio::test]
async fn usage_that_is_malformed_or_over_a_limit_is_ignored() {
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(limits::NAME_BYTES + 1));
    let huge = format!(r#"{{"cost_micros":{}}}"#, u64::MAX);
    for stated in ["{", "7", r#"{"cost_micros":-1}"#, r#"{"cost_micros":1.5}"#, &long, &huge] {
        assert_eq!(usage_of(stated).await, None, "{stated}");
    }
}
