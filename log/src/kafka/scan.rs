//! Reads a partition from an offset to its present end, with a consumer of its own.

use super::{client, fault, off_thread, options::Options};
use crate::{Error, Result, TopicPartition, limits};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
};
use std::{ops::ControlFlow, time::Duration};
use tokio::time::Instant;

/// Shows every record from `from` to the end that the brokers name after the start of this call,
/// until `each` breaks off. Blocks.
pub(crate) fn to_end(
    options: &Options,
    of: &TopicPartition,
    from: Offset,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let consumer: BaseConsumer<client::Plain> = client::scanning(options)
        .create_with_context(client::Plain::default())
        .map_err(|error| client::not_made(&error))?;
    let outcome = run(&consumer, of, from, &mut each);
    off_thread::discard(consumer);
    outcome
}

/// The same with a consumer that is there.
pub(crate) fn run(
    consumer: &BaseConsumer<client::Plain>,
    of: &TopicPartition,
    from: Offset,
    each: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let what = format!("partition {of}");
    consumer.assign(&one(of, from)?).map_err(|error| fault::of_query(&what, &error))?;
    let mut heard = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if each(&message)?.is_break() {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => match fault::of_query(&what, &error) {
                // The client tries again by itself.
                Error::Unavailable(_) => {}
                error => return Err(error),
            },
            None => {}
        }
        if heard.elapsed() > limits::KAFKA_QUERY {
            return Err(Error::Unavailable(format!("{what}: the brokers do not answer")));
        }
    }
}

/// A list of one partition at an offset.
pub(crate) fn one(of: &TopicPartition, at: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    let partition = partition_number(of)?;
    list.add_partition_offset(&of.topic, partition, at)
        .map_err(|error| fault::of_query(&of.to_string(), &error))?;
    Ok(list)
}

/// The partition's number as Kafka writes it.
pub(crate) fn partition_number(of: &TopicPartition) -> Result<i32> {
    i32::try_from(of.partition).map_err(|_| Error::Missing(format!("partition {of}")))
}
