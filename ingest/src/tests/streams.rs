//! What attempts say, to listeners: as it is said, as it is shown, and what is refused.

use super::world::World;
use crate::{Asking, Listening, StreamError, Streams};
use bytes::Bytes;
use futures::{
    future::{BoxFuture, FutureExt},
    stream::{self, StreamExt},
};
use serde_json::json;
use spine_runs::{NotLive, Part, RunStatus, Said, StepStatus};
use spine_schemas::StepKey;
use std::sync::{Arc, Mutex};

/// An owner that tells what a test says, and remembers what it was asked and told.
#[derive(Clone, Default)]
pub(super) struct Speakers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    asked: Vec<Asking>,
    heard: Vec<Part>,
    will_say: Vec<Said>,
    refuses: Option<StreamError>,
}

impl Streams for Speakers {
    fn listen(&self, asking: Asking) -> BoxFuture<'_, Result<Listening, StreamError>> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(asking);
        let said = std::mem::take(&mut state.will_say);
        let answer = match state.refuses.clone() {
            Some(error) => Err(error),
            None => Ok(Listening::Here(stream::iter(said).boxed())),
        };
        async move { answer }.boxed()
    }

    fn say(
        &self,
        asking: Asking,
        part: Part,
        _sent: Bytes,
    ) -> BoxFuture<'_, Result<usize, StreamError>> {
        let mut state = self.0.lock().unwrap();
        state.asked.push(asking);
        state.heard.push(part);
        let answer = state.refuses.clone().map_or(Ok(3), Err);
        async move { answer }.boxed()
    }
}

const PATH: &str = "/v1/runs/r1/stream";

fn key(name: &str) -> StepKey {
    StepKey::named(name)
}

#[tokio::test]
async fn what_is_said_is_shown_as_events_with_the_words_as_they_were_received() {
    let world = World::new();
    let data = Bytes::from_static(b"{\"n\": 1.50,\r\n \"text\": \"a\\nb\"}");
    let live = [(key("a"), 2)].into();
    world.streams.0.lock().unwrap().will_say = vec![
        Said::Listening { status: RunStatus::Running, live },
        Said::Part(Part { step: key("a"), attempt: 2, data }),
        Said::AttemptEnded { step: key("a"), attempt: 2, status: StepStatus::RetryWaiting },
        Said::Retried(key("a"), 3),
        Said::Began(StepKey::new("x/y", "b", 2).unwrap()),
        Said::Missed(4),
        Said::RunEnded(RunStatus::Failed),
    ];
    let reply = world.get(PATH).await;
    assert_eq!(
        (reply.status, reply.headers["content-type"].as_bytes()),
        (200, &b"text/event-stream"[..])
    );
    let expected = "\
        event: listening\ndata: {\"live\":[{\"attempt\":2,\"step\":\"a#1\"}],\"run_id\":\"r1\",\
        \"status\":\"running\",\"tenant\":\"default\"}\n\n\
        event: part\ndata: {\"step\":\"a#1\",\"attempt\":2,\"data\":{\"n\": 1.50,   \"text\": \"a\\nb\"}}\n\n\
        event: attempt_ended\ndata: {\"attempt\":2,\"status\":\"retry_waiting\",\"step\":\"a#1\"}\n\n\
        event: retry\ndata: {\"attempt\":3,\"step\":\"a#1\"}\n\n\
        event: began\ndata: {\"attempt\":1,\"step\":\"x/y/b#2\"}\n\n\
        event: missed\ndata: {\"count\":4}\n\n\
        event: run_ended\ndata: {\"status\":\"failed\"}\n\n";
    assert_eq!(String::from_utf8(reply.bytes.to_vec()).unwrap(), expected);
}

#[tokio::test]
async fn one_step_may_be_listened_to_alone() {
    let world = World::new();
    world.streams.0.lock().unwrap().will_say = vec![
        Said::Began(key("a")),
        Said::Began(key("b")),
        Said::Missed(1),
        Said::RunEnded(RunStatus::Completed),
    ];
    let reply = world.get(&format!("{PATH}?step=b")).await;
    let text = String::from_utf8(reply.bytes.to_vec()).unwrap();
    assert!(!text.contains("a#1") && text.contains("b#1"), "{text}");
    assert!(text.contains("missed") && text.contains("run_ended"), "{text}");
}

#[tokio::test]
async fn an_attempt_is_told_how_many_listen() {
    let world = World::new();
    let body = json!({"step": "x/a#2", "attempt": 2, "data": ["b", 1], "tenant": "acme"});
    let reply = world.post(PATH, body).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"listeners": 3})));
    let state = world.streams.0.lock().unwrap();
    let data = Bytes::from_static(b"[\"b\",1]");
    let step = StepKey::new("x", "a", 2).unwrap();
    assert_eq!(state.heard, [Part { step, attempt: 2, data }]);
    assert_eq!(&*state.asked[0].run.tenant, "acme");
    assert_eq!(state.asked[0].elsewhere.as_deref(), Some("/v1/runs/r1/stream?here=true"));
}

#[tokio::test]
async fn what_another_process_asked_is_not_forwarded_again() {
    let world = World::new();
    world.get(&format!("{PATH}?tenant=acme&step=b%231")).await;
    world.get(&format!("{PATH}?tenant=acme&here=true")).await;
    let state = world.streams.0.lock().unwrap();
    let forwarded = format!("{PATH}?tenant=acme&step=b%231&here=true");
    assert_eq!(state.asked[0].elsewhere, Some(forwarded));
    assert_eq!(state.asked[1].elsewhere, None);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let world = World::new();
    for (error, status, name) in [
        (StreamError::NoRun, 404, "run_absent"),
        (StreamError::Full, 429, "busy"),
        (StreamError::NotLive(NotLive { live: Some(4) }), 409, "wrong_attempt"),
        (StreamError::NotLive(NotLive { live: None }), 409, "wrong_attempt"),
        (StreamError::Unavailable("it moves".into()), 503, "not_ready"),
    ] {
        world.streams.0.lock().unwrap().refuses = Some(error.clone());
        world.get(PATH).await.problem(status, name);
        let said = json!({"step": "a", "attempt": 1, "data": 1});
        let json = world.post(PATH, said).await.problem(status, name);
        if error == StreamError::NotLive(NotLive { live: Some(4) }) {
            assert_eq!(json["live"], 4);
        }
    }
    world.streams.0.lock().unwrap().refuses = None;
    for (body, status, name) in [
        (json!({"step": "a", "attempt": 1}), 422, "invalid_field"),
        (json!({"step": "a", "attempt": 1, "data": 1, "more": 2}), 422, "invalid_field"),
        (json!({"step": "a/", "attempt": 1, "data": 1}), 422, "invalid_field"),
        (json!({"step": "a", "attempt": 1, "data": "x".repeat(70_000)}), 413, "body_too_large"),
    ] {
        world.post(PATH, body).await.problem(status, name);
    }
    let said = json!({"step": "a", "attempt": 1, "data": 1});
    world.post(&format!("{PATH}?step=a"), said).await.problem(400, "bad_query");
    world.get(&format!("{PATH}?steps=a")).await.problem(400, "bad_query");
    world.get("/v1/runs/r1/stream?tenant=Acme").await.problem(422, "bad_tenant");
}
