//! Any event, any letter, any payload: strategies for property tests, here and in other crates.
//!
//! What they make passes `check`, has digests that fit its bytes, and reaches the ends of the ranges.

mod bodies;
mod payloads;

pub use bodies::{body, decision, letter};
pub use payloads::{json_text, payload};

use crate::{BatchItem, Event, Op, StepKey, Trace, time::Micros};
use proptest::{collection::btree_map, option, prelude::*};
use std::collections::BTreeMap;

/// Any event of any kind.
pub fn event() -> impl Strategy<Value = Event> {
    let head = (id(), tenant(), time(), name(), option::of(number()));
    let tail =
        (option::of(trace()), map(), option::of(id()), option::of(batch()), option::of(op()));
    (head, tail, body()).prop_map(|(head, tail, body)| {
        let (event_id, tenant, occurred_at, actor, claim) = head;
        let (trace, attributes, key_id, batch, op) = tail;
        let tenant = tenant.into();
        Event {
            event_id,
            tenant,
            occurred_at,
            actor,
            claim,
            trace,
            attributes,
            key_id,
            batch,
            op,
            body,
        }
    })
}

/// Any identity that a caller may choose.
pub fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-zA-Z0-9._:/ -]{1,20}", 1 => "[^\\p{Cc}]{1,30}", 1 => Just("i".repeat(128))]
}

/// Any tenant.
pub fn tenant() -> impl Strategy<Value = String> {
    "[a-z0-9_-]{1,63}"
}

/// Any step.
pub fn step_key() -> impl Strategy<Value = StepKey> {
    let scope = prop_oneof![Just(String::new()), "[a-zà-ü0-9 .]{1,9}(/[a-z0-9\\[\\]]{1,9}){0,3}"];
    (scope, "[^\\p{Cc}/#]{1,30}", 1..=u32::MAX).prop_map(|(scope, name, occurrence)| {
        StepKey::new(&scope, &name, occurrence).expect("the strategies follow the rules")
    })
}

/// Any text, empty and foreign ones included.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "\\PC{0,40}", 1 => any::<String>(), 1 => Just(String::new())]
}

/// Any non-empty name.
pub fn name() -> impl Strategy<Value = String> {
    "\\PC{1,40}"
}

/// Any number that Avro can carry.
pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..1000u64, 0..=i64::MAX as u64, Just(i64::MAX as u64)]
}

/// Any point in time, also outside the calendar.
pub fn time() -> impl Strategy<Value = Micros> {
    let range = prop_oneof![
        3 => 1_600_000_000_000_000..1_900_000_000_000_000i64,
        // The least value stands for a time that the JSON form leaves out.
        1 => i64::MIN + 1..=i64::MAX,
    ];
    range.prop_map(Micros)
}

/// Any map of attributes or tags.
pub fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(id(), text(), 0..4)
}

fn trace() -> impl Strategy<Value = Trace> {
    ("[0-9a-f]{32}", "[0-9a-f]{16}").prop_map(|(trace_id, span_id)| Trace { trace_id, span_id })
}

fn batch() -> impl Strategy<Value = BatchItem> {
    (id(), any::<u32>()).prop_map(|(id, index)| BatchItem { id, index })
}

fn op() -> impl Strategy<Value = Op> {
    let more = (option::of(id()), option::of(id()));
    (id(), number(), more).prop_map(|(session, op_id, (replaces, version))| Op {
        session,
        op_id,
        replaces,
        version,
    })
}
