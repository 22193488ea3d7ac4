//! What an owner asks after a claim: which runs are open, and which are due.
//!
//! Open runs lie in buckets by the offset that created them. Buckets below the oldest open run are
//! empty for good; a hint beside the progress says where to begin.

use super::{
    cells::{Cells, Values, partition},
    crew,
    link::{ENOUGH, MORE},
    rows::NOTHING_DUE,
    stamp,
    statements::Put,
    store::CqlStore,
    write::Write,
};
use crate::{Page, Result, cursor, limits};
use spine_schemas::{RunKey, time::Micros};
use std::collections::BinaryHeap;

/// Behind which open run a page goes on: its bucket and key.
#[derive(serde::Serialize, serde::Deserialize)]
struct AfterOpen(i64, String, String);

/// An open run and when it is due, if ever.
type Open = (i64, RunKey);

impl CqlStore {
    pub(super) async fn read_open(
        &self,
        number: u32,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunKey>> {
        let limit = limit.clamp(1, limits::SCAN_ROWS);
        let after: Option<AfterOpen> =
            after.map(|cursor| cursor::read("open_runs", cursor)).transpose()?;
        let mut page = Page { rows: Vec::new(), next: None };
        let Some(extent) = self.extent(number).await? else { return Ok(page) };
        let end = stamp::open_bucket(extent.progress.offset);
        let is_first = after.is_none();
        let AfterOpen(begin, tenant, run_id) =
            after.unwrap_or_else(|| AfterOpen(extent.open_from, String::new(), String::new()));
        // The oldest bucket that still holds a run.
        let mut oldest = None;
        let mut first = (tenant, run_id);
        let mut bucket = begin;
        while bucket <= end && page.next.is_none() {
            let found =
                self.buckets(number, bucket, end, std::mem::take(&mut first), limit).await?;
            for (at, rows) in found {
                for (_, key) in rows {
                    oldest.get_or_insert(at);
                    let after = AfterOpen(at, key.tenant.to_string(), key.run_id.to_string());
                    page.rows.push(key);
                    if page.rows.len() == limit {
                        page.next = Some(cursor::write("open_runs", &after)?);
                        break;
                    }
                }
                bucket = at + 1;
                if page.next.is_some() {
                    break;
                }
            }
        }
        if is_first {
            let empty_below = oldest.unwrap_or(end);
            self.raise_open_from(number, extent.open_from, empty_below).await;
        }
        Ok(page)
    }

    pub(super) async fn read_due(
        &self,
        number: u32,
        until: Micros,
        limit: usize,
    ) -> Result<Vec<(Micros, RunKey)>> {
        let limit = limit.clamp(1, limits::SCAN_ROWS);
        let Some(extent) = self.extent(number).await? else { return Ok(Vec::new()) };
        let end = stamp::open_bucket(extent.progress.offset);
        let mut earliest: BinaryHeap<Open> = BinaryHeap::new();
        let mut bucket = extent.open_from;
        while bucket <= end {
            let found = self.buckets(number, bucket, end, Default::default(), usize::MAX).await?;
            for (at, rows) in found {
                let due = |open: &Open| open.0 != NOTHING_DUE && open.0 <= until.0;
                for open in rows.into_iter().filter(due) {
                    earliest.push(open);
                    if earliest.len() > limit {
                        earliest.pop();
                    }
                }
                bucket = at + 1;
            }
        }
        Ok(earliest.into_sorted_vec().into_iter().map(|(due, key)| (Micros(due), key)).collect())
    }

    /// Some buckets from one on, each with its open runs in key order; in the first of them only
    /// those behind a key.
    async fn buckets(
        &self,
        number: u32,
        begin: i64,
        end: i64,
        after: (String, String),
        limit: usize,
    ) -> Result<Vec<(i64, Vec<Open>)>> {
        let last = end.min(begin + limits::CQL_SCAN_BUCKETS as i64 - 1);
        let mut after = Some(after);
        crew::all((begin..=last).map(|bucket| {
            let store = self.clone();
            let (tenant, run_id) = after.take().unwrap_or_default();
            async move {
                let from = Values::default().int(partition(number)).big(bucket);
                let from = from.texts([&tenant, &run_id]).cells;
                Ok((bucket, store.open_bucket(&from, limit).await?))
            }
        }))
        .await
    }

    async fn open_bucket(
        &self,
        from: &[scylla::value::CqlValue],
        limit: usize,
    ) -> Result<Vec<Open>> {
        let mut rows = Vec::new();
        let each = |mut cells: Cells| {
            cells.next();
            cells.next();
            let key = RunKey::new(&cells.text()?, &cells.text()?);
            rows.push((cells.big()?, key));
            Ok(if rows.len() == limit { ENOUGH } else { MORE })
        };
        self.link().read("read open runs", &self.statements().open_runs, from, each).await?;
        Ok(rows)
    }

    /// Notes that the buckets below one are empty. They stay so: a run that opened there is older
    /// than progress, and its end, once written, outlives every late writer.
    async fn raise_open_from(&self, number: u32, from: i64, to: i64) {
        if to <= from || self.is_read_only() {
            return;
        }
        let values = Values::default().int(partition(number)).big(to).big(stamp::hint(to));
        let row = Write { put: Put::OpenFrom, values };
        if let Err(error) = self.write_row("note the oldest open run", &row).await {
            // Only a hint: the next claim reads some empty buckets more.
            tracing::debug!(%error, partition = number, "the hint was not written");
        }
    }
}
