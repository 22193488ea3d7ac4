//! Who is told what, and what is given back.

use super::*;
use spine_schemas::{Digest, Effect, Payload, RunKey, StepKey, time::Micros};
use tokio::time::{Duration, sleep};

fn ask(max: usize) -> Ask {
    Ask { queue: "q".into(), worker: "w".into(), max, lease_ms: 1000, tenants: None }
}

fn lease(number: u64) -> GrantedStep {
    GrantedStep {
        partition: 0,
        run: RunKey::new("default", "r"),
        step: StepKey::named("a"),
        attempt: 1,
        offset: number,
        until: Micros(0),
        idempotency_key: Digest([0; 32]),
        input: Payload::null(),
        effect: Effect::Pure,
        timeout_ms: 1,
        traceparent: String::new(),
    }
}

fn asking(polls: &Polls) -> Vec<(u64, usize)> {
    polls.asking(|queue| queue == "q").iter().map(|asking| (asking.id, asking.room)).collect()
}

fn offsets(leases: &[GrantedStep]) -> Vec<u64> {
    leases.iter().map(|lease| lease.offset).collect()
}

/// The owner of a partition is called.
async fn called(polls: &Polls, partition: u32) {
    let called = tokio::time::timeout(Duration::from_secs(1), polls.called(partition)).await;
    called.expect("the owner is called");
}

/// A poll on its way, and a moment for it to be there.
async fn asked(
    polls: &Polls,
    max: usize,
    wait_ms: u64,
) -> tokio::task::JoinHandle<(Vec<GrantedStep>, Duration)> {
    let polls = polls.clone();
    let task = tokio::spawn(async move {
        let since = Instant::now();
        let leases = polls.lease(ask(max), Duration::from_millis(wait_ms)).await;
        (leases, since.elapsed())
    });
    tokio::task::yield_now().await;
    task
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_work_is_answered_with_nothing_when_its_time_is_over() {
    let polls = Polls::new(1);
    let (leases, took) = asked(&polls, 3, 700).await.await.unwrap();
    assert_eq!((leases, took.as_millis()), (vec![], 700));
    assert_eq!(asking(&polls), []);
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_answered_with_all_that_was_on_its_way_when_the_first_step_came() {
    let polls = Polls::new(1);
    let task = asked(&polls, 3, 60_000).await;
    let [one, two] = [(); 2].map(|()| polls.reserve(1).unwrap());
    assert_eq!(asking(&polls), [(1, 1)]);
    assert!(one.deliver(lease(5)));
    sleep(Duration::from_secs(1)).await;
    assert!(!task.is_finished(), "the other one is on its way");
    assert!(two.deliver(lease(6)));
    let (leases, took) = task.await.unwrap();
    assert_eq!((offsets(&leases), took.as_secs()), (vec![5, 6], 1));
}

#[tokio::test(start_paused = true)]
async fn no_poll_is_granted_more_than_it_asks_for_and_unused_room_is_given_back() {
    let polls = Polls::new(1);
    let task = asked(&polls, 1, 60_000).await;
    polls.set_waiting("q", 0, true);
    let place = polls.reserve(1).unwrap();
    assert!(polls.reserve(1).is_none() && asking(&polls).is_empty());
    drop(place);
    called(&polls, 0).await;
    assert_eq!(asking(&polls), [(1, 1)], "and the owners are told");
    assert!(polls.reserve(1).unwrap().deliver(lease(5)));
    assert_eq!(offsets(&task.await.unwrap().0), [5]);
}

#[tokio::test(start_paused = true)]
async fn those_who_have_work_are_woken_by_a_poll_and_no_others() {
    let polls = Polls::new(3);
    polls.set_waiting("q", 1, true);
    polls.set_waiting("p", 2, true);
    let _task = asked(&polls, 1, 60_000).await;
    called(&polls, 1).await;
    for other in [0, 2] {
        let called = tokio::time::timeout(Duration::from_secs(1), polls.called(other)).await;
        assert!(called.is_err(), "partition {other}");
    }
    polls.leave(1);
    let _other = asked(&polls, 1, 60_000).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), polls.called(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_somebody_who_went_is_given_back_to_its_partition() {
    let polls = Polls::new(1);
    let task = asked(&polls, 3, 60_000).await;
    let [one, two] = [(); 2].map(|()| polls.reserve(1).unwrap());
    assert!(one.deliver(lease(5)));
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!two.deliver(lease(6)), "nobody is there to be told");
    called(&polls, 0).await;
    assert_eq!(offsets(&polls.take_returned(0)), [5]);
    assert_eq!(offsets(&polls.take_returned(0)), [0; 0], "once");
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_time_is_over_waits_for_what_is_on_its_way_but_not_for_ever() {
    let polls = Polls::new(1);
    let task = asked(&polls, 2, 1000).await;
    let place = polls.reserve(1).unwrap();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!((asking(&polls), task.is_finished()), (vec![], false));
    assert!(place.deliver(lease(5)));
    let (leases, took) = task.await.unwrap();
    assert_eq!((offsets(&leases), took.as_millis()), (vec![5], 1500));
    let task = asked(&polls, 2, 1000).await;
    let place = polls.reserve(2).unwrap();
    let (leases, took) = task.await.unwrap();
    assert_eq!((offsets(&leases), took), (vec![], Duration::from_secs(1) + limits::GRANT_PATIENCE));
    assert!(!place.deliver(lease(6)));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_goes_answers_everybody_at_once() {
    let polls = Polls::new(1);
    let task = asked(&polls, 2, 60_000).await;
    polls.close();
    assert_eq!(task.await.unwrap(), (vec![], Duration::ZERO));
    assert_eq!(asked(&polls, 2, 60_000).await.await.unwrap(), (vec![], Duration::ZERO));
}

#[test]
fn l46_partitions_in_which_steps_wait_take_turns_to_be_called_first() {
    let mut waiting = Waiting { partitions: [2, 5, 7].into(), turn: 0 };
    let orders: Vec<_> = (0..4).map(|_| waiting.in_turn()).collect();
    assert_eq!(orders, [[2, 5, 7], [5, 7, 2], [7, 2, 5], [2, 5, 7]]);
    waiting.partitions.clear();
    assert!(waiting.in_turn().is_empty());
}
