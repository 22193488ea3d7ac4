//! An outage: a tool that many runs use is down for minutes, comes back half well, and is well in the end.
//! Nothing may be spent, lost or done twice, and the tool must not be stormed when it is back.
//!
//! Several processes tell each other of it. One of them is killed while the tool is down, and another begins.

use crate::{
    check,
    clock::SimClock,
    kafka::SimKafka,
    node::{Process, RELEASES, Start},
    paused_runtime,
    pauses::Heard,
    random::Random,
    store::SimStore,
};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, TopicPartition, Urgency};
use spine_runs::{
    RunStatus,
    breaker::{RECOVERED, Rules},
};
use spine_schemas::{
    Body, Driver, ErrorClass, Event, Output, Payload, Plan, RunCreated, RunEvent, RunKey,
    StepError, StepKey, codec, keys,
};
use spine_workers::{
    Clock,
    tools::{CallEnd, ToolCall, Tools},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// How long a world is waited for, whatever happens.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

/// Between two new runs of a process, at most.
const SUBMIT_EVERY: Duration = Duration::from_millis(200);

/// A step that may be tried fewer times than it takes to open the breaker can use them up before.
fn plan(story: Story) -> Plan {
    let retry = match story.pace {
        Pace::Brisk => "",
        Pace::Slow => r#","retry":{"max_attempts":6}"#,
    };
    let steps = format!(
        r#"{{"name":"note","tool":"http://tool/fine","effect":"pure"}},
        {{"name":"pay","tool":"http://tool/weak","effect":"idempotent"{retry}}},
        {{"name":"tell","tool":"http://tool/fine","effect":"at_most_once"}}"#
    );
    Plan::parse(format!(r#"{{"steps":[{steps}]}}"#)).unwrap()
}

/// How fast runs come.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// So that each process calls the tool often enough to find out before a step of the default policy has used up
    /// its attempts.
    Brisk,
    /// So that one step may find it out for all. It may be tried more often.
    Slow,
}

/// What happens when, counted from the beginning.
#[derive(Clone, Copy, Debug)]
struct Story {
    runs: u64,
    /// Processes, and partitions.
    nodes: u32,
    pace: Pace,
    down_from: Duration,
    half_from: Duration,
    well_from: Duration,
    rules: Rules,
    /// Runs that go on in a second, once nothing holds them back.
    releases: u32,
    /// Whether nothing can be appended for a while, once some of them have gone on.
    stops: bool,
}

/// A weak tool beside a fine one.
#[derive(Clone, Debug)]
struct Weak {
    story: Story,
    origin: Instant,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    while_down: u32,
    while_half: u32,
    /// Since the tool is well again: calls that began, and that ended.
    begun: u32,
    done: u32,
    /// The most by which calls that began were ahead of twice those that had ended.
    most_ahead: i64,
    /// When those calls began that nothing held back any more.
    freely: Vec<Duration>,
    effects: BTreeMap<(RunKey, StepKey), u32>,
}

impl Weak {
    /// Whether a call that begins now fails.
    fn begin(&self) -> bool {
        let (at, story) = (self.origin.elapsed(), self.story);
        let mut seen = self.seen.lock().unwrap();
        if at < story.down_from {
            return false;
        }
        if at < story.half_from {
            seen.while_down += 1;
            return true;
        }
        if at < story.well_from {
            seen.while_half += 1;
            return seen.while_half.is_multiple_of(2);
        }
        seen.begun += 1;
        if seen.done < RECOVERED {
            let ahead = i64::from(seen.begun) - 2 * i64::from(seen.done);
            seen.most_ahead = seen.most_ahead.max(ahead);
        } else {
            seen.freely.push(at);
        }
        false
    }
}

impl Tools for Weak {
    async fn call(&self, call: ToolCall) -> CallEnd {
        let is_weak = call.tool.ends_with("weak");
        let fails = is_weak && self.begin();
        sleep(Duration::from_millis(5)).await;
        if fails {
            let error = StepError::new(ErrorClass::Transient, "http_503", "down");
            return CallEnd::Failed(error);
        }
        let mut seen = self.seen.lock().unwrap();
        if is_weak && self.origin.elapsed() >= self.story.well_from {
            seen.done += 1;
        }
        *seen.effects.entry((call.run, call.step)).or_default() += 1;
        CallEnd::Completed { output: Output::of(Payload::null()), usage: None }
    }

    fn check(&self, _tool: &str) -> Result<(), String> {
        Ok(())
    }
}

fn created(key: &RunKey, clock: &SimClock, story: Story) -> Event {
    let plan = Some(Arc::new(plan(story)));
    let created = RunCreated {
        workflow: "outage".into(),
        version: "1".into(),
        driver: Driver::Plan,
        input: Payload::null(),
        tags: BTreeMap::new(),
        parent: None,
        plan,
        fork: None,
        caller: None,
    };
    Event::new(
        format!("create {key}"),
        key.tenant.clone(),
        clock.now(),
        "client",
        Body::Run(key.run_id.clone(), RunEvent::Created(Box::new(created))),
    )
}

/// Begins the runs one by one, until half the outage is over at the latest.
async fn submit(log: SimKafka, clock: SimClock, story: Story) {
    let slowest = (story.down_from + story.half_from) / 2 / u32::try_from(story.runs).unwrap();
    let pause = match story.pace {
        Pace::Brisk => slowest.min(SUBMIT_EVERY / story.nodes),
        Pace::Slow => slowest,
    };
    for number in 0..story.runs {
        let key = RunKey::new("default", &format!("run-{number}"));
        let value = codec::encode(&created(&key, &clock, story)).unwrap();
        let record_key = key.record_key();
        let partition = keys::partition_of(&record_key, story.nodes);
        let record = NewRecord::plain(Some(Bytes::from(record_key)), value);
        let at = TopicPartition::new(crate::workload::TOPIC, partition);
        log.append(&at, vec![record], Urgency::Normal).await.unwrap();
        sleep(pause).await;
    }
}

/// The processes of a story.
struct Crew<'a> {
    story: Story,
    log: &'a SimKafka,
    store: &'a SimStore,
    tools: &'a Weak,
    clock: &'a SimClock,
    nodes: Vec<(u64, Process)>,
    begun: u32,
}

impl Crew<'_> {
    async fn begin(&mut self) {
        self.begun += 1;
        let before = self.log.group.newest_member();
        let node = Process::start(Start {
            log: self.log.of_process(),
            store: self.store,
            tools: self.tools,
            clock: self.clock.clone(),
            name: format!("n{}", self.begun),
            partitions: self.story.nodes,
            exclusive: false,
            rules: self.story.rules,
            releases: self.story.releases,
            heard: Heard::default(),
        });
        // It joins when it has read what is said of tools.
        let member = loop {
            sleep(Duration::from_millis(1)).await;
            let newest = self.log.group.newest_member();
            if let Some(member) = newest.filter(|_| newest != before) {
                break member;
            }
        };
        self.nodes.push((member, node));
        self.log.group.rebalance();
    }

    /// Kills one, and another begins.
    async fn replace_one(&mut self) {
        let (member, node) = self.nodes.remove(0);
        node.kill().await;
        self.store.forget_held();
        self.log.group.forget(member);
        self.log.group.rebalance();
        self.begin().await;
    }
}

async fn live_through(story: Story, seed: u64) -> (spine_schemas::Digest, u64) {
    let random = Random::new(seed ^ 0x6f75_7461);
    let clock = SimClock::new();
    let log = SimKafka::new(story.nodes, clock.clone(), random.fork());
    let store = SimStore::new("live", random.fork());
    let tools = Weak { story, origin: Instant::now(), seen: Arc::default() };
    let (nodes, log, store, tools, clock) = (Vec::new(), &log, &store, &tools, &clock);
    let mut crew = Crew { story, log, store, tools, clock, nodes, begun: 0 };
    for _ in 0..story.nodes {
        crew.begin().await;
    }
    submit(log.clone(), clock.clone(), story).await;
    if story.nodes > 1 {
        sleep_until(tools.origin + (story.down_from + 3 * story.half_from) / 4).await;
        crew.replace_one().await;
    }
    let stopped = if story.stops { Some(stop_appends(log, tools).await) } else { None };
    let ended = || {
        let rows = store.rows();
        rows.runs.len() as u64 == story.runs && rows.runs.values().all(|run| !run.is_open())
    };
    while !ended() && tools.origin.elapsed() < PATIENCE {
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(1)).await;
    for (_, node) in crew.nodes {
        node.stop().await;
    }
    check_story(tools, store);
    if let Some(begun_before) = stopped {
        check_pace(tools, begun_before);
    }
    let reading = check::read_log(log, story.nodes, &Heard::default()).await;
    reading.check_store(log, story.nodes, store).await;
    (reading.history.unwrap(), reading.events)
}

/// Lets no process append for a while, when some of those that were held back have gone on. Gives how many
/// had by the end.
async fn stop_appends(log: &SimKafka, tools: &Weak) -> usize {
    let gone_on = || tools.seen.lock().unwrap().freely.len();
    while gone_on() < tools.story.runs as usize / 4 {
        assert!(tools.origin.elapsed() < PATIENCE, "only {} have gone on", gone_on());
        sleep(Duration::from_millis(1)).await;
    }
    log.set_busy(true);
    sleep(seconds(20)).await;
    log.set_busy(false);
    gone_on()
}

/// Those that go on after the others do so no faster, however many there are.
fn check_pace(tools: &Weak, others: usize) {
    let (story, begun) = (tools.story, &tools.seen.lock().unwrap().freely[others..]);
    let within = |at: usize| begun[at..].partition_point(|later| *later < begun[at] + seconds(1));
    let fastest = (0..begun.len()).map(within).max().unwrap_or(0);
    // Clocks may be fast, and calls begin later than their runs are let go.
    let most = (story.nodes * story.releases * 3 / 2) as usize;
    assert!(begun.len() > story.runs as usize / 2, "{} were left to go on", begun.len());
    assert!(fastest <= most, "{fastest} of {most} runs went on within a second");
}

fn check_story(tools: &Weak, store: &SimStore) {
    let (story, rows, seen) = (tools.story, store.rows(), tools.seen.lock().unwrap());
    for run in rows.runs.values() {
        let why = spine_runs::why(run).sentence;
        assert_eq!(run.status, RunStatus::Completed, "{}: {why}", run.key);
    }
    assert!(rows.letters.is_empty(), "an outage made dead letters");
    let steps = rows.runs.values().flat_map(|run| run.steps.values());
    let charged: u32 = steps.map(|step| step.charged).sum();
    let most = story.rules.failures * story.nodes;
    assert!(charged <= most, "{charged} attempts were charged, {most} open the breakers");
    assert!(seen.effects.values().all(|count| *count == 1), "something was done twice");
    assert_eq!(seen.effects.len() as u64, 3 * story.runs, "something was not done");
    let down = story.half_from.checked_sub(story.down_from).unwrap();
    // What ran when it opened for each, and a probe each time that it had been open for a while: one of them all.
    let probes = 8 + (down.as_millis() as u64 / story.rules.most_open_ms) as u32;
    let most = 2 * story.rules.failures * story.nodes + probes + 8;
    assert!(seen.while_down <= most, "{} of {most} calls of a dead tool", seen.while_down);
    let most = 50 + 50 * story.nodes;
    assert!(seen.while_half <= most, "{} of {most} calls of a sick tool", seen.while_half);
    let most = 4 + 2 * i64::from(story.nodes);
    assert!(seen.most_ahead <= most, "{} of {most} calls too many at once", seen.most_ahead);
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A short outage, by a seed.
pub(crate) async fn live(seed: u64) -> (spine_schemas::Digest, u64) {
    let random = Random::new(seed);
    let down_from = seconds(1 + random.below(5));
    let half_from = down_from + seconds(20 + random.below(60));
    let well_from = half_from + seconds(30);
    let rules = Rules { failures: 5, percent: 50, open_ms: 500, most_open_ms: 4000 };
    let runs = 80 + random.below(60);
    let nodes = 1 + random.below(3) as u32;
    let pace = Pace::Brisk;
    let releases = RELEASES;
    let story =
        Story { runs, nodes, pace, down_from, half_from, well_from, rules, releases, stops: false };
    live_through(story, seed).await
}

fn run(story: Story) {
    let (_, events) = paused_runtime().block_on(live_through(story, 1));
    println!("{} runs on {} nodes: {events} events", story.runs, story.nodes);
}

const TWENTY_MINUTES: Story = Story {
    runs: 1000,
    nodes: 1,
    pace: Pace::Brisk,
    down_from: Duration::from_secs(10),
    half_from: Duration::from_secs(1210),
    well_from: Duration::from_secs(1270),
    rules: Rules { failures: 5, percent: 50, open_ms: 5000, most_open_ms: 60_000 },
    releases: RELEASES,
    stops: false,
};

#[test]
fn l28_an_outage_of_twenty_minutes_costs_what_opens_a_breaker_and_ends_in_waves() {
    run(TWENTY_MINUTES);
}

#[test]
fn l28_processes_that_tell_each_other_charge_no_more_than_what_opens_the_breaker_of_each() {
    run(Story { nodes: 3, ..TWENTY_MINUTES });
}

#[test]
fn c3_a_step_with_more_attempts_than_open_a_breaker_survives_an_outage_that_it_meets_alone() {
    run(Story { nodes: 3, pace: Pace::Slow, runs: 200, ..TWENTY_MINUTES });
}

#[test]
fn l36_runs_that_were_held_back_keep_their_pace_when_nothing_could_be_appended_for_a_while() {
    run(Story { releases: 20, stops: true, ..TWENTY_MINUTES });
}

#[test]
fn short_outages_are_lived_through_by_any_seed() {
    let seeds = crate::setting("SPINE_SIM_SEEDS").map_or(20, |seeds| seeds / 100);
    for seed in 0..seeds {
        println!("seed {seed}");
        paused_runtime().block_on(live(seed));
    }
}
