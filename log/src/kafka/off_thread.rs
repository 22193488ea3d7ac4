//! Dropping a client may wait for a broker, so clients are dropped on threads of their own.

use std::ops::Deref;

/// Holds a value that is dropped on a thread of its own.
pub(crate) struct OffThread<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> OffThread<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: Send + 'static> Deref for OffThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("the value is there until the drop")
    }
}

impl<T: Send + 'static> Drop for OffThread<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            discard(value);
        }
    }
}

/// Drops a value on a thread of its own.
pub(crate) fn discard<T: Send + 'static>(value: T) {
    let dropping = std::thread::Builder::new().name("kafka-drop".into());
    if let Err(error) = dropping.spawn(move || drop(value)) {
        tracing::warn!(%error, "no thread to close a Kafka client on");
    }
}
