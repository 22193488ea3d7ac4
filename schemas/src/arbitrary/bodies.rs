//! Bodies of every kind, and letters.

use super::{
    id, map, name, number,
    payloads::{edit, output, payload},
    step_key, tenant, text, time,
};
use crate::{
    Body, Caller, Claim, DeadLetter, Decision, Digest, Driver, Effect, ErrorClass, Fault, Finding,
    Fork, Found, HeldBy, LetterAttempt, LetterSource, OnExhausted, PartitionEvent, Plan, Probe,
    RecordClass, Resolution, RetryPolicy, RunCreated, RunEvent, RunKey, StepError, StepEvent,
    StepSpec, StepStarted, TaskVerdict, Then, Usage, limits,
};
use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::select};
use std::sync::Arc;

/// Any body.
pub fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        2 => (id(), run_event()).prop_map(|(run, event)| Body::Run(run.into(), event)),
        5 => (id(), step_key(), step_event())
            .prop_map(|(run, step, event)| Body::Step(run.into(), step, event)),
        1 => partition_event().prop_map(Body::Partition),
    ]
}

fn run_event() -> impl Strategy<Value = RunEvent> {
    prop_oneof![
        run_created().prop_map(|run| RunEvent::Created(Box::new(run))),
        option::of(output()).prop_map(|output| RunEvent::Completed { output }),
        (step_error(), option::of(step_key()))
            .prop_map(|(error, step)| RunEvent::Failed { error, step }),
        text().prop_map(|reason| RunEvent::Cancelled { reason }),
        (text(), any::<bool>())
            .prop_map(|(reason, compensate)| RunEvent::CancelRequested { reason, compensate }),
        (step_error(), option::of(step_key()))
            .prop_map(|(error, step)| RunEvent::CompensationStarted { error, step }),
        text().prop_map(|reason| RunEvent::Paused { reason }),
        (id(), payload()).prop_map(|(name, data)| RunEvent::SignalReceived { name, data }),
        text().prop_map(|reason| RunEvent::Resumed { reason }),
        (text(), option::of(step_key()), 0..=u64::MAX / 2)
            .prop_map(|(reason, step, moved)| RunEvent::Stalled { reason, step, moved }),
        decision().prop_map(|decision| RunEvent::DecisionRecorded(Box::new(decision))),
    ]
}

fn run_created() -> impl Strategy<Value = RunCreated> {
    let driver = prop_oneof![
        Just((Driver::Record, None)),
        Just((Driver::Journal, None)),
        Just((Driver::Plan, Some(plan()))),
    ];
    let parent = (option::of(id()), option::of(caller()));
    (name(), text(), driver, payload(), map(), parent, option::of(fork())).prop_map(
        |(workflow, version, (driver, plan), input, tags, (parent, caller), fork)| RunCreated {
            caller: caller.filter(|_| parent.is_some() && driver == Driver::Plan && fork.is_none()),
            workflow,
            version,
            driver,
            input,
            tags,
            parent,
            plan,
            fork: fork.filter(|_| driver != Driver::Record),
        },
    )
}

fn caller() -> impl Strategy<Value = Box<Caller>> {
    (step_key(), 1..=u32::MAX, 0..=u64::MAX / 2, option::of(time())).prop_map(
        |(step, attempt, lease, deadline)| Box::new(Caller { step, attempt, lease, deadline }),
    )
}

fn fork() -> impl Strategy<Value = Box<Fork>> {
    let flags = (any::<bool>(), any::<bool>());
    (id(), option::of(step_key()), any::<u32>(), flags, text()).prop_map(
        |(run_id, step, reused, (undo_reused, force), reason)| {
            Box::new(Fork { run_id, step, reused, undo_reused, force, reason })
        },
    )
}

fn finding() -> impl Strategy<Value = Finding> {
    let found = select(vec![Found::Happened, Found::Absent, Found::Unclear]);
    (any::<u32>(), found, option::of(output()), option::of(time()), text()).prop_map(
        |(attempt, found, output, due_at, reason)| Finding {
            attempt,
            found,
            output,
            due_at,
            reason,
        },
    )
}

fn plan() -> Arc<Plan> {
    let source =
        r#"{"steps":[{"name":"a","tool":"t","input":{"n":1.0}},{"name":"b", "tool":"t"}]}"#;
    Arc::new(Plan::parse(source).expect("it is a plan"))
}

/// Any decision.
pub fn decision() -> impl Strategy<Value = Decision> {
    let texts = (text(), text(), text(), text(), text());
    let payloads = (option::of(payload()), option::of(payload()));
    let rest = (option::of(text()), option::of(0.0..=1.0), option::of(step_key()));
    (texts, payloads, rest).prop_map(|(texts, (params, result), (error, confidence, step))| {
        let (decision, request, agent, reasoning, action) = texts;
        Decision {
            decision,
            request,
            agent,
            reasoning,
            action,
            params,
            result,
            error,
            confidence,
            step,
        }
    })
}

fn step_event() -> BoxedStrategy<StepEvent> {
    let attempt = || 1..=u32::MAX;
    let lease = || option::of(number());
    let pause = select(vec![HeldBy::ToolPaused, HeldBy::TenantPaused]);
    let held = (option::of(number()), option::of(id()), option::of(pause));
    let started = (option::of(attempt()), option::of(spec()), held).prop_map(
        |(attempt, spec, (lease_ms, worker, pause))| {
            let (spec, worker) = (spec.map(Arc::new), worker.filter(|_| attempt.is_some()));
            let held_by = pause.filter(|_| attempt.is_none());
            StepEvent::Started(StepStarted { attempt, spec, lease_ms, worker, held_by })
        },
    );
    let outcomes = prop_oneof![
        (attempt(), lease()).prop_map(|(attempt, lease)| StepEvent::Heartbeat { attempt, lease }),
        (attempt(), lease(), output(), option::of(usage())).prop_map(
            |(attempt, lease, output, usage)| StepEvent::Completed {
                attempt,
                lease,
                output,
                usage
            }
        ),
        (attempt(), lease(), step_error(), option::of(usage())).prop_map(
            |(attempt, lease, error, usage)| StepEvent::Failed { attempt, lease, error, usage }
        ),
        (attempt(), number(), number(), text()).prop_map(|(attempt, lease, heartbeat, reason)| {
            StepEvent::Lost { attempt, lease, heartbeat, reason }
        }),
        (attempt(), number(), option::of(step_error()))
            .prop_map(|(attempt, lease, error)| StepEvent::Released { attempt, lease, error }),
    ];
    prop_oneof![
        2 => spec().prop_map(|spec| StepEvent::Scheduled(Arc::new(spec))),
        2 => started,
        5 => outcomes,
        8 => step_verdict(),
    ]
    .boxed()
}

fn step_verdict() -> impl Strategy<Value = StepEvent> {
    let attempt = || 1..=u32::MAX;
    prop_oneof![
        (attempt(), time())
            .prop_map(|(attempt, due_at)| StepEvent::RetryScheduled { attempt, due_at }),
        (attempt(), time(), option::of(held_by())).prop_map(|(attempt, due_at, held_by)| {
            StepEvent::Deferred { attempt, due_at, held_by }
        }),
        (any::<u32>(), text()).prop_map(|(attempt, reason)| StepEvent::Unknown { attempt, reason }),
        (attempt(), any::<bool>(), option::of(output()), text()).prop_map(
            |(attempt, happened, output, reason)| {
                StepEvent::Resolved(Resolution { attempt, happened, output, reason })
            }
        ),
        (text(), option::of(output()))
            .prop_map(|(reason, output)| StepEvent::Skipped { reason, output }),
        text().prop_map(|reason| StepEvent::Cancelled { reason }),
        text().prop_map(|reason| StepEvent::Paused { reason }),
        text().prop_map(|reason| StepEvent::Resumed { reason }),
        (any::<u32>(), step_error())
            .prop_map(|(attempt, error)| StepEvent::FallbackStarted { attempt, error }),
        (any::<u32>(), digest(), step_error()).prop_map(|(attempt, task_id, error)| {
            StepEvent::TaskOpened { attempt, task_id, error }
        }),
        (spec(), option::of(output()), option::of(text()), any::<bool>()).prop_map(
            |(spec, output, skipped, edited)| {
                let spec = Arc::new(spec);
                StepEvent::Reused { spec, output, skipped, edited }
            },
        ),
        finding().prop_map(StepEvent::Probed),
        task_decided(),
        waiting(),
        (any::<u32>(), digest(), step_error()).prop_map(|(attempt, letter_id, error)| {
            StepEvent::DeadLettered { attempt, letter_id, error }
        }),
        (digest(), text(), any::<bool>(), option::of(edit())).prop_map(
            |(letter_id, reason, force, edit)| StepEvent::Redriven {
                letter_id,
                reason,
                force,
                edit
            }
        ),
        (digest(), select(vec![Then::Fail, Then::Skip]), text())
            .prop_map(|(letter_id, then, reason)| StepEvent::Discarded { letter_id, then, reason }),
        (attempt(), select(vec![Fault::Timeout, Fault::Transient, Fault::Terminal]))
            .prop_map(|(attempt, fault)| StepEvent::FaultInjected { attempt, fault }),
    ]
}

fn held_by() -> impl Strategy<Value = HeldBy> {
    use HeldBy::{Breaker, RateLimit, TenantPaused, ToolPaused, Worker};
    select(vec![Breaker, RateLimit, ToolPaused, TenantPaused, Worker])
}

fn task_decided() -> impl Strategy<Value = StepEvent> {
    let verdicts =
        vec![TaskVerdict::Retry, TaskVerdict::Complete, TaskVerdict::Approve, TaskVerdict::Deny];
    (digest(), select(verdicts), option::of(output()), text()).prop_map(
        |(task_id, verdict, output, reason)| StepEvent::TaskDecided {
            task_id,
            verdict,
            output,
            reason,
        },
    )
}

fn waiting() -> impl Strategy<Value = StepEvent> {
    let spec = option::of(spec().prop_map(Arc::new));
    prop_oneof![
        digest().prop_map(|task_id| StepEvent::TaskExpired { task_id }),
        (1..=u32::MAX, digest(), digest(), time()).prop_map(
            |(attempt, task_id, call, expires_at)| StepEvent::ApprovalRequested {
                attempt,
                task_id,
                call,
                expires_at,
            }
        ),
        (option::of(id()), time(), spec).prop_map(|(signal, expires_at, spec)| {
            StepEvent::WaitCreated { signal, expires_at, spec }
        }),
        Just(StepEvent::WaitExpired),
    ]
}

fn partition_event() -> impl Strategy<Value = PartitionEvent> {
    let claim = (
        (text(), text(), text(), text()),
        (any::<u32>(), any::<u32>(), option::of(number()), any::<bool>()),
    )
        .prop_map(|((worker, address, store_id, log_id), rest)| {
            let (fold_version, partitions, over, restored) = rest;
            let claim = Claim {
                worker,
                address,
                store_id,
                log_id,
                fold_version,
                partitions,
                over,
                restored,
            };
            PartitionEvent::OwnerClaimed(claim)
        });
    prop_oneof![
        claim,
        (number(), record_class(), text()).prop_map(|(offset, class, message)| {
            PartitionEvent::RecordDeadLettered { offset, class, message }
        }),
        (digest(), any::<bool>(), text()).prop_map(|(letter_id, redriven, reason)| {
            PartitionEvent::RecordDisposed { letter_id, redriven, reason }
        }),
    ]
}

fn spec() -> impl Strategy<Value = StepSpec> {
    let effect = select(vec![Effect::Pure, Effect::Idempotent, Effect::Probe, Effect::AtMostOnce]);
    let times = (0..=limits::TIMEOUT_MS, 0..=limits::DEADLINE_MS, 0..=limits::DEADLINE_MS);
    let exhausted = select(vec![
        OnExhausted::DeadLetter,
        OnExhausted::Fail,
        OnExhausted::Skip,
        OnExhausted::Fallback,
        OnExhausted::Compensate,
        OnExhausted::Escalate,
    ]);
    let probe = (name(), any::<bool>()).prop_map(|(tool, voids)| Box::new(Probe { tool, voids }));
    let ms = || option::of(0..=limits::DEADLINE_MS);
    let asked = (ms(), option::of(1..=limits::QUORUM), ms());
    let more = (vec(any::<u16>(), 0..4), asked, option::of(probe));
    (name(), payload(), effect, retry(), times, exhausted, more).prop_map(
        |(tool, input, effect, retry, times, on_exhausted, more)| {
            let (not_applied, (approval_ms, quorum, memo_ms), probe) = more;
            let (timeout_ms, schedule_to_start_ms, deadline_ms) = times;
            let key_ttl_ms = deadline_ms / 2;
            StepSpec {
                tool,
                input,
                effect,
                retry,
                timeout_ms,
                schedule_to_start_ms,
                deadline_ms,
                key_ttl_ms,
                on_exhausted,
                not_applied,
                approval_ms,
                probe,
                quorum,
                memo_ms,
            }
        },
    )
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    let waits = (0..=limits::BACKOFF_MS, 0..=limits::BACKOFF_MS, 0..=limits::DEADLINE_MS);
    (1..=limits::MAX_ATTEMPTS, waits, 1.0..=1000.0, 0.0..=1.0).prop_map(
        |(max_attempts, (one, other, max_elapsed_ms), multiplier, jitter)| RetryPolicy {
            max_attempts,
            initial_ms: one.min(other),
            multiplier,
            max_ms: one.max(other),
            jitter,
            max_elapsed_ms,
        },
    )
}

fn usage() -> impl Strategy<Value = Usage> {
    let names = (option::of(text()), option::of(text()), option::of(text()));
    let tokens = (number(), number(), number(), number(), number(), number());
    (names, tokens).prop_map(|((provider, model, price_version), tokens)| {
        let (input_uncached, cache_read, cache_write, output_text, output_reasoning, cost_micros) =
            tokens;
        Usage {
            provider,
            model,
            input_uncached,
            cache_read,
            cache_write,
            output_text,
            output_reasoning,
            cost_micros,
            price_version,
        }
    })
}

fn step_error() -> impl Strategy<Value = StepError> {
    (error_class(), text(), text(), option::of(number()), any::<bool>()).prop_map(
        |(class, code, message, retry_after_ms, free)| StepError {
            class,
            code,
            message,
            retry_after_ms,
            free,
        },
    )
}

fn error_class() -> impl Strategy<Value = ErrorClass> {
    select(vec![
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
    ])
}

fn record_class() -> impl Strategy<Value = RecordClass> {
    select(vec![
        RecordClass::Decode,
        RecordClass::SchemaUnknown,
        RecordClass::WrongPartition,
        RecordClass::IllegalEvent,
    ])
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..60).prop_map(Bytes::from)
}

/// Any letter.
pub fn letter() -> impl Strategy<Value = DeadLetter> {
    let place = (text(), any::<u32>(), number());
    let original =
        (option::of(any_bytes()), vec((text(), any_bytes()), 0..4), option::of(any_bytes()));
    (digest(), letter_source(), place, original, (text(), text(), time())).prop_map(
        |(letter_id, source, place, (key, headers, value), (code, message, dead_at))| {
            let (topic, partition, offset) = place;
            DeadLetter {
                letter_id,
                source,
                topic,
                partition,
                offset,
                key,
                headers,
                value,
                code,
                message,
                dead_at,
            }
        },
    )
}

fn letter_source() -> impl Strategy<Value = LetterSource> {
    let attempt = (any::<u32>(), time(), time(), error_class(), text(), text()).prop_map(
        |(attempt, started_at, ended_at, class, code, message)| LetterAttempt {
            attempt,
            started_at,
            ended_at,
            class,
            code,
            message,
        },
    );
    let step = (
        (tenant(), id(), step_key(), error_class()),
        (any::<u32>(), text(), vec(attempt, 0..4), any::<u32>()),
    );
    prop_oneof![
        1 => record_class().prop_map(|class| LetterSource::Record { class }),
        3 => step.prop_map(|((tenant, run_id, step, class), rest)| {
            let (generation, policy, attempts, attempts_omitted) = rest;
            let run = RunKey::new(&tenant, &run_id);
            LetterSource::Step {
                run, step, class, generation, policy, attempts, attempts_omitted,
            }
        }),
    ]
}
