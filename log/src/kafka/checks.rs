//! What is checked when a log is opened: what would break a promise is refused with its remedy, and
//! what only weakens one is said.

use super::{
    client::{admin, blocking},
    fault,
    identity::Identity,
    off_thread::OffThread,
    options::{Options, Topics},
    query::Queries,
};
use crate::{Error, Result, limits};
use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
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
        let replicas = asked.replicas(&named.steps)?.min(asked.replicas(&named.letters)?);
        Ok((replicas, asked.broker()?))
    })
    .await?;
    let [steps, letters, broker] = describe(options, topics, broker).await?;
    check_topic(&topics.steps, &steps, limits::KAFKA_STEPS_MESSAGE_BYTES)?;
    check_topic(&topics.letters, &letters, limits::KAFKA_LETTERS_MESSAGE_BYTES)?;
    let mut warnings =
        weaker_promises(replicas, &[(&topics.steps, &steps), (&topics.letters, &letters)]);
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
    for topic in [&topics.steps, &topics.letters, &topics.schemas, &topics.control, &topics.audit] {
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
    Ok(())
}

async fn describe(options: &Options, topics: &Topics, broker: i32) -> Result<[ConfigResource; 3]> {
    let asked = options.clone();
    let admin = blocking(move || Ok(OffThread::new(admin(&asked)?))).await?;
    let what = "the settings of topics";
    let settings = AdminOptions::new().request_timeout(Some(limits::KAFKA_QUERY));
    let mut described = Vec::new();
    // One broker answers for itself only, so it is asked apart.
    for asked in [
        &[ResourceSpecifier::Topic(&topics.steps), ResourceSpecifier::Topic(&topics.letters)][..],
        &[ResourceSpecifier::Broker(broker)],
    ] {
        let answers = admin.describe_configs(asked, &settings).await;
        for answer in answers.map_err(|error| fault::of_query(what, &error))? {
            described.push(answer.map_err(|code| fault::of_code(what, code))?);
        }
    }
    described.try_into().map_err(|_| Error::Unavailable(format!("{what}: not all were answered")))
}

fn value<'a>(of: &'a ConfigResource, setting: &str) -> &'a str {
    of.get(setting).and_then(|entry| entry.value.as_deref()).unwrap_or("")
}

fn check_topic(topic: &str, found: &ConfigResource, largest_bytes: usize) -> Result<()> {
    let refuse = |setting: &str, why: &str, remedy: &str| {
        let is = value(found, setting);
        Err(Error::Refused(format!("topic {topic} has {setting}={is}: {why}; {remedy}")))
    };
    let alter = |setting: &str, to: &str| {
        format!(
            "kafka-configs.sh --alter --entity-type topics --entity-name {topic} \
             --add-config {setting}={to}"
        )
    };
    if value(found, "cleanup.policy") != "delete" {
        let why = "compaction would drop events";
        return refuse("cleanup.policy", why, &alter("cleanup.policy", "delete"));
    }
    for setting in ["retention.ms", "retention.bytes"] {
        if value(found, setting) != "-1" {
            let why = "old events would be deleted, and the store could not be rebuilt";
            return refuse(setting, why, &alter(setting, "-1"));
        }
    }
    if value(found, "message.timestamp.type") != "LogAppendTime" {
        let why = "times must be the log's own, not the producers'";
        let remedy = alter("message.timestamp.type", "LogAppendTime");
        return refuse("message.timestamp.type", why, &remedy);
    }
    let largest = value(found, "max.message.bytes").parse::<usize>().unwrap_or(0);
    if largest < largest_bytes {
        let why = format!("events may have {largest_bytes} bytes with their framing");
        let remedy = alter("max.message.bytes", &largest_bytes.to_string());
        return refuse("max.message.bytes", &why, &remedy);
    }
    Ok(())
}

fn weaker_promises(replicas: usize, topics: &[(&Arc<str>, &ConfigResource)]) -> Vec<String> {
    let mut warnings = Vec::new();
    if replicas < 2 {
        warnings.push(
            "replication is 1: an acknowledged event is lost with its broker's disk, and no event \
             can be appended while that broker is down"
                .into(),
        );
    }
    for (topic, found) in topics {
        let in_sync: usize = value(found, "min.insync.replicas").parse().unwrap_or(1);
        if replicas > 1 && in_sync < 2 {
            warnings.push(format!(
                "topic {topic} has min.insync.replicas={in_sync}: an event may be acknowledged by \
                 one broker alone, and is lost with its disk"
            ));
        }
        if in_sync >= replicas && replicas > 1 {
            warnings.push(format!(
                "topic {topic} has min.insync.replicas={in_sync} of {replicas} copies: nothing can \
                 be appended while one broker is down"
            ));
        }
        if value(found, "unclean.leader.election.enable") == "true" {
            warnings.push(format!(
                "topic {topic} has unclean.leader.election.enable=true: acknowledged events may be \
                 lost when a broker that lagged behind becomes leader"
            ));
        }
    }
    warnings
}
