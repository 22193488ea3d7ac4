//! Consumer groups: who has which partition, handing over, leaving.

use crate::support::{broker, fresh_log, run, soon};
use spine_log::{
    Change, EventLog, GroupMember, Release,
    kafka::{KafkaLog, KafkaMember, Membership, Options},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// A member and what it was told.
struct Told {
    member: KafkaMember,
    held: BTreeSet<u32>,
    lost: Vec<u32>,
    /// Releases that were not dropped yet.
    kept: Vec<Release>,
}

impl Told {
    async fn join(options: &Options) -> Self {
        let options = Options { session_timeout: Duration::from_secs(6), ..options.clone() };
        let log = KafkaLog::open(&options).await.unwrap();
        let member = log.join(&log.topics().steps, "workers").await.unwrap();
        Self { member, held: BTreeSet::new(), lost: Vec::new(), kept: Vec::new() }
    }

    async fn change(&mut self) {
        match self.member.next().await.unwrap() {
            Change::Gained(partition) => assert!(self.held.insert(partition), "gained twice"),
            Change::Lost { partition, release } => {
                assert!(self.held.remove(&partition), "lost without having it");
                self.lost.push(partition);
                self.kept.push(release);
            }
        }
    }

    /// Takes changes until it holds so many partitions. Releases are dropped at once.
    async fn until(&mut self, partitions: usize) {
        while self.held.len() != partitions {
            self.change().await;
            self.kept.clear();
        }
    }
}

#[test]
fn partitions_move_only_as_far_as_they_must() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, _log) = fresh_log(&broker, 6).await.unwrap();
        let mut one = Told::join(&options).await;
        soon(one.until(6)).await;
        let mut two = Told::join(&options).await;
        soon(async { tokio::join!(one.until(3), two.until(3)) }).await;
        assert_eq!(one.lost.len(), 3, "what stays is not lost in between");
        let mut three = Told::join(&options).await;
        soon(async { tokio::join!(one.until(2), two.until(2), three.until(2)) }).await;
        assert_eq!((one.lost.len(), two.lost.len()), (4, 1));
        let all: BTreeSet<u32> =
            [&one.held, &two.held, &three.held].into_iter().flatten().copied().collect();
        assert_eq!(all, (0..6).collect());
        // Who leaves does so at once, not after the session's end.
        let begun = Instant::now();
        drop(three);
        soon(async { tokio::join!(one.until(3), two.until(3)) }).await;
        println!(
            "the partitions of a member that left were taken over after {:?}",
            begun.elapsed()
        );
        assert_eq!((one.lost.len(), two.lost.len()), (4, 1), "nobody lost anything by it");
    });
}

#[test]
fn a_partition_is_handed_over_only_when_its_owner_has_let_go() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, _log) = fresh_log(&broker, 2).await.unwrap();
        let mut one = Told::join(&options).await;
        soon(one.until(2)).await;
        let mut two = Told::join(&options).await;
        soon(async {
            while one.held.len() > 1 {
                one.change().await;
            }
        })
        .await;
        let waiting = tokio::time::timeout(Duration::from_secs(2), two.change()).await;
        assert!(waiting.is_err(), "taken over while its owner was still at work: {:?}", two.held);
        one.kept.clear();
        soon(two.until(1)).await;
        assert_eq!(two.held, one.lost.iter().copied().collect());
    });
}

#[test]
fn what_an_owner_noted_is_committed_before_it_leaves() {
    let Some(broker) = broker() else { return };
    run(async {
        use rdkafka::{
            ClientConfig, TopicPartitionList,
            consumer::{BaseConsumer, Consumer},
        };
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let mut one = Told::join(&options).await;
        soon(one.until(1)).await;
        one.member.commit(0, 7).await.unwrap();
        drop(one);
        let mut two = Told::join(&options).await;
        soon(two.until(1)).await;
        let asking: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &options.brokers)
            .set("group.id", "workers")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&log.topics().steps, 0);
        let committed = asking.committed_offsets(list, Duration::from_secs(10)).unwrap();
        assert_eq!(committed.elements()[0].offset(), rdkafka::Offset::Offset(7));
    });
}

/// A process exits when its log is closed. Were its member still in the group then, its partitions
/// would lie idle until the session ends.
#[test]
fn closing_waits_until_the_group_was_left() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let group = log.topics().steps.to_string();
        let mut member = log.join(&log.topics().steps, &group).await.unwrap();
        assert!(matches!(soon(member.next()).await, Ok(Change::Gained(0))));
        let members = members_of(&options, &group);
        assert_eq!(members(), 1);
        let owner = tokio::spawn(async move {
            let Ok(Change::Lost { release, .. }) = member.next().await else { panic!("not lost") };
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(release);
            member.next().await.map(|change| format!("{change:?}"))
        });
        log.close().await;
        assert_eq!(members(), 0, "it has left before closing returned");
        let told = soon(owner).await.unwrap();
        assert!(told.is_err_and(|error| !error.is_retryable()), "nothing more is ever told");
    });
}

/// Counts the members of a group, with a client that is connected already.
fn members_of(options: &Options, group: &str) -> impl Fn() -> usize {
    use rdkafka::{
        ClientConfig,
        consumer::{BaseConsumer, Consumer},
    };
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers);
    let client: BaseConsumer = config.create().unwrap();
    let group = group.to_owned();
    move || {
        let found = client.fetch_group_list(Some(&group), Duration::from_secs(10)).unwrap();
        found.groups().iter().map(|group| group.members().len()).sum()
    }
}

#[test]
fn a_lone_worker_has_all_partitions_without_a_group() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, _log) = fresh_log(&broker, 3).await.unwrap();
        let options = Options { membership: Membership::Alone, ..options };
        let mut one = Told::join(&options).await;
        let begun = Instant::now();
        one.until(3).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        one.member.commit(2, 5).await.unwrap();
        assert!(one.member.reader(3, 0).await.is_err());
    });
}
