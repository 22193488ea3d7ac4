//! Jobs side by side, each a task of its own, with a bound; their results in the order of the jobs.
//!
//! Tasks instead of one large set of futures: polling hundreds of requests from one place is what
//! stops a client from scaling.

use crate::{Error, Result, limits};
use tokio::task::{JoinError, JoinSet};

/// Runs all jobs; the first failure ends the others.
pub(super) async fn all<T, F>(jobs: impl IntoIterator<Item = F>) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut done: Vec<Option<T>> = Vec::new();
    let mut crew = JoinSet::new();
    for (number, job) in jobs.into_iter().enumerate() {
        done.push(None);
        if crew.len() >= limits::CQL_IN_FLIGHT {
            note(crew.join_next().await, &mut done)?;
        }
        crew.spawn(async move { job.await.map(|outcome| (number, outcome)) });
    }
    while !crew.is_empty() {
        note(crew.join_next().await, &mut done)?;
    }
    Ok(done.into_iter().flatten().collect())
}

fn note<T>(
    ended: Option<std::result::Result<Result<(usize, T)>, JoinError>>,
    done: &mut [Option<T>],
) -> Result<()> {
    match ended {
        None => Ok(()),
        Some(Ok(outcome)) => {
            let (number, outcome) = outcome?;
            done[number] = Some(outcome);
            Ok(())
        }
        // A panic is a bug that must not look like a slow store.
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Unavailable("the runtime is shutting down".into())),
        },
    }
}
