//! A surface with everything behind it, and a way to call it.

use super::{owner::Owner, queues::Owners, streams::Speakers};
use crate::{App, Parts, Settings, Steering, router};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use bytes::Bytes;
use serde_json::{Value, json};
use spine_log::{
    EventLog, NewRecord, TopicPartition, Urgency,
    embedded::{Driver, EmbeddedLog, Options, SimDisk, TopicOptions, seeded_random},
};
use spine_schemas::{
    Body as EventBody, Claim, Event, PartitionEvent, RunKey, StepError, StepEvent, StepKey,
    codec::{self, SchemaBook},
    keys,
    time::Micros,
};
use spine_store::sqlite::{Options as StoreOptions, SqliteStore};
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};
use tower::ServiceExt;

pub(super) const TOPIC: &str = "spine.steps";
pub(super) const LIFECYCLE: &str = "spine.lifecycle";
pub(super) const HOST: &str = "127.0.0.1:7700";

/// Everything that a test touches.
pub(super) struct World<L: EventLog = EmbeddedLog> {
    pub(super) app: App<L, SqliteStore, Owner>,
    pub(super) router: Router,
    pub(super) log: L,
    pub(super) owner: Owner,
    pub(super) workers: Owners,
    pub(super) streams: Speakers,
    pub(super) disk: SimDisk,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Bytes,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.bytes)))
    }

    /// Checks that it is a numbered problem of this name, and gives it.
    pub(super) fn problem(&self, status: u16, name: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["name"].as_str()), (status, Some(name)), "{json}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert!(json["code"].as_u64().is_some_and(|code| code >= 1000), "{json}");
        json
    }
}

fn options(partitions: u32) -> Options {
    let topic = |name: &str| TopicOptions { name: name.into(), partitions, datum: None };
    let topics = [TOPIC, "spine.steps.dlq", LIFECYCLE].map(topic);
    let mut options = Options::new("/log", topics.into());
    options.random = seeded_random(7);
    options.headroom_bytes = 4096;
    options
}

pub(super) fn settings() -> Settings {
    Settings::new(HOST.parse().unwrap(), "installation")
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(1, settings(), |log| log)
    }
}

impl<L: EventLog> World<L> {
    /// A world whose surface sees the log through `wrap`.
    pub(super) fn with(
        partitions: u32,
        settings: Settings,
        wrap: impl FnOnce(EmbeddedLog) -> L,
    ) -> Self {
        let disk = SimDisk::new();
        let ticks = AtomicI64::new(1_700_000_000_000_000);
        let clock: crate::Clock =
            Arc::new(move || Micros(ticks.fetch_add(1_000_000, Ordering::SeqCst)));
        let driver = Driver::Task { latency: None };
        let embedded =
            EmbeddedLog::open(&options(partitions), Arc::new(disk.clone()), clock.clone(), driver);
        let embedded = embedded.unwrap();
        let store = SqliteStore::open(&StoreOptions::inline_memory("store")).unwrap();
        let owner = Owner::new(embedded.clone(), store.clone());
        let log = wrap(embedded);
        let (workers, streams) = (Owners::default(), Speakers::default());
        let calls = AtomicU64::new(0);
        let app = App::new(Parts {
            log: log.clone(),
            store,
            verdicts: owner.clone(),
            book: Arc::new(SchemaBook::compiled_in()),
            clock,
            random: Arc::new(move || {
                u128::from(calls.fetch_add(1, Ordering::SeqCst) + 1).to_be_bytes()
            }),
            metrics_text: Arc::new(|| "spine_test 1\n".to_owned()),
            steering: Steering::none(),
            leases: Arc::new(workers.clone()),
            streams: Arc::new(streams.clone()),
            settings,
        });
        Self { router: router(app.clone()), app, log, owner, workers, streams, disk }
    }

    pub(super) async fn call(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Reply { status, headers, bytes }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        let request = Request::get(path).header("host", HOST);
        self.call(request.body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send(path, "application/json", body.to_string(), &[]).await
    }

    pub(super) async fn send(
        &self,
        path: &str,
        kind: &str,
        body: impl Into<Body>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut request = Request::post(path).header("host", HOST).header("content-type", kind);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request.body(body.into()).unwrap()).await
    }

    pub(super) async fn events(&self, lines: &[Value]) -> Reply {
        self.send("/v1/events", "application/x-ndjson", ndjson(lines), &[]).await
    }

    /// How many records the log holds.
    pub(super) async fn end(&self) -> u64 {
        self.log.bounds(&TopicPartition::new(TOPIC, 0)).await.unwrap().end
    }

    /// Appends what the owner decides, after a first claim.
    pub(super) async fn decide(&self, run: &RunKey, step: &str, event: StepEvent) {
        let claim = self.end().await;
        let over = self.owner.claim(0).await;
        self.append(None, &decision(None, owner_claimed(over))).await;
        let body = EventBody::Step(run.run_id.clone(), StepKey::named(step), event);
        self.append(Some(run), &decision(Some(claim), body)).await;
        let at_least = self.end().await - 1;
        let reply = self.get(&format!("/v1/runs/{}?at_least={at_least}", run.run_id)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// Appends an event as it is.
    pub(super) async fn append(&self, run: Option<&RunKey>, event: &Event) {
        let record = NewRecord::plain(
            run.map(|run| Bytes::from(run.record_key())),
            codec::encode(event).unwrap(),
        );
        let to = TopicPartition::new(TOPIC, 0);
        self.log.append(&to, vec![record], Urgency::Outcome).await.unwrap();
    }

    /// Gives up a step of a run as the owner would.
    pub(super) async fn dead_letter(&self, run: &RunKey, step: &str) -> String {
        let state = self.owner.state(run).await.unwrap();
        let step_state = &state.steps[&StepKey::named(step)];
        let letter_id = keys::step_letter_id(run, &step_state.key, step_state.generation);
        let error: StepError = step_state.error.clone().unwrap();
        let attempt = step_state.attempt;
        self.decide(run, step, StepEvent::DeadLettered { attempt, letter_id, error }).await;
        letter_id.to_string()
    }

    /// Makes a journal run.
    pub(super) async fn journal_run(&self, run_id: &str) -> RunKey {
        let body = json!({"run_id": run_id, "workflow": "w", "driver": "journal"});
        let reply = self.post("/v1/runs", body).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        RunKey::new("default", run_id)
    }

    /// Sends one journal operation and gives its answer.
    pub(super) async fn op(&self, run: &RunKey, op: Value) -> Value {
        let path = format!("/v1/runs/{}/journal", run.run_id);
        let reply = self.post(&path, json!({"session": "S1", "ops": [op]})).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["results"][0].clone()
    }
}

fn owner_claimed(over: Option<u64>) -> EventBody {
    EventBody::Partition(PartitionEvent::OwnerClaimed(Claim {
        worker: "w1".into(),
        address: HOST.into(),
        store_id: "store".into(),
        log_id: "log".into(),
        fold_version: 1,
        partitions: 1,
        over,
        restored: false,
    }))
}

pub(super) fn decision(claim: Option<u64>, body: EventBody) -> Event {
    Event { claim, ..Event::new("decision", "default", Micros(0), "owner", body) }
}

pub(crate) fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The six events of DESIGN 13: a finished run in record mode.
pub(crate) fn six_events(run_id: &str) -> Vec<Value> {
    vec![
        json!({"kind": "run_created", "run_id": run_id, "run": {"workflow": "refund", "version": "3",
            "input": {"order": "A-17"}, "tags": {"team": "billing"}}}),
        json!({"kind": "step_started", "run_id": run_id, "step": {"name": "lookup"}, "attempt": 1,
            "spec": {"tool": "crm.lookup", "effect": "pure", "input": {"order": "A-17"}}}),
        json!({"kind": "step_completed", "run_id": run_id, "step": {"name": "lookup"}, "attempt": 1,
            "output": {"data": {"customer": "c9"}},
            "usage": {"model": "m1", "input_uncached": 812, "output_text": 95, "cost_micros": 4100}}),
        json!({"kind": "decision_recorded", "run_id": run_id, "decision": {"decision": "refund",
            "request": "...", "agent": "billing-1", "reasoning": "...", "action": "charge.refund",
            "params": {"cents": 4200}, "confidence": 0.91}}),
        json!({"kind": "step_failed", "run_id": run_id, "step": {"name": "lookup"}, "attempt": 1,
            "error": {"class": "transient", "code": "http_503", "message": "service unavailable"}}),
        json!({"kind": "run_completed", "run_id": run_id, "output": {"data": {"ok": true}}}),
    ]
}
