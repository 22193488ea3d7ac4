//! Workers of queues: what they ask for, what they are shown, and what they say of what they hold.

use super::world::{Reply, World};
use crate::{Leased, Leases, Poll};
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use spine_runs::{GrantedStep, Live, RunStatus, StepStatus};
use spine_schemas::{Digest, Effect, Payload, RunKey, StepEvent, StepKey, StepSpec, StepStarted};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Owners that grant what a test says, and remember what they were asked for.
#[derive(Clone, Default)]
pub(super) struct Owners(Arc<Mutex<(Vec<Poll>, Vec<Leased>)>>);

impl Leases for Owners {
    fn lease(&self, poll: Poll) -> BoxFuture<'_, Vec<Leased>> {
        let mut state = self.0.lock().unwrap();
        state.0.push(poll);
        let leased = std::mem::take(&mut state.1);
        async move { leased }.boxed()
    }
}

impl Owners {
    fn will_grant(&self, leased: Vec<Leased>) {
        self.0.lock().unwrap().1 = leased;
    }

    fn asked(&self) -> Vec<Poll> {
        self.0.lock().unwrap().0.clone()
    }
}

/// A run whose step `mail` a worker holds, and the lease as it is shown.
struct Held {
    world: World,
    run: RunKey,
    lease: Value,
}

impl Held {
    async fn new(effect: Effect) -> Self {
        let (world, run) = (World::new(), RunKey::new("default", "r"));
        let steps = json!([{"name": "mail", "tool": "queue:mail", "effect": effect.as_str(),
            "input": {"to": "ada"}}]);
        let plan = json!({"run_id": "r", "workflow": "w", "steps": steps});
        assert_eq!(world.post("/v1/runs", plan).await.status, 201);
        let input = Payload::json("input", r#"{"to":"ada"}"#).unwrap();
        let spec = Arc::new(StepSpec::new("queue:mail", effect, input.clone()));
        world.decide(&run, "mail", StepEvent::Scheduled(spec)).await;
        let start = StepStarted {
            attempt: Some(1),
            lease_ms: Some(5_000),
            worker: Some("w1".into()),
            ..StepStarted::default()
        };
        world.decide(&run, "mail", StepEvent::Started(start)).await;
        let live = live(&world, &run).await;
        world.workers.will_grant(vec![Leased::Here(Box::new(GrantedStep {
            partition: 0,
            run: run.clone(),
            step: StepKey::named("mail"),
            attempt: 1,
            offset: live.lease,
            until: live.started_at.plus_ms(5_000),
            idempotency_key: Digest([7; 32]),
            input,
            effect,
            timeout_ms: 60_000,
            traceparent: "00-x-y-01".into(),
        }))]);
        let reply = world.post("/v1/queues/mail/lease", json!({"worker": "w1"})).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let lease = reply.json()["leases"][0].clone();
        Self { world, run, lease }
    }

    /// What the worker says, with what it was shown.
    fn said(&self, more: Value) -> Value {
        let mut body = json!({"worker": "w1"});
        for field in ["tenant", "run_id", "step", "attempt", "lease"] {
            body[field] = self.lease[field].clone();
        }
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    async fn say(&self, verb: &str, more: Value) -> Reply {
        self.world.post(&format!("/v1/queues/mail/{verb}"), self.said(more)).await
    }

    async fn status(&self) -> StepStatus {
        self.world.owner.state(&self.run).await.unwrap().steps[&StepKey::named("mail")].status
    }
}

async fn live(world: &World, run: &RunKey) -> Live {
    let state = world.owner.state(run).await.unwrap();
    state.steps[&StepKey::named("mail")].live.clone().unwrap()
}

#[tokio::test]
async fn a_granted_step_is_shown_with_all_that_its_worker_needs() {
    let held = Held::new(Effect::AtMostOnce).await;
    let golden = json!({
        "tenant": "default", "run_id": "r",
        "step": {"scope": "", "name": "mail", "occurrence": 1}, "attempt": 1,
        "lease": held.lease["lease"], "lease_until": held.lease["lease_until"],
        "idempotency_key": Digest([7; 32]).to_string(), "input": {"to": "ada"},
        "effect": "at_most_once", "timeout_ms": 60_000, "traceparent": "00-x-y-01",
    });
    assert_eq!(held.lease, golden);
    let asked = &held.world.workers.asked()[0];
    let usual = (asked.max, asked.wait, asked.lease_ms, asked.here);
    assert_eq!(usual, (1, Duration::from_secs(30), 30_000, false));
    assert_eq!((asked.queue.as_str(), asked.worker.as_str()), ("mail", "w1"));
}

#[tokio::test]
async fn a_worker_completes_what_it_holds_and_may_say_so_twice() {
    let held = Held::new(Effect::AtMostOnce).await;
    let done = json!({"output": {"sent": true}, "usage": {"cost_micros": 7}});
    for _ in 0..2 {
        let reply = held.say("complete", done.clone()).await;
        assert_eq!((reply.status, reply.json()), (200, json!({"status": "ok"})));
    }
    assert_eq!(held.status().await, StepStatus::Completed);
    let history = held.world.get("/v1/runs/r/events").await.json();
    let events = history["events"].as_array().unwrap();
    let last = events.iter().find(|event| event["kind"] == "step_completed").unwrap();
    assert_eq!(
        (last["kind"].as_str(), last["actor"].as_str()),
        (Some("step_completed"), Some("worker:w1"))
    );
    let state = held.world.owner.state(&held.run).await.unwrap();
    assert_eq!((state.totals.cost_micros, state.status), (7, RunStatus::Running));
}

#[tokio::test]
async fn a_heartbeat_renews_and_a_release_gives_back() {
    let held = Held::new(Effect::AtMostOnce).await;
    let before = live(&held.world, &held.run).await;
    assert_eq!(held.say("heartbeat", json!({})).await.status, 200);
    let after = live(&held.world, &held.run).await;
    assert!(after.heartbeat_at > before.heartbeat_at);
    assert_eq!(held.say("release", json!({})).await.status, 200);
    assert_eq!(held.status().await, StepStatus::Scheduled);
    held.say("heartbeat", json!({})).await.problem(409, "step_state");
    held.say("release", json!({})).await.problem(409, "late");
}

#[tokio::test]
async fn a_failure_says_its_class_and_a_guess_settles_nothing() {
    for (class, status) in [
        ("transient", StepStatus::Unknown),
        ("terminal", StepStatus::Failed),
        ("unknown_outcome", StepStatus::Unknown),
        ("rate_limited", StepStatus::Failed),
    ] {
        let held = Held::new(Effect::AtMostOnce).await;
        let error = json!({"class": class, "code": "smtp_4", "retry_after_ms": 5});
        assert_eq!(held.say("fail", json!({"error": error})).await.status, 200);
        assert_eq!(held.status().await, status, "{class}");
    }
}

#[tokio::test]
async fn a_late_outcome_counts_or_is_told_that_it_does_not() {
    let held = Held::new(Effect::AtMostOnce).await;
    let live = live(&held.world, &held.run).await;
    let reason = "its lease ended".into();
    let (attempt, lease, heartbeat) = (1, live.lease, live.heartbeat);
    let lost = StepEvent::Lost { attempt, lease, heartbeat, reason };
    held.world.decide(&held.run, "mail", lost).await;
    assert_eq!(held.status().await, StepStatus::Unknown);
    assert_eq!(held.say("complete", json!({"output": 1})).await.status, 200);
    assert_eq!(held.status().await, StepStatus::Completed);
    let error = json!({"class": "terminal", "code": "x"});
    held.say("fail", json!({"error": error})).await.problem(409, "late");
}

#[tokio::test]
async fn what_a_worker_mixes_up_is_refused_at_the_door() {
    let held = Held::new(Effect::AtMostOnce).await;
    let before = held.world.end().await;
    for mixed_up in [
        json!({"lease": "0-1"}),
        json!({"lease": "0-99999-0000000000000000"}),
        json!({"attempt": 2}),
        json!({"run_id": "other"}),
        json!({"step": {"name": "other"}}),
        json!({"tenant": "other"}),
    ] {
        held.say("complete", mixed_up).await.problem(409, "wrong_lease");
    }
    let said = held.said(json!({}));
    held.world.post("/v1/queues/other/complete", said).await.problem(409, "wrong_lease");
    for (verb, more, field) in [
        ("complete", json!({"worker": ""}), "worker"),
        ("complete", json!({"error": {"class": "terminal", "code": "x"}}), "error"),
        ("complete", json!({"more": 1}), "."),
        ("fail", json!({}), "error"),
        ("fail", json!({"error": {"class": "bad", "code": "x"}}), "error.class"),
        ("fail", json!({"error": {"class": "terminal", "code": "x"}, "output": 1}), "output"),
        ("heartbeat", json!({"output": 1}), "output"),
        ("release", json!({"usage": {}}), "usage"),
        ("complete", json!({"tenant": "No"}), "tenant"),
    ] {
        let reply = held.say(verb, more).await;
        let json = reply.json();
        assert_eq!(reply.status, 422, "{json}");
        if field != "." {
            assert_eq!(json["field"].as_str(), Some(field), "{json}");
        }
    }
    held.say("steal", json!({})).await.problem(404, "route_unknown");
    assert_eq!(held.world.end().await, before, "nothing was appended");
}

#[tokio::test]
async fn a_poll_has_limits_and_each_has_a_number() {
    let world = World::new();
    for (more, field) in [
        (json!({"worker": ""}), "worker"),
        (json!({"max": 0}), "max"),
        (json!({"max": 101}), "max"),
        (json!({"wait_ms": 60_001}), "wait_ms"),
        (json!({"lease_ms": 999}), "lease_ms"),
        (json!({"lease_ms": 86_400_001}), "lease_ms"),
        (json!({"tenants": []}), "tenants"),
        (json!({"tenants": ["No"]}), "tenant"),
    ] {
        let mut body = json!({"worker": "w"});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let reply = world.post("/v1/queues/q/lease", body).await;
        assert_eq!((reply.status, reply.json()["field"].as_str()), (422, Some(field)), "{more}");
    }
    let long = "q".repeat(129);
    let refused = world.post(&format!("/v1/queues/{long}/lease"), json!({"worker": "w"})).await;
    refused.problem(422, "invalid_field");
    world
        .post("/v1/queues/q/lease", json!({"worker": "w", "x": 1}))
        .await
        .problem(422, "invalid_field");
    assert_eq!(world.workers.asked(), []);
    let full =
        json!({"worker": "w", "max": 100, "wait_ms": 0, "lease_ms": 1000, "tenants": ["b", "a"]});
    let reply = world.post("/v1/queues/a%2Fb/lease?here=true", full).await;
    assert_eq!((reply.status, reply.json()), (200, json!({"leases": []})));
    let asked = &world.workers.asked()[0];
    assert_eq!((asked.queue.as_str(), asked.max, asked.here), ("a/b", 100, true));
    assert_eq!(asked.tenants, Some(["a".to_owned(), "b".to_owned()].into()));
}

#[tokio::test]
async fn a_plan_may_name_any_queue_and_a_bad_name_is_refused() {
    let world = World::new();
    let plan = |tool: &str| json!({"workflow": "w", "steps": [{"name": "a", "tool": tool}]});
    assert_eq!(world.post("/v1/runs", plan("queue:mail")).await.status, 201);
    world.post("/v1/runs", plan("queue:")).await.problem(422, "invalid_field");
}
