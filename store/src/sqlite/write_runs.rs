//! The rows of a batch's changed runs: what is fixed, what changes, steps, and what owners look for.

use super::number::RunNumbers;
use crate::{
    Result, RunChange, StoreBatch,
    form::{HeadForm, SpecForm, StepForm},
};
use rusqlite::{Connection, params};
use spine_schemas::Driver;

/// Writes all that the changes say.
pub(super) fn write(
    connection: &Connection,
    batch: &StoreBatch,
    numbers: &RunNumbers,
) -> Result<()> {
    let RunNumbers { runs: numbers, is_new, .. } = numbers;
    write_specs(connection, &batch.runs, numbers)?;
    write_heads(connection, batch, numbers)?;
    write_steps(connection, &batch.runs, numbers)?;
    write_open(connection, batch, is_new)?;
    write_timers(connection, batch, is_new)
}

fn write_specs(connection: &Connection, runs: &[RunChange], numbers: &[i64]) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO run_specs (run, workflow, version, driver, parent, tags,
           created_offset, created_at, created_digest, input_digest, state, input, plan)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    for (change, run) in runs.iter().zip(numbers).filter(|(change, _)| change.created) {
        let form = SpecForm::of(&change.run)?;
        insert.execute(params![
            run,
            form.workflow,
            form.version,
            form.driver,
            form.parent,
            form.tags,
            form.created_offset,
            form.created_at,
            form.created_digest,
            form.input_digest,
            form.state,
            form.input,
            form.plan
        ])?;
    }
    Ok(())
}

/// What never changes is not in the update, so that SQLite leaves the indexes on it alone.
const WRITE_HEAD: &str = "
    INSERT INTO runs (run, tenant, run_id, partition, workflow, version, driver, status,
      waiting_for, steps_total, steps_completed, steps_failed, steps_dead_lettered, attempts,
      cost_micros, tokens_in, tokens_out, decisions, started_at, ended_at, last_offset, last_at,
      failed_step, error_class, error_code, error_message, output_digest, state, seen, output,
      stalled_since)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
      ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)
    ON CONFLICT (run) DO UPDATE SET
      status = excluded.status, waiting_for = excluded.waiting_for,
      steps_total = excluded.steps_total, steps_completed = excluded.steps_completed,
      steps_failed = excluded.steps_failed, steps_dead_lettered = excluded.steps_dead_lettered,
      attempts = excluded.attempts, cost_micros = excluded.cost_micros,
      tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
      decisions = excluded.decisions, ended_at = excluded.ended_at,
      last_offset = excluded.last_offset, last_at = excluded.last_at,
      failed_step = excluded.failed_step, error_class = excluded.error_class,
      error_code = excluded.error_code, error_message = excluded.error_message,
      output_digest = excluded.output_digest, state = excluded.state, seen = excluded.seen,
      output = excluded.output, stalled_since = excluded.stalled_since";

fn write_heads(connection: &Connection, batch: &StoreBatch, numbers: &[i64]) -> Result<()> {
    let mut upsert = connection.prepare_cached(WRITE_HEAD)?;
    for (change, run) in batch.runs.iter().zip(numbers) {
        let key = &change.run.key;
        let form = HeadForm::of(&change.run)?;
        let [total, completed, failed, dead_lettered] = form.steps;
        upsert.execute(params![
            run,
            key.tenant,
            key.run_id,
            batch.partition,
            form.workflow,
            form.version,
            form.driver,
            form.status,
            form.waiting_for,
            total,
            completed,
            failed,
            dead_lettered,
            form.attempts,
            form.cost_micros,
            form.tokens_in,
            form.tokens_out,
            form.decisions,
            form.started_at,
            form.ended_at,
            form.last_offset,
            form.last_at,
            form.failed_step,
            form.error_class,
            form.error_code,
            form.error_message,
            form.output_digest,
            form.state,
            form.seen,
            form.output,
            form.stalled_since
        ])?;
    }
    Ok(())
}

/// The update keeps a row in its place, where a replacement would move it.
const WRITE_STEP: &str = "
    INSERT INTO steps (run, step, status, attempt, charged, generation, tool, effect,
      scheduled_offset, scheduled_at, due_at, ended_at, last_offset, error_class, error_code,
      error_message, input_digest, output_digest, state, input, output)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
      ?20, ?21)
    ON CONFLICT (run, step) DO UPDATE SET
      status = excluded.status, attempt = excluded.attempt, charged = excluded.charged,
      generation = excluded.generation, tool = excluded.tool, effect = excluded.effect,
      scheduled_offset = excluded.scheduled_offset, scheduled_at = excluded.scheduled_at,
      due_at = excluded.due_at, ended_at = excluded.ended_at, last_offset = excluded.last_offset,
      error_class = excluded.error_class, error_code = excluded.error_code,
      error_message = excluded.error_message, input_digest = excluded.input_digest,
      output_digest = excluded.output_digest, state = excluded.state, input = excluded.input,
      output = excluded.output";

fn write_steps(connection: &Connection, runs: &[RunChange], numbers: &[i64]) -> Result<()> {
    let mut upsert = connection.prepare_cached(WRITE_STEP)?;
    for (change, run) in runs.iter().zip(numbers) {
        for step in &change.steps {
            let step = change.run.steps.get(step).expect("a changed step is one of the run's");
            let form = StepForm::of(step)?;
            upsert.execute(params![
                run,
                form.step,
                form.status,
                form.attempt,
                form.charged,
                form.generation,
                form.tool,
                form.effect,
                form.scheduled_offset,
                form.scheduled_at,
                form.due_at,
                form.ended_at,
                form.last_offset,
                form.error_class,
                form.error_code,
                form.error_message,
                form.input_digest,
                form.output_digest,
                form.state,
                form.input,
                form.output
            ])?;
        }
    }
    Ok(())
}

fn write_open(connection: &Connection, batch: &StoreBatch, is_new: &[bool]) -> Result<()> {
    let mut open = connection.prepare_cached(
        "INSERT OR IGNORE INTO open_runs (partition, tenant, run_id) VALUES (?1, ?2, ?3)",
    )?;
    let mut close = connection.prepare_cached(
        "DELETE FROM open_runs WHERE partition = ?1 AND tenant = ?2 AND run_id = ?3",
    )?;
    for (change, is_new) in batch.runs.iter().zip(is_new) {
        let key = &change.run.key;
        let is_open = change.run.is_open();
        if *is_new && !is_open {
            // It began and ended since the last batch: there is nothing to close.
            continue;
        }
        let write = if is_open { &mut open } else { &mut close };
        write.execute(params![batch.partition, key.tenant, key.run_id])?;
    }
    Ok(())
}

fn write_timers(connection: &Connection, batch: &StoreBatch, is_new: &[bool]) -> Result<()> {
    let mut set = connection.prepare_cached(
        "INSERT INTO timers (partition, tenant, run_id, due_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET due_at = excluded.due_at WHERE due_at <> excluded.due_at",
    )?;
    let mut drop = connection.prepare_cached(
        "DELETE FROM timers WHERE partition = ?1 AND tenant = ?2 AND run_id = ?3",
    )?;
    for (change, is_new) in batch.runs.iter().zip(is_new) {
        let key = &change.run.key;
        match change.run.next_due() {
            Some(due) => set.execute(params![batch.partition, key.tenant, key.run_id, due.0])?,
            // A run that is only recorded never has a timer, and a new one had none.
            None if *is_new || change.run.driver() == Driver::Record => continue,
            None => drop.execute(params![batch.partition, key.tenant, key.run_id])?,
        };
    }
    Ok(())
}
