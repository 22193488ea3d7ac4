//! Single histories on the cluster's log: what holds a partition, how it is handed over, and which
//! claims an owner does not claim over.

use crate::{
    check::all_records,
    clock::SimClock,
    kafka::SimKafka,
    node::{RELEASES, RULES},
    random::Random,
    store::SimStore,
    workload::TOPIC,
};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, TopicPartition, Urgency};
use spine_runs::StepStatus;
use spine_schemas::{
    Body, Driver, Event, Output, PartitionEvent, Payload, Plan, RunCreated, RunEvent, RunKey,
    StepEvent,
    codec::{self, SchemaBook},
};
use spine_workers::{
    Clock, Config, Error, Health, Memos, NoSchemas, Node, Polls, Refresh, ResumeError,
    SchemaSource, Streams, VerdictError, VerdictHub, group, replay,
    tools::{CallEnd, ToolCall, Tools},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

const MOMENT: Duration = Duration::from_millis(100);

/// A source that has the schema from some time on.
#[derive(Debug)]
struct Later {
    from: Instant,
}

impl SchemaSource for Later {
    fn may_bring(&self) -> bool {
        true
    }

    fn refresh<'a>(&'a self, book: &'a SchemaBook) -> Refresh<'a> {
        Box::pin(async move {
            if Instant::now() >= self.from {
                book.add(&newer_schema()).map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    }
}

/// Tools that take a while, and how often they were called.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) takes: Duration,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Tools for Slow {
    async fn call(&self, _call: ToolCall) -> CallEnd {
        self.calls.fetch_add(1, Ordering::SeqCst);
        sleep(self.takes).await;
        CallEnd::Completed { output: Output::of(Payload::null()), usage: None }
    }

    fn check(&self, _tool: &str) -> Result<(), String> {
        Ok(())
    }
}

pub(crate) struct World {
    pub(crate) log: SimKafka,
    pub(crate) store: SimStore,
    pub(crate) tools: Slow,
    pub(crate) clock: SimClock,
}

pub(crate) struct Running {
    pub(crate) log: SimKafka,
    pub(crate) hub: VerdictHub,
    book: Arc<SchemaBook>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<spine_workers::Result<()>>,
}

pub(crate) fn config(name: &str) -> Config {
    Config {
        topic: TOPIC.into(),
        worker: name.into(),
        address: format!("{name}:7700"),
        installation_id: "simulated".into(),
        exclusive: false,
        restored: false,
        private_store: false,
        take_over: false,
        attempts: 8,
        attempts_per_run: 4,
        attempts_per_tenant: 6,
        attempts_per_tool: 4,
        drain: Duration::from_secs(20),
        stall_after: Duration::ZERO,
        lifecycle: None,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = SimClock::new();
        let log = SimKafka::new(1, clock.clone(), Random::new(1));
        let tools = Slow { takes: Duration::from_secs(1), calls: Arc::default() };
        Self { log, store: SimStore::new("a", Random::new(2)), tools, clock }
    }

    pub(crate) async fn start(&self, config: Config, schemas: Arc<dyn SchemaSource>) -> Running {
        let hub = VerdictHub::new(1);
        let book = Arc::new(SchemaBook::default());
        let log = self.log.of_process();
        let node = Node {
            log: log.clone(),
            store: self.store.clone(),
            tools: self.tools.clone(),
            clock: self.clock.clone(),
            hub: hub.clone(),
            book: book.clone(),
            schemas,
            health: Health::new("alone", RULES, RELEASES).0,
            memos: Memos::default(),
            polls: Polls::new(1),
            streams: Streams::new(1),
            config: Arc::new(config),
        };
        let stop = watch::Sender::new(false);
        let told = stop.subscribe();
        let task = tokio::spawn(async move { group::run(node, "spine", told).await });
        sleep(Duration::from_millis(1)).await;
        Running { log, hub, book, stop, task }
    }

    /// Starts the only process, which gets the partition.
    pub(crate) async fn start_alone(
        &self,
        config: Config,
        schemas: Arc<dyn SchemaSource>,
    ) -> Running {
        let running = self.start(config, schemas).await;
        self.log.group.rebalance();
        running
    }

    pub(crate) async fn append(&self, key: Option<&RunKey>, value: Bytes) -> u64 {
        let key = key.map(|key| Bytes::from(key.record_key()));
        let record = NewRecord::plain(key, value);
        let appended = self.log.append(&at(), vec![record], Urgency::Normal).await.unwrap();
        appended.first_offset
    }

    pub(crate) async fn append_run(&self, name: &str, plan: Option<&str>, newer: bool) -> u64 {
        let key = RunKey::new("default", name);
        let value = codec::encode(&created(&self.clock, &key, plan)).unwrap();
        self.append(Some(&key), if newer { as_newer(&value) } else { value }).await
    }

    pub(crate) async fn append_run_with(&self, name: &str, plan: &str, input: &str) -> u64 {
        let key = RunKey::new("default", name);
        let mut event = created(&self.clock, &key, Some(plan));
        if let Body::Run(_, RunEvent::Created(created)) = &mut event.body {
            created.input = Payload::json("input", input.as_bytes().to_vec()).unwrap();
        }
        self.append(Some(&key), codec::encode(&event).unwrap()).await
    }

    pub(crate) async fn events(&self) -> Vec<(u64, Event)> {
        let book = SchemaBook::default();
        let records = all_records(&self.log, &at()).await;
        let decoded = records.iter().filter_map(|record| {
            let event = codec::decode(record.value.as_deref()?, &book).ok()?;
            Some((record.offset, event))
        });
        decoded.collect()
    }

    /// What owners decided to set aside, and with which words.
    async fn set_aside(&self) -> Vec<(u64, String)> {
        let events = self.events().await.into_iter();
        let decided = events.filter_map(|(_, event)| match event.body {
            Body::Partition(PartitionEvent::RecordDeadLettered { offset, message, .. }) => {
                Some((offset, message))
            }
            Body::Partition(_) | Body::Run(..) | Body::Step(..) => None,
        });
        decided.collect()
    }

    fn has(&self, name: &str) -> bool {
        self.store.rows().runs.contains_key(&RunKey::new("default", name))
    }
}

pub(crate) fn at() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

pub(crate) fn created(clock: &SimClock, key: &RunKey, plan: Option<&str>) -> Event {
    let plan = plan.map(|text| Arc::new(Plan::parse(text.as_bytes().to_vec()).unwrap()));
    let driver = if plan.is_some() { Driver::Plan } else { Driver::Record };
    let body = RunEvent::Created(Box::new(RunCreated {
        workflow: "held".into(),
        version: "1".into(),
        driver,
        input: Payload::null(),
        tags: BTreeMap::new(),
        parent: None,
        plan,
        fork: None,
        caller: None,
    }));
    Event::new(
        format!("created-{}", key.run_id),
        key.tenant.clone(),
        clock.now(),
        "client",
        Body::Run(key.run_id.clone(), body),
    )
}

/// The event schema of a later version: one nullable field more.
fn newer_schema() -> String {
    let mut schema: serde_json::Value = serde_json::from_str(codec::step_event_schema()).unwrap();
    let field = serde_json::json!({"name": "later", "type": ["null", "string"], "default": null});
    schema["fields"].as_array_mut().unwrap().push(field);
    schema.to_string()
}

/// The same event as that version writes it.
fn as_newer(value: &[u8]) -> Bytes {
    let fingerprint = codec::fingerprint_of(&newer_schema()).unwrap();
    let datum = &value[codec::HEADER_BYTES..];
    [&codec::MARKER[..], &fingerprint.to_le_bytes(), datum, &[0]].concat().into()
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_for_its_schema_and_folds_at_its_place() {
    let world = World::new();
    let first = world.append_run("newer", None, true).await;
    let second = world.append_run("plain", None, false).await;
    let from = Instant::now() + Duration::from_secs(5);
    let running = world.start_alone(config("n1"), Arc::new(Later { from })).await;
    sleep(Duration::from_secs(4)).await;
    let waits = running.hub.wait(0, second, MOMENT).await;
    assert_eq!(waits, Err(VerdictError::TimedOut), "the whole partition waits");
    sleep(Duration::from_secs(4)).await;
    running.hub.wait(0, first, MOMENT).await.unwrap();
    assert_eq!(running.hub.ready(), Ok(()));
    assert!(world.has("newer") && world.has("plain"));
    assert!(world.store.rows().letters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_does_not_come_is_waited_for_once_and_what_was_set_aside_stays_so() {
    let world = World::new();
    world.append_run("newer", None, true).await;
    let second = world.append_run("also", None, true).await;
    world.append_run("plain", None, false).await;
    let from = Instant::now() + Duration::from_secs(40);
    let running = world.start_alone(config("n1"), Arc::new(Later { from })).await;
    sleep(Duration::from_secs(29)).await;
    assert_eq!(running.hub.wait(0, second, MOMENT).await, Err(VerdictError::TimedOut));
    sleep(Duration::from_secs(2)).await;
    assert!(world.has("plain") && !world.has("newer") && !world.has("also"));
    assert_eq!(world.store.rows().letters.len(), 2);
    sleep(Duration::from_secs(10)).await;
    // Met once more, the fingerprint asks for the schema at once; from then on it is known.
    world.append_run("third", None, true).await;
    sleep(Duration::from_secs(1)).await;
    world.append_run("fourth", None, true).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!world.has("third") && world.has("fourth"));
    running.stop.send_replace(true);
    running.task.await.unwrap().unwrap();
    let fresh = SimStore::new("replayed", Random::new(1));
    let end = world.log.bounds(&at()).await.unwrap().end;
    replay::replay(&world.log, &fresh, &at(), end, &running.book, |_| {}).await.unwrap();
    assert_eq!(fresh.rows(), world.store.rows(), "a replay that knows the schema folds the same");
}

/// A value that names a schema which nobody has.
fn of_nobody(number: u64) -> Bytes {
    [&codec::MARKER[..], &(0xabcd_0000 + number).to_le_bytes(), &[0]].concat().into()
}

#[tokio::test(start_paused = true)]
async fn schemas_that_do_not_come_are_waited_for_together_and_in_the_end_not_at_all() {
    let world = World::new();
    for number in 0..3 {
        world.append(None, of_nobody(number)).await;
    }
    let third = world.append_run("first", None, false).await;
    let from = Instant::now() + Duration::from_secs(3600);
    let running = world.start_alone(config("n1"), Arc::new(Later { from })).await;
    running.hub.wait(0, third, Duration::from_secs(35)).await.unwrap();
    for number in 3..10 {
        world.append(None, of_nobody(number)).await;
        sleep(Duration::from_secs(31)).await;
    }
    world.append(None, of_nobody(10)).await;
    let last = world.append_run("last", None, false).await;
    running.hub.wait(0, last, Duration::from_secs(1)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.store.rows().letters.len(), 11);
    // Such a time passes.
    sleep(Duration::from_secs(600)).await;
    world.append(None, of_nobody(11)).await;
    let held = world.append_run("held", None, false).await;
    let waited = running.hub.wait(0, held, Duration::from_secs(20)).await;
    assert_eq!(waited, Err(VerdictError::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_waits_for_a_schema_stops_at_once() {
    let world = World::new();
    world.append_run("newer", None, true).await;
    let from = Instant::now() + Duration::from_secs(3600);
    let running = world.start_alone(config("n1"), Arc::new(Later { from })).await;
    sleep(Duration::from_secs(3)).await;
    running.stop.send_replace(true);
    tokio::time::timeout(MOMENT, running.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_schema_without_a_source_is_set_aside_at_once() {
    let world = World::new();
    world.append_run("newer", None, true).await;
    let second = world.append_run("plain", None, false).await;
    let running = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    running.hub.wait(0, second, Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_records_stops_the_partition_until_somebody_resumes_it() {
    let world = World::new();
    let mut offsets = Vec::new();
    for _ in 0..1003 {
        offsets.push(world.append(None, Bytes::from_static(b"not an event")).await);
    }
    let last = world.append_run("plain", None, false).await;
    let running = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    sleep(Duration::from_secs(60)).await;
    let why = running.hub.ready().unwrap_err();
    let stopped =
        format!("partition 0: stopped at offset {} after 1000 bad records", offsets[1000]);
    assert!(why.starts_with(&stopped), "{why}");
    assert_eq!(world.set_aside().await.len(), 1000);
    assert_eq!(running.hub.wait(0, last, MOMENT).await, Err(VerdictError::TimedOut));
    assert_eq!(running.hub.resume(0, "ops", "a bad producer"), Ok(offsets[1000]));
    assert_eq!(running.hub.resume(0, "ops", "again"), Err(ResumeError::NotStopped));
    running.hub.wait(0, last, Duration::from_secs(5)).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.hub.ready(), Ok(()));
    assert_eq!(world.store.rows().letters.len(), 1003);
    let mut told = world.set_aside().await;
    told.retain(|(_, message)| message.contains("resumed by ops: a bad producer"));
    assert_eq!(told.len(), 1, "the log says once who resumed");
    assert_eq!(told[0].0, offsets[1000]);
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_begins_only_when_the_one_before_has_ended() {
    let world = World::new();
    let first = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    first.hub.wait_ready().await;
    let plan = r#"{"steps":[{"name":"s","tool":"http://tool","effect":"at_most_once"},
        {"name":"t","tool":"http://tool","effect":"at_most_once"}]}"#;
    world.append_run("moved", Some(plan), false).await;
    sleep(Duration::from_millis(300)).await;
    let second = world.start(config("n2"), Arc::new(NoSchemas)).await;
    world.log.group.hand_over_to(0, 2, Duration::from_secs(30)).await;
    second.hub.wait_ready().await;
    assert_eq!(first.hub.ready(), Ok(()), "a process without partitions is not in the way");
    let late = first.hub.wait(0, 10_000, Duration::from_secs(60)).await;
    assert_eq!(late, Err(VerdictError::NotOwner));
    sleep(Duration::from_secs(3)).await;
    let events = world.events().await;
    let at = |which: &dyn Fn(&Event) -> bool| {
        events.iter().find(|(_, event)| which(event)).map(|(offset, _)| *offset)
    };
    let outcome = at(&|event| {
        matches!(&event.body, Body::Step(_, _, StepEvent::Completed { attempt: 1, .. }))
    });
    let claim = at(
        &|event| matches!(&event.body, Body::Partition(PartitionEvent::OwnerClaimed(c)) if c.worker == "n2"),
    );
    assert!(outcome.is_some() && outcome < claim, "{outcome:?} {claim:?}");
    let rows = world.store.rows();
    let run = &rows.runs[&RunKey::new("default", "moved")];
    assert!(run.steps.values().all(|step| step.status == StepStatus::Completed));
    assert_eq!(second.hub.claim_of(0), claim.map(|offset| (offset, "n2:7700".into())));
}

#[tokio::test(start_paused = true)]
async fn a_store_of_one_process_does_not_claim_over_another_store() {
    let mut world = World::new();
    let first = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    first.hub.wait_ready().await;
    first.stop.send_replace(true);
    first.task.await.unwrap().unwrap();
    world.log.group.forget(1);
    let private = Config { private_store: true, ..config("n2") };
    let same = world.start_alone(private.clone(), Arc::new(NoSchemas)).await;
    same.hub.wait_ready().await;
    same.stop.send_replace(true);
    same.task.await.unwrap().unwrap();
    world.log.group.forget(2);
    world.store = SimStore::new("b", Random::new(3));
    let other = world.start_alone(private.clone(), Arc::new(NoSchemas)).await;
    let refused = other.task.await.unwrap().unwrap_err();
    let Error::OtherStore { store_id, worker, own, .. } = &refused else { panic!("{refused}") };
    assert_eq!((store_id.as_str(), worker.as_str(), own.as_str()), ("a", "n2", "b"));
    world.log.group.forget(3);
    let taking = Config { take_over: true, ..private };
    let taking = world.start_alone(taking, Arc::new(NoSchemas)).await;
    taking.hub.wait_ready().await;
}

#[tokio::test(start_paused = true)]
async fn another_number_of_partitions_is_refused() {
    let mut world = World::new();
    let first = world.start_alone(config("n1"), Arc::new(NoSchemas)).await;
    first.hub.wait_ready().await;
    first.stop.send_replace(true);
    first.task.await.unwrap().unwrap();
    world.log.group.forget(1);
    world.log = world.log.grown_to(2);
    let refused = world.start_alone(config("n2"), Arc::new(NoSchemas)).await.task.await;
    assert_eq!(refused.unwrap(), Err(Error::PartitionsChanged { from: 1, to: 2 }));
}
