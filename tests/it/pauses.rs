//! Pauses of tools and tenants in journal runs on the real binary: agents get no attempt, also after a restart, and what
//! runs or is done goes on as before.

use serde_json::{Value, json};
use spine_tests::Spine;

/// An agent that drives the run `j` of a tenant.
struct Agent {
    tenant: &'static str,
    op_id: u64,
}

impl Agent {
    fn of(spine: &Spine, tenant: &'static str) -> Self {
        let run = json!({"run_id": "j", "workflow": "w", "version": "1", "driver": "journal",
            "tenant": tenant});
        let reply = spine.http().post("/v1/runs", &run).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
        Self { tenant, op_id: 0 }
    }

    /// What the agent is told, in the order in which it asks.
    fn asks(&mut self, spine: &Spine, ops: Vec<Value>) -> Vec<Value> {
        let numbered = ops.into_iter().map(|mut op| {
            self.op_id += 1;
            op["op_id"] = json!(self.op_id);
            op
        });
        let body =
            json!({"session": "S", "tenant": self.tenant, "ops": numbered.collect::<Vec<_>>()});
        let reply = spine.http().post("/v1/runs/j/journal", &body).expect("an answer");
        let (status, told) = (reply.status, reply.json());
        assert_eq!(status, 200, "{told}");
        told["results"].as_array().expect("results").clone()
    }

    fn ask(&mut self, spine: &Spine, op: Value) -> Value {
        self.asks(spine, vec![op]).remove(0)
    }

    fn begins(&mut self, spine: &Spine, step: &str, tool: &str) -> Value {
        self.ask(spine, begin(step, tool))
    }
}

fn begin(step: &str, tool: &str) -> Value {
    json!({"op": "begin", "step": {"name": step}, "tool": tool, "effect": "at_most_once",
        "input": {"cents": 4200}})
}

/// An operation about an attempt that was begun.
fn of_attempt(op: &str, step: &str, begun: &Value) -> Value {
    json!({"op": op, "step": {"name": step}, "attempt": begun["attempt"], "lease": begun["lease"]})
}

fn ok(spine: &Spine, words: &[&str]) {
    let out = spine.run(words);
    assert!(out.status.success(), "{words:?}: {out:?}");
}

/// Checks that an agent is told to wait, for what, and who said so.
fn waits_for(told: &Value, kind: &str, by: &str, reason: &str) {
    assert_eq!((&told["status"], &told["for"]), (&json!("wait"), &json!(kind)), "{told}");
    assert_eq!(told.get("until"), Some(&Value::Null), "nobody knows: {told}");
    let paused = &told["paused"];
    assert_eq!((&paused["by"], &paused["reason"]), (&json!(by), &json!(reason)), "{told}");
    assert!(paused["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{told}");
}

#[test]
fn l37_a_paused_tool_gives_agents_no_attempt_over_a_kill_and_what_runs_or_is_done_goes_on() {
    let mut spine = Spine::fresh().start();
    let mut agent = Agent::of(&spine, "default");
    let begun = agent.begins(&spine, "runs", "pay.refund");
    let done = agent.begins(&spine, "done", "pay.refund");
    agent.ask(&spine, of_attempt("complete", "done", &done));
    ok(&spine, &["tools", "pause", "pay.refund", "--reason", "broken", "--actor", "ada"]);
    for round in 0..2 {
        let told = agent.begins(&spine, "next", "pay.refund");
        waits_for(&told, "tool_paused", "ada", "broken");
        assert_eq!(agent.begins(&spine, "done", "pay.refund")["status"], "replay");
        assert_eq!(agent.begins(&spine, "runs", "pay.refund")["for"], "attempt");
        let beat = agent.ask(&spine, of_attempt("heartbeat", "runs", &begun));
        assert_eq!(beat, json!({"status": "ok"}));
        let other = agent.begins(&spine, &format!("mail-{round}"), "mail.send");
        assert_eq!(other["status"], "execute", "another tool: {other}");
        let both = vec![begin("next", "pay.refund"), begin("after", "mail.send")];
        let told = agent.asks(&spine, both);
        waits_for(&told[0], "tool_paused", "ada", "broken");
        assert_eq!(told[1], json!({"status": "not_tried"}));
        if round == 0 {
            spine.kill();
            spine.restart();
        }
    }
    let mut guarded = begin("guarded", "pay.refund");
    guarded["approval"] = json!({"expires_ms": 600_000});
    assert_eq!(agent.ask(&spine, guarded)["for"], "approval", "people may be asked meanwhile");
    assert_eq!(agent.ask(&spine, of_attempt("complete", "runs", &begun)), json!({"status": "ok"}));
    ok(&spine, &["tools", "resume", "pay.refund", "--reason", "mended"]);
    let begun = agent.begins(&spine, "next", "pay.refund");
    assert_eq!((&begun["status"], &begun["attempt"]), (&json!("execute"), &json!(1)), "{begun}");
    assert!(spine.stop().success());
    spine.is_fold_of_log();
}

#[test]
fn l37_agents_of_a_paused_tenant_get_no_attempt_over_a_kill_and_those_of_others_do() {
    let mut spine = Spine::fresh().start();
    let (mut held, mut free) = (Agent::of(&spine, "acme"), Agent::of(&spine, "default"));
    let begun = held.begins(&spine, "one", "crm.lookup");
    assert_eq!(begun["status"], "execute", "{begun}");
    ok(&spine, &["tenants", "pause", "acme", "--reason", "owes us", "--actor", "ada"]);
    for round in 0..2 {
        let step = format!("two-{round}");
        let told = held.begins(&spine, &step, "crm.lookup");
        waits_for(&told, "tenant_paused", "ada", "owes us");
        assert_eq!(free.begins(&spine, &step, "crm.lookup")["status"], "execute");
        let nap = json!({"op": "await", "step": {"name": "nap"}, "sleep_ms": 600_000});
        assert_eq!(held.ask(&spine, nap)["for"], "sleep", "a wait calls nothing");
        if round == 0 {
            spine.kill();
            spine.restart();
        }
    }
    let told = held.ask(&spine, of_attempt("complete", "one", &begun));
    assert_eq!(told, json!({"status": "ok"}), "what has happened is taken");
    ok(&spine, &["tenants", "resume", "acme", "--reason", "paid"]);
    let begun = held.begins(&spine, "two-0", "crm.lookup");
    assert_eq!((&begun["status"], &begun["attempt"]), (&json!("execute"), &json!(1)), "{begun}");
    assert_eq!(held.begins(&spine, "one", "crm.lookup")["status"], "replay");
    assert!(spine.stop().success());
    spine.is_fold_of_log();
}
