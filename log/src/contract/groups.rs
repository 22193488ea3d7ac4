//! What a consumer group promises to its only member.

use super::{EVERYTHING, Fresh, is_waiting, number, numbered};
use crate::{Change, Error, EventLog, GroupMember, PartitionReader, Result};
use std::collections::BTreeSet;

async fn gain<M: GroupMember>(member: &mut M, partitions: usize) -> Result<BTreeSet<u32>> {
    let mut gained = BTreeSet::new();
    while gained.len() < partitions {
        match member.next().await? {
            Change::Gained(partition) => assert!(gained.insert(partition), "gained twice"),
            Change::Lost { partition, .. } => {
                return Err(Error::Unavailable(format!("lost partition {partition}")));
            }
        }
    }
    Ok(gained)
}

pub(super) async fn a_lone_member_gains_every_partition<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    let mut member = fresh.log.join(&fresh.topic, "contract").await?;
    assert_eq!(gain(&mut member, 3).await?, BTreeSet::from([0, 1, 2]));
    assert!(is_waiting(member.next()), "nothing changes after that");
    Ok(())
}

pub(super) async fn a_member_reads_what_it_was_assigned<L: EventLog>(
    fresh: Fresh<L>,
) -> Result<()> {
    fresh.append(1, vec![numbered(7), numbered(8)]).await?;
    let mut member = fresh.log.join(&fresh.topic, "contract").await?;
    gain(&mut member, 2).await?;
    let mut reader = member.reader(1, 1).await?;
    let records = reader.next(EVERYTHING).await?;
    assert_eq!(records.iter().filter_map(number).collect::<Vec<_>>(), [8]);
    member.commit(1, 2).await?;
    member.commit(0, 0).await?;
    assert!(matches!(member.reader(2, 0).await, Err(Error::Missing(_))), "not assigned");
    Ok(())
}

pub(super) async fn a_group_goes_on_from_what_it_kept<L: EventLog>(fresh: Fresh<L>) -> Result<()> {
    fresh.append(0, vec![numbered(7), numbered(8), numbered(9)]).await?;
    let mut member = fresh.log.join(&fresh.topic, "keeping").await?;
    gain(&mut member, 2).await?;
    assert_eq!(member.kept(0).await?, None, "the group is new");
    member.keep(0, 1).await?;
    member.keep(0, 2).await?;
    assert_eq!(member.kept(0).await?, Some(2), "a process that dies now has kept it");
    drop(member);
    let mut next = fresh.log.join(&fresh.topic, "keeping").await?;
    gain(&mut next, 2).await?;
    assert_eq!((next.kept(0).await?, next.kept(1).await?), (Some(2), None));
    let mut other = fresh.log.join(&fresh.topic, "other").await?;
    gain(&mut other, 2).await?;
    assert_eq!(other.kept(0).await?, None, "another group has its own");
    Ok(())
}
