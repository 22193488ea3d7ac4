//! The steps of docs/templates.md, each taken from the page and run over what the page says of it: lost replies, kills,
//! redrives, forks and a replay. What counts is what the remote has done.

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Spine, lines, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

const MARK: &str = "<!-- template: ";
/// Longer than the server lives.
const LONG: Duration = Duration::from_secs(20);

fn page() -> String {
    std::fs::read_to_string("../docs/templates.md").expect("the page")
}

/// A template of the page, with the tools of this server.
fn template(name: &str, fx: &Fx) -> Value {
    let page = page();
    let begin = format!("{MARK}{name} -->\n```json\n");
    let (_, rest) = page.split_once(&begin).expect("a template of that name");
    let (step, _) = rest.split_once("```").expect("its end");
    serde_json::from_str(&step.replace("http://127.0.0.1:9000/", &fx.tool(""))).expect("JSON")
}

/// A run of an order: the template, then a step that may be done again.
fn plan(run: &str, template: &str, fx: &Fx) -> Value {
    let steps = [self::template(template, fx), lines::step("done", &fx.tool("done"), "pure")];
    json!({"run_id": run, "workflow": "it", "version": "1", "input": {"order": run}, "steps": steps})
}

fn post(spine: &Spine, path: &str, body: &Value) -> (u16, Value) {
    let reply = spine.http().post(path, body).expect("an answer");
    (reply.status, reply.json())
}

/// The id of the letter of a run's step, once it has one.
fn letter(spine: &Spine, run: &str, step: &str) -> String {
    waits::until("the letter", || {
        let step = spine.get(&format!("/v1/runs/{run}/steps/{step}")).json();
        step["letter"].as_str().map(str::to_owned)
    })
}

fn redrives(spine: &Spine, letter: &str, more: &[(&str, Value)]) -> (u16, Value) {
    let mut body = json!({"reason": "it is mended"});
    more.iter().for_each(|(name, value)| body[*name] = value.clone());
    post(spine, &format!("/v1/dead-letters/{letter}/redrive"), &body)
}

fn forks(spine: &Spine, run: &str, new: &str, from: &str, force: bool) -> (u16, Value) {
    let body = json!({"run_id": new, "reason": "once more", "from": from, "force": force});
    post(spine, &format!("/v1/runs/{run}/fork"), &body)
}

/// A fork that takes the step over calls nothing of it; one that does it again needs to be told so.
fn is_forked_with_care(spine: &Spine, fx: &Fx, run: &str, step: &str) {
    let (taken, again) = (format!("{run}-taken"), format!("{run}-again"));
    let (status, told) = forks(spine, run, &taken, "done", false);
    assert_eq!(status, 201, "{told}");
    spine.wait_run(&taken, &["completed"]);
    assert!(fx.calls_of(&taken, step).is_empty(), "it was taken over");
    let (status, told) = forks(spine, run, &again, step, false);
    assert_eq!((status, &told["name"]), (409, &json!("needs_force")), "{told}");
    let (status, told) = forks(spine, run, &again, step, true);
    assert_eq!(status, 201, "{told}");
    spine.wait_run(&again, &["completed"]);
}

/// The store is built anew from the log, and a replay is equal to it. Nothing is called.
fn calls_nothing_in_a_replay(spine: &mut Spine, fx: &Fx, run: &str) {
    let before = fx.calls().len();
    spine.kill();
    spine.forget_store();
    spine.restart();
    spine.wait_run(run, &["completed"]);
    spine.is_fold_of_log();
    assert_eq!(fx.calls().len(), before, "a replay calls nothing");
}

/// The different keys under which a path was called and something happened.
fn keys(fx: &Fx, path: &str) -> BTreeSet<String> {
    let calls = fx.calls().into_iter().filter(|call| call.path == path && call.effect);
    calls.map(|call| call.key).collect()
}

fn input(call: &Call) -> Value {
    serde_json::from_str(&call.body).expect("JSON")
}

#[test]
fn every_template_of_the_page_is_run() {
    let page = page();
    let names = page.split(MARK).skip(1).filter_map(|rest| rest.split(' ').next());
    let run = ["payment", "record", "mail", "ticket", "service", "workflow"];
    assert_eq!(names.collect::<Vec<_>>(), run);
    assert_eq!(page.matches("```json").count(), run.len(), "a step without a name");
}

#[test]
fn s8_a_payment_is_one_charge_over_lost_replies_a_kill_and_a_redrive() {
    let fx = Fx::start(|call, before| match (call.path.as_str(), before) {
        ("/charge", _) if call.run != "r" => Answer::Done,
        ("/charge", 0) => Answer::DoneThenDrops,
        ("/charge", 1) => Answer::DoneAfter(LONG),
        ("/charge", 2..=4) => Answer::DoneThen(500),
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    spine.start_run(&plan("r", "payment", &fx));
    waits::until("the second call", || (fx.calls_of("r", "charge").len() == 2).then_some(()));
    spine.kill();
    spine.restart();
    let letter = letter(&spine, "r", "charge");
    assert_eq!(fx.calls_of("r", "charge").len(), 5, "four are charged, and one was lost");
    let (status, told) = redrives(&spine, &letter, &[]);
    assert_eq!(status, 200, "{told}");
    spine.wait_run("r", &["completed"]);
    assert_eq!(fx.calls_of("r", "charge").len(), 6);
    let charges = keys(&fx, "/charge");
    assert_eq!(charges.len(), 1, "one key is one charge: {charges:?}");
    assert!(charges.iter().all(|key| key.len() == 64), "{charges:?}");
    assert_eq!(input(&fx.calls()[0])["order"], "r");
    is_forked_with_care(&spine, &fx, "r", "charge");
    assert_eq!(keys(&fx, "/charge").len(), 2, "what is forced is another charge");
    calls_nothing_in_a_replay(&mut spine, &fx, "r");
}

/// A CRM: how often a record was written, by its external id. What happens to the first call depends on the id.
fn crm() -> (Fx, Arc<Mutex<BTreeMap<String, usize>>>) {
    let records: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let (written, begun) = (records.clone(), Mutex::new(BTreeSet::new()));
    let fx = Fx::start(move |call, _| {
        let mut written = written.lock().expect("the records");
        let id = |input: &Value| input["external_id"].as_str().expect("an id").to_owned();
        if call.path == "/accounts/find" {
            let happened = written.contains_key(&id(&input(call)["input"]));
            return Answer::Says(json!({"happened": happened}).to_string());
        }
        if call.path != "/accounts/upsert" {
            return Answer::Done;
        }
        let id = id(&input(call));
        let is_first = begun.lock().expect("the calls").insert(id.clone());
        match id.as_str() {
            "vanishes" if is_first => return Answer::Hangs,
            "refused" if is_first => return Answer::Refuses(422),
            _ => *written.entry(id.clone()).or_default() += 1,
        }
        if id == "lost" && is_first { Answer::DoneThenDrops } else { Answer::Done }
    });
    (fx, records)
}

#[test]
fn s8b_a_record_is_one_over_lost_calls_a_redrive_a_fork_and_a_replay() {
    let ((fx, records), mut spine) = (crm(), Spine::fresh().start());
    for run in ["lost", "vanishes", "refused"] {
        spine.start_run(&plan(run, "record", &fx));
    }
    let letter = letter(&spine, "refused", "account");
    let (status, told) = redrives(&spine, &letter, &[]);
    assert_eq!((status, &told["name"]), (409, &json!("needs_force")), "{told}");
    let (status, told) = redrives(&spine, &letter, &[("force", json!(true))]);
    assert_eq!(status, 200, "{told}");
    for run in ["lost", "refused", "vanishes"] {
        spine.wait_run(run, &["completed"]);
    }
    let once = |id: &str| (id.to_owned(), 1);
    let all = BTreeMap::from([once("lost"), once("refused"), once("vanishes")]);
    assert_eq!(*records.lock().expect("the records"), all, "written once each");
    let step = spine.get("/v1/runs/lost/steps/account").json();
    assert_eq!((&step["output"]["source"], &step["attempt"]), (&json!("probe"), &json!(1)));
    is_forked_with_care(&spine, &fx, "lost", "account");
    let written = records.lock().expect("the records").clone();
    assert_eq!((written.len(), written["lost"]), (3, 2), "no other record: {written:?}");
    calls_nothing_in_a_replay(&mut spine, &fx, "lost");
}

#[test]
fn s8d_a_mail_whose_reply_is_lost_is_sent_once_and_a_person_finds_out() {
    let fx = Fx::start(|call, before| match (call.path.as_str(), before) {
        ("/mail", 0) if call.run == "later" => Answer::Refuses(503),
        ("/mail", 0) if call.run == "r" => Answer::DoneThenDrops,
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    spine.start_run(&plan("r", "mail", &fx));
    let run = spine.wait_run("r", &["waiting"]);
    assert_eq!(run["waiting_for"][0]["for"], "resolution", "{run}");
    spine.kill();
    spine.restart();
    spine.start_run(&plan("later", "mail", &fx));
    spine.wait_run("later", &["completed"]);
    assert_eq!(fx.calls_of("later", "mail").len(), 2, "503 says that nothing was sent");
    let told = spine.run(&["steps", "resolve", "r", "mail", "--happened", "--reason", "outbox"]);
    assert!(told.status.success(), "{told:?}");
    spine.wait_run("r", &["completed"]);
    assert_eq!(fx.calls_of("r", "mail").len(), 1);
    is_forked_with_care(&spine, &fx, "later", "mail");
    calls_nothing_in_a_replay(&mut spine, &fx, "r");
}

#[test]
fn s8d_a_ticket_whose_reply_is_lost_is_found_by_its_key() {
    let tickets: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let opened = tickets.clone();
    let fx = Fx::start(move |call, _| {
        let mut opened = opened.lock().expect("the tickets");
        match call.path.as_str() {
            "/tickets/find" => {
                Answer::Says(json!({"happened": opened.contains(&call.key)}).to_string())
            }
            "/tickets" => {
                opened.insert(call.key.clone());
                if call.run == "r" { Answer::DoneThenDrops } else { Answer::DoneAfter(LONG) }
            }
            _ => Answer::Done,
        }
    });
    let mut spine = Spine::fresh().start();
    for run in ["r", "killed"] {
        spine.start_run(&plan(run, "ticket", &fx));
    }
    waits::until("both calls", || (keys(&fx, "/tickets").len() == 2).then_some(()));
    spine.kill();
    spine.restart();
    for run in ["r", "killed"] {
        spine.wait_run(run, &["completed"]);
        let calls = fx.calls_of(run, "ticket").into_iter();
        let opens: Vec<Call> = calls.filter(|call| call.path == "/tickets").collect();
        assert_eq!(opens.len(), 1, "{run}: {opens:?}");
    }
    assert_eq!(tickets.lock().expect("the tickets").len(), 2);
    calls_nothing_in_a_replay(&mut spine, &fx, "r");
}

#[test]
fn s8c_a_service_that_asks_for_a_pause_and_takes_few_at_once_gets_both() {
    let takes = Duration::from_millis(100);
    let fx = Fx::start(move |call, before| match (call.run.as_str(), call.path.as_str(), before) {
        ("first", "/stock", 0) => Answer::RefusesFor(429, 2),
        _ => Answer::DoneAfter(takes),
    });
    let spine = Spine::fresh().with(&["--attempts-per-tool", "2"]).start();
    spine.start_run(&plan("first", "service", &fx));
    waits::until("the limit", || {
        spine.get("/v1/tools").json()["tools"][0]["limited_until"].as_str().map(drop)
    });
    let runs: Vec<String> = (0..12).map(|number| format!("r{number}")).collect();
    for run in &runs {
        spine.start_run(&plan(run, "service", &fx));
    }
    for run in runs.iter().map(String::as_str).chain(["first"]) {
        spine.wait_run(run, &["completed"]);
        let step = spine.get(&format!("/v1/runs/{run}/steps/reserve")).json();
        assert_eq!(step["charged"], 0, "{step}");
    }
    let calls = fx.calls().into_iter().filter(|call| call.path == "/stock");
    let mut calls: Vec<Call> = calls.collect();
    calls.sort_by_key(|call| call.at);
    assert_eq!(calls.len(), runs.len() + 2, "one was refused");
    let pause = calls[1].at.duration_since(calls[0].at);
    assert!(pause >= Duration::from_millis(1950), "called {pause:?} after it asked for 2 s");
    // Of any three calls the first has ended when the third arrives.
    for three in calls[1..].windows(3) {
        assert!(three[2].at.duration_since(three[0].at) >= takes, "three at once: {three:?}");
    }
    is_forked_with_care(&spine, &fx, "r0", "reserve");
}

#[test]
fn s8c_a_service_that_is_silent_costs_its_budget_and_one_that_refuses_a_call() {
    let silent = Fx::start(|_, _| Answer::Hangs);
    let strict = Fx::start(|call, _| match call.body.contains("B-4") {
        true => Answer::Refuses(422),
        false => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    spine.start_run(&plan("silent", "service", &silent));
    spine.start_run(&plan("strict", "service", &strict));
    let refused = letter(&spine, "strict", "reserve");
    assert_eq!(strict.calls().len(), 1, "a definite no is not asked for again");
    let mended = json!({"do": "reserve", "order": "strict", "sku": "C-1"});
    let (status, told) = redrives(&spine, &refused, &[("input", mended)]);
    assert_eq!(status, 200, "{told}");
    spine.wait_run("strict", &["completed"]);
    let calls = strict.calls_of("strict", "reserve");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].key, calls[1].key, "another input has another key");
    letter(&spine, "silent", "reserve");
    let calls = silent.calls();
    assert_eq!(calls.len(), 4, "the budget of its policy");
    let took = calls[3].at.duration_since(calls[0].at);
    // Three time-outs, which begin with the appends of their intents; the waits are longer than those take.
    assert!(took >= Duration::from_secs(6), "four calls in {took:?}");
    calls_nothing_in_a_replay(&mut spine, &strict, "strict");
}

/// The ids of all runs, sorted.
fn run_ids(spine: &Spine) -> Vec<String> {
    let listed = spine.get("/v1/runs").json();
    let runs = listed["runs"].as_array().expect("runs").iter();
    let mut ids: Vec<String> =
        runs.map(|run| run["run_id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn s8f_a_downstream_workflow_is_one_run_over_kills_a_replay_and_a_fork() {
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/pick" | "/ship" => Answer::DoneAfter(Duration::from_millis(200)),
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    spine.start_run(&plan("r", "workflow", &fx));
    for path in ["/pick", "/ship"] {
        waits::until(path, || fx.calls().iter().any(|call| call.path == path).then_some(()));
        spine.kill();
        spine.restart();
    }
    spine.wait_run("r", &["completed"]);
    let ids = run_ids(&spine);
    assert_eq!(ids.len(), 2, "one run for the step: {ids:?}");
    for path in ["/pick", "/ship"] {
        assert_eq!(keys(&fx, path).len(), 1, "{path}");
    }
    let pick = fx.calls().into_iter().find(|call| call.path == "/pick").expect("a call");
    assert_eq!(input(&pick), json!({"order": "r"}));
    assert!(ids.contains(&pick.run) && pick.run != "r", "{ids:?}");
    calls_nothing_in_a_replay(&mut spine, &fx, "r");
    assert_eq!(run_ids(&spine), ids, "a replay begins no run");
    is_forked_with_care(&spine, &fx, "r", "fulfil");
    // The two forks, and the run that the second one began.
    assert_eq!(run_ids(&spine).len(), 5);
    assert_eq!(keys(&fx, "/ship").len(), 2, "another run has other keys");
}
