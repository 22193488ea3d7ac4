//! What a client is told when the log, the store or the owner fails.

use super::world::{World, ndjson, settings, six_events};
use serde_json::json;
use spine_log::{
    Appended, Bounds, Error, EventLog, NewRecord, Result, TopicPartition, Urgency,
    embedded::EmbeddedLog,
};
use spine_schemas::time::Micros;
use std::sync::{Arc, Mutex};

/// The embedded log, except that appends to chosen partitions fail.
#[derive(Clone)]
pub(super) struct Failing {
    pub(super) log: EmbeddedLog,
    pub(super) errors: Arc<Mutex<Vec<(u32, Error)>>>,
}

impl EventLog for Failing {
    type Reader = <EmbeddedLog as EventLog>::Reader;
    type Member = <EmbeddedLog as EventLog>::Member;

    fn log_id(&self) -> &str {
        self.log.log_id()
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        self.log.partitions(topic).await
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        let planned = |errors: &[(u32, Error)]| {
            errors.iter().find(|(partition, _)| *partition == to.partition).cloned()
        };
        let planned = planned(&self.errors.lock().unwrap());
        match planned {
            Some((_, error)) => Err(error),
            None => self.log.append(to, batch, urgency).await,
        }
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<Self::Reader> {
        self.log.reader(of, from).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        self.log.bounds(of).await
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        self.log.offset_at(of, time).await
    }

    async fn join(&self, topic: &str, group: &str) -> Result<Self::Member> {
        self.log.join(topic, group).await
    }
}

fn failing(partitions: u32, errors: Vec<(u32, Error)>) -> World<Failing> {
    let errors = Arc::new(Mutex::new(errors));
    World::with(partitions, settings(), |log| Failing { log, errors })
}

#[tokio::test]
async fn every_error_of_the_log_has_its_status() {
    let full = Error::Full { path: "/log".into(), free_bytes: 1 };
    let cases = [
        (Error::Busy, 429, "log_busy", true),
        (full, 503, "log_full", true),
        (Error::Poisoned("eio".into()), 503, "log_stopped", true),
        (Error::Unavailable("gone".into()), 503, "log_unavailable", true),
        (Error::Damaged("x".into()), 500, "log_damaged", false),
        (Error::Refused("x".into()), 500, "log_misused", false),
        (Error::Missing("x".into()), 500, "log_misused", false),
    ];
    for (error, status, name, retry) in cases {
        let world = failing(1, vec![(0, error)]);
        for reply in [
            world.events(&six_events("r")).await,
            world.post("/v1/runs", json!({"workflow": "w", "driver": "journal"})).await,
        ] {
            reply.problem(status, name);
            assert_eq!(reply.headers.contains_key("retry-after"), retry, "{name}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_which_one_partition_failed_says_what_is_there() {
    let world = failing(4, vec![(2, Error::Busy)]);
    let lines: Vec<_> = (0..20).flat_map(|run| six_events(&format!("r{run}"))).collect();
    let reply = world.send("/v1/events", "application/x-ndjson", ndjson(&lines), &[]).await;
    let problem = reply.problem(503, "partly_appended");
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(problem["failed_partitions"], json!([2]));
    let positions = problem["positions"].as_array().unwrap();
    assert!(!positions.is_empty());
    assert!(positions.iter().all(|position| position["partition"] != 2), "{problem}");
}

#[tokio::test]
async fn a_full_disk_refuses_facts_and_says_so() {
    let world = World::new();
    assert_eq!(world.events(&six_events("r1")).await.status, 202);
    world.disk.set_capacity_bytes(Some(world.disk.used_bytes() + 1024));
    world.events(&six_events("r2")).await.problem(503, "log_full");
    world.disk.set_capacity_bytes(None);
    assert_eq!(world.events(&six_events("r2")).await.status, 202);
}

#[tokio::test]
async fn a_failed_sync_is_not_acknowledged() {
    let world = World::new();
    world.disk.fail_syncs(1);
    world.events(&six_events("r1")).await.problem(503, "log_stopped");
    world.events(&six_events("r1")).await.problem(503, "log_stopped");
}

#[tokio::test]
async fn facts_need_no_owner_and_requests_do() {
    let world = World::new();
    world.owner.fall_silent();
    assert_eq!(world.events(&six_events("r1")).await.status, 202);
    let reply = world.post("/v1/runs", json!({"workflow": "w", "driver": "journal"})).await;
    let problem = reply.problem(503, "verdict_late");
    assert_eq!(problem["position"], json!({"topic": "spine.steps", "partition": 0, "offset": 6}));
    assert!(reply.headers.contains_key("retry-after"));
    world.get("/v1/runs/r1?at_least=1").await.problem(503, "not_stored_yet");
}
