//! Arbitrary runs for property tests: every field by itself, whether or not a log would lead to it.

use bytes::Bytes;
use proptest::{collection, option, prelude::*, sample};
use spine_runs::{
    Answer, AttemptEnd, AttemptState, BatchProgress, CancelRequest, Held, Holder, LetterRef, Live,
    OpAnswer, Pause, Probing, Reason, RunState, RunStatus, Session, Signal, Stall, StepState,
    StepStatus, Steps, Still, TaskRef, Totals, Undo, WaitKind, WaitRef, brain,
};
use spine_schemas::{
    Caller, Decision, Digest, Driver, Effect, ErrorClass, Fault, Fork, HeldBy, OnExhausted, Output,
    Payload, Plan, Probe, RetryPolicy, RunCreated, RunKey, StepError, StepKey, StepSpec, ask_key,
    time::Micros,
};
use std::sync::Arc;

/// Texts with everything in them: controls, quotes, other scripts, nothing.
fn text() -> impl Strategy<Value = String> {
    collection::vec(any::<char>(), 0..6).prop_map(String::from_iter)
}

fn name() -> impl Strategy<Value = String> {
    let legal = any::<char>()
        .prop_filter("legal in a step's name", |c| !c.is_control() && *c != '/' && *c != '#');
    collection::vec(legal, 1..5).prop_map(String::from_iter)
}

fn step_key() -> impl Strategy<Value = StepKey> {
    (collection::vec(name(), 0..3), name(), 1..u32::MAX).prop_map(|(scope, name, occurrence)| {
        StepKey::new(&scope.join("/"), &name, occurrence).unwrap()
    })
}

/// Zero on purpose more often: it looks like an absent value.
fn time() -> impl Strategy<Value = Micros> {
    prop_oneof![1 => Just(Micros(0)), 3 => any::<i64>().prop_map(Micros)]
}

/// Logs number records with 63 bits.
fn offset() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
}

fn payload() -> impl Strategy<Value = Payload> {
    let content_type = prop_oneof![Just("application/json".to_owned()), text()];
    let data = collection::vec(any::<u8>(), 0..20);
    let parts = (content_type, data, digest(), any::<bool>(), option::of(any::<u64>()));
    parts.prop_map(|(content_type, data, digest, omitted, size)| Payload {
        content_type,
        size_bytes: size.unwrap_or(data.len() as u64),
        data: Bytes::from(data),
        digest,
        omitted,
    })
}

fn output() -> impl Strategy<Value = Output> {
    (payload(), any::<bool>(), option::of(text())).prop_map(|(payload, degraded, source)| Output {
        payload,
        degraded,
        source,
    })
}

fn error() -> impl Strategy<Value = StepError> {
    let classes = [
        ErrorClass::Transient,
        ErrorClass::RateLimited,
        ErrorClass::Timeout,
        ErrorClass::Lost,
        ErrorClass::Terminal,
        ErrorClass::Contract,
        ErrorClass::Policy,
        ErrorClass::Budget,
        ErrorClass::UnknownOutcome,
        ErrorClass::NonDeterminism,
        ErrorClass::TooLarge,
        ErrorClass::Cancelled,
    ];
    let parts =
        (sample::select(classes.to_vec()), text(), text(), option::of(any::<u64>()), any::<bool>());
    parts.prop_map(|(class, code, message, retry_after_ms, free)| StepError {
        class,
        code,
        message,
        retry_after_ms,
        free,
    })
}

fn spec() -> impl Strategy<Value = StepSpec> {
    let effects =
        sample::select(vec![Effect::Pure, Effect::Idempotent, Effect::Probe, Effect::AtMostOnce]);
    let exhausted =
        sample::select(vec![OnExhausted::DeadLetter, OnExhausted::Compensate, OnExhausted::Skip]);
    let retry = (any::<[u64; 3]>(), any::<u32>(), number(), number());
    let times = any::<[u64; 4]>();
    let probe = (text(), any::<bool>()).prop_map(|(tool, voids)| Box::new(Probe { tool, voids }));
    let asked = (option::of(any::<u64>()), option::of(any::<u32>()), option::of(any::<u64>()));
    let not_applied = (collection::vec(any::<u16>(), 0..3), option::of(probe), asked);
    (text(), payload(), effects, retry, times, exhausted, not_applied).prop_map(
        |(
            tool,
            input,
            effect,
            (waits, max_attempts, multiplier, jitter),
            times,
            then,
            (statuses, probe, (approval_ms, quorum, memo_ms)),
        )| {
            StepSpec {
                tool,
                input,
                effect,
                retry: RetryPolicy {
                    max_attempts,
                    initial_ms: waits[0],
                    multiplier,
                    max_ms: waits[1],
                    jitter,
                    max_elapsed_ms: waits[2],
                },
                timeout_ms: times[0],
                schedule_to_start_ms: times[1],
                deadline_ms: times[2],
                key_ttl_ms: times[3],
                on_exhausted: then,
                not_applied: statuses,
                approval_ms,
                probe,
                quorum,
                memo_ms,
            }
        },
    )
}

fn live() -> impl Strategy<Value = Live> {
    let holder = prop_oneof![
        any::<u64>().prop_map(Holder::Owner),
        text().prop_map(Holder::Session),
        Just(Holder::Outside),
        Just(Holder::Child),
        text().prop_map(Holder::Worker),
    ];
    (any::<u32>(), any::<[u64; 3]>(), holder, time(), time()).prop_map(
        |(attempt, [lease, lease_ms, heartbeat], holder, started_at, heartbeat_at)| Live {
            attempt,
            lease,
            holder,
            started_at,
            lease_ms,
            heartbeat,
            heartbeat_at,
        },
    )
}

fn attempt() -> impl Strategy<Value = AttemptState> {
    let end = prop_oneof![
        Just(AttemptEnd::Running),
        Just(AttemptEnd::Completed),
        error().prop_map(AttemptEnd::Failed),
        text().prop_map(AttemptEnd::Lost),
        option::of(error()).prop_map(AttemptEnd::Released),
        Just(AttemptEnd::DidNotHappen),
    ];
    let faults = sample::select(vec![Fault::Timeout, Fault::Transient, Fault::Terminal]);
    let numbers = (any::<[u32; 2]>(), any::<u64>(), option::of(any::<u64>()));
    (numbers, time(), option::of(time()), end, any::<[bool; 2]>(), option::of(faults)).prop_map(
        |((numbers, lease, cost_micros), started_at, ended_at, end, flags, injected)| {
            AttemptState {
                attempt: numbers[0],
                lease,
                started_at,
                ended_at,
                end,
                charged: flags[0],
                edit: numbers[1],
                accepted: flags[1],
                injected,
                cost_micros,
            }
        },
    )
}

fn step_status() -> impl Strategy<Value = StepStatus> {
    sample::select(vec![
        StepStatus::Scheduled,
        StepStatus::Running,
        StepStatus::RetryWaiting,
        StepStatus::Deferred,
        StepStatus::Awaiting,
        StepStatus::Unknown,
        StepStatus::Completed,
        StepStatus::Failed,
        StepStatus::DeadLettered,
        StepStatus::Skipped,
        StepStatus::Cancelled,
    ])
}

fn letter() -> impl Strategy<Value = LetterRef> {
    (digest(), any::<u64>(), time()).prop_map(|(letter_id, offset, at)| LetterRef {
        letter_id,
        offset,
        at,
    })
}

fn step() -> impl Strategy<Value = StepState> {
    let identity = (step_key(), spec(), step_status());
    let times = (time(), time(), option::of(time()), option::of(time()), option::of(time()));
    let numbers = (any::<[u32; 7]>(), offset(), offset());
    let parts = (option::of(live()), option::of(error()), option::of(output()));
    let history = collection::vec(attempt(), 0..4);
    let waits = (
        option::of(letter()),
        option::of(task()),
        any::<u32>(),
        option::of(pause()),
        option::of(wait()),
        option::of(held()),
        option::of(still()),
        option::of(digest()),
    );
    let last = (any::<[bool; 3]>(), option::of(probing()));
    (identity, times, numbers, parts, history, waits, last).prop_map(
        |(
            (key, spec, status),
            times,
            (counts, first, last),
            parts,
            attempts,
            waits,
            last_of_all,
        )| {
            let (flags, probe) = last_of_all;
            let (letter, task, tasks, paused, wait, held, still, approved) = waits;
            StepState {
                key,
                spec: Arc::new(spec),
                status,
                scheduled_offset: first,
                scheduled_at: times.0,
                budget_from: times.1,
                first_started_at: times.2,
                attempt: counts[0],
                charged: counts[1],
                lost_in_row: counts[2],
                free_in_row: counts[3],
                generation: counts[4],
                edit: counts[5],
                live: parts.0,
                due_at: times.3,
                error: parts.1,
                output: parts.2,
                attempts,
                attempts_omitted: counts[6],
                letter,
                task: task.map(Box::new),
                tasks,
                paused: paused.map(Box::new),
                wait: wait.map(Box::new),
                held: held.map(Box::new),
                breaker_since: times.2,
                approved,
                given_up: flags[0],
                late_success: flags[1],
                reused: flags[2],
                probe: probe.map(Box::new),
                ended_at: times.4,
                last_offset: last,
                still,
            }
        },
    )
}

fn task() -> impl Strategy<Value = TaskRef> {
    let call = (option::of(digest()), option::of(time()), collection::vec(text(), 0..3));
    (digest(), any::<u64>(), time(), call).prop_map(
        |(task_id, offset, at, (call, until, approvers))| TaskRef {
            task_id,
            offset,
            at,
            call,
            until,
            approvers,
        },
    )
}

fn probing() -> impl Strategy<Value = Probing> {
    (any::<u32>(), option::of(time()), text()).prop_map(|(asked, due_at, answer)| Probing {
        asked,
        due_at,
        answer,
    })
}

fn fork() -> impl Strategy<Value = Box<Fork>> {
    let flags = any::<[bool; 2]>();
    (text(), option::of(step_key()), any::<u32>(), flags, text()).prop_map(
        |(run_id, step, reused, [undo_reused, force], reason)| {
            Box::new(Fork { run_id, step, reused, undo_reused, force, reason })
        },
    )
}

fn still() -> impl Strategy<Value = Still> {
    any::<(u64, u64)>().prop_map(|(offset, before)| Still { offset, before })
}

fn held() -> impl Strategy<Value = Held> {
    let by = sample::select(vec![
        HeldBy::Breaker,
        HeldBy::RateLimit,
        HeldBy::TenantPaused,
        HeldBy::Worker,
    ]);
    (by, time(), time()).prop_map(|(by, at, until)| Held { by, at, until })
}

fn wait() -> impl Strategy<Value = WaitRef> {
    (option::of(text()), time(), any::<u64>()).prop_map(|(signal, until, offset)| WaitRef {
        signal,
        until,
        offset,
    })
}

fn signal() -> impl Strategy<Value = Signal> {
    let data = sample::select(vec!["null", "{\"a\":1.0}", "\"ä\""]);
    (text(), data)
        .prop_map(|(name, data)| Signal { name, data: Payload::json("data", data).unwrap() })
}

fn pause() -> impl Strategy<Value = Pause> {
    (text(), text(), time()).prop_map(|(reason, by, at)| Pause { reason, by, at })
}

fn stall() -> impl Strategy<Value = Stall> {
    (time(), offset(), time(), option::of(step_key()), text())
        .prop_map(|(since, moved, at, step, reason)| Stall { since, moved, at, step, reason })
}

fn undo() -> impl Strategy<Value = Undo> {
    (error(), option::of(step_key()), time()).prop_map(|(error, step, at)| Undo { error, step, at })
}

fn cancel() -> impl Strategy<Value = CancelRequest> {
    (text(), any::<bool>(), time()).prop_map(|(reason, compensate, at)| CancelRequest {
        reason,
        compensate,
        at,
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let waits = sample::select(vec![
        WaitKind::Owner,
        WaitKind::DeadLetter,
        WaitKind::Client,
        WaitKind::Worker,
        WaitKind::Child,
    ]);
    prop_oneof![
        Just(Answer::Ok),
        any::<[u32; 2]>().prop_map(|[approvals, needed]| Answer::Counted { approvals, needed }),
        (any::<u32>(), any::<u64>(), time(), any::<u32>()).prop_map(
            |(attempt, lease, lease_until, edit)| Answer::Execute {
                attempt,
                lease,
                lease_until,
                edit
            }
        ),
        Just(Answer::Replay),
        (waits, option::of(time())).prop_map(|(wait_for, until)| Answer::Wait { wait_for, until }),
        (digest(), option::of(time()))
            .prop_map(|(task_id, until)| Answer::Asked { task_id, until }),
        any::<u32>().prop_map(|attempt| Answer::Unknown { attempt }),
        Just(Answer::Denied { code: Reason::LimitReached }),
        digest().prop_map(|letter_id| Answer::DeadLettered { letter_id }),
        (digest(), digest()).prop_map(|(stored, given)| Answer::Conflict { stored, given }),
        Just(Answer::NotTried),
    ]
}

fn session() -> impl Strategy<Value = Session> {
    let op = (any::<u64>(), answer()).prop_map(|(asked, answer)| OpAnswer { asked, answer });
    let ops = collection::btree_map(any::<u64>(), op, 0..4);
    (ops, option::of(any::<u64>()), option::of(text()), time()).prop_map(
        |(ops, forgotten, replaced_by, last_at)| Session { ops, forgotten, replaced_by, last_at },
    )
}

fn created() -> impl Strategy<Value = RunCreated> {
    let plans = [
        None,
        Some(r#"{"steps":[{"name":"a","tool":"t"}]}"#),
        Some(r#"{"brain":{"tool":"t","max_turns":3}}"#),
        Some(
            "{\"faults\":[],\n \"steps\":[{\"tool\":\"t\",\"name\":\"ä\",\"input\":{\"x\":1.0}}]}",
        ),
    ];
    let plan = sample::select(plans.to_vec())
        .prop_map(|source| source.map(|source| Arc::new(Plan::parse(source).unwrap())));
    let drivers = sample::select(vec![Driver::Plan, Driver::Journal, Driver::Record]);
    let tags = collection::btree_map(text(), text(), 0..3);
    let caller = (step_key(), any::<u32>(), any::<u64>(), option::of(time())).prop_map(
        |(step, attempt, lease, deadline)| Box::new(Caller { step, attempt, lease, deadline }),
    );
    let origin = (option::of(text()), option::of(fork()), option::of(caller));
    (text(), text(), drivers, payload(), tags, origin, plan).prop_map(
        |(workflow, version, driver, input, tags, (parent, fork, caller), plan)| RunCreated {
            workflow,
            version,
            driver,
            input,
            tags,
            parent,
            plan,
            fork,
            caller,
        },
    )
}

fn run_status() -> impl Strategy<Value = RunStatus> {
    sample::select(vec![
        RunStatus::Running,
        RunStatus::Completed,
        RunStatus::Degraded,
        RunStatus::Failed,
        RunStatus::Cancelled,
    ])
}

fn totals() -> impl Strategy<Value = Totals> {
    any::<[u64; 7]>().prop_map(|sums| Totals {
        attempts: sums[0],
        cost_micros: sums[1],
        input_uncached: sums[2],
        cache_read: sums[3],
        cache_write: sums[4],
        output_text: sums[5],
        output_reasoning: sums[6],
    })
}

/// Steps that asked a brain, one after the other, and what it said.
fn answers() -> impl Strategy<Value = Vec<StepState>> {
    const STEPS: &str =
        r#"{"steps":[{"name":"x","tool":"t","input":{"$ref":"brain/ask#1#/state"}}],"state":1}"#;
    let said: Vec<Vec<&str>> = vec![
        vec![],
        vec![STEPS],
        vec![r#"{"done":true,"output":{"a":1.0}}"#],
        vec![STEPS, r#"{"fail":"no"}"#],
    ];
    (collection::vec(step(), 2), sample::select(said)).prop_map(|(asks, said)| {
        let ask = |((state, answer), turn): ((StepState, &str), u32)| StepState {
            key: ask_key(turn),
            status: StepStatus::Completed,
            output: Some(Output::of(Payload::json("output", answer.to_owned()).unwrap())),
            ..state
        };
        asks.into_iter().zip(said).zip(1..).map(ask).collect()
    })
}

/// A run of which nothing is related to anything else, but for what its brain has said.
pub(crate) fn run() -> impl Strategy<Value = RunState> {
    let batch = (text(), any::<u32>(), any::<bool>())
        .prop_map(|(id, index, whole)| BatchProgress { id, index, whole });
    // The number of a run leaves 47 bits for the offset of its first event.
    let identity = (name(), created(), digest(), 0..1_u64 << 47, run_status());
    let times = (time(), option::of(time()), time());
    let signals = collection::vec_deque(signal(), 0..3);
    let still = (option::of(pause()), option::of(stall()));
    let ending = (option::of(cancel()), option::of(undo()), still, signals);
    let end = (option::of(output()), option::of(error()), option::of(step_key()), ending);
    let sessions = collection::btree_map(text(), session(), 0..3);
    let kept = (collection::vec_deque(batch, 0..3), sessions);
    let seen = collection::btree_set(any::<u64>(), 0..5);
    let steps = (collection::vec(step(), 0..4), answers()).prop_map(|(mut steps, asks)| {
        steps.extend(asks);
        steps
    });
    (identity, times, end, kept, seen, steps, (any::<u32>(), totals(), offset())).prop_map(
        |((run_id, created, digest, first, status), times, end, kept, seen, steps, sums)| {
            let steps: Steps = steps.into_iter().map(Arc::new).collect();
            RunState {
                key: RunKey::new("default", &run_id),
                grown: brain::grown(&created, &steps).unwrap(),
                created: Arc::new(created),
                created_digest: digest,
                created_offset: first,
                created_at: times.0,
                status,
                ended_at: times.1,
                output: end.0,
                error: end.1,
                failed_step: end.2,
                cancel: end.3.0.map(Box::new),
                undo: end.3.1.map(Box::new),
                paused: end.3.2.0.map(Box::new),
                paused_ms: sums.2 / 2,
                stalled: end.3.2.1.map(Box::new),
                signals: end.3.3,
                steps,
                batches: kept.0,
                sessions: kept.1,
                seen,
                decisions: sums.0,
                totals: sums.1,
                last_offset: sums.2,
                last_at: times.2,
            }
        },
    )
}

/// A decision of which nothing is related to anything else.
pub(crate) fn decision() -> impl Strategy<Value = Decision> {
    let texts = (text(), text(), text(), text(), text());
    let payloads = (option::of(payload()), option::of(payload()));
    let confidence = option::of(0.0..=1.0_f64);
    (texts, payloads, option::of(text()), confidence, option::of(step_key())).prop_map(
        |(texts, (params, result), error, confidence, step)| Decision {
            decision: texts.0,
            request: texts.1,
            agent: texts.2,
            reasoning: texts.3,
            action: texts.4,
            params,
            result,
            error,
            confidence,
            step,
        },
    )
}
