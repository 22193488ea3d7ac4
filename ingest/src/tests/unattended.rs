//! Partitions that nobody attends to: what is told of them, to whom, and until when.

use super::{
    failures::Failing,
    world::{LIFECYCLE, World, settings, six_events},
};
use crate::{Settings, watch};
use serde_json::{Value, json};
use spine_log::{
    Error, EventLog, PartitionReader, ReadLimit, TopicPartition, embedded::EmbeddedLog,
};
use spine_schemas::{LifecycleRecord, Transition};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

/// Many looks, and much longer than anything may take here.
const LONG: Duration = Duration::from_secs(60);

fn watching<L: EventLog>(wrap: impl FnOnce(EmbeddedLog) -> L) -> World<L> {
    let stall_after = Duration::from_secs(5);
    let settings = Settings { stall_after, lifecycle_topic: Some(LIFECYCLE.into()), ..settings() };
    let world = World::with(1, settings, wrap);
    tokio::spawn(watch(world.app.clone()));
    world
}

/// What was told on the topic of transitions.
async fn told<L: EventLog>(world: &World<L>) -> Vec<LifecycleRecord> {
    let at = TopicPartition::new(LIFECYCLE, 0);
    let end = world.log.bounds(&at).await.unwrap().end;
    let mut reader = world.log.reader(&at, 0).await.unwrap();
    let mut told = Vec::new();
    while reader.position() < end {
        for record in reader.next(ReadLimit { records: 100, bytes: 1 << 20 }).await.unwrap() {
            told.push(LifecycleRecord::parse(record.value.as_deref().unwrap()).unwrap());
        }
    }
    told
}

/// The only alarm.
fn alarm(answer: &Value) -> (u64, String) {
    let alarms = answer["unattended"].as_array().unwrap_or_else(|| panic!("no alarm: {answer}"));
    let [alarm] = &alarms[..] else { panic!("{alarms:?}") };
    assert!(alarm["since"].as_str().unwrap().ends_with('Z'), "{alarm}");
    (alarm["partition"].as_u64().unwrap(), alarm["reason"].as_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn f32_records_without_an_owner_are_told_once_and_until_somebody_stores_them() {
    let world = watching(|log| log);
    sleep(LONG).await;
    assert_eq!(world.get("/readyz").await.json(), json!({"status": "ready"}), "nothing is owed");
    assert_eq!(world.events(&six_events("r1")).await.status, 202);
    sleep(LONG).await;
    let ready = world.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ready")), "facts are taken");
    let (partition, reason) = alarm(&ready.json());
    assert_eq!(partition, 0);
    assert!(reason.contains("offset 0 ") && reason.contains("role workers"), "{reason}");
    sleep(LONG).await;
    let first = &told(&world).await[0];
    assert_eq!(
        (first.kind, &*first.event),
        (Transition::PartitionUnattended, "partition_unattended")
    );
    assert_eq!((first.position.partition, first.position.offset), (0, 0));
    let at = TopicPartition::new("spine.steps", 0);
    let mut reader = world.log.reader(&at, 0).await.unwrap();
    let records = reader.next(ReadLimit { records: 1, bytes: 1 }).await.unwrap();
    assert_eq!(first.at, records[0].timestamp.to_string(), "all who watch tell the same");
    assert_eq!(world.get("/v1/runs/r1?at_least=5").await.status, 200);
    sleep(LONG).await;
    assert_eq!(world.get("/readyz").await.json(), json!({"status": "ready"}), "it is over");
    assert_eq!(told(&world).await.len(), 1, "once");
}

#[tokio::test(start_paused = true)]
async fn f32_a_run_that_should_have_gone_on_is_owed_although_no_record_waits() {
    let world = watching(|log| log);
    let run = world.journal_run("r").await;
    sleep(LONG).await;
    assert_eq!(
        world.get("/readyz").await.json(),
        json!({"status": "ready"}),
        "it waits for its agent"
    );
    let begin = json!({"op": "begin", "op_id": 1, "step": {"name": "pay"}, "tool": "pay", "effect": "pure",
        "input": {}, "lease_ms": 20_000});
    assert_eq!(world.op(&run, begin).await["status"], "execute");
    sleep(LONG).await;
    let (_, reason) = alarm(&world.get("/readyz").await.json());
    assert!(reason.starts_with("run default/r should have gone on at "), "{reason}");
    let told = told(&world).await;
    assert_eq!((told.len(), told[0].position.offset), (1, world.end().await), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_not_ready_names_them_too() {
    let world = watching(|log| log);
    world.owner.fall_silent();
    assert_eq!(world.events(&six_events("r1")).await.status, 202);
    sleep(LONG).await;
    let problem = world.get("/readyz").await.problem(503, "not_ready");
    assert_eq!(alarm(&problem).0, 0);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_the_log_does_not_take_is_told_when_it_does() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let world = watching(|log| Failing { log, errors: errors.clone() });
    assert_eq!(world.events(&six_events("r1")).await.status, 202);
    errors.lock().unwrap().push((0, Error::Busy));
    sleep(LONG).await;
    assert_eq!(alarm(&world.get("/readyz").await.json()).0, 0);
    assert!(told(&world).await.is_empty());
    errors.lock().unwrap().clear();
    sleep(LONG).await;
    assert_eq!(told(&world).await.len(), 1);
}
