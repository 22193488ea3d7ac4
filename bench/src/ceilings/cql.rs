//! A loop around the CQL driver alone: one prepared insert, so many on their way.

use super::kafka::hosts;
use crate::{
    error::{Error, Result},
    measure::Recorder,
};
use bytes::Bytes;
use scylla::{
    client::{PoolSize, session::Session, session_builder::SessionBuilder},
    statement::Consistency,
};
use std::{num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// A table of rows as a plain sink writes them.
pub struct Raw {
    session: Arc<Session>,
    keyspace: String,
}

impl Raw {
    /// Makes the keyspace and its table.
    ///
    /// # Errors
    /// When the servers refuse.
    pub async fn new(url: &str, keyspace: &str) -> Result<Self> {
        let session = connect(url).await?;
        let create = format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}}"
        );
        session.query_unpaged(create, ()).await.map_err(of_cql)?;
        let table = format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.rows (id bigint PRIMARY KEY, value blob)"
        );
        session.query_unpaged(table, ()).await.map_err(of_cql)?;
        Ok(Self { session: Arc::new(session), keyspace: keyspace.to_owned() })
    }

    /// Inserts rows of these values in turn for a time, so many on their way. Gives how long each took.
    ///
    /// # Errors
    /// When the servers refuse one.
    pub async fn insert(
        &self,
        in_flight: usize,
        values: &Arc<Vec<Bytes>>,
        measured: Duration,
    ) -> Result<(Recorder, Duration)> {
        let truncate = format!("TRUNCATE {}.rows", self.keyspace);
        self.session.query_unpaged(truncate, ()).await.map_err(of_cql)?;
        let insert = format!("INSERT INTO {}.rows (id, value) VALUES (?, ?)", self.keyspace);
        let mut insert = self.session.prepare(insert).await.map_err(of_cql)?;
        insert.set_consistency(Consistency::LocalQuorum);
        insert.set_is_idempotent(true);
        let (insert, begun) = (Arc::new(insert), Instant::now());
        let mut lanes = JoinSet::new();
        for lane in 0..in_flight {
            let (session, insert) = (Arc::clone(&self.session), Arc::clone(&insert));
            let values = Arc::clone(values);
            lanes.spawn(async move {
                let (mut times, mut id) = (Recorder::new(), lane);
                while begun.elapsed() < measured {
                    let (before, value) = (Instant::now(), &values[id % values.len()][..]);
                    session.execute_unpaged(&insert, (id as i64, value)).await.map_err(of_cql)?;
                    times.note(before.elapsed());
                    id += in_flight;
                }
                Ok::<_, Error>(times)
            });
        }
        let mut times = Recorder::new();
        while let Some(ended) = lanes.join_next().await {
            times.add(&ended.map_err(|error| Error::Peer(error.to_string()))??);
        }
        Ok((times, begun.elapsed()))
    }
}

/// What an acknowledged row rests on, as a node says.
///
/// # Errors
/// When it does not answer.
pub async fn durability(url: &str) -> Result<String> {
    let session = connect(url).await?;
    let others = session.query_unpaged("SELECT peer FROM system.peers", ()).await;
    let others = others.map_err(of_cql)?.into_rows_result();
    let nodes = 1 + others.map_err(of_cql)?.rows_num();
    let syncs = match setting(&session, "commitlog_sync").await.as_deref() {
        Some("periodic") => match setting(&session, "commitlog_sync_period").await {
            Some(period) => format!("synced every {period}"),
            None => "synced periodically".to_owned(),
        },
        Some("batch" | "group") => "synced before the answer".to_owned(),
        Some(other) => format!("commitlog_sync={other}"),
        None => "synced at a time that is not known".to_owned(),
    };
    Ok(format!("LOCAL_QUORUM, replication 1 on {nodes} nodes: commit log {syncs}"))
}

/// A setting of Cassandra; ScyllaDB has no such table.
async fn setting(session: &Session, name: &str) -> Option<String> {
    let select = "SELECT value FROM system_views.settings WHERE name = ?";
    let found = session.query_unpaged(select, (name,)).await.ok()?.into_rows_result().ok()?;
    found.maybe_first_row::<(Option<String>,)>().ok()??.0
}

/// Drops a keyspace and those that were made beside it.
///
/// # Errors
/// When the servers refuse.
pub async fn drop_keyspaces(url: &str, name: &str) -> Result<()> {
    let session = connect(url).await?;
    let select = "SELECT keyspace_name FROM system_schema.keyspaces";
    let rows = session.query_unpaged(select, ()).await.map_err(of_cql)?;
    let rows = rows.into_rows_result().map_err(|error| Error::Peer(error.to_string()))?;
    let names = rows.rows::<(String,)>().map_err(|error| Error::Peer(error.to_string()))?;
    for found in names.flatten().map(|(found,)| found) {
        let is_beside =
            found.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        if is_beside {
            session.query_unpaged(format!("DROP KEYSPACE {found}"), ()).await.map_err(of_cql)?;
        }
    }
    Ok(())
}

async fn connect(url: &str) -> Result<Session> {
    let one = NonZeroUsize::MIN;
    let builder = SessionBuilder::new().known_node(hosts(url)).pool_size(PoolSize::PerShard(one));
    builder.build().await.map_err(of_cql)
}

fn of_cql(error: impl std::fmt::Display) -> Error {
    Error::Peer(format!("CQL: {error}"))
}
