//! What is bounded in bytes: an input after its references, a batch, what a run keeps.

use super::{
    bodies::{APPLIED, RUN, begin, created, run, step},
    given::Given,
};
use crate::{
    Answer, Reason, RunStatus, StepStatus, Verdict,
    limits::{BATCH_BYTES, RUN_BYTES},
};
use spine_schemas::{
    Body, Driver, Effect, ErrorClass, Output, Payload, Plan, RunEvent, StepEvent, StepKey,
    StepSpec, StepStarted, codec, limits::PAYLOAD_BYTES,
};
use std::{sync::Arc, time::Instant};

const LARGE: usize = 250 * 1024;

fn payload(bytes: usize) -> Payload {
    Payload::json("x", format!("\"{}\"", "x".repeat(bytes - 2))).unwrap()
}

/// A plan run whose input is `{"a": …}` of 250 KiB.
fn plan_over_large_input(steps: &str) -> Given {
    let mut given = Given::nothing();
    let plan = Plan::parse(format!(r#"{{"steps":{steps}}}"#)).unwrap();
    let Body::Run(_, RunEvent::Created(mut new)) = created(Driver::Plan, Some(plan)) else {
        unreachable!("a creation")
    };
    let input = format!(r#"{{"a":"{}"}}"#, "x".repeat(LARGE));
    new.input = Payload::json("input", input).unwrap();
    assert_eq!(given.append(run(RunEvent::Created(new))), APPLIED);
    given
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn a_plan_that_names_its_input_16000_times_is_a_letter_at_once() {
    let references = vec![r##"{"$ref":"run#"}"##; 16_000].join(",");
    let mut given =
        plan_over_large_input(&format!(r#"[{{"name":"a","tool":"t","input":[{references}]}}]"#));
    let before = Instant::now();
    assert_eq!(given.settle(), ["step_scheduled", "step_dead_lettered"]);
    // Spelled out they are 4 GB.
    assert!(before.elapsed().as_secs() < 2, "{:?}", before.elapsed());
    let error = given.step("a").error.as_ref().unwrap();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::TooLarge, "input_too_large"));
}

#[test]
fn what_is_read_for_the_references_of_a_step_is_bounded() {
    // Each finds a small thing at the end of a large text.
    let references = vec![r#"{"$ref":"run#/a/x"}"#; 10_000].join(",");
    let mut given = plan_over_large_input(&format!(
        r#"[{{"name":"a","tool":"t","input":{{"$ref":"run#/a"}}}},
            {{"name":"b","tool":"t","after":[],"input":[{references}]}}]"#
    ));
    let input = format!(r#"{{"b":"{}","a":{{"x":1}}}}"#, "x".repeat(LARGE));
    let mut state = given.run().clone();
    let mut new = state.created.as_ref().clone();
    new.input = Payload::json("input", input).unwrap();
    state.created = Arc::new(new);
    given.run = Some(Arc::new(state));
    let batch = given.ahead(Vec::new()).events;
    let letter = batch.iter().find_map(|event| {
        let Body::Step(_, key, StepEvent::DeadLettered { error, .. }) = &event.body else {
            return None;
        };
        Some((key, error))
    });
    let (key, error) = letter.unwrap();
    assert_eq!((&*key.name, error.code.as_str()), ("b", "references_too_large"));
}

fn bytes_of(batch: &crate::Batch) -> usize {
    let encoded = |event: &spine_schemas::Event| codec::encode(event).unwrap().len();
    batch.events.iter().map(encoded).sum()
}

/// Decides as an owner does, who asks again when a batch has been read back: the sizes of the batches.
fn decide_on(given: &mut Given) -> Vec<usize> {
    let mut sizes = Vec::new();
    loop {
        let batch = given.ahead(Vec::new());
        if batch.events.is_empty() {
            return sizes;
        }
        sizes.push(bytes_of(&batch));
        for event in batch.events {
            let verdict = given.fold(event);
            assert_eq!(verdict, APPLIED);
        }
    }
}

#[test]
fn a_plan_whose_steps_are_75_mib_is_decided_in_batches_that_the_log_takes() {
    let one = |at| {
        let input = r#"{"$ref":"run#/a"}"#;
        format!(r#"{{"name":"s{at}","tool":"t","effect":"pure","after":[],"input":{input}}}"#)
    };
    let steps: Vec<_> = (0..200).map(one).collect();
    let mut given = plan_over_large_input(&format!("[{}]", steps.join(",")));
    let sizes = decide_on(&mut given);
    assert!(sizes.len() > 10, "{sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes < 3 * BATCH_BYTES), "{sizes:?}");
    assert_eq!(given.run().steps.len(), 200);
    for step in given.run().steps.values() {
        assert_eq!(step.status, StepStatus::Running);
        assert_eq!(step.spec.input.data.len(), LARGE + 2, "{}", step.key);
    }
}

#[test]
fn a_batch_never_ends_between_a_step_that_cannot_run_and_its_end() {
    // Each template is as large as its letter is small, so that every size of a round is met.
    let text = "x".repeat(7_000);
    let one = |at| {
        let input = format!(r#"[{{"$ref":"run#/none"}},"{text}"]"#);
        format!(r#"{{"name":"s{at}","tool":"t","effect":"pure","after":[],"input":{input}}}"#)
    };
    let steps: Vec<_> = (0..900).map(one).collect();
    let mut given = Given::plan(&format!("[{}]", steps.join(",")));
    let sizes = decide_on(&mut given);
    assert!(sizes.len() > 1, "{sizes:?}");
    for step in given.run().steps.values() {
        assert_eq!(step.status, StepStatus::DeadLettered, "{} was started", step.key);
    }
}

#[test]
fn many_small_decisions_end_a_batch_too() {
    let mut given = Given::journal();
    let mut outcomes = Vec::new();
    for op in 0..3_000 {
        let name = format!("s{op}");
        given.op(&format!("S{}", op % 4), op, begin(&name, Effect::Pure));
        let lease = given.step(&name).live.as_ref().unwrap().lease;
        let mut error = spine_schemas::StepError::new(ErrorClass::Terminal, "no", "");
        error.message = "x".repeat(4_000);
        outcomes.push((name, lease, error));
    }
    for (name, lease, error) in outcomes {
        let lease = Some(lease);
        given.append(step(&name, StepEvent::Failed { attempt: 1, lease, error, usage: None }));
    }
    let sizes = decide_on(&mut given);
    assert!(sizes.len() > 1, "{sizes:?}");
    assert!(sizes.iter().all(|bytes| *bytes < 2 * BATCH_BYTES), "{sizes:?}");
}

#[test]
fn large_outcomes_leave_what_follows_to_the_next_batch() {
    let steps: Vec<_> = (0..20)
        .map(|at| format!(r#"{{"name":"s{at}","tool":"t","effect":"pure","after":[]}}"#))
        .collect();
    let last = r#"{"name":"z","tool":"t","after":["s0"]}"#;
    let mut given = Given::plan(&format!("[{},{last}]", steps.join(",")));
    given.settle();
    let outcome = |at: usize| {
        let lease = given.step(&format!("s{at}")).live.as_ref().map(|live| live.lease);
        let output = Output::of(payload(LARGE));
        step(&format!("s{at}"), StepEvent::Completed { attempt: 1, lease, output, usage: None })
    };
    let outcomes: Vec<_> = (0..20).map(outcome).collect();
    let batch = given.ahead(outcomes);
    assert_eq!(batch.events.len(), 20, "every outcome, and nothing that rests on them");
    for event in batch.events {
        assert_eq!(given.fold(event), APPLIED);
    }
    assert_eq!(given.settle(), ["step_scheduled", "step_started"]);
}

fn kept(given: &Given) -> usize {
    let output = |output: &Output| output.payload.data.len();
    let steps = given.run().steps.values();
    steps.map(|step| step.spec.input.data.len() + step.output.as_ref().map_or(0, output)).sum()
}

fn begin_with(name: &str, input: Payload) -> Body {
    let spec = Some(Arc::new(StepSpec::new("t", Effect::Pure, input)));
    step(name, StepEvent::Started(StepStarted { spec, ..StepStarted::default() }))
}

fn complete_with(name: &str, lease: Option<u64>, output: &Payload) -> Body {
    let output = Output::of(output.clone());
    step(name, StepEvent::Completed { attempt: 1, lease, output, usage: None })
}

#[test]
fn a_full_journal_run_takes_no_new_step_and_loses_no_outcome() {
    let mut given = Given::journal();
    let large = payload(PAYLOAD_BYTES);
    let denied =
        Verdict::Refused(Reason::LimitReached, Answer::Denied { code: Reason::LimitReached });
    let fits = RUN_BYTES / PAYLOAD_BYTES;
    for op in 0..fits {
        let op_id = u64::try_from(op).unwrap();
        let verdict = given.op("S", op_id, begin_with(&format!("s{op}"), large.clone()));
        assert!(matches!(verdict, Verdict::Applied(_)), "{op}: {verdict:?}");
    }
    assert_eq!(given.op("S", 9_000, begin_with("more", large.clone())), denied);
    let lease = given.step("s0").live.as_ref().map(|live| live.lease);
    assert_eq!(given.op("S", 9_001, complete_with("s0", lease, &large)), APPLIED);
    let step = given.step("s0");
    let output = &step.output.as_ref().unwrap().payload;
    assert_eq!(step.status, StepStatus::Completed);
    assert!(output.omitted && output.data.is_empty());
    assert_eq!((output.digest, output.size_bytes), (large.digest, large.size_bytes));
    assert!(kept(&given) <= RUN_BYTES);
}

#[test]
fn a_full_record_run_keeps_every_fact_and_no_more_bytes() {
    let mut given = Given::record();
    let large = payload(PAYLOAD_BYTES);
    let count = RUN_BYTES / PAYLOAD_BYTES;
    for at in 0..count {
        let name = format!("s{at}");
        let spec = Some(Arc::new(StepSpec::new("t", Effect::Pure, large.clone())));
        let start = StepStarted { attempt: Some(1), spec, ..StepStarted::default() };
        let started = step(&name, StepEvent::Started(start));
        assert_eq!(given.append(started.clone()), APPLIED);
        assert_eq!(given.append(complete_with(&name, None, &large)), APPLIED);
        assert!(matches!(given.append(started), Verdict::Stale(Reason::Duplicate, _)));
    }
    assert_eq!(kept(&given), RUN_BYTES);
    let last = given.step(&format!("s{}", count - 1));
    assert_eq!((last.status, last.spec.input.omitted), (StepStatus::Completed, true));
    assert_eq!(last.spec.input.digest, large.digest);
}

#[test]
fn a_plan_run_that_is_full_ends_its_further_steps_as_letters() {
    let one = |at| {
        let input = r#"{"$ref":"run#/a"}"#;
        format!(r#"{{"name":"s{at}","tool":"t","effect":"pure","after":[],"input":{input}}}"#)
    };
    let steps: Vec<_> = (0..300).map(one).collect();
    let mut given = plan_over_large_input(&format!("[{}]", steps.join(",")));
    decide_on(&mut given);
    assert!(kept(&given) <= RUN_BYTES + 2 * BATCH_BYTES, "{}", kept(&given));
    assert_eq!(given.run().steps.len(), 300, "every step is there, or in a letter");
    let last = &given.run().steps[&StepKey::named("s299")];
    let error = last.error.as_ref().unwrap();
    assert_eq!((last.status, error.code.as_str()), (StepStatus::DeadLettered, "run_too_large"));
    assert_eq!(given.run().status, RunStatus::Running);
    assert_eq!(&*given.run().key.run_id, RUN);
}
