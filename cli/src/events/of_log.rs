//! The events of a log, read without a server or beside one.

use super::tail::Args;
use crate::{
    adapters::{self, AnyLog, LogUrl},
    exit::Failure,
    output,
    render::{cell::step, color, when},
};
use serde_json::json;
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use spine_schemas::{
    Body, Event,
    codec::{self, SchemaBook},
    json as event_json,
};
use std::time::Duration;

/// Between two looks for further events.
const PAUSE: Duration = Duration::from_millis(500);
/// Newest events that are shown where no beginning is named.
const NEWEST: u64 = 20;
const READ: ReadLimit = ReadLimit { records: 1000, bytes: 1024 * 1024 };

/// Prints the events of a partition until there are no more, or for ever when following.
pub(super) async fn tail(args: &Args, url: &LogUrl) -> Result<(), Failure> {
    let book = SchemaBook::compiled_in();
    let of = TopicPartition::new(url.steps(), args.partition);
    let client = args.log_config.clone().unwrap_or_default();
    let mut log = adapters::open_log_read_only(url, &client).await?;
    adapters::learn_schemas(&log, &book).await?;
    let mut end = log.bounds(&of).await?.end;
    let mut from = args.from.unwrap_or_else(|| end.saturating_sub(args.limit.unwrap_or(NEWEST)));
    let last = args.limit.map_or(u64::MAX, |limit| from.saturating_add(limit));
    loop {
        from = print_range(args, &log, &of, from..end.min(last), &book).await?;
        if !args.follow || from >= last {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
        if let LogUrl::Embedded(_) = url {
            // A reader's copy of a directory ends where it was opened.
            log = adapters::open_log_read_only(url, &client).await?;
        }
        end = log.bounds(&of).await?.end;
    }
}

async fn print_range(
    args: &Args,
    log: &AnyLog,
    of: &TopicPartition,
    range: std::ops::Range<u64>,
    book: &SchemaBook,
) -> Result<u64, Failure> {
    if range.is_empty() {
        return Ok(range.start);
    }
    let mut reader = log.reader(of, range.start).await?;
    while reader.position() < range.end {
        for record in reader.next(READ).await? {
            if record.offset >= range.end {
                break;
            }
            let event = codec::decode(record.value.as_deref().unwrap_or_default(), book);
            let is_json = args.server.json;
            let shown = if is_json { line(of, &record, &event) } else { text(of, &record, &event) };
            output::line(&shown)?;
        }
    }
    Ok(range.end)
}

/// The place, the log's time, and the event or why it cannot be read.
fn line(of: &TopicPartition, record: &Record, event: &spine_schemas::Result<Event>) -> String {
    let position = json!({"topic": &*of.topic, "partition": of.partition, "offset": record.offset});
    let at = record.timestamp.to_string();
    let read = event.as_ref().map_err(ToString::to_string);
    match read.and_then(|event| event_json::to_line(event).map_err(|error| error.to_string())) {
        // The event's text is kept as it is: its numbers must not pass through another form.
        Ok(event) => format!(r#"{{"position":{position},"at":"{at}","event":{event}}}"#),
        Err(why) => json!({"position": position, "at": at, "unreadable": why}).to_string(),
    }
}

fn text(of: &TopicPartition, record: &Record, event: &spine_schemas::Result<Event>) -> String {
    let place = format!("{}:{}", of.partition, record.offset);
    let at = color::faint(&when::clock(record.timestamp));
    match event {
        Ok(event) => {
            let actor = color::faint(&event.actor);
            format!("{place:<8}  {at}  {:<20}  {:<28}  {actor}", event.kind().as_str(), what(event))
        }
        Err(why) => format!("{place:<8}  {at}  {}  {why}", color::bad("unreadable")),
    }
}

fn what(event: &Event) -> String {
    match &event.body {
        Body::Run(run, _) => format!("{}/{run}", event.tenant),
        Body::Step(run, key, _) => format!("{}/{run} {}", event.tenant, step(&key.to_string())),
        Body::Partition(_) => String::new(),
    }
}
