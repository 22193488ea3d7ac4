//! Every waiting state: how a run comes there, the one sentence for it with what somebody can do, and what
//! follows when it is paused, cancelled, undone, killed or forked right there.

mod rows;

use super::{
    bodies::{APPLIED, completed, created, run, step},
    forks,
    given::Given,
};
use crate::{Reason, StepState, StepStatus, Verdict, WaitKind, why};
use rows::{KINDS, Row, rows};
use spine_schemas::{Body, Driver, Plan, RunEvent, StepEvent, StepKey, UNDO_SCOPE, keys};

#[test]
fn f19_l37_every_wait_is_explained_paused_cancelled_undone_killed_and_forked() {
    let all = KINDS.iter().flat_map(|kind| rows(*kind).into_iter().map(|row| (*kind, row)));
    let wrong: Vec<String> = all.flat_map(|(kind, row)| differences(kind, &row)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as the row says.
fn differences(kind: WaitKind, row: &Row) -> Vec<String> {
    let given = &row.given;
    let waits = given.run().waits();
    assert!(waits.iter().any(|wait| wait.wait_for == kind), "{kind:?}: {waits:?}");
    pause_steps(given.clone());
    let columns = [
        ("why", row.why, sentence(given)),
        ("pause", row.paused, pause(given.clone(), kind)),
        ("cancel", row.cancelled, cancel(given.clone(), false)),
        ("cancel, compensating", row.undone, cancel(given.clone(), true)),
        ("kill", row.killed, kill(given.clone())),
        ("fork", row.forked, fork(given)),
    ];
    let differ = columns.into_iter().filter(|(_, expected, seen)| expected != seen);
    let words = differ.map(|(verb, expected, seen)| {
        format!("{kind:?}, {verb}:\n  expected {expected}\n  seen     {seen}")
    });
    words.collect()
}

/// The sentence with names in place of ids.
fn sentence(given: &Given) -> String {
    let mut text = why(given.run()).sentence;
    for step in given.run().steps.unsettled() {
        let letter = step.letter.as_ref().map(|letter| (letter.letter_id.to_string(), "LETTER"));
        let task = step.task.as_ref().map(|task| (task.task_id.to_string(), "TASK"));
        let child = (keys::child_run_id(&given.run().key, &step.key, step.attempt), "CHILD");
        for (id, name) in letter.into_iter().chain(task).chain([child]) {
            text = text.replace(&id, name);
        }
    }
    text
}

/// Where a run is, and where it has ended, what is left open of it.
fn seen(given: &Given) -> String {
    let (run, status) = (given.run(), given.run().public_status());
    if run.is_open() {
        let mut waits: Vec<_> =
            run.waits().iter().map(|wait| format!("{:?}", wait.wait_for)).collect();
        waits.dedup();
        return format!("{status}: {}", waits.join(", "));
    }
    let asks = |step: &StepState| step.task.is_some() || step.wait.is_some();
    assert!(!run.steps.values().any(|step| asks(step)), "nobody can answer any more");
    let is_left =
        |step: &StepState| matches!(step.status, StepStatus::Unknown | StepStatus::DeadLettered);
    let left = run.steps.unsettled().filter(|step| is_left(step));
    let left = left.map(|step| format!(", {} {}", step.key.name, step.status.as_str()));
    format!("{status}{}", left.collect::<String>())
}

/// How a request was refused, if it was.
fn refusal(given: &mut Given, event: RunEvent) -> Option<String> {
    let verdict = given.append(run(event));
    match verdict {
        Verdict::Applied(_) => None,
        Verdict::Stale(Reason::Duplicate, _) => Some("already".into()),
        Verdict::Stale(..) | Verdict::Refused(..) | Verdict::Illegal(_) => {
            Some(format!("refused: {:?}", verdict.reason().expect("a reason")))
        }
    }
}

fn cancel_request(compensate: bool) -> RunEvent {
    RunEvent::CancelRequested { reason: "enough".into(), compensate }
}

fn pause(mut given: Given, kind: WaitKind) -> String {
    if let Some(refusal) = refusal(&mut given, RunEvent::Paused { reason: "look".into() }) {
        return refusal;
    }
    let (seen, before) = (seen(&given), given.log.len());
    given.after(7_200_000).settle();
    let begun = begun_since(&given, before);
    assert!(begun.is_empty(), "{kind:?}: {begun:?} starts while its run is paused");
    assert_eq!(refusal(&mut given, RunEvent::Resumed { reason: "seen".into() }), None);
    let waits = given.run().waits();
    let is_held = waits.iter().any(|wait| wait.wait_for == WaitKind::Paused);
    assert_eq!(is_held, kind == WaitKind::Paused, "what it is now held by is older: {waits:?}");
    seen
}

/// Pauses every step that is open.
fn pause_steps(mut given: Given) {
    if given.run().driver() == Driver::Record {
        return;
    }
    let open: Vec<StepKey> = given.run().steps.unsettled().map(|step| step.key.clone()).collect();
    for key in &open {
        let verdict =
            given.append(step(&key.to_string(), StepEvent::Paused { reason: "x".into() }));
        assert!(verdict.counts_as_applied(), "{key}: {verdict:?}");
    }
    let before = given.log.len();
    given.after(7_200_000).settle();
    let begun = begun_since(&given, before);
    assert!(begun.iter().all(|key| !open.contains(key)), "{begun:?} of {open:?}");
}

/// The steps of which something began behind a place in the log.
fn begun_since(given: &Given, before: usize) -> Vec<StepKey> {
    let began = given.log[before..].iter().filter_map(|(event, _)| {
        let Body::Step(_, key, body) = &event.body else { return None };
        let begins = matches!(
            body,
            StepEvent::Started(_)
                | StepEvent::WaitCreated { .. }
                | StepEvent::ApprovalRequested { .. }
        );
        begins.then(|| key.clone())
    });
    began.collect()
}

/// Cancels the run, and does what undoes it.
fn cancel(mut given: Given, compensate: bool) -> String {
    if let Some(refusal) = refusal(&mut given, cancel_request(compensate)) {
        return refusal;
    }
    given.settle();
    let mut undone = String::new();
    while let Some(undo) = running_undo(&given) {
        undone.push_str(&format!("undoes {}: ", undo.key.name));
        let lease = undo.live.as_ref().expect("it runs").lease;
        given.settle_with(vec![completed(&undo.key.to_string(), undo.attempt, lease)]);
    }
    undone + &seen(&given)
}

fn running_undo(given: &Given) -> Option<StepState> {
    let is_undo =
        |step: &StepState| step.status == StepStatus::Running && *step.key.scope == *UNDO_SCOPE;
    given.run().steps.unsettled().find(|step| is_undo(step)).map(|step| StepState::clone(step))
}

/// As the server does it: a run that cannot be cancelled is not killed, unless it is about to end anyway.
fn kill(mut given: Given) -> String {
    let ending = format!("refused: {:?}", Reason::RunEnding);
    match refusal(&mut given, cancel_request(false)) {
        Some(refusal) if refusal != ending => return refusal,
        Some(_) | None => {}
    }
    assert_eq!(refusal(&mut given, RunEvent::Cancelled { reason: "now".into() }), None);
    assert!(given.settle().is_empty(), "it has ended");
    seen(&given)
}

fn fork(given: &Given) -> String {
    if let Err(reason) = given.run().may_be_forked() {
        return format!("refused: {reason:?}");
    }
    let (new, taken) = forks::fork_of(given, |_| {}, None);
    let list = |names: Vec<String>| match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(" "),
    };
    let reused = taken.reused.iter().map(|step| step.key.name.to_string()).collect();
    let again = taken
        .again
        .iter()
        .map(|step| format!("{}{}", step.key.name, if step.may_repeat() { "?" } else { "" }));
    let text = format!("takes {}; again {}", list(reused), list(again.collect()));
    let mut fork = forks::begin(new, &taken, usize::MAX);
    match fork.run().driver() {
        Driver::Plan => assert!(!fork.settle().is_empty(), "the fork goes on"),
        Driver::Journal | Driver::Record => assert_eq!(seen(&fork), "running: Client"),
    }
    text
}

/// A run of another tenant needs its name in every command.
#[test]
fn f19_what_to_do_is_said_for_the_tenant_of_the_run() {
    let mut given = Given::nothing();
    let plan = Plan::parse(r#"{"steps":[{"name":"a","tool":"signal:go"}]}"#).expect("a legal plan");
    let begins = created(Driver::Plan, Some(plan));
    let begins = spine_schemas::Event { tenant: "acme".into(), ..given.event(begins) };
    assert_eq!(given.fold(begins), APPLIED);
    given.settle();
    let said = why(given.run()).sentence;
    assert!(said.ends_with(": 'spine runs signal r1 go --tenant acme' sends it."), "{said}");
}
