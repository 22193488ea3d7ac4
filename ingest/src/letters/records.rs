//! Letters of records: closed by a control event, after which the original bytes may follow at a new
//! position, where the fold judges them anew.
//!
//! The fold grants one closing of a letter, however many servers are asked for it. So the closing is
//! appended alone, and only whoever has it granted puts the record back: one grant, one copy.
//!
//! Between the two the process may end, or the log may go away: then the letter is closed and its
//! record is not back. Nobody was told that it is, so somebody asks again. A letter that was redriven
//! [`limits::PUT_BACK_AFTER`] ago is therefore looked up behind its closing, and its record is put
//! back if it is not there. Before that time the first server may still be about to do it. The other
//! order, the record in the same append as the closing, loses nothing either, but leaves a copy for
//! every closing that is refused.

use crate::{
    App, Code, Problem, Verdicts,
    ask::{self, Asked, Recall},
    limits,
    log_records::LogRecords,
    query::DEFAULT_TENANT,
};
use spine_log::{EventLog, NewRecord, PartitionReader, ReadLimit, TopicPartition, Urgency};
use spine_runs::{Answer, Verdict};
use spine_schemas::{Body, PartitionEvent, time::Micros};
use spine_store::{LetterRow, LetterStatus, RunStore};
use tokio::time::{Instant, sleep, timeout};

/// Puts the record of a letter back.
pub(super) async fn redrive<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: LetterRow,
    actor: Option<&str>,
    reason: String,
) -> Result<Asked, Problem> {
    let (app, actor) = (app.clone(), actor.map(str::to_owned));
    // A caller who hangs up must not come between the closing and the record.
    let redriven = tokio::spawn(async move {
        match (letter.status, letter.closed_at) {
            (LetterStatus::Open, _) => {
                let again = original(&app, &letter).await?;
                let asked = close(&app, &letter, actor.as_deref(), reason, true).await;
                let asked = asked.map_err(|problem| with_advice(&letter, problem))?;
                put_back(&app, &letter, again).await?;
                wait_stored(&app, &asked).await;
                Ok(asked)
            }
            (LetterStatus::Redriven, Some(closed_at)) if is_long_ago(&app, closed_at) => {
                put_back_late(&app, &letter, closed_at).await
            }
            _ => Err(closed(&letter)),
        }
    });
    redriven.await.map_err(|error| Problem::new(Code::Internal, error.to_string()))?
}

/// The clock decides when somebody looks, and the log whether anything is done.
fn is_long_ago<L: EventLog, S: RunStore, V: Verdicts>(app: &App<L, S, V>, closed: Micros) -> bool {
    let after_ms = u64::try_from(limits::PUT_BACK_AFTER.as_millis()).unwrap_or(u64::MAX);
    app.now() >= closed.plus_ms(after_ms)
}

async fn original<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
) -> Result<NewRecord, Problem> {
    let mut records = LogRecords::new(app.log(), &app.log_reads, app.events_of(letter.partition));
    let original = records.at(letter.source_offset).await?;
    Ok(NewRecord { key: original.key, headers: original.headers, value: original.value })
}

/// A closing whose verdict nobody waited for may be granted all the same.
fn with_advice(letter: &LetterRow, problem: Problem) -> Problem {
    match problem.code() {
        Code::VerdictLate | Code::LogUnavailable => problem.with("advice", advice(letter)),
        _ => problem,
    }
}

fn advice(letter: &LetterRow) -> String {
    let seconds = limits::PUT_BACK_AFTER.as_secs();
    format!(
        "redrive letter {} again in {seconds} seconds: if it is closed by then and its record is not \
         back, that puts it back",
        letter.letter_id
    )
}

/// Gives the record of a letter up.
pub(super) async fn discard<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    actor: Option<&str>,
    reason: String,
) -> Result<Asked, Problem> {
    let asked = close(app, letter, actor, reason, false).await?;
    wait_stored(app, &asked).await;
    Ok(asked)
}

/// Appends the closing of a letter and waits until it is granted.
async fn close<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    actor: Option<&str>,
    reason: String,
    redriven: bool,
) -> Result<Asked, Problem> {
    if letter.status != LetterStatus::Open {
        return Err(closed(letter));
    }
    let letter_id = letter.letter_id;
    let body = Body::Partition(PartitionEvent::RecordDisposed { letter_id, redriven, reason });
    let event = app.event(letter.tenant.as_deref().unwrap_or(DEFAULT_TENANT), actor, body);
    let (partition, records) = (letter.partition, vec![ask::record(None, &event)?]);
    let control = Recall::Control;
    let asked = ask::append_and_wait(app, partition, records, 1, Urgency::Normal, control).await?;
    ask::granted(app, asked)
}

fn closed(letter: &LetterRow) -> Problem {
    let detail = format!("letter {} is {}", letter.letter_id, letter.status.as_str());
    Problem::new(Code::LetterClosed, detail)
}

/// Whoever comes next looks into the store; a store that lags is no reason to refuse this one.
async fn wait_stored<L: EventLog, S: RunStore, V: Verdicts>(app: &App<L, S, V>, asked: &Asked) {
    let _lagging = app.verdicts().stored(asked.partition, asked.offset).await;
}

/// Appends the record. A refusal is met with patience, since the letter is closed already; where the
/// record may be there, it is left to a look at the log.
async fn put_back<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    again: NewRecord,
) -> Result<u64, Problem> {
    let to = app.events_of(letter.partition);
    let until = Instant::now() + limits::PUT_BACK_PATIENCE;
    loop {
        match app.log().append(&to, vec![again.clone()], Urgency::Outcome).await {
            Ok(appended) => return Ok(appended.last_offset),
            Err(error) if error.is_ambiguous() || !error.is_retryable() => {
                return Err(not_back(letter, &error));
            }
            Err(error) if Instant::now() >= until => return Err(not_back(letter, &error)),
            Err(_) => sleep(limits::PUT_BACK_PAUSE).await,
        }
    }
}

fn not_back(letter: &LetterRow, error: &spine_log::Error) -> Problem {
    let id = letter.letter_id;
    let detail = format!("letter {id} is redriven, and its record may not be back: {error}");
    Problem::new(Code::LogUnavailable, detail).with("advice", advice(letter))
}

/// Puts back the record of a letter that was redriven some time ago, if whoever closed it did not.
async fn put_back_late<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    closed_at: Micros,
) -> Result<Asked, Problem> {
    let again = original(app, letter).await?;
    // One at a time: the next one finds what this one puts back.
    let _one_at_a_time = app.putting_back.lock().await;
    let of = app.events_of(letter.partition);
    let found = timeout(limits::PUT_BACK_SCAN, is_behind(app, &of, closed_at, &again)).await;
    match found {
        Ok(Ok(false)) => {}
        Ok(Ok(true)) => return Err(closed(letter)),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            let detail = format!("{of} could not be read in time from the letter's closing on");
            return Err(Problem::new(Code::LogUnavailable, detail));
        }
    }
    let offset = put_back(app, letter, again).await?;
    tracing::warn!(letter = %letter.letter_id, offset, "the record of a closed letter was missing");
    let asked =
        Asked { partition: letter.partition, offset, verdict: Verdict::Applied(Answer::Ok) };
    wait_stored(app, &asked).await;
    Ok(asked)
}

/// Whether a record with the same key and bytes lies behind a time of the log.
async fn is_behind<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    of: &TopicPartition,
    time: Micros,
    wanted: &NewRecord,
) -> spine_log::Result<bool> {
    let _place = app.log_reads.acquire().await.ok();
    let end = app.log().bounds(of).await?.end;
    let mut reader = app.log().reader(of, app.log().offset_at(of, time).await?).await?;
    while reader.position() < end {
        let records = reader.next(ReadLimit { records: 1024, bytes: 4 * 1024 * 1024 }).await?;
        if records.iter().any(|one| one.key == wanted.key && one.value == wanted.value) {
            return Ok(true);
        }
    }
    Ok(false)
}
