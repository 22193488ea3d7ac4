//! A producer with a thread of its own that takes its reports.
//!
//! That of `rdkafka` looks up ten times a second, and each time it spends the last millisecond asking over and over,
//! since what is left is less than the client can wait for: one part in a hundred of a core, for nothing.

use super::{client, pool};
use crate::{Result, limits::KAFKA_REPORTS_WAIT};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, NoCustomPartitioner, ProducerContext},
};
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// The producer. Dropping it waits for its thread.
pub(super) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// Makes a producer and the thread.
    ///
    /// # Errors
    /// When the settings do not allow it, or there is no thread to be had.
    pub(super) fn new(config: &ClientConfig, context: C) -> Result<Self> {
        let made = config.create_with_context(context);
        let producer: BaseProducer<C, NoCustomPartitioner> =
            made.map_err(|error| client::not_made(&error))?;
        let (producer, is_over) = (Arc::new(producer), Arc::new(AtomicBool::new(false)));
        let (polled, is_told) = (Arc::clone(&producer), Arc::clone(&is_over));
        let thread = pool::spawn("kafka-reports", move || {
            while !is_told.load(Ordering::Relaxed) {
                polled.poll(KAFKA_REPORTS_WAIT);
            }
        })?;
        Ok(Self { producer, is_over, thread: Some(thread) })
    }
}

impl<C: ProducerContext + 'static> Deref for Polled<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Polled<C> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked takes no more reports, either.
            let _ = thread.join();
        }
    }
}
