//! One list from many CQL partitions, each of which is sorted: days newest first, and inside a day
//! the rows of all its partitions in one order.

use super::crew;
use crate::Result;
use std::collections::VecDeque;

/// Where a list comes from.
pub(super) trait Source: Clone + Send + Sync + 'static {
    /// One sorted CQL partition.
    type Strand: Clone + Send + Sync + 'static;
    /// A row of the index.
    type Entry: Send + 'static;
    /// Its place in the list; lower ones come first.
    type Rank: Ord + Clone + Send + Sync + 'static;

    /// The place of a row.
    fn rank(entry: &Self::Entry) -> Self::Rank;

    /// The next rows of a strand behind a place, in their order. Fewer than `most` only at its end.
    fn fetch(
        &self,
        strand: Self::Strand,
        after: Option<Self::Rank>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Self::Entry>>> + Send;
}

/// The strands of one day, read as far as needed.
pub(super) struct Merge<S: Source> {
    source: S,
    strands: Vec<Reading<S>>,
    most: usize,
}

struct Reading<S: Source> {
    strand: S::Strand,
    after: Option<S::Rank>,
    waiting: VecDeque<S::Entry>,
    is_done: bool,
}

impl<S: Source> Merge<S> {
    /// Rows behind a place; `most` rows of a strand are read at once.
    pub(super) fn new(
        source: S,
        strands: impl IntoIterator<Item = S::Strand>,
        after: Option<&S::Rank>,
        most: usize,
    ) -> Self {
        let reading = |strand| Reading {
            strand,
            after: after.cloned(),
            waiting: VecDeque::new(),
            is_done: false,
        };
        Self { source, strands: strands.into_iter().map(reading).collect(), most }
    }

    /// The next row of the day.
    pub(super) async fn next(&mut self) -> Result<Option<S::Entry>> {
        self.fill().await?;
        let first = |reading: &&mut Reading<S>| reading.waiting.front().map(S::rank);
        let strands = self.strands.iter_mut().filter(|reading| !reading.waiting.is_empty());
        Ok(strands.min_by_key(first).and_then(|reading| reading.waiting.pop_front()))
    }

    /// Reads on in every strand that has nothing waiting.
    async fn fill(&mut self) -> Result<()> {
        let most = self.most;
        let empty = |reading: &Reading<S>| reading.waiting.is_empty() && !reading.is_done;
        let jobs: Vec<_> = (self.strands.iter().enumerate())
            .filter(|(_, reading)| empty(reading))
            .map(|(at, reading)| {
                let (source, strand) = (self.source.clone(), reading.strand.clone());
                let after = reading.after.clone();
                async move { Ok((at, source.fetch(strand, after, most).await?)) }
            })
            .collect();
        for (at, entries) in crew::all(jobs).await? {
            let reading = &mut self.strands[at];
            reading.is_done = entries.len() < most;
            if let Some(last) = entries.last() {
                reading.after = Some(S::rank(last));
            }
            reading.waiting.extend(entries);
        }
        Ok(())
    }
}
