//! Dead letters, newest first, each as its first closing left it.

use super::{
    cells::{Cells, Values},
    crew,
    history::read_step_key,
    link::{ENOUGH, MORE},
    merge::{Merge, Source},
    rows::LETTERS,
    stamp,
    store::CqlStore,
};
use crate::{
    LetterClosing, LetterFilter, LetterKind, LetterRow, LetterStatus, Page, Result, cursor,
    form::{Given, parse_name, read_digest, read_offset},
    limits,
};
use scylla::value::CqlValue;
use serde::{Deserialize, Serialize};
use spine_schemas::{Digest, time::Micros};
use std::cmp::Reverse;

/// The place of a letter in a list: time, partition, offset and id, all falling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Rank(Reverse<(i64, u32, u64, Digest)>);

/// A row of `dead_letters_by_day`.
pub(super) struct Entry {
    rank: Rank,
    tenant: String,
}

#[derive(Clone)]
struct Index(CqlStore);

impl Source for Index {
    /// Day and shard.
    type Strand = (i32, i32);
    type Entry = Entry;
    type Rank = Rank;

    fn rank(entry: &Entry) -> Rank {
        entry.rank.clone()
    }

    async fn fetch(
        &self,
        (day, shard): (i32, i32),
        after: Option<Rank>,
        most: usize,
    ) -> Result<Vec<Entry>> {
        let newest = after.as_ref().map_or(i64::MAX, |after| after.0.0.0);
        let values = Values::default().int(day).int(shard).big(newest).cells;
        let mut entries = Vec::new();
        let each = |mut cells: Cells| {
            let entry = read_entry(&mut cells)?;
            if after.as_ref().is_none_or(|after| entry.rank > *after) {
                entries.push(entry);
            }
            Ok(if entries.len() == most { ENOUGH } else { MORE })
        };
        let statement = &self.0.statements().letters_of_day;
        self.0.link().read("list letters", statement, &values, each).await?;
        Ok(entries)
    }
}

fn read_entry(cells: &mut Cells) -> Result<Entry> {
    cells.next();
    cells.next();
    let (dead_at, partition) = (cells.big()?, cells.partition()?);
    let (offset, id) = (cells.offset()?, read_digest("letter_id", &cells.blob()?)?);
    Ok(Entry { rank: Rank(Reverse((dead_at, partition, offset, id))), tenant: cells.string()? })
}

impl CqlStore {
    pub(super) async fn page_of_letters(
        &self,
        filter: &LetterFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<LetterRow>> {
        let after: Option<Rank> = after.map(|after| cursor::read("letters", after)).transpose()?;
        let limit = limit.clamp(1, limits::PAGE_ROWS);
        let newest = after.as_ref().map_or(i32::MAX, |after| stamp::day(Micros(after.0.0.0)));
        let mut rows: Vec<(Rank, LetterRow)> = Vec::new();
        let (mut looked_at, mut last) = (0, None);
        for (day, _) in self.listed(LETTERS, newest).await? {
            let strands = (0..stamp::SHARDS).map(|shard| (day, shard));
            let mut merge = Merge::new(Index(self.clone()), strands, after.as_ref(), limit + 1);
            let mut is_end = false;
            while !is_end && rows.len() <= limit && looked_at < limits::CQL_LIST_ROWS {
                let mut candidates = Vec::new();
                while candidates.len() <= limit && looked_at < limits::CQL_LIST_ROWS {
                    let Some(entry) = merge.next().await? else {
                        is_end = true;
                        break;
                    };
                    looked_at += 1;
                    last = Some(entry.rank.clone());
                    if filter.tenant.as_ref().is_none_or(|tenant| entry.tenant == *tenant) {
                        candidates.push(entry.rank);
                    }
                }
                let found = self.letters_of(candidates).await?;
                rows.extend(found.into_iter().filter(|(_, row)| filter.takes(row)));
            }
        }
        let after = if rows.len() > limit {
            rows.truncate(limit);
            rows.last().map(|(rank, _)| rank.clone())
        } else {
            last.filter(|_| looked_at >= limits::CQL_LIST_ROWS)
        };
        let next = after.map(|after| cursor::write("letters", &after)).transpose()?;
        Ok(Page { rows: rows.into_iter().map(|(_, row)| row).collect(), next })
    }

    async fn letters_of(&self, ranks: Vec<Rank>) -> Result<Vec<(Rank, LetterRow)>> {
        let found = crew::all(ranks.into_iter().map(|rank| {
            let store = self.clone();
            async move { Ok(store.read_letter(rank.0.0.3).await?.map(|row| (rank, row))) }
        }));
        Ok(found.await?.into_iter().flatten().collect())
    }

    pub(super) async fn read_letter(&self, id: Digest) -> Result<Option<LetterRow>> {
        let values = [CqlValue::Blob(id.0.to_vec())];
        let read = |cells: &mut Cells| read_letter(id, cells);
        let letter = self.link().row("read a letter", &self.statements().letter, &values, read);
        Ok(letter.await?.flatten())
    }
}

/// A letter with its first closing; `None` for a closing of a letter that never was.
fn read_letter(letter_id: Digest, cells: &mut Cells) -> Result<Option<LetterRow>> {
    cells.next();
    let Some(kind) = cells.optional_text()? else { return Ok(None) };
    let status = parse_name::<LetterStatus>("status", &cells.text()?)?;
    let partition = cells.partition()?;
    let (source_offset, offset) = (cells.offset()?, cells.offset()?);
    let (tenant, run_id) = (cells.text()?, cells.text()?);
    let step = read_step_key(&cells.text()?)?;
    let (class, code, message) = (cells.string()?, cells.string()?, cells.string()?);
    let (generation, attempts) = (cells.count()?, cells.count()?);
    let (attempts_json, tool) = (cells.string()?, cells.text()?);
    let (dead_at, closed_at) = (Micros(cells.big()?), cells.big()?);
    let (closed_by, closed_reason) = (cells.text()?, cells.text()?);
    let given = Given::from_column(&cells.text()?);
    let mut row = LetterRow {
        letter_id,
        kind: parse_name::<LetterKind>("kind", &kind)?,
        status,
        partition,
        source_offset,
        offset,
        tenant: given.text("tenant", &tenant),
        run_id: given.text("run_id", &run_id),
        step,
        class,
        code,
        message,
        generation,
        attempts,
        attempts_json,
        tool: given.text("tool", &tool),
        dead_at,
        closed_at: given.time("closed_at", closed_at),
        closed_by: given.text("closed_by", &closed_by),
        closed_reason: given.text("closed_reason", &closed_reason),
    };
    if let Some(closing) = read_closing(letter_id, cells)? {
        // One before the opening closed nothing.
        if closing.offset >= row.offset {
            row.close(&closing);
        }
    }
    Ok(Some(row))
}

fn read_closing(letter_id: Digest, cells: &mut Cells) -> Result<Option<LetterClosing>> {
    let Some(status) = cells.optional_text()? else { return Ok(None) };
    Ok(Some(LetterClosing {
        letter_id,
        status: parse_name::<LetterStatus>("closing_status", &status)?,
        offset: read_offset("closing_offset", cells.big()?)?,
        at: Micros(cells.big()?),
        by: cells.string()?,
        reason: cells.string()?,
    }))
}
