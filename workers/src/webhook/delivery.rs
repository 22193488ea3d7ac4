//! Posting the records of one partition, in their order, each until it is taken.

use crate::{
    limits, metrics,
    tools::{HttpTools, Posted},
};
use bytes::Bytes;
use spine_log::{EventLog, PartitionReader, Record, TopicPartition};
use spine_schemas::{Digest, LifecycleRecord, Transition};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Who is posted to, and what.
pub(super) struct Receiver {
    url: String,
    kinds: BTreeSet<Transition>,
    tools: HttpTools,
    name: String,
}

/// What an answer means for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It was taken.
    Taken,
    /// It will never be: the next one is posted.
    Passed,
    /// It is posted again.
    Again,
}

impl Receiver {
    pub(super) fn new(url: String, kinds: BTreeSet<Transition>, tools: HttpTools) -> Self {
        let name = name_of(&url);
        Self { url, kinds, tools, name }
    }

    /// Names it in metrics and in the server's log. Its path may be a secret.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn wants(&self, record: &LifecycleRecord) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&record.kind)
    }

    /// Posts what is in a record, if it is wanted.
    async fn deliver(&self, at: &TopicPartition, record: &Record) {
        let Some(body) = &record.value else { return };
        match LifecycleRecord::parse(body) {
            Ok(told) if self.wants(&told) => self.post(&told, body).await,
            Ok(_) => {}
            Err(error) => {
                let offset = record.offset;
                tracing::error!(%at, offset, %error, "a record of the lifecycle topic is none of ours");
            }
        }
    }

    /// Posts a record again and again until it is taken, or certainly never will be.
    async fn post(&self, record: &LifecycleRecord, body: &Bytes) {
        let headers = [
            ("spine-event-id", record.event_id.as_str()),
            ("spine-kind", record.kind.as_str()),
            ("idempotency-key", record.event_id.as_str()),
        ];
        let (id, webhook) = (&record.event_id, &self.name);
        let mut pause = limits::WEBHOOK_RETRY_FIRST;
        let mut failures: u64 = 0;
        loop {
            let within = limits::WEBHOOK_TIMEOUT;
            let posted = self.tools.post(&self.url, &headers, body.clone(), within).await;
            let meaning = meaning(&posted);
            metrics::observe_webhook(webhook, outcome(meaning));
            match meaning {
                Meaning::Taken => {
                    if failures > 0 {
                        tracing::info!(webhook, failures, "takes records again");
                    }
                    return;
                }
                Meaning::Passed => {
                    tracing::error!(
                        webhook,
                        id,
                        ?posted,
                        "does not take a record: it is passed over"
                    );
                    return;
                }
                Meaning::Again => {
                    failures += 1;
                    if failures.is_power_of_two() {
                        tracing::warn!(webhook, id, failures, ?posted, "takes no records");
                    }
                }
            }
            tokio::time::sleep(pause.max(asked_for(&posted))).await;
            pause = (pause * 2).min(limits::WEBHOOK_RETRY_MOST);
        }
    }
}

fn name_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let id = Digest::of_bytes(url.as_bytes()).to_string();
    format!("{host}#{}", &id[..8])
}

fn outcome(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Taken => "delivered",
        Meaning::Passed => "passed_over",
        Meaning::Again => "failed",
    }
}

fn meaning(posted: &Posted) -> Meaning {
    match posted {
        Posted::Answered { status: 200..=299, .. } => Meaning::Taken,
        Posted::Answered { status: 408 | 425 | 429, .. } => Meaning::Again,
        // One record that it will never take must not keep all others from it.
        Posted::Answered { status: 400..=499, .. } => Meaning::Passed,
        // What is not allowed was checked at the start: a name may resolve to another address meanwhile.
        Posted::Answered { .. } | Posted::Unanswered(_) | Posted::Refused(_) => Meaning::Again,
    }
}

fn asked_for(posted: &Posted) -> Duration {
    match posted {
        Posted::Answered { retry_after_ms: Some(ms), .. } => {
            Duration::from_millis(*ms).min(limits::WEBHOOK_RETRY_AFTER_MOST)
        }
        Posted::Answered { retry_after_ms: None, .. }
        | Posted::Unanswered(_)
        | Posted::Refused(_) => Duration::ZERO,
    }
}

/// Reads one partition and posts what is in it.
pub(super) struct Delivery<L: EventLog> {
    pub(super) log: L,
    pub(super) at: TopicPartition,
    pub(super) reader: L::Reader,
    pub(super) receiver: Arc<Receiver>,
    /// Told of each record that is done: the offset after it.
    pub(super) taken: watch::Sender<u64>,
}

impl<L: EventLog> Delivery<L> {
    pub(super) async fn run(mut self) {
        let mut pause = limits::RETRY_FIRST;
        loop {
            match self.reader.next(limits::WEBHOOK_READ).await {
                Ok(records) => {
                    pause = limits::RETRY_FIRST;
                    for record in records {
                        self.receiver.deliver(&self.at, &record).await;
                        self.taken.send_replace(record.offset + 1);
                    }
                }
                Err(error) => {
                    let webhook = self.receiver.name();
                    tracing::warn!(webhook, at = %self.at, %error, "transitions cannot be read now");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::RETRY_MOST);
                    self.read_again().await;
                }
            }
        }
    }
}

impl<L: EventLog> Delivery<L> {
    /// Reads on from where it was, or from what is left where the topic has lost that.
    async fn read_again(&mut self) {
        let Ok(bounds) = self.log.bounds(&self.at).await else { return };
        let position = self.reader.position();
        let next = position.clamp(bounds.first, bounds.end);
        if next != position {
            let webhook = self.receiver.name();
            tracing::error!(webhook, at = %self.at, position, next, "transitions are gone from the topic");
        }
        if let Ok(reader) = self.log.reader(&self.at, next).await {
            self.reader = reader;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_definite_no_is_passed_over() {
        let answered = |status| Posted::Answered { status, retry_after_ms: None };
        for (posted, expected) in [
            (answered(200), Meaning::Taken),
            (answered(204), Meaning::Taken),
            (answered(301), Meaning::Again),
            (answered(400), Meaning::Passed),
            (answered(404), Meaning::Passed),
            (answered(408), Meaning::Again),
            (answered(410), Meaning::Passed),
            (answered(425), Meaning::Again),
            (answered(429), Meaning::Again),
            (answered(500), Meaning::Again),
            (answered(503), Meaning::Again),
            (Posted::Unanswered("gone".into()), Meaning::Again),
            (Posted::Refused("no".into()), Meaning::Again),
        ] {
            assert_eq!(meaning(&posted), expected, "{posted:?}");
        }
        let busy = Posted::Answered { status: 429, retry_after_ms: Some(2000) };
        assert_eq!(asked_for(&busy), Duration::from_secs(2));
        let never = Posted::Answered { status: 503, retry_after_ms: Some(u64::MAX) };
        assert_eq!(asked_for(&never), limits::WEBHOOK_RETRY_AFTER_MOST);
    }

    #[test]
    fn a_name_shows_no_secret_path_and_tells_addresses_apart() {
        let (one, other) = (name_of("http://h:1/hook/secret"), name_of("http://h:1/hook/other"));
        assert!(
            one.starts_with("h:1#") && !one.contains("secret") && one != other,
            "{one} {other}"
        );
    }
}
