//! Plans: defaults, order, references, limits.

mod drops;

use super::*;
use crate::spec;

fn plan(steps: &str) -> Result<Plan> {
    Plan::parse(format!(r#"{{"steps":{steps}}}"#))
}

fn refused(source: impl Into<Bytes>) -> String {
    match Plan::parse(source).unwrap_err() {
        Error::Invalid { field, .. } | Error::TooLarge { field, .. } => field,
        other => panic!("{other}"),
    }
}

#[test]
fn the_plan_of_the_design_page_is_read_with_its_defaults() {
    let source = r#"{"retry":{"max_attempts":4,"initial_ms":200,"multiplier":2.0,"max_ms":60000,"jitter":0.2},
     "steps":[
      {"name":"lookup","tool":"http://127.0.0.1:9000/lookup","effect":"pure","input":{"order":{"$ref":"run#/order"}}},
      {"name":"refund","tool":"http://127.0.0.1:9000/refund","effect":"idempotent","timeout_ms":30000,"after":["lookup"],
       "input":{"customer":{"$ref":"lookup#/customer"},"cents":4200}},
      {"name":"email","tool":"http://127.0.0.1:9000/email","effect":"at_most_once","after":["refund"],"on_exhausted":"dead_letter","input":{}}]}"#;
    let plan = Plan::parse(source).unwrap();
    assert_eq!(plan.source, source);
    let email = &plan.steps[2];
    assert_eq!((email.effect, email.timeout_ms), (Effect::AtMostOnce, spec::TIMEOUT_MS));
    assert_eq!((email.deadline_ms, email.key_ttl_ms), (spec::DEADLINE_MS, spec::KEY_TTL_MS));
    assert_eq!(email.retry, RetryPolicy::default());
    assert_eq!(email.on_exhausted, OnExhausted::DeadLetter);
    assert_eq!(email.after, [1]);
}

#[test]
fn steps_follow_the_list_unless_they_say_otherwise() {
    let plan = plan(
        r#"[{"name":"a","tool":"t"},{"name":"b","tool":"t"},{"name":"c","tool":"t","after":[]},
            {"name":"d","tool":"t","after":["c","a","c"]}]"#,
    )
    .unwrap();
    let after: Vec<_> = plan.steps.iter().map(|step| step.after.clone()).collect();
    assert_eq!(after, [vec![], vec![0], vec![], vec![0, 2]]);
    assert_eq!(plan.steps[0].input, "null");
    assert_eq!(plan.steps[0].effect, Effect::AtMostOnce);
}

#[test]
fn a_step_can_name_only_earlier_steps_so_that_there_is_no_cycle() {
    for (steps, field) in [
        (r#"[{"name":"a","tool":"t","after":["a"]}]"#, "steps[0].after"),
        (r#"[{"name":"a","tool":"t","after":["b"]},{"name":"b","tool":"t"}]"#, "steps[0].after"),
        (r#"[{"name":"a","tool":"t","after":["x"]}]"#, "steps[0].after"),
        (r#"[{"name":"a","tool":"t","after":["x#"]}]"#, "steps[0].after"),
    ] {
        assert_eq!(refused(format!(r#"{{"steps":{steps}}}"#)), field, "{steps}");
    }
}

#[test]
fn a_default_belongs_to_a_step_that_may_be_skipped() {
    let skip = r#"[{"name":"a","tool":"t","on_exhausted":"skip","default": {"x": 1.0} }]"#;
    assert_eq!(plan(skip).unwrap().steps[0].default.as_deref(), Some(&br#"{"x": 1.0}"#[..]));
    let large = "x".repeat(limits::PAYLOAD_BYTES);
    for step in [
        r#"{"name":"a","tool":"t","default":1}"#.to_owned(),
        r#"{"name":"a","tool":"t","on_exhausted":"fail","default":0}"#.to_owned(),
        format!(r#"{{"name":"a","tool":"t","on_exhausted":"skip","default":"{large}"}}"#),
    ] {
        assert_eq!(refused(format!(r#"{{"steps":[{step}]}}"#)), "steps[0].default");
    }
}

#[test]
fn references_name_the_run_or_what_has_ended_before() {
    let chain = |input: &str| {
        format!(
            r#"{{"steps":[{{"name":"a","tool":"t"}},{{"name":"b","tool":"t"}},
                {{"name":"side","tool":"t","after":[]}},
                {{"name":"c","tool":"t","after":["b"],"input":{input}}}]}}"#
        )
    };
    for good in
        [r#"{"$ref":"a#/x"}"#, r#"[{"$ref":"b#"},{"$ref":"run#/y"}]"#, r#"{"$ref":"a#1#/x"}"#]
    {
        assert!(Plan::parse(chain(good)).is_ok(), "{good}");
    }
    for bad in [r#"{"$ref":"side#/x"}"#, r#"{"$ref":"c#/x"}"#, r#"{"$ref":"nobody#/x"}"#] {
        assert_eq!(refused(chain(bad)), "steps[3].input", "{bad}");
    }
    assert_eq!(refused(chain(r#"{"$ref":"a/x"}"#)), "$ref");
}

#[test]
fn wrong_values_are_refused_by_path() {
    for (source, field) in [
        (r#"{"steps":[]}"#, "steps"),
        (r#"{"steps":[{"name":"a","tool":"t"},{"name":"a","tool":"t"}]}"#, "steps[1].name"),
        (r#"{"steps":[{"name":"a/b","tool":"t"}]}"#, "steps[0]"),
        (r#"{"steps":[{"name":"a","tool":""}]}"#, "steps[0].tool"),
        (r#"{"steps":[{"name":"a","tool":"t","timeout_ms":0}]}"#, "steps[0].timeout_ms"),
        (
            r#"{"steps":[{"name":"a","tool":"t","deadline_ms":99999999999}]}"#,
            "steps[0].deadline_ms",
        ),
        (r#"{"steps":[{"name":"a","tool":"t","key_ttl_ms":99999999999}]}"#, "steps[0].key_ttl_ms"),
        (
            r#"{"steps":[{"name":"a","tool":"t","retry":{"max_attempts":0}}]}"#,
            "steps[0].retry.max_attempts",
        ),
        (r#"{"retry":{"jitter":1.5},"steps":[{"name":"a","tool":"t"}]}"#, "retry.jitter"),
        (r#"{"retry":{"multiplier":0.5},"steps":[{"name":"a","tool":"t"}]}"#, "retry.multiplier"),
        (
            r#"{"retry":{"initial_ms":9,"max_ms":8},"steps":[{"name":"a","tool":"t"}]}"#,
            "retry.initial_ms",
        ),
        (r#"{"steps":[{"name":"a","tool":"t","surprise":1}]}"#, "steps"),
        (r#"{"steps":[{"name":"a","tool":"t"}],"surprise":1}"#, "steps"),
        (
            r#"{"steps":[{"name":"a","tool":"t"}],"faults":[{"step":"b","attempt":1,"fault":"timeout"}]}"#,
            "faults[0].step",
        ),
        (
            r#"{"steps":[{"name":"a","tool":"t"}],"faults":[{"step":"a","attempt":0,"fault":"timeout"}]}"#,
            "faults[0].attempt",
        ),
        (r#"{"steps":[{"name":"a","tool":"t","input":{"x":1,"x":2}}]}"#, "input"),
    ] {
        assert_eq!(refused(source), field, "{source}");
    }
}

#[test]
fn the_limits_of_a_plan_hold() {
    let steps = |count: usize| {
        let step = |at| format!(r#"{{"name":"s{at}","tool":"t"}}"#);
        let steps: Vec<_> = (0..count).map(step).collect();
        format!(r#"{{"steps":[{}]}}"#, steps.join(","))
    };
    assert_eq!(Plan::parse(steps(limits::PLAN_STEPS)).unwrap().steps.len(), limits::PLAN_STEPS);
    assert_eq!(refused(steps(limits::PLAN_STEPS + 1)), "steps");
    let large = "x".repeat(limits::PAYLOAD_BYTES);
    let large = format!(r#"{{"steps":[{{"name":"a","tool":"t","input":"{large}"}}]}}"#);
    assert_eq!(refused(large), "steps[0].input");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(
        refused(format!(r#"{{"steps":[{{"name":"a","tool":"t","input":{deep}}}]}}"#)),
        "steps"
    );
    let statuses = format!("{:?}", vec![409; limits::STATUSES + 1]);
    let source = format!(r#"{{"steps":[{{"name":"a","tool":"t","not_applied":{statuses}}}]}}"#);
    assert_eq!(refused(source), "steps[0].not_applied");
}

#[test]
fn a_new_step_has_few_references_and_one_in_the_log_is_read() {
    let with = |count| {
        let references = vec![r##"{"$ref":"run#/a"}"##; count].join(",");
        plan(&format!(r#"[{{"name":"a","tool":"t","input":[{references}]}}]"#)).unwrap()
    };
    assert_eq!(with(limits::STEP_REFERENCES).check_new(), Ok(()));
    let too_many = with(limits::STEP_REFERENCES + 1).check_new().unwrap_err();
    assert_eq!(too_many, Error::too_large("steps[0].input.$ref", 257, limits::STEP_REFERENCES));
}

#[test]
fn faults_are_found_by_step_and_attempt() {
    let plan = Plan::parse(
        r#"{"steps":[{"name":"a","tool":"t"}],"faults":[{"step":"a","attempt":2,"fault":"transient"}]}"#,
    )
    .unwrap();
    assert_eq!(plan.fault(&StepKey::named("a"), 2), Some(Fault::Transient));
    assert_eq!(plan.fault(&StepKey::named("a"), 1), None);
}

#[test]
fn fallbacks_and_undos_lie_behind_the_list_and_name_their_places() {
    let plan = plan(
        r#"[{"name":"a","tool":"t","compensate":{"tool":"u","input":{"$ref":"a#/id"}}},
            {"name":"b","tool":"t","scope":"s","on_exhausted":"fallback","fallback":[
              {"name":"x","tool":"t","input":{"$ref":"a#"},"compensate":{"tool":"u"}},
              {"name":"y","tool":"t","on_exhausted":"fallback","input":{"$ref":"x#"},
               "fallback":[{"name":"z","tool":"t"}]}],"compensate":{"tool":"u"}}]"#,
    )
    .unwrap();
    let names: Vec<_> = plan.steps.iter().map(|step| step.key.to_string()).collect();
    assert_eq!(plan.in_list().len(), 2);
    let expected = ["a#1", "s/b#1", "compensate/a#1", "x#1", "y#1", "compensate/s/b#1"];
    assert_eq!(names[..6], expected);
    assert_eq!(names[6..], ["compensate/x#1", "z#1"]);
    let paths: Vec<_> = (0..plan.steps.len()).map(|at| plan.path(at)).collect();
    assert_eq!(paths[4], "steps[1].fallback[1]");
    assert_eq!(paths[6], "steps[1].fallback[0].compensate");
    assert_eq!(paths[7], "steps[1].fallback[1].fallback[0]");
    assert_eq!(plan.fallback(1).map(|step| &*step.key.name).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(plan.undo(3).unwrap().key.to_string(), "compensate/x#1");
    assert_eq!(plan.steps[4].after, [3], "one after the other");
    assert!(plan.check_new().is_ok());
}

#[test]
fn what_recovers_is_checked_by_path() {
    let step = |more: &str| format!(r#"{{"steps":[{{"name":"a","tool":"t"{more}}}]}}"#);
    for (more, field) in [
        (r#","on_exhausted":"fallback""#, "steps[0].fallback"),
        (r#","fallback":[{"name":"x","tool":"t"}]"#, "steps[0].fallback"),
        (
            r#","on_exhausted":"fallback","fallback":[{"name":"a","tool":"t"}]"#,
            "steps[0].fallback[0].name",
        ),
        (
            r#","on_exhausted":"fallback","fallback":[{"name":"x","tool":"t","after":[]}]"#,
            "steps[0].fallback[0].after",
        ),
        (
            r#","on_exhausted":"fallback","fallback":[{"name":"x","tool":"t","input":{"$ref":"a#"}}]"#,
            "steps[0].fallback[0].input",
        ),
        (
            r#","on_exhausted":"fallback","fallback":[{"name":"x","tool":""}]"#,
            "steps[0].fallback[0].tool",
        ),
        (r#","compensate":{"name":"x","tool":"t"}"#, "steps[0].compensate"),
        (r#","compensate":{"tool":"t","on_exhausted":"fail"}"#, "steps[0].compensate.on_exhausted"),
        (
            r#","compensate":{"tool":"t","compensate":{"tool":"t"}}"#,
            "steps[0].compensate.compensate",
        ),
        (r#","compensate":{"tool":"t","retry":{"jitter":2}}"#, "steps[0].compensate.retry.jitter"),
    ] {
        assert_eq!(refused(step(more)), field, "{more}");
    }
    let reserved = step(r#","scope":"compensate/x""#);
    let refused = Plan::parse(reserved).unwrap().check_new().unwrap_err();
    assert!(matches!(refused, Error::Invalid { field, .. } if field == "steps[0].scope"));
}

#[test]
fn waits_and_approvals_are_checked_by_path() {
    let step = |more: &str| format!(r#"{{"steps":[{{"name":"a",{more}}}]}}"#);
    for (more, field) in [
        (r#""tool":"signal:""#, "steps[0].tool"),
        (r#""tool":"sleep:soon""#, "steps[0].tool"),
        (r#""tool":"sleep:99999999999""#, "steps[0].tool"),
        (r#""tool":"signal:x","approval":{}"#, "steps[0].approval"),
        (r#""tool":"queue:""#, "steps[0].tool"),
        (r#""tool":"queue:mail","approval":{"expires_ms":0}"#, "steps[0].approval.expires_ms"),
        (r#""tool":"t","approval":{"expires_ms":0}"#, "steps[0].approval.expires_ms"),
        (r#""tool":"t","approval":{"by":"x"}"#, "steps"),
    ] {
        assert_eq!(refused(step(more)), field, "{more}");
    }
    let asked = Plan::parse(step(r#""tool":"t","approval":{}"#)).unwrap();
    assert_eq!(asked.steps[0].approval_ms, Some(spec::DEADLINE_MS));
    let queued = Plan::parse(step(r#""tool":"queue:mail","approval":{}"#)).unwrap();
    let queued = &queued.steps[0];
    let of_queue = (queued.effect, queued.timeout_ms, queued.approval_ms.is_some());
    assert_eq!(of_queue, (Effect::AtMostOnce, spec::QUEUE_TIMEOUT_MS, true));
    assert_eq!(spec::act_of("signal:paid"), spec::Act::Signal("paid"));
    assert_eq!(spec::act_of("sleep:1500"), spec::Act::Sleep(1500));
    assert_eq!(spec::act_of("http://h/x"), spec::Act::Call);
    assert_eq!(spec::act_of("queue:mail"), spec::Act::Queue("mail"));
}
