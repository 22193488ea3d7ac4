//! The rows that a batch brings, grouped by the CQL partition that they lie in.

use super::{
    blocks::Block,
    cells::{Values, partition},
    stamp,
    statements::Put,
    write::{Write, cut},
};
use crate::{
    DecisionRow, EventRow, LetterClosing, LetterRow, RefusalRow, Result, RunChange, StoreBatch,
    form::{
        DecisionForm, Given, HeadForm, SpecForm, StepForm, name_of, offset_column, step_column,
        write_json,
    },
};
use spine_runs::RunState;
use spine_schemas::{Digest, RunKey, StepKey, time::Micros};
use std::collections::BTreeMap;

/// Stands for "nothing is due". Any other value, 0 included, is a time.
pub(super) const NOTHING_DUE: i64 = i64::MIN;

/// The CQL partition of a row, whatever its table: rows of one home share the partition key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Home<'a> {
    Run(&'a RunKey, i32),
    Refusals(i32),
    Letter(Digest),
    LettersOfDay(i32, i32),
    OpenRuns(i64),
    RunsOfDay(&'a str, i32, i32),
    Listed(String),
}

/// All rows of a batch.
pub(super) struct Rows<'a> {
    partition: i32,
    homes: BTreeMap<Home<'a>, Vec<Write>>,
}

/// The list of all days on which runs began.
pub(super) const RUNS: &str = "runs";
/// The list of all days with letters.
pub(super) const LETTERS: &str = "letters";

/// The list of the days on which runs of a tenant began.
pub(super) fn runs_of(tenant: &str) -> String {
    format!("runs of {tenant}")
}

/// The list of the tenants whose runs began on a day.
pub(super) fn tenants_of(day: i32) -> String {
    format!("tenants of {day}")
}

impl<'a> Rows<'a> {
    pub(super) fn of(batch: &'a StoreBatch) -> Result<Self> {
        let mut rows = Self { partition: partition(batch.partition), homes: BTreeMap::new() };
        for change in &batch.runs {
            rows.run(change)?;
        }
        let values = batch.values.iter().map(|value| &value[..]).chain(std::iter::repeat(&[][..]));
        rows.events(batch.events.iter().zip(values))?;
        let decisions = batch.decisions.iter().map(|row| (&row.key, row.offset));
        let events = batch.events.iter().map(|event| (&event.key, event.offset));
        rows.event_buckets(events.chain(decisions));
        for decision in &batch.decisions {
            rows.decision(decision)?;
        }
        for letter in &batch.letters {
            rows.letter(letter);
        }
        for closing in &batch.closings {
            rows.closing(closing);
        }
        for refusal in &batch.refusals {
            rows.refusal(refusal)?;
        }
        Ok(rows)
    }

    /// Chains of batches of rows, each batch of one CQL partition, and to be written when the one before it in
    /// its chain was acknowledged: what the blocks of a run's history are read by.
    pub(super) fn into_chains(self) -> Vec<Vec<Vec<Write>>> {
        let chains = |(home, rows)| match home {
            Home::Run(..) => vec![cut(rows)],
            Home::Refusals(_)
            | Home::Letter(_)
            | Home::LettersOfDay(..)
            | Home::OpenRuns(_)
            | Home::RunsOfDay(..)
            | Home::Listed(_) => cut(rows).into_iter().map(|group| vec![group]).collect(),
        };
        self.homes.into_iter().flat_map(chains).collect()
    }

    fn add(&mut self, home: Home<'a>, put: Put, values: Values) {
        self.homes.entry(home).or_default().push(Write { put, values });
    }

    fn run(&mut self, change: &'a RunChange) -> Result<()> {
        let run = &*change.run;
        let buckets = StepBuckets::of(run);
        let head = head(run, change.offset, self.partition, buckets.count())?;
        self.add(Home::Run(&run.key, 0), Put::Head, head);
        if change.created {
            self.add(Home::Run(&run.key, 0), Put::Creation, creation(run)?);
        }
        for key in &change.steps {
            let state = run.steps.get(key).expect("a changed step is one of the run's");
            let bucket = buckets.of_step(state.scheduled_offset, key);
            let values = step(&run.key, bucket, &StepForm::of(state)?, state.last_offset);
            self.add(Home::Run(&run.key, bucket), Put::Step, values);
        }
        self.open_run(change);
        self.listed_run(change);
        Ok(())
    }

    fn open_run(&mut self, change: &'a RunChange) {
        let run = &*change.run;
        let bucket = stamp::open_bucket(run.created_offset);
        let key = |values: Values| {
            values.int(self.partition).big(bucket).texts([&run.key.tenant, &run.key.run_id])
        };
        let (put, values) = if run.is_open() {
            let due = run.next_due().map_or(NOTHING_DUE, |due| due.0);
            let values = key(Values::default()).big(due).big(stamp::put(change.offset));
            (Put::OpenRun, values)
        } else {
            // Written by every change after the end too: a late writer may have opened it.
            (Put::EndedRun, key(Values::default().big(stamp::delete(change.offset))))
        };
        self.add(Home::OpenRuns(bucket), put, values);
    }

    /// A run is listed when it is created and again when it has ended; what lies between is read
    /// from the run itself.
    fn listed_run(&mut self, change: &'a RunChange) {
        let run = &*change.run;
        if run.is_open() && !change.created {
            return;
        }
        let version = if run.is_open() { run.created_offset } else { change.offset };
        let status = if run.is_open() { "" } else { run.status.as_str() };
        let (day, shard) = (stamp::day(run.created_at), stamp::shard(run.key.run_id.as_bytes()));
        let values = Values::default()
            .text(&run.key.tenant)
            .int(day)
            .int(shard)
            .big(run.created_at.0)
            .texts([&run.key.run_id, &run.created.workflow, status])
            .big(stamp::put(version));
        self.add(Home::RunsOfDay(&run.key.tenant, day, shard), Put::RunOfDay, values);
        self.list(RUNS.into(), day, "", run.created_offset);
        self.list(runs_of(&run.key.tenant), day, "", run.created_offset);
        self.list(tenants_of(day), day, &run.key.tenant, run.created_offset);
    }

    /// Notes that there is something to list; once per batch, since all such rows are equal.
    fn list(&mut self, list: String, day: i32, tenant: &str, offset: u64) {
        let values = Values::default().text(&list).int(day).text(tenant).big(stamp::put(offset));
        let noted = self.homes.entry(Home::Listed(list)).or_default();
        let width = values.cells.len() - 1;
        if !noted.iter().any(|row| row.values.cells[..width] == values.cells[..width]) {
            noted.push(Write { put: Put::Listed, values });
        }
    }

    fn events(&mut self, events: impl Iterator<Item = (&'a EventRow, &'a [u8])>) -> Result<()> {
        let mut blocks: BTreeMap<(&RunKey, i32), Block<'a>> = BTreeMap::new();
        for (event, bytes) in events {
            let bucket = stamp::event_bucket(event.offset);
            let block = blocks.entry((&event.key, bucket)).or_default();
            if !block.has_room(bytes.len()) {
                self.block(bucket, &std::mem::take(block))?;
            }
            block.push(event, bytes);
        }
        blocks.into_iter().try_for_each(|((_, bucket), block)| self.block(bucket, &block))
    }

    fn block(&mut self, bucket: i32, block: &Block<'a>) -> Result<()> {
        let newest = block.newest();
        let values = block.write(in_run(&newest.key, bucket))?.big(stamp::put(newest.offset));
        self.add(Home::Run(&newest.key, bucket), Put::Event, values);
        Ok(())
    }

    /// Notes in which buckets the runs have events, each once.
    fn event_buckets(&mut self, events: impl Iterator<Item = (&'a RunKey, u64)>) {
        let mut buckets = BTreeMap::new();
        for (key, offset) in events {
            buckets.entry((key, stamp::event_bucket(offset))).or_insert(offset);
        }
        for ((key, bucket), offset) in buckets {
            let values = in_run(key, 0).int(bucket).big(stamp::put(offset));
            self.add(Home::Run(key, 0), Put::EventBucket, values);
        }
    }

    fn decision(&mut self, row: &'a DecisionRow) -> Result<()> {
        let form = DecisionForm::of(&row.decision)?;
        let bucket = stamp::event_bucket(row.offset);
        let values = in_run(&row.key, bucket)
            .big(offset_column(row.offset))
            .int(self.partition)
            .big(row.at.0)
            .texts([&row.actor, &form.step, &form.decision, &form.request, &form.agent])
            .texts([&form.reasoning, &form.action, &form.error])
            .double(form.confidence)
            .blobs([&form.params_digest, &form.result_digest])
            .text(&form.state)
            .blobs([&form.params, &form.result])
            .big(stamp::put(row.offset));
        self.add(Home::Run(&row.key, bucket), Put::Decision, values);
        Ok(())
    }

    fn letter(&mut self, row: &LetterRow) {
        let values = letter(row).big(stamp::put(row.offset));
        self.add(Home::Letter(row.letter_id), Put::Letter, values);
        let (day, shard) = (stamp::day(row.dead_at), stamp::shard(&row.letter_id.0));
        let values = Values::default()
            .int(day)
            .int(shard)
            .big(row.dead_at.0)
            .int(partition(row.partition))
            .big(offset_column(row.offset))
            .blob(&row.letter_id.0)
            .text(row.tenant.as_deref().unwrap_or_default())
            .big(stamp::put(row.offset));
        self.add(Home::LettersOfDay(day, shard), Put::LetterOfDay, values);
        self.list(LETTERS.into(), day, "", row.offset);
    }

    fn closing(&mut self, closing: &LetterClosing) {
        let values = Values::default()
            .blob(&closing.letter_id.0)
            .text(closing.status.as_str())
            .bigs([offset_column(closing.offset), closing.at.0])
            .texts([&closing.by, &closing.reason])
            .big(stamp::first_wins(closing.offset));
        self.add(Home::Letter(closing.letter_id), Put::Closing, values);
    }

    fn refusal(&mut self, row: &RefusalRow) -> Result<()> {
        let (tenant, run_id) =
            row.key.as_ref().map_or(("", ""), |key| (&*key.tenant, &*key.run_id));
        let answer = match &row.answer {
            Some(answer) => write_json("answer", answer)?,
            None => String::new(),
        };
        let bucket = stamp::event_bucket(row.offset);
        let values = Values::default()
            .int(partition(row.partition))
            .int(bucket)
            .big(offset_column(row.offset))
            .texts([tenant, run_id, &name_of("reason", &row.reason)?, &answer])
            .big(row.at.0)
            .big(stamp::put(row.offset));
        self.add(Home::Refusals(bucket), Put::Refusal, values);
        Ok(())
    }
}

/// In which partition a step lies: by its place in the order in which steps were scheduled. Steps
/// are only ever added at the end, so the place never changes, and a small run needs one partition.
struct StepBuckets<'a> {
    /// Sorted; empty where one bucket holds all.
    order: Vec<(u64, &'a StepKey)>,
    steps: usize,
}

impl<'a> StepBuckets<'a> {
    fn of(run: &'a RunState) -> Self {
        let steps = run.steps.len();
        let mut order = Vec::new();
        if steps > stamp::STEP_BUCKET {
            order = run.steps.values().map(|step| (step.scheduled_offset, &step.key)).collect();
            order.sort_unstable();
        }
        Self { order, steps }
    }

    fn count(&self) -> i32 {
        bucket_number(self.steps.div_ceil(stamp::STEP_BUCKET).max(1))
    }

    fn of_step(&self, scheduled_offset: u64, key: &StepKey) -> i32 {
        let place = self.order.binary_search(&(scheduled_offset, key)).unwrap_or(0);
        bucket_number(place / stamp::STEP_BUCKET)
    }
}

fn bucket_number(number: usize) -> i32 {
    i32::try_from(number).expect("a run has at most 10,000 steps")
}

/// The key of a row in one of a run's partitions.
pub(super) fn in_run(key: &RunKey, bucket: i32) -> Values {
    Values::default().texts([&key.tenant, &key.run_id]).int(bucket)
}

fn head(run: &RunState, version: u64, partition: i32, step_buckets: i32) -> Result<Values> {
    let form = HeadForm::of(run)?;
    Ok(in_run(&run.key, 0)
        .int(partition)
        .big(offset_column(version))
        .int(step_buckets)
        .texts([&form.workflow, &form.version, &form.driver, &form.status, &form.waiting_for])
        .bigs(form.steps)
        .bigs([form.attempts, form.cost_micros, form.tokens_in, form.tokens_out, form.decisions])
        .bigs([form.started_at, form.ended_at, form.last_offset, form.last_at])
        .big(form.stalled_since)
        .texts([&form.failed_step, &form.error_class, &form.error_code, &form.error_message])
        .blob(&form.output_digest)
        .text(&form.state)
        .blobs([&form.seen, &form.output])
        .big(stamp::put(version)))
}

fn creation(run: &RunState) -> Result<Values> {
    let form = SpecForm::of(run)?;
    Ok(in_run(&run.key, 0)
        .texts([&form.parent, &form.tags])
        .bigs([form.created_offset, form.created_at])
        .blobs([&form.created_digest, &form.input_digest])
        .text(&form.state)
        .blobs([&form.input, &form.plan])
        .big(stamp::put(run.created_offset)))
}

fn step(key: &RunKey, bucket: i32, form: &StepForm<'_>, version: u64) -> Values {
    in_run(key, bucket)
        .texts([&form.step, &form.status])
        .bigs([form.attempt, form.charged, form.generation])
        .texts([&form.tool, &form.effect])
        .bigs([form.scheduled_offset, form.scheduled_at, form.due_at, form.ended_at])
        .big(form.last_offset)
        .texts([&form.error_class, &form.error_code, &form.error_message])
        .blobs([&form.input_digest, &form.output_digest])
        .text(&form.state)
        .blobs([&form.input, &form.output])
        .big(stamp::put(version))
}

fn letter(row: &LetterRow) -> Values {
    let mut given = Given::default();
    let tenant = given.put_text("tenant", row.tenant.as_deref());
    let run_id = given.put_text("run_id", row.run_id.as_deref());
    let tool = given.put_text("tool", row.tool.as_deref());
    let closed_at = given.put_time("closed_at", row.closed_at);
    let closed_by = given.put_text("closed_by", row.closed_by.as_deref());
    let closed_reason = given.put_text("closed_reason", row.closed_reason.as_deref());
    let Micros(dead_at) = row.dead_at;
    Values::default()
        .blob(&row.letter_id.0)
        .texts([row.kind.as_str(), row.status.as_str()])
        .int(partition(row.partition))
        .bigs([offset_column(row.source_offset), offset_column(row.offset)])
        .texts([tenant, run_id, &step_column(row.step.as_ref())])
        .texts([&row.class, &row.code, &row.message])
        .bigs([i64::from(row.generation), i64::from(row.attempts)])
        .texts([&row.attempts_json, tool])
        .bigs([dead_at, closed_at])
        .texts([closed_by, closed_reason, &given.to_column()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        VerdictKind,
        contract::samples::{Tape, at},
    };
    use scylla::value::CqlValue;

    fn event(run: u64, offset: u64) -> EventRow {
        EventRow {
            key: RunKey::new("default", &format!("r{run}")),
            partition: 0,
            offset,
            at: at(offset),
            kind: "step_started".into(),
            step: None,
            attempt: None,
            actor: String::new(),
            verdict: VerdictKind::Applied,
            reason: None,
        }
    }

    /// A block may be read only if what comes before it was acknowledged.
    #[test]
    fn the_blocks_of_a_run_are_written_one_after_the_other() {
        let mut batch = Tape::new(0).next(30_000);
        batch.events.extend((0..30_000).map(|offset| event(offset % 2, offset)));
        let mut chains = 0;
        for chain in Rows::of(&batch).unwrap().into_chains() {
            let rows = chain.iter().flatten().filter(|row| row.put == Put::Event);
            let key = |row: &Write| row.values.cells[1..5].to_vec();
            let keys: Vec<Vec<CqlValue>> = rows.map(key).collect();
            let numbers = |row: &Vec<CqlValue>| (row[2].as_bigint(), row[3].as_bigint());
            let follows = |pair: &[Vec<CqlValue>]| {
                pair[0][..2] == pair[1][..2] && numbers(&pair[0]).0 < numbers(&pair[1]).1
            };
            assert!(keys.windows(2).all(follows), "{keys:?}");
            assert!(chain.len() > 1 || keys.is_empty(), "enough for several batches of rows");
            chains += usize::from(!keys.is_empty());
        }
        assert_eq!(chains, 4, "two runs, each in two buckets");
    }
}
