//! Servers that stop, die or slow down: what was acknowledged stays, and all catches up by itself.
//!
//! The servers are of this test's own, one set for all tests. They are taken down when the test process
//! ends, however it ends.

use crate::producers::Outside;
use serde_json::{Value, json};
use spine_schemas::keys;
use spine_tests::{Answer, Fx, Http, Reply, Servers, Spine, lines, row, spine, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::CommandExt,
    process::{ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Steps of the record runs that are posted; each has `EVENTS` events.
const STEPS: usize = 3;
const EVENTS: usize = 2 + 2 * STEPS;
const PAUSE: Duration = Duration::from_millis(20);

mod slow;

// The servers -------------------------------------------------------------------------------------

/// A set of servers that tests may break.
struct Set {
    words: Vec<String>,
    servers: Servers,
    /// When this closes, they are taken down.
    _end: ChildStdin,
}

/// One broker and one node; nobody else uses them meanwhile, and all are up.
fn one() -> Option<MutexGuard<'static, Set>> {
    static ONE: OnceLock<Mutex<Set>> = OnceLock::new();
    Servers::named()?;
    Some(healthy(ONE.get_or_init(|| Mutex::new(Set::up("one", &["--nodes", "1"])))))
}

/// Three brokers; nobody else uses them meanwhile, and all are up.
fn three() -> Option<MutexGuard<'static, Set>> {
    static THREE: OnceLock<Mutex<Set>> = OnceLock::new();
    Servers::named()?;
    if is_only_in_the_long_form("it takes three brokers") {
        return None;
    }
    let words = ["--nodes", "3", "--only", "kafka"];
    Some(healthy(THREE.get_or_init(|| Mutex::new(Set::up("three", &words)))))
}

/// Whether a test is left to `make soak`, which is then said.
fn is_only_in_the_long_form(why: &str) -> bool {
    if !row::is_soak() {
        println!("left to the long form (SPINE_SOAK=1): {why}");
    }
    !row::is_soak()
}

/// A test that failed may have left servers down.
fn healthy(set: &'static Mutex<Set>) -> MutexGuard<'static, Set> {
    let set = set.lock().unwrap_or_else(PoisonError::into_inner);
    brought_up(&set.words, &set.servers.dir.display().to_string());
    set
}

fn script() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../compose/servers").to_owned()
}

/// The address lines of servers that are all up.
fn brought_up(words: &[String], dir: &str) -> BTreeMap<String, String> {
    let out = Command::new(script()).arg("up").args(words).args(["--dir", dir]).output();
    let out = out.expect("the script runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let lines = String::from_utf8_lossy(&out.stdout).into_owned();
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
    lines.lines().filter_map(pair).collect()
}

impl Set {
    fn up(name: &str, words: &[&str]) -> Self {
        let dir = format!("{}/outages-{name}-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        std::fs::create_dir_all(&dir).expect("a directory");
        // It outlives this process, for a test that is killed must not leave servers behind.
        #[expect(clippy::zombie_processes, reason = "it outlives whoever could wait for it")]
        let mut keeper = Command::new("sh")
            .args(["-c", "cat; exec \"$0\" down --dir \"$1\"", &script(), &dir])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let end = keeper.stdin.take().expect("a pipe");
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let found = brought_up(&words, &dir);
        let of = |name: &str| found.get(name).cloned().unwrap_or_default();
        let (kafka, cql) = (of("SPINE_TEST_KAFKA"), of("SPINE_TEST_CQL"));
        Self { words, servers: Servers { kafka, cql, dir: dir.into() }, _end: end }
    }
}

// The load ----------------------------------------------------------------------------------------

/// What was acknowledged.
#[derive(Default)]
struct Acked {
    /// Whole record runs, and where the reply says that their events lie.
    runs: Vec<(String, Value)>,
    /// Steps of agents, and where the lease says that their start lies.
    starts: Vec<(String, String)>,
    /// Replies that said no, by name, and questions without a reply.
    refused: BTreeMap<String, usize>,
    /// How long each acknowledged post took.
    took: Vec<Duration>,
}

impl Acked {
    fn merge(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.starts.extend(other.starts);
        self.took.extend(other.took);
        for (name, times) in other.refused {
            *self.refused.entry(name).or_default() += times;
        }
    }

    fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took[took.len() * 99 / 100]
    }

    /// Asks until the reply is a good one, and notes the others.
    fn until_taken(&mut self, mut ask: impl FnMut() -> std::io::Result<Reply>) -> Reply {
        waits::until_taken(|| {
            let name = match ask() {
                Ok(reply) if reply.status < 300 => return Ok(reply),
                Ok(reply) => reply.json()["name"].as_str().unwrap_or("?").to_owned(),
                Err(error) => format!("no reply: {}", error.kind()),
            };
            *self.refused.entry(name.clone()).or_default() += 1;
            Err(name)
        })
    }
}

fn post(http: &mut Http, runs: &[String], key: &str) -> std::io::Result<Reply> {
    let lines: Vec<Value> = runs.iter().flat_map(|run| lines::record_run(run, STEPS)).collect();
    let kind = format!("application/x-ndjson\r\nIdempotency-Key: {key}");
    http.ask("POST", "/v1/events", &kind, &lines::ndjson(&lines))
}

/// Posts record runs until told to stop, each again and again under one key until it is taken.
fn post_until(stop: &AtomicBool, port: u16, name: &str) -> Acked {
    let (mut acked, mut http) = (Acked::default(), Http::new(port));
    for at in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let run = format!("{name}-{at}");
        let begun = Instant::now();
        let reply = acked.until_taken(|| post(&mut http, std::slice::from_ref(&run), &run));
        assert_eq!(reply.status, 202, "{}", reply.json());
        acked.took.push(begun.elapsed());
        acked.runs.push((run, reply.json()["positions"].clone()));
        waits::pass(PAUSE);
    }
    acked
}

/// An agent that takes one step after another until told to stop.
fn act_until(stop: &AtomicBool, port: u16, run: &str) -> Acked {
    let (mut acked, mut http) = (Acked::default(), Http::new(port));
    let path = format!("/v1/runs/{run}/journal");
    let start = json!({"run_id": run, "workflow": "live", "version": "1", "driver": "journal"});
    acked.until_taken(|| http.post("/v1/runs", &start));
    for at in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let step = json!({"name": format!("s{at}")});
        let op = |op: Value| json!({"session": "S", "ops": [op]});
        let begin = op(json!({"op": "begin", "op_id": 2 * at + 1, "step": step, "tool": "t",
            "effect": "pure", "input": {}}));
        let reply = acked.until_taken(|| http.post(&path, &begin)).json();
        let lease = reply["results"][0]["lease"].as_str();
        let lease = lease.unwrap_or_else(|| panic!("no lease: {reply}")).to_owned();
        let complete =
            op(json!({"op": "complete", "op_id": 2 * at + 2, "step": step, "attempt": 1,
            "lease": lease, "output": {"at": at}}));
        let reply = acked.until_taken(|| http.post(&path, &complete)).json();
        assert_eq!(reply["results"][0]["status"], "ok", "{reply}");
        acked.starts.push((run.to_owned(), lease));
        waits::pass(PAUSE);
    }
    acked
}

/// Runs something while record runs and agents come in at a server.
fn under_load(spine: &Spine, name: &str, work: impl FnOnce()) -> Acked {
    /// Ends the load also by a panic.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (stop, port) = (AtomicBool::new(false), spine.port());
    thread::scope(|scope| {
        let stop = &stop;
        let posts =
            (0..3).map(|at| scope.spawn(move || post_until(stop, port, &format!("{name}-{at}"))));
        let mut loads: Vec<_> = posts.collect();
        loads.push(scope.spawn(move || act_until(stop, port, &format!("agent-{name}"))));
        let end = Stop(stop);
        work();
        drop(end);
        let mut acked = Acked::default();
        loads.into_iter().for_each(|load| acked.merge(load.join().expect("a load")));
        acked
    })
}

// What must hold ----------------------------------------------------------------------------------

/// Every acknowledged event is in the log where the reply said.
fn assert_in_log(outside: &Outside, acked: &Acked) {
    let places = outside.does(json!([{"op": "places"}])).remove(0);
    let place = |row: &Value| Some(((row[0].as_u64()?, row[1].as_u64()?), row.clone()));
    let places: BTreeMap<(u64, u64), Value> =
        places.as_array().expect("places").iter().filter_map(place).collect();
    for (run, positions) in &acked.runs {
        let mut ids = BTreeSet::new();
        for span in positions.as_array().expect("positions") {
            let end = |name: &str| span[name].as_u64().expect("a number");
            let of = (end("first_offset")..=end("last_offset")).map(|at| (end("partition"), at));
            let there = of.filter_map(|at| places.get(&at)).filter(|row| row[2] == run.as_str());
            ids.extend(there.map(|row| row[3].to_string()));
        }
        assert_eq!(ids.len(), EVENTS, "events of {run} are lost: {positions}");
    }
    for (run, lease) in &acked.starts {
        let (partition, offset) = lease.split_once('-').expect("a position");
        let at = (partition.parse().expect("a number"), offset.parse().expect("a number"));
        let row = places.get(&at).unwrap_or_else(|| panic!("the start {lease} of {run} is lost"));
        assert_eq!((row[2].as_str(), row[4].as_str()), (Some(run.as_str()), Some("step_started")));
    }
}

/// All that was acknowledged is stored, complete, and nothing was set aside for an outage.
fn assert_completed(spine: &Spine, acked: &Acked) {
    for (run, _) in &acked.runs {
        let seen = spine.wait_run(run, &["completed"]);
        assert_eq!(seen["steps"]["completed"], STEPS, "{seen}");
    }
    let letters = spine.get("/v1/dead-letters").json();
    assert_eq!(letters["dead_letters"], json!([]), "{letters}");
    assert_eq!(metric(spine, "spine_workers_letters_total"), 0.0);
    waits::until("no lag", || (metric(spine, "spine_log_lag_records") == 0.0).then_some(()));
    let agents: BTreeSet<&str> = acked.starts.iter().map(|(run, _)| run.as_str()).collect();
    for run in agents {
        let done = acked.starts.iter().filter(|(of, _)| of == run).count();
        let seen = spine.get(&format!("/v1/runs/{run}")).json();
        assert!(seen["steps"]["completed"].as_u64() >= Some(done as u64), "{seen}");
    }
}

/// The sum of a metric over its labels.
fn metric(spine: &Spine, name: &str) -> f64 {
    let text = spine.get("/metrics").body;
    let text = String::from_utf8_lossy(&text).into_owned();
    let ours = text.lines().filter(|line| line.starts_with(name));
    ours.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

fn print(row: &str, started: Instant, acked: &Acked, more: Value) {
    let result = json!({"runs": acked.runs.len(), "journal_steps": acked.starts.len(),
        "refused": acked.refused, "p99_ms": acked.p99().as_millis() as u64, "more": more});
    row::print(row, started, Value::Null, result);
}

fn sqlite(dir: &tempfile::TempDir) -> String {
    format!("sqlite:{}", dir.path().join("store.db").display())
}

// One broker, one node ----------------------------------------------------------------------------

#[test]
fn f9_a_broker_that_stops_and_comes_back_loses_nothing() {
    stop_a_broker("idempotent");
}

#[test]
fn f9_an_effect_whose_outcome_was_known_is_not_in_doubt_after_a_broker_outage() {
    stop_a_broker("at_most_once");
}

/// The process lives on: all that it was told, and every outcome that it has seen, is kept.
fn stop_a_broker(effect: &str) {
    let Some(set) = one() else { return };
    let (started, servers) = (Instant::now(), &set.servers);
    let outside = Outside::of(servers.clone(), servers.fresh_log(2, 1), servers.fresh_store());
    let spine = outside.spine().start();
    let fx = Fx::start(|_, _| Answer::DoneAfter(Duration::from_millis(200)));
    let step = |at: usize| {
        let mut step = lines::step(&format!("s{at}"), &fx.tool("t"), effect);
        step["timeout_ms"] = json!(2000);
        step
    };
    spine.start_run(&lines::plan("plan", &lines::quick(3), (0..20).map(step).collect()));
    let acked = under_load(&spine, effect, || {
        waits::pass(Duration::from_secs(2));
        servers.does("stop", "kafka1");
        waits::pass(Duration::from_secs(row::size(5, 40) as u64));
        servers.does("start", "kafka1");
        waits::pass(Duration::from_secs(3));
    });
    spine.wait_run("plan", &["completed"]);
    assert!(fx.rows().values().all(|times| *times == 1), "{:?}", fx.rows());
    assert_completed(&spine, &acked);
    assert_in_log(&outside, &acked);
    print("broker stopped", started, &acked, json!({"effect": effect, "calls": fx.calls().len()}));
}

#[test]
fn f9_appends_are_acknowledged_while_the_store_is_away() {
    let Some(set) = one() else { return };
    let (started, servers) = (Instant::now(), &set.servers);
    let outside = Outside::of(servers.clone(), servers.fresh_log(2, 1), servers.fresh_store());
    let spine = outside.spine().start();
    let stop = AtomicBool::new(false);
    let (acked, lag) = thread::scope(|scope| {
        let posting = scope.spawn(|| post_until(&stop, spine.port(), "s"));
        waits::pass(Duration::from_secs(2));
        servers.does("stop", "cassandra1");
        waits::pass(Duration::from_secs(row::size(20, 60) as u64));
        let lag = metric(&spine, "spine_log_lag_records");
        stop.store(true, Ordering::SeqCst);
        (posting.join().expect("a load"), lag)
    });
    assert!(acked.refused.is_empty(), "posts were refused: {:?}", acked.refused);
    servers.does("start", "cassandra1");
    let up = Instant::now();
    assert_completed(&spine, &acked);
    assert!(lag > 100.0, "the lag did not show: {lag}");
    assert_in_log(&outside, &acked);
    let caught_up_ms = up.elapsed().as_millis() as u64;
    print("store away", started, &acked, json!({"lag": lag, "caught_up_ms": caught_up_ms}));
}

#[test]
fn f9_appends_do_not_wait_for_a_slow_store() {
    let Some(set) = one() else { return };
    let (started, servers) = (Instant::now(), &set.servers);
    let store = servers.fresh_store();
    let slow = Arc::new(AtomicU64::new(0));
    let port = slow::delayed(&servers.cql, Arc::clone(&slow));
    let outside = Outside::of(servers.clone(), servers.fresh_log(2, 1), store);
    let through = outside.store.replace(&servers.cql, &format!("127.0.0.1:{port}"));
    let spine = Spine::on(&outside.log, &through).start();
    let posted_for = |name: &str, seconds: u64| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let posting = scope.spawn(|| post_until(&stop, spine.port(), name));
            waits::pass(Duration::from_secs(seconds));
            stop.store(true, Ordering::SeqCst);
            posting.join().expect("a load")
        })
    };
    let mut acked = posted_for("quick", 5);
    let quick = acked.p99();
    slow.store(2000, Ordering::SeqCst);
    let while_slow = posted_for("slow", row::size(10, 60) as u64);
    let slowed = while_slow.p99();
    let lag = metric(&spine, "spine_log_lag_records");
    let asked = Instant::now();
    spine.get("/v1/runs/quick-0");
    let read = asked.elapsed();
    assert!(read >= Duration::from_secs(2), "the store was not slow: {read:?}");
    slow.store(0, Ordering::SeqCst);
    assert!(while_slow.refused.is_empty(), "{:?}", while_slow.refused);
    acked.merge(while_slow);
    assert_completed(&spine, &acked);
    assert_in_log(&outside, &acked);
    let ms = |of: Duration| of.as_millis() as u64;
    print(
        "store slow",
        started,
        &acked,
        json!({"p99_ms": ms(quick), "p99_slow_ms": ms(slowed), "lag": lag, "read_ms": ms(read)}),
    );
    assert!(slowed < Duration::from_secs(1), "appends waited for the store: {slowed:?}");
}

#[test]
fn f9_a_recreated_topic_is_refused_by_name() {
    let Some(set) = one() else { return };
    let servers = &set.servers;
    for (case, ops) in [
        (
            "all",
            json!([{"op": "delete", "topics": ["steps", "steps.dlq", "schemas", "control", "audit"]}]),
        ),
        ("steps", json!([{"op": "recreate"}])),
    ] {
        let scratch = tempfile::tempdir().expect("a directory");
        let outside = Outside::of(servers.clone(), servers.fresh_log(1, 1), sqlite(&scratch));
        let mut spine = outside.spine().start();
        let reply = post(&mut spine.http(), &["r".into()], "r").expect("an answer");
        assert_eq!(reply.status, 202);
        spine.wait_run("r", &["completed"]);
        spine.stop();
        let before = stored(outside.store.trim_start_matches("sqlite:"));
        outside.does(ops);
        if case == "all" {
            let mut create = vec!["topics", "create", "--log", &outside.log];
            create.extend(["--partitions", "1", "--replication", "1"]);
            // A deleted topic goes in the background.
            waits::until("new topics", || spine_of(&create).then_some(()));
        }
        // Until the group knows of new topics, it deals out nothing, and nothing can be refused.
        spine.launch();
        let ended = waits::until("the refusal", || spine.ended());
        let words = spine.words();
        let said = words.lines().rev().take(4).collect::<Vec<_>>().join("\n");
        println!("{case}: {ended}\n{said}");
        assert_eq!(ended.code(), Some(3), "{said}");
        let name = if case == "all" { "log id" } else { ".steps" };
        assert!(said.contains(name) || said.contains("folded from log"), "{said}");
        // Nothing was skipped or taken in: the store still has the run of the log that it was folded from.
        let store = outside.store.trim_start_matches("sqlite:");
        assert_eq!(stored(store), before, "the refused start changed the store");
    }
}

/// The progress in a SQLite store.
fn stored(store: &str) -> String {
    let script = "import sqlite3, sys\nrows = sqlite3.connect(sys.argv[1]).execute(\"SELECT \
        partition, log_id, log_offset, hex(chain) FROM progress\").fetchall()\nprint(rows)\nassert rows";
    let out = Command::new("python3").args(["-c", script, store]).output().expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn spine_of(words: &[&str]) -> bool {
    spine(words).output().expect("the binary runs").status.success()
}

// Three brokers -----------------------------------------------------------------------------------

fn wait_in_sync(outside: &Outside) {
    waits::until("all copies in sync", || {
        let cluster = outside.does(json!([{"op": "cluster"}])).remove(0);
        (cluster["lacking"] == 0).then_some(())
    });
}

#[test]
fn f9_brokers_that_die_one_after_another_lose_no_acknowledged_event() {
    let Some(set) = three() else { return };
    let (started, servers) = (Instant::now(), &set.servers);
    let scratch = tempfile::tempdir().expect("a directory");
    let outside = Outside::of(servers.clone(), servers.fresh_log(3, 3), sqlite(&scratch));
    let spine = outside.spine().start();
    let brokers = ["kafka1", "kafka2", "kafka3"];
    let acked = under_load(&spine, "k", || {
        for broker in brokers.into_iter().take(row::size(2, 3)) {
            waits::pass(Duration::from_secs(2));
            servers.does("kill", broker);
            waits::pass(Duration::from_secs(3));
            servers.does("start", broker);
            wait_in_sync(&outside);
        }
        waits::pass(Duration::from_secs(2));
    });
    assert_completed(&spine, &acked);
    assert_in_log(&outside, &acked);
    print("brokers killed", started, &acked, Value::Null);
}

#[test]
fn f9_a_batch_of_which_some_partitions_fail_says_which_and_may_be_sent_again() {
    let Some(set) = three() else { return };
    let (started, servers) = (Instant::now(), &set.servers);
    let scratch = tempfile::tempdir().expect("a directory");
    let outside = Outside::of(servers.clone(), servers.fresh_log(6, 1), sqlite(&scratch));
    let spine = outside.spine().start();
    let run_of = |partition: u32| {
        let is_there =
            |run: &String| keys::partition_of(format!("default/{run}").as_bytes(), 6) == partition;
        (0..).map(|at| format!("r{at}")).find(is_there).expect("there is always one")
    };
    let runs: Vec<String> = (0..6).map(run_of).collect();
    let leaders = outside.does(json!([{"op": "cluster"}])).remove(0)["leaders"].clone();
    let dead = leaders[0].as_u64().expect("a broker");
    let of_dead: Vec<u64> = (0..6).filter(|at| leaders[*at as usize] == dead).collect();
    assert!(of_dead.len() < 6, "one broker holds all: {leaders}");
    servers.does("kill", &format!("kafka{dead}"));
    let reply = post(&mut spine.http(), &runs, "once").expect("an answer");
    let (took, problem) = (started.elapsed(), reply.json());
    assert_eq!((reply.status, &problem["name"]), (503, &json!("partly_appended")), "{problem}");
    assert_eq!(problem["failed_partitions"], json!(of_dead), "{problem}");
    let there = problem["positions"].as_array().expect("positions").iter();
    let there: BTreeSet<u64> = there.filter_map(|span| span["partition"].as_u64()).collect();
    let of_living: BTreeSet<u64> = (0..6).filter(|at| !of_dead.contains(at)).collect();
    assert_eq!(there, of_living, "{problem}");
    servers.does("start", &format!("kafka{dead}"));
    let mut acked = Acked::default();
    let mut http = spine.http();
    let reply = acked.until_taken(|| post(&mut http, &runs, "once"));
    acked.took.push(took);
    for run in runs {
        let of = keys::partition_of(format!("default/{run}").as_bytes(), 6);
        let spans = reply.json()["positions"].as_array().cloned().unwrap_or_default();
        let own = spans.into_iter().filter(|span| span["partition"] == of);
        acked.runs.push((run, own.collect()));
    }
    assert_completed(&spine, &acked);
    assert_in_log(&outside, &acked);
    for (run, _) in &acked.runs {
        let attempts = spine.steps(run).iter().filter_map(|step| step["attempt"].as_u64()).sum();
        assert_eq!(Some(STEPS as u64), Some(attempts), "{run} counts twice");
    }
    print("one leader down", started, &acked, json!({"failed": of_dead}));
}

#[test]
fn c19_every_run_goes_on_within_two_minutes_when_half_the_workers_and_a_broker_die() {
    let (Some(set), Some(stores)) = (three(), Servers::named()) else { return };
    let (begun, servers) = (Instant::now(), &set.servers);
    let outside = Outside::of(servers.clone(), servers.fresh_log(8, 3), stores.fresh_store());
    let part = |role: &str| outside.spine().with(&["--roles", role]);
    let door = part("ingest").start();
    let mut workers: Vec<Spine> = (0..4).map(|_| part("workers")).collect();
    thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| worker.restart());
        }
    });
    let fx = Fx::start(|_, _| Answer::DoneAfter(Duration::from_millis(300)));
    let plan = |run: &str| {
        let step = |at: usize| {
            let mut step = lines::step(&format!("s{at}"), &fx.tool("t"), "idempotent");
            step["timeout_ms"] = json!(2000);
            step
        };
        lines::plan(run, &lines::quick(5), (0..30).map(step).collect())
    };
    let runs: Vec<String> = (0..row::size(40, 200)).map(|at| format!("c{at}")).collect();
    let mut acked = Acked::default();
    let mut http = door.http();
    for run in &runs {
        acked.until_taken(|| http.post("/v1/runs", &plan(run)));
    }
    let called = |since: Instant| -> BTreeSet<String> {
        fx.calls().into_iter().filter(|call| call.at > since).map(|call| call.run).collect()
    };
    waits::until("work at every run", || (called(begun).len() == runs.len()).then_some(()));
    let died = Instant::now();
    workers.truncate(2);
    servers.does("kill", "kafka1");
    let is_open = |http: &mut Http, run: &String| {
        let reply = http.get(&format!("/v1/runs/{run}"));
        !reply.is_ok_and(|reply| reply.json()["status"] == "completed")
    };
    let open = runs.iter().filter(|run| is_open(&mut http, run)).cloned();
    let open: BTreeSet<String> = open.collect();
    // What ran at that moment may still arrive; progress is what was begun afterwards. Whoever had begun
    // all its steps before has nothing left to begin, and ends.
    loop {
        let called = called(died + Duration::from_secs(1));
        let mut still: Vec<String> = open.difference(&called).cloned().collect();
        still.retain(|run| is_open(&mut http, run));
        let Some(one) = still.first() else { break };
        let in_time = died.elapsed() < Duration::from_secs(120);
        assert!(in_time, "{still:?} stand still: {:?}", http.get(&format!("/v1/runs/{one}/why")));
        waits::pass(Duration::from_millis(50));
    }
    let went_on = died.elapsed();
    servers.does("start", "kafka1");
    for run in &runs {
        door.wait_run(run, &["completed"]);
    }
    let result = json!({"runs": runs.len(), "open": open.len(),
        "went_on_ms": went_on.as_millis() as u64, "refused": acked.refused});
    row::print("half the workers and a broker", begun, Value::Null, result);
}
