//! Reading rows back: states, progress, what is open or due, and the history of a run.

use super::number;
use crate::{
    DecisionRow, Error, EventRow, Page, Progress, RefusalRow, Result, VerdictKind, cursor,
    form::{
        self, DecisionForm, HeadForm, SpecForm, StepForm, parse_name, read_count, read_digest,
        read_json, read_offset,
    },
    limits,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use spine_runs::{Reason, RunState};
use spine_schemas::{RunKey, StepKey, time::Micros};
use std::borrow::Cow;

pub(super) type SqlResult<T> = rusqlite::Result<T>;

/// A text column as an owned value.
pub(super) fn text(row: &Row<'_>, at: usize) -> SqlResult<Cow<'static, str>> {
    row.get::<_, String>(at).map(Cow::Owned)
}

/// A blob column as an owned value.
pub(super) fn blob(row: &Row<'_>, at: usize) -> SqlResult<Cow<'static, [u8]>> {
    row.get::<_, Vec<u8>>(at).map(Cow::Owned)
}

/// At least one row and at most [`limits::SCAN_ROWS`].
fn rows(limit: usize) -> i64 {
    limit.clamp(1, limits::SCAN_ROWS) as i64
}

/// The progress of one partition.
pub(super) fn progress(connection: &Connection, partition: u32) -> Result<Option<Progress>> {
    let sql = "SELECT log_id, log_offset, chain_before, chain, logged_at, state, partition
               FROM progress WHERE partition = ?1";
    let mut select = connection.prepare_cached(sql)?;
    let mut found = select.query([partition])?;
    found.next()?.map(read_progress).transpose()
}

/// The progress of all partitions, in their order.
pub(super) fn all_progress(connection: &Connection) -> Result<Vec<(u32, Progress)>> {
    let sql = "SELECT log_id, log_offset, chain_before, chain, logged_at, state, partition
               FROM progress ORDER BY partition";
    let mut select = connection.prepare_cached(sql)?;
    let mut found = select.query([])?;
    let mut all = Vec::new();
    while let Some(row) = found.next()? {
        all.push((row.get(6)?, read_progress(row)?));
    }
    Ok(all)
}

fn read_progress(row: &Row<'_>) -> Result<Progress> {
    Ok(Progress {
        log_id: row.get(0)?,
        offset: read_offset("log_offset", row.get(1)?)?,
        chain_before: read_digest("chain_before", &blob(row, 2)?)?,
        chain: read_digest("chain", &blob(row, 3)?)?,
        at: Micros(row.get(4)?),
        partition_state: read_json("progress", &text(row, 5)?)?,
    })
}

/// States as of one and the same progress.
pub(super) fn load_runs(
    connection: &Connection,
    partition: u32,
    keys: &[RunKey],
) -> Result<Vec<Option<RunState>>> {
    // A store that is being filled is in a transaction all the time.
    let alone = connection.is_autocommit();
    let _transaction = alone.then(|| connection.unchecked_transaction()).transpose()?;
    keys.iter().map(|key| load_run(connection, partition, key)).collect()
}

fn load_run(connection: &Connection, partition: u32, key: &RunKey) -> Result<Option<RunState>> {
    let Some(run) = number::find(connection, key)? else { return Ok(None) };
    if number::partition_of(run) != partition {
        return Ok(None);
    }
    let Some(head) = load_head(connection, run)? else { return Ok(None) };
    let Some(spec) = load_spec(connection, run)? else {
        return Err(Error::Damaged(format!("run {key}: it has no row in run_specs")));
    };
    let steps = load_steps(connection, run)?;
    form::rebuild(key.clone(), &spec, head, steps).map(Some)
}

fn load_spec(connection: &Connection, run: i64) -> Result<Option<SpecForm<'static>>> {
    let form = |row: &Row<'_>| {
        Ok(SpecForm {
            workflow: text(row, 0)?,
            version: text(row, 1)?,
            driver: text(row, 2)?,
            parent: text(row, 3)?,
            tags: text(row, 4)?,
            created_offset: row.get(5)?,
            created_at: row.get(6)?,
            created_digest: blob(row, 7)?,
            input_digest: blob(row, 8)?,
            state: text(row, 9)?,
            input: blob(row, 10)?,
            plan: blob(row, 11)?,
        })
    };
    let sql = "SELECT workflow, version, driver, parent, tags, created_offset, created_at,
                 created_digest, input_digest, state, input, plan
               FROM run_specs WHERE run = ?1";
    let mut select = connection.prepare_cached(sql)?;
    Ok(select.query_row([run], form).optional()?)
}

fn load_head(connection: &Connection, run: i64) -> Result<Option<HeadForm<'static>>> {
    let sql = "SELECT workflow, version, driver, status, waiting_for, steps_total, steps_completed,
                 steps_failed, steps_dead_lettered, attempts, cost_micros, tokens_in, tokens_out,
                 decisions, started_at, ended_at, last_offset, last_at, failed_step, error_class,
                 error_code, error_message, output_digest, state, seen, output, stalled_since
               FROM runs WHERE run = ?1";
    let mut select = connection.prepare_cached(sql)?;
    Ok(select.query_row([run], head_form).optional()?)
}

fn head_form(row: &Row<'_>) -> SqlResult<HeadForm<'static>> {
    Ok(HeadForm {
        workflow: text(row, 0)?,
        version: text(row, 1)?,
        driver: text(row, 2)?,
        status: text(row, 3)?,
        waiting_for: text(row, 4)?,
        steps: [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?],
        attempts: row.get(9)?,
        cost_micros: row.get(10)?,
        tokens_in: row.get(11)?,
        tokens_out: row.get(12)?,
        decisions: row.get(13)?,
        started_at: row.get(14)?,
        ended_at: row.get(15)?,
        last_offset: row.get(16)?,
        last_at: row.get(17)?,
        stalled_since: row.get(26)?,
        failed_step: text(row, 18)?,
        error_class: text(row, 19)?,
        error_code: text(row, 20)?,
        error_message: text(row, 21)?,
        output_digest: blob(row, 22)?,
        state: text(row, 23)?,
        seen: blob(row, 24)?,
        output: blob(row, 25)?,
    })
}

fn load_steps(connection: &Connection, run: i64) -> Result<Vec<StepForm<'static>>> {
    let sql = "SELECT step, status, attempt, charged, generation, tool, effect, scheduled_offset,
                 scheduled_at, due_at, ended_at, last_offset, error_class, error_code,
                 error_message, input_digest, output_digest, state, input, output
               FROM steps WHERE run = ?1";
    let mut select = connection.prepare_cached(sql)?;
    let found = select.query_map([run], step_form)?;
    Ok(found.collect::<SqlResult<_>>()?)
}

fn step_form(row: &Row<'_>) -> SqlResult<StepForm<'static>> {
    Ok(StepForm {
        step: text(row, 0)?,
        status: text(row, 1)?,
        attempt: row.get(2)?,
        charged: row.get(3)?,
        generation: row.get(4)?,
        tool: text(row, 5)?,
        effect: text(row, 6)?,
        scheduled_offset: row.get(7)?,
        scheduled_at: row.get(8)?,
        due_at: row.get(9)?,
        ended_at: row.get(10)?,
        last_offset: row.get(11)?,
        error_class: text(row, 12)?,
        error_code: text(row, 13)?,
        error_message: text(row, 14)?,
        input_digest: blob(row, 15)?,
        output_digest: blob(row, 16)?,
        state: text(row, 17)?,
        input: blob(row, 18)?,
        output: blob(row, 19)?,
    })
}

/// Open runs of a partition in key order.
pub(super) fn open_runs(
    connection: &Connection,
    partition: u32,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<RunKey>> {
    // No tenant and no run id is empty, so that the empty pair comes before all.
    let after: Option<(String, String)> =
        cursor.map(|cursor| cursor::read("open_runs", cursor)).transpose()?;
    let (tenant, run_id) = after.unwrap_or_default();
    let mut select = connection.prepare_cached(
        "SELECT tenant, run_id FROM open_runs
         WHERE partition = ?1 AND (tenant, run_id) > (?2, ?3) ORDER BY tenant, run_id LIMIT ?4",
    )?;
    let found =
        select.query_map(params![partition, tenant, run_id, rows(limit)], |row| key(row, 0))?;
    let found: Vec<RunKey> = found.collect::<SqlResult<_>>()?;
    let last = found.last().filter(|_| found.len() == limit);
    let next =
        last.map(|key| cursor::write("open_runs", &(&key.tenant, &key.run_id))).transpose()?;
    Ok(Page { rows: found, next })
}

/// Timers of a partition that are due, earliest first.
pub(super) fn due_runs(
    connection: &Connection,
    partition: u32,
    until: Micros,
    limit: usize,
) -> Result<Vec<(Micros, RunKey)>> {
    let mut select = connection.prepare_cached(
        "SELECT due_at, tenant, run_id FROM timers WHERE partition = ?1 AND due_at <= ?2
         ORDER BY due_at, tenant, run_id LIMIT ?3",
    )?;
    let found = select.query_map(params![partition, until.0, rows(limit)], |row| {
        Ok((Micros(row.get(0)?), key(row, 1)?))
    })?;
    Ok(found.collect::<SqlResult<_>>()?)
}

/// Tenant and run id from two neighbouring columns.
pub(super) fn key(row: &Row<'_>, at: usize) -> SqlResult<RunKey> {
    Ok(RunKey { tenant: row.get(at)?, run_id: row.get(at + 1)? })
}

/// The history of a run.
pub(super) fn run_events(
    connection: &Connection,
    key: &RunKey,
    from: u64,
    limit: usize,
) -> Result<Vec<EventRow>> {
    let (Some(run), Ok(from)) = (number::find(connection, key)?, i64::try_from(from)) else {
        return Ok(Vec::new());
    };
    let mut select = connection.prepare_cached(
        "SELECT log_offset, logged_at, kind, step, attempt, actor, verdict, reason
         FROM events WHERE run = ?1 AND log_offset >= ?2 ORDER BY log_offset LIMIT ?3",
    )?;
    let mut found = select.query(params![run, from, rows(limit)])?;
    let mut events = Vec::new();
    while let Some(row) = found.next()? {
        events.push(event(row, key, number::partition_of(run))?);
    }
    Ok(events)
}

fn event(row: &Row<'_>, key: &RunKey, partition: u32) -> Result<EventRow> {
    let attempt: i64 = row.get(4)?;
    let attempt = (attempt >= 0).then(|| read_count("attempt", attempt));
    let reason = text(row, 7)?;
    let reason = (!reason.is_empty()).then(|| parse_name::<Reason>("reason", &reason));
    Ok(EventRow {
        key: key.clone(),
        partition,
        offset: read_offset("log_offset", row.get(0)?)?,
        at: Micros(row.get(1)?),
        kind: row.get(2)?,
        step: step(&text(row, 3)?)?,
        attempt: attempt.transpose()?,
        actor: row.get(5)?,
        verdict: parse_name::<VerdictKind>("verdict", &text(row, 6)?)?,
        reason: reason.transpose()?,
    })
}

/// The optional step in a column.
pub(super) fn step(text: &str) -> Result<Option<StepKey>> {
    let step = (!text.is_empty()).then(|| text.parse());
    step.transpose().map_err(|error| form::damaged("step", error))
}

/// The recorded decisions of a run.
pub(super) fn run_decisions(
    connection: &Connection,
    key: &RunKey,
    from: u64,
    limit: usize,
) -> Result<Vec<DecisionRow>> {
    let (Some(run), Ok(from)) = (number::find(connection, key)?, i64::try_from(from)) else {
        return Ok(Vec::new());
    };
    let mut select = connection.prepare_cached(
        "SELECT log_offset, logged_at, actor, step, decision, request, agent, reasoning, action,
           error, confidence, params_digest, result_digest, state, params, result
         FROM decisions WHERE run = ?1 AND log_offset >= ?2 ORDER BY log_offset LIMIT ?3",
    )?;
    let mut found = select.query(params![run, from, rows(limit)])?;
    let mut decisions = Vec::new();
    while let Some(row) = found.next()? {
        decisions.push(DecisionRow {
            key: key.clone(),
            partition: number::partition_of(run),
            offset: read_offset("log_offset", row.get(0)?)?,
            at: Micros(row.get(1)?),
            actor: row.get(2)?,
            decision: decision_form(row)?.into_decision()?,
        });
    }
    Ok(decisions)
}

fn decision_form(row: &Row<'_>) -> SqlResult<DecisionForm<'static>> {
    Ok(DecisionForm {
        step: text(row, 3)?,
        decision: text(row, 4)?,
        request: text(row, 5)?,
        agent: text(row, 6)?,
        reasoning: text(row, 7)?,
        action: text(row, 8)?,
        error: text(row, 9)?,
        confidence: row.get(10)?,
        params_digest: blob(row, 11)?,
        result_digest: blob(row, 12)?,
        state: text(row, 13)?,
        params: blob(row, 14)?,
        result: blob(row, 15)?,
    })
}

/// The refusal at a position.
pub(super) fn refusal(
    connection: &Connection,
    partition: u32,
    offset: u64,
) -> Result<Option<RefusalRow>> {
    let Ok(column) = i64::try_from(offset) else { return Ok(None) };
    let mut select = connection.prepare_cached(
        "SELECT tenant, run_id, reason, answer, logged_at FROM refusals
         WHERE partition = ?1 AND log_offset = ?2",
    )?;
    let mut found = select.query(params![partition, column])?;
    let Some(row) = found.next()? else { return Ok(None) };
    let key = key(row, 0)?;
    let answer = text(row, 3)?;
    let answer = (!answer.is_empty()).then(|| read_json("answer", &answer));
    Ok(Some(RefusalRow {
        partition,
        offset,
        key: (!key.run_id.is_empty()).then_some(key),
        reason: parse_name("reason", &text(row, 2)?)?,
        answer: answer.transpose()?,
        at: Micros(row.get(4)?),
    }))
}
