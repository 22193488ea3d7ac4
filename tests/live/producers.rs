//! Foreign producers write to the topic, legal events and others.
//!
//! The producer is `producer.py`: other libraries, another serialisation, the documented forms only. It also
//! reads the dead-letter topic and the tables, as any outsider would.

use serde_json::{Value, json};
use spine_schemas::keys;
use spine_tests::{Servers, Spine, lines, remove_store, spine, waits};
use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const PARTITIONS: u32 = 3;
/// More than a partition takes in a row (`workers/src/limits.rs`).
const FLOOD: usize = 1050;

/// A log and a store, and a program of another kind that uses them too.
pub(crate) struct Outside {
    brokers: String,
    prefix: String,
    cql: String,
    pub(crate) log: String,
    pub(crate) store: String,
}

impl Outside {
    /// `None` with a plain word where servers or Python's packages are missing.
    fn fresh(partitions: u32) -> Option<Self> {
        let servers = Servers::named()?;
        let has = Command::new("python3")
            .args(["-c", "import confluent_kafka, fastavro, cassandra.cluster"])
            .output()
            .is_ok_and(|out| out.status.success());
        if !has {
            let is_required = std::env::var("SPINE_LIVE").is_ok_and(|live| live == "required");
            let install = "python3 -m pip install confluent-kafka fastavro cassandra-driver";
            assert!(
                !is_required,
                "SPINE_LIVE=required, but Python's packages are missing: {install}"
            );
            println!("skipped: Python's packages are missing: {install}");
            return None;
        }
        let (log, store) = (servers.fresh_log(partitions, 1), servers.fresh_store());
        Some(Self::of(servers, log, store))
    }

    /// Beside a log under these brokers, and a store.
    pub(crate) fn of(servers: Servers, log: String, store: String) -> Self {
        let (url, _) = log.split_once('?').expect("settings");
        let prefix = url.rsplit_once('/').expect("a prefix").1.to_owned();
        Self { brokers: servers.kafka, prefix, cql: servers.cql, log, store }
    }

    /// A server on them.
    pub(crate) fn spine(&self) -> Spine {
        Spine::on(&self.log, &self.store)
    }

    /// Does these in order; gives a result each.
    pub(crate) fn does(&self, ops: Value) -> Vec<Value> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let asked = json!({"brokers": self.brokers, "prefix": self.prefix, "cql": self.cql, "ops": ops,
            "keyspace": self.store.rsplit_once('/').expect("a keyspace").1,
            "schema": format!("{root}/schemas/avro/step_event.avsc")});
        let mut python = Command::new("python3")
            .arg(format!("{root}/tests/live/producer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut stdin = python.stdin.take().expect("a pipe");
        stdin.write_all(asked.to_string().as_bytes()).expect("it reads");
        drop(stdin);
        let out = python.wait_with_output().expect("it ends");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_slice(&out.stdout).expect("results")
    }

    /// The letters in their topic, by id; a letter that is there twice is there with equal bytes.
    fn letters(&self) -> BTreeMap<String, Value> {
        let all = self.does(json!([{"op": "letters"}])).remove(0);
        let mut letters: BTreeMap<String, Value> = BTreeMap::new();
        for letter in all.as_array().expect("letters") {
            let id = letter["id"].as_str().expect("an id").to_owned();
            let first = letters.entry(id).or_insert_with(|| letter.clone());
            assert_eq!(first, letter, "a repeated letter is another one");
        }
        letters
    }

    /// Replays the log beside the live store; a replay that never ends is a failure, not a test that hangs.
    fn is_fold_of_log(&self, name: &str) {
        let to = format!("{}_{name}", self.store);
        let words = ["replay", "--log", &self.log, "--to", &to, "--compare", &self.store, "--json"];
        let mut replay = spine(&words).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let ended = waits::maybe(|| replay.try_wait().expect("a child can be asked"));
        if ended.is_none() {
            replay.kill().expect("it can be killed");
        }
        let out = replay.wait_with_output().expect("it ends");
        remove_store(&to);
        let said: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
        assert!(ended.is_some(), "the replay does not end: {said}");
        assert_eq!(said["compared"]["equal"], true, "{said}");
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        remove_store(&self.store);
    }
}

/// Run ids that Spine's own producer places in a partition.
fn runs_in(partition: u32, name: &str) -> impl Iterator<Item = String> {
    let is_there = move |run: &String| home(run) == partition;
    let name = name.to_owned();
    (0..).map(move |at| format!("{name}-{at}")).filter(is_there)
}

fn home(run: &str) -> u32 {
    keys::partition_of(format!("default/{run}").as_bytes(), PARTITIONS)
}

fn is_letter_of(letter: &Value, sent: &Value) -> bool {
    letter["source_partition"] == sent["partition"] && letter["offset"] == sent["offset"]
}

/// The letters are those of these records and no others, each of its class, with all that was in it.
fn assert_letters(outside: &Outside, bad: &[(&str, Value)]) {
    let letters = outside.letters();
    let said: Vec<_> = letters.values().map(|it| (&it["class"], &it["offset"])).collect();
    assert_eq!(letters.len(), bad.len(), "{said:?}");
    for (class, sent) in bad {
        let letter = letters.values().find(|letter| is_letter_of(letter, sent));
        let letter = letter.unwrap_or_else(|| panic!("no letter of {class} {sent}: {said:?}"));
        assert_eq!((letter["class"].as_str(), &letter["value"]), (Some(*class), &sent["value"]));
        assert_eq!(letter["partition"], sent["partition"], "it lies elsewhere: {letter}");
        let key = sent["key"].as_str().filter(|key| !key.is_empty());
        assert_eq!((letter["key"].as_str(), letter["record_key"].as_str()), (key, key));
        assert_eq!(letter["headers"], sent["headers"], "{letter}");
        assert_headers(letter, sent);
    }
}

/// Generic tools see the key facts without a schema.
fn assert_headers(letter: &Value, sent: &Value) {
    let header = |name: &str| letter["spine"][format!("spine.dlq.{name}")].as_str();
    let said = letter["spine"].to_string();
    for (name, of) in [("id", "id"), ("topic", "topic"), ("class", "class")] {
        assert_eq!(header(name), letter[of].as_str(), "{name}: {said}");
    }
    for name in ["partition", "offset"] {
        assert_eq!(header(name), Some(sent[name].to_string().as_str()), "{name}: {said}");
    }
    for name in ["timestamp", "dead_at"] {
        assert!(header(name).is_some_and(|at| at.contains('T')), "{name}: {said}");
    }
    assert!(header("error").is_some_and(|text| !text.is_empty()), "{said}");
    assert_eq!((header("v"), header("attempts")), (Some("1"), Some("0")), "{said}");
    let run = sent["key"].as_str().and_then(|key| Some(key.split_once('/')?.1));
    assert_eq!(header("run_id"), run, "{said}");
    let value = sent["value"].as_str().unwrap_or_default();
    // In the frame it is little-endian; in words a number begins with its highest digit.
    let fingerprint = value.strip_prefix("c301").and_then(|rest| rest.get(..16));
    let fingerprint = fingerprint.and_then(|text| u64::from_str_radix(text, 16).ok());
    let fingerprint = fingerprint.map(|number| format!("{:016x}", number.swap_bytes()));
    assert_eq!(header("schema_fp"), fingerprint.as_deref(), "{said}");
}

/// The outsider sees the runs: state, steps and history, where Spine would have put them.
fn assert_rows(outside: &Outside, runs: &[String]) {
    let rows = outside.does(json!([{"op": "rows", "runs": runs}])).remove(0);
    for run in runs {
        let (row, place) = (&rows[run], home(run));
        assert_eq!(
            row["run"],
            json!({"status": "completed", "driver": "record", "workflow": "python",
            "partition": place, "steps_completed": 2})
        );
        assert_eq!(row["steps"], json!([["s0#1", "completed"], ["s1#1", "completed"]]), "{row}");
        let kinds: Vec<&str> = row["events"]
            .as_array()
            .expect("events")
            .iter()
            .filter_map(|event| event[1].as_str())
            .collect();
        assert_eq!(
            kinds,
            [
                "run_created",
                "step_started",
                "step_completed",
                "step_started",
                "step_completed",
                "run_completed"
            ]
        );
    }
}

/// Kills the server once it publishes letters, so that some are there and not yet stored.
fn kill_among_letters(spine: &mut Spine) {
    waits::until("a letter", || {
        let metrics = spine.get("/metrics").body;
        let metrics = String::from_utf8_lossy(&metrics).into_owned();
        let line = metrics.lines().find(|line| line.starts_with("spine_workers_letters_total"))?;
        line.rsplit_once(' ')?.1.parse::<f64>().ok().filter(|letters| *letters >= 1.0)
    });
    spine.kill();
    spine.restart();
}

/// The class that each bad record must get, in the order of `bad_ops`.
const CLASSES: [&str; 7] = [
    "decode",
    "decode",
    "decode",
    "illegal_event",
    "wrong_partition",
    "wrong_partition",
    "wrong_partition",
];

/// Bad records, all but one in `partition`, with a healthy run behind each.
fn bad_ops(
    partition: u32,
    healthy: &mut impl Iterator<Item = String>,
) -> (Vec<Value>, Vec<String>) {
    let headers = json!([["trace", "00ff61"], ["trace", "62"]]);
    let mut runs_here = runs_in(partition, "bad");
    let mut key = || runs_here.next().expect("there is always one");
    let (out_of_order, elsewhere) = (key(), runs_in((partition + 1) % PARTITIONS, "away").next());
    let raw = |key: String, value: Option<&str>| {
        json!({"op": "raw", "key": format!("default/{key}"), "value": value, "partition": partition,
            "headers": headers})
    };
    let bad = [
        raw(key(), Some("8f3a00ff1254")),
        raw(key(), None),
        json!({"op": "event", "run": key(), "at": 1, "cut": 20, "headers": headers}),
        // Its run is there: see below.
        json!({"op": "event", "run": out_of_order, "at": 2, "headers": headers}),
        json!({"op": "event", "run": elsewhere, "at": 0, "partition": partition, "headers": headers}),
        json!({"op": "event", "run": key(), "at": 0, "partition": partition, "key": null,
            "headers": headers}),
        json!({"op": "event", "run": key(), "at": 0, "partition": partition, "key": "default/other",
            "headers": headers}),
    ];
    let mut ops = vec![json!({"op": "event", "run": out_of_order, "at": 0})];
    let mut runs = Vec::new();
    for op in bad {
        let run = healthy.next().expect("there is always one");
        ops.extend([op, json!({"op": "runs", "runs": [run]})]);
        runs.push(run);
    }
    (ops, runs)
}

/// What was sent: the record as reported by the delivery, with the headers that were asked for.
fn sent(op: &Value, result: &Value) -> Value {
    let mut sent = result.clone();
    sent["headers"] = op["headers"].clone();
    sent
}

#[test]
fn c3_what_foreign_producers_write_is_folded_and_what_is_bad_becomes_one_letter_each() {
    let Some(outside) = Outside::fresh(PARTITIONS) else { return };
    let mut spine = outside.spine().start();
    let full: Vec<String> = (0..6).map(|at| format!("full-{at}")).collect();
    let small: Vec<String> = (0..6).map(|at| format!("small-{at}")).collect();
    let results = outside.does(json!([{"op": "publish", "schema": "small"},
        {"op": "runs", "runs": full}, {"op": "runs", "runs": small, "schema": "small"}]));
    for sent in results[1..].iter().flat_map(|result| result.as_array().expect("deliveries")) {
        let (_, run) = sent["key"].as_str().and_then(|key| key.split_once('/')).expect("a key");
        assert_eq!(sent["partition"], home(run), "the producers disagree about {run}");
    }
    let partition = home(&full[0]);
    let mut healthy = runs_in(partition, "healthy");
    let (mut ops, runs) = bad_ops(partition, &mut healthy);
    let results = outside.does(json!(ops));
    kill_among_letters(&mut spine);
    let is_bad = |(op, _): &(Value, Value)| op["headers"].is_array();
    let bad = ops.drain(..).zip(results).filter(is_bad).map(|(op, result)| sent(&op, &result));
    let mut bad: Vec<(&str, Value)> = CLASSES.into_iter().zip(bad).collect();
    let whole: Vec<String> = [full, small, runs].concat();
    for run in &whole {
        spine.wait_run(run, &["completed"]);
    }
    assert_letters(&outside, &bad);
    assert_rows(&outside, &whole);
    bad.push(an_unknown_schema(&outside, &spine, &mut healthy));
    assert_letters(&outside, &bad);
    outside.is_fold_of_log("late");
}

/// A schema that never came makes a letter, and stays unknown there when it comes afterwards. One that comes
/// two seconds late makes none. Gives the letter's record.
fn an_unknown_schema(
    outside: &Outside,
    spine: &Spine,
    healthy: &mut impl Iterator<Item = String>,
) -> (&'static str, Value) {
    let (never, behind) = (healthy.next().expect("one"), healthy.next().expect("one"));
    let (awaited, after) = (healthy.next().expect("one"), healthy.next().expect("one"));
    let op = json!({"op": "event", "run": never, "at": 0, "schema": "never", "headers": []});
    let result = outside.does(json!([op, {"op": "runs", "runs": [behind]}])).remove(0);
    spine.wait_run(&behind, &["completed"]);
    let letter = sent(&op, &result);
    let started = Instant::now();
    outside.does(json!([{"op": "publish", "schema": "never"},
        {"op": "runs", "runs": [awaited], "schema": "awaited"}, {"op": "pass", "seconds": 2},
        {"op": "publish", "schema": "awaited"}, {"op": "runs", "runs": [after]}]));
    spine.wait_run(&awaited, &["completed"]);
    spine.wait_run(&after, &["completed"]);
    println!("a schema that came 2 s late: folded after {:?}", started.elapsed());
    ("schema_unknown", letter)
}

#[test]
fn c3_a_flood_of_bad_records_stops_the_partition_until_somebody_lets_it_go_on() {
    let Some(outside) = Outside::fresh(1) else { return };
    let spine = outside.spine().start();
    let raw =
        json!({"op": "raw", "key": "default/x", "value": "00", "partition": 0, "times": FLOOD});
    outside
        .does(json!([{"op": "runs", "runs": ["before"]}, raw, {"op": "runs", "runs": ["behind"]}]));
    let started = Instant::now();
    let detail = waits::until("the alarm", || {
        let reply = spine.get("/readyz");
        (reply.status == 503)
            .then(|| reply.json()["detail"].as_str().unwrap_or_default().to_owned())
    });
    println!("stopped after {:?}: {detail}", started.elapsed());
    assert!(detail.contains("stopped") && detail.contains("partition 0"), "{detail}");
    let metrics = spine.get("/metrics").body;
    let stopped = "spine_partition_stopped{partition=\"0\"} 1";
    assert!(String::from_utf8_lossy(&metrics).contains(stopped), "no {stopped}");
    // The door stays open meanwhile.
    let reply = spine.http().ask(
        "POST",
        "/v1/events",
        "application/x-ndjson",
        &lines::ndjson(&lines::record_run("meanwhile", 1)),
    );
    assert_eq!(reply.expect("an answer").status, 202);
    assert_eq!(spine.get("/v1/runs/behind").status, 404, "it was folded past the alarm");
    let resume = ["topics", "resume", "--partition", "0", "--reason", "looked at it", "--json"];
    let out = spine.run(&resume);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for run in ["before", "behind", "meanwhile"] {
        spine.wait_run(run, &["completed"]);
    }
    assert_eq!(spine.get("/readyz").status, 200);
    let count = outside.does(json!([{"op": "count"}])).remove(0);
    assert_eq!(count["ids"], FLOOD, "{count}");
    println!("the flood took {:?}, {count}", started.elapsed());
}

#[test]
fn c3_transactions_of_foreign_producers_are_folded_and_a_replay_ends() {
    let Some(outside) = Outside::fresh(1) else { return };
    let spine = outside.spine().with(&["--stall-after", "1"]).start();
    // The log ends with an aborted transaction and its marker, then with the marker of a commit.
    let ends = [("abort", json!(["gone-1", "gone-2"])), ("commit", json!([]))];
    for (end, aborted) in ends {
        let runs: Vec<String> = (0..5).map(|at| format!("{end}-{at}")).collect();
        outside.does(json!([{"op": "transaction", "runs": runs, "aborted": aborted}]));
        for run in &runs {
            spine.wait_run(run, &["completed"]);
        }
        waits::pass(Duration::from_secs(1));
        assert_eq!(spine.get("/v1/runs/gone-1").status, 404, "an aborted run was folded");
        assert_eq!(spine.get("/readyz").status, 200);
        let started = Instant::now();
        outside.is_fold_of_log(end);
        println!("a replay up to the marker of {end} took {:?}", started.elapsed());
    }
    assert!(outside.letters().is_empty());
    // At the end of the log lies a mark that nobody stores, and for longer than is let pass.
    waits::pass(Duration::from_secs(4));
    assert_eq!(spine.metric("spine_partition_unattended{partition=\"0\"}"), Some(0.0));
    assert!(!spine.words().contains("unattended"), "{}", spine.words());
}
