//! What every request meets: unknown routes, probes, bounds on what is held, faults.

use super::world::{HOST, World, ndjson, settings, six_events};
use crate::in_flight::InFlight;
use axum::{
    body::{Body, Bytes},
    http::Request,
};
use serde_json::json;

#[tokio::test]
async fn what_the_library_refuses_is_a_problem_too() {
    let world = World::new();
    world.get("/v1/nothing").await.problem(404, "route_unknown");
    world.get("/v2").await.problem(404, "route_unknown");
    let reply = world.get("/v1/events").await;
    reply.problem(405, "method_unknown");
    assert_eq!(reply.headers["allow"], "POST");
    world.get("/v1/runs/%FF").await.problem(400, "bad_request");
    let delete = Request::delete("/v1/runs/r").header("host", HOST).body(Body::empty()).unwrap();
    world.call(delete).await.problem(405, "method_unknown");
}

#[tokio::test]
async fn probes_and_the_index() {
    let world = World::new();
    assert_eq!(world.get("/healthz").await.json(), json!({"status": "ok"}));
    assert_eq!(world.get("/readyz").await.json(), json!({"status": "ready"}));
    let metrics = world.get("/metrics").await;
    assert_eq!(metrics.bytes, "spine_test 1\n");
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let index = world.get("/").await.json();
    assert_eq!(
        (index["name"].as_str(), index["links"]["runs"].as_str()),
        (Some("spine"), Some("/v1/runs"))
    );
    world.owner.fall_silent();
    world.get("/readyz").await.problem(503, "not_ready");
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_full_house_says_come_back() {
    let mut settings = settings();
    settings.requests_in_flight = 0;
    let world = World::with(1, settings, |log| log);
    let reply = world.get("/v1/runs").await;
    reply.problem(429, "busy");
    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!(world.get("/healthz").await.status, 200, "probes are answered all the same");
    assert_eq!(world.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn bodies_are_held_within_a_bound() {
    let mut settings = settings();
    settings.body_bytes_in_flight = 600;
    let world = World::with(1, settings, |log| log);
    let lines = ndjson(&six_events("r1"));
    assert!(lines.len() > 600);
    let reply = world.send("/v1/events", "application/x-ndjson", lines.clone(), &[]).await;
    reply.problem(429, "busy");
    // Without a stated length the bytes are counted as they come.
    let pieces = lines
        .into_bytes()
        .chunks(100)
        .map(Bytes::copy_from_slice)
        .map(Ok::<_, std::io::Error>)
        .collect::<Vec<_>>();
    let stream = Body::from_stream(futures::stream::iter(pieces));
    world.send("/v1/events", "application/x-ndjson", stream, &[]).await.problem(429, "busy");
    let one = ndjson(&six_events("r1")[..1]);
    let reply = world.send("/v1/events", "application/x-ndjson", one, &[]).await;
    assert_eq!(reply.status, 202, "the places were given back");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let world = World::new();
    let request = Request::post("/v1/events")
        .header("host", HOST)
        .header("content-type", "application/x-ndjson")
        .header("content-length", "33554433");
    world.call(request.body(Body::empty()).unwrap()).await.problem(413, "body_too_large");
    let pieces = (0..33).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024 * 1024])));
    let stream = Body::from_stream(futures::stream::iter(pieces));
    let reply = world.send("/v1/events", "application/x-ndjson", stream, &[]).await;
    reply.problem(413, "body_too_large");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_pauses_is_given_up() {
    let world = World::new();
    let stream = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let reply = world.send("/v1/events", "application/x-ndjson", stream, &[]).await;
    reply.problem(408, "body_slow");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    let world = World::new();
    let pieces = vec![Ok(Bytes::from("{\"kind\"")), Err(std::io::Error::other("gone"))];
    let stream = Body::from_stream(futures::stream::iter(pieces));
    world.send("/v1/events", "application/x-ndjson", stream, &[]).await.problem(400, "body_broken");
    assert_eq!(world.end().await, 0);
}

#[tokio::test]
async fn a_fault_in_a_handler_is_a_numbered_problem() {
    let handler = || async {
        assert!(std::hint::black_box(false), "planted");
    };
    let mut world = World::new();
    world.router = axum::Router::new()
        .route("/fault", axum::routing::get(handler))
        .layer(axum::middleware::from_fn(crate::guard::answer));
    world.get("/fault").await.problem(500, "internal");
}

#[tokio::test]
async fn heavy_work_leaves_the_thread_that_answers() {
    let in_flight = InFlight::new(1, 1);
    let here = std::thread::current().id();
    let small = in_flight.parse(1, || std::thread::current().id()).await.unwrap();
    let large = in_flight.parse(1 << 20, || std::thread::current().id()).await.unwrap();
    assert_eq!(small, here);
    assert_ne!(large, here);
}

#[tokio::test]
async fn a_compressed_body_is_refused_as_such() {
    let world = World::new();
    let headers = [("content-encoding", "gzip")];
    let reply = world.send("/v1/events", "application/x-ndjson", "x", &headers).await;
    reply.problem(415, "media_type");
}
