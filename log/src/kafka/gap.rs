//! Moving readers past offsets at the end of a partition that hold no record, such as the marks of
//! transactions.
//!
//! The end of a partition comes from one question to the brokers, its records from another. A leader
//! may die in between, and a new one does not show at once all that was acknowledged. So one fetch
//! that finds nothing before a known end proves nothing. A gap is believed if, some time after its
//! end was told, one client was told of that end again and then fetched nothing, both by the leader
//! of the first time: a leader that tells its end also shows it.

use super::{client, fault, inbox::Inbox, off_thread, options::Options, query::Queries, scan};
use crate::{Error, Result, TopicPartition};
use rdkafka::{
    Message, Offset,
    consumer::{BaseConsumer, Consumer},
};
use std::ops::ControlFlow;

/// Offsets at the end of a partition of which no record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// The broker that told the end.
    pub(crate) leader: i32,
}

/// Questions about one partition. Both block.
pub(crate) trait Partition {
    /// Where it ends, and which broker says so.
    fn end(&self) -> Result<(u64, i32)>;

    /// Up to where nothing lies from an offset on: the offset of the first record, or the end. `None`
    /// if not one broker told the end and showed the records.
    fn empty_to(&self, from: u64) -> Result<Option<(u64, i32)>>;
}

/// Looks at the end of a quiet partition once; a gap is passed with the second look. The inbox says
/// when it is time for that.
pub(crate) fn look(partition: &impl Partition, inbox: &Inbox, from: u64) -> Result<()> {
    let Some(gap) = inbox.gap(from) else {
        let (to, leader) = partition.end()?;
        if to > from {
            inbox.note_gap(Gap { from, to, leader });
            inbox.reached_end();
        }
        return Ok(());
    };
    inbox.forget_gap();
    match partition.empty_to(from)? {
        Some((empty_to, leader)) if leader == gap.leader => {
            inbox.pass(from, empty_to.min(gap.to));
            if empty_to > gap.to {
                inbox.reached_end();
            }
        }
        // Told by one broker and shown by another: from the beginning.
        Some(_) | None => inbox.reached_end(),
    }
    Ok(())
}

/// Asks the brokers.
pub(crate) struct Brokers<'a> {
    pub(crate) options: &'a Options,
    pub(crate) queries: &'a Queries,
    pub(crate) of: &'a TopicPartition,
}

impl Partition for Brokers<'_> {
    fn end(&self) -> Result<(u64, i32)> {
        let end = self.queries.bounds(self.of)?.end;
        Ok((end, self.queries.leader(self.of)?))
    }

    fn empty_to(&self, from: u64) -> Result<Option<(u64, i32)>> {
        let consumer = client::scanning(self.options)
            .create_with_context(client::Plain::default())
            .map_err(|error| client::not_made(&error))?;
        let outcome = empty_to(&consumer, self.of, from);
        off_thread::discard(consumer);
        outcome
    }
}

fn empty_to(
    consumer: &BaseConsumer<client::Plain>,
    of: &TopicPartition,
    from: u64,
) -> Result<Option<(u64, i32)>> {
    let number = scan::partition_number(of)?;
    let start = i64::try_from(from).map_err(|_| Error::Missing(format!("offset {from}")))?;
    let what = format!("the end of {of}");
    let leader = leader_of(consumer, of, number)?;
    let told = client::patiently(&what, |within| {
        consumer.client().fetch_watermarks(&of.topic, number, within)
    })?;
    let unknown = |_| Error::Unavailable(format!("{what}: not known yet"));
    let mut empty_to = u64::try_from(told.1).map_err(unknown)?;
    scan::run(consumer, of, Offset::Offset(start), &mut |message| {
        let found = u64::try_from(message.offset()).map_err(unknown)?;
        empty_to = empty_to.min(found);
        Ok(ControlFlow::Break(()))
    })?;
    let same = leader_of(consumer, of, number)? == leader;
    Ok(same.then_some((empty_to, leader)))
}

fn leader_of(
    consumer: &BaseConsumer<client::Plain>,
    of: &TopicPartition,
    number: i32,
) -> Result<i32> {
    let what = format!("the leader of {of}");
    let metadata =
        client::patiently(&what, |within| consumer.fetch_metadata(Some(&of.topic), within))?;
    let topic = metadata.topics().iter().find(|topic| *topic.name() == *of.topic);
    let partitions = topic.map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
    let found = partitions.iter().find(|partition| partition.id() == number);
    fault::known_leader(&what, found.map(rdkafka::metadata::MetadataPartition::leader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadLimit, limits};
    use std::cell::{Cell, RefCell};

    const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

    /// A partition that ends at 3, and what a fetch from 0 shows each time.
    struct Told {
        leader: Cell<i32>,
        shown: RefCell<Vec<Option<(u64, i32)>>>,
    }

    impl Partition for Told {
        fn end(&self) -> Result<(u64, i32)> {
            Ok((3, self.leader.get()))
        }

        fn empty_to(&self, _: u64) -> Result<Option<(u64, i32)>> {
            Ok(self.shown.borrow_mut().remove(0))
        }
    }

    fn told(shown: &[Option<(u64, i32)>]) -> Told {
        Told { leader: Cell::new(1), shown: RefCell::new(shown.to_vec()) }
    }

    /// Where the reader stands after the next look, once it is time for it.
    async fn next_look(partition: &Told, inbox: &Inbox) -> u64 {
        tokio::time::advance(limits::KAFKA_GAP_AGAIN).await;
        let from = inbox.quiet_from().expect("it is looked at again");
        look(partition, inbox, from).unwrap();
        inbox.next_offset()
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_is_passed_with_the_second_look_and_not_before() {
        let (partition, inbox) = (told(&[Some((3, 1))]), Inbox::new(0));
        inbox.reached_end();
        assert_eq!(next_look(&partition, &inbox).await, 0);
        assert_eq!(inbox.quiet_from(), None, "no time has passed");
        assert_eq!(next_look(&partition, &inbox).await, 3);
        assert_eq!(inbox.take(ALL, 0), Some(Ok((Vec::new(), 3))));
        assert_eq!(inbox.quiet_from(), None);
    }

    /// A leader dies after it told the end. The next one shows less for a while: what it does not
    /// show was acknowledged nevertheless.
    #[tokio::test(start_paused = true)]
    async fn records_that_a_new_leader_does_not_show_yet_are_not_passed() {
        let (partition, inbox) = (told(&[Some((3, 2)), None, Some((0, 2))]), Inbox::new(0));
        inbox.reached_end();
        assert_eq!(next_look(&partition, &inbox).await, 0);
        assert_eq!(next_look(&partition, &inbox).await, 0, "another leader");
        partition.leader.set(2);
        assert_eq!(next_look(&partition, &inbox).await, 0, "a first look");
        assert_eq!(next_look(&partition, &inbox).await, 0, "the leader changed meanwhile");
        assert_eq!(next_look(&partition, &inbox).await, 0, "a first look");
        assert_eq!(next_look(&partition, &inbox).await, 0, "the record is there");
    }
}
