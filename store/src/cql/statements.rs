//! Every statement of a store, prepared once. Each binds all columns of its partition key.

use super::{
    blocks::LISTS,
    fault,
    tables::{
        CLOSINGS, CREATIONS, DECISIONS, EVENT_BUCKETS, EVENTS, HEADS, LETTERS, LETTERS_BY_DAY,
        LISTED, OPEN_FROM, OPEN_RUNS, PROGRESS, REFUSALS, RUNS_BY_DAY, STEPS, Table,
    },
};
use crate::{Result, limits};
use scylla::{
    client::session::Session,
    statement::{Consistency, prepared::PreparedStatement},
};

/// A row that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Head,
    Creation,
    Step,
    Event,
    EventBucket,
    Decision,
    Refusal,
    Letter,
    Closing,
    LetterOfDay,
    OpenRun,
    /// The end of an open run: its key and nothing else.
    EndedRun,
    RunOfDay,
    Listed,
    Progress,
    OpenFrom,
}

const PUTS: [(Put, Option<Table>); 16] = [
    (Put::Head, Some(HEADS)),
    (Put::Creation, Some(CREATIONS)),
    (Put::Step, Some(STEPS)),
    (Put::Event, Some(EVENTS)),
    (Put::EventBucket, Some(EVENT_BUCKETS)),
    (Put::Decision, Some(DECISIONS)),
    (Put::Refusal, Some(REFUSALS)),
    (Put::Letter, Some(LETTERS)),
    (Put::Closing, Some(CLOSINGS)),
    (Put::LetterOfDay, Some(LETTERS_BY_DAY)),
    (Put::OpenRun, Some(OPEN_RUNS)),
    (Put::EndedRun, None),
    (Put::RunOfDay, Some(RUNS_BY_DAY)),
    (Put::Listed, Some(LISTED)),
    (Put::Progress, Some(PROGRESS)),
    (Put::OpenFrom, Some(OPEN_FROM)),
];

/// What a list shows of a run.
const RUN_ROW: [&str; 17] = [
    "partition",
    "seen_offset",
    "workflow",
    "version",
    "driver",
    "status",
    "steps_total",
    "steps_completed",
    "steps_failed",
    "steps_dead_lettered",
    "attempts",
    "cost_micros",
    "started_at",
    "ended_at",
    "last_offset",
    "stalled_since",
    "run_id",
];

/// Prepared statements of one keyspace.
pub(super) struct Statements {
    puts: Vec<PreparedStatement>,
    pub(super) progress: PreparedStatement,
    pub(super) all_progress: PreparedStatement,
    pub(super) run: PreparedStatement,
    pub(super) steps: PreparedStatement,
    pub(super) events: PreparedStatement,
    pub(super) history: PreparedStatement,
    pub(super) event_values: PreparedStatement,
    pub(super) event_buckets: PreparedStatement,
    pub(super) decisions: PreparedStatement,
    pub(super) refusal: PreparedStatement,
    pub(super) letter: PreparedStatement,
    pub(super) letters_of_day: PreparedStatement,
    pub(super) open_runs: PreparedStatement,
    pub(super) runs_of_day: PreparedStatement,
    pub(super) run_row: PreparedStatement,
    pub(super) listed: PreparedStatement,
}

/// Prepares statements of one keyspace.
struct Kitchen<'a> {
    session: &'a Session,
    keyspace: &'a str,
}

impl Statements {
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> Result<Self> {
        let kitchen = Kitchen { session, keyspace };
        let run = "tenant = ? AND run_id = ? AND bucket = ?";
        let from = format!("{run} AND log_offset >= ?");
        Ok(Self {
            puts: kitchen.puts().await?,
            progress: kitchen.select(&with(PROGRESS, &["open_from"]), "partition = ?").await?,
            all_progress: kitchen.prepare(&kitchen.all(PROGRESS)).await?,
            run: kitchen.select(&with(HEADS, CREATIONS.columns), run).await?,
            steps: kitchen.select_large(&with(STEPS, &[]), run).await?,
            events: kitchen.select_large(&(EVENTS.name, LISTS.to_vec()), &from).await?,
            history: kitchen.select(&history(), &from).await?,
            event_values: kitchen
                .select_large(&(EVENTS.name, vec!["offsets", "bytes"]), &from)
                .await?,
            event_buckets: kitchen
                .select(&("event_buckets", vec!["events_in"]), &format!("{run} AND events_in >= ?"))
                .await?,
            decisions: kitchen.select_large(&with(DECISIONS, &[]), &from).await?,
            refusal: kitchen
                .select(&with(REFUSALS, &[]), "partition = ? AND bucket = ? AND log_offset = ?")
                .await?,
            letter: kitchen.select(&with(LETTERS, CLOSINGS.columns), "letter_id = ?").await?,
            letters_of_day: kitchen
                .select(&with(LETTERS_BY_DAY, &[]), "day = ? AND shard = ? AND dead_at <= ?")
                .await?,
            open_runs: kitchen
                .select(
                    &with(OPEN_RUNS, &[]),
                    "partition = ? AND bucket = ? AND (tenant, run_id) > (?, ?)",
                )
                .await?,
            runs_of_day: kitchen
                .select(
                    &with(RUNS_BY_DAY, &[]),
                    "tenant = ? AND day = ? AND shard = ? AND started_at <= ?",
                )
                .await?,
            run_row: kitchen.select(&("runs", RUN_ROW.to_vec()), run).await?,
            listed: kitchen.select(&with(LISTED, &[]), "list = ? AND day <= ?").await?,
        })
    }

    pub(super) fn put(&self, put: Put) -> &PreparedStatement {
        &self.puts[put as usize]
    }
}

/// A table and the columns to read: its own, keys first, and others.
fn with(table: Table, more: &[&'static str]) -> (&'static str, Vec<&'static str>) {
    (table.name, table.all().chain(more.iter().copied()).collect())
}

/// The events without their bytes, and their partition.
fn history() -> (&'static str, Vec<&'static str>) {
    let lists = LISTS.into_iter().filter(|list| *list != "bytes");
    (EVENTS.name, lists.chain(["partition"]).collect())
}

impl Kitchen<'_> {
    fn all(&self, table: Table) -> String {
        let columns: Vec<&str> = table.all().collect();
        format!("SELECT {} FROM {}.{}", columns.join(", "), self.keyspace, table.name)
    }

    async fn puts(&self) -> Result<Vec<PreparedStatement>> {
        let mut puts = Vec::with_capacity(PUTS.len());
        for (at, (put, table)) in PUTS.into_iter().enumerate() {
            assert_eq!(put as usize, at, "statements lie in the order of the enum");
            let text = match table {
                Some(table) => table.insert(self.keyspace),
                None => format!(
                    "DELETE FROM {}.open_runs USING TIMESTAMP ? WHERE partition = ? AND \
                     bucket = ? AND tenant = ? AND run_id = ?",
                    self.keyspace
                ),
            };
            puts.push(self.prepare(&text).await?);
        }
        Ok(puts)
    }

    async fn select(
        &self,
        (table, columns): &(&'static str, Vec<&'static str>),
        condition: &str,
    ) -> Result<PreparedStatement> {
        let columns = columns.join(", ");
        let keyspace = self.keyspace;
        self.prepare(&format!("SELECT {columns} FROM {keyspace}.{table} WHERE {condition}")).await
    }

    /// For rows that hold payloads.
    async fn select_large(
        &self,
        from: &(&'static str, Vec<&'static str>),
        condition: &str,
    ) -> Result<PreparedStatement> {
        let mut prepared = self.select(from, condition).await?;
        prepared.set_page_size(limits::CQL_LARGE_PAGE_ROWS);
        Ok(prepared)
    }

    async fn prepare(&self, text: &str) -> Result<PreparedStatement> {
        let prepared = self.session.prepare(text).await;
        let mut prepared =
            prepared.map_err(|error| fault::of_prepare("prepare a statement", error))?;
        prepared.set_consistency(Consistency::LocalQuorum);
        prepared.set_is_idempotent(true);
        prepared.set_page_size(limits::CQL_PAGE_ROWS);
        Ok(prepared)
    }
}
