//! Verdicts by position, over changes of owners.

use super::*;
use spine_runs::Reason;

const SOON: Duration = Duration::from_millis(20);

fn refused() -> Verdict {
    Verdict::Refused(Reason::RunEnded, Answer::Denied { code: Reason::RunEnded })
}

fn ready(hub: &VerdictHub, partition: u32) {
    hub.set_phase(partition, Phase::Ready);
}

#[tokio::test(start_paused = true)]
async fn what_another_owner_folded_in_between_is_forgotten_and_not_applied() {
    let hub = VerdictHub::new(1);
    hub.joined();
    ready(&hub, 0);
    hub.note(0, 9, refused());
    hub.set_folded(0, 10);
    hub.set_phase(0, Phase::NotAssigned);
    assert_eq!(hub.wait(0, 9, SOON).await, Ok(refused()), "folded here, so it is known here");
    assert_eq!(hub.wait(0, 15, SOON).await, Err(VerdictError::NotOwner));
    // Others wrote 11..=20; the one at 15 was refused.
    ready(&hub, 0);
    hub.begin_after(0, Some(20));
    assert_eq!(hub.wait(0, 15, SOON).await, Err(VerdictError::Forgotten));
    assert_eq!(hub.wait(0, 9, SOON).await, Err(VerdictError::Forgotten));
    hub.note(0, 21, refused());
    hub.set_folded(0, 22);
    assert_eq!(hub.wait(0, 21, SOON).await, Ok(refused()));
    assert_eq!(hub.wait(0, 22, SOON).await, Ok(Verdict::Applied(Answer::Ok)));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_starts_again_where_this_process_folded_forgets_nothing() {
    let hub = VerdictHub::new(1);
    ready(&hub, 0);
    hub.begin_after(0, None);
    hub.note(0, 3, refused());
    hub.set_folded(0, 10);
    hub.begin_after(0, Some(7));
    assert_eq!(hub.wait(0, 3, SOON).await, Ok(refused()));
    assert_eq!(hub.wait(0, 5, SOON).await, Ok(Verdict::Applied(Answer::Ok)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_learns_at_once_that_the_partition_was_lost() {
    let hub = VerdictHub::new(2);
    let long = Duration::from_secs(3600);
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { (hub.wait(0, 5, long).await, hub.stored(0, 5, long).await) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "while joining, the partition may still become ours");
    hub.joined();
    assert_eq!(waiting.await.unwrap(), (Err(VerdictError::NotOwner), Err(VerdictError::NotOwner)));
    ready(&hub, 1);
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { hub.stored(1, 5, long).await }
    });
    tokio::task::yield_now().await;
    hub.set_phase(1, Phase::Leaving);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "an owner that winds down still folds");
    hub.set_phase(1, Phase::NotAssigned);
    assert_eq!(waiting.await.unwrap(), Err(VerdictError::NotOwner));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_ours_must_be_ready() {
    assert_eq!(VerdictHub::without_owners(2).ready(), Ok(()));
    let hub = VerdictHub::new(2);
    assert_eq!(hub.ready(), Err("joining the group".into()));
    hub.joined();
    hub.set_phase(1, Phase::Waiting("catching up".into()));
    assert_eq!(hub.ready(), Err("partition 1: catching up".into()));
    let waiting = tokio::spawn({
        let hub = hub.clone();
        async move { hub.wait_ready().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    ready(&hub, 1);
    waiting.await.unwrap();
    hub.close();
    assert_eq!(hub.ready(), Err("stopping".into()));
}

#[tokio::test(start_paused = true)]
async fn only_a_stopped_partition_is_resumed_and_once() {
    let hub = VerdictHub::new(2);
    hub.joined();
    ready(&hub, 0);
    assert_eq!(hub.resume(0, "ops", "looked"), Err(ResumeError::NotStopped));
    assert_eq!(hub.resume(1, "ops", "looked"), Err(ResumeError::NotOwner));
    assert_eq!(hub.resume(7, "ops", "looked"), Err(ResumeError::NotOwner));
    hub.set_phase(0, Phase::Stopped { offset: 40, bad: 1001 });
    assert!(
        hub.ready().unwrap_err().starts_with("partition 0: stopped at offset 40 after 1001 bad")
    );
    assert_eq!(hub.resume(0, "ops", "looked"), Ok(40));
    assert_eq!(hub.resume(0, "ops", "looked"), Err(ResumeError::NotStopped));
    let resumed = hub.resumed(0).await;
    assert_eq!((resumed.actor.as_str(), resumed.reason.as_str()), ("ops", "looked"));
}

#[test]
fn the_newest_claim_is_known_even_when_older_ones_are_folded_again() {
    let hub = VerdictHub::new(1);
    assert_eq!(hub.claim_of(0), None);
    hub.note_claim(0, 5, "a:1");
    hub.note_claim(0, 9, "b:1");
    hub.note_claim(0, 5, "a:1");
    assert_eq!(hub.claim_of(0), Some((9, "b:1".into())));
}
