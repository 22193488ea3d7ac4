//! The list of partitions: few questions to the log at one time, whoever asks.

use super::world::{HOST, World, settings};
use crate::limits::LOG_READS;
use axum::{body::Body, http::Request};
use spine_log::{
    Appended, Bounds, EventLog, NewRecord, Result, TopicPartition, Urgency, embedded::EmbeddedLog,
};
use spine_schemas::time::Micros;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// The embedded log, except that the extent of a partition takes a while to be told.
#[derive(Clone)]
struct Slow {
    log: EmbeddedLog,
    asked: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl EventLog for Slow {
    type Reader = <EmbeddedLog as EventLog>::Reader;
    type Member = <EmbeddedLog as EventLog>::Member;

    fn log_id(&self) -> &str {
        self.log.log_id()
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        self.log.partitions(topic).await
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        self.log.append(to, batch, urgency).await
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<Self::Reader> {
        self.log.reader(of, from).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(asked, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.asked.fetch_sub(1, Ordering::SeqCst);
        self.log.bounds(of).await
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        self.log.offset_at(of, time).await
    }

    async fn join(&self, topic: &str, group: &str) -> Result<Self::Member> {
        self.log.join(topic, group).await
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_for_the_partitions_do_not_fill_the_log_with_questions() {
    let most = Arc::new(AtomicUsize::new(0));
    let world =
        World::with(2, settings(), |log| Slow { log, asked: Arc::default(), most: most.clone() });
    let mut asking = JoinSet::new();
    for _ in 0..5 * LOG_READS {
        let request = Request::get("/v1/partitions").header("host", HOST);
        let answer = world.router.clone().oneshot(request.body(Body::empty()).unwrap());
        asking.spawn(answer);
    }
    while let Some(answered) = asking.join_next().await {
        assert_eq!(answered.unwrap().unwrap().status(), 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), LOG_READS);
}
