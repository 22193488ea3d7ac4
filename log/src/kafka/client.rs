//! The clients that a log is made of: their settings, and where their own log lines go.

use super::{fault, lock, options::Options};
use crate::{Error, Result, limits};
use rdkafka::{
    ClientConfig, ClientContext,
    admin::AdminClient,
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaErrorCode,
};
use std::{sync::Mutex, time::Duration};
use tokio::time::Instant;

/// Says the same trouble at most once in a while, since clients repeat it with every try.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    last: Mutex<Option<Instant>>,
}

impl Quiet {
    /// Whether it is time to say it again.
    pub(crate) fn may_speak(&self) -> bool {
        let mut last = lock(&self.last);
        let is_due = last.is_none_or(|last| last.elapsed() >= limits::KAFKA_LOG_EVERY);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Sends a client's log lines to ours, at a bounded rate.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    quiet: Quiet,
}

impl Lines {
    pub(crate) fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                if self.quiet.may_speak() {
                    tracing::warn!(facility, message, "kafka client");
                }
            }
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, message, "kafka client");
            }
        }
    }

    pub(crate) fn error(&self, error: &KafkaError, reason: &str) {
        // Ends of partitions come as errors of the client too; the poll returns them.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF)
            && self.quiet.may_speak()
        {
            tracing::warn!(%error, reason, "kafka client");
        }
    }
}

/// The context of clients that need no callbacks.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    lines: Lines,
}

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.lines.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lines.error(&error, reason);
    }
}

impl ConsumerContext for Plain {}

/// What all clients share.
fn common(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in &options.settings {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &options.brokers);
    config.set("client.id", options.settings.get("client.id").map_or("spine", String::as_str));
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Consumers and questions: nothing is committed by itself, and nothing is leapt over.
pub(crate) fn reading(options: &Options) -> ClientConfig {
    let mut config = common(options);
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.propagation.max.ms", limits::KAFKA_TOPIC_GONE.as_millis().to_string())
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        // Damage on the way is an error of the fetch, which is repeated, and not a bad record.
        .set("check.crcs", "true");
    config
}

/// Consumers that read assigned partitions.
///
/// They have a group id only because librdkafka assigns none without it; they never join. A broker
/// holds a fetch back while it has nothing new, and a new reader's first fetch waits behind it, so
/// that time is short.
pub(crate) fn fetching(options: &Options) -> ClientConfig {
    let mut config = reading(options);
    config
        .set("group.id", "spine-readers")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.queue.backoff.ms", "10")
        .set("fetch.error.backoff.ms", "100")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "32768")
        .set("fetch.message.max.bytes", "4194304");
    config
}

/// Consumers that look for the end of a partition. Followers may show less than their leader has
/// told, so nobody near is read from.
pub(crate) fn scanning(options: &Options) -> ClientConfig {
    let mut config = fetching(options);
    config.set("client.rack", "");
    config
}

/// The producer.
pub(crate) fn writing(options: &Options) -> ClientConfig {
    let mut config = common(options);
    let unset = |name: &str| !options.settings.contains_key(name);
    if unset("linger.ms") && unset("queue.buffering.max.ms") {
        // Batches of many callers meet while one request is under way; more waiting only delays.
        config.set("linger.ms", "0");
    }
    if unset("compression.type") && unset("compression.codec") {
        config.set("compression.type", "lz4");
    }
    // The credits bound what is queued. Their own bounds must never be met first, since a batch
    // that is refused in its middle is there in part.
    let messages = 2 * limits::KAFKA_CREDIT_BYTES / limits::RECORD_OVERHEAD_BYTES;
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("partitioner", "murmur2_random")
        .set("delivery.timeout.ms", limits::KAFKA_DELIVERY.as_millis().to_string())
        .set("topic.metadata.propagation.max.ms", limits::KAFKA_TOPIC_GONE.as_millis().to_string())
        .set("queue.buffering.max.messages", messages.to_string())
        .set("queue.buffering.max.kbytes", (2 * limits::KAFKA_CREDIT_BYTES / 1024).to_string())
        .set(
            "message.max.bytes",
            (limits::RECORD_BYTES + limits::KAFKA_MESSAGE_MARGIN_BYTES).to_string(),
        );
    config
}

/// A client that makes topics and asks for their settings.
pub(crate) fn admin(options: &Options) -> Result<AdminClient<DefaultClientContext>> {
    common(options).create().map_err(|error| not_made(&error))
}

/// A client that asks for metadata and bounds.
pub(crate) fn asking(options: &Options) -> Result<BaseConsumer<Plain>> {
    reading(options).create_with_context(Plain::default()).map_err(|error| not_made(&error))
}

/// A client could not be made: a setting is wrong.
pub(crate) fn not_made(error: &KafkaError) -> Error {
    Error::Refused(format!("a Kafka client cannot be made: {error}; check the settings"))
}

/// Runs a blocking call off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(call).await {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Unavailable("the runtime is shutting down".into())),
        },
    }
}

/// Tries a question again while the brokers cannot be reached, within a bound.
pub(crate) fn patiently<T>(
    what: &str,
    mut ask: impl FnMut(Duration) -> std::result::Result<T, KafkaError>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        let left = limits::KAFKA_QUERY.saturating_sub(begun.elapsed());
        match ask(left.max(Duration::from_millis(1))) {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                let error = fault::of_query(what, &error);
                let is_passing = matches!(error, Error::Unavailable(_));
                if !is_passing
                    || begun.elapsed() + Duration::from_millis(100) >= limits::KAFKA_QUERY
                {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
