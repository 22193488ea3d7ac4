//! Approvals by several people, and of agents' steps.

use super::{
    bodies::{APPLIED, begin, claimed, completed, denied, refused, run, spec, step},
    given::Given,
};
use crate::{Answer, Reason, RunStatus, StepStatus, Verdict, WaitKind, why};
use spine_schemas::{
    Body, Digest, Effect, ErrorClass, Event, HeldBy, InputEdit, Payload, RunEvent, StepEvent,
    StepSpec, StepStarted, TaskVerdict, Then,
};
use std::sync::Arc;

const TWO: &str = r#"[{"name":"a","tool":"t","effect":"pure","retry":{"max_attempts":2,"jitter":0},
    "approval":{"expires_ms":1000,"quorum":2}}]"#;

fn task(given: &Given) -> Digest {
    given.step("a").task.as_ref().expect("somebody is asked").task_id
}

/// One person's answer to the open task of step `a`.
fn says(given: &mut Given, by: &str, verdict: TaskVerdict) -> Verdict {
    let task_id = task(given);
    answers(given, by, task_id, verdict)
}

fn answers(given: &mut Given, by: &str, task_id: Digest, verdict: TaskVerdict) -> Verdict {
    let event = StepEvent::TaskDecided { task_id, verdict, output: None, reason: "seen".into() };
    let event = Event { actor: by.into(), ..given.event(step("a", event)) };
    given.fold(event)
}

fn asked(plan: &str) -> Given {
    let mut given = Given::plan(plan);
    assert_eq!(given.settle(), ["step_scheduled", "approval_requested"]);
    given
}

const ONE_OF_TWO: Verdict = Verdict::Applied(Answer::Counted { approvals: 1, needed: 2 });

#[test]
fn p9_two_people_must_approve_and_one_of_them_twice_is_one() {
    let mut given = asked(TWO);
    assert_eq!(says(&mut given, "alice", TaskVerdict::Approve), ONE_OF_TWO);
    assert_eq!(given.settle(), [""; 0]);
    let again = says(&mut given, "alice", TaskVerdict::Approve);
    assert_eq!(again, refused(Reason::ApprovedAlready));
    assert_eq!((given.settle(), given.status()), (vec![], StepStatus::Awaiting));
    let sentence = why(given.run()).sentence;
    assert!(sentence.contains("2 people approve"), "{sentence}");
    assert!(
        sentence.contains("approved by 1 of 2: alice; needs one more, not alice"),
        "{sentence}"
    );
    assert_eq!(says(&mut given, "bob", TaskVerdict::Approve), APPLIED);
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_retry_scheduled"]);
    assert_eq!(given.wait_for_due(), ["step_started"], "the same call may be repeated");
}

#[test]
fn p9_one_no_outweighs_what_was_approved_and_no_quorum_in_time_is_a_no() {
    let mut one = asked(TWO);
    says(&mut one, "alice", TaskVerdict::Approve);
    assert_eq!(says(&mut one, "alice", TaskVerdict::Deny), APPLIED, "she may change her mind");
    assert_eq!(one.settle(), ["step_dead_lettered"]);
    assert_eq!(one.step("a").error.as_ref().unwrap().code, "approval_denied");
    let mut late = asked(TWO);
    says(&mut late, "alice", TaskVerdict::Approve);
    let task_id = task(&late);
    assert_eq!(late.after(1000).settle(), ["task_expired", "step_dead_lettered"]);
    let bob = answers(&mut late, "bob", task_id, TaskVerdict::Approve);
    assert_eq!(bob, refused(Reason::TaskClosed));
}

#[test]
fn p9_approvals_of_one_call_do_not_count_for_another() {
    let mut given = asked(TWO);
    says(&mut given, "alice", TaskVerdict::Approve);
    says(&mut given, "bob", TaskVerdict::Approve);
    given.settle();
    given.fail(ErrorClass::Terminal);
    let before = given.step("a").spec.input.digest;
    let edit = Some(InputEdit { before, after: Payload::json("input", "9").unwrap() });
    let letter_id = given.letter("a");
    let reason = "repair".into();
    given.append(step("a", StepEvent::Redriven { letter_id, reason, force: false, edit }));
    assert_eq!(given.settle(), ["approval_requested"]);
    assert!(given.step("a").task.as_ref().unwrap().approvers.is_empty());
    assert_eq!(says(&mut given, "alice", TaskVerdict::Approve), ONE_OF_TWO, "she is asked anew");
}

#[test]
fn a_quorum_has_bounds() {
    for (quorum, stored) in [("1", Some(None)), ("16", Some(Some(16))), ("0", None), ("17", None)] {
        let plan =
            format!(r#"{{"steps":[{{"name":"a","tool":"t","approval":{{"quorum":{quorum}}}}}]}}"#);
        let parsed = spine_schemas::Plan::parse(plan);
        assert_eq!(parsed.as_ref().ok().map(|plan| plan.steps[0].quorum), stored);
        if let Err(error) = parsed {
            assert!(error.to_string().contains("steps[0].approval.quorum"), "{error}");
        }
    }
}

/// A `begin` of step `a` by an agent, of which people have to approve.
fn guarded(tool: &str, input: &'static str, quorum: Option<u32>) -> Body {
    let input = Payload::json("input", input).unwrap();
    let spec = StepSpec {
        approval_ms: Some(1000),
        quorum,
        ..StepSpec::new(tool, Effect::AtMostOnce, input)
    };
    let spec = Some(Arc::new(spec));
    step("a", StepEvent::Started(StepStarted { spec, ..StepStarted::default() }))
}

/// The same where the tool is paused.
fn guarded_and_held() -> Body {
    let body = guarded("pay", "1", None);
    let Body::Step(run, key, StepEvent::Started(start)) = body else { panic!("a begin") };
    let held_by = Some(HeldBy::ToolPaused);
    Body::Step(run, key, StepEvent::Started(StepStarted { held_by, ..start }))
}

#[test]
fn people_are_asked_about_an_agents_call_whose_tool_is_paused_and_it_waits_for_both() {
    let mut given = Given::journal();
    let asked = begins(&mut given, guarded_and_held());
    let Answer::Asked { task_id, .. } = asked else { panic!("{asked:?}") };
    assert_eq!(begins(&mut given, guarded_and_held()), asked);
    assert_eq!(task(&given), task_id);
    assert_eq!(says(&mut given, "alice", TaskVerdict::Approve), APPLIED);
    let held = Answer::Wait { wait_for: WaitKind::ToolPaused, until: None };
    assert_eq!(begins(&mut given, guarded_and_held()), held);
    let begun = begins(&mut given, guarded("pay", "1", None));
    assert!(matches!(begun, Answer::Execute { attempt: 1, .. }), "{begun:?}");
}

fn begins(given: &mut Given, body: Body) -> Answer {
    let op_id = given.offset;
    given.op("S", op_id, body).answer().cloned().expect("an answer")
}

fn agent_asks() -> Given {
    let mut given = Given::journal();
    let first = begins(&mut given, guarded("pay", "1", None));
    let until = Some(given.now.plus_ms(1000));
    assert_eq!(first, Answer::Asked { task_id: task(&given), until });
    given
}

#[test]
fn an_agents_begin_asks_and_waits_until_somebody_approves() {
    let mut given = agent_asks();
    let wait = given.run().waits().remove(0);
    assert_eq!((wait.wait_for, given.run().public_status()), (WaitKind::Approval, "waiting"));
    assert_eq!((given.run().totals.attempts, given.step("a").attempt), (0, 0));
    assert_eq!(given.run().next_due(), Some(given.now.plus_ms(1000)));
    let (task_id, tasks) = (task(&given), given.step("a").tasks);
    let again = begins(&mut given, guarded("pay", "1", None));
    assert!(matches!(again, Answer::Asked { task_id: same, .. } if same == task_id));
    assert_eq!(given.step("a").tasks, tasks, "one question, however often the agent looks");
    assert_eq!(says(&mut given, "alice", TaskVerdict::Approve), APPLIED);
    let begun = begins(&mut given, guarded("pay", "1", None));
    assert!(matches!(begun, Answer::Execute { attempt: 1, .. }), "{begun:?}");
    let lease = given.lease();
    given.op("S", 900, completed("a", 1, lease));
    assert_eq!(begins(&mut given, guarded("pay", "1", None)), Answer::Replay);
}

#[test]
fn an_agents_other_call_is_a_conflict_and_was_not_approved_of() {
    let mut given = agent_asks();
    says(&mut given, "alice", TaskVerdict::Approve);
    for other in [guarded("steal", "1", None), guarded("pay", "2", None)] {
        let answer = begins(&mut given, other);
        assert!(matches!(answer, Answer::Conflict { .. }), "{answer:?}");
    }
    assert_eq!(given.status(), StepStatus::Scheduled, "what was approved of still may be begun");
    let without = begins(&mut given, begin("a", Effect::AtMostOnce));
    assert!(matches!(without, Answer::Conflict { .. }), "another tool: {without:?}");
}

#[test]
fn what_an_agent_asked_for_it_cannot_leave_out_and_it_may_ask_later() {
    let mut given = agent_asks();
    let spec = StepSpec::new("pay", Effect::AtMostOnce, Payload::json("input", "1").unwrap());
    let spec = Some(Arc::new(spec));
    let unguarded = || StepStarted { attempt: None, spec: spec.clone(), ..StepStarted::default() };
    let without = begins(&mut given, step("a", StepEvent::Started(unguarded())));
    assert!(matches!(without, Answer::Asked { .. }), "{without:?}");
    let mut later = Given::journal();
    begins(&mut later, step("a", StepEvent::Started(unguarded())));
    let lease = later.lease();
    later.op("S", 900, super::bodies::failed("a", 1, lease, ErrorClass::RateLimited));
    later.settle();
    later.now = later.step("a").due_at.unwrap();
    let answer = begins(&mut later, guarded("pay", "1", Some(2)));
    assert!(matches!(answer, Answer::Asked { .. }), "{answer:?}");
    assert_eq!(says(&mut later, "alice", TaskVerdict::Approve), ONE_OF_TWO);
    assert_eq!(says(&mut later, "bob", TaskVerdict::Approve), APPLIED);
    let begun = begins(&mut later, guarded("pay", "1", Some(2)));
    assert!(matches!(begun, Answer::Execute { attempt: 2, .. }), "{begun:?}");
}

#[test]
fn a_no_to_an_agent_and_no_answer_in_time_get_a_letter_whose_redrive_asks_anew() {
    for expires in [false, true] {
        let mut given = agent_asks();
        let first = task(&given);
        let code = if expires {
            assert_eq!(given.after(999).settle(), [""; 0]);
            assert_eq!(given.after(1).settle(), ["task_expired", "step_dead_lettered"]);
            "approval_expired"
        } else {
            says(&mut given, "alice", TaskVerdict::Deny);
            assert_eq!(given.settle(), ["step_dead_lettered"]);
            "approval_denied"
        };
        let error = given.step("a").error.clone().unwrap();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Policy, code));
        let letter_id = given.letter("a");
        let told = begins(&mut given, guarded("pay", "1", None));
        assert_eq!(told, Answer::DeadLettered { letter_id });
        let mut given_up = given.clone();
        given_up.discard(Then::Fail);
        let told = begins(&mut given_up, guarded("pay", "1", None));
        assert_eq!(told, denied(Reason::GivenUp));
        given.redrive(true);
        assert!(matches!(begins(&mut given, guarded("pay", "1", None)), Answer::Asked { .. }));
        assert_ne!(task(&given), first, "another request");
    }
}

#[test]
fn an_agents_question_ends_with_its_run_and_stands_still_with_it() {
    let reason = || "x".to_owned();
    let mut cancelled = agent_asks();
    cancelled.append(run(RunEvent::CancelRequested { reason: reason(), compensate: false }));
    assert_eq!(cancelled.settle(), ["run_cancelled"]);
    assert_eq!((cancelled.status(), &cancelled.step("a").task), (StepStatus::Cancelled, &None));
    let mut killed = agent_asks();
    killed.append(run(RunEvent::Cancelled { reason: reason() }));
    assert_eq!((killed.status(), &killed.step("a").task), (StepStatus::Cancelled, &None));
    let mut ended = agent_asks();
    assert_eq!(ended.op("S", 900, run(RunEvent::Completed { output: None })), APPLIED);
    assert_eq!((ended.run().status, &ended.step("a").task), (RunStatus::Degraded, &None));
    let mut paused = agent_asks();
    paused.append(run(RunEvent::Paused { reason: reason() }));
    assert_eq!(paused.after(3_600_000).settle(), [""; 0], "its time stands still");
    paused.append(run(RunEvent::Resumed { reason: reason() }));
    assert_eq!(paused.after(999).settle(), [""; 0]);
    assert_eq!(paused.after(1).settle(), ["task_expired", "step_dead_lettered"]);
    let mut new = Given::journal();
    new.append(run(RunEvent::Paused { reason: reason() }));
    let told = begins(&mut new, guarded("pay", "1", None));
    assert!(matches!(told, Answer::Wait { wait_for: WaitKind::Paused, .. }), "nobody is asked yet");
}

#[test]
fn another_session_finds_the_question_and_a_restored_log_does_not_believe_the_answer() {
    let mut given = agent_asks();
    let task_id = task(&given);
    let event = given.op_event("T", 1, guarded("pay", "1", None));
    let op = event.op.clone().map(|op| spine_schemas::Op { replaces: Some("S".into()), ..op });
    let told = given.fold(Event { op, ..event });
    assert!(matches!(told.answer(), Some(Answer::Asked { task_id: same, .. }) if *same == task_id));
    let over = given.partition.claim.as_ref().map(|claim| claim.offset);
    given.append(claimed(over, true));
    assert_eq!(given.settle(), ["step_unknown"]);
    assert_eq!(given.step("a").task, None);
    given.resolve(false);
    let told = given.op("T", 2, guarded("pay", "1", None));
    assert!(matches!(told.answer(), Some(Answer::Asked { .. })), "{told:?}");
}

#[test]
fn the_spec_of_a_plain_begin_is_as_before() {
    let mut given = Given::journal();
    assert!(matches!(begins(&mut given, begin("a", Effect::Pure)), Answer::Execute { .. }));
    assert_eq!(given.step("a").spec, spec(Effect::Pure, "1"));
}
