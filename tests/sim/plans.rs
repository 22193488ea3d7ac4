//! Plans by chance: branches, effects, and every way to recover.

use crate::{
    random::Random,
    tools::{BRAIN, PROBE},
    worker::QUEUE,
};
use spine_schemas::{Driver, Payload, Plan, RunCreated, RunEvent};
use std::{collections::BTreeMap, sync::Arc};

/// The creation of a run with such a plan.
pub(crate) fn created(random: &Random) -> RunEvent {
    let plan = Plan::parse(source(random).into_bytes()).unwrap();
    RunEvent::Created(Box::new(RunCreated {
        workflow: "simulated".into(),
        version: "1".into(),
        driver: Driver::Plan,
        input: number(random),
        tags: BTreeMap::new(),
        parent: None,
        plan: Some(Arc::new(plan)),
        fork: None,
        caller: None,
    }))
}

/// An input that is told from others.
pub(crate) fn number(random: &Random) -> Payload {
    Payload::json("input", random.below(1000).to_string()).unwrap()
}

fn source(random: &Random) -> String {
    let count = 1 + random.below(5);
    // Whether all that it does can be undone.
    let undoable = random.chance(40);
    let mut steps: Vec<String> = (0..count)
        .map(|number| {
            let after = match random.below(3) {
                0 if number > 0 => format!(",\"after\":[\"s{}\"]", random.below(number)),
                1 => ",\"after\":[]".to_owned(),
                _ => String::new(),
            };
            let ends = if undoable && number + 1 == count {
                ",\"on_exhausted\":\"compensate\"".to_owned()
            } else {
                exhausted(random, number)
            };
            let undo = if undoable || random.chance(10) { undo(random) } else { String::new() };
            let name = format!("s{number}");
            match random.below(20) {
                0 => wait("signal:go", &name, &format!("{after}{ends}")),
                1 => wait("sleep:120", &name, &format!("{after}{ends}")),
                6 | 7 => child(random, &name, &format!("{after}{ends}{undo}")),
                4..6 => format!("{{\"name\":\"{name}\",{}{after}{ends}}}", memo(random)),
                2..4 => step(random, &name, &format!("{after}{ends}{undo},{}", approval(random))),
                _ => step(random, &name, &format!("{after}{ends}{undo}")),
            }
        })
        .collect();
    if random.chance(30) {
        steps.extend(waits(random, count));
    }
    let deadline = match random.below(12) {
        0 => ",\"deadline_ms\":3000".to_owned(),
        1 if undoable => ",\"deadline_ms\":2000,\"on_deadline\":\"compensate\"".to_owned(),
        _ => String::new(),
    };
    let brain = match random.below(8) {
        0 => brain(random),
        _ => String::new(),
    };
    for step in steps.iter_mut().filter(|_| !brain.is_empty() && random.chance(40)) {
        step.truncate(step.len() - 1);
        step.push_str(",\"then_ask\":true}");
    }
    format!(
        "{{\"retry\":{{\"max_attempts\":{},\"initial_ms\":{},\"max_ms\":500}},\"steps\":[{}]{deadline}{brain}}}",
        1 + random.below(4),
        [1, 3, 20][random.below(3) as usize],
        steps.join(",")
    )
}

/// Steps that await signals, most of them one name, behind so many others.
fn waits(random: &Random, others: u64) -> Vec<String> {
    let count = 1 + random.below(3);
    let one = |number: u64| {
        let name = ["go", "go", "go", "on"][random.below(4) as usize];
        let after = if random.chance(50) { ",\"after\":[]" } else { "" };
        let ends = exhausted(random, others + number);
        wait(&format!("signal:{name}"), &format!("w{number}"), &format!("{after}{ends}"))
    };
    (0..count).map(one).collect()
}

/// A step that is a run of one or two steps.
fn child(random: &Random, name: &str, more: &str) -> String {
    let count = 1 + random.below(2);
    let steps: Vec<String> = (0..count)
        .map(|number| {
            let name = format!("c{number}");
            let undo = if random.chance(30) { undo(random) } else { String::new() };
            match random.below(8) {
                0 => wait("signal:go", &name, &exhausted(random, number)),
                _ => step(random, &name, &format!("{}{undo}", exhausted(random, number))),
            }
        })
        .collect();
    let effect = ["pure", "at_most_once"][random.below(2) as usize];
    format!(
        "{{\"name\":\"{name}\",\"tool\":\"run\",\"effect\":\"{effect}\"{},\"run\":{{\"plan\":{{\
         \"retry\":{{\"max_attempts\":2,\"initial_ms\":5,\"max_ms\":100}},\"steps\":[{}]}}}}{more}}}",
        input(random),
        steps.join(",")
    )
}

/// Somebody who is asked for more steps.
fn brain(random: &Random) -> String {
    let ends = ["dead_letter", "dead_letter", "fail", "compensate"][random.below(4) as usize];
    let effect = ["pure", "idempotent"][random.below(2) as usize];
    let timeout_ms = 150 + random.below(300);
    format!(
        ",\"brain\":{{\"tool\":\"{BRAIN}\",\"effect\":\"{effect}\",\"timeout_ms\":{timeout_ms},\
         \"max_turns\":{},\"on_exhausted\":\"{ends}\"}}",
        2 + random.below(3)
    )
}

fn step(random: &Random, name: &str, more: &str) -> String {
    format!("{{\"name\":\"{name}\",{}{more}}}", call(random))
}

fn wait(tool: &str, name: &str, more: &str) -> String {
    format!("{{\"name\":\"{name}\",\"tool\":\"{tool}\",\"deadline_ms\":4000{more}}}")
}

fn call(random: &Random) -> String {
    let effects = ["pure", "idempotent", "idempotent", "at_most_once", "probe"];
    let effect = effects[random.below(5) as usize];
    let tool = match random.below(10) {
        0..3 => format!("queue:{QUEUE}"),
        _ => format!("http://tool/{}", random.below(3)),
    };
    let timeout_ms = 150 + random.below(400);
    let probe = match random.below(3) {
        at @ (0 | 1) if effect == "probe" => {
            format!(",\"probe\":{{\"tool\":\"{PROBE}\",\"voids\":{}}}", at == 0)
        }
        _ => String::new(),
    };
    let input = input(random);
    format!("\"tool\":\"{tool}\",\"effect\":\"{effect}\",\"timeout_ms\":{timeout_ms}{probe}{input}")
}

/// Now and then what the run was given.
fn input(random: &Random) -> &'static str {
    if random.chance(25) { ",\"input\":{\"$ref\":\"run#\"}" } else { "" }
}

/// A call without effects, one of a few.
fn memo(random: &Random) -> String {
    let (tool, input) = (random.below(2), random.below(3));
    format!(
        "\"tool\":\"http://tool/{tool}\",\"effect\":\"pure\",\"timeout_ms\":300,\"input\":{input},\
         \"memo\":{{\"max_age_ms\":5000}}"
    )
}

fn approval(random: &Random) -> String {
    format!("\"approval\":{{\"expires_ms\":9000,\"quorum\":{}}}", 1 + random.below(3))
}

fn undo(random: &Random) -> String {
    let policy = ["", ",\"on_exhausted\":\"escalate\"", ",\"on_exhausted\":\"skip\""];
    format!(",\"compensate\":{{{}{}}}", call(random), policy[random.below(3) as usize])
}

fn exhausted(random: &Random, number: u64) -> String {
    match random.below(20) {
        0..3 => ",\"on_exhausted\":\"fail\"".into(),
        3..5 => ",\"on_exhausted\":\"skip\",\"default\":{\"instead\":1}".into(),
        5..9 => {
            let (first, second) = (format!("f{number}"), format!("g{number}"));
            let steps = [step(random, &first, ""), step(random, &second, "")];
            let steps = steps[..1 + random.below(2) as usize].join(",");
            format!(",\"on_exhausted\":\"fallback\",\"fallback\":[{steps}]")
        }
        9..12 => ",\"on_exhausted\":\"escalate\"".into(),
        12 => ",\"on_exhausted\":\"compensate\"".into(),
        _ => String::new(),
    }
}
