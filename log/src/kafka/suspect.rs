//! Which reader of a consumer is in trouble, and for good.
//!
//! The client's errors name no partition, so all its readers are looked at. What says that a topic
//! or an offset does not exist ends a process, so it is believed only when a second look says it
//! too: a broker that has just started may not know a topic yet, and a new leader may not yet say
//! how far the partition goes.

use super::{consumer::Reading, inbox::Inbox, query::Queries};
use crate::{Bounds, Error, Result, TopicPartition, limits};
use rdkafka::types::RDKafkaErrorCode;
use std::sync::Arc;

/// What can be asked about a reader's partition.
trait Witness {
    fn check_topic(&self, topic: &str) -> Result<()>;
    fn bounds(&self, of: &TopicPartition) -> Result<Bounds>;
}

impl Witness for Queries {
    fn check_topic(&self, topic: &str) -> Result<()> {
        Self::check_topic(self, topic)
    }

    fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        Self::bounds(self, of)
    }
}

/// Ends the readers whose topic or offset is gone. Blocks, and for longer if there are some.
pub(super) fn find_culprits(reading: &Reading, code: RDKafkaErrorCode, queries: &Queries) {
    let again = || std::thread::sleep(limits::KAFKA_SECOND_LOOK);
    let found = end_culprits(reading.inboxes(), queries, again);
    // The client has stopped fetching some partition for good; its reader must not wait for ever.
    if found == 0
        && matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    {
        end_all(reading, "an offset was out of range for a moment; open the reader again");
    }
}

/// Ends all readers of a consumer in a way that lets them be opened again.
pub(super) fn end_all(reading: &Reading, why: &str) {
    for (of, inbox) in reading.inboxes() {
        inbox.end(Error::Unavailable(format!("partition {of}: {why}")));
    }
}

/// Ends the readers among these that cannot go on; gives how many.
fn end_culprits(
    readers: Vec<(TopicPartition, Arc<Inbox>)>,
    witness: &impl Witness,
    pause: impl FnOnce(),
) -> usize {
    let mut ended = 0;
    let mut doubtful = Vec::new();
    for (of, inbox) in readers {
        match look(witness, &of, &inbox) {
            Ok(()) => {}
            Err(Error::Missing(_)) => doubtful.push((of, inbox)),
            Err(error) => {
                ended += 1;
                inbox.end(error);
            }
        }
    }
    if doubtful.is_empty() {
        return ended;
    }
    pause();
    for (of, inbox) in doubtful {
        if let Err(error) = look(witness, &of, &inbox) {
            ended += 1;
            inbox.end(error);
        }
    }
    ended
}

fn look(witness: &impl Witness, of: &TopicPartition, inbox: &Inbox) -> Result<()> {
    witness.check_topic(&of.topic)?;
    // In this order: records that come between the two questions move the end and the reader, and
    // an end that was asked for first would lie before the reader.
    let next = inbox.next_offset();
    let bounds = witness.bounds(of)?;
    if (bounds.first..=bounds.end).contains(&next) {
        return Ok(());
    }
    Err(Error::Missing(format!("offset {next} of {of}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadLimit, Record};
    use spine_schemas::time::Micros;
    use std::{cell::Cell, sync::Mutex};

    const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

    /// Gives one end after the other, and lets a record arrive while it is asked.
    struct Told {
        ends: Mutex<Vec<u64>>,
        arrives: Option<Arc<Inbox>>,
    }

    impl Witness for Told {
        fn check_topic(&self, _: &str) -> Result<()> {
            Ok(())
        }

        fn bounds(&self, _: &TopicPartition) -> Result<Bounds> {
            let end = self.ends.lock().unwrap().remove(0);
            if let Some(inbox) = &self.arrives {
                let (timestamp, headers) = (Micros(0), Vec::new());
                inbox.put(vec![Record { offset: end, timestamp, key: None, headers, value: None }]);
            }
            Ok(Bounds { first: 0, end })
        }
    }

    fn ended(ends: &[u64], arrives: bool, looks: usize) -> Option<Error> {
        let inbox = Arc::new(Inbox::new(5));
        let arriving = arrives.then(|| Arc::clone(&inbox));
        let told = Told { ends: Mutex::new(ends.to_vec()), arrives: arriving };
        let pauses = Cell::new(1);
        let readers = vec![(TopicPartition::new("t", 0), Arc::clone(&inbox))];
        end_culprits(readers, &told, || pauses.set(pauses.get() + 1));
        assert_eq!(pauses.get(), looks);
        if arrives {
            assert_eq!(inbox.take(ALL, 5).unwrap().unwrap().1, 6);
        }
        inbox.take(ALL, 6).and_then(std::result::Result::err)
    }

    #[test]
    fn a_reader_whose_records_arrive_while_the_end_is_asked_for_goes_on() {
        assert_eq!(ended(&[5], true, 1), None);
    }

    #[test]
    fn an_offset_is_gone_only_if_a_second_look_says_so_too() {
        assert_eq!(ended(&[3, 5], false, 2), None, "a new leader told of its end too early");
        assert!(matches!(ended(&[3, 3], false, 2), Some(Error::Missing(_))));
    }
}
