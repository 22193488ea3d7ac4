//! The one way to the servers: bounded requests in flight, our own bounded retries, paged reads.
//!
//! The driver never repeats a timed-out write. Here every write may be repeated: its timestamp
//! follows from the log, so a second copy changes nothing.

use super::{cells::Cells, fault};
use crate::{Error, Result, limits, metrics};
use scylla::{
    client::session::Session,
    errors::ExecutionError,
    response::{PagingState, query_result::QueryResult},
    statement::{batch::Batch, prepared::PreparedStatement},
    value::{CqlValue, Row},
};
use std::{ops::ControlFlow, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// A session with a bound on the requests that are on their way. Clones share it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) session: Arc<Session>,
    in_flight: Arc<Semaphore>,
}

/// Whether reading of pages goes on.
pub(super) type Flow = ControlFlow<()>;
/// The next row is wanted.
pub(super) const MORE: Flow = ControlFlow::Continue(());
/// Enough.
pub(super) const ENOUGH: Flow = ControlFlow::Break(());

impl Link {
    pub(super) fn new(session: Session, in_flight: usize) -> Self {
        Self { session: Arc::new(session), in_flight: Arc::new(Semaphore::new(in_flight)) }
    }

    /// Writes one row, or does whatever else needs no answer.
    pub(super) async fn write(
        &self,
        what: &str,
        statement: &PreparedStatement,
        values: &[CqlValue],
    ) -> Result<()> {
        let done = || self.session.execute_unpaged(statement, values);
        self.patiently(what, done).await.map(|_| ())
    }

    /// Writes rows of one partition.
    pub(super) async fn write_batch(
        &self,
        what: &str,
        batch: &Batch,
        values: &[Vec<CqlValue>],
    ) -> Result<()> {
        self.patiently(what, || self.session.batch(batch, values)).await.map(|_| ())
    }

    /// Gives the rows of a query one by one, page after page, until `each` has enough.
    pub(super) async fn read(
        &self,
        what: &str,
        statement: &PreparedStatement,
        values: &[CqlValue],
        mut each: impl FnMut(Cells) -> Result<Flow> + Send,
    ) -> Result<()> {
        let mut page = PagingState::start();
        loop {
            let ask = || self.session.execute_single_page(statement, values, page.clone());
            let (found, next) = self.patiently(what, ask).await?;
            if each_row(what, found, &mut each)?.is_break() {
                return Ok(());
            }
            match next.into_paging_control_flow() {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(state) => page = state,
            }
        }
    }

    /// All rows of a query that has few.
    pub(super) async fn rows<T: Send>(
        &self,
        what: &str,
        statement: &PreparedStatement,
        values: &[CqlValue],
        read: impl Fn(&mut Cells) -> Result<T> + Send + Sync,
    ) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let each = |mut cells| {
            rows.push(read(&mut cells)?);
            Ok(MORE)
        };
        self.read(what, statement, values, each).await?;
        Ok(rows)
    }

    /// The one row of a query, if there is one.
    pub(super) async fn row<T: Send>(
        &self,
        what: &str,
        statement: &PreparedStatement,
        values: &[CqlValue],
        read: impl Fn(&mut Cells) -> Result<T> + Send + Sync,
    ) -> Result<Option<T>> {
        Ok(self.rows(what, statement, values, read).await?.pop())
    }

    /// The same for a request that takes its place among those in flight with each try.
    async fn patiently<T, F>(&self, what: &str, attempt: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, ExecutionError>> + Send,
    {
        patiently(what, || async {
            let permit = self.in_flight.acquire().await;
            let _permit = permit.map_err(|_| Error::Unavailable("the store is closed".into()))?;
            Ok(attempt().await)
        })
        .await
    }
}

/// Repeats what may pass, with growing pauses, a bounded number of times. An error of our own ends
/// it at once.
pub(super) async fn patiently<T, F>(what: &str, attempt: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<std::result::Result<T, ExecutionError>>>,
{
    let mut pause = Duration::from_millis(limits::CQL_PAUSE_MS);
    for tries_left in (0..limits::CQL_TRIES).rev() {
        match attempt().await? {
            Ok(done) => return Ok(done),
            Err(error) if tries_left > 0 && fault::passes(&error) => {
                tracing::debug!(%error, what, "a request is tried again");
            }
            Err(error) => return Err(fault::of_request(what, &error)),
        }
        metrics::count_retry();
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    unreachable!("the last try gives its error")
}

fn each_row(
    what: &str,
    found: QueryResult,
    each: &mut impl FnMut(Cells) -> Result<Flow>,
) -> Result<Flow> {
    let found = found.into_rows_result().map_err(|error| fault::of_rows(what, error))?;
    for row in found.rows::<Row>().map_err(|error| fault::of_rows(what, error))? {
        let row = row.map_err(|error| fault::of_rows(what, error))?;
        if each(Cells::new(row))?.is_break() {
            return Ok(ENOUGH);
        }
    }
    Ok(MORE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// A lightweight transaction that met another one times out, and so may several in a row.
    #[test]
    fn a_time_out_is_tried_again_and_a_refusal_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let timed_out = || ExecutionError::RequestTimeout(Duration::from_millis(1));
        let tries = Cell::new(0);
        let outcome = runtime.block_on(patiently("open", || {
            tries.set(tries.get() + 1);
            std::future::ready(Ok(if tries.get() < 3 { Err(timed_out()) } else { Ok("done") }))
        }));
        assert_eq!((outcome, tries.get()), (Ok("done"), 3));
        let refused = Error::Refused("no".into());
        let outcome: Result<()> = runtime.block_on(patiently("open", || {
            tries.set(tries.get() + 1);
            std::future::ready(Err(refused.clone()))
        }));
        assert_eq!((outcome, tries.get()), (Err(refused), 4));
    }
}
