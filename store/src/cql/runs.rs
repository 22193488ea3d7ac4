//! Lists of runs: newest first, page by page, stable while rows are written.
//!
//! An index by day names the runs; what a list shows is read from the runs themselves. A page goes
//! on behind the last run that was given, by columns that never change.

use super::{
    cells::{Cells, Values},
    crew,
    link::{ENOUGH, MORE},
    merge::{Merge, Source},
    rows::{RUNS, in_run, runs_of, tenants_of},
    stamp,
    store::CqlStore,
};
use crate::{Error, Page, Result, RunFilter, RunRow, cursor, form::read_count, limits};
use serde::{Deserialize, Serialize};
use spine_schemas::{RunKey, time::Micros};
use std::cmp::Reverse;

/// The place of a run in a list: time, newest first, then tenant and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Rank(Reverse<i64>, String, String);

/// A row of `runs_by_day`.
pub(super) struct Entry {
    started_at: i64,
    key: RunKey,
    workflow: String,
    /// `''` while the run is open.
    status: String,
}

#[derive(Clone)]
struct Index(CqlStore);

impl Source for Index {
    /// Tenant, day and shard.
    type Strand = (String, i32, i32);
    type Entry = Entry;
    type Rank = Rank;

    fn rank(entry: &Entry) -> Rank {
        let (tenant, run_id) = (entry.key.tenant.to_string(), entry.key.run_id.to_string());
        Rank(Reverse(entry.started_at), tenant, run_id)
    }

    async fn fetch(
        &self,
        (tenant, day, shard): Self::Strand,
        after: Option<Rank>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        let newest = after.as_ref().map_or(i64::MAX, |after| after.0.0);
        let values = Values::default().text(&tenant).int(day).int(shard).big(newest).cells;
        let mut entries = Vec::new();
        let each = |mut cells: Cells| {
            let entry = read_entry(&mut cells)?;
            if after.as_ref().is_none_or(|after| Self::rank(&entry) > *after) {
                entries.push(entry);
            }
            Ok(if entries.len() == most { ENOUGH } else { MORE })
        };
        let statement = &self.0.statements().runs_of_day;
        self.0.link().read("list runs", statement, &values, each).await?;
        Ok(entries)
    }
}

fn read_entry(cells: &mut Cells) -> Result<Entry> {
    let tenant = cells.text()?;
    cells.next();
    cells.next();
    let started_at = cells.big()?;
    let key = RunKey::new(&tenant, &cells.text()?);
    Ok(Entry { started_at, key, workflow: cells.string()?, status: cells.string()? })
}

impl CqlStore {
    pub(super) async fn page_of_runs(
        &self,
        filter: &RunFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunRow>> {
        let wanted = Wanted::of(filter)?;
        let after: Option<Rank> = after.map(|after| cursor::read("runs", after)).transpose()?;
        let limit = limit.clamp(1, limits::PAGE_ROWS);
        let mut page = Filling { rows: Vec::new(), limit, looked_at: 0, last: None };
        let newest = after.as_ref().map_or(i32::MAX, |after| stamp::day(Micros(after.0.0)));
        let list = filter.tenant.as_deref().map_or_else(|| RUNS.to_owned(), runs_of);
        for (day, _) in self.listed(&list, newest).await? {
            let tenants = match &filter.tenant {
                Some(tenant) => vec![tenant.clone()],
                None => self.tenants_of(day).await?,
            };
            let strands = tenants.iter().flat_map(|tenant| {
                (0..stamp::SHARDS).map(move |shard| (tenant.clone(), day, shard))
            });
            let merge = Merge::new(Index(self.clone()), strands, after.as_ref(), limit + 1);
            if self.fill_from(merge, &wanted, &mut page).await? {
                break;
            }
        }
        page.finish()
    }

    /// Takes runs of one day; gives whether the page is full.
    async fn fill_from(
        &self,
        mut merge: Merge<Index>,
        wanted: &Wanted<'_>,
        page: &mut Filling,
    ) -> Result<bool> {
        loop {
            let mut candidates = Vec::new();
            let mut is_end = false;
            while candidates.len() <= page.limit && page.looked_at < limits::CQL_LIST_ROWS {
                let Some(entry) = merge.next().await? else {
                    is_end = true;
                    break;
                };
                page.looked_at += 1;
                page.last = Some(Index::rank(&entry));
                if wanted.may_be(&entry) {
                    candidates.push(entry);
                }
            }
            for (rank, row) in self.run_rows(candidates).await? {
                if page.rows.len() <= page.limit && wanted.is(&row) {
                    page.rows.push((rank, row));
                }
            }
            let is_full = page.rows.len() > page.limit;
            if is_full || is_end || page.looked_at >= limits::CQL_LIST_ROWS {
                return Ok(is_full || !is_end);
            }
        }
    }

    /// The rows of runs, in the order asked, without those that are not there.
    async fn run_rows(&self, entries: Vec<Entry>) -> Result<Vec<(Rank, RunRow)>> {
        let found = crew::all(entries.into_iter().map(|entry| {
            let store = self.clone();
            async move {
                let values = in_run(&entry.key, 0).cells;
                let read = |cells: &mut Cells| read_run_row(&entry.key, cells);
                let statement = &store.statements().run_row;
                let row = store.link().row("list runs", statement, &values, read).await?;
                Ok(row.flatten().map(|row| (Index::rank(&entry), row)))
            }
        }));
        Ok(found.await?.into_iter().flatten().collect())
    }

    /// The days of a list, newest first, and the tenants there.
    pub(super) async fn listed(&self, list: &str, newest: i32) -> Result<Vec<(i32, String)>> {
        let values = Values::default().text(list).int(newest).cells;
        let read = |cells: &mut Cells| {
            cells.next();
            Ok((cells.int()?, cells.string()?))
        };
        self.link().rows("list days", &self.statements().listed, &values, read).await
    }

    async fn tenants_of(&self, day: i32) -> Result<Vec<String>> {
        let tenants = self.listed(&tenants_of(day), i32::MAX).await?;
        Ok(tenants.into_iter().map(|(_, tenant)| tenant).collect())
    }
}

/// What the filter lets through, by the index and by the run itself.
struct Wanted<'a> {
    workflow: Option<&'a str>,
    status: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(filter: &'a RunFilter) -> Result<Self> {
        let status = filter.status.as_deref();
        match status {
            None
            | Some("running" | "waiting" | "completed" | "degraded" | "failed" | "cancelled") => {}
            Some(other) => {
                return Err(Error::BadQuery(format!("status: there is no '{other}'")));
            }
        }
        Ok(Self { workflow: filter.workflow.as_deref(), status })
    }

    fn may_be(&self, entry: &Entry) -> bool {
        let status = match self.status {
            None => true,
            Some("running" | "waiting") => entry.status.is_empty(),
            Some(ended) => entry.status == ended,
        };
        status && self.workflow.is_none_or(|workflow| entry.workflow == workflow)
    }

    fn is(&self, row: &RunRow) -> bool {
        self.status.is_none_or(|status| row.status == status)
    }
}

/// A page that is being filled with one row more than it has, which tells whether another follows.
struct Filling {
    rows: Vec<(Rank, RunRow)>,
    limit: usize,
    looked_at: usize,
    /// The last row of the index that was looked at.
    last: Option<Rank>,
}

impl Filling {
    fn finish(mut self) -> Result<Page<RunRow>> {
        let after = if self.rows.len() > self.limit {
            self.rows.truncate(self.limit);
            self.rows.last().map(|(rank, _)| rank.clone())
        } else {
            // A page of a rare filter ends early rather than reading for ever.
            self.last.filter(|_| self.looked_at >= limits::CQL_LIST_ROWS)
        };
        let next = after.map(|after| cursor::write("runs", &after)).transpose()?;
        Ok(Page { rows: self.rows.into_iter().map(|(_, row)| row).collect(), next })
    }
}

/// A run in a list; `None` where only its creation has been written.
fn read_run_row(key: &RunKey, cells: &mut Cells) -> Result<Option<RunRow>> {
    let Some(partition) = cells.optional_int()? else { return Ok(None) };
    cells.next();
    let (workflow, version) = (cells.string()?, cells.string()?);
    let (driver, status) = (cells.string()?, cells.string()?);
    let steps = [cells.count()?, cells.count()?, cells.count()?, cells.count()?];
    let (attempts, cost_micros) = (cells.offset()?, cells.offset()?);
    let (started_at, ended_at) = (Micros(cells.big()?), cells.big()?);
    // A run that ended at time zero is told from an open one by its status.
    let is_open = status == "running" || status == "waiting";
    let last_offset = cells.offset()?;
    let stalled_since = cells.big()?;
    Ok(Some(RunRow {
        key: key.clone(),
        workflow,
        version,
        driver,
        status,
        steps,
        attempts,
        cost_micros,
        started_at,
        ended_at: (ended_at != 0 || !is_open).then_some(Micros(ended_at)),
        partition: read_count("partition", i64::from(partition))?,
        last_offset,
        stalled_since: (stalled_since != 0).then_some(Micros(stalled_since)),
    }))
}
