//! What holds for every history, legal or not.

use super::{
    arbitrary::{choices, config, drivers, play},
    bodies::kind_of,
    given::Given,
};
use crate::{
    AttemptEnd, PartitionState, Place, RunState, Slots, StepState, StepStatus, Verdict, ahead,
    decide, fold, refold, wake_at, why,
};
use proptest::prelude::*;
use spine_schemas::{Driver, Event, time::Micros};
use std::sync::Arc;

type State = (PartitionState, Option<Arc<RunState>>);

fn fold_all(mut state: State, log: &[(Event, Place)]) -> State {
    for (event, place) in log {
        fold(&mut state.0, &mut state.1, event, *place);
    }
    state
}

/// Folds again as a store does that knows the verdicts: without the partition's state.
fn refold_all(log: &[(Event, Place)]) -> Option<Arc<RunState>> {
    let (mut partition, mut known) = (PartitionState::default(), None);
    let mut run = None;
    for (event, place) in log {
        let verdict = fold(&mut partition, &mut known, event, *place);
        if matches!(event.body, spine_schemas::Body::Partition(_)) {
            continue;
        }
        assert_eq!(refold(&mut run, event, *place, verdict.reason()), verdict, "{event:?}");
    }
    run
}

/// What is remembered of operations and batches may change with any event that carries them.
fn without_memory(run: &Option<Arc<RunState>>) -> Option<RunState> {
    run.as_deref().map(|run| RunState {
        batches: Default::default(),
        seen: Default::default(),
        sessions: Default::default(),
        ..run.clone()
    })
}

fn is_live(step: &StepState) -> bool {
    step.status == StepStatus::Running
}

/// What holds between the fields of a step at any time.
fn check_step(run: &RunState, step: &StepState) {
    let policy = &step.spec.retry;
    let (status, key) = (step.status, &step.key);
    assert_eq!(step.live.is_some(), is_live(step), "{key}: {status:?}");
    assert!(step.attempts.is_sorted_by(|a, b| a.attempt < b.attempt && a.lease < b.lease));
    assert!(step.attempts.len() <= spine_schemas::limits::ATTEMPT_HISTORY);
    assert_eq!(step.attempts.last().map_or(0, |last| last.attempt), step.attempt);
    let running = step.attempts.iter().filter(|one| one.end == AttemptEnd::Running).count();
    assert_eq!(running, usize::from(is_live(step)), "{key}: {status:?}");
    let waits = matches!(status, StepStatus::RetryWaiting | StepStatus::Deferred);
    // What is held back waits for no time of its own.
    let has_time = waits && step.held_back().is_none();
    assert_eq!(step.due_at.is_some(), has_time, "{key}: {status:?}");
    assert!(step.letter.is_none() || status == StepStatus::DeadLettered);
    assert_eq!(step.letter.is_some(), status == StepStatus::DeadLettered, "{key}: {status:?}");
    let may_have_output = matches!(status, StepStatus::Completed | StepStatus::Skipped);
    assert!(step.output.is_none() || may_have_output);
    let asked = matches!(status, StepStatus::Awaiting | StepStatus::DeadLettered);
    assert!(step.task.is_none() || asked, "{key}: {status:?}");
    assert!(step.edit <= step.generation);
    if run.driver() != Driver::Record {
        assert!(step.charged <= policy.max_attempts, "{key}: {} charged", step.charged);
        let may_go_on = waits || status == StepStatus::Scheduled || is_live(step);
        assert!(!may_go_on || step.charged < policy.max_attempts, "{key}: {status:?}");
    }
    assert!(step.last_offset <= run.last_offset, "{key}");
    assert!(run.is_open() || !waits && status != StepStatus::Scheduled, "{key}: {status:?}");
}

fn check_run(run: &RunState) {
    assert!(run.steps.is_indexed(), "{:?}", run.steps);
    run.steps.values().for_each(|step| check_step(run, step));
    assert!(run.batches.len() <= spine_schemas::limits::RUN_BATCHES);
    assert!(run.sessions.len() <= spine_schemas::limits::RUN_SESSIONS);
    assert_eq!(run.waits().is_empty(), !run.is_open());
    assert!(!why(run).sentence.is_empty());
}

/// Every open run has an attempt, a tool to be asked, a timer or a named wait once its owner has decided.
fn check_waits(given: &Given) {
    let run = given.run();
    if !run.is_open() || run.driver() == Driver::Record {
        return;
    }
    let owner = given.owner();
    // That it will be found to stand still is no way to go on.
    let woken = wake_at(run, &crate::Owner { stall_after_ms: 0, ..owner }).is_some();
    let live = run.steps.values().any(|step| is_live(step));
    let asks = crate::probes_due(run, owner.now).next().is_some();
    let named = run.waits().iter().any(|wait| {
        matches!(
            wait.wait_for,
            crate::WaitKind::Resolution
                | crate::WaitKind::DeadLetter
                | crate::WaitKind::Client
                | crate::WaitKind::Task
                | crate::WaitKind::Signal
                | crate::WaitKind::Approval
                | crate::WaitKind::Paused
                | crate::WaitKind::Worker
        )
    });
    assert!(woken || live || asks || named, "{:?}", run.waits());
    if let Some(wake) = wake_at(run, &owner) {
        assert!(wake > given.now, "a timer that rings for nothing");
        let just_before = crate::Owner { now: Micros(wake.0 - 1), ..owner };
        let early = decide(run, &just_before, &mut Slots::unlimited());
        assert_eq!(early.bodies, vec![], "something was due before its timer");
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn the_fold_bears_everything_and_keeps_its_invariants(
        driver in drivers(), choices in choices(60),
    ) {
        play(driver, &choices, |before, event, verdict, after| {
            check_run(after.run());
            let applied = matches!(verdict, Verdict::Applied(_));
            if !applied {
                assert_eq!(without_memory(&before.run), without_memory(&after.run), "{event:?}");
            }
            let carries_memory = event.op.is_some() || event.batch.is_some();
            assert!(applied || carries_memory || before.run == after.run, "{event:?}");
            for (key, step) in &after.run().steps {
                let known = before.run().steps.get(key);
                let same = known.is_some_and(|known| known == step);
                assert!(same || step.last_offset == after.offset, "{key} after {event:?}");
            }
        });
    }

    #[test]
    fn c7_a_stored_state_and_the_rest_of_the_log_make_the_whole(
        driver in drivers(), choices in choices(40), cut: prop::sample::Index,
    ) {
        let given = play(driver, &choices, |_, _, _, _| {});
        let whole = fold_all(State::default(), &given.log);
        prop_assert_eq!(&whole.0, &given.partition);
        prop_assert_eq!(&whole.1, &given.run);
        let (prefix, rest) = given.log.split_at(cut.index(given.log.len()));
        let (partition, run) = fold_all(State::default(), prefix);
        let text = serde_json::to_string(&partition).unwrap();
        let stored: PartitionState = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&stored, &partition);
        prop_assert_eq!(fold_all((stored, run), rest), whole);
    }

    #[test]
    fn folding_again_by_known_verdicts_gives_the_same_run(
        driver in drivers(), choices in choices(60),
    ) {
        let given = play(driver, &choices, |_, _, _, _| {});
        prop_assert_eq!(refold_all(&given.log), given.run);
    }

    #[test]
    fn g2_an_event_that_comes_again_changes_nothing(driver in drivers(), choices in choices(60)) {
        play(driver, &choices, |_, event, _, after| {
            // A heartbeat or a decision of an agent without a number cannot be told from a new one.
            if kind_of(&event.body) == "step_heartbeat" && event.op.is_none() {
                return;
            }
            let mut again = after.clone();
            let verdict = again.fold(event.clone());
            assert!(!matches!(verdict, Verdict::Applied(_)), "{event:?}");
            assert_eq!(without_memory(&again.run), without_memory(&after.run), "{event:?}");
            assert_eq!(again.partition, after.partition);
        });
    }

    #[test]
    fn a_repeat_of_a_fact_never_becomes_a_letter(choices in choices(40)) {
        let mut applied: Vec<Event> = Vec::new();
        play(Driver::Record, &choices, |_, event, verdict, after| {
            if matches!(verdict, Verdict::Applied(_)) && event.claim.is_none() {
                applied.push(event.clone());
            }
            for event in applied.iter().filter(|event| kind_of(&event.body) != "step_resolved") {
                let mut again = after.clone();
                let verdict = again.fold(event.clone());
                assert!(!matches!(verdict, Verdict::Illegal(_)), "{event:?}: {verdict:?}");
            }
        });
    }

    #[test]
    fn f24_decisions_settle_are_taken_and_leave_a_timer_or_a_named_wait(
        driver in prop_oneof![Just(Driver::Plan), Just(Driver::Journal)], choices in choices(60),
    ) {
        play(driver, &choices, |_, _, _, after| {
            let mut settled = after.clone();
            settled.settle();
            check_waits(&settled);
            check_run(settled.run());
        });
    }

    #[test]
    fn decisions_under_an_older_claim_change_nothing(choices in choices(40)) {
        play(Driver::Plan, &choices, |_, _, _, after| {
            let decided = after.ahead(Vec::new()).events;
            let mut moved = after.clone();
            moved.claim();
            let before = moved.run.clone();
            for event in decided.into_iter().filter(|event| event.claim.is_some()) {
                assert!(!matches!(moved.fold(event), Verdict::Applied(_)));
            }
            assert_eq!(moved.run, before);
        });
    }

    #[test]
    fn why_names_the_next_event(driver in drivers(), choices in choices(60)) {
        play(driver, &choices, |before, event, verdict, _| {
            let about_run = event.run_id().is_some();
            // An operation that only takes over from another session may be of any kind.
            let granted = matches!(verdict, Verdict::Applied(answer) if answer.grants());
            if about_run && granted {
                let (kind, why) = (kind_of(&event.body), why(before.run()));
                assert!(why.next.contains(&kind), "{kind} came, but: {why:?}");
            }
        });
    }

    #[test]
    fn folding_ahead_equals_folding(driver in drivers(), choices in choices(40)) {
        play(driver, &choices, |_, _, _, after| {
            let run = after.run.as_ref().unwrap();
            let stamp = crate::Stamp { batch_id: "x".into(), actor: "o".into(), now: after.now };
            let one = || ahead(&after.partition, run, vec![], &after.owner(), &mut Slots::unlimited(), &stamp);
            let (first, again) = (one(), one());
            assert_eq!(first.events, again.events, "the same state gives the same batch");
        });
    }
}
