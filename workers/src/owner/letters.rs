//! Publishing letters: repeated until acknowledged, before anything after them is stored.

use super::{Owner, originals::Originals};
use crate::{
    Clock, Error, Result, limits,
    materialize::{LetterDue, record_letter, step_letter},
    metrics,
    order::Orders,
    tools::Tools,
};
use bytes::Bytes;
use spine_log::{Appended, EventLog, NewRecord, Record, TopicPartition, Urgency};
use spine_schemas::{DeadLetter, LetterSource, codec, keys, time::Micros};
use spine_store::RunStore;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Publishes the letters of records just folded. Returns when the log has acknowledged them, so
    /// that progress cannot pass an event whose letter is not there.
    pub(super) async fn publish(&mut self, due: Vec<(LetterDue, Record)>) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut originals =
            Originals::new(self.node.log.clone(), self.tp.clone(), self.orders.clone(), self.order);
        for (letter, decided) in due {
            let (built, original_at) = self.build(&letter, decided, &mut originals).await?;
            metrics::observe_letter();
            let record = letter_record(&built, original_at)?;
            bytes += record.value.as_ref().map_or(0, Bytes::len);
            records.push(record);
            if bytes >= limits::LETTERS_BYTES {
                self.append_letters(std::mem::take(&mut records)).await?;
                bytes = 0;
            }
        }
        self.append_letters(records).await
    }

    async fn append_letters(&mut self, records: Vec<NewRecord>) -> Result<()> {
        if !records.is_empty() {
            let to = self.letters_to.clone();
            self.append_patiently(&to, records).await?;
        }
        Ok(())
    }

    /// The letter, and the log time of its original.
    async fn build(
        &mut self,
        due: &LetterDue,
        decided: Record,
        originals: &mut Originals<L>,
    ) -> Result<(DeadLetter, Micros)> {
        let (topic, partition) = (self.tp.topic.clone(), self.tp.partition);
        let (built, original_at) = match due {
            LetterDue::Step { run, step } => {
                let original = originals.get(step.scheduled_offset).await?;
                (step_letter(&topic, partition, run, step, &original), original.timestamp)
            }
            LetterDue::Record { offset, decided: at, .. } => {
                let original =
                    if *offset == *at { decided } else { originals.get(*offset).await? };
                if *offset != *at {
                    let event = due.event_in(&original, &self.node.book);
                    self.fold.open_record_letter(due, &original, event.as_ref());
                }
                let id = keys::record_letter_id(self.node.log.log_id(), &topic, partition, *offset);
                (record_letter(id, &topic, partition, due, &original), original.timestamp)
            }
        };
        let built =
            built.ok_or_else(|| Error::Encode("a letter without its step's error".into()))?;
        Ok((built, original_at))
    }

    /// Appends records again and again until it is certain that they are there.
    pub(super) async fn append_patiently(
        &mut self,
        to: &TopicPartition,
        records: Vec<NewRecord>,
    ) -> Result<Appended> {
        append_until_there(&self.node.log, &self.orders, to, records).await
    }

    /// The same for control records of this partition.
    pub(super) async fn append_control(&mut self, values: Vec<Bytes>) -> Result<Appended> {
        let record = |value| NewRecord::plain(None, value);
        let to = self.tp.clone();
        self.append_patiently(&to, values.into_iter().map(record).collect()).await
    }
}

/// Appends records again and again until it is certain that they are there, or the owner must go.
pub(super) async fn append_until_there(
    log: &impl EventLog,
    orders: &Orders,
    to: &TopicPartition,
    records: Vec<NewRecord>,
) -> Result<Appended> {
    let mut pause = limits::RETRY_FIRST;
    loop {
        match log.append(to, records.clone(), Urgency::Outcome).await {
            Ok(appended) => return Ok(appended),
            Err(error) if super::is_transient(&error) && !orders.must_go() => {
                tracing::warn!(%to, %error, "append failed, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(limits::RETRY_MOST);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The letter as a record: the original's key, and the key facts as headers for generic tools. They
/// follow from the log alone, so that repeats are equal in them too.
fn letter_record(letter: &DeadLetter, original_at: Micros) -> Result<NewRecord> {
    let value = codec::encode_letter(letter).map_err(|error| Error::Encode(error.to_string()))?;
    let text = |name: &str, value: String| (format!("spine.dlq.{name}"), Bytes::from(value));
    let mut headers = vec![
        text("v", "1".into()),
        text("id", letter.letter_id.to_string()),
        text("topic", letter.topic.clone()),
        text("partition", letter.partition.to_string()),
        text("offset", letter.offset.to_string()),
        text("timestamp", original_at.to_string()),
        text("class", class_of(letter).to_owned()),
        text("error", letter.message.chars().take(1024).collect()),
        text("attempts", attempts_of(letter).to_string()),
        text("dead_at", letter.dead_at.to_string()),
    ];
    headers.extend(run_id_of(letter).map(|run_id| text("run_id", run_id)));
    let fingerprint = letter.value.as_deref().and_then(|v| codec::framed_fingerprint(v).ok());
    headers.extend(fingerprint.map(|of| text("schema_fp", format!("{of:016x}"))));
    Ok(NewRecord { key: letter.key.clone(), headers, value: Some(value) })
}

/// How many attempts the step has had; a record has none.
fn attempts_of(letter: &DeadLetter) -> u64 {
    match &letter.source {
        LetterSource::Step { attempts, attempts_omitted, .. } => {
            attempts.len() as u64 + u64::from(*attempts_omitted)
        }
        LetterSource::Record { .. } => 0,
    }
}

/// The run: of a record, the one that its key names, since its value may say nothing.
fn run_id_of(letter: &DeadLetter) -> Option<String> {
    match &letter.source {
        LetterSource::Step { run, .. } => Some(run.run_id.to_string()),
        LetterSource::Record { .. } => {
            let (_, run_id) = std::str::from_utf8(letter.key.as_deref()?).ok()?.split_once('/')?;
            (run_id.len() <= spine_schemas::limits::ID_BYTES).then(|| run_id.to_owned())
        }
    }
}

fn class_of(letter: &DeadLetter) -> &'static str {
    match &letter.source {
        LetterSource::Step { class, .. } => class.as_str(),
        LetterSource::Record { class } => class.as_str(),
    }
}
