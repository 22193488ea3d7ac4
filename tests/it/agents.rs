//! Agents that own their loop, with scripted models: the agent dies and another one with another model goes on from the
//! log. What a model said is a step like any other, so it is not asked again.

use serde_json::{Value, json};
use spine_tests::{Spine, waits};
use std::{cell::RefCell, collections::BTreeMap};

/// What was done so far, each with what it gave; says what is done next, null for nothing.
type Model = fn(&[Value]) -> Value;

/// Looks the order up, charges for it, writes an email.
fn first_model(done: &[Value]) -> Value {
    match done.len() {
        0 => json!({"do": "lookup", "input": {"order": "A-17"}}),
        1 => json!({"do": "charge", "input": {"cents": 4200}}),
        2 => json!({"do": "email", "input": {"text": "thank you"}}),
        _ => Value::Null,
    }
}

/// Has its own mind: it charges what was looked up, and sends a receipt.
fn other_model(done: &[Value]) -> Value {
    let has = |name: &str| done.iter().any(|step| step["did"] == name);
    match (has("charge"), has("receipt")) {
        (false, _) => json!({"do": "charge", "input": {"total": done[0]["gave"]["key"]}}),
        (true, false) => json!({"do": "receipt", "input": {"for": done[1]["gave"]["key"]}}),
        (true, true) => Value::Null,
    }
}

/// Where an agent dies in its second turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dies {
    /// The model has answered, and nobody has heard of it.
    Thinking,
    /// Its answer is in the log.
    Decided,
    /// What it said was done, and the log does not know.
    Acted,
    Never,
}

use Dies::{Acted, Decided, Never, Thinking};

/// Which of the two kinds of work a step is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Think,
    Act,
}

/// What agents act on: calls under each key.
type Remote = RefCell<BTreeMap<String, usize>>;

struct Agent<'a> {
    spine: &'a Spine,
    run: &'a str,
    /// The name of its model, and of its session.
    name: &'static str,
    model: Model,
    /// How often its model was asked.
    asked: usize,
    remote: &'a Remote,
    dies: Dies,
    op_id: u64,
}

impl<'a> Agent<'a> {
    fn first(spine: &'a Spine, run: &'a str, remote: &'a Remote, dies: Dies) -> Self {
        Self { spine, run, name: "first", model: first_model, asked: 0, remote, dies, op_id: 0 }
    }

    /// It takes the place of the first.
    fn other(spine: &'a Spine, run: &'a str, remote: &'a Remote) -> Self {
        let first = Self::first(spine, run, remote, Never);
        Self { name: "other", model: other_model, ..first }
    }

    fn says(&mut self, mut op: Value) -> Value {
        self.op_id += 1;
        op["op_id"] = json!(self.op_id);
        let mut body = json!({"session": self.name, "ops": [op]});
        if self.name == "other" {
            body["replaces"] = json!("first");
        }
        let path = format!("/v1/runs/{}/journal", self.run);
        let reply = self.spine.http().post(&path, &body).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.json());
        reply.json()["results"][0].clone()
    }

    /// Does a step, or takes what it gave from the log. `None` where the agent dies over it.
    fn step(
        &mut self,
        turn: usize,
        work: Work,
        step: &Value,
        input: &Value,
        done: &[Value],
    ) -> Option<Value> {
        let effect = if work == Work::Think { "pure" } else { "idempotent" };
        let begin = json!({"op": "begin", "step": step, "tool": step["name"], "effect": effect,
            "input": input});
        let begun = waits::until("its turn", || {
            let begun = self.says(begin.clone());
            (begun["status"] != "wait").then_some(begun)
        });
        if begun["status"] == "replay" {
            return Some(begun["output"].clone());
        }
        assert_eq!(begun["status"], "execute", "{step}: {begun}");
        let output = self.does(work, &begun["idempotency_key"], done);
        let dies_here = if work == Work::Think { Thinking } else { Acted };
        if turn == 2 && self.dies == dies_here {
            return None;
        }
        let told = self.says(json!({"op": "complete", "step": step, "attempt": begun["attempt"],
            "lease": begun["lease"], "output": output}));
        assert_eq!(told["status"], "ok", "{step}: {told}");
        Some(output)
    }

    fn does(&mut self, work: Work, key: &Value, done: &[Value]) -> Value {
        match work {
            Work::Think => {
                self.asked += 1;
                json!({"by": self.name, "said": (self.model)(done)})
            }
            Work::Act => {
                let key = key.as_str().expect("a key").to_owned();
                *self.remote.borrow_mut().entry(key.clone()).or_default() += 1;
                json!({"key": key})
            }
        }
    }

    /// Goes on until its model has nothing more to say. `None` where it dies before.
    fn drives(&mut self) -> Option<()> {
        let mut done: Vec<Value> = Vec::new();
        for turn in 1.. {
            let model = json!({"name": "model", "occurrence": turn});
            let answer = self.step(turn, Work::Think, &model, &json!({"turn": turn}), &done)?;
            if turn == 2 && self.dies == Decided {
                return None;
            }
            let said = &answer["said"];
            if said.is_null() {
                break;
            }
            let step = json!({"name": said["do"]});
            let gave = self.step(turn, Work::Act, &step, &said["input"], &done)?;
            done.push(json!({"did": said["do"], "gave": gave}));
        }
        let ended = self.says(json!({"op": "end", "status": "completed", "output": done.len()}));
        assert_eq!(ended["status"], "ok", "{ended}");
        Some(())
    }
}

/// Name and occurrence of each step, and what it gave.
fn history(spine: &Spine, run: &str) -> Vec<(String, Value)> {
    let mut steps = spine.steps(run);
    steps.sort_by_key(|step| step["scheduled_offset"].as_u64());
    let of = |step: &Value| {
        (step["step"].as_str().unwrap_or_default().to_owned(), step["output"]["data"].clone())
    };
    steps.iter().map(of).collect()
}

/// The first agent dies, and maybe the server with it; the other one ends the run.
fn check(spine: &mut Spine, dies: Dies, kills: bool) {
    let run = format!("{dies:?}").to_lowercase();
    spine.start_run(
        &json!({"run_id": run, "workflow": "refund", "version": "1", "driver": "journal"}),
    );
    let remote = Remote::default();
    assert_eq!(Agent::first(spine, &run, &remote, dies).drives(), None, "{dies:?}: it dies");
    if kills {
        spine.kill();
        spine.restart();
    }
    let mut other = Agent::other(spine, &run, &remote);
    assert_eq!(other.drives(), Some(()), "{dies:?}");
    // Of what is in the log nothing is asked for again.
    assert_eq!(other.asked, if dies == Thinking { 3 } else { 2 }, "{dies:?}");
    spine.wait_run(&run, &["completed"]);
    let history = history(spine, &run);
    let names: Vec<&str> = history.iter().map(|(step, _)| step.as_str()).collect();
    let expected =
        ["model#1", "lookup#1", "model#2", "charge#1", "model#3", "receipt#1", "model#4"];
    assert_eq!(names, expected, "{dies:?}");
    let by: Vec<&Value> = history.iter().map(|(_, gave)| &gave["by"]).collect();
    let turn_2 = if dies == Thinking { "other" } else { "first" };
    assert_eq!([by[0], by[2], by[4], by[6]], ["first", turn_2, "other", "other"], "{dies:?}");
    let charge = spine.get(&format!("/v1/runs/{run}/steps/charge")).json();
    let cents = charge["input"]["cents"].as_u64();
    assert_eq!(cents, (dies != Thinking).then_some(4200), "as the log says that it was decided");
    let calls: Vec<usize> = remote.borrow().values().copied().collect();
    assert_eq!(calls.len(), 3, "{dies:?}: one key for each effect");
    assert_eq!(calls.iter().sum::<usize>(), if dies == Acted { 4 } else { 3 }, "{dies:?}");
}

#[test]
fn c22_an_agent_dies_and_one_with_another_model_goes_on_from_the_log() {
    let mut spine = Spine::fresh().start();
    check(&mut spine, Thinking, false);
    check(&mut spine, Decided, false);
    check(&mut spine, Acted, true);
    assert!(spine.stop().success(), "{}", spine.words());
    spine.is_fold_of_log();
}
