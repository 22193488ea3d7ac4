//! What arrives at the tool.

use super::{
    super::Tools,
    call, completed,
    server::{Seen, Server, ok},
    tools,
};
use crate::tools::ToolCall;
use spine_schemas::{Effect, RunKey, StepKey, Trace};

async fn seen(change: impl Fn(&mut ToolCall)) -> Seen {
    let server = Server::answering(ok("1")).await;
    let mut call = call(&server.url("/refund?dry=0"), Effect::Idempotent);
    change(&mut call);
    completed(tools().call(call).await);
    server.seen().remove(0)
}

#[tokio::test]
async fn a_request_says_whose_it_is() {
    let server = Server::answering(ok("1")).await;
    let mut call = call(&server.url("/refund?dry=0"), Effect::Idempotent);
    call.step = StepKey::new("branch/2", "refund", 3).unwrap();
    call.attempt = 4;
    call.trace = Some(Trace { trace_id: "ab".repeat(16), span_id: "cd".repeat(8) });
    completed(tools().call(call.clone()).await);
    let seen = server.seen().remove(0);
    assert_eq!(seen.line, "POST /refund?dry=0 HTTP/1.1");
    assert_eq!(seen.body, call.body);
    let expected = [
        ("accept", "application/json, */*;q=0.5".to_owned()),
        ("content-length", "14".to_owned()),
        ("content-type", "application/json".to_owned()),
        ("host", server.address.clone()),
        ("idempotency-key", call.idempotency_key.to_string()),
        ("spine-attempt", "4".to_owned()),
        ("spine-run", "refund-17".to_owned()),
        ("spine-step", "branch/2/refund#3".to_owned()),
        ("spine-tenant", call.run.tenant.to_string()),
        ("traceparent", format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8))),
        ("user-agent", format!("spine/{}", env!("CARGO_PKG_VERSION"))),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(seen.headers.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn ids_beyond_plain_text_are_percent_encoded() {
    let seen = seen(|call| {
        call.run = RunKey::new("default", " Größe 100% \u{1f600}");
        call.step = StepKey::new("a b", "größe", 1).unwrap();
    })
    .await;
    assert_eq!(seen.headers["spine-run"], "%20Gr%C3%B6%C3%9Fe%20100%25%20%F0%9F%98%80");
    assert_eq!(seen.headers["spine-step"], "a%20b/gr%C3%B6%C3%9Fe#1");
}

#[tokio::test]
async fn no_value_can_add_a_header() {
    let seen = seen(|call| {
        call.run = RunKey::new("default", "r\r\nX-Forged: 1");
        call.content_type = "text/plain\r\nX-Forged: 2".into();
        call.trace = Some(Trace { trace_id: "\r\nX-Forged: 3".into(), span_id: String::new() });
    })
    .await;
    assert_eq!(seen.headers.get("x-forged"), None);
    assert_eq!(seen.headers["spine-run"], "r%0D%0AX-Forged:%201");
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["traceparent"].len(), 55);
}

#[tokio::test]
async fn a_derived_trace_is_the_same_each_time_and_its_span_is_the_attempts_own() {
    let first = seen(|_| ()).await.headers["traceparent"].clone();
    let again = seen(|_| ()).await.headers["traceparent"].clone();
    let second = seen(|call| call.attempt = 2).await.headers["traceparent"].clone();
    let other = seen(|call| call.run = RunKey::new("default", "r2")).await;
    assert_eq!(first, again);
    assert_eq!(first[..35], second[..35], "one trace for the run");
    assert_ne!(first[36..52], second[36..52]);
    assert_ne!(first[..35], other.headers["traceparent"][..35]);
    let invalid = seen(|call| {
        call.trace = Some(Trace { trace_id: "0".repeat(32), span_id: "0".repeat(16) });
    });
    assert_eq!(invalid.await.headers["traceparent"], first);
}

#[tokio::test]
async fn a_url_without_a_path_asks_for_the_root() {
    let server = Server::answering(ok("1")).await;
    for (tool, line) in [("", "POST / HTTP/1.1"), ("?a=b#c", "POST /?a=b HTTP/1.1")] {
        completed(tools().call(call(&server.url(tool), Effect::Pure)).await);
        assert_eq!(server.seen().pop().unwrap().line, line);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let aim = Server::answering(ok("1")).await;
    let location = format!("Location: {}\r\n", aim.url("/"));
    let server = Server::answering(super::server::answer("307 Temporary", &location, "")).await;
    for effect in super::EFFECTS {
        super::failed(tools().call(call(&server.url("/"), effect)).await);
    }
    assert_eq!((server.seen().len(), aim.connections()), (4, 0));
}
