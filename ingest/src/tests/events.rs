//! `POST /v1/events`: what is appended, in which order, and what is said about it.

use super::world::{TOPIC, World, ndjson, settings, six_events};
use crate::events::tests::containers;
use serde_json::{Value, json};
use spine_log::{EventLog, PartitionReader, ReadLimit, TopicPartition};
use spine_schemas::{
    Event,
    codec::{self, SchemaBook},
    keys,
};

async fn read(world: &World, partition: u32) -> Vec<Event> {
    let of = TopicPartition::new(TOPIC, partition);
    if world.log.bounds(&of).await.unwrap().end == 0 {
        return Vec::new();
    }
    let mut reader = world.log.reader(&of, 0).await.unwrap();
    let records = reader.next(ReadLimit { records: 10_000, bytes: usize::MAX }).await.unwrap();
    let book = SchemaBook::compiled_in();
    records
        .iter()
        .map(|record| {
            let event = codec::decode(record.value.as_deref().unwrap(), &book).unwrap();
            let key = event.run_key().unwrap().record_key();
            assert_eq!(record.key.as_deref(), Some(key.as_slice()));
            event
        })
        .collect()
}

#[tokio::test]
async fn six_facts_are_appended_in_the_order_of_the_lines() {
    let world = World::new();
    let reply = world
        .send(
            "/v1/events",
            "application/x-ndjson; charset=utf-8",
            ndjson(&six_events("r1")),
            &[("idempotency-key", "batch-1")],
        )
        .await;
    assert_eq!(reply.status, 202);
    assert_eq!(
        reply.json(),
        json!({"appended": 6, "dedupe": true, "positions":
            [{"topic": "spine.steps", "partition": 0, "first_offset": 0, "last_offset": 5}]}),
    );
    let kinds: Vec<_> = read(&world, 0).await.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(
        kinds,
        [
            "run_created",
            "step_started",
            "step_completed",
            "decision_recorded",
            "step_failed",
            "run_completed"
        ]
    );
}

#[tokio::test]
async fn the_same_key_makes_the_same_event_ids() {
    let world = World::new();
    let lines = ndjson(&six_events("r1"));
    for _ in 0..2 {
        let headers = [("idempotency-key", "k")];
        world.send("/v1/events", "application/x-ndjson", lines.clone(), &headers).await;
    }
    let events = read(&world, 0).await;
    let ids = |range: std::ops::Range<usize>| -> Vec<_> {
        events[range].iter().map(|event| event.event_id.clone()).collect()
    };
    assert_eq!(ids(0..6), ids(6..12));
    assert_ne!(ids(0..1), ids(1..2));
}

#[tokio::test]
async fn without_a_key_or_ids_nothing_is_deduplicated() {
    let world = World::new();
    assert_eq!(world.events(&six_events("r1")).await.json()["dedupe"], false);
    let named: Vec<Value> = (0..)
        .zip(six_events("r2"))
        .map(|(at, mut line)| {
            line["event_id"] = json!(format!("e{at}"));
            line
        })
        .collect();
    assert_eq!(world.events(&named).await.json()["dedupe"], true);
    let ids: std::collections::BTreeSet<_> =
        read(&world, 0).await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(ids.len(), 12);
}

#[tokio::test]
async fn an_array_is_taken_like_lines() {
    let world = World::new();
    let reply = world.post("/v1/events", json!(six_events("r1"))).await;
    assert_eq!((reply.status, reply.json()["appended"].as_u64()), (202, Some(6)));
    assert_eq!(read(&world, 0).await.len(), 6);
}

#[tokio::test]
async fn runs_land_on_the_partition_of_their_key() {
    let world = World::with(4, settings(), |log| log);
    let mut lines = Vec::new();
    for run in 0..20 {
        lines.extend(six_events(&format!("r{run}")));
    }
    let reply = world.events(&lines).await;
    assert_eq!(reply.json()["appended"], 120);
    assert!(reply.json()["positions"].as_array().unwrap().len() > 1, "{}", reply.json());
    let mut total = 0;
    for partition in 0..4 {
        let events = read(&world, partition).await;
        total += events.len();
        for event in &events {
            let key = event.run_key().unwrap().record_key();
            assert_eq!(keys::partition_of(&key, 4), partition);
        }
    }
    assert_eq!(total, 120);
}

#[tokio::test]
async fn a_batch_above_one_buffer_stays_whole() {
    let world = World::new();
    let mut lines = six_events("big");
    let wide = json!({"kind": "decision_recorded", "run_id": "big",
        "decision": {"decision": "x", "reasoning": "y".repeat(100_000)}});
    for _ in 0..30 {
        lines.insert(1, wide.clone());
    }
    assert_eq!(world.events(&lines).await.json()["appended"], 36);
    let kinds: Vec<_> = read(&world, 0).await.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(kinds[0], "run_created");
    assert!(kinds[1..31].iter().all(|kind| *kind == "decision_recorded"));
    assert_eq!(kinds[35], "run_completed");
}

#[tokio::test]
async fn waiting_for_verdicts_tells_illegal_events() {
    let world = World::new();
    let mut lines = six_events("r1");
    lines.truncate(3);
    lines.push(json!({"kind": "step_completed", "run_id": "r1", "step": {"name": "never"},
        "attempt": 1, "output": {"data": 1}}));
    let path = "/v1/events?wait=verdict";
    let reply = world.send(path, "application/x-ndjson", ndjson(&lines), &[]).await;
    let problem = reply.problem(422, "illegal_events");
    assert_eq!(problem["errors"][0]["line"], 4);
    assert_eq!(problem["errors"][0]["name"], "step_absent");
    assert_eq!(problem["positions"][0]["last_offset"], 3);
    let reply = world.send(path, "application/x-ndjson", ndjson(&six_events("r2")), &[]).await;
    assert_eq!(reply.status, 202);
}

#[tokio::test]
async fn a_run_in_record_mode_reads_back() {
    let world = World::new();
    world.events(&six_events("r1")).await;
    let reply = world.get("/v1/runs/r1?at_least=5").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let run = reply.json();
    let golden = json!({
        "tenant": "default", "run_id": "r1", "workflow": "refund", "version": "3",
        "driver": "record", "status": "completed", "waiting_for": null,
        "steps": {"total": 1, "completed": 1, "failed": 0, "dead_lettered": 0},
        "attempts": 1, "cost_micros": 4100,
        "tokens": {"input_uncached": 812, "cache_read": 0, "cache_write": 0, "output_text": 95,
            "output_reasoning": 0},
        "decisions": 1,
        "started_at": run["started_at"], "ended_at": run["ended_at"],
        "applied": {"topic": "spine.steps", "partition": 0, "offset": 5},
        "input": {"order": "A-17"}, "output": {"data": {"ok": true}}, "error": null,
        "failed_step": null, "tags": {"team": "billing"}, "digest": run["digest"],
    });
    assert_eq!(run, golden);
    assert!(run["ended_at"].as_str().unwrap().starts_with("2023-11-14T22:1"), "{run}");
}

#[tokio::test]
async fn a_container_file_is_taken_like_lines() {
    let world = World::new();
    let lines = six_events("r1");
    let file = containers::file(&containers::data(&lines), 2);
    for (sent, kind) in
        ["application/avro", "avro/binary", "application/vnd.apache.avro"].iter().enumerate()
    {
        let reply = world.send("/v1/events?wait=verdict", kind, file.clone(), &[]).await;
        assert_eq!(reply.status, 202, "{}", reply.json());
        let (first, last) = (6 * sent, 6 * sent + 5);
        let span =
            json!({"topic": TOPIC, "partition": 0, "first_offset": first, "last_offset": last});
        assert_eq!(reply.json(), json!({"appended": 6, "dedupe": true, "positions": [span]}));
    }
    let run = world.get("/v1/runs/r1?at_least=17").await.json();
    assert_eq!((&run["status"], &run["attempts"]), (&json!("completed"), &json!(1)));
}

#[tokio::test]
async fn a_bad_container_file_appends_nothing() {
    let world = World::new();
    let data = containers::data(&six_events("r1"));
    let file = containers::file(&data, 2);
    let cut =
        world.send("/v1/events", "application/avro", file[..file.len() - 9].to_vec(), &[]).await;
    let cut = cut.problem(400, "bad_avro");
    assert!(cut["detail"].as_str().unwrap().contains("the file is cut"), "{cut}");
    let empty = world.send("/v1/events", "application/avro", "", &[]).await;
    empty.problem(400, "empty_body");
    let at = file.windows(5).position(|window| window == b"\x08null").unwrap();
    let mut snappy = file.clone();
    snappy[at + 1..at + 5].copy_from_slice(b"lzma");
    let problem = world.send("/v1/events", "application/avro", snappy, &[]).await;
    let problem = problem.problem(415, "media_type");
    assert_eq!(problem["detail"], "its codec is 'lzma'; write it with deflate or null");
    assert!(read(&world, 0).await.is_empty(), "something was appended");
}
