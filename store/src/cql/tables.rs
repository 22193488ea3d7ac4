//! The tables and their columns, in the order in which rows are bound and read.

/// A table whose rows follow from the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Columns of the primary key, those of the partition key first.
    pub(super) key: &'static [&'static str],
    /// The other columns that are written together.
    pub(super) columns: &'static [&'static str],
}

pub(super) const RUN_KEY: &[&str] = &["tenant", "run_id", "bucket"];
const EVENT_KEY: &[&str] = &["tenant", "run_id", "bucket", "log_offset"];

/// The part of a run that changes.
pub(super) const HEADS: Table = Table {
    name: "runs",
    key: RUN_KEY,
    columns: &[
        "partition",
        "seen_offset",
        "step_buckets",
        "workflow",
        "version",
        "driver",
        "status",
        "waiting_for",
        "steps_total",
        "steps_completed",
        "steps_failed",
        "steps_dead_lettered",
        "attempts",
        "cost_micros",
        "tokens_in",
        "tokens_out",
        "decisions",
        "started_at",
        "ended_at",
        "last_offset",
        "last_at",
        "stalled_since",
        "failed_step",
        "error_class",
        "error_code",
        "error_message",
        "output_digest",
        "state",
        "seen",
        "output",
    ],
};
/// The part of a run that never changes.
pub(super) const CREATIONS: Table = Table {
    name: "runs",
    key: RUN_KEY,
    columns: &[
        "parent",
        "tags",
        "created_offset",
        "created_at",
        "created_digest",
        "input_digest",
        "created_state",
        "input",
        "plan",
    ],
};
pub(super) const STEPS: Table = Table {
    name: "steps",
    key: &["tenant", "run_id", "bucket", "step"],
    columns: &[
        "status",
        "attempt",
        "charged",
        "generation",
        "tool",
        "effect",
        "scheduled_offset",
        "scheduled_at",
        "due_at",
        "ended_at",
        "last_offset",
        "error_class",
        "error_code",
        "error_message",
        "input_digest",
        "output_digest",
        "state",
        "input",
        "output",
    ],
};
/// Blocks of events; what a list holds is of one event each (`blocks`).
pub(super) const EVENTS: Table = Table {
    name: "events",
    key: &["tenant", "run_id", "bucket", "log_offset", "first_offset"],
    columns: &[
        "partition",
        "offsets",
        "times",
        "kinds",
        "steps",
        "attempts",
        "actors",
        "verdicts",
        "reasons",
        "bytes",
    ],
};
pub(super) const EVENT_BUCKETS: Table = Table {
    name: "event_buckets",
    key: &["tenant", "run_id", "bucket", "events_in"],
    columns: &[],
};
pub(super) const DECISIONS: Table = Table {
    name: "decisions",
    key: EVENT_KEY,
    columns: &[
        "partition",
        "logged_at",
        "actor",
        "step",
        "decision",
        "request",
        "agent",
        "reasoning",
        "action",
        "error",
        "confidence",
        "params_digest",
        "result_digest",
        "state",
        "params",
        "result",
    ],
};
pub(super) const REFUSALS: Table = Table {
    name: "refusals",
    key: &["partition", "bucket", "log_offset"],
    columns: &["tenant", "run_id", "reason", "answer", "logged_at"],
};
/// A letter as it was opened.
pub(super) const LETTERS: Table = Table {
    name: "dead_letters",
    key: &["letter_id"],
    columns: &[
        "kind",
        "status",
        "partition",
        "source_offset",
        "log_offset",
        "tenant",
        "run_id",
        "step",
        "class",
        "code",
        "message",
        "generation",
        "attempts",
        "attempts_json",
        "tool",
        "dead_at",
        "closed_at",
        "closed_by",
        "closed_reason",
        "given",
    ],
};
/// Its closing.
pub(super) const CLOSINGS: Table = Table {
    name: "dead_letters",
    key: &["letter_id"],
    columns: &["closing_status", "closing_offset", "closing_at", "closing_by", "closing_reason"],
};
pub(super) const LETTERS_BY_DAY: Table = Table {
    name: "dead_letters_by_day",
    key: &["day", "shard", "dead_at", "partition", "log_offset", "letter_id"],
    columns: &["tenant"],
};
pub(super) const OPEN_RUNS: Table = Table {
    name: "open_runs",
    key: &["partition", "bucket", "tenant", "run_id"],
    columns: &["due_at"],
};
pub(super) const RUNS_BY_DAY: Table = Table {
    name: "runs_by_day",
    key: &["tenant", "day", "shard", "started_at", "run_id"],
    columns: &["workflow", "status"],
};
pub(super) const LISTED: Table =
    Table { name: "listed", key: &["list", "day", "tenant"], columns: &[] };
pub(super) const PROGRESS: Table = Table {
    name: "progress",
    key: &["partition"],
    columns: &["log_id", "log_offset", "chain_before", "chain", "logged_at", "state"],
};
/// The hint beside the progress, written by itself.
pub(super) const OPEN_FROM: Table =
    Table { name: "progress", key: &["partition"], columns: &["open_from"] };

impl Table {
    /// All columns that are written together, keys first.
    pub(super) fn all(&self) -> impl Iterator<Item = &'static str> {
        self.key.iter().chain(self.columns).copied()
    }

    /// The statement that writes a row; the last value is the timestamp.
    pub(super) fn insert(&self, keyspace: &str) -> String {
        let columns: Vec<&str> = self.all().collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let columns = columns.join(", ");
        let name = self.name;
        format!("INSERT INTO {keyspace}.{name} ({columns}) VALUES ({marks}) USING TIMESTAMP ?")
    }
}
