//! The rows of journal runs: the server dies, or the agent.

use super::{
    AGAIN, AtMostOnce, Became, Class, DONE, Ends, IN_DOUBT, IN_VAIN, Idempotent, ProbeByPerson,
    Pure, Remote, UNTRIED, comes_back, every,
};
use serde_json::{Value, json};
use spine_tests::{Spine, lines, row, waits};
use std::fmt::Write as _;

/// Who dies, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    ServerBeforeBegin,
    ServerAfterBegin,
    ServerDuringWork,
    ServerBeforeOutcome,
    ServerAfterOutcome,
    AgentBeforeWork,
    AgentNotDone,
    AgentDone,
    AgentAfterOutcome,
}

use Point::{
    AgentAfterOutcome, AgentBeforeWork, AgentDone, AgentNotDone, ServerAfterBegin,
    ServerAfterOutcome, ServerBeforeBegin, ServerBeforeOutcome, ServerDuringWork,
};

impl Point {
    fn words(self) -> &'static str {
        match self {
            ServerBeforeBegin => "the server, before `begin` is in the log",
            ServerAfterBegin => "the server, after `begin` is in the log, unanswered",
            ServerDuringWork => "the server, while the agent is at it",
            ServerBeforeOutcome => "the server, before `complete` is in the log",
            ServerAfterOutcome => "the server, after `complete` is in the log, unanswered",
            AgentBeforeWork => "the agent, after `begin`, before the work",
            AgentNotDone => "the agent, during the work, which had no effect",
            AgentDone => "the agent, during the work, which had its effect",
            AgentAfterOutcome => "the agent, after it has sent `complete`",
        }
    }

    /// The planted end of the server. What its door is asked first is the run, unless `begin` creates it, then
    /// `begin`, then `complete`.
    fn fault(self, made: Made) -> Option<String> {
        let (place, request) = match self {
            ServerBeforeBegin => ("asked", 1),
            ServerAfterBegin => ("taken", 1),
            ServerBeforeOutcome => ("asked", 2),
            ServerAfterOutcome => ("taken", 2),
            ServerDuringWork | AgentBeforeWork | AgentNotDone | AgentDone | AgentAfterOutcome => {
                return None;
            }
        };
        Some(format!("{place}:{}", request + usize::from(made == Made::Before)))
    }

    /// How long the first agent has the step: not long where nobody goes on with it.
    fn lease_ms(self) -> u64 {
        match self {
            AgentBeforeWork | AgentNotDone | AgentDone => 1000,
            ServerBeforeBegin | ServerAfterBegin | ServerDuringWork | ServerBeforeOutcome
            | ServerAfterOutcome | AgentAfterOutcome => LONG_MS,
        }
    }
}

/// When the run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// By a request of its own.
    Before,
    /// Each request of an agent creates it, if it is not there.
    ByAgents,
}

const LONG_MS: u64 = 60_000;
const THREADS: usize = 6;
/// An agent's step names no tool that could be asked.
const CLASSES: [Class; 4] = [Pure, Idempotent, ProbeByPerson, AtMostOnce];

/// What becomes of a step of each of the classes, in their order.
const ROWS: [(Point, [Became; 4]); 9] = [
    (ServerBeforeBegin, [DONE; 4]),
    (ServerAfterBegin, [DONE; 4]),
    (ServerDuringWork, [DONE; 4]),
    (ServerBeforeOutcome, [DONE; 4]),
    (ServerAfterOutcome, [DONE; 4]),
    (AgentBeforeWork, [DONE, DONE, UNTRIED, UNTRIED]),
    (AgentNotDone, [AGAIN, AGAIN, IN_VAIN, IN_VAIN]),
    (AgentDone, [AGAIN, AGAIN, IN_DOUBT, IN_DOUBT]),
    (AgentAfterOutcome, [DONE; 4]),
];

/// The rows one by one, by class.
fn rows() -> Vec<(Class, Point, Became)> {
    let of = |(at, class)| ROWS.iter().map(move |(point, became)| (class, *point, became[at]));
    CLASSES.into_iter().enumerate().flat_map(of).collect()
}

/// A session of an agent.
struct Agent<'a> {
    spine: &'a mut Spine,
    session: &'static str,
    made: Made,
}

impl Agent<'_> {
    /// Sends one operation; `None` where the server went away over it.
    fn sends(&self, op: &Value) -> Option<Value> {
        let mut body = json!({"session": self.session, "ops": [op]});
        if self.made == Made::ByAgents {
            body["create"] = json!({"workflow": "it"});
        }
        let reply = self.spine.http().post("/v1/runs/r/journal", &body).ok()?;
        assert_eq!(reply.status, 200, "{}", reply.json());
        assert_eq!(reply.json()["results"].as_array().map(Vec::len), Some(1), "{}", reply.json());
        Some(reply.json()["results"][0].clone())
    }

    /// The same operation is sent again to the next server, if this one goes away.
    fn insists(&mut self, op: &Value) -> Value {
        if let Some(answer) = self.sends(op) {
            return answer;
        }
        comes_back(self.spine, "an agent");
        self.sends(op).expect("an answer")
    }
}

fn begin(class: Class, op_id: u64, lease_ms: u64) -> Value {
    json!({"op": "begin", "op_id": op_id, "step": {"name": "a"}, "tool": "pay", "effect": class.effect(),
        "input": {}, "retry": lines::quick(3), "lease_ms": lease_ms})
}

fn complete(op_id: u64, begun: &Value) -> Value {
    json!({"op": "complete", "op_id": op_id, "step": {"name": "a"}, "attempt": begun["attempt"],
        "lease": begun["lease"], "output": {"did": "a"}})
}

/// The first agent begins the step, and something dies.
fn dies(spine: &mut Spine, made: Made, class: Class, point: Point, remote: &Remote) {
    let mut agent = Agent { spine, session: "S1", made };
    let begun = agent.insists(&begin(class, 1, point.lease_ms()));
    assert_eq!((&begun["status"], &begun["attempt"]), (&json!("execute"), &json!(1)), "{begun}");
    if point != AgentBeforeWork {
        remote.begin(&begun["idempotency_key"], point != AgentNotDone);
    }
    if point == ServerDuringWork {
        agent.spine.kill();
        agent.spine.restart();
    }
    if !matches!(point, AgentBeforeWork | AgentNotDone | AgentDone) {
        let told = agent.insists(&complete(2, &begun));
        assert_eq!(told["status"], "ok", "{told}");
    }
}

/// Another agent asks for the same step until it knows how it stands.
fn goes_on(spine: &mut Spine, made: Made, class: Class, name: &str, remote: &Remote) -> Ends {
    let mut agent = Agent { spine, session: "S2", made };
    let mut op_id = 0;
    waits::until(name, || {
        op_id += 2;
        let answer = agent.insists(&begin(class, op_id, LONG_MS));
        match answer["status"].as_str() {
            Some("wait") => None,
            Some("execute") => {
                remote.begin(&answer["idempotency_key"], true);
                let told = agent.insists(&complete(op_id + 1, &answer));
                assert_eq!(told["status"], "ok", "{name}: {told}");
                None
            }
            Some("replay") => Some(Ends::Completed),
            Some("unknown") => Some(Ends::Unknown),
            _ => panic!("{name}: {answer}"),
        }
    })
}

fn check(made: Made, (class, point, became): &(Class, Point, Became)) {
    let name = format!("{class:?} {point:?} {made:?}");
    let remote = Remote::default();
    let mut spine = Spine::fresh();
    spine.fails_at(point.fault(made).as_deref());
    spine.restart();
    if made == Made::Before {
        let run = json!({"run_id": "r", "workflow": "it", "version": "1", "driver": "journal"});
        spine.start_run(&run);
    }
    dies(&mut spine, made, *class, *point, &remote);
    let ends = goes_on(&mut spine, made, *class, &name, &remote);
    assert_eq!(ends, became.2, "{name}");
    remote.check(&name, *became);
}

#[test]
fn l24_every_row_of_a_journal_holds() {
    if !row::is_left_to_soak("the rows of journals") {
        every("journal", &rows(), THREADS, |row| check(Made::Before, row));
    }
}

/// The same where no run was made before: its creation is in the log with its first operation, or neither is.
#[test]
fn l24_every_row_of_a_journal_holds_for_a_run_that_it_creates() {
    if !row::is_left_to_soak("the rows of journals that create") {
        let careful: Vec<_> = rows().into_iter().filter(|row| row.0 == AtMostOnce).collect();
        every("creating journal", &careful, THREADS, |row| check(Made::ByAgents, row));
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| effect class | what dies, and when | work begun | effects | the step |\n|---|---|---|---|---|\n",
    );
    for (class, point, Became(begun, effects, ends)) in rows() {
        let class = if class == ProbeByPerson { "`probe`" } else { class.words() };
        let (point, ends) = (point.words(), ends.words());
        writeln!(text, "| {class} | {point} | {begun} | {effects} | {ends} |").expect("a string");
    }
    text
}
