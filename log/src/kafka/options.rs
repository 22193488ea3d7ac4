//! What a log on Kafka is opened with, and which settings of librdkafka may not be changed.

use crate::{Error, Result, limits};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of some brokers: `host:port,host:port`.
    pub brokers: String,
    /// What the names of the topics begin with.
    pub prefix: String,
    /// Further settings of librdkafka, such as TLS and SASL. Those that a promise of the log rests
    /// on are refused by name.
    pub settings: BTreeMap<String, String>,
    /// How partitions are shared between processes.
    pub membership: Membership,
    /// After this long without a sign of life the group takes a member's partitions away.
    pub session_timeout: Duration,
    /// Whether the log may be written.
    pub access: Access,
    /// Whether the topic of transitions is used, and therefore checked.
    pub lifecycle: bool,
}

/// How partitions are shared between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// Kafka's consumer group assigns them.
    Group,
    /// This process owns them all, without a group. For one worker with a store of its own.
    Alone,
}

/// Whether a log may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and append.
    ReadWrite,
    /// Appends are refused; no producer is made.
    ReadOnly,
}

/// The full names of the topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Events: `spine.steps`.
    pub steps: Arc<str>,
    /// Dead letters: `spine.steps.dlq`.
    pub letters: Arc<str>,
    /// The schema book: `spine.schemas`.
    pub schemas: Arc<str>,
    /// The installation and what steers it: `spine.control`.
    pub control: Arc<str>,
    /// What operators did: `spine.audit`.
    pub audit: Arc<str>,
    /// Transitions: `spine.lifecycle`; `None` where they are not told.
    pub lifecycle: Option<Arc<str>>,
}

impl Topics {
    /// The names that begin with a prefix.
    pub fn of_prefix(prefix: &str) -> Self {
        let name = |rest: &str| Arc::from(format!("{prefix}.{rest}"));
        Self {
            steps: name("steps"),
            letters: name("steps.dlq"),
            schemas: name("schemas"),
            control: name("control"),
            audit: name("audit"),
            lifecycle: Some(name("lifecycle")),
        }
    }

    /// All that are used.
    pub(crate) fn all(&self) -> Vec<&Arc<str>> {
        let always = [&self.steps, &self.letters, &self.schemas, &self.control, &self.audit];
        always.into_iter().chain(&self.lifecycle).collect()
    }
}

impl Options {
    /// The default settings for some brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            prefix: "spine".into(),
            settings: BTreeMap::new(),
            membership: Membership::Group,
            session_timeout: Duration::from_secs(45),
            access: Access::ReadWrite,
            lifecycle: false,
        }
    }

    /// The names of the topics that are used.
    pub fn topics(&self) -> Topics {
        let all = Topics::of_prefix(&self.prefix);
        Topics { lifecycle: all.lifecycle.filter(|_| self.lifecycle), ..all }
    }

    /// Refuses what no log could work with.
    pub(crate) fn check(&self) -> Result<()> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let longest = limits::TOPIC_BYTES - ".steps.dlq".len();
        if self.prefix.is_empty() || self.prefix.len() > longest {
            return Err(Error::Refused(format!("a topic prefix has 1 to {longest} characters")));
        }
        if !self.prefix.bytes().all(is_plain) {
            let message = "a topic prefix has letters, digits, '.', '_' and '-' only, unlike";
            return Err(Error::Refused(format!("{message} {:?}", self.prefix)));
        }
        match self.settings.keys().find_map(|name| Some((name, owned_by(name)?))) {
            Some((name, why)) => {
                let message = format!("the Kafka setting {name} cannot be changed: {why}");
                Err(Error::Refused(message))
            }
            None => Ok(()),
        }
    }
}

/// Why a setting is not the user's to choose; `None` if it is.
fn owned_by(setting: &str) -> Option<&'static str> {
    let why = match setting {
        "bootstrap.servers" | "metadata.broker.list" => "the address names the brokers",
        "enable.idempotence"
        | "acks"
        | "request.required.acks"
        | "enable.gapless.guarantee"
        | "max.in.flight"
        | "max.in.flight.requests.per.connection"
        | "retries"
        | "message.send.max.retries"
        | "transactional.id" => {
            "an acknowledged event is on all replicas in sync, once and in order"
        }
        "message.max.bytes"
        | "queue.buffering.max.messages"
        | "queue.buffering.max.kbytes"
        | "batch.num.messages"
        | "batch.size" => "the limits of records and batches rest on it",
        "delivery.report.only.error" => "an append is answered by its records' reports",
        "queuing.strategy" | "msg_order_cmp" => "the records of a batch keep their order",
        "check.crcs" => "a record that was damaged on its way is never read",
        "delivery.timeout.ms" | "message.timeout.ms" => {
            "it bounds how long an append may be of unknown outcome"
        }
        "partitioner" | "partitioner_cb" => "runs are placed by murmur2 of their key",
        "enable.auto.commit" | "enable.auto.offset.store" | "auto.offset.reset" => {
            "progress lies in the store, and a reader never leaps over records"
        }
        "group.id"
        | "group.protocol"
        | "group.remote.assignor"
        | "group.instance.id"
        | "partition.assignment.strategy"
        | "max.poll.interval.ms" => "handing partitions over rests on it",
        "allow.auto.create.topics" => "a missing topic is an error, not a new one",
        "session.timeout.ms" => "it has an option of its own",
        "isolation.level" => "bounds and readers see committed records only",
        "enable.partition.eof" | "fetch.message.max.bytes" | "max.partition.fetch.bytes" => {
            "reading up to a known end rests on it"
        }
        "log.queue" | "statistics.interval.ms" => "the client's log goes to ours",
        _ => return None,
    };
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_promises_rest_on_are_refused_by_name() {
        for name in [
            "acks",
            "enable.idempotence",
            "partitioner",
            "group.protocol",
            "batch.size",
            "delivery.report.only.error",
            "queuing.strategy",
            "check.crcs",
        ] {
            let mut options = Options::new("localhost:9092");
            options.settings.insert(name.into(), "x".into());
            let refusal = options.check().unwrap_err().to_string();
            assert!(refusal.contains(name), "{refusal}");
        }
        let mut options = Options::new("localhost:9092");
        options.settings.insert("security.protocol".into(), "ssl".into());
        assert_eq!(options.check(), Ok(()));
    }

    #[test]
    fn a_prefix_makes_topic_names() {
        let topics = Options::new("localhost:9092").topics();
        assert_eq!(&*topics.letters, "spine.steps.dlq");
        for prefix in ["", "a b", &"x".repeat(240)] {
            let options = Options { prefix: prefix.into(), ..Options::new("localhost:9092") };
            assert!(options.check().is_err(), "{prefix:?}");
        }
    }
}
