//! The history of a run: events, decisions and refusals by position.

use super::samples::{self, Tape, at};
use crate::{DecisionRow, EventRow, RefusalRow, RunStore, VerdictKind};
use bytes::Bytes;
use spine_runs::{Answer, Reason};
use spine_schemas::{Decision, Payload, RunKey, StepKey};

fn event(run_id: &str, offset: u64) -> EventRow {
    EventRow {
        key: RunKey::new("default", run_id),
        partition: 0,
        offset,
        at: at(offset),
        kind: "step_started".into(),
        step: Some(StepKey::named("lookup")),
        attempt: Some(1),
        actor: "agent ä".into(),
        verdict: VerdictKind::Applied,
        reason: None,
    }
}

fn value(offset: u64) -> Bytes {
    format!("event {offset}").into()
}

/// Events of one run, in offset order, from an offset on, as many as asked.
pub(super) async fn gives_ranges_of_events(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    // Interleaved runs, one of which has the other's id as its beginning.
    let id = |offset: u64| if offset.is_multiple_of(2) { "r" } else { "r1" };
    for start in [0, 10, 20] {
        let mut batch = tape.next(10);
        batch.events.extend((start..start + 10).map(|offset| event(id(offset), offset)));
        batch.values.extend((start..start + 10).map(value));
        store.apply(batch).await.expect("apply");
    }
    let key = RunKey::new("default", "r");
    let offsets = async |from, limit| {
        let events = store.run_events(&key, from, limit).await.expect("events");
        events.into_iter().map(|event| event.offset).collect::<Vec<u64>>()
    };
    assert_eq!(offsets(0, 100).await, (0..30).step_by(2).collect::<Vec<_>>());
    assert_eq!(offsets(7, 3).await, [8, 10, 12]);
    assert_eq!(offsets(28, 100).await, [28]);
    assert!(offsets(29, 100).await.is_empty());
    assert!(offsets(u64::MAX, 100).await.is_empty());
    let values = async |from, limit, bytes| {
        store.event_values(&key, from, limit, bytes).await.expect("values")
    };
    if let Some(found) = values(7, 3, usize::MAX).await {
        assert_eq!(found, [8, 10, 12].map(|offset| (offset, value(offset))));
        assert_eq!(values(7, 3, 1).await, Some(vec![(8, value(8))]), "enough bytes");
        assert_eq!(values(29, 3, usize::MAX).await, Some(Vec::new()));
        assert_eq!(values(u64::MAX, 3, usize::MAX).await, Some(Vec::new()));
    }
    let other = RunKey::new("other", "r");
    assert_eq!(store.run_events(&other, 0, 10).await.expect("events"), []);
}

/// A batch may bring many events of one run, and large ones; a range may begin and end amid them.
pub(super) async fn gives_ranges_of_long_batches(store: &impl RunStore) {
    const EVENTS: u64 = 300;
    let large =
        |offset| if offset % 50 == 7 { vec![b'x'; 200 * 1024].into() } else { value(offset) };
    let mut tape = Tape::new(0);
    for start in [0, EVENTS] {
        let mut batch = tape.next(EVENTS);
        batch.events.extend((start..start + EVENTS).map(|offset| event("r", offset)));
        batch.values.extend((start..start + EVENTS).map(large));
        store.apply(batch).await.expect("apply");
    }
    let key = RunKey::new("default", "r");
    for (from, limit) in [(0, 1000), (0, 64), (1, 64), (57, 1), (298, 4), (599, 9), (600, 9)] {
        let wanted: Vec<u64> = (from..2 * EVENTS).take(limit).collect();
        let events = store.run_events(&key, from, limit).await.expect("events");
        let offsets: Vec<u64> = events.iter().map(|event| event.offset).collect();
        assert_eq!(offsets, wanted, "{limit} from {from}");
        let found = store.event_values(&key, from, limit, usize::MAX).await.expect("values");
        if let Some(found) = found {
            let wanted: Vec<(u64, Bytes)> =
                wanted.into_iter().map(|offset| (offset, large(offset))).collect();
            assert!(found == wanted, "the bytes of {limit} from {from}");
        }
    }
}

/// Every verdict, a reason, no step, no attempt, and attempt 0.
pub(super) async fn keeps_every_verdict_and_reason(store: &impl RunStore) {
    let verdicts = [
        (VerdictKind::Applied, None, None),
        (VerdictKind::Stale, Some(Reason::Duplicate), Some(0)),
        (VerdictKind::Refused, Some(Reason::EditUnresolved), Some(u32::MAX)),
        (VerdictKind::Illegal, Some(Reason::NoClaim), Some(1)),
    ];
    let mut batch = Tape::new(0).next(4);
    for ((verdict, reason, attempt), offset) in verdicts.into_iter().zip(0..) {
        let step = (offset != 2).then(|| StepKey::new("a/b", "ü", 7).expect("a legal step"));
        batch.events.push(EventRow { verdict, reason, attempt, step, ..event("r", offset) });
    }
    let events = batch.events.clone();
    store.apply(batch).await.expect("apply");
    let key = RunKey::new("default", "r");
    assert_eq!(store.run_events(&key, 0, 10).await.expect("events"), events);
}

/// Decisions keep all that an agent said, also when it said little.
pub(super) async fn keeps_decisions_with_all_fields(store: &impl RunStore) {
    let full = Decision {
        decision: "refund".into(),
        request: "Bitte um Rückzahlung".into(),
        agent: "billing-1".into(),
        reasoning: "a\nb\0c".into(),
        action: "charge.refund".into(),
        params: Some(Payload::json("params", r#"{"cents": 9007199254740993}"#).expect("JSON")),
        result: Some(samples::odd_payload()),
        error: Some(String::new()),
        confidence: Some(0.1 + 0.2),
        step: Some(StepKey::named("refund")),
    };
    let bare = Decision {
        decision: String::new(),
        request: String::new(),
        agent: String::new(),
        reasoning: String::new(),
        action: String::new(),
        params: None,
        result: None,
        error: None,
        confidence: None,
        step: None,
    };
    let empty = Decision {
        params: Some(Payload::opaque("", Vec::new())),
        confidence: Some(0.0),
        error: Some("timeout".into()),
        ..bare.clone()
    };
    let key = RunKey::new("default", "r");
    let row = |(decision, offset): (Decision, u64)| DecisionRow {
        key: key.clone(),
        partition: 0,
        offset,
        at: at(offset),
        decision,
        actor: "agent".into(),
    };
    let rows: Vec<DecisionRow> = [full, bare, empty].into_iter().zip(4..).map(row).collect();
    let mut batch = Tape::new(0).next(10);
    batch.decisions.clone_from(&rows);
    store.apply(batch).await.expect("apply");
    assert_eq!(store.run_decisions(&key, 0, 10).await.expect("decisions"), rows);
    assert_eq!(store.run_decisions(&key, 5, 1).await.expect("decisions"), rows[1..2]);
    assert_eq!(store.run_decisions(&key, 7, 10).await.expect("decisions"), []);
}

/// A refusal is found by its position, with its answer.
pub(super) async fn keeps_refusals(store: &impl RunStore) {
    let mut tape = Tape::new(2);
    let refusal = |offset, key, answer| RefusalRow {
        partition: 2,
        offset,
        key,
        reason: Reason::StepConflict,
        answer,
        at: at(offset),
    };
    let (stored, given) = (samples::digest(0, "stored"), samples::digest(0, "given"));
    let rows = [
        refusal(3, Some(RunKey::new("default", "r")), Some(Answer::Conflict { stored, given })),
        refusal(4, None, None),
        refusal(5, Some(RunKey::new("t", "q")), Some(Answer::Denied { code: Reason::RunAbsent })),
    ];
    let mut batch = tape.next(6);
    batch.refusals.extend_from_slice(&rows);
    store.apply(batch).await.expect("apply");
    for row in rows {
        assert_eq!(store.refusal(2, row.offset).await.expect("refusal"), Some(row));
    }
    assert_eq!(store.refusal(2, 2).await.expect("refusal"), None);
    assert_eq!(store.refusal(1, 3).await.expect("refusal"), None);
    assert_eq!(store.refusal(2, u64::MAX).await.expect("refusal"), None);
}
