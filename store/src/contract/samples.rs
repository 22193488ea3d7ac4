//! Runs, letters and batches to test stores with. Adapters use them in tests of their own.

use crate::{LetterKind, LetterRow, LetterStatus, Progress, RunChange, StoreBatch};
use spine_runs::{
    Answer, AttemptEnd, AttemptState, BatchProgress, ClaimState, Holder, LetterRef, Live, OpAnswer,
    PartitionState, Probing, RunState, RunStatus, Session, StepState, StepStatus, Steps, Totals,
    WaitKind,
};
use spine_schemas::{
    Caller, Claim, Digest, Driver, Effect, ErrorClass, Fault, Fork, OnExhausted, Output, Payload,
    Plan, RetryPolicy, RunCreated, RunKey, StepError, StepKey, StepSpec, time::Micros,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Makes the batches of one partition, each following the one before.
#[derive(Clone, Debug)]
pub struct Tape {
    partition: u32,
    expected: Option<u64>,
}

impl Tape {
    /// A partition whose store is empty.
    pub fn new(partition: u32) -> Self {
        Self { partition, expected: None }
    }

    /// A batch of changed runs that moves progress to the newest event that any of them knows of.
    pub fn with(&mut self, runs: impl IntoIterator<Item = RunChange>) -> StoreBatch {
        let runs: Vec<RunChange> = runs.into_iter().collect();
        let next = self.expected.map_or(0, |before| before + 1);
        let newest = runs.iter().map(|change| change.offset).max().unwrap_or(0);
        let mut batch = self.next(newest.max(next) - next + 1);
        batch.runs = runs;
        batch
    }

    /// An empty batch that moves progress by `events`, at least 1.
    pub fn next(&mut self, events: u64) -> StoreBatch {
        let expected = self.expected;
        let offset = expected.map_or(events - 1, |before| before + events);
        self.expected = Some(offset);
        StoreBatch {
            partition: self.partition,
            expected,
            progress: progress(offset),
            runs: Vec::new(),
            events: Vec::new(),
            values: Vec::new(),
            decisions: Vec::new(),
            letters: Vec::new(),
            closings: Vec::new(),
            refusals: Vec::new(),
        }
    }
}

/// Progress at an offset, with every field filled.
pub fn progress(offset: u64) -> Progress {
    let claim = Claim {
        worker: "w1".into(),
        address: "127.0.0.1:7700".into(),
        store_id: "s1".into(),
        log_id: "l1".into(),
        fold_version: 1,
        partitions: 48,
        over: Some(3),
        restored: true,
    };
    Progress {
        log_id: "l1".into(),
        offset,
        chain_before: digest(offset, "before"),
        chain: digest(offset, "after"),
        at: at(offset),
        partition_state: PartitionState {
            claim: Some(ClaimState { offset: 7, at: at(7), claim }),
            restored_at: Some(0),
            set_aside: BTreeSet::from([0, u64::MAX]),
            disposed: VecDeque::from([digest(9, "letter"), digest(8, "letter")]),
        },
    }
}

/// The log time that samples give to an offset.
pub fn at(offset: u64) -> Micros {
    Micros(1_700_000_000_000_000 + 1000 * i64::try_from(offset).expect("samples are small"))
}

/// A digest that differs by number and text.
pub fn digest(number: u64, text: &str) -> Digest {
    Digest::of_parts(&[&number.to_be_bytes(), text.as_bytes()])
}

/// A change that brings a run and all its steps to a store that did not know it.
///
/// Whoever changes a sample again gives run and steps a later `last_offset`: a store may rest on
/// it that equal versions are equal in all they hold.
pub fn created(run: &RunState) -> RunChange {
    let steps = run.steps.keys().cloned().collect();
    let versions = run.steps.values().map(|step| step.last_offset);
    let offset = versions.chain([run.last_offset]).max().unwrap_or_default();
    RunChange { run: Arc::new(run.clone()), offset, steps, created: true }
}

/// A change of a run that the store knows, with all its steps.
pub fn changed(run: &RunState) -> RunChange {
    RunChange { created: false, ..created(run) }
}

/// An open journal run without steps. No two runs of a partition begin at one offset.
pub fn run(tenant: &str, run_id: &str, offset: u64) -> RunState {
    let created = RunCreated {
        workflow: "refund".into(),
        version: "3".into(),
        driver: Driver::Journal,
        input: Payload::null(),
        tags: BTreeMap::new(),
        parent: None,
        plan: None,
        fork: None,
        caller: None,
    };
    RunState {
        key: RunKey::new(tenant, run_id),
        created: Arc::new(created),
        grown: None,
        created_digest: digest(offset, run_id),
        created_offset: offset,
        created_at: at(offset),
        status: RunStatus::Running,
        ended_at: None,
        output: None,
        error: None,
        failed_step: None,
        cancel: None,
        undo: None,
        paused: None,
        paused_ms: 0,
        stalled: None,
        signals: VecDeque::new(),
        steps: Steps::default(),
        batches: VecDeque::new(),
        sessions: BTreeMap::new(),
        seen: BTreeSet::new(),
        decisions: 0,
        totals: Totals::default(),
        last_offset: offset,
        last_at: at(offset),
    }
}

/// The same run after it ended.
#[must_use]
pub fn ended(mut run: RunState, status: RunStatus, offset: u64) -> RunState {
    run.status = status;
    run.ended_at = Some(at(offset));
    run.last_offset = offset;
    run.last_at = at(offset);
    run
}

/// The same run after an event that changed nothing else.
#[must_use]
pub fn at_version(mut run: RunState, offset: u64) -> RunState {
    run.last_offset = offset;
    run.last_at = at(offset);
    run
}

/// The same run with a step.
#[must_use]
pub fn with_step(mut run: RunState, step: StepState) -> RunState {
    run.steps.insert(Arc::new(step));
    run
}

/// A scheduled step that no attempt was made of.
pub fn step(name: &str, offset: u64) -> StepState {
    let spec = StepSpec::new("http://127.0.0.1:9000/lookup", Effect::Pure, Payload::null());
    StepState {
        key: StepKey::named(name),
        spec: Arc::new(spec),
        status: StepStatus::Scheduled,
        scheduled_offset: offset,
        scheduled_at: at(offset),
        budget_from: at(offset),
        first_started_at: None,
        attempt: 0,
        charged: 0,
        lost_in_row: 0,
        free_in_row: 0,
        generation: 0,
        edit: 0,
        live: None,
        due_at: None,
        error: None,
        output: None,
        attempts: Vec::new(),
        attempts_omitted: 0,
        letter: None,
        task: None,
        tasks: 0,
        paused: None,
        wait: None,
        held: None,
        breaker_since: None,
        approved: None,
        given_up: false,
        late_success: false,
        probe: None,
        reused: false,
        ended_at: None,
        last_offset: offset,
        still: None,
    }
}

/// A step that waits for its next attempt.
pub fn waiting_step(name: &str, offset: u64, due_at: Micros) -> StepState {
    let mut step = step(name, offset);
    step.status = StepStatus::RetryWaiting;
    step.attempt = 1;
    step.due_at = Some(due_at);
    step
}

/// A step with every field filled.
pub fn full_step(name: &str, offset: u64) -> StepState {
    let mut step = step(name, offset);
    step.key = StepKey::new("branch/ä", name, 3).expect("a legal step");
    let mut spec = StepSpec::new("pay.refund", Effect::AtMostOnce, odd_payload());
    spec.retry = RetryPolicy { multiplier: 1.1, jitter: 0.1 + 0.2, ..RetryPolicy::default() };
    spec.timeout_ms = u64::MAX;
    spec.schedule_to_start_ms = 5;
    spec.on_exhausted = OnExhausted::Fail;
    spec.not_applied = vec![418, 599];
    step.spec = Arc::new(spec);
    step.status = StepStatus::Running;
    step.first_started_at = Some(at(offset + 1));
    (step.attempt, step.charged, step.lost_in_row, step.free_in_row) = (7, 4, 2, 3);
    (step.generation, step.edit, step.attempts_omitted) = (1, 2, 90);
    step.live = Some(Live {
        attempt: 7,
        lease: offset + 9,
        holder: Holder::Session("S1".into()),
        started_at: at(offset + 9),
        lease_ms: 30_000,
        heartbeat: offset + 11,
        heartbeat_at: at(offset + 11),
    });
    step.due_at = Some(Micros(0));
    step.error = Some(error("http_503"));
    step.output = Some(odd_output());
    step.attempts = attempts(offset);
    step.letter =
        Some(LetterRef { letter_id: digest(offset, name), offset: offset + 5, at: at(offset + 5) });
    (step.given_up, step.late_success, step.reused) = (true, true, true);
    let (due_at, answer) = (Some(at(9)), "it does not say".into());
    step.probe = Some(Box::new(Probing { asked: 2, due_at, answer }));
    step.ended_at = Some(at(offset + 12));
    step.last_offset = offset + 12;
    step
}

fn attempts(offset: u64) -> Vec<AttemptState> {
    let ends = [
        AttemptEnd::Failed(error("http_500")),
        AttemptEnd::Lost("worker gone".into()),
        AttemptEnd::Released(None),
        AttemptEnd::Released(Some(error("refused"))),
        AttemptEnd::DidNotHappen,
        AttemptEnd::Completed,
        AttemptEnd::Running,
    ];
    let attempt = |(end, number): (AttemptEnd, u32)| AttemptState {
        attempt: number,
        lease: offset + u64::from(number),
        started_at: at(offset),
        ended_at: (number < 7).then(|| at(offset + 1)),
        end,
        charged: number % 2 == 0,
        edit: number / 5,
        accepted: number == 5,
        injected: (number == 3).then_some(Fault::Timeout),
        cost_micros: (number == 4).then_some(u64::MAX),
    };
    ends.into_iter().zip(1..).map(attempt).collect()
}

/// An error with every field filled.
pub fn error(code: &str) -> StepError {
    let mut error = StepError::new(ErrorClass::RateLimited, code, "später \"bitte\"\n\u{1F980}");
    error.retry_after_ms = Some(1500);
    error
}

/// Bytes that are no text.
pub fn odd_payload() -> Payload {
    Payload::opaque("application/octet-stream", vec![0, 255, 1, 0, 128])
}

/// An output that was too large to keep.
pub fn odd_output() -> Output {
    let payload = Payload {
        content_type: "text/plain".into(),
        data: Vec::new().into(),
        digest: digest(1, "omitted"),
        omitted: true,
        size_bytes: 1 << 40,
    };
    Output { payload, degraded: true, source: Some("resolved".into()) }
}

/// A run with every field filled, though no log would lead to it.
pub fn full_run(tenant: &str, run_id: &str, offset: u64) -> RunState {
    let plan = r#"{"steps":[{"name":"a","tool":"http://127.0.0.1:9000/a","effect":"pure"},
        {"name":"b","tool":"http://127.0.0.1:9000/b","input":{"x":{"$ref":"a#/x"}}}]}"#;
    let mut run = run(tenant, run_id, offset);
    run.created = Arc::new(RunCreated {
        workflow: "wörk/flow".into(),
        version: "".into(),
        driver: Driver::Plan,
        input: Payload::json("input", r#"{ "order" : 1.0 }"#).expect("JSON"),
        tags: BTreeMap::from([("team".into(), "billing".into()), ("".into(), "".into())]),
        parent: Some(String::new()),
        plan: Some(Arc::new(Plan::parse(plan).expect("a plan"))),
        caller: Some(Box::new(Caller {
            step: StepKey::named("pay"),
            attempt: 2,
            lease: 9,
            deadline: Some(Micros(7)),
        })),
        fork: Some(Box::new(Fork {
            run_id: "r0".into(),
            step: Some(StepKey::named("a")),
            reused: 1,
            undo_reused: true,
            force: true,
            reason: "another order".into(),
        })),
    });
    run.output = Some(odd_output());
    run.error = Some(error("step_failed"));
    run.failed_step = Some(StepKey::named("a"));
    run.batches = VecDeque::from([
        BatchProgress { id: "b1".into(), index: 3, whole: true },
        BatchProgress { id: "".into(), index: 0, whole: false },
    ]);
    run.sessions =
        BTreeMap::from([("S1".into(), session(offset)), ("".into(), Session::default())]);
    run.seen = BTreeSet::from([0, 1, u64::MAX, 1 << 63]);
    run.decisions = 4;
    run.totals = Totals {
        attempts: 9,
        cost_micros: u64::MAX,
        input_uncached: 812,
        cache_read: 1,
        cache_write: 2,
        output_text: 95,
        output_reasoning: u64::MAX,
    };
    let other = with_step(run, step("a", offset));
    with_step(other, full_step("b", offset))
}

fn session(offset: u64) -> Session {
    let key = digest(offset, "answer");
    let answers = [
        Answer::Ok,
        Answer::Counted { approvals: 1, needed: 2 },
        Answer::Execute { attempt: 1, lease: 5, lease_until: at(9), edit: 0 },
        Answer::Replay,
        Answer::Wait { wait_for: WaitKind::Retry, until: Some(at(3)) },
        Answer::Wait { wait_for: WaitKind::Resolution, until: None },
        Answer::Asked { task_id: key, until: Some(at(4)) },
        Answer::Unknown { attempt: 2 },
        Answer::Denied { code: spine_runs::Reason::LimitReached },
        Answer::DeadLettered { letter_id: key },
        Answer::Conflict { stored: key, given: digest(offset, "other") },
        Answer::NotTried,
    ];
    let ops = answers.into_iter().zip(u64::MAX - 20..);
    Session {
        ops: ops.map(|(answer, op)| (op, OpAnswer { asked: op ^ 0x55, answer })).collect(),
        forgotten: Some(0),
        replaced_by: Some("S2".into()),
        last_at: at(offset + 3),
    }
}

/// An open letter of a step with every field filled but those about its closing.
pub fn letter(number: u64, partition: u32, offset: u64) -> LetterRow {
    LetterRow {
        letter_id: digest(number, "letter"),
        kind: LetterKind::Step,
        status: LetterStatus::Open,
        partition,
        source_offset: offset.saturating_sub(1),
        offset,
        tenant: Some("default".into()),
        run_id: Some(format!("r{number}")),
        step: Some(StepKey::named("refund")),
        class: "transient".into(),
        code: "http_503".into(),
        message: "später".into(),
        generation: 2,
        attempts: 4,
        attempts_json: r#"[{"attempt":1}]"#.into(),
        tool: Some("pay.refund".into()),
        dead_at: at(offset),
        closed_at: None,
        closed_by: None,
        closed_reason: None,
    }
}
