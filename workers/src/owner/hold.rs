//! What holds a partition at a record: a schema that is not known yet, or too many bad records.
//!
//! The whole partition waits, not only the record's key. If others were folded on, the place where the
//! held record folds would depend on how long this owner waited and not on the log alone; claims that
//! come meanwhile would judge it, and another owner or a replay would come to another state.
//!
//! While it is held, nothing is read back. So nothing new is decided: a start would be old before it
//! could be acted on, and a lease would be judged without the heartbeats that lie behind. Timers wait;
//! calls that run may end, and what they did is appended, since that must not be lost.

use super::Owner;
use crate::{
    Clock, Result,
    flood::Flood,
    limits, metrics,
    owner::Read,
    tools::Tools,
    verdicts::{Phase, Resumed},
};
use spine_log::{EventLog, Record};
use spine_schemas::{RecordClass, codec};
use spine_store::RunStore;
use std::collections::VecDeque;
use tokio::{task::JoinSet, time::Instant};

/// Whether the partition is held, and what that rests on.
#[derive(Debug, Default)]
pub(super) struct Holding {
    hold: Option<Hold>,
    flood: Flood,
    /// Goes into the next decision to set a record aside.
    resumed: Option<Resumed>,
    /// Unknown fingerprints that were met, and until when each is waited for.
    awaited: VecDeque<(u64, Instant)>,
    /// When schemas were last waited for in vain.
    in_vain: VecDeque<Instant>,
    refreshed_at: Option<Instant>,
    pub(super) refreshing: JoinSet<std::result::Result<(), String>>,
}

#[derive(Clone, Copy, Debug)]
enum Hold {
    /// The record names a schema that may still come.
    Schema { fingerprint: u64, until: Instant },
    /// The record is one bad one too many.
    Flood,
}

impl Holding {
    pub(super) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    pub(super) fn is_flooded(&self) -> bool {
        matches!(self.hold, Some(Hold::Flood))
    }

    /// When the hold must be looked at again, if nothing else wakes the loop.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let Some(Hold::Schema { until, .. }) = self.hold else { return None };
        let next = self.refreshed_at.map_or(until, |at| at + limits::SCHEMA_REFRESH);
        Some(if self.refreshing.is_empty() { until.min(next) } else { until })
    }

    /// Until when a schema is waited for: once for each fingerprint.
    fn await_until(&mut self, fingerprint: u64) -> Instant {
        if let Some((_, until)) = self.awaited.iter().find(|(known, _)| *known == fingerprint) {
            return *until;
        }
        if self.awaited.len() >= limits::SCHEMAS_AWAITED {
            self.awaited.pop_front();
        }
        let until = Instant::now() + limits::SCHEMA_WAIT;
        self.awaited.push_back((fingerprint, until));
        until
    }

    /// A wait is over without the schema.
    fn note_in_vain(&mut self) {
        self.in_vain.push_back(Instant::now());
        if self.in_vain.len() > limits::SCHEMA_WAITS_IN_VAIN {
            self.in_vain.pop_front();
        }
    }

    /// Whether so many schemas did not come lately that none is waited for: somebody writes records
    /// that only look as if they named one.
    fn waits_no_more(&self) -> bool {
        let lately = |at: &Instant| at.elapsed() < limits::SCHEMA_VAIN_WINDOW;
        self.in_vain.len() == limits::SCHEMA_WAITS_IN_VAIN && self.in_vain.iter().all(lately)
    }

    fn refresh_is_due(&self) -> bool {
        let due = self.refreshed_at.is_none_or(|at| at.elapsed() >= limits::SCHEMA_REFRESH);
        due && self.refreshing.is_empty()
    }

    /// The message of the next record that is set aside, with the words of whoever resumed.
    pub(super) fn with_resumed(&mut self, mut message: String) -> String {
        if let Some(Resumed { actor, reason }) = self.resumed.take() {
            let mut words = format!("; resumed by {actor}: {reason}");
            words.truncate(words.floor_char_boundary(limits::RESUME_BYTES));
            let room = spine_schemas::limits::MESSAGE_BYTES - words.len();
            message.truncate(message.floor_char_boundary(room));
            message.push_str(&words);
        }
        message
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Whether a record that was just read must wait, and with it the partition.
    pub(super) fn must_wait(&mut self, record: &Record, read: &Read) -> bool {
        let (class, message) = match read {
            Read::Event(_)
            | Read::Bad(RecordClass::WrongPartition | RecordClass::IllegalEvent, _) => {
                self.holding.flood.note(false);
                return false;
            }
            // It was counted by whoever decided it.
            Read::Aside => return false,
            Read::Bad(class, message) => (*class, message),
        };
        if class == RecordClass::SchemaUnknown && self.waits_for_schema(record) {
            return true;
        }
        if let Some(bad) = self.holding.flood.is_full() {
            self.stop_at(record.offset, bad, message);
            return true;
        }
        self.holding.flood.note(true);
        false
    }

    fn waits_for_schema(&mut self, record: &Record) -> bool {
        let fingerprint = record.value.as_deref().and_then(|v| codec::framed_fingerprint(v).ok());
        let Some(fingerprint) = fingerprint.filter(|_| self.node.schemas.may_bring()) else {
            return false;
        };
        // Records behind this one profit from a schema that comes late, too.
        self.refresh_if_due();
        if self.holding.waits_no_more() {
            return false;
        }
        let until = self.holding.await_until(fingerprint);
        let waits = Instant::now() < until;
        if waits {
            self.await_those_behind();
            let (partition, offset) = (self.tp.partition, record.offset);
            tracing::warn!(partition, offset, "waiting for schema {fingerprint:016x}");
            self.holding.hold = Some(Hold::Schema { fingerprint, until });
        }
        waits
    }

    /// The time of those behind runs, too, so that several schemas do not hold it one after another.
    fn await_those_behind(&mut self) {
        for record in &self.unread {
            let value = record.value.as_deref();
            let fingerprint = value.and_then(|value| codec::framed_fingerprint(value).ok());
            if let Some(unknown) = fingerprint.filter(|known| !self.node.book.knows(*known)) {
                self.holding.await_until(unknown);
            }
        }
    }

    fn refresh_if_due(&mut self) {
        if self.holding.refresh_is_due() {
            self.holding.refreshed_at = Some(Instant::now());
            let (schemas, book) = (self.node.schemas.clone(), self.node.book.clone());
            self.holding.refreshing.spawn(async move { schemas.refresh(&book).await });
        }
    }

    pub(super) fn refreshed(&self, result: std::result::Result<(), String>) {
        if let Err(error) = result {
            tracing::warn!(partition = self.tp.partition, error, "schemas could not be refreshed");
        }
    }

    /// Folds on when the schema has come, or when the time to wait for it is over.
    pub(super) async fn go_on_with_schema(&mut self) -> Result<()> {
        while let Some(Hold::Schema { fingerprint, until }) = self.holding.hold {
            let has_come = self.node.book.knows(fingerprint);
            if !has_come && Instant::now() < until {
                self.refresh_if_due();
                return Ok(());
            }
            if has_come {
                // Meanwhile another owner may have decided to set the record aside.
                let end = self.node.log.bounds(&self.tp).await?.end;
                self.scan_to(end).await?;
            } else {
                self.holding.note_in_vain();
            }
            self.holding.hold = None;
            self.fold_unread().await?;
        }
        Ok(())
    }

    /// Stops with an alarm. It says what is wrong with this record, since the letters of those before
    /// follow from decisions that may lie behind it, unread.
    fn stop_at(&mut self, offset: u64, bad: usize, message: &str) {
        let partition = self.tp.partition;
        tracing::error!(
            partition,
            offset,
            bad,
            message,
            "too many bad records: the partition is stopped. Look at the letters, then \
             `spine topics resume --partition {partition} --reason ...`"
        );
        metrics::observe_partition_stopped(partition, true);
        self.holding.hold = Some(Hold::Flood);
        if self.drain_until.is_none() {
            self.node.hub.set_phase(partition, Phase::Stopped { offset, bad });
        }
    }

    /// Somebody looked and lets the partition go on: counting begins anew.
    pub(super) async fn resumed(&mut self, resumed: Resumed) -> Result<()> {
        tracing::warn!(partition = self.tp.partition, ?resumed, "resumed");
        metrics::observe_partition_stopped(self.tp.partition, false);
        self.holding.hold = None;
        self.holding.flood = Flood::default();
        self.holding.resumed = Some(resumed);
        self.tell_phase();
        self.fold_unread().await
    }
}
