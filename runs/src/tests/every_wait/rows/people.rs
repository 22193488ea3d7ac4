//! What waits for a person: doubt, letters, questions, signals.

use super::{ONCE, Row, after, called, careful, planned, row};
use crate::tests::{bodies::step, given::Given, probes, recovery::end};
use spine_schemas::{ErrorClass, StepEvent, TaskVerdict};

/// Nobody knows whether `a` has happened.
fn doubtful(given: Given, why: &'static str) -> Row {
    Row {
        paused: "waiting: Paused, Resolution",
        cancelled: "cancelled, a unknown",
        undone: "waiting: Resolution",
        killed: "cancelled, a unknown",
        ..row(given, why)
    }
}

pub(super) fn of_doubt() -> Vec<Row> {
    let failing = format!(
        r#"{{"name":"a","tool":"t","after":["d"]}},
           {{"name":"e","tool":"t","effect":"pure","after":["d"]{ONCE},"on_exhausted":"compensate"}}"#
    );
    let mut turns_back = after(planned(&failing), ErrorClass::Timeout);
    end(&mut turns_back, "e", Some(ErrorClass::Terminal));
    vec![
        doubtful(
            after(careful(), ErrorClass::Timeout),
            "Attempt 1 of step a#1 may or may not have taken effect (timeout (timeout)): find out, then run \
             'spine steps resolve r1 a#1 --happened --reason …', or '--not'.",
        ),
        // Its way is certain, so nothing can be taken over that is about to be undone.
        Row {
            paused: "waiting: Paused, Resolution, Paused",
            forked: "takes nothing; again d? a? e",
            ..doubtful(
                turns_back,
                "The run failed with step e#1 (terminal (terminal)), and what it has done is undone as soon as it is \
                 known what that is. Attempt 1 of step a#1 may or may not have taken effect (timeout (timeout)): \
                 find out, then run 'spine steps resolve r1 a#1 --happened --reason …', or '--not'.",
            )
        },
    ]
}

pub(super) fn of_probes() -> Vec<Row> {
    let asks = || {
        let a = r#"{"name":"a","tool":"t","effect":"probe","probe":{"tool":"p"}}"#;
        after(planned(a), ErrorClass::UnknownOutcome)
    };
    let mut again = asks();
    probes::answered(&mut again, probes::nothing(), 0);
    let asked = |given, why| Row { undone: "running: Probe", ..doubtful(given, why) };
    vec![
        asked(
            asks(),
            "Attempt 1 of step a#1 may or may not have taken effect (unknown_outcome (unknown_outcome)): p is asked \
             now. You may find out, then run 'spine steps resolve r1 a#1 --happened --reason …', or '--not'.",
        ),
        asked(
            again,
            "Attempt 1 of step a#1 may or may not have taken effect (unknown_outcome (unknown_outcome)): p is asked \
             again at 2023-11-14T22:13:21Z, for the 2nd time (http_503). You may find out, then run 'spine steps \
             resolve r1 a#1 --happened --reason …', or '--not'.",
        ),
    ]
}

/// A letter of `a` is open.
fn lettered(given: Given, why: &'static str) -> Row {
    Row {
        paused: "waiting: Paused, DeadLetter",
        cancelled: "cancelled, a dead_lettered",
        undone: "undoes d: cancelled, a dead_lettered",
        killed: "cancelled, a dead_lettered",
        ..row(given, why)
    }
}

pub(super) fn of_letters() -> Vec<Row> {
    vec![
        lettered(
            after(called(ONCE), ErrorClass::Transient),
            "Step a#1 used up its attempts with transient (transient): repair the cause, then run 'spine \
             dead-letters redrive LETTER --reason …', or 'discard'.",
        ),
        Row {
            forked: "takes d; again a",
            ..lettered(
                after(careful(), ErrorClass::Terminal),
                "Step a#1 is not tried again after terminal (terminal): repair the cause, then run 'spine \
                 dead-letters redrive LETTER --force --reason …' (its effect may take place twice), or 'discard'.",
            )
        },
        Row {
            forked: "takes d; again a",
            ..lettered(
                planned(r#"{"name":"a","tool":"t","input":{"$ref":"d#/nothing"}}"#),
                "Step a#1 is not tried again after reference (contract): repair the cause, then run 'spine \
                 dead-letters redrive LETTER --input FILE --reason …' (what its own input refers to is not there), \
                 or 'discard'.",
            )
        },
        stuck_undo(),
    ]
}

/// What `d` has done could not be undone.
fn stuck_undo() -> Row {
    let mut given = called(&format!(r#"{ONCE},"on_exhausted":"compensate""#));
    given.fail(ErrorClass::Terminal);
    end(&mut given, "compensate/d", Some(ErrorClass::Terminal));
    Row {
        paused: "waiting: Paused, DeadLetter",
        cancelled: "refused: RunEnding",
        undone: "refused: RunEnding",
        killed: "cancelled, d dead_lettered",
        forked: "takes nothing; again d? a",
        ..row(
            given,
            "The run failed with step a#1 (terminal: it failed), and what it has done is being undone. Step \
             compensate/d#1 is not tried again after terminal (terminal), and the rest is undone after it: repair the \
             cause, then run 'spine dead-letters redrive LETTER --reason …', or 'spine tasks decide TASK --complete \
             --reason …' if it was undone by hand, or '--skip'. 'spine runs kill r1' ends the run as it is.",
        )
    }
}

pub(super) fn task() -> Row {
    let asks = called(&format!(r#"{ONCE},"on_exhausted":"escalate""#));
    Row {
        paused: "waiting: Paused, Task",
        forked: "takes d; again a",
        ..row(
            after(asks, ErrorClass::Terminal),
            "Step a#1 used up its attempts with terminal (terminal), and somebody is asked what to do since \
             2023-11-14T22:13:20Z: 'spine tasks decide TASK --retry --reason …', or '--complete', '--skip', '--fail'.",
        )
    }
}

pub(super) fn of_approvals() -> Vec<Row> {
    let asks = |given, why| Row {
        paused: "waiting: Paused, Approval",
        forked: "takes d; again a",
        ..row(given, why)
    };
    let mut half = called(r#","approval":{"expires_ms":60000,"quorum":2}"#);
    let task_id = half.step("a").task.as_ref().expect("somebody is asked").task_id;
    let (verdict, reason) = (TaskVerdict::Approve, "fine".into());
    half.append(step("a", StepEvent::TaskDecided { task_id, verdict, output: None, reason }));
    let mut paused = called(r#","approval":{"expires_ms":60000}"#);
    paused.append(step("a", StepEvent::Paused { reason: "look".into() }));
    vec![
        asks(
            called(r#","approval":{"expires_ms":60000}"#),
            "Step a#1 may call t only if somebody approves of it until 2023-11-14T22:14:20Z: 'spine tasks decide TASK \
             --approve --reason …', or '--deny'.",
        ),
        asks(
            half,
            "Step a#1 may call t only if 2 people approve of it until 2023-11-14T22:14:20Z; approved by 1 of 2: test; \
             needs one more, not test: 'spine tasks decide TASK --approve --reason …', or '--deny'.",
        ),
        asks(
            paused,
            "Step a#1 may call t only if somebody approves of it until 2023-11-14T22:14:20Z: 'spine tasks decide TASK \
             --approve --reason …', or '--deny'; it is paused by test (look), too, and begins nothing before 'spine \
             steps resume r1 a#1'.",
        ),
    ]
}

pub(super) fn signal() -> Row {
    Row {
        paused: "waiting: Paused, Signal",
        forked: "takes d; again a",
        ..row(
            planned(r#"{"name":"a","tool":"signal:paid","deadline_ms":60000}"#),
            "Step a#1 waits for the signal paid until 2023-11-14T22:14:20Z: 'spine runs signal r1 paid' sends it.",
        )
    }
}
