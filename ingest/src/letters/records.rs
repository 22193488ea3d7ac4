//! Letters of records: closed by a control event, after which the original bytes may follow at a new
//! position, where the fold judges them anew.

use crate::{
    App, Code, Problem, Verdicts,
    ask::{self, Asked, Recall},
    log_records::LogRecords,
    query::DEFAULT_TENANT,
};
use spine_log::{EventLog, NewRecord, Urgency};
use spine_schemas::{Body, PartitionEvent};
use spine_store::{LetterRow, LetterStatus, RunStore};

/// Puts the record of a letter back.
pub(super) async fn redrive<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    actor: Option<&str>,
    reason: String,
) -> Result<Asked, Problem> {
    let mut records = LogRecords::new(app.log(), &app.log_reads, app.events_of(letter.partition));
    let original = records.at(letter.source_offset).await?;
    let again = NewRecord { key: original.key, headers: original.headers, value: original.value };
    close(app, letter, actor, reason, Some(again)).await
}

/// Gives the record of a letter up.
pub(super) async fn discard<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    actor: Option<&str>,
    reason: String,
) -> Result<Asked, Problem> {
    close(app, letter, actor, reason, None).await
}

async fn close<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    actor: Option<&str>,
    reason: String,
    again: Option<NewRecord>,
) -> Result<Asked, Problem> {
    // The original follows in the same append, before the verdict on the closing is known. So that
    // it is not put back twice, one letter is closed at a time, after a look at its newest status.
    let _one_at_a_time = app.closing_records.lock().await;
    let newest = super::find(app, &letter.letter_id.to_string()).await?;
    if newest.status != LetterStatus::Open {
        let detail = format!("letter {} is {}", letter.letter_id, newest.status.as_str());
        return Err(Problem::new(Code::LetterClosed, detail));
    }
    let body = Body::Partition(PartitionEvent::RecordDisposed {
        letter_id: letter.letter_id,
        redriven: again.is_some(),
        reason,
    });
    let event = app.event(letter.tenant.as_deref().unwrap_or(DEFAULT_TENANT), actor, body);
    let mut records = vec![ask::record(None, &event)?];
    records.extend(again);
    let partition = letter.partition;
    let control = Recall::Control;
    let asked = ask::append_and_wait(app, partition, records, 1, Urgency::Normal, control).await?;
    let asked = ask::granted(app, asked)?;
    // Whoever comes next looks into the store; a store that lags is no reason to refuse this one.
    let _lagging = app.verdicts().stored(asked.partition, asked.offset).await;
    Ok(asked)
}
