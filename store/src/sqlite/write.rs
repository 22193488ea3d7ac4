//! Applying a batch: one transaction whose first statement moves the progress.
//!
//! A statement is prepared once for all rows of its table: finding it again by its text would cost
//! as much as a row.

use super::{list, number::RunNumbers, write_runs};
use crate::{
    DecisionRow, Error, EventRow, LetterClosing, LetterRow, Progress, RefusalRow, Result,
    StoreBatch,
    form::{DecisionForm, Given, name_of, offset_column, step_column, write_json},
};
use rusqlite::{Connection, OptionalExtension, Statement, ToSql, TransactionBehavior, params};

/// Applies all of the batch, or nothing when it fails.
pub(super) fn apply(connection: &mut Connection, batch: &StoreBatch) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write(&transaction, batch)?;
    transaction.commit()?;
    Ok(())
}

/// Writes all rows of the batch in the transaction that is open.
pub(super) fn write(connection: &Connection, batch: &StoreBatch) -> Result<()> {
    assert!(
        batch.expected.is_none_or(|before| before <= batch.progress.offset),
        "progress never goes back"
    );
    advance(connection, batch)?;
    let numbers = RunNumbers::of_batch(connection, batch)?;
    write_runs::write(connection, batch, &numbers)?;
    write_events(connection, &batch.events, &numbers.events)?;
    write_decisions(connection, &batch.decisions, &numbers.decisions)?;
    for letter in &batch.letters {
        write_letter(connection, letter)?;
    }
    close_letters(connection, &batch.closings)?;
    write_refusals(connection, &batch.refusals)
}

/// Moves the progress if it is still the expected one.
fn advance(connection: &Connection, batch: &StoreBatch) -> Result<()> {
    let Progress { log_id, offset, chain_before, chain, at, partition_state } = &batch.progress;
    let state = write_json("progress", partition_state)?;
    let offset = offset_column(*offset);
    let moved = match batch.expected {
        None => connection
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
        Some(expected) => connection
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
        let found = stored_offset(connection, batch.partition)?;
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

/// Columns of an event.
const EVENT_COLUMNS: usize = 9;
/// Events of one statement: the tree is sought once for all of them, since most lie side by side.
const EVENTS_AT_ONCE: usize = 16;

/// A row that is there already lies beyond the progress: then the batch fails as a whole. `OR FAIL` spares
/// SQLite a copy of each page for taking back one statement.
fn insert_events(rows: usize) -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?)";
    format!(
        "INSERT OR FAIL INTO events (run, log_offset, logged_at, kind, step, attempt, actor, verdict,
           reason) VALUES {}",
        vec![row; rows].join(", ")
    )
}

fn write_events(connection: &Connection, events: &[EventRow], numbers: &[i64]) -> Result<()> {
    let (chunks, rest) = events.as_chunks::<EVENTS_AT_ONCE>();
    let mut numbers = numbers.iter();
    let mut insert = connection.prepare_cached(&insert_events(EVENTS_AT_ONCE))?;
    for chunk in chunks {
        for (place, (event, run)) in chunk.iter().zip(&mut numbers).enumerate() {
            bind_event(&mut insert, place * EVENT_COLUMNS, event, *run)?;
        }
        insert.raw_execute()?;
    }
    let mut insert = connection.prepare_cached(&insert_events(1))?;
    for (event, run) in rest.iter().zip(numbers) {
        bind_event(&mut insert, 0, event, *run)?;
        insert.raw_execute()?;
    }
    Ok(())
}

fn bind_event(insert: &mut Statement<'_>, before: usize, event: &EventRow, run: i64) -> Result<()> {
    let reason = match &event.reason {
        Some(reason) => name_of("reason", reason)?,
        None => String::new(),
    };
    let columns: [&dyn ToSql; EVENT_COLUMNS] = [
        &run,
        &offset_column(event.offset),
        &event.at.0,
        &event.kind,
        &step_column(event.step.as_ref()),
        &event.attempt.map_or(-1, i64::from),
        &event.actor,
        &event.verdict.as_str(),
        &reason,
    ];
    for (place, column) in columns.iter().enumerate() {
        insert.raw_bind_parameter(before + place + 1, column)?;
    }
    Ok(())
}

fn write_decisions(
    connection: &Connection,
    decisions: &[DecisionRow],
    numbers: &[i64],
) -> Result<()> {
    for (row, run) in decisions.iter().zip(numbers) {
        let form = DecisionForm::of(&row.decision)?;
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO decisions (run, log_offset, logged_at, actor, step, decision, request, agent, reasoning, action, error, confidence,
                   params_digest, result_digest, state, params, result)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                   ?17)",
            )?
            .execute(params![
                run, offset_column(row.offset), row.at.0, row.actor, form.step, form.decision, form.request, form.agent,
                form.reasoning, form.action, form.error, form.confidence, form.params_digest,
                form.result_digest, form.state, form.params, form.result
            ])?;
    }
    Ok(())
}

fn write_letter(connection: &Connection, row: &LetterRow) -> Result<()> {
    let mut given = Given::default();
    let tenant = given.put_text("tenant", row.tenant.as_deref());
    let run_id = given.put_text("run_id", row.run_id.as_deref());
    let tool = given.put_text("tool", row.tool.as_deref());
    let closed_at = given.put_time("closed_at", row.closed_at);
    let closed_by = given.put_text("closed_by", row.closed_by.as_deref());
    let closed_reason = given.put_text("closed_reason", row.closed_reason.as_deref());
    connection
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
fn close_letters(connection: &Connection, closings: &[LetterClosing]) -> Result<()> {
    for closing in closings {
        let Some(mut letter) = list::letter(connection, &closing.letter_id)? else { continue };
        if letter.close(closing) {
            write_letter(connection, &letter)?;
        }
    }
    Ok(())
}

fn write_refusals(connection: &Connection, refusals: &[RefusalRow]) -> Result<()> {
    for row in refusals {
        let (tenant, run_id) =
            row.key.as_ref().map_or(("", ""), |key| (&*key.tenant, &*key.run_id));
        let answer = match &row.answer {
            Some(answer) => write_json("answer", answer)?,
            None => String::new(),
        };
        connection
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
