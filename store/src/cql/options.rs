//! How to open a store: where the servers are, and which keyspace it is.

use crate::{Error, Result, limits};
use spine_schemas::codec::SchemaBook;
use std::{fmt, sync::Arc};

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of some nodes; the others are found through them.
    pub nodes: Vec<String>,
    /// The keyspace: lower-case letters, digits and `_`, at most 48.
    pub keyspace: String,
    /// Copies of each row in the data centre; used when the keyspace is made.
    pub replication_factor: u32,
    /// The data centre whose nodes are used; that of the first node if not given.
    pub local_dc: Option<String>,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// Whether to make keyspace and tables where there are none.
    pub create: bool,
    /// Whether writing is refused.
    pub read_only: bool,
    /// Whether to go where the `live` pointer of the keyspace points.
    pub follow_live: bool,
    /// Requests on their way at once.
    pub in_flight: usize,
    /// Schemas by which kept events are read when a run is folded again.
    pub book: Arc<SchemaBook>,
}

impl Options {
    /// A store in a keyspace, which is made where there is none.
    pub fn new(nodes: &[&str], keyspace: &str) -> Self {
        Self {
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
            keyspace: keyspace.to_owned(),
            replication_factor: 1,
            local_dc: None,
            credentials: None,
            create: true,
            read_only: false,
            follow_live: true,
            in_flight: limits::CQL_IN_FLIGHT,
            book: Arc::new(SchemaBook::compiled_in()),
        }
    }

    /// The same store, only looked at: nothing is made and nothing is written.
    #[must_use]
    pub fn looked_at(mut self) -> Self {
        self.create = false;
        self.read_only = true;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_name(&self.keyspace)?;
        if self.nodes.is_empty() {
            return Err(Error::Refused("open a CQL store: name at least one host:port".into()));
        }
        if self.replication_factor == 0 || self.in_flight == 0 {
            return Err(Error::Refused(
                "open a CQL store: replication factor and requests in flight are at least 1".into(),
            ));
        }
        Ok(())
    }

    /// The store for people.
    pub(super) fn name(&self) -> String {
        format!("cql://{}/{}", self.nodes.join(","), self.keyspace)
    }
}

/// Names go into statements as they are, so nothing else is let through.
pub(super) fn check_name(keyspace: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = keyspace.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if begins && keyspace.len() <= limits::KEYSPACE_BYTES && keyspace.bytes().all(legal) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "open a CQL store: keyspace '{keyspace}' must begin with a lower-case letter and hold at \
         most {} lower-case letters, digits and '_'",
        limits::KEYSPACE_BYTES
    )))
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("Options").field("store", &self.name()).finish_non_exhaustive()
    }
}
