//! Applying a batch: one transaction whose first statement moves the progress.

use super::{list, number::RunNumbers};
use crate::{
    DecisionRow, Error, EventRow, LetterClosing, LetterRow, Progress, RefusalRow, Result,
    RunChange, StoreBatch,
    form::{DecisionForm, Given, HeadForm, SpecForm, StepForm, name_of, offset_column, write_json},
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use spine_schemas::StepKey;

/// Applies all of the batch, or nothing when it fails.
pub(super) fn apply(connection: &mut Connection, batch: &StoreBatch) -> Result<()> {
    assert!(
        batch.expected.is_none_or(|before| before <= batch.progress.offset),
        "progress never goes back"
    );
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    advance(&transaction, batch)?;
    let numbers = RunNumbers::of_batch(&transaction, batch)?;
    write_runs(&transaction, batch, &numbers)?;
    write_steps(&transaction, &batch.runs, &numbers)?;
    write_events(&transaction, &batch.events, &numbers)?;
    write_decisions(&transaction, &batch.decisions, &numbers)?;
    for letter in &batch.letters {
        write_letter(&transaction, letter)?;
    }
    close_letters(&transaction, &batch.closings)?;
    write_refusals(&transaction, &batch.refusals)?;
    transaction.commit()?;
    Ok(())
}

/// Moves the progress if it is still the expected one.
fn advance(transaction: &Transaction<'_>, batch: &StoreBatch) -> Result<()> {
    let Progress { log_id, offset, chain_before, chain, at, partition_state } = &batch.progress;
    let state = write_json("progress", partition_state)?;
    let offset = offset_column(*offset);
    let moved = match batch.expected {
        None => transaction
            .prepare_cached(
                "INSERT INTO progress (partition, log_id, log_offset, chain_before, chain,
                   logged_at, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                batch.partition,
                log_id,
                offset,
                chain_before.0,
                chain.0,
                at.0,
                state
            ])?,
        Some(expected) => transaction
            .prepare_cached(
                "UPDATE progress SET log_id = ?2, log_offset = ?3, chain_before = ?4, chain = ?5,
                   logged_at = ?6, state = ?7 WHERE partition = ?1 AND log_offset = ?8",
            )?
            .execute(params![
                batch.partition,
                log_id,
                offset,
                chain_before.0,
                chain.0,
                at.0,
                state,
                offset_column(expected)
            ])?,
    };
    if moved == 0 {
        let found = stored_offset(transaction, batch.partition)?;
        return Err(Error::Lost { partition: batch.partition, expected: batch.expected, found });
    }
    Ok(())
}

fn stored_offset(connection: &Connection, partition: u32) -> Result<Option<u64>> {
    let found: Option<i64> = connection
        .prepare_cached("SELECT log_offset FROM progress WHERE partition = ?1")?
        .query_row([partition], |row| row.get(0))
        .optional()?;
    found.map(|offset| crate::form::read_offset("log_offset", offset)).transpose()
}

fn write_runs(
    transaction: &Transaction<'_>,
    batch: &StoreBatch,
    numbers: &RunNumbers<'_>,
) -> Result<()> {
    for change in &batch.runs {
        let run = numbers.of(&change.run.key);
        if change.created {
            write_spec(transaction, run, change)?;
        }
        write_head(transaction, run, batch.partition, change)?;
        write_open(transaction, batch.partition, change)?;
        write_timer(transaction, batch.partition, change)?;
    }
    Ok(())
}

fn write_spec(transaction: &Transaction<'_>, run: i64, change: &RunChange) -> Result<()> {
    let form = SpecForm::of(&change.run)?;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO run_specs (run, workflow, version, driver, parent, tags,
               created_offset, created_at, created_digest, input_digest, state, input, plan)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
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
    Ok(())
}

/// What never changes is not in the update, so that SQLite leaves the indexes on it alone.
fn write_head(
    transaction: &Transaction<'_>,
    run: i64,
    partition: u32,
    change: &RunChange,
) -> Result<()> {
    let key = &change.run.key;
    let form = HeadForm::of(&change.run)?;
    let [total, completed, failed, dead_lettered] = form.steps;
    transaction
        .prepare_cached(
            "INSERT INTO runs (run, tenant, run_id, partition, workflow, version, driver, status,
               waiting_for, steps_total, steps_completed, steps_failed, steps_dead_lettered,
               attempts, cost_micros, tokens_in, tokens_out, decisions, started_at, ended_at,
               last_offset, last_at, failed_step, error_class, error_code, error_message,
               output_digest, state, seen, output)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
               ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30)
             ON CONFLICT (run) DO UPDATE SET
               status = excluded.status, waiting_for = excluded.waiting_for,
               steps_total = excluded.steps_total, steps_completed = excluded.steps_completed,
               steps_failed = excluded.steps_failed,
               steps_dead_lettered = excluded.steps_dead_lettered,
               attempts = excluded.attempts, cost_micros = excluded.cost_micros,
               tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
               decisions = excluded.decisions, ended_at = excluded.ended_at,
               last_offset = excluded.last_offset, last_at = excluded.last_at,
               failed_step = excluded.failed_step, error_class = excluded.error_class,
               error_code = excluded.error_code, error_message = excluded.error_message,
               output_digest = excluded.output_digest, state = excluded.state,
               seen = excluded.seen, output = excluded.output",
        )?
        .execute(params![
            run,
            key.tenant,
            key.run_id,
            partition,
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
            form.output
        ])?;
    Ok(())
}

fn write_open(transaction: &Transaction<'_>, partition: u32, change: &RunChange) -> Result<()> {
    let sql = if change.run.is_open() {
        "INSERT OR IGNORE INTO open_runs (partition, tenant, run_id) VALUES (?1, ?2, ?3)"
    } else {
        "DELETE FROM open_runs WHERE partition = ?1 AND tenant = ?2 AND run_id = ?3"
    };
    let key = &change.run.key;
    transaction.prepare_cached(sql)?.execute(params![partition, key.tenant, key.run_id])?;
    Ok(())
}

fn write_timer(transaction: &Transaction<'_>, partition: u32, change: &RunChange) -> Result<()> {
    let key = &change.run.key;
    match change.run.next_due() {
        Some(due_at) => transaction
            .prepare_cached(
                "INSERT INTO timers (partition, tenant, run_id, due_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET due_at = excluded.due_at
                 WHERE due_at <> excluded.due_at",
            )?
            .execute(params![partition, key.tenant, key.run_id, due_at.0])?,
        None => transaction
            .prepare_cached(
                "DELETE FROM timers WHERE partition = ?1 AND tenant = ?2 AND run_id = ?3",
            )?
            .execute(params![partition, key.tenant, key.run_id])?,
    };
    Ok(())
}

fn write_steps(
    transaction: &Transaction<'_>,
    runs: &[RunChange],
    numbers: &RunNumbers<'_>,
) -> Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO steps (run, step, status, attempt, charged, generation,
           tool, effect, scheduled_offset, scheduled_at, due_at, ended_at, last_offset,
           error_class, error_code, error_message, input_digest, output_digest, state, input,
           output)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
           ?19, ?20, ?21)",
    )?;
    for change in runs {
        let run = numbers.of(&change.run.key);
        for step in &change.steps {
            let step = change.run.steps.get(step).expect("a changed step is one of the run's");
            let form = StepForm::of(step)?;
            insert.execute(params![
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

fn write_events(
    transaction: &Transaction<'_>,
    events: &[EventRow],
    numbers: &RunNumbers<'_>,
) -> Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR REPLACE INTO events (run, log_offset, logged_at, kind, step, attempt, actor,
           verdict, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for event in events {
        let reason = match &event.reason {
            Some(reason) => name_of("reason", reason)?,
            None => String::new(),
        };
        insert.execute(params![
            numbers.of(&event.key),
            offset_column(event.offset),
            event.at.0,
            event.kind,
            step_column(event.step.as_ref()),
            event.attempt.map_or(-1, i64::from),
            event.actor,
            event.verdict.as_str(),
            reason
        ])?;
    }
    Ok(())
}

fn write_decisions(
    transaction: &Transaction<'_>,
    decisions: &[DecisionRow],
    numbers: &RunNumbers<'_>,
) -> Result<()> {
    for row in decisions {
        let form = DecisionForm::of(&row.decision)?;
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO decisions (run, log_offset, logged_at, actor, step, decision, request, agent, reasoning, action, error, confidence,
                   params_digest, result_digest, state, params, result)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                   ?17)",
            )?
            .execute(params![
                numbers.of(&row.key), offset_column(row.offset), row.at.0, row.actor, form.step, form.decision, form.request, form.agent,
                form.reasoning, form.action, form.error, form.confidence, form.params_digest,
                form.result_digest, form.state, form.params, form.result
            ])?;
    }
    Ok(())
}

fn write_letter(transaction: &Transaction<'_>, row: &LetterRow) -> Result<()> {
    let mut given = Given::default();
    let tenant = given.put_text("tenant", row.tenant.as_deref());
    let run_id = given.put_text("run_id", row.run_id.as_deref());
    let tool = given.put_text("tool", row.tool.as_deref());
    let closed_at = given.put_time("closed_at", row.closed_at);
    let closed_by = given.put_text("closed_by", row.closed_by.as_deref());
    let closed_reason = given.put_text("closed_reason", row.closed_reason.as_deref());
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO dead_letters (letter_id, kind, status, partition,
               source_offset, log_offset, tenant, run_id, step, class, code, message, generation,
               attempts, attempts_json, tool, dead_at, closed_at, closed_by, closed_reason, given)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
               ?18, ?19, ?20, ?21)",
        )?
        .execute(params![
            row.letter_id.0,
            row.kind.as_str(),
            row.status.as_str(),
            row.partition,
            offset_column(row.source_offset),
            offset_column(row.offset),
            tenant,
            run_id,
            step_column(row.step.as_ref()),
            row.class,
            row.code,
            row.message,
            row.generation,
            row.attempts,
            row.attempts_json,
            tool,
            row.dead_at.0,
            closed_at,
            closed_by,
            closed_reason,
            given.to_column()
        ])?;
    Ok(())
}

/// A letter that is not there, or not open, is left as it is.
fn close_letters(transaction: &Transaction<'_>, closings: &[LetterClosing]) -> Result<()> {
    for closing in closings {
        let Some(mut letter) = list::letter(transaction, &closing.letter_id)? else { continue };
        if letter.close(closing) {
            write_letter(transaction, &letter)?;
        }
    }
    Ok(())
}

fn write_refusals(transaction: &Transaction<'_>, refusals: &[RefusalRow]) -> Result<()> {
    for row in refusals {
        let (tenant, run_id) =
            row.key.as_ref().map_or(("", ""), |key| (&*key.tenant, &*key.run_id));
        let answer = match &row.answer {
            Some(answer) => write_json("answer", answer)?,
            None => String::new(),
        };
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO refusals (partition, log_offset, tenant, run_id, reason,
                   answer, logged_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                row.partition,
                offset_column(row.offset),
                tenant,
                run_id,
                name_of("reason", &row.reason)?,
                answer,
                row.at.0
            ])?;
    }
    Ok(())
}

fn step_column(step: Option<&StepKey>) -> String {
    step.map(StepKey::to_string).unwrap_or_default()
}
