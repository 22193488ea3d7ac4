//! What is checked when a log is opened: what would break a promise is refused with its remedy, and
//! what only weakens one is said.

use super::{
    client::{admin, blocking},
    fault,
    identity::Identity,
    off_thread::OffThread,
    options::{Access, Options, Topics},
    query::Queries,
};
use crate::{Error, Result, limits};
use rdkafka::admin::{AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier};
use std::sync::Arc;

const REMEDY: &str = "create the log with `spine topics create --log URL`";

/// Checks topics and their settings; returns the weaker promises, one sentence each.
pub(crate) async fn check(
    options: &Options,
    topics: &Topics,
    identity: &Identity,
    queries: &Arc<Queries>,
) -> Result<Vec<String>> {
    let asked = Arc::clone(queries);
    let (named, partitions) = (topics.clone(), identity.partitions);
    let (replicas, broker) = blocking(move || {
        check_partitions(&asked, &named, partitions)?;
        let mut replicas = Vec::new();
        for topic in named.all() {
            replicas.push(asked.replicas(topic)?);
        }
        Ok((replicas, asked.broker()?))
    })
    .await?;
    let (found, broker) = describe(options, topics, broker).await?;
    let mut described = Vec::new();
    for ((name, replicas), found) in topics.all().into_iter().zip(replicas).zip(&found) {
        described.push(Described { name, replicas, found });
    }
    for topic in &described {
        topic.check(topics)?;
        if options.access == Access::ReadWrite {
            topic.check_copies()?;
        }
    }
    let mut warnings = weaker_promises(&described);
    if value(&broker, "auto.create.topics.enable") == "true" {
        warnings.push(
            "the brokers make missing topics by themselves: a topic deleted by mistake may come \
             back empty; set auto.create.topics.enable=false"
                .into(),
        );
    }
    Ok(warnings)
}

/// Refuses topics that are not there.
pub(crate) fn check_existence(queries: &Queries, topics: &Topics) -> Result<()> {
    for topic in topics.all() {
        match queries.partitions(topic) {
            Ok(_) => {}
            Err(Error::Missing(_)) => {
                return Err(Error::Refused(format!("topic {topic} does not exist; {REMEDY}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn check_partitions(queries: &Queries, topics: &Topics, recorded: u32) -> Result<()> {
    let (steps, letters) =
        (queries.partitions(&topics.steps)?, queries.partitions(&topics.letters)?);
    if steps != letters {
        return Err(Error::Refused(format!(
            "topic {} has {steps} partitions and {} has {letters}: they must be equal; {REMEDY} \
             under another prefix",
            topics.steps, topics.letters
        )));
    }
    if steps != recorded {
        return Err(Error::Refused(format!(
            "topic {} has {steps} partitions, but the log was created with {recorded}: runs would \
             be looked for in the wrong partitions. Partitions are never added; {REMEDY} under \
             another prefix",
            topics.steps
        )));
    }
    if let Some(lifecycle) = &topics.lifecycle {
        let found = queries.partitions(lifecycle)?;
        if found != steps {
            return Err(Error::Refused(format!(
                "topic {} has {steps} partitions and {lifecycle} has {found}: they must be equal; remove \
                 {lifecycle} and {REMEDY}",
                topics.steps
            )));
        }
    }
    for topic in [&topics.schemas, &topics.control, &topics.audit] {
        let partitions = queries.partitions(topic)?;
        if partitions != 1 {
            return Err(Error::Refused(format!(
                "topic {topic} has {partitions} partitions instead of 1, and only one is read; \
                 copy its records into a topic of that name with one partition, or {REMEDY} under \
                 another prefix"
            )));
        }
    }
    Ok(())
}

/// The settings of the topics that are used, in the order of [`Topics::all`], and of a broker.
async fn describe(
    options: &Options,
    topics: &Topics,
    broker: i32,
) -> Result<(Vec<ConfigResource>, ConfigResource)> {
    let asked = options.clone();
    let admin = blocking(move || Ok(OffThread::new(admin(&asked)?))).await?;
    let what = "the settings of topics";
    let settings = AdminOptions::new().request_timeout(Some(limits::KAFKA_QUERY));
    let named: Vec<_> =
        topics.all().into_iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let mut described = Vec::new();
    // One broker answers for itself only, so it is asked apart.
    for asked in [&named[..], &[ResourceSpecifier::Broker(broker)]] {
        let answers = admin.describe_configs(asked, &settings).await;
        for answer in answers.map_err(|error| fault::of_query(what, &error))? {
            described.push(answer.map_err(|code| fault::of_code(what, code))?);
        }
    }
    let not_all = || Error::Unavailable(format!("{what}: not all were answered"));
    let broker = described.pop().ok_or_else(not_all)?;
    // Answers may come in another order than they were asked for.
    let mut ordered = Vec::new();
    for topic in topics.all() {
        let is_asked = |one: &ConfigResource| match &one.specifier {
            OwnedResourceSpecifier::Topic(name) => **name == **topic,
            _ => false,
        };
        let at = described.iter().position(is_asked).ok_or_else(not_all)?;
        ordered.push(described.swap_remove(at));
    }
    Ok((ordered, broker))
}

fn value<'a>(of: &'a ConfigResource, setting: &str) -> &'a str {
    of.get(setting).and_then(|entry| entry.value.as_deref()).unwrap_or("")
}

/// A topic as it is.
struct Described<'a> {
    name: &'a Arc<str>,
    replicas: usize,
    found: &'a ConfigResource,
}

impl Described<'_> {
    fn value(&self, setting: &str) -> &str {
        value(self.found, setting)
    }

    fn in_sync(&self) -> usize {
        self.value("min.insync.replicas").parse().unwrap_or(1)
    }

    /// A refusal of a setting, with the command that repairs it.
    fn refuse(&self, setting: &str, why: &str, to: &str) -> Result<()> {
        let (topic, is) = (self.name, self.value(setting));
        Err(Error::Refused(format!(
            "topic {topic} has {setting}={is}: {why}; kafka-configs.sh --alter --entity-type topics \
             --entity-name {topic} --add-config {setting}={to}"
        )))
    }

    fn require(&self, setting: &str, to: &str, why: &str) -> Result<()> {
        if self.value(setting) == to {
            return Ok(());
        }
        self.refuse(setting, why, to)
    }

    fn check(&self, topics: &Topics) -> Result<()> {
        if *self.name == topics.schemas {
            let why = "schemas would be deleted by age, and events could not be read without them";
            return self.require("cleanup.policy", "compact", why);
        }
        if *self.name == topics.control {
            let why = "who the log is would be deleted by age, and with it every idempotency key";
            return self.require("cleanup.policy", "compact", why);
        }
        self.require("cleanup.policy", "delete", "compaction would drop events")?;
        if topics.lifecycle.as_ref() == Some(self.name) {
            // Who listens decides how long it is kept: the events are in the topic of steps.
            return Ok(());
        }
        let is_audit = *self.name == topics.audit;
        let why = if is_audit {
            "what operators did would be forgotten"
        } else {
            "old events would be deleted, and the store could not be rebuilt"
        };
        for setting in ["retention.ms", "retention.bytes"] {
            self.require(setting, "-1", why)?;
        }
        if is_audit {
            return Ok(());
        }
        let why = "times must be the log's own, not the producers'";
        self.require("message.timestamp.type", "LogAppendTime", why)?;
        let largest_bytes = if *self.name == topics.steps {
            limits::KAFKA_STEPS_MESSAGE_BYTES
        } else {
            limits::KAFKA_LETTERS_MESSAGE_BYTES
        };
        self.check_size(largest_bytes)
    }

    fn check_size(&self, largest_bytes: usize) -> Result<()> {
        let setting = "max.message.bytes";
        if self.value(setting).parse::<usize>().unwrap_or(0) >= largest_bytes {
            return Ok(());
        }
        let why = format!("events may have {largest_bytes} bytes with their framing");
        self.refuse(setting, &why, &largest_bytes.to_string())
    }

    /// Refuses a topic that takes no appends, however well its brokers are.
    fn check_copies(&self) -> Result<()> {
        let replicas = self.replicas;
        if self.in_sync() <= replicas {
            return Ok(());
        }
        let why = format!("there are {replicas} copies only, so nothing can ever be appended");
        let enough = replicas.saturating_sub(1).max(1).to_string();
        self.refuse("min.insync.replicas", &why, &enough)
    }
}

fn weaker_promises(topics: &[Described<'_>]) -> Vec<String> {
    let mut warnings = Vec::new();
    if topics.iter().any(|topic| topic.replicas < 2) {
        warnings.push(
            "replication is 1: an acknowledged event is lost with its broker's disk, and no event \
             can be appended while that broker is down"
                .into(),
        );
    }
    for topic in topics {
        let (name, replicas, in_sync) = (topic.name, topic.replicas, topic.in_sync());
        if in_sync > replicas {
            warnings.push(format!(
                "topic {name} has min.insync.replicas={in_sync} and {replicas} copies: nothing can \
                 be appended to it"
            ));
            continue;
        }
        if replicas > 1 && in_sync < 2 {
            warnings.push(format!(
                "topic {name} has min.insync.replicas={in_sync}: an event may be acknowledged by \
                 one broker alone, and is lost with its disk"
            ));
        }
        if in_sync == replicas && replicas > 1 {
            warnings.push(format!(
                "topic {name} has min.insync.replicas={in_sync} of {replicas} copies: nothing can \
                 be appended while one broker is down"
            ));
        }
        if topic.value("unclean.leader.election.enable") == "true" {
            warnings.push(format!(
                "topic {name} has unclean.leader.election.enable=true: acknowledged events may be \
                 lost when a broker that lagged behind becomes leader"
            ));
        }
    }
    warnings
}
