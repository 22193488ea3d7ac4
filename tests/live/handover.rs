//! What one process is asked about a run that another one owns, and what runs of two processes tell each other. Both go
//! through the log, so it is all the same who is asked, and who dies costs nothing but time.

use crate::{
    checks,
    nodes::{Nodes, partition_of},
};
use serde_json::{Value, json};
use spine_schemas::{RunKey, StepKey, keys};
use spine_tests::{Answer, Fx, Servers, Spine, Worker, lines, waits};
use std::{sync::Barrier, thread};

/// Long enough that no lease ends by itself.
const LONG_MS: u64 = 600_000;
/// An attempt that its process did not survive is lost after this, counted from the claim of who comes next.
const TIMEOUT_MS: u64 = 3000;

/// A run of one process whose step `pay` is a run of the other; the ids of both.
fn family(nodes: &Nodes, at: usize, name: &str) -> (String, String) {
    let (far, step) = (nodes.partitions_of(1 - at), StepKey::named("pay"));
    let with_child = |run: String| {
        let child = keys::child_run_id(&RunKey::new("default", &run), &step, 1);
        (run, child)
    };
    let is_apart = |(_, child): &(String, String)| far.contains(&partition_of("default", child));
    let mut families = nodes.runs_of(at, name).map(with_child);
    families.find(is_apart).expect("there is always one")
}

fn post(node: &Spine, path: &str, body: &Value) -> (u16, Value) {
    let reply = node.http().post(path, body).expect("an answer");
    (reply.status, reply.json())
}

/// Asks for something that is granted.
fn granted(node: &Spine, path: &str, body: &Value) {
    let (status, reply) = post(node, path, body);
    assert_eq!(status, 200, "{path}: {reply}");
}

/// A call that may not be made twice.
fn careful(fx: &Fx, name: &str) -> Value {
    lines::patient_step(name, &fx.tool(name), "at_most_once")
}

/// A plan of a step that is a run of these steps, and of one that gets what that run gives.
fn parent(fx: &Fx, run: &str, inner: &[Value]) -> Value {
    let plan = json!({"retry": lines::quick(3), "steps": inner});
    let pay = json!({"name": "pay", "tool": "run", "run": {"plan": plan}});
    let mut last = careful(fx, "z");
    last["input"] = json!({"paid": {"$ref": "pay#"}});
    lines::plan(run, &lines::quick(3), vec![pay, last])
}

fn step_of(node: &Spine, run: &str, step: &str) -> Value {
    node.get(&format!("/v1/runs/{run}/steps/{step}")).json()
}

/// What the only call of a step was given.
fn given(fx: &Fx, run: &str, step: &str) -> Value {
    let calls = fx.calls_of(run, step);
    assert_eq!(calls.len(), 1, "{step} of {run}: {calls:?}");
    serde_json::from_str(&calls[0].body).expect("JSON")
}

/// The steps of a run that took effect, each as often as it did, in that order.
fn effects_of(fx: &Fx, run: &str) -> Vec<String> {
    let effects = fx.calls().into_iter().filter(|call| call.effect && call.run == run);
    effects.map(|call| call.step).collect()
}

/// What was applied to a run, in the order of the log.
fn applied(node: &Spine, run: &str) -> Vec<String> {
    let history = checks::history(node.port(), run);
    let words = |event: &Value| {
        let words = [event["kind"].as_str(), event["step"].as_str()];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    history.iter().filter(|event| event["verdict"] == "applied").map(words).collect()
}

/// Waits until a run says something of itself.
fn says(node: &Spine, run: &str, field: &str) {
    waits::until(field, || {
        let shown = node.get(&format!("/v1/runs/{run}")).json();
        shown[field].is_object().then_some(())
    });
}

/// The step of the parent had one attempt, that attempt is the run, and the run says whose it is.
fn is_one_run(node: &Spine, run: &str, child: &str) {
    let step = step_of(node, run, "pay");
    let attempts = step["attempts"].as_array().expect("attempts").iter();
    let ids: Vec<&Value> = attempts.map(|attempt| &attempt["run_id"]).collect();
    assert_eq!(ids, [child], "{step}");
    let shown = node.get(&format!("/v1/runs/{child}")).json();
    assert_eq!((&shown["parent"], &shown["status"]), (&json!(run), &json!("completed")));
}

/// The step of the one process ends with what the run of the other gave.
fn ends_with_its_child(nodes: &Nodes, fx: &Fx, at: usize) {
    let (run, child) = family(nodes, at, "ends");
    let far = &nodes.nodes[1 - at];
    far.start_run(&parent(fx, &run, &[careful(fx, "c1"), careful(fx, "c2")]));
    for run in [&run, &child] {
        far.wait_run(run, &["completed"]);
    }
    is_one_run(far, &run, &child);
    assert_eq!(given(fx, &run, "z"), json!({"paid": {"did": "c2#1"}}));
    assert_eq!(effects_of(fx, &child), ["c1#1", "c2#1"]);
}

/// A family of which a worker is at the first step of the child; and its lease. The queue has the name of the parent.
fn at_work(nodes: &Nodes, fx: &Fx, at: usize, name: &str) -> (String, String, Worker, Value) {
    let (run, child) = family(nodes, at, name);
    let far = &nodes.nodes[1 - at];
    let mut first = lines::patient_step("c1", &format!("queue:{run}"), "at_most_once");
    first["compensate"] = json!({"tool": fx.tool("undo"), "effect": "idempotent"});
    far.start_run(&parent(fx, &run, &[first, careful(fx, "c2")]));
    let mut worker = Worker::new("w", far);
    let lease = worker.one(&run, LONG_MS);
    assert_eq!(lease["run_id"], child.as_str(), "{lease}");
    (run, child, worker, lease)
}

/// A pause reaches the run of the other process: what runs ends, and nothing begins until the resume has come, too.
fn is_held_back(nodes: &Nodes, fx: &Fx, at: usize) {
    let (run, child, mut worker, lease) = at_work(nodes, fx, at, "held");
    let far = &nodes.nodes[1 - at];
    granted(far, &format!("/v1/runs/{run}/pause"), &json!({"reason": "wait"}));
    says(far, &run, "paused");
    says(far, &child, "paused");
    worker.complete(&run, &lease);
    waits::until("the end of what ran", || {
        (step_of(far, &child, "c1")["status"] == "completed").then_some(())
    });
    granted(far, &format!("/v1/runs/{run}/resume"), &json!({"reason": "go on"}));
    for run in [&run, &child] {
        far.wait_run(run, &["completed"]);
    }
    let order = ["run_paused", "step_completed c1#1", "run_resumed", "step_started c2#1"];
    let mut told = applied(far, &child);
    told.retain(|event| order.contains(&event.as_str()));
    assert_eq!(told, order);
    assert_eq!(given(fx, &run, "z"), json!({"paid": {"did": "c2#1"}}));
}

/// A cancel reaches it as well: what runs is waited for and then undone, and nothing else begins.
fn is_cancelled(nodes: &Nodes, fx: &Fx, at: usize) {
    let (run, child, mut worker, lease) = at_work(nodes, fx, at, "stops");
    let far = &nodes.nodes[1 - at];
    let cancel = json!({"reason": "enough", "compensate": true});
    granted(far, &format!("/v1/runs/{run}/cancel"), &cancel);
    says(far, &child, "cancelling");
    worker.complete(&run, &lease);
    let told = far.wait_run(&child, &["cancelled"]);
    let message = told["error"]["message"].to_string();
    assert!(message.contains(&format!("run {run} is being cancelled")), "{told}");
    far.wait_run(&run, &["cancelled"]);
    assert_eq!(effects_of(fx, &child), ["compensate/c1#1"]);
    assert!(effects_of(fx, &run).is_empty(), "{:?}", fx.calls());
}

/// A kill ends both while the worker is at it. What that did then, nobody knows, so nothing is undone.
fn is_killed(nodes: &Nodes, fx: &Fx, at: usize) {
    let (run, child, ..) = at_work(nodes, fx, at, "killed");
    let far = &nodes.nodes[1 - at];
    granted(far, &format!("/v1/runs/{run}/kill"), &json!({"reason": "now"}));
    for run in [&run, &child] {
        far.wait_run(run, &["cancelled"]);
        assert!(effects_of(fx, run).is_empty(), "{:?}", fx.calls());
    }
    assert_eq!(step_of(far, &child, "c1")["status"], "unknown");
}

#[test]
fn s8f_l21_l37_a_child_of_another_process_ends_its_step_and_is_steered_with_its_parent() {
    let Some(servers) = Servers::named() else { return };
    let (mut nodes, fx) = (Nodes::start(&servers, 2, &[]), Fx::willing());
    let tests = [ends_with_its_child, is_held_back, is_cancelled, is_killed];
    // Both ways at the same time: each process has parents, and children of the other's.
    thread::scope(|scope| {
        for at in 0..2 {
            let (nodes, fx) = (&nodes, &fx);
            scope.spawn(move || tests.iter().for_each(|test| test(nodes, fx, at)));
        }
    });
    nodes.are_fold_of_log();
}

/// Starts a run whose child waits for a signal half-way.
fn start_waiting(node: &Spine, fx: &Fx, run: &str, child: &str) {
    let go = json!({"name": "go", "tool": "signal:go"});
    node.start_run(&parent(fx, run, &[careful(fx, "d1"), go, careful(fx, "d2")]));
    node.wait_run(child, &["waiting"]);
}

/// Starts a run whose child is half-way in a call that does not end.
fn start_calling(node: &Spine, fx: &Fx, run: &str, child: &str) {
    let mut hangs = lines::patient_step("c2", &fx.tool("c2"), "idempotent");
    hangs["timeout_ms"] = json!(TIMEOUT_MS);
    node.start_run(&parent(fx, run, &[careful(fx, "c1"), hangs, careful(fx, "c3")]));
    waits::until("the call", || (!fx.calls_of(child, "c2").is_empty()).then_some(()));
}

/// The call that died with its process was made again by the next owner, under the same key.
fn was_made_again(node: &Spine, fx: &Fx, child: &str) {
    let step = step_of(node, child, "c2");
    let attempts = step["attempts"].as_array().expect("attempts").iter();
    let ends: Vec<&Value> = attempts.map(|attempt| &attempt["end"]).collect();
    assert_eq!(ends, ["lost", "completed"], "{step}");
    let calls = fx.calls_of(child, "c2");
    assert_eq!((calls.len(), &calls[0].key), (2, &calls[1].key), "{calls:?}");
}

#[test]
fn s8f_c22_whoever_of_the_owners_of_a_parent_and_its_child_is_killed_it_stays_one_run() {
    let Some(servers) = Servers::named() else { return };
    let fx = Fx::start(|call, before| match (call.step.as_str(), before) {
        ("c2#1", 0) => Answer::Hangs,
        _ => Answer::Done,
    });
    let mut nodes = Nodes::start(&servers, 2, &[]);
    let (parent_stays, child_dies) = family(&nodes, 0, "stays");
    let (parent_dies, child_stays) = family(&nodes, 1, "dies");
    start_waiting(&nodes.nodes[0], &fx, &parent_dies, &child_stays);
    start_calling(&nodes.nodes[0], &fx, &parent_stays, &child_dies);
    let killed = nodes.kill(1);
    let first = &nodes.nodes[0];
    // Nobody owns the parent of this one now: the next owner must learn how it ended.
    granted(first, &format!("/v1/runs/{child_stays}/signals/go"), &json!({"data": 1}));
    first.wait_run(&child_stays, &["completed"]);
    nodes.taken_over(&killed);
    for run in [&parent_stays, &child_dies, &parent_dies] {
        first.wait_run(run, &["completed"]);
    }
    is_one_run(first, &parent_stays, &child_dies);
    is_one_run(first, &parent_dies, &child_stays);
    was_made_again(first, &fx, &child_dies);
    assert_eq!(effects_of(&fx, &child_dies), ["c1#1", "c2#1", "c3#1"]);
    assert_eq!(effects_of(&fx, &child_stays), ["d1#1", "d2#1"]);
    assert_eq!(given(&fx, &parent_stays, "z"), json!({"paid": {"did": "c3#1"}}));
    assert_eq!(given(&fx, &parent_dies, "z"), json!({"paid": {"did": "d2#1"}}));
    let listed = first.get("/v1/runs").json();
    let runs = listed["runs"].as_array().map(Vec::len);
    assert_eq!(runs, Some(4), "one run for each attempt: {listed}");
    nodes.are_fold_of_log();
}

fn approves(node: &Spine, task: &str, by: &str) -> (u16, Value) {
    let body = json!({"decision": "approve", "reason": "seen", "actor": by});
    post(node, &format!("/v1/tasks/{task}/decide"), &body)
}

/// A run that was told of its payment where it is not owned, and the task that asks so many people about its call.
fn paid(nodes: &Nodes, fx: &Fx, at: usize, name: &str, quorum: usize) -> (String, String) {
    let run = nodes.runs_of(at, name).next().expect("there is always one");
    let far = &nodes.nodes[1 - at];
    let wait = json!({"name": "paid", "tool": "signal:payment"});
    let mut charge = careful(fx, "charge");
    charge["input"] = json!({"cents": {"$ref": "paid#/cents"}});
    charge["approval"] = json!({"expires_ms": LONG_MS, "quorum": quorum});
    far.start_run(&lines::plan(&run, &lines::quick(3), vec![wait, charge]));
    far.wait_run(&run, &["waiting"]);
    let data = json!({"data": {"cents": 7 + at}});
    granted(far, &format!("/v1/runs/{run}/signals/payment"), &data);
    let task = waits::until("the task", || {
        let step = step_of(far, &run, "charge");
        step["task"].as_str().map(str::to_owned)
    });
    (run, task)
}

/// The call was made once, with what the signal had brought.
fn is_charged(nodes: &Nodes, fx: &Fx, at: usize, run: &str) {
    nodes.nodes[1 - at].wait_run(run, &["completed"]);
    assert_eq!(given(fx, run, "charge"), json!({"cents": 7 + at}));
}

/// A decision resumes the run that it is about, and no other. A second one is refused, whoever is asked.
fn decisions(nodes: &Nodes, fx: &Fx) {
    let parked = [0, 1].map(|at| paid(nodes, fx, at, "one", 1));
    for (at, (run, task)) in parked.iter().enumerate() {
        let (status, reply) = approves(&nodes.nodes[1 - at], task, "ada");
        assert_eq!((status, &reply["status"]), (200, &json!("decided")), "{reply}");
        for node in &nodes.nodes {
            let (status, problem) = approves(node, task, "bob");
            assert_eq!((status, &problem["name"]), (409, &json!("task_closed")), "{problem}");
        }
        is_charged(nodes, fx, at, run);
        assert_eq!(fx.calls().len(), 1 + at, "each decision resumes exactly its run");
    }
}

/// Both processes are asked at the same time: one of them takes the decision.
fn decided_at_once(nodes: &Nodes, fx: &Fx, at: usize) {
    let (run, task) = paid(nodes, fx, at, "twice", 1);
    let at_once = Barrier::new(2);
    let approve = |node: &Spine| {
        at_once.wait();
        approves(node, &task, "ada").0
    };
    let mut statuses = thread::scope(|scope| {
        let second = scope.spawn(|| approve(&nodes.nodes[1]));
        [approve(&nodes.nodes[0]), second.join().expect("an answer")]
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    is_charged(nodes, fx, at, &run);
}

/// Who approves at both processes is one person; another one may approve at either.
fn approved_by_two(nodes: &Nodes, fx: &Fx, at: usize) {
    let (run, task) = paid(nodes, fx, at, "people", 2);
    let (near, far) = (&nodes.nodes[at], &nodes.nodes[1 - at]);
    let (status, reply) = approves(far, &task, "alice");
    assert_eq!((status, &reply["status"]), (200, &json!("open")), "{reply}");
    assert_eq!((&reply["approvals"], &reply["needed"]), (&json!(1), &json!(2)), "{reply}");
    let (status, problem) = approves(near, &task, "alice");
    assert_eq!((status, &problem["name"]), (409, &json!("approved_already")), "{problem}");
    assert!(fx.calls_of(&run, "charge").is_empty(), "one is not enough");
    let (status, reply) = approves(far, &task, "bob");
    assert_eq!((status, &reply["status"]), (200, &json!("decided")), "{reply}");
    is_charged(nodes, fx, at, &run);
}

#[test]
fn p9_signals_and_decisions_may_be_said_to_whoever_does_not_own_the_run_and_count_once() {
    let Some(servers) = Servers::named() else { return };
    let (mut nodes, fx) = (Nodes::start(&servers, 2, &[]), Fx::willing());
    decisions(&nodes, &fx);
    for at in 0..2 {
        decided_at_once(&nodes, &fx, at);
        approved_by_two(&nodes, &fx, at);
    }
    nodes.are_fold_of_log();
}

/// Four steps. The third is refused as long as its input is the old one; the fourth gets what the first gave.
fn refused(fx: &Fx, run: &str) -> Value {
    let step = |at: usize| {
        let mut step = lines::patient_step(&format!("s{at}"), &fx.tool("t"), "idempotent");
        step["input"] = json!({"cents": at});
        step["on_exhausted"] = json!("fail");
        step
    };
    let mut steps: Vec<Value> = (1..=4).map(step).collect();
    steps[3]["input"] = json!({"from": {"$ref": "s1#/did"}});
    lines::plan(run, &lines::quick(1), steps)
}

/// All that is told of a run.
fn told(node: &Spine, run: &str) -> [Value; 3] {
    let get = |rest: &str| node.get(&format!("/v1/runs/{run}{rest}")).json();
    ["", "/steps", "/events?limit=1000"].map(get)
}

/// Forks a run of the second process at the first; the fork lies with either, in another partition than the run.
fn is_forked(nodes: &Nodes, fx: &Fx, run: &str, at: usize) {
    let (asked, owner) = (&nodes.nodes[0], &nodes.nodes[1]);
    let home = partition_of("default", run);
    let mut elsewhere = nodes.runs_of(at, "fork");
    let fork = elsewhere.find(|name| partition_of("default", name) != home);
    let fork = fork.expect("there is always one");
    let change = json!({"s3": {"input": {"cents": 30}}});
    let new = json!({"run_id": fork, "reason": "another amount", "change": change});
    let path = format!("/v1/runs/{run}/fork");
    let (status, reply) = post(asked, &path, &new);
    assert_eq!((status, &reply["reused"]), (201, &json!(["s1#1", "s2#1"])), "{reply}");
    assert_eq!(asked.wait_run(&fork, &["completed"])["fork"]["run_id"], run);
    assert_eq!(effects_of(fx, &fork), ["s3#1", "s4#1"], "what was finished is not called again");
    assert_eq!(given(fx, &fork, "s3"), json!({"cents": 30}));
    assert_eq!(given(fx, &fork, "s4"), json!({"from": "s1#1"}));
    // The process that owns the original knows that the fork is there.
    let (status, again) = post(owner, &path, &new);
    assert_eq!((status, &again["created"]), (200, &json!(false)), "{again}");
}

#[test]
fn c13_l40_a_fork_in_another_partition_keeps_finished_work_and_leaves_its_original_alone() {
    let Some(servers) = Servers::named() else { return };
    let fx = Fx::start(|call, _| match call.body.contains(r#""cents":3}"#) {
        true => Answer::Refuses(422),
        false => Answer::Done,
    });
    let mut nodes = Nodes::start(&servers, 2, &[]);
    let run = nodes.runs_of(1, "original").next().expect("there is always one");
    let first = &nodes.nodes[0];
    first.start_run(&refused(&fx, &run));
    first.wait_run(&run, &["failed"]);
    let original = told(first, &run);
    for at in 0..2 {
        is_forked(&nodes, &fx, &run, at);
    }
    assert_eq!(told(first, &run), original, "the original is untouched");
    let calls = fx.calls().into_iter().filter(|call| call.run == run).count();
    assert_eq!(calls, 3, "those that it had made before");
    nodes.are_fold_of_log();
}
