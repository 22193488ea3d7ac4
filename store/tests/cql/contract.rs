//! The contract suite on a keyspace per store.

use crate::server::{Server, live};
use spine_store::{
    contract::{Stores, check_all},
    cql::CqlStore,
};

impl Stores for Server {
    type Store = CqlStore;

    async fn fresh(&self) -> CqlStore {
        Server::fresh(self).await
    }

    async fn reopen(&self, store: CqlStore) -> Option<CqlStore> {
        let keyspace = store.keyspace().to_owned();
        drop(store);
        Some(self.open(&keyspace).await)
    }
}

#[test]
fn contract() {
    live(async |server| Box::pin(check_all(server)).await);
}
