//! Single histories of attempts that outlive their owner: the process lives on, so their outcomes count.

use crate::holds::{Running, World, at, config, created};
use spine_log::EventLog;
use spine_runs::{StepStatus, Verdict};
use spine_schemas::{Body, Event, RunKey, StepEvent, codec};
use spine_workers::{Config, NoSchemas};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::sleep;

const PLAN: &str = r#"{"steps":[{"name":"s","tool":"http://tool","effect":"at_most_once",
    "timeout_ms":30000}]}"#;

/// A run whose only step is being called by the only process.
async fn calling(world: &World, config: Config) -> Running {
    let running = world.start_alone(config, Arc::new(NoSchemas)).await;
    running.hub.wait_ready().await;
    world.append_run("late", Some(PLAN), false).await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(world.tools.calls.load(Ordering::SeqCst), 1);
    running
}

/// The step was called once, ended so, and was never in doubt.
async fn assert_called_once(world: &World) {
    let rows = world.store.rows();
    let run = &rows.runs[&RunKey::new("default", "late")];
    let statuses: Vec<_> = run.steps.values().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Completed]);
    assert_eq!(world.tools.calls.load(Ordering::SeqCst), 1);
    let doubts = world.events().await.into_iter().filter(|(_, event)| {
        let Body::Step(_, _, body) = &event.body else { return false };
        matches!(body, StepEvent::Unknown { .. } | StepEvent::Lost { .. })
    });
    assert_eq!(doubts.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_could_not_be_appended_is_kept_when_the_partition_is_taken_away() {
    let world = World::new();
    let first = calling(&world, config("n1")).await;
    world.log.set_away(true);
    let second = world.start(config("n2"), Arc::new(NoSchemas)).await;
    world.log.group.hand_over_to(0, 2, Duration::from_secs(30)).await;
    sleep(Duration::from_secs(20)).await;
    world.log.set_away(false);
    second.hub.wait_ready().await;
    sleep(Duration::from_secs(60)).await;
    assert_called_once(&world).await;
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_when_the_partition_is_taken_away() {
    let mut world = World::new();
    world.tools.takes = Duration::from_secs(20);
    let first = calling(&world, config("n1")).await;
    let second = world.start(config("n2"), Arc::new(NoSchemas)).await;
    world.log.group.hand_over_to(0, 2, Duration::from_secs(30)).await;
    second.hub.wait_ready().await;
    sleep(Duration::from_secs(60)).await;
    assert_called_once(&world).await;
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_when_its_owner_begins_anew() {
    for exclusive in [false, true] {
        let mut world = World::new();
        world.tools.takes = Duration::from_secs(20);
        let running = calling(&world, Config { exclusive, ..config("n1") }).await;
        world.log.fail_reads(1);
        world.append_run("other", None, false).await;
        sleep(Duration::from_secs(60)).await;
        assert_called_once(&world).await;
        assert_eq!(running.hub.ready(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_waits_for_what_is_late_as_long_as_it_drains() {
    let mut world = World::new();
    world.tools.takes = Duration::from_secs(15);
    let first = calling(&world, config("n1")).await;
    let second = world.start(config("n2"), Arc::new(NoSchemas)).await;
    world.log.group.hand_over_to(0, 2, Duration::from_secs(30)).await;
    first.stop.send_replace(true);
    first.task.await.unwrap().unwrap();
    second.hub.wait_ready().await;
    sleep(Duration::from_secs(60)).await;
    assert_called_once(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_does_not_wait_for_ever() {
    let mut world = World::new();
    world.tools.takes = Duration::from_secs(29);
    let first = calling(&world, config("n1")).await;
    world.start(config("n2"), Arc::new(NoSchemas)).await;
    world.log.group.hand_over_to(0, 2, Duration::from_secs(30)).await;
    first.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(21), first.task).await.unwrap().unwrap().unwrap();
}

/// A run whose step has been started in the log, which its owner cannot read.
async fn started_unread(world: &World) -> Running {
    let running = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    running.hub.wait_ready().await;
    let end = world.log.bounds(&at()).await.unwrap().end;
    running.log.set_horizon(end + 1);
    world.append_run("late", Some(PLAN), false).await;
    sleep(Duration::from_secs(1)).await;
    let events = world.events().await;
    let started = |event: &Event| matches!(&event.body, Body::Step(_, _, StepEvent::Started(_)));
    assert!(events.iter().any(|(_, event)| started(event)), "{events:?}");
    assert_eq!(world.tools.calls.load(Ordering::SeqCst), 0);
    running
}

#[tokio::test(start_paused = true)]
async fn a_start_on_which_nobody_acts_any_more_is_released_by_who_made_it() {
    let world = World::new();
    let first = started_unread(&world).await;
    let second = world.start(config("n2"), Arc::new(NoSchemas)).await;
    world.log.group.hand_over_to(0, 2, Duration::from_secs(30)).await;
    second.hub.wait_ready().await;
    sleep(Duration::from_secs(10)).await;
    assert_called_once(&world).await;
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_begins_anew_knows_on_which_starts_nobody_acted() {
    let world = World::new();
    let running = started_unread(&world).await;
    world.log.fail_reads(1);
    running.log.set_horizon(u64::MAX);
    sleep(Duration::from_secs(10)).await;
    assert_called_once(&world).await;
}

#[tokio::test(start_paused = true)]
async fn a_success_counts_although_the_attempt_was_given_up_meanwhile() {
    let mut world = World::new();
    world.tools.takes = Duration::from_secs(20);
    let running = calling(&world, config("n1")).await;
    let key = RunKey::new("default", "late");
    let started = world.events().await.into_iter().find_map(|(offset, event)| match event.body {
        Body::Step(_, step, StepEvent::Started(_)) => Some((offset, step)),
        Body::Step(..) | Body::Run(..) | Body::Partition(_) => None,
    });
    let (lease, step) = started.unwrap();
    let reason = "its owner was replaced".into();
    let lost = StepEvent::Lost { attempt: 1, lease, heartbeat: lease, reason };
    let claim = running.hub.claim_of(0).map(|(offset, _)| offset);
    let body = Body::Step(key.run_id.clone(), step, lost);
    let event = Event { event_id: "lost".into(), claim, body, ..created(&world.clock, &key, None) };
    let given_up = world.append(Some(&key), codec::encode(&event).unwrap()).await;
    let verdict = running.hub.wait(0, given_up, Duration::from_secs(1)).await.unwrap();
    assert!(matches!(verdict, Verdict::Applied(_)), "{verdict:?}");
    let status = |world: &World| {
        let rows = world.store.rows();
        rows.runs[&key].steps.values().map(|step| step.status).collect::<Vec<_>>()
    };
    sleep(Duration::from_secs(5)).await;
    assert_eq!(status(&world), [StepStatus::Unknown]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(status(&world), [StepStatus::Completed]);
    assert_eq!(world.tools.calls.load(Ordering::SeqCst), 1);
}
