//! Lists for people: newest first, page by page, stable while rows are written.
//!
//! A page goes on behind the last row that was given, by columns that never change. So rows that
//! were there are given once, whatever is written between two pages.

use super::read::{SqlResult, blob, key, step, text};
use crate::{
    Error, LetterFilter, LetterKind, LetterRow, LetterStatus, Page, Result, RunFilter, RunRow,
    cursor,
    form::{Given, parse_name, read_count, read_digest, read_offset},
    limits,
};
use rusqlite::{Connection, Row, ToSql};
use serde::{Deserialize, Serialize};
use spine_schemas::{Digest, time::Micros};

/// Behind which run a page goes on: time and number.
#[derive(Serialize, Deserialize)]
struct AfterRun(i64, i64);

/// Behind which letter a page goes on: time, partition, offset, id.
#[derive(Serialize, Deserialize)]
struct AfterLetter(i64, u32, u64, Digest);

/// A query that grows by conditions.
struct Query {
    sql: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Query {
    fn new(select: &str) -> Self {
        Self { sql: format!("{select} WHERE true"), values: Vec::new() }
    }

    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Box<dyn ToSql>>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// Runs it until a page is full of rows that are wanted, or until so many were looked at that others have waited
    /// long enough. Gives behind which row the next page goes on, if there may be one.
    fn page<T, C>(
        mut self,
        connection: &Connection,
        order: &str,
        limit: usize,
        read: impl Fn(&Row<'_>) -> Result<T>,
        (is_wanted, place): (impl Fn(&T) -> bool, impl Fn(&T) -> C),
    ) -> Result<(Vec<T>, Option<C>)> {
        let limit = limit.clamp(1, limits::PAGE_ROWS);
        self.sql.push_str(&format!(" ORDER BY {order}"));
        let mut select = connection.prepare_cached(&self.sql)?;
        let mut found = select.query(rusqlite::params_from_iter(&self.values))?;
        let (mut rows, mut looked_at) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let row = read(row)?;
            looked_at += 1;
            let is_wanted = is_wanted(&row);
            if is_wanted && rows.len() == limit {
                let behind = rows.last().map(place);
                return Ok((rows, behind));
            }
            let behind = (looked_at == limits::LIST_ROWS).then(|| place(&row));
            if is_wanted {
                rows.push(row);
            }
            if behind.is_some() {
                return Ok((rows, behind));
            }
        }
        Ok((rows, None))
    }
}

fn value(value: impl ToSql + 'static) -> Box<dyn ToSql> {
    Box::new(value)
}

/// A page of runs.
pub(super) fn runs(
    connection: &Connection,
    filter: &RunFilter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<RunRow>> {
    let mut query = Query::new(
        "SELECT tenant, run_id, workflow, version, driver, status, steps_total, steps_completed,
           steps_failed, steps_dead_lettered, attempts, cost_micros, started_at, ended_at,
           partition, last_offset, run, stalled_since FROM runs",
    );
    follow_index(&mut query, filter)?;
    if let Some(cursor) = cursor {
        let AfterRun(at, run) = cursor::read("runs", cursor)?;
        query.and("(started_at, run) < (?, ?)", [value(at), value(run)]);
    }
    let read = |row: &Row<'_>| Ok((run_row(row)?, row.get::<_, i64>(16)?));
    let is_wanted = |(row, _): &(RunRow, i64)| {
        filter.tenant.as_ref().is_none_or(|tenant| *row.key.tenant == **tenant)
            && filter.workflow.as_ref().is_none_or(|workflow| row.workflow == *workflow)
            && filter.status.as_ref().is_none_or(|status| row.status == *status)
    };
    let place = |(row, run): &(RunRow, i64)| AfterRun(row.started_at.0, *run);
    let order = "started_at DESC, run DESC";
    let (rows, behind) = query.page(connection, order, limit, read, (is_wanted, place))?;
    let next = behind.map(|after| cursor::write("runs", &after)).transpose()?;
    Ok(Page { rows: rows.into_iter().map(|(row, _)| row).collect(), next })
}

/// Follows the narrowest index: of a status other than completed, else of the workflow, else of the tenant. What else
/// is asked for is looked for in its rows.
fn follow_index(query: &mut Query, filter: &RunFilter) -> Result<()> {
    let RunFilter { tenant, workflow, status } = filter;
    match (status.as_deref(), workflow, tenant) {
        (Some(status @ ("running" | "waiting" | "degraded" | "failed" | "cancelled")), ..) => {
            // The second condition is what lets SQLite use the partial index.
            query.and("status = ? AND status <> 'completed'", [value(status.to_owned())]);
        }
        (Some(status), ..) if status != "completed" => {
            return Err(Error::BadQuery(format!("status: there is no '{status}'")));
        }
        (_, Some(workflow), _) => query.and("workflow = ?", [value(workflow.clone())]),
        (_, None, Some(tenant)) => query.and("tenant = ?", [value(tenant.clone())]),
        (_, None, None) => {}
    }
    Ok(())
}

fn run_row(row: &Row<'_>) -> Result<RunRow> {
    let steps = [count(row, 6)?, count(row, 7)?, count(row, 8)?, count(row, 9)?];
    Ok(RunRow {
        key: key(row, 0)?,
        workflow: row.get(2)?,
        version: row.get(3)?,
        driver: row.get(4)?,
        status: row.get(5)?,
        steps,
        attempts: read_offset("attempts", row.get(10)?)?,
        cost_micros: read_offset("cost_micros", row.get(11)?)?,
        started_at: Micros(row.get(12)?),
        ended_at: ended_at(row)?,
        partition: row.get(14)?,
        last_offset: read_offset("last_offset", row.get(15)?)?,
        stalled_since: since(row.get(17)?),
    })
}

/// No run stalled before there was Spine: zero says that it is not.
fn since(at: i64) -> Option<Micros> {
    (at != 0).then_some(Micros(at))
}

/// A run that ended at time zero is told from an open one by its status.
fn ended_at(row: &Row<'_>) -> SqlResult<Option<Micros>> {
    let at: i64 = row.get(13)?;
    let status = row.get_ref(5)?.as_str()?;
    let open = status == "running" || status == "waiting";
    Ok((at != 0 || !open).then_some(Micros(at)))
}

fn count(row: &Row<'_>, at: usize) -> Result<u32> {
    read_count("steps", row.get(at)?)
}

const LETTERS: &str =
    "SELECT letter_id, kind, status, partition, source_offset, log_offset, tenant,
    run_id, step, class, code, message, generation, attempts, attempts_json, tool, dead_at,
    closed_at, closed_by, closed_reason, given FROM dead_letters";

/// A page of letters.
pub(super) fn letters(
    connection: &Connection,
    filter: &LetterFilter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<Page<LetterRow>> {
    let mut query = Query::new(LETTERS);
    match (filter.status, &filter.tenant) {
        (Some(status), _) => query.and("status = ?", [value(status.as_str())]),
        (None, Some(tenant)) => query.and("tenant = ?", [value(tenant.clone())]),
        (None, None) => {}
    }
    if let Some(cursor) = cursor {
        let AfterLetter(at, partition, offset, id) = cursor::read("letters", cursor)?;
        let offset = i64::try_from(offset)
            .map_err(|_| Error::BadQuery("cursor: not one that this list gave".into()))?;
        let after = [value(at), value(partition), value(offset), value(id.0)];
        query.and("(dead_at, partition, log_offset, letter_id) < (?, ?, ?, ?)", after);
    }
    let order = "dead_at DESC, partition DESC, log_offset DESC, letter_id DESC";
    let is_wanted = |row: &LetterRow| {
        let is_task = row.kind == LetterKind::Task;
        let is_tenant = |tenant: &String| row.tenant.as_deref() == Some(tenant.as_str());
        is_task == filter.tasks && filter.tenant.as_ref().is_none_or(is_tenant)
    };
    let place =
        |row: &LetterRow| AfterLetter(row.dead_at.0, row.partition, row.offset, row.letter_id);
    let (rows, behind) = query.page(connection, order, limit, letter_row, (is_wanted, place))?;
    let next = behind.map(|after| cursor::write("letters", &after)).transpose()?;
    Ok(Page { rows, next })
}

/// One letter.
pub(super) fn letter(connection: &Connection, id: &Digest) -> Result<Option<LetterRow>> {
    let mut query = Query::new(LETTERS);
    query.and("letter_id = ?", [value(id.0)]);
    let one = (|_: &LetterRow| true, |_: &LetterRow| ());
    let (rows, _) = query.page(connection, "letter_id", 1, letter_row, one)?;
    Ok(rows.into_iter().next())
}

fn letter_row(row: &Row<'_>) -> Result<LetterRow> {
    let given = Given::from_column(&text(row, 20)?);
    let optional = |column: &str, at: usize| -> Result<Option<String>> {
        Ok(given.text(column, &text(row, at)?))
    };
    Ok(LetterRow {
        letter_id: read_digest("letter_id", &blob(row, 0)?)?,
        kind: parse_name::<LetterKind>("kind", &text(row, 1)?)?,
        status: parse_name::<LetterStatus>("status", &text(row, 2)?)?,
        partition: row.get(3)?,
        source_offset: read_offset("source_offset", row.get(4)?)?,
        offset: read_offset("log_offset", row.get(5)?)?,
        tenant: optional("tenant", 6)?,
        run_id: optional("run_id", 7)?,
        step: step(&text(row, 8)?)?,
        class: row.get(9)?,
        code: row.get(10)?,
        message: row.get(11)?,
        generation: row.get(12)?,
        attempts: row.get(13)?,
        attempts_json: row.get(14)?,
        tool: optional("tool", 15)?,
        dead_at: Micros(row.get(16)?),
        closed_at: given.time("closed_at", row.get(17)?),
        closed_by: optional("closed_by", 18)?,
        closed_reason: optional("closed_reason", 19)?,
    })
}
