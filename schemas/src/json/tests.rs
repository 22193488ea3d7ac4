//! The JSON form: the examples of the design page, defaults, refusals, round trips.

use super::*;
use crate::{Driver, HeldBy, Kind, arbitrary, limits};
use proptest::prelude::*;

fn defaults() -> Defaults<'static> {
    Defaults { now: Micros(7), tenant: "default", actor: "door", event_id: &|| "generated".into() }
}

fn parse(text: &str) -> Result<Event> {
    parse_event(text.as_bytes(), &defaults())
}

fn refused(text: &str) -> (String, String) {
    match parse(text).unwrap_err() {
        Error::Invalid { field, message } => (field, message),
        Error::TooLarge { field, actual, limit } => (field, format!("{actual} over {limit}")),
        other => panic!("{other}"),
    }
}

#[test]
fn the_examples_of_the_design_page_are_read() {
    let lines = [
        r#"{"kind":"run_created","run_id":"r1","run":{"workflow":"refund","version":"3","input":{"order":"A-17"},"tags":{"team":"billing"}}}"#,
        r#"{"kind":"step_started","run_id":"r1","step":{"name":"lookup"},"attempt":1,"spec":{"tool":"crm.lookup","effect":"pure","input":{"order":"A-17"}}}"#,
        r#"{"kind":"step_completed","run_id":"r1","step":{"name":"lookup"},"attempt":1,"output":{"data":{"customer":"c9"}},"usage":{"model":"m1","input_uncached":812,"output_text":95,"cost_micros":4100}}"#,
        r#"{"kind":"decision_recorded","run_id":"r1","decision":{"decision":"refund","request":"...","agent":"billing-1","reasoning":"...","action":"charge.refund","params":{"cents":4200},"confidence":0.91}}"#,
        r#"{"kind":"step_failed","run_id":"r1","step":{"name":"refund"},"attempt":1,"error":{"class":"transient","code":"http_503","message":"service unavailable"}}"#,
        r#"{"kind":"run_completed","run_id":"r1","output":{"data":{"ok":true}}}"#,
    ];
    for line in lines {
        let event = parse(line).unwrap();
        assert_eq!(check_fact(&event), Ok(()), "{line}");
        assert_eq!(event.run_id().map(|run| &**run), Some("r1"));
        assert_eq!((event.event_id.as_str(), &*event.tenant), ("generated", "default"));
        assert_eq!((event.actor.as_str(), event.occurred_at), ("door", Micros(7)));
    }
    let Body::Run(_, RunEvent::Created(run)) = parse(lines[0]).unwrap().body else { panic!() };
    assert_eq!((run.driver, run.tags["team"].as_str()), (Driver::Record, "billing"));
    let Body::Step(_, step, _) = parse(lines[1]).unwrap().body else { panic!() };
    assert_eq!((&*step.scope, step.occurrence), ("", 1));
}

#[test]
fn what_the_caller_says_is_not_replaced() {
    let event = parse(
        r#"{"kind":"run_cancelled","run_id":"r","event_id":"e","tenant":"t","actor":"a","occurred_at":"2026-01-02T03:04:05.000006+01:00"}"#,
    )
    .unwrap();
    assert_eq!((event.event_id.as_str(), &*event.tenant, event.actor.as_str()), ("e", "t", "a"));
    assert_eq!(event.occurred_at.to_string(), "2026-01-02T02:04:05.000006Z");
}

#[test]
fn payloads_keep_their_text() {
    let text = r#"{"big":9007199254740993,"huge":123456789012345678901234567890,"one":1.0,"e":1E+400, "s":"\u00e9"}"#;
    let event =
        parse(&format!(r#"{{"kind":"run_completed","run_id":"r","output":{{"data": {text} }}}}"#));
    let Body::Run(_, RunEvent::Completed { output: Some(output) }) = event.unwrap().body else {
        panic!()
    };
    assert_eq!(output.payload.data, text);
}

#[test]
fn null_params_are_params_and_absent_ones_are_none() {
    let line =
        r#"{"kind":"decision_recorded","run_id":"r","decision":{"decision":"d","params":null}}"#;
    let Body::Run(_, RunEvent::DecisionRecorded(decision)) = parse(line).unwrap().body else {
        panic!("no decision")
    };
    assert_eq!(decision.params, Some(crate::Payload::null()));
    assert_eq!(decision.result, None);
}

#[test]
fn unknown_fields_are_refused_by_name_at_every_level() {
    for (line, field) in [
        (r#"{"kind":"run_completed","run_id":"r","surprise":1}"#, "surprise"),
        (
            r#"{"kind":"run_completed","run_id":"r","output":{"data":1,"surprise":1}}"#,
            "output.surprise",
        ),
        (
            r#"{"kind":"step_skipped","run_id":"r","step":{"name":"s","surprise":1}}"#,
            "step.surprise",
        ),
        (
            r#"{"kind":"run_created","run_id":"r","run":{"workflow":"w","version":"1","surprise":1}}"#,
            "run.surprise",
        ),
        (
            r#"{"kind":"step_scheduled","run_id":"r","step":{"name":"s"},"spec":{"tool":"t","retry":{"surprise":1}}}"#,
            "spec.retry.surprise",
        ),
        (
            r#"{"kind":"step_failed","run_id":"r","step":{"name":"s"},"attempt":1,"error":{"class":"lost","code":"c","surprise":1}}"#,
            "error.surprise",
        ),
        (
            r#"{"kind":"step_completed","run_id":"r","step":{"name":"s"},"attempt":1,"output":{},"usage":{"surprise":1}}"#,
            "usage.surprise",
        ),
        (
            r#"{"kind":"decision_recorded","run_id":"r","decision":{"decision":"d","surprise":1}}"#,
            "decision.surprise",
        ),
    ] {
        let (named, message) = refused(line);
        assert_eq!(named, field);
        assert!(message.starts_with("unknown field `surprise`"), "{message}");
    }
}

/// Each line is refused for its field; `$` stands for the kind and the run.
fn assert_refused(kind: &str, table: &[(&str, &str)]) {
    for (rest, field) in table {
        let line = rest.replace('$', &format!(r#""kind":"{kind}","run_id":"r""#));
        assert_eq!(refused(&line).0, *field, "{line}");
    }
}

#[test]
fn lines_that_are_not_one_event_are_refused() {
    let table = [
        ("", "event"),
        ("{", "event"),
        ("[]", "event"),
        ("{$} x", "event"),
        (r#"{"run_id":"r"}"#, "kind"),
        (r#"{"kind":"step_teleported","run_id":"r"}"#, "kind"),
        (r#"{"kind":"unknown","run_id":"r"}"#, "kind"),
        (r#"{"kind":"run_completed"}"#, "run_id"),
        (r#"{"kind":"run_completed","run_id":""}"#, "run_id"),
        (r#"{"kind":"run_completed","run_id":7}"#, "run_id"),
        (r#"{$,"run_id":"q"}"#, "run_id"),
        (r#"{$,"attempt":1}"#, "attempt"),
        (r#"{$,"tenant":"UP"}"#, "tenant"),
        (r#"{$,"occurred_at":"yesterday"}"#, "occurred_at"),
        (r#"{$,"output":{"data":{"a":1,"a":2}}}"#, "output.data"),
        (r#"{$,"trace":{"trace_id":"x","span_id":"y"}}"#, "trace.trace_id"),
    ];
    assert_refused("run_completed", &table);
}

#[test]
fn wrong_and_missing_fields_of_outcomes_are_refused_by_name() {
    let table = [
        (r#"{$,"step":{"name":"s"},"attempt":1}"#, "output"),
        (r#"{$,"step":{"name":"s"},"output":{}}"#, "attempt"),
        (r#"{$,"attempt":1,"output":{}}"#, "step"),
        (r#"{$,"step":{},"attempt":1,"output":{}}"#, "step.name"),
        (r#"{$,"step":{"name":"a/b"},"attempt":1,"output":{}}"#, "step.name"),
        (r#"{$,"step":{"name":"s","occurrence":0},"attempt":1,"output":{}}"#, "step.occurrence"),
        (r#"{$,"step":{"name":"s"},"attempt":0,"output":{}}"#, "attempt"),
        (r#"{$,"step":{"name":"s"},"attempt":-1,"output":{}}"#, "attempt"),
        (r#"{$,"step":{"name":"s"},"attempt":1.5,"output":{}}"#, "attempt"),
        (
            r#"{$,"step":{"name":"s"},"attempt":1,"output":{},"usage":{"cost_micros":-4}}"#,
            "usage.cost_micros",
        ),
        (r#"{$,"step":{"name":"s"},"attempt":1,"output":{},"timer":{}}"#, "timer.due_at"),
    ];
    assert_refused("step_completed", &table);
    let table = [
        (
            r#"{$,"step":{"name":"s"},"attempt":1,"error":{"class":"bad","code":"c"}}"#,
            "error.class",
        ),
        (
            r#"{$,"step":{"name":"s"},"attempt":1,"error":{"class":"unknown","code":"c"}}"#,
            "error.class",
        ),
        (r#"{$,"step":{"name":"s"},"attempt":1,"error":{"class":"lost"}}"#, "error.code"),
    ];
    assert_refused("step_failed", &table);
}

#[test]
fn wrong_and_missing_fields_of_runs_are_refused_by_name() {
    let table = [
        (r#"{$,"run":{"workflow":"w","version":"1","driver":"plan"}}"#, "run.plan"),
        (
            r#"{$,"run":{"workflow":"w","version":"1","driver":"plan","plan":{"steps":[]}}}"#,
            "run.plan.steps",
        ),
        (
            r#"{$,"run":{"workflow":"w","version":"1","plan":{"steps":[{"name":"a","tool":"t"}]}}}"#,
            "run.plan",
        ),
        (r#"{$,"run":{"workflow":"","version":"1"}}"#, "run.workflow"),
        (r#"{$,"run":{"workflow":"w"}}"#, "run.version"),
    ];
    assert_refused("run_created", &table);
    let escaped = r#"{"kind":"run_created","run_id":"r","run":{"workflow":"w","version":"1","input":{"$payload":{"bytes":"!"}}}}"#;
    assert_eq!(refused(escaped).0, "run.input");
    let table = [(r#"{$,"decision":{"decision":"d","confidence":1.1}}"#, "decision.confidence")];
    assert_refused("decision_recorded", &table);
}

#[test]
fn inputs_over_their_limit_are_refused_and_outcomes_never() {
    let large = "x".repeat(limits::PAYLOAD_BYTES);
    let input = format!(
        r#"{{"kind":"run_created","run_id":"r","run":{{"workflow":"w","version":"1","input":"{large}"}}}}"#
    );
    assert_eq!(refused(&input).0, "run.input");
    let outcome = parse(&format!(
        r#"{{"kind":"step_completed","run_id":"r","step":{{"name":"s"}},"attempt":1,"output":{{"data":"{large}"}}}}"#
    ))
    .unwrap();
    let Body::Step(_, _, StepEvent::Completed { output, .. }) = &outcome.body else { panic!() };
    assert!(output.payload.omitted && output.payload.data.is_empty());
    assert_eq!(output.payload.size_bytes, limits::PAYLOAD_BYTES as u64 + 2);
    assert_eq!(parse(&to_text(&outcome).unwrap()), Ok(outcome));
    let long = "é".repeat(limits::MESSAGE_BYTES);
    let failed = parse(&format!(
        r#"{{"kind":"step_failed","run_id":"r","step":{{"name":"s"}},"attempt":1,"error":{{"class":"terminal","code":"c","message":"{long}"}}}}"#
    ));
    let Body::Step(_, _, StepEvent::Failed { error, .. }) = failed.unwrap().body else { panic!() };
    assert!(error.message.len() <= limits::MESSAGE_BYTES && error.message.ends_with("é [cut]"));
}

#[test]
fn maps_have_limits() {
    let many: Vec<_> = (0..=limits::ATTRIBUTES).map(|at| format!(r#""k{at}":"v""#)).collect();
    let line =
        |map: &str| format!(r#"{{"kind":"run_completed","run_id":"r","attributes":{{{map}}}}}"#);
    assert_eq!(refused(&line(&many.join(","))).0, "attributes");
    assert_eq!(refused(&line(&format!(r#""k":"{}""#, "v".repeat(1025)))).0, "attributes.k");
    assert_eq!(refused(&line(r#""":"v""#)).0, "attributes");
    assert_eq!(refused(&line(r#""k":1"#)).0, "attributes.k");
}

#[test]
fn deep_payloads_are_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let line = format!(r#"{{"kind":"run_completed","run_id":"r","output":{{"data":{deep}}}}}"#);
    assert_eq!(refused(&line).0, "output.data");
    let unknown = format!(r#"{{"kind":"run_completed","run_id":"r","surprise":{deep}}}"#);
    assert_eq!(refused(&unknown).0, "surprise");
}

#[test]
fn payloads_that_are_not_plain_json_have_a_form_of_their_own() {
    let line = |data: &str| {
        format!(r#"{{"kind":"run_completed","run_id":"r","output":{{"data":{data}}}}}"#)
    };
    let output = |data: &str| match parse(&line(data)).unwrap().body {
        Body::Run(_, RunEvent::Completed { output: Some(output) }) => output.payload,
        other => panic!("{other:?}"),
    };
    let png = output(r#"{"$payload":{"content_type":"image/png","bytes":"iVBORw=="}}"#);
    assert_eq!((png.content_type.as_str(), &png.data[..]), ("image/png", &b"\x89PNG"[..]));
    assert_eq!(png.digest, crate::Digest::of_bytes(b"\x89PNG"));
    // A digest that the caller states is not believed where the bytes are there.
    let stated = output(
        r#"{"$payload":{"content_type":"image/png","bytes":"iVBORw==","digest":"0000000000000000000000000000000000000000000000000000000000000000"}}"#,
    );
    assert_eq!(stated, png);
    let data = output(r#"{"$payloads":1}"#);
    assert_eq!(data.data, r#"{"$payloads":1}"#);
    assert_eq!(refused(&line(r#"{"$payload":1}"#)).0, "output.data");
}

#[test]
fn a_line_is_one_line() {
    let event = parse("{\"kind\":\"run_completed\",\"run_id\":\"r\",\"output\":{\"data\":{\n\"a\":\r\n\"x\\ny\"}}}").unwrap();
    let line = to_line(&event).unwrap();
    assert!(!line.contains(['\n', '\r']));
    let Body::Run(_, RunEvent::Completed { output: Some(one) }) = event.body else { panic!() };
    let Body::Run(_, RunEvent::Completed { output: Some(two) }) = parse(&line).unwrap().body else {
        panic!()
    };
    assert_eq!(one.payload.digest, two.payload.digest);
}

#[test]
fn a_pause_goes_with_an_agents_begin_only_and_is_kept() {
    let mut event =
        parse(r#"{"kind":"step_started","run_id":"r1","step":{"name":"a"},"attempt":1}"#).unwrap();
    for (attempt, by, is_taken) in [
        (None, HeldBy::ToolPaused, true),
        (None, HeldBy::TenantPaused, true),
        (Some(1), HeldBy::ToolPaused, false),
        (None, HeldBy::Breaker, false),
    ] {
        let start = StepStarted { attempt, held_by: Some(by), ..StepStarted::default() };
        let Body::Step(run, step, _) = event.body.clone() else { panic!("no step: {event:?}") };
        event.body = Body::Step(run, step, StepEvent::Started(start));
        assert_eq!(event.check().is_ok(), is_taken, "{attempt:?} {by:?}");
        if is_taken {
            assert_eq!(parse(&to_text(&event).unwrap()).unwrap(), event);
        }
    }
}

#[test]
fn outsiders_report_facts_and_nothing_else() {
    let facts = [
        Kind::RunCreated,
        Kind::StepScheduled,
        Kind::StepStarted,
        Kind::StepHeartbeat,
        Kind::StepCompleted,
        Kind::StepFailed,
        Kind::StepSkipped,
        Kind::StepCancelled,
        Kind::DecisionRecorded,
        Kind::RunCompleted,
        Kind::RunFailed,
        Kind::RunCancelled,
    ];
    for line in include_str!("../../fixtures/v2/events.ndjson").lines() {
        let mut event = parse(line).unwrap();
        event.claim = None;
        event.op = None;
        let journal = matches!(&event.body, Body::Run(_, RunEvent::Created(run)) if run.driver != Driver::Record)
            || matches!(&event.body, Body::Step(_, _, StepEvent::Started(start)) if start.attempt.is_none());
        let fact = facts.contains(&event.kind()) && !journal;
        assert_eq!(is_fact(&event.body), fact, "{line}");
        assert_eq!(check_fact(&event).is_ok(), fact, "{line}");
    }
}

#[test]
fn outsiders_cannot_claim() {
    let event = parse(r#"{"kind":"run_completed","run_id":"r","claim":3}"#).unwrap();
    assert!(matches!(check_fact(&event), Err(Error::Invalid { field, .. }) if field == "claim"));
    let op = r#"{"kind":"run_completed","run_id":"r","op":{"session":"s","op_id":1}}"#;
    assert!(
        matches!(check_fact(&parse(op).unwrap()), Err(Error::Invalid { field, .. }) if field == "op")
    );
}

proptest! {
    #[test]
    fn any_event_survives_json(event in arbitrary::event()) {
        let text = to_text(&event).unwrap();
        prop_assert_eq!(parse_event(text.as_bytes(), &defaults()).unwrap(), event);
    }

    #[test]
    fn no_bytes_make_the_door_panic(
        event in arbitrary::event(),
        at in any::<proptest::sample::Index>(),
        junk in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut text = to_text(&event).unwrap().into_bytes();
        let at = at.index(text.len());
        text.splice(at..(at + 1), junk);
        if let Ok(event) = parse_event(&text, &defaults()) {
            prop_assert!(event.check().is_ok());
        }
    }
}
