//! Watches over the partitions: where no owner lives, nobody else would say that nothing happens.
//!
//! Every process with a way in looks now and then how far the log is, and how far the store. A partition is
//! *unattended* when something is owed there, a record that the store lacks or a run whose time has come, and the
//! store has stood still for too long. Why it does is not asked: there may be no worker, or one that cannot go on.
//! An alarm is a metric, a line in the log, a word in `/readyz`, and a transition for those who are told of such.

mod owed;
mod standing;

use crate::{App, Verdicts, limits, metrics};
use futures::{StreamExt, stream};
use owed::Owed;
use serde::Serialize;
use spine_log::{EventLog, NewRecord, TopicPartition, Urgency};
use spine_schemas::{LifecyclePosition, LifecycleRecord, Transition, time::Micros};
use spine_store::RunStore;
use standing::{Finding, Look, Standing};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// The partitions that are unattended now.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<BTreeMap<u32, Alarm>>);

/// One of them, as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Alarm {
    partition: u32,
    since: String,
    reason: String,
}

impl Alarms {
    /// All, in the order of the partitions.
    pub(crate) fn list(&self) -> Vec<Alarm> {
        self.all().values().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches for as long as it is polled; not at all where the settings name no time.
pub async fn watch<L: EventLog, S: RunStore, V: Verdicts>(app: App<L, S, V>) -> Infallible {
    let after = app.settings().stall_after;
    if after.is_zero() {
        return std::future::pending().await;
    }
    let pause = after / limits::WATCH_PARTS;
    let mut ticks = interval(pause.clamp(limits::WATCH_LEAST, limits::WATCH_MOST));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut partitions: Vec<Watched> = Vec::new();
    loop {
        ticks.tick().await;
        // Without an answer the next look asks again.
        let Ok(count) = app.partitions().await else { continue };
        partitions.resize_with(count as usize, Watched::default);
        let asked = app.clone();
        let looks = stream::iter(0..count).map(move |partition| look(asked.clone(), partition));
        let looks: Vec<Look> = looks.buffered(limits::WATCHED_AT_ONCE).collect().await;
        for ((partition, watched), look) in (0..).zip(&mut partitions).zip(looks) {
            watched.see(&app, partition, look).await;
        }
    }
}

async fn look<L: EventLog, S: RunStore, V: Verdicts>(app: App<L, S, V>, partition: u32) -> Look {
    // The end first: what is stored meanwhile is nothing that waits.
    let bounds = app.log().bounds(&app.events_of(partition)).await;
    let progress = app.store().progress(partition).await;
    Look {
        end: bounds.ok().map(|bounds| bounds.end),
        next: progress.ok().map(|progress| progress.map_or(0, |progress| progress.offset + 1)),
    }
}

/// A partition, and what is still to be told of it.
#[derive(Debug, Default)]
struct Watched {
    standing: Standing,
    untold: Option<NewRecord>,
}

impl Watched {
    async fn see<L: EventLog, S: RunStore, V: Verdicts>(
        &mut self,
        app: &App<L, S, V>,
        partition: u32,
        look: Look,
    ) {
        let (now, after) = (app.now(), app.settings().stall_after);
        match self.standing.see(look, ms(after), now) {
            Finding::Nothing => {}
            Finding::Behind { from, end, since } => {
                match owed::record(app, partition, from..end).await {
                    Ok(Some(owed)) => self.begin(app, partition, since, owed),
                    Ok(None) => self.standing.none_below(end),
                    // The next look asks again.
                    Err(error) if error.is_retryable() => {}
                    Err(error) => {
                        self.begin(app, partition, since, Owed::unreadable(from, since, &error));
                    }
                }
            }
            Finding::Quiet { next, since } => {
                let by = Micros(now.0.saturating_sub(after.as_micros() as i64));
                if let Some(owed) = owed::run(app, partition, (next, since), by).await {
                    self.begin(app, partition, since, owed);
                }
            }
            Finding::Over { since } => self.over(app, partition, since),
        }
        metrics::observe_unattended(partition, self.standing.is_alarmed());
        self.tell(app, partition).await;
    }

    fn begin<L: EventLog, S: RunStore, V: Verdicts>(
        &mut self,
        app: &App<L, S, V>,
        partition: u32,
        since: Micros,
        owed: Owed,
    ) {
        self.standing.alarm(since);
        let after_s = app.settings().stall_after.as_secs();
        let reason = format!(
            "{}, and nothing has moved the partition for {after_s} s: is there a process with the role workers?",
            owed.what
        );
        tracing::warn!(partition, %since, reason, "a partition is unattended");
        let is_told = app.settings().lifecycle_topic.is_some();
        self.untold = is_told.then(|| record(app, partition, &owed, reason.clone()));
        let alarm = Alarm { partition, since: since.to_string(), reason };
        app.alarms.all().insert(partition, alarm);
    }

    fn over<L: EventLog, S: RunStore, V: Verdicts>(
        &mut self,
        app: &App<L, S, V>,
        partition: u32,
        since: Micros,
    ) {
        tracing::info!(partition, %since, "a partition is attended to again");
        self.untold = None;
        app.alarms.all().remove(&partition);
    }

    /// Appends what is to be told. What the log does not take now it is given again with the next look.
    async fn tell<L: EventLog, S: RunStore, V: Verdicts>(
        &mut self,
        app: &App<L, S, V>,
        partition: u32,
    ) {
        let Some(topic) = &app.settings().lifecycle_topic else { return };
        let Some(record) = self.untold.clone() else { return };
        let to = TopicPartition::new(topic.clone(), partition);
        match app.log().append(&to, vec![record], Urgency::Outcome).await {
            Ok(_) => self.untold = None,
            Err(error) => tracing::warn!(partition, %error, "the alarm cannot be told now"),
        }
    }
}

/// The transition of an alarm. It follows from what is owed, so that all who find it tell the same bytes.
fn record<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    owed: &Owed,
    reason: String,
) -> NewRecord {
    let (store, offset) = (app.store().store_id(), owed.offset);
    let event_id = format!("unattended-{store}-{partition}-{offset}");
    let kind = Transition::PartitionUnattended;
    let topic = app.settings().topic.to_string();
    let position = LifecyclePosition { topic, partition, offset };
    let told = LifecycleRecord::new(event_id, (kind, kind.as_str()), owed.at, position);
    let record = LifecycleRecord { reason: Some(reason), ..told };
    NewRecord::plain(None, record.to_json())
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
