//! Where owners look for a schema that they do not know yet: the log's schema book.

use crate::adapters::{self, AnyLog};
use spine_schemas::codec::SchemaBook;
use spine_workers::{NoSchemas, Refresh, SchemaSource};
use std::sync::Arc;

/// The book of a log. An embedded log has none: what is in it was written by Spine.
pub(super) fn source(log: &AnyLog) -> Arc<dyn SchemaSource> {
    match log {
        AnyLog::Embedded(_) => Arc::new(NoSchemas),
        AnyLog::Kafka(_) => Arc::new(Book(log.clone())),
    }
}

#[derive(Debug)]
struct Book(AnyLog);

impl SchemaSource for Book {
    fn may_bring(&self) -> bool {
        true
    }

    fn refresh<'a>(&'a self, book: &'a SchemaBook) -> Refresh<'a> {
        Box::pin(async move {
            adapters::learn_schemas(&self.0, book).await.map_err(|failure| failure.text())
        })
    }
}
