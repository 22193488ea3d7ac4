//! A simulated store: rows in memory that outlive a crash, can be slow, can fail, and lose their newest
//! batches when the power fails.

use crate::random::Random;
use spine_runs::RunState;
use spine_schemas::{
    Digest, RunKey,
    mutants::{Mutant, planted},
    time::Micros,
};
use spine_store::{
    DecisionRow, Error, EventRow, LetterFilter, LetterRow, LetterStatus, Page, Progress,
    RefusalRow, Result, RunFilter, RunRow, RunStore, StoreBatch,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Everything that is compared between a live store and a replayed one, and the progress beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) runs: BTreeMap<RunKey, Arc<RunState>>,
    pub(crate) events: BTreeMap<(u32, u64), EventRow>,
    pub(crate) decisions: BTreeMap<(u32, u64), DecisionRow>,
    pub(crate) letters: BTreeMap<Digest, LetterRow>,
    pub(crate) refusals: BTreeMap<(u32, u64), RefusalRow>,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    rows: Rows,
    progress: BTreeMap<u32, Progress>,
    home: BTreeMap<RunKey, u32>,
}

#[derive(Debug)]
struct World {
    now: Contents,
    /// Contents before each of the newest batches, which a power loss may bring back.
    earlier: Vec<Contents>,
    failing: bool,
    slow_ms: u64,
    /// Rows that a planted fault stores after their progress.
    held_back: Option<StoreBatch>,
}

/// Clones share the rows.
#[derive(Clone, Debug)]
pub(crate) struct SimStore {
    world: Arc<Mutex<World>>,
    random: Random,
    id: String,
}

impl SimStore {
    pub(crate) fn new(id: &str, random: Random) -> Self {
        let world = World {
            now: Contents::default(),
            earlier: Vec::new(),
            failing: false,
            slow_ms: 0,
            held_back: None,
        };
        Self { world: Arc::new(Mutex::new(world)), random, id: id.to_owned() }
    }

    pub(crate) fn rows(&self) -> Rows {
        self.world.lock().unwrap().now.rows.clone()
    }

    pub(crate) fn progress_of(&self, partition: u32) -> Option<Progress> {
        self.world.lock().unwrap().now.progress.get(&partition).cloned()
    }

    pub(crate) fn set_failing(&self, failing: bool) {
        self.world.lock().unwrap().failing = failing;
    }

    pub(crate) fn set_slow_ms(&self, slow_ms: u64) {
        self.world.lock().unwrap().slow_ms = slow_ms;
    }

    /// Loses some of the newest batches, as a store without a sync per commit may.
    pub(crate) fn power_loss(&self) {
        let mut world = self.world.lock().unwrap();
        if world.earlier.is_empty() || self.random.chance(50) {
            return;
        }
        let kept = self.random.below(world.earlier.len() as u64) as usize;
        world.now = world.earlier[kept].clone();
        world.earlier.truncate(kept);
    }

    /// The process that wrote died: what it still held is gone.
    pub(crate) fn forget_held(&self) {
        self.world.lock().unwrap().held_back = None;
    }

    /// Takes simulated time, and fails while the store is out.
    async fn answer(&self) -> Result<()> {
        let slow_ms = self.world.lock().unwrap().slow_ms;
        let wait = Duration::from_micros(50 + self.random.below(400));
        tokio::time::sleep(wait + Duration::from_millis(slow_ms)).await;
        if self.world.lock().unwrap().failing {
            return Err(Error::Unavailable("simulated outage".into()));
        }
        Ok(())
    }
}

impl RunStore for SimStore {
    fn store_id(&self) -> &str {
        &self.id
    }

    async fn progress(&self, partition: u32) -> Result<Option<Progress>> {
        self.answer().await?;
        Ok(self.progress_of(partition))
    }

    async fn apply(&self, batch: impl Into<Arc<StoreBatch>> + Send) -> Result<()> {
        let batch = StoreBatch::clone(&batch.into());
        self.answer().await?;
        let mut world = self.world.lock().unwrap();
        let found = world.now.progress.get(&batch.partition).map(|progress| progress.offset);
        if found != batch.expected {
            let (partition, expected) = (batch.partition, batch.expected);
            return Err(Error::Lost { partition, expected, found });
        }
        let before = world.now.clone();
        world.earlier.push(before);
        if world.earlier.len() > 3 {
            world.earlier.remove(0);
        }
        if planted(Mutant::ProgressBeforeRows) {
            let (partition, progress) = (batch.partition, batch.progress.clone());
            if let Some(rows) = world.held_back.replace(batch) {
                world.now.take(rows);
            }
            world.now.progress.insert(partition, progress);
            return Ok(());
        }
        world.now.take(batch);
        Ok(())
    }

    async fn load_runs(&self, _partition: u32, keys: &[RunKey]) -> Result<Vec<Option<RunState>>> {
        self.answer().await?;
        let world = self.world.lock().unwrap();
        let found = |key| world.now.rows.runs.get(key).map(|run| RunState::clone(run));
        Ok(keys.iter().map(found).collect())
    }

    async fn open_runs(
        &self,
        partition: u32,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunKey>> {
        self.answer().await?;
        let world = self.world.lock().unwrap();
        let after = cursor.map(|cursor| {
            let (tenant, run_id) = cursor.split_once('/').unwrap();
            RunKey::new(tenant, run_id)
        });
        // Runs that ended after progress, or whose first event it has not reached, may be there.
        let open = world.now.rows.runs.iter().filter(|(key, run)| {
            let is_here = world.now.home.get(key) == Some(&partition);
            (run.is_open() || self.random.chance(10)) && is_here && Some(*key) > after.as_ref()
        });
        let mut rows: Vec<RunKey> = open.map(|(key, _)| key.clone()).take(limit).collect();
        let last = rows.last().filter(|_| rows.len() == limit);
        let next = last.map(|key| format!("{}/{}", key.tenant, key.run_id));
        if next.is_none() && self.random.chance(30) {
            rows.push(RunKey::new("default", "ahead-of-progress"));
        }
        Ok(Page { rows, next })
    }

    async fn due_runs(
        &self,
        partition: u32,
        until: Micros,
        limit: usize,
    ) -> Result<Vec<(Micros, RunKey)>> {
        self.answer().await?;
        let world = self.world.lock().unwrap();
        let mut due: Vec<(Micros, RunKey)> = world
            .now
            .rows
            .runs
            .iter()
            .filter(|(key, _)| world.now.home.get(key) == Some(&partition))
            .filter_map(|(key, run)| Some((run.next_due()?, key.clone())))
            .filter(|(at, _)| *at <= until)
            .collect();
        due.sort();
        due.truncate(limit);
        Ok(due)
    }

    async fn list_runs(
        &self,
        _filter: &RunFilter,
        _cursor: Option<&str>,
        _limit: usize,
    ) -> Result<Page<RunRow>> {
        Ok(Page { rows: Vec::new(), next: None })
    }

    async fn run_events(&self, key: &RunKey, from: u64, limit: usize) -> Result<Vec<EventRow>> {
        let world = self.world.lock().unwrap();
        let rows = world.now.rows.events.values();
        let of_run = rows.filter(|row| row.key == *key && row.offset >= from);
        Ok(of_run.take(limit).cloned().collect())
    }

    async fn run_decisions(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        let world = self.world.lock().unwrap();
        let rows = world.now.rows.decisions.values();
        let of_run = rows.filter(|row| row.key == *key && row.offset >= from);
        Ok(of_run.take(limit).cloned().collect())
    }

    async fn list_letters(
        &self,
        filter: &LetterFilter,
        _cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LetterRow>> {
        let world = self.world.lock().unwrap();
        let rows = world.now.rows.letters.values();
        let wanted = rows.filter(|row| filter.takes(row));
        Ok(Page { rows: wanted.take(limit).cloned().collect(), next: None })
    }

    async fn letter(&self, id: &Digest) -> Result<Option<LetterRow>> {
        Ok(self.world.lock().unwrap().now.rows.letters.get(id).cloned())
    }

    async fn refusal(&self, partition: u32, offset: u64) -> Result<Option<RefusalRow>> {
        Ok(self.world.lock().unwrap().now.rows.refusals.get(&(partition, offset)).cloned())
    }
}

impl Contents {
    fn take(&mut self, batch: StoreBatch) {
        for change in batch.runs {
            self.home.insert(change.run.key.clone(), batch.partition);
            self.rows.runs.insert(change.run.key.clone(), change.run);
        }
        for row in batch.events {
            self.rows.events.insert((row.partition, row.offset), row);
        }
        for row in batch.decisions {
            self.rows.decisions.insert((row.partition, row.offset), row);
        }
        for row in batch.letters {
            self.rows.letters.insert(row.letter_id, row);
        }
        for closing in batch.closings {
            if let Some(row) = self.rows.letters.get_mut(&closing.letter_id)
                && row.status == LetterStatus::Open
            {
                row.status = closing.status;
                row.closed_at = Some(closing.at);
                row.closed_by = Some(closing.by);
                row.closed_reason = Some(closing.reason);
            }
        }
        for row in batch.refusals {
            self.rows.refusals.insert((row.partition, row.offset), row);
        }
        self.progress.insert(batch.partition, batch.progress);
    }
}
