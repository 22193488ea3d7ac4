//! Where schemas that this build does not know come from.

use spine_schemas::codec::SchemaBook;
use std::{fmt::Debug, future::Future, pin::Pin};

/// The future of a refresh.
pub type Refresh<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// Brings schemas into the book, for example from a compacted topic.
pub trait SchemaSource: Debug + Send + Sync + 'static {
    /// Whether a schema that is not known now may come later. If not, a record that names one is
    /// set aside at once.
    fn may_bring(&self) -> bool;

    /// Adds every schema that can be had now.
    ///
    /// # Errors
    /// Why the source could not be asked, in words. It is asked again.
    fn refresh<'a>(&'a self, book: &'a SchemaBook) -> Refresh<'a>;
}

/// No source: the book has what it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSchemas;

impl SchemaSource for NoSchemas {
    fn may_bring(&self) -> bool {
        false
    }

    fn refresh<'a>(&'a self, _book: &'a SchemaBook) -> Refresh<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}
