//! Planned faults: injected on tenants that are for tests, refused elsewhere; and the demo as a test.

use serde_json::json;
use spine_tests::{Fx, On, Servers, Spine, lines, substrate};

#[test]
fn c20_two_planned_timeouts_are_two_injected_faults_and_one_success() {
    let fx = Fx::willing();
    let spine = Spine::fresh().with(&["--test-tenant", "test"]).start();
    let step = lines::step("t", &fx.tool("t"), "idempotent");
    let mut plan = lines::plan("r", &lines::quick(3), vec![step]);
    plan["faults"] = json!([
        {"step": "t", "attempt": 1, "fault": "timeout"},
        {"step": "t", "attempt": 2, "fault": "timeout"},
    ]);
    let refused = spine.http().post("/v1/runs", &plan).expect("an answer");
    assert_eq!((refused.status, refused.code()), (422, 1107), "a tenant that is not for tests");
    assert_eq!(spine.get("/v1/runs/r").status, 404, "a refused plan leaves nothing behind");

    plan["tenant"] = json!("test");
    spine.start_run(&plan);
    spine.wait_run("r?tenant=test", &["completed"]);
    let events = spine.get("/v1/runs/r/events?tenant=test&limit=100").json();
    let count = |kind: &str| {
        let all = events["events"].as_array().expect("a list of events");
        all.iter().filter(|event| event["kind"] == kind).count()
    };
    assert_eq!((count("fault_injected"), count("step_started")), (2, 3), "{events}");
    assert_eq!(count("step_completed"), 1, "{events}");
    assert_eq!(fx.calls().len(), 1, "a fault that is injected calls no tool");
}

#[test]
fn c20_the_demo_meets_every_expectation_with_faults_and_without() {
    let servers = || Servers::named().expect("servers are named");
    let log = || format!("kafka://{}/it", servers().kafka);
    let (places, all) = match substrate::chosen() {
        On::Embedded => (vec![], &["0", "3", "7"][..]),
        On::KafkaSqlite => (vec!["--log".into(), log()], &["7"][..]),
        On::KafkaCql => {
            let store = format!("cql://{}/it", servers().cql);
            (vec!["--log".into(), log(), "--store".into(), store], &["3"][..])
        }
    };
    for faults in all {
        let mut demo = spine_tests::spine(&["demo", "--simulate-failures", faults]);
        let shown = demo.args(&places).output().expect("the demo runs");
        let told = String::from_utf8_lossy(&shown.stdout);
        let errors = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "with {faults} faults: {told}\n{errors}");
    }
}
