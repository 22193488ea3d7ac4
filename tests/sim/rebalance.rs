//! The consumer group of the simulated log: half of the time a partition is taken away first and given
//! to the next owner when it was released or a deadline has passed; half of the time the old owner
//! learns of its loss long after the new one began.

use crate::{
    kafka::{SimKafka, SimReader},
    random::Random,
};
use spine_log::{Change, EventLog, GroupMember, Release, Result, TopicPartition};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::mpsc;

#[derive(Debug, Default)]
struct Members {
    changes: BTreeMap<u64, mpsc::Sender<Change>>,
    assigned: BTreeMap<u32, u64>,
    next: u64,
}

/// A partition that moves.
struct Move {
    partition: u32,
    from: Option<mpsc::Sender<Change>>,
    to: mpsc::Sender<Change>,
}

/// Clones share the group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    members: Arc<Mutex<Members>>,
    /// One rebalance at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    partitions: u32,
    random: Random,
}

impl Group {
    pub(crate) fn new(partitions: u32, random: Random) -> Self {
        Self { members: Arc::default(), turn: Arc::default(), partitions, random }
    }

    pub(crate) fn join(&self, log: SimKafka) -> SimMember {
        let (sender, changes) = mpsc::channel(64);
        let mut members = self.members.lock().unwrap();
        members.next += 1;
        let id = members.next;
        members.changes.insert(id, sender);
        SimMember { log, changes }
    }

    /// A node died: its place in the group is gone.
    pub(crate) fn forget(&self, member: u64) {
        self.members.lock().unwrap().changes.remove(&member);
    }

    pub(crate) fn newest_member(&self) -> Option<u64> {
        self.members.lock().unwrap().changes.keys().next_back().copied()
    }

    /// Begins to deal the partitions anew over the members.
    pub(crate) fn rebalance(&self) {
        let group = self.clone();
        tokio::spawn(async move {
            let _turn = group.turn.lock().await;
            let (cooperative, eager): (Vec<Move>, Vec<Move>) =
                group.deal().into_iter().partition(|_| group.random.chance(50));
            for one in cooperative {
                let most = Duration::from_millis(200 + group.random.below(6000));
                group.hand_over(one, most).await;
            }
            group.take_late(eager).await;
        });
    }

    fn deal(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        let mut members = self.members.lock().unwrap();
        let ids: Vec<u64> = members.changes.keys().copied().collect();
        for partition in 0..self.partitions {
            if ids.is_empty() {
                members.assigned.remove(&partition);
                continue;
            }
            let member = ids[self.random.below(ids.len() as u64) as usize];
            let before = members.assigned.insert(partition, member);
            if before != Some(member) {
                let to = members.changes[&member].clone();
                let from = before.and_then(|old| members.changes.get(&old).cloned());
                moves.push(Move { partition, from, to });
            }
        }
        moves
    }

    /// The next owner waits for the release, but not for ever.
    async fn hand_over(&self, Move { partition, from, to }: Move, most: Duration) {
        if let Some(from) = from {
            let (release, released) = Release::new();
            let _ = from.send(Change::Lost { partition, release }).await;
            let _ = tokio::time::timeout(most, released).await;
        }
        let _ = to.send(Change::Gained(partition)).await;
    }

    /// Moves one partition to a member, as a cooperative rebalance does.
    pub(crate) async fn hand_over_to(&self, partition: u32, member: u64, most: Duration) {
        let one = {
            let mut members = self.members.lock().unwrap();
            let before = members.assigned.insert(partition, member);
            let from = before.and_then(|old| members.changes.get(&old).cloned());
            Move { partition, from, to: members.changes[&member].clone() }
        };
        self.hand_over(one, most).await;
    }

    /// The next owners begin while the ones before know nothing yet.
    async fn take_late(&self, moves: Vec<Move>) {
        for Move { partition, to, .. } in &moves {
            let _ = to.send(Change::Gained(*partition)).await;
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(1500))).await;
        for Move { partition, from, .. } in moves {
            if let Some(from) = from {
                let release = Release::new().0;
                let _ = from.send(Change::Lost { partition, release }).await;
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct SimMember {
    log: SimKafka,
    changes: mpsc::Receiver<Change>,
}

impl GroupMember for SimMember {
    type Reader = SimReader;

    async fn next(&mut self) -> Result<Change> {
        match self.changes.recv().await {
            Some(change) => Ok(change),
            None => std::future::pending().await,
        }
    }

    async fn reader(&self, partition: u32, from: u64) -> Result<SimReader> {
        self.log.reader(&TopicPartition::new("spine.steps", partition), from).await
    }

    async fn commit(&self, _partition: u32, _next: u64) -> Result<()> {
        Ok(())
    }

    async fn keep(&self, _partition: u32, _next: u64) -> Result<()> {
        unreachable!("nobody goes on from what a group keeps here")
    }

    async fn kept(&self, _partition: u32) -> Result<Option<u64>> {
        unreachable!("nobody goes on from what a group keeps here")
    }
}
