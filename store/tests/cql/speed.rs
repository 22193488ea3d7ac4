//! How fast it is, beside a bare loop of inserts in the same process. Asserts nothing; asked for by name:
//! `cargo test ... --test cql -- --ignored --nocapture speed`.

use crate::{
    history::History,
    server::{Server, live},
};
use scylla::{client::session_builder::SessionBuilder, value::CqlValue};
use spine_schemas::{Driver, RunKey};
use spine_store::{RunStore, StoreBatch};
use std::sync::Arc;
use tokio::{task::JoinSet, time::Instant};

/// Whole runs of a plan: created, started, completed, ended.
fn whole_runs(partition: u32, count: u64) -> History {
    let mut history = History::new(partition);
    for number in 0..count {
        let key = RunKey::new("default", &format!("run-{partition}-{number}"));
        history.create(&key, Driver::Plan);
        history.settle(&key, Vec::new());
        for _ in 0..3 {
            history.outcome(&key, None);
        }
    }
    history
}

/// Rows of some 300 bytes, one statement each, 128 on their way.
async fn bare_inserts(server: &Server, keyspace: &str, rows: u64) -> f64 {
    let session = SessionBuilder::new().known_node(server.node()).build().await.unwrap();
    let session = Arc::new(session);
    let table = format!("{keyspace}.bare");
    let create = format!("CREATE TABLE {table} (id bigint PRIMARY KEY, value blob)");
    session.query_unpaged(create, ()).await.unwrap();
    let insert = format!("INSERT INTO {table} (id, value) VALUES (?, ?)");
    let insert = session.prepare(insert).await.unwrap();
    let started = Instant::now();
    let mut crew = JoinSet::new();
    for id in 0..rows {
        if crew.len() >= 128 {
            crew.join_next().await.unwrap().unwrap();
        }
        let (session, insert) = (Arc::clone(&session), insert.clone());
        crew.spawn(async move {
            let row = [CqlValue::BigInt(id as i64), CqlValue::Blob(vec![7; 300])];
            session.execute_unpaged(&insert, &row[..]).await.unwrap();
        });
    }
    while let Some(done) = crew.join_next().await {
        done.unwrap();
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement; asked for by name"]
fn speed() {
    live(async |server| {
        let started = Instant::now();
        let store = server.fresh().await;
        println!("a keyspace is made in {:?}", started.elapsed());
        let started = Instant::now();
        drop(server.open(store.keyspace()).await);
        println!("and opened in {:?}", started.elapsed());
        let history = whole_runs(0, 3000);
        let single = whole_runs(1, 60);
        let batches = |history: &History, of: u64| -> Vec<StoreBatch> {
            let starts = (0..history.len()).step_by(of as usize);
            starts.map(|start| history.batch(start..(start + of).min(history.len()))).collect()
        };
        println!("{} events in {} runs", history.len(), history.keys().len());
        for round in 0..3 {
            let bare = bare_inserts(server, &bare_keyspace(server).await, 30_000).await;
            let store = server.fresh().await;
            let all = batches(&history, 2000);
            let started = Instant::now();
            for batch in all {
                store.apply(batch).await.unwrap();
            }
            let whole = history.len() as f64 / started.elapsed().as_secs_f64();
            let all = batches(&single, 1);
            let started = Instant::now();
            for batch in all {
                store.apply(batch).await.unwrap();
            }
            let one = single.len() as f64 / started.elapsed().as_secs_f64();
            let keys = history.keys();
            let started = Instant::now();
            let loaded = store.load_runs(0, &keys).await.unwrap();
            let load = loaded.len() as f64 / started.elapsed().as_secs_f64();
            println!(
                "round {round}: bare inserts {bare:.0}/s; whole runs {whole:.0} events/s \
                 (ratio {:.2}); one event at a time {one:.0}/s; load_runs {load:.0} runs/s",
                whole / bare
            );
        }
    });
}

/// A keyspace without our tables.
async fn bare_keyspace(server: &Server) -> String {
    let name = server.name();
    let session = SessionBuilder::new().known_node(server.node()).build().await.unwrap();
    let create = format!(
        "CREATE KEYSPACE {name} WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}}"
    );
    session.query_unpaged(create, ()).await.unwrap();
    name
}
