//! A keyspace of its own for every store of a test, dropped at its end.

use scylla::client::{session::Session, session_builder::SessionBuilder};
use spine_store::cql::{CqlStore, Options};
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

/// Where the server is, and the keyspaces that a test made on it.
pub(crate) struct Server {
    node: String,
    made: Mutex<Vec<String>>,
}

impl Server {
    /// The server, if there is one.
    pub(crate) fn find() -> Option<Self> {
        match std::env::var("SPINE_TEST_CQL") {
            Ok(node) if !node.is_empty() => Some(Self { node, made: Mutex::default() }),
            _ => {
                assert_ne!(
                    std::env::var("SPINE_LIVE").as_deref(),
                    Ok("required"),
                    "SPINE_TEST_CQL=host:port is not set; `make servers-up` starts a server"
                );
                println!("skipped: SPINE_TEST_CQL=host:port is not set");
                None
            }
        }
    }

    /// A keyspace name that nobody uses.
    pub(crate) fn name(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
        let name = format!("spine_test_{}_{now}_{number}", std::process::id());
        self.made.lock().unwrap().push(name.clone());
        name
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn options(&self, keyspace: &str) -> Options {
        Options::new(&[&self.node], keyspace)
    }

    pub(crate) async fn open(&self, keyspace: &str) -> CqlStore {
        CqlStore::open(&self.options(keyspace)).await.unwrap()
    }

    pub(crate) async fn fresh(&self) -> CqlStore {
        self.open(&self.name()).await
    }

    /// A session as a person at a prompt has one.
    pub(crate) async fn session(&self) -> Session {
        SessionBuilder::new().known_node(&self.node).build().await.unwrap()
    }

    /// Drops all that the test made.
    pub(crate) async fn clean(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap());
        let session = self.session().await;
        for keyspace in made {
            let drop = format!("DROP KEYSPACE IF EXISTS {keyspace}");
            session.query_unpaged(drop, ()).await.unwrap();
        }
    }
}

/// Runs a test with a server and cleans up behind it; skips it where there is none.
pub(crate) fn live(test: impl AsyncFnOnce(&Server)) {
    let Some(server) = Server::find() else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let run = || runtime.block_on(test(&server));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    runtime.block_on(server.clean());
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
