//! The wide record of `avro/step_event.avsc`, field for field. A wire form only: nothing outside this
//! crate sees it, and `to_typed` refuses every combination of fields that its kind does not allow.

pub(crate) mod avro;
pub(crate) mod form;
mod from_typed;
pub(crate) mod letter;
pub(crate) mod payload;
pub(crate) mod symbols;
mod take;
mod to_typed;

pub(crate) use form::{Sum, Symbol, Time};
pub(crate) use payload::{JsonText, Slot};

use crate::{
    Driver, Effect, ErrorClass, Fault, Found, HeldBy, Kind, OnExhausted, RecordClass, TaskVerdict,
    Then, spec,
};
use form::wire_record;
use std::{borrow::Cow, collections::BTreeMap};

pub(crate) type Text<'a> = Cow<'a, str>;
pub(crate) type Map<'a> = Cow<'a, BTreeMap<String, String>>;

wire_record! {
    /// An event. In JSON an empty identity, tenant or actor stands for one that was left out.
    #[derive(Default)]
    StepEvent<'a> as "StepEvent" {
        #[serde(default)]
        event_id: Text<'a>,
        #[serde(default)]
        tenant: Text<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run_id: Option<Text<'a>>,
        kind: Kind,
        #[serde(default = "Time::unset")]
        occurred_at: Time,
        #[serde(default)]
        actor: Text<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        claim: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<Step<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heartbeat: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Text<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Trace<'a>>,
        #[serde(default, skip_serializing_if = "no_entries")]
        attributes: Map<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key_id: Option<Text<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<Batch<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        op: Option<Op<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<Box<Run<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spec: Option<Box<Spec<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        start: Option<Start<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Output<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Error<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Box<Usage<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<Box<Decision<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timer: Option<Timer>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resolution: Option<Resolution>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dead_letter: Option<LetterRef>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        redrive: Option<Box<Redrive<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        discard: Option<Discard>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Symbol<Fault>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Box<Owner<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<Record<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disposal: Option<Disposal>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cancel: Option<Cancel>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<Task>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait: Option<Wait<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<Signal<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probed: Option<Probed>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<i64>,
    }
}

wire_record! {
    Step<'a> as "Step" {
        #[serde(default, skip_serializing_if = "str_is_empty")]
        scope: Text<'a>,
        name: Text<'a>,
        #[serde(default = "one", skip_serializing_if = "is_one")]
        occurrence: i64,
    }
}

wire_record! {
    Trace<'a> as "Trace" {
        trace_id: Text<'a>,
        span_id: Text<'a>,
    }
}

wire_record! {
    Batch<'a> as "Batch" {
        id: Text<'a>,
        index: i64,
    }
}

wire_record! {
    Op<'a> as "Op" {
        session: Text<'a>,
        op_id: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<Text<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Text<'a>>,
    }
}

wire_record! {
    Run<'a> as "Run" {
        workflow: Text<'a>,
        version: Text<'a>,
        #[serde(default = "record_driver")]
        driver: Symbol<Driver>,
        #[serde(default)]
        input: Slot<'a>,
        #[serde(default, skip_serializing_if = "no_entries")]
        tags: Map<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Text<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<JsonText<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fork: Option<Box<Fork<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caller: Option<Box<Caller<'a>>>,
    }
}

wire_record! {
    Caller<'a> as "Caller" {
        step: Step<'a>,
        attempt: i64,
        lease: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Time>,
    }
}

wire_record! {
    Fork<'a> as "Fork" {
        run_id: Text<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<Step<'a>>,
        reused: i64,
        #[serde(default, skip_serializing_if = "is_false")]
        undo_reused: bool,
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
        reason: Text<'a>,
    }
}

wire_record! {
    Spec<'a> as "Spec" {
        tool: Text<'a>,
        #[serde(default)]
        input: Slot<'a>,
        #[serde(default = "default_effect")]
        effect: Symbol<Effect>,
        #[serde(default)]
        retry: Retry,
        #[serde(default = "default_timeout_ms")]
        timeout_ms: i64,
        #[serde(default)]
        schedule_to_start_ms: i64,
        #[serde(default = "default_deadline_ms")]
        deadline_ms: i64,
        #[serde(default = "default_key_ttl_ms")]
        key_ttl_ms: i64,
        #[serde(default = "default_on_exhausted")]
        on_exhausted: Symbol<OnExhausted>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_applied: Vec<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval_ms: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probe: Option<Box<Probe<'a>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quorum: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        memo_ms: Option<i64>,
    }
}

wire_record! {
    Probe<'a> as "Probe" {
        tool: Text<'a>,
        #[serde(default, skip_serializing_if = "is_false")]
        voids: bool,
    }
}

wire_record! {
    #[serde(default)]
    Retry as "Retry" {
        max_attempts: i64,
        initial_ms: i64,
        multiplier: f64,
        max_ms: i64,
        jitter: f64,
        max_elapsed_ms: i64,
    }
}

wire_record! {
    Start<'a> as "Start" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lease_ms: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<Text<'a>>,
    }
}

wire_record! {
    Output<'a> as "Output" {
        #[serde(default)]
        data: Slot<'a>,
        #[serde(default, skip_serializing_if = "is_false")]
        degraded: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Text<'a>>,
    }
}

wire_record! {
    Error<'a> as "Error" {
        class: Symbol<ErrorClass>,
        code: Text<'a>,
        #[serde(default)]
        message: Text<'a>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        free: Option<bool>,
    }
}

wire_record! {
    Usage<'a> as "Usage" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<Text<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Text<'a>>,
        #[serde(default)]
        input_uncached: i64,
        #[serde(default)]
        cache_read: i64,
        #[serde(default)]
        cache_write: i64,
        #[serde(default)]
        output_text: i64,
        #[serde(default)]
        output_reasoning: i64,
        #[serde(default)]
        cost_micros: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price_version: Option<Text<'a>>,
    }
}

wire_record! {
    Decision<'a> as "Decision" {
        decision: Text<'a>,
        #[serde(default)]
        request: Text<'a>,
        #[serde(default)]
        agent: Text<'a>,
        #[serde(default)]
        reasoning: Text<'a>,
        #[serde(default)]
        action: Text<'a>,
        #[serde(default, deserialize_with = "payload::present", skip_serializing_if = "Option::is_none")]
        params: Option<Slot<'a>>,
        #[serde(default, deserialize_with = "payload::present", skip_serializing_if = "Option::is_none")]
        result: Option<Slot<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Text<'a>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confidence: Option<f64>,
    }
}

wire_record! {
    Timer as "Timer" {
        due_at: Time,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        held_by: Option<Symbol<HeldBy>>,
    }
}

wire_record! {
    Resolution as "Resolution" {
        happened: bool,
    }
}

wire_record! {
    LetterRef as "LetterRef" {
        letter_id: Sum,
    }
}

wire_record! {
    Redrive<'a> as "Redrive" {
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edit: Option<Edit<'a>>,
    }
}

wire_record! {
    Edit<'a> as "Edit" {
        before: Sum,
        after: Slot<'a>,
    }
}

wire_record! {
    Discard as "Discard" {
        then: Symbol<Then>,
    }
}

wire_record! {
    Owner<'a> as "Owner" {
        worker: Text<'a>,
        address: Text<'a>,
        store_id: Text<'a>,
        log_id: Text<'a>,
        fold_version: i64,
        partitions: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        over: Option<i64>,
        #[serde(default, skip_serializing_if = "is_false")]
        restored: bool,
    }
}

wire_record! {
    Record<'a> as "Record" {
        offset: i64,
        class: Symbol<RecordClass>,
        #[serde(default)]
        message: Text<'a>,
    }
}

wire_record! {
    Disposal as "Disposal" {
        redriven: bool,
    }
}

wire_record! {
    Cancel as "Cancel" {
        #[serde(default, skip_serializing_if = "is_false")]
        compensate: bool,
    }
}

wire_record! {
    Task as "Task" {
        task_id: Sum,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verdict: Option<Symbol<TaskVerdict>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Sum>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Time>,
    }
}

wire_record! {
    Wait<'a> as "Wait" {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<Text<'a>>,
        expires_at: Time,
    }
}

wire_record! {
    Signal<'a> as "Signal" {
        name: Text<'a>,
        #[serde(default)]
        data: Slot<'a>,
    }
}

wire_record! {
    Probed as "Probed" {
        found: Symbol<Found>,
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::from(&crate::RetryPolicy::default())
    }
}

/// A number as Avro has it. Numbers beyond its range do not get here: `check` refuses them.
pub(crate) fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn no_entries(map: &Map<'_>) -> bool {
    map.is_empty()
}

fn str_is_empty(text: &Text<'_>) -> bool {
    text.is_empty()
}

fn one() -> i64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(number: &i64) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn record_driver() -> Symbol<Driver> {
    Symbol::Known(Driver::Record)
}

fn default_effect() -> Symbol<Effect> {
    Symbol::Known(Effect::default())
}

fn default_on_exhausted() -> Symbol<OnExhausted> {
    Symbol::Known(OnExhausted::default())
}

fn default_timeout_ms() -> i64 {
    long(spec::TIMEOUT_MS)
}

fn default_deadline_ms() -> i64 {
    long(spec::DEADLINE_MS)
}

fn default_key_ttl_ms() -> i64 {
    long(spec::KEY_TTL_MS)
}
