//! What each process has heard of pauses of tools and tenants, told by what it read of the topic of control and not
//! by what it made of that; and that no owner decides a start when it has heard of a pause, nor an agent gets an
//! attempt whose door has.

use crate::clock::SimClock;
use spine_log::{
    Appended, Bounds, Change as Assignment, EventLog, GroupMember, NewRecord, PartitionReader,
    ReadLimit, Record, Result, TopicPartition, Urgency,
};
use spine_runs::RunState;
use spine_schemas::{
    Body, Event, HeldBy, StepEvent,
    control::{Change, ControlRecord},
    time::Micros,
};
use spine_workers::Clock;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    marker::PhantomData,
    sync::{Arc, Mutex},
};

/// What each process has read of it by its own clock, and when.
type Read = BTreeMap<String, Vec<(Micros, Change)>>;

/// What processes have heard, and when by their own clocks. No two looks at a clock agree, so what was heard before a
/// decision is heard at an earlier time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Read>>);

impl Heard {
    fn note(&self, process: &str, at: Micros, records: &[Record]) {
        let changes = records.iter().filter_map(|record| {
            let key = std::str::from_utf8(record.key.as_deref()?).unwrap();
            Some(ControlRecord::parse(key, record.value.as_deref()?).unwrap()?.change)
        });
        let mut heard = self.0.lock().unwrap();
        let of_process = heard.entry(process.to_owned()).or_default();
        of_process.extend(changes.map(|change| (at, change)));
    }

    /// What pauses a call of a tool for a tenant, as a process knew it at a time.
    pub(crate) fn pause_of(
        &self,
        process: &str,
        at: Micros,
        (tenant, tool): (&str, &str),
    ) -> Option<HeldBy> {
        let (mut tenant_pause, mut tool_pause) = (None, None);
        let heard = self.0.lock().unwrap();
        let known = heard.get(process)?.iter().filter(|(when, _)| *when < at);
        for (_, change) in known {
            match change {
                Change::TenantPaused { tenant: of } | Change::TenantResumed { tenant: of }
                    if **of == *tenant =>
                {
                    tenant_pause = change.held_by();
                }
                Change::ToolPaused { tool: of } | Change::ToolResumed { tool: of }
                    if of == tool =>
                {
                    tool_pause = change.held_by();
                }
                _ => {}
            }
        }
        tenant_pause.or(tool_pause)
    }

    /// Looks at an event that was applied under the claim of a process, and that began an attempt if it is a start.
    pub(crate) fn check(&self, process: Option<&str>, event: &Event, run: Option<&RunState>) {
        let Body::Step(_, key, StepEvent::Started(start)) = &event.body else { return };
        let Some(run) = run else { return };
        let name = &run.key;
        assert!(start.held_by.is_none(), "{name} {key}: begun although its door knew of a pause");
        // Agents and reporters carry no claim.
        let Some(process) = process.filter(|_| event.claim.is_some()) else { return };
        let call = (&*event.tenant, run.steps[key].spec.tool.as_str());
        let paused = self.pause_of(process, event.occurred_at, call);
        assert!(paused.is_none(), "{name} {key}: {process} starts {call:?}, and knew: {paused:?}");
    }
}

/// A log through which a process hears.
#[derive(Clone)]
pub(crate) struct Listening<L> {
    pub(crate) log: L,
    pub(crate) clock: SimClock,
    pub(crate) process: Arc<str>,
    pub(crate) heard: Heard,
}

impl<L: EventLog> EventLog for Listening<L> {
    type Reader = Ear<L::Reader>;
    type Member = NoMember<L::Reader>;

    fn log_id(&self) -> &str {
        self.log.log_id()
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        self.log.partitions(topic).await
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        self.log.append(to, batch, urgency).await
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<Self::Reader> {
        let reader = self.log.reader(of, from).await?;
        let (clock, process) = (self.clock.clone(), self.process.clone());
        Ok(Ear { reader, clock, process, heard: self.heard.clone() })
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        self.log.bounds(of).await
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        self.log.offset_at(of, time).await
    }

    async fn join(&self, _topic: &str, _group: &str) -> Result<Self::Member> {
        unreachable!("whoever hears joins nothing")
    }
}

/// Notes what it gives, at the moment at which it gives it.
pub(crate) struct Ear<R> {
    reader: R,
    clock: SimClock,
    process: Arc<str>,
    heard: Heard,
}

impl<R: PartitionReader> PartitionReader for Ear<R> {
    async fn next(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        let records = self.reader.next(limit).await?;
        self.heard.note(&self.process, self.clock.now(), &records);
        Ok(records)
    }

    fn position(&self) -> u64 {
        self.reader.position()
    }
}

/// Nobody's place in a group.
pub(crate) struct NoMember<R>(Infallible, PhantomData<fn() -> R>);

impl<R: PartitionReader> GroupMember for NoMember<R> {
    type Reader = Ear<R>;

    async fn next(&mut self) -> Result<Assignment> {
        match self.0 {}
    }

    async fn reader(&self, _partition: u32, _from: u64) -> Result<Self::Reader> {
        match self.0 {}
    }

    async fn commit(&self, _partition: u32, _next: u64) -> Result<()> {
        match self.0 {}
    }

    async fn keep(&self, _partition: u32, _next: u64) -> Result<()> {
        match self.0 {}
    }

    async fn kept(&self, _partition: u32) -> Result<Option<u64>> {
        match self.0 {}
    }
}
