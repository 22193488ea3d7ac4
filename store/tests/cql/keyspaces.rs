//! Making, refusing, comparing and switching keyspaces.

use crate::{
    history::{History, Luck},
    server::live,
};
use scylla::client::session::Session;
use spine_store::{
    Error, RunStore,
    contract::samples::{self, Tape},
    cql::{CqlStore, Options, compare},
};
use std::time::Duration;

/// Several processes that make one keyspace at once end with one store.
#[test]
fn openers_at_once_share_one_identity() {
    live(async |server| {
        let options = server.options(&server.name());
        let open = || CqlStore::open(&options);
        let (a, b, c) = tokio::join!(open(), open(), open());
        let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
        assert_eq!((a.store_id(), b.store_id()), (b.store_id(), c.store_id()));
        assert_eq!(a.store_id().len(), 32);
        a.apply(Tape::new(0).next(1)).await.unwrap();
        assert_eq!(b.progress(0).await.unwrap(), c.progress(0).await.unwrap());
        assert!(c.progress(0).await.unwrap().is_some());
    });
}

/// What is not a store, is not there, or is only to be read, is refused with what to do.
#[test]
fn the_wrong_keyspace_is_refused_by_name() {
    live(async |server| {
        let name = server.name();
        let refused = CqlStore::open(&server.options(&name).looked_at()).await;
        let Err(Error::Refused(message)) = refused else { panic!("{refused:?}") };
        assert!(message.contains(&name) && message.contains("no store"), "{message}");
        let store = server.open(&name).await;
        let reader = CqlStore::open(&server.options(&name).looked_at()).await.unwrap();
        assert_eq!(reader.store_id(), store.store_id());
        let refused = reader.apply(Tape::new(0).next(1)).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        let foreign = CqlStore::open(&server.options("system")).await;
        let Err(Error::Refused(message)) = foreign else { panic!("{foreign:?}") };
        assert!(message.contains("not a Spine store"), "{message}");
        for bad in ["Upper", "a-b", "", "1a", "a; drop"] {
            let refused = CqlStore::open(&server.options(bad)).await;
            assert!(matches!(refused, Err(Error::Refused(_))), "{bad}: {refused:?}");
        }
    });
}

/// Quorums of two data centres need not overlap, so a store is used through one, always the same.
#[test]
fn another_data_centre_than_the_stores_is_refused() {
    live(async |server| {
        let name = server.name();
        let elsewhere = Options { local_dc: Some("elsewhere".into()), ..server.options(&name) };
        let refused = CqlStore::open(&elsewhere).await;
        let Err(Error::Refused(message)) = refused else { panic!("{refused:?}") };
        assert!(message.contains("'elsewhere'") && message.contains("?datacenter="), "{message}");
        drop(server.open(&name).await);
        drop(server.open(&name).await);
        let update =
            format!("UPDATE {name}.meta SET store_id = 'west' WHERE name = 'datacenter' IF EXISTS");
        server.session().await.query_unpaged(update, ()).await.unwrap();
        for options in [server.options(&name), server.options(&name).looked_at()] {
            let refused = CqlStore::open(&options).await;
            let Err(Error::Refused(message)) = refused else { panic!("{refused:?}") };
            assert!(message.contains("set ?datacenter=west, or replay"), "{message}");
        }
    });
}

/// Where there is one data centre only, copies may be placed without one.
#[test]
fn a_keyspace_of_simple_replication_is_taken_in_one_data_centre() {
    live(async |server| {
        let name = server.name();
        let session = server.session().await;
        make(&session, &name).await;
        let store = server.open(&name).await;
        store.apply(Tape::new(0).next(1)).await.unwrap();
        assert!(server.open(&name).await.progress(0).await.unwrap().is_some());
    });
}

/// A node may hear of a later table before an earlier one while another process makes them.
#[test]
fn a_store_in_the_making_is_waited_for() {
    live(async |server| {
        let name = server.name();
        let session = server.session().await;
        make(&session, &name).await;
        let tables = [
            "live (name text PRIMARY KEY, keyspace_name text, version bigint, reason text)",
            "meta (name text PRIMARY KEY, store_id text, form int, fold_version int)",
        ];
        let make = async |table: &str| {
            session.query_unpaged(format!("CREATE TABLE {name}.{table}"), ()).await.unwrap();
        };
        make(tables[0]).await;
        let options = server.options(&name);
        let opening = CqlStore::open(&options);
        let (opened, ()) = tokio::join!(opening, async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            make(tables[1]).await;
        });
        assert_eq!(opened.unwrap().store_id().len(), 32);
    });
}

async fn make(session: &Session, keyspace: &str) {
    let text = format!(
        "CREATE KEYSPACE {keyspace} WITH replication = \
         {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    );
    session.query_unpaged(text, ()).await.unwrap();
}

/// A difference is named by table, row and column.
#[test]
fn differences_are_named_down_to_the_column() {
    live(async |server| {
        let (left, right) = (server.fresh().await, server.fresh().await);
        let run = samples::with_step(samples::run("default", "r", 0), samples::step("a", 0));
        let mut other = run.clone();
        other.totals.attempts = 5;
        left.apply(Tape::new(0).with([samples::created(&run)])).await.unwrap();
        right.apply(Tape::new(0).with([samples::created(&other)])).await.unwrap();
        let found = compare(&left, &right, 10).await.unwrap();
        assert!(!found.is_equal());
        let columns: Vec<_> =
            found.differences.iter().map(|one| (one.table, one.column.clone().unwrap())).collect();
        assert_eq!(columns, [("runs", "attempts".to_owned()), ("runs", "state".to_owned())]);
        assert_eq!(found.differences[0].left.as_deref(), Some("0"));
        assert_eq!(found.differences[0].right.as_deref(), Some("5"));
        let mut tape = Tape::new(0);
        tape.with([samples::created(&run)]);
        let more = samples::run("default", "s", 1);
        right.apply(tape.with([samples::created(&more)])).await.unwrap();
        let found = compare(&left, &right, 100).await.unwrap();
        let row = |one: &&spine_store::Difference| one.table == "open_runs";
        let missing: Vec<_> = found.differences.iter().filter(row).collect();
        assert_eq!(missing.len(), 1);
        assert_eq!((&*missing[0].key, &missing[0].left), ("0 0 default s", &None));
        assert_eq!((found.progress[0].left, found.progress[0].right), (Some(0), Some(1)));
    });
}

/// The name of a store moves to a rebuilt keyspace of the same log, but never to one that is behind.
#[test]
fn a_name_moves_to_a_rebuilt_keyspace() {
    live(async |server| {
        let history = History::random(0, &mut Luck::new(5), 60);
        let (name, fresh) = (server.name(), server.name());
        let old = server.open(&name).await;
        old.apply(history.batch(0..history.len())).await.unwrap();
        let new = server.open(&fresh).await;
        new.apply(history.batch(0..10)).await.unwrap();
        let options = server.options(&name);
        let refused = CqlStore::switch(&options, &fresh, "rebuilt").await;
        let Err(Error::Refused(message)) = refused else { panic!("{refused:?}") };
        assert!(message.contains("partition 0 is at") && message.contains("at 9"), "{message}");
        new.apply(history.batch(10..history.len())).await.unwrap();
        let switched = CqlStore::switch(&options, &fresh, "rebuilt").await.unwrap();
        assert_eq!((switched.from, &switched.to, switched.version), (name.clone(), &fresh, 1));
        let opened = server.open(&name).await;
        assert_eq!((opened.keyspace(), opened.store_id()), (&*fresh, new.store_id()));
        let back = CqlStore::switch(&options, &name, "back").await.unwrap();
        assert_eq!((back.from, back.version), (fresh, 2));
        assert_eq!(server.open(&name).await.store_id(), old.store_id());
    });
}

/// What goes is a store, of whatever version, and none that servers need to find another one.
#[test]
fn a_keyspace_is_removed_if_it_is_a_store_and_points_nowhere_else() {
    live(async |server| {
        let (name, fresh) = (server.name(), server.name());
        let (old, _) = (server.open(&name).await, server.open(&fresh).await);
        let refused = async |keyspace: &str, why: &str| {
            let refused = CqlStore::remove(&server.options(keyspace)).await;
            let Err(Error::Refused(message)) = refused else { panic!("{refused:?}") };
            assert!(message.contains(keyspace) && message.contains(why), "{message}");
        };
        refused(&server.name(), "no store").await;
        refused("system", "no store").await;
        CqlStore::switch(&server.options(&name), &fresh, "rebuilt").await.unwrap();
        refused(&name, &format!("use {fresh}, and would forget it")).await;
        assert_eq!(server.open(&name).await.keyspace(), fresh, "it is still there");
        CqlStore::switch(&server.options(&name), &name, "back").await.unwrap();
        let session = server.session().await;
        let older =
            format!("UPDATE {name}.meta SET fold_version = 1 WHERE name = 'store' IF EXISTS");
        session.query_unpaged(older, ()).await.unwrap();
        CqlStore::remove(&server.options(&name)).await.unwrap();
        assert!(old.all_progress().await.is_err(), "all that it held is gone");
        refused(&name, "no store").await;
    });
}
