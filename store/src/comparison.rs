//! What comparing two stores of one log found, whatever the adapter.

use spine_schemas::Digest;

/// Characters of a value that a difference shows.
const SHOWN_CHARS: usize = 120;

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Every compared table, in a fixed order.
    pub tables: Vec<TableComparison>,
    /// The first differing rows, in the order of tables and keys, at most as many as asked.
    pub differences: Vec<Difference>,
    /// Partitions whose stored offsets differ; their rows then differ too, and rightly so.
    pub progress: Vec<ProgressDifference>,
}

impl Comparison {
    /// Whether all rows are equal.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.differing_buckets == 0)
    }
}

/// One table of both stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableComparison {
    /// Its name.
    pub table: &'static str,
    /// Rows in the first and in the second store.
    pub rows: [u64; 2],
    /// Digest of all rows in the first and in the second store.
    pub digests: [Digest; 2],
    /// Of [`crate::limits::COMPARE_BUCKETS`] buckets, how many differ.
    pub differing_buckets: usize,
}

/// A row that one store lacks, or a column that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row's key, for people.
    pub key: String,
    /// The column; `None` when a whole row is missing.
    pub column: Option<String>,
    /// The first store's value, shortened; `None` when it lacks the row.
    pub left: Option<String>,
    /// The second store's value, shortened; `None` when it lacks the row.
    pub right: Option<String>,
}

/// A partition that the stores have followed to different offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgressDifference {
    /// The partition.
    pub partition: u32,
    /// Offset in the first store.
    pub left: Option<u64>,
    /// Offset in the second store.
    pub right: Option<u64>,
}

/// Partitions whose offsets differ, in their order.
pub(crate) fn progress_differences(
    left: impl IntoIterator<Item = (u32, u64)>,
    right: impl IntoIterator<Item = (u32, u64)>,
) -> Vec<ProgressDifference> {
    let mut partitions = std::collections::BTreeMap::new();
    for (partition, offset) in left {
        partitions.insert(partition, (Some(offset), None));
    }
    for (partition, offset) in right {
        partitions.entry(partition).or_insert((None, None)).1 = Some(offset);
    }
    let differing = partitions.into_iter().filter(|(_, (left, right))| left != right);
    differing
        .map(|(partition, (left, right))| ProgressDifference { partition, left, right })
        .collect()
}

/// A value for people, shortened.
pub(crate) fn shorten(text: String) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Bytes for people: as text where they are, else as hexadecimal digits.
pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() != 32 => text.to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
