//! Single histories with much in them: no append is larger than a log takes.

use crate::holds::{World, at, config};
use bytes::Bytes;
use serde_json::json;
use spine_log::limits;
use spine_runs::StepStatus;
use spine_schemas::{DeadLetter, RunKey, codec};
use spine_workers::{Config, NoSchemas};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{sleep, timeout};

async fn letters(world: &World) -> Vec<DeadLetter> {
    let to = spine_log::TopicPartition::new(format!("{}.dlq", at().topic), 0);
    let records = crate::check::all_records(&world.log, &to).await;
    let book = codec::SchemaBook::default();
    records
        .iter()
        .map(|it| codec::decode_letter(it.value.as_ref().unwrap(), &book).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn letters_that_are_too_much_for_one_append_go_in_several() {
    let world = World::new();
    let count = limits::BATCH_BYTES / (1 << 20) + 6;
    let large = Bytes::from(vec![b'x'; 1 << 20]);
    for _ in 0..count {
        world.append(None, large.clone()).await;
    }
    let last = world.append_run("after", None, false).await;
    let running = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    running.hub.wait(0, last, Duration::from_secs(60)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let letters = letters(&world).await;
    assert_eq!(letters.len(), count);
    assert!(letters.iter().all(|letter| letter.value.as_ref() == Some(&large)));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_larger_than_a_letter_is_set_aside_where_it_lies() {
    let world = World::new();
    let large = world.append(None, Bytes::from(vec![0; 3 << 20])).await;
    let last = world.append_run("after", None, false).await;
    let running = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    running.hub.wait(0, last, Duration::from_secs(60)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let letters = letters(&world).await;
    assert_eq!((letters.len(), letters[0].offset, &letters[0].value), (1, large, &None));
    let message = &letters[0].message;
    assert!(message.starts_with("the original of 3145728 bytes is left where it was"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn plans_that_schedule_more_than_an_append_takes_do_it_in_several() {
    let mut world = World::new();
    world.tools.takes = Duration::from_millis(10);
    let (runs, count) = (["one", "two"], 160);
    let step = |at: usize| {
        json!({"name": format!("s{at}"), "tool": "http://tool", "after": [],
            "input": {"$ref": "run#/a"}})
    };
    let plan = json!({"steps": (0..count).map(step).collect::<Vec<_>>()}).to_string();
    let input = json!({"a": "x".repeat(250_000)}).to_string();
    assert!(runs.len() * count * input.len() > limits::BATCH_BYTES);
    for name in runs {
        world.append_run_with(name, &plan, &input).await;
    }
    let running = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(running.hub.ready(), Ok(()));
    for name in runs {
        let rows = world.store.rows();
        let steps = rows.runs[&RunKey::new("default", name)].steps.values();
        let completed = steps.filter(|step| step.status == StepStatus::Completed);
        assert_eq!(completed.count(), count, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_what_was_running_comes_before_the_open_runs_ahead_of_its_name() {
    let mut world = World::new();
    world.tools.takes = Duration::from_secs(3600);
    for number in 0..2_000 {
        world.append_run(&format!("a{number}"), None, false).await;
    }
    let plan = r#"{"steps":[{"name":"s","tool":"http://tool","effect":"pure"}]}"#;
    let last = world.append_run("z", Some(plan), false).await;
    let config = Config { exclusive: true, ..config("n1") };
    let before = world.start_alone(config.clone(), Arc::new(NoSchemas)).await;
    before.hub.wait(0, last, Duration::from_secs(60)).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.tools.calls.load(Ordering::SeqCst), 1);
    before.task.abort();
    before.task.await.unwrap_err();

    world.store.set_slow_ms(1000);
    let running = world.start_alone(config, Arc::new(NoSchemas)).await;
    let begun = async || {
        while running.hub.ready().is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), begun()).await.expect("a beginning");
    let called = async || {
        while world.tools.calls.load(Ordering::SeqCst) < 2 {
            assert!(running.hub.ready().is_err(), "the sweep over all open runs came first");
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(60), called()).await.expect("a call");
}
