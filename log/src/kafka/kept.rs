//! Offsets that a group keeps with the brokers, for members that go on from them.
//!
//! Asked for, and where no group assigns partitions also written, by a consumer that is no member: it
//! joins nothing and reads nothing.

use super::{
    client::{self, blocking},
    fault,
    off_thread::OffThread,
    options::Options,
};
use crate::{Error, Result, TopicPartition, limits};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use std::sync::{Arc, OnceLock};

/// The kept offsets of a group.
pub(crate) struct Kept {
    options: Options,
    group: String,
    client: Arc<OnceLock<OffThread<BaseConsumer>>>,
}

impl Kept {
    pub(crate) fn new(options: &Options, group: &str) -> Self {
        Self { options: options.clone(), group: group.to_owned(), client: Arc::default() }
    }

    /// What was kept last; `None` in a group that is new to the partition.
    pub(crate) async fn get(&self, of: &TopicPartition) -> Result<Option<u64>> {
        let list = listed(of, Offset::Invalid)?;
        let what = format!("the offset that group {} keeps of {of}", self.group);
        self.with(move |client| {
            let found = client.committed_offsets(list, limits::KAFKA_QUERY);
            let found = found.map_err(|error| fault::of_query(&what, &error))?;
            Ok(found.elements().first().and_then(|element| match element.offset() {
                Offset::Offset(next) => u64::try_from(next).ok(),
                _ => None,
            }))
        })
        .await
    }

    /// Keeps an offset at once. Only where the group has no members.
    pub(crate) async fn put(&self, of: &TopicPartition, next: u64) -> Result<()> {
        let next = i64::try_from(next).map_err(|_| Error::Refused(format!("offset {next}")))?;
        let list = listed(of, Offset::Offset(next))?;
        let what = format!("the offset that group {} keeps of {of}", self.group);
        self.with(move |client| {
            let kept = client.commit(&list, CommitMode::Sync);
            kept.map_err(|error| fault::of_query(&what, &error))
        })
        .await
    }

    async fn with<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&BaseConsumer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (options, group, client) =
            (self.options.clone(), self.group.clone(), Arc::clone(&self.client));
        blocking(move || {
            if let Some(client) = client.get() {
                return ask(client);
            }
            let mut config = client::reading(&options);
            let made = config.set("group.id", &group).create();
            let made: BaseConsumer = made.map_err(|error| client::not_made(&error))?;
            ask(client.get_or_init(|| OffThread::new(made)))
        })
        .await
    }
}

fn listed(of: &TopicPartition, offset: Offset) -> Result<TopicPartitionList> {
    let partition =
        i32::try_from(of.partition).map_err(|_| Error::Refused(format!("partition {of}")))?;
    let mut list = TopicPartitionList::new();
    let added = list.add_partition_offset(&of.topic, partition, offset);
    added.map_err(|error| fault::of_query("an offset", &error))?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::mocking::MockCluster;

    #[tokio::test]
    async fn what_a_group_keeps_is_there_for_its_next_member_and_for_no_other_group() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 2, 1).unwrap();
        let options = Options::new(mock.bootstrap_servers());
        let (one, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let kept = Kept::new(&options, "g");
        assert_eq!(kept.get(&one).await.unwrap(), None, "the group is new");
        kept.put(&one, 5).await.unwrap();
        kept.put(&one, 7).await.unwrap();
        let next = Kept::new(&options, "g");
        assert_eq!(next.get(&one).await.unwrap(), Some(7));
        assert_eq!(next.get(&other).await.unwrap(), None);
    }
}
