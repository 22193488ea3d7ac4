//! The events that are measured with: record runs of eight events, some 600 bytes each, spread over the key
//! space. The same number gives the same event, so that two sides do the same work.

use bytes::Bytes;
use spine_log::NewRecord;
use spine_schemas::{
    Body, Driver, Effect, Event, Output, Payload, RunCreated, RunEvent, StepEvent, StepKey,
    StepSpec, StepStarted, codec, time::Micros,
};
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

/// Events of one run: its creation, three steps of two events each, its end.
pub(crate) const RUN_EVENTS: u64 = 8;
/// Bytes of a payload's text.
pub(crate) const PAYLOAD_BYTES: usize = 400;
/// The tenant of all runs.
pub(crate) const TENANT: &str = "default";
/// When everything happens, by the events' author: order never rests on it.
const AT: Micros = Micros(1_700_000_000_000_000);
const STEPS: [&str; 3] = ["lookup", "charge", "notify-customer"];
const WORDS: [&str; 16] = [
    "refund", "order", "customer", "invoice", "approved", "pending", "shipment", "address",
    "amount", "currency", "reason", "policy", "account", "agent", "tool", "result",
];

/// Numbers that look random and are the same each time (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// A JSON object of about so many bytes, of words and numbers: neither one letter over and over, which
/// compresses to nothing, nor noise, which does not compress.
pub(crate) fn text(seed: u64, bytes: usize) -> String {
    let mut numbers = Numbers::from(seed);
    let mut text = String::with_capacity(bytes + 32);
    text.push_str("{\"note\":\"");
    while text.len() + 2 < bytes {
        let number = numbers.next();
        let word = WORDS[(number % WORDS.len() as u64) as usize];
        // Writing into memory cannot fail.
        let _ = write!(text, "{word} {} ", (number >> 32) % 100_000);
    }
    text.push_str("\"}");
    text
}

/// The id of a run, of which nobody can tell the number.
pub(crate) fn run_id(mark: &str, number: u64) -> String {
    format!("{mark}-{:016x}", Numbers::from(number).next())
}

/// One event of a run of the batch that `mark` names.
pub(crate) fn event(mark: &str, run: u64, index: u64) -> Event {
    assert!(index < RUN_EVENTS, "a run has eight events");
    let seed = run * RUN_EVENTS + index;
    let run_id: Arc<str> = run_id(mark, run).into();
    let step = |at: u64| StepKey::named(STEPS[((at - 1) / 2) as usize]);
    let body = match index {
        0 => Body::Run(run_id, RunEvent::Created(Box::new(created(seed)))),
        7 => Body::Run(run_id, RunEvent::Completed { output: Some(output(seed)) }),
        _ if index % 2 == 1 => Body::Step(run_id, step(index), StepEvent::Started(started(seed))),
        _ => Body::Step(run_id, step(index), completed(seed)),
    };
    Event::new(format!("{mark}-{run}-{index}"), TENANT, AT, "pipeline", body)
}

/// The event as the log takes it.
pub(crate) fn record(event: &Event) -> NewRecord {
    let key = event.run_key().expect("an event of a run").record_key();
    let value = codec::encode(event).expect("a legal event");
    NewRecord::plain(Some(key.into()), value)
}

/// So many events as bytes, no two alike: what a raw ceiling moves is of the same kind.
pub(crate) fn encoded(count: u64) -> Vec<Bytes> {
    let events = (0..count).map(|at| event("raw", at / RUN_EVENTS, at % RUN_EVENTS));
    events.map(|event| codec::encode(&event).expect("a legal event")).collect()
}

fn created(seed: u64) -> RunCreated {
    RunCreated {
        workflow: "refund".to_owned(),
        version: "3".to_owned(),
        driver: Driver::Record,
        input: payload(seed),
        tags: BTreeMap::from([("team".to_owned(), "billing".to_owned())]),
        parent: None,
        plan: None,
        fork: None,
        caller: None,
    }
}

fn started(seed: u64) -> StepStarted {
    let spec = StepSpec::new("crm.lookup", Effect::Pure, payload(seed));
    StepStarted { attempt: Some(1), spec: Some(Arc::new(spec)), ..StepStarted::default() }
}

fn completed(seed: u64) -> StepEvent {
    StepEvent::Completed { attempt: 1, lease: None, output: output(seed), usage: None }
}

fn output(seed: u64) -> Output {
    Output::of(payload(seed))
}

fn payload(seed: u64) -> Payload {
    Payload::json("payload", text(seed, PAYLOAD_BYTES)).expect("an object is JSON")
}
