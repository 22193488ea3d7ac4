//! Which data centre a store is read and written through.
//!
//! `LOCAL_QUORUM` is a quorum of the data centre whose node is asked. Quorums of two data centres
//! need not overlap, and then a reader may see a progress without the rows that it covers. So every
//! process uses the nodes of one data centre, in which the keyspace has its copies, and `meta` keeps
//! its name, so that all processes use the same one.

use super::{fault, open::ask};
use crate::{Error, Result};
use scylla::{
    client::session::Session,
    statement::{Consistency, SerialConsistency, unprepared::Statement},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{SocketAddr, ToSocketAddrs},
};

/// A node that the cluster told of.
struct Known {
    address: SocketAddr,
    data_centre: String,
}

/// The data centre whose nodes are used: the one that was asked for, or that of the first node.
pub(super) async fn choose(
    session: &Session,
    nodes: &[String],
    asked: Option<&str>,
) -> Result<String> {
    let known: Vec<Known> = session
        .get_cluster_state()
        .get_nodes_info()
        .iter()
        .filter_map(|node| {
            let address = SocketAddr::new(node.address.ip(), node.address.port());
            Some(Known { address, data_centre: node.datacenter.clone()? })
        })
        .collect();
    let asked = match asked {
        Some(asked) => return pick(&known, Some(asked), &[]),
        None if names(&known).len() < 2 => return pick(&known, None, &[]),
        None => nodes.to_vec(),
    };
    // Names are looked up as the driver does it, so that the node is found by its address.
    let addresses = tokio::task::spawn_blocking(move || {
        asked.iter().filter_map(|node| node.to_socket_addrs().ok()).flatten().collect::<Vec<_>>()
    });
    pick(&known, None, &addresses.await.unwrap_or_default())
}

fn names(known: &[Known]) -> BTreeSet<&str> {
    known.iter().map(|node| node.data_centre.as_str()).collect()
}

fn pick(known: &[Known], asked: Option<&str>, contacts: &[SocketAddr]) -> Result<String> {
    let names = names(known);
    let all = names.iter().copied().collect::<Vec<_>>().join(", ");
    if let Some(asked) = asked {
        if names.is_empty() || names.contains(asked) {
            return Ok(asked.to_owned());
        }
        return Err(Error::Refused(format!(
            "open a CQL store: the cluster has no data centre '{asked}', it has {all}; name one of \
             these with ?datacenter="
        )));
    }
    let contact = || {
        let found = |at: &SocketAddr| known.iter().find(|node| node.address == *at);
        contacts.iter().find_map(found).map(|node| node.data_centre.as_str())
    };
    match (names.first(), names.len()) {
        (Some(only), 1) => Ok((*only).to_owned()),
        (Some(_), _) => contact().map(str::to_owned).ok_or_else(|| {
            Error::Refused(format!(
                "open a CQL store: the cluster has the data centres {all}, and none of its nodes has \
                 an address that was given; name one of them with ?datacenter="
            ))
        }),
        (None, _) => Err(Error::Unavailable("find the data centre: no node told its own".into())),
    }
}

/// Refuses a keyspace that cannot be used through the data centre.
pub(super) async fn check_copies(session: &Session, keyspace: &str, ours: &str) -> Result<()> {
    let text = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = ask(session, text, (keyspace,)).await?;
    let row = found.maybe_first_row::<(BTreeMap<String, String>,)>();
    let row = row.map_err(|error| fault::of_rows("read the replication", error))?;
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let all: BTreeSet<&str> = nodes.filter_map(|node| node.datacenter.as_deref()).collect();
    match row {
        Some((replication,)) => judge(keyspace, &replication, ours, all.len()),
        None => Ok(()),
    }
}

fn judge(
    keyspace: &str,
    replication: &BTreeMap<String, String>,
    ours: &str,
    data_centres: usize,
) -> Result<()> {
    let class = replication.get("class").map_or("", String::as_str);
    if class.ends_with("NetworkTopologyStrategy") {
        let copies = |name: &String| replication.get(name).is_some_and(|copies| copies != "0");
        if copies(&ours.to_owned()) {
            return Ok(());
        }
        let others: Vec<&str> = replication
            .keys()
            .filter(|name| *name != "class" && copies(name))
            .map(|n| &**n)
            .collect();
        let others = others.join(", ");
        return Err(Error::Refused(format!(
            "open keyspace {keyspace}: it has no copies in the data centre {ours} that is used, but \
             in {others}; name that one with ?datacenter=, or alter the keyspace and repair it"
        )));
    }
    if data_centres < 2 {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "open keyspace {keyspace}: it is replicated by {class}, which knows no data centres, in a \
         cluster of {data_centres}; alter it to NetworkTopologyStrategy with copies in {ours}, and \
         repair it"
    )))
}

/// Notes the data centre with the store, once, and refuses another one than was noted.
pub(super) async fn remember(
    session: &Session,
    keyspace: &str,
    ours: &str,
    may_write: bool,
) -> Result<()> {
    let mut noted = noted(session, keyspace, Consistency::LocalSerial).await?;
    if noted.is_none() && may_write {
        let insert = format!(
            "INSERT INTO {keyspace}.meta (name, store_id) VALUES ('datacenter', ?) IF NOT EXISTS"
        );
        let mut insert = Statement::new(insert);
        // Here alone all data centres are asked: the first process of each may be at this line.
        insert.set_serial_consistency(Some(SerialConsistency::Serial));
        ask(session, insert, (ours,)).await?;
        noted = self::noted(session, keyspace, Consistency::Serial).await?;
    }
    match noted {
        Some(noted) if noted != ours => Err(Error::Refused(format!(
            "open keyspace {keyspace}: it is used through the data centre {noted}, and this process \
             would use {ours}, where rows may be missing that count as stored; set \
             ?datacenter={noted}, or replay the log into a fresh keyspace and switch to it"
        ))),
        Some(_) | None => Ok(()),
    }
}

async fn noted(
    session: &Session,
    keyspace: &str,
    consistency: Consistency,
) -> Result<Option<String>> {
    let mut select =
        Statement::new(format!("SELECT store_id FROM {keyspace}.meta WHERE name = 'datacenter'"));
    select.set_consistency(consistency);
    let found = ask(session, select, ()).await?;
    let row = found.maybe_first_row::<(String,)>();
    Ok(row.map_err(|error| fault::of_rows("read meta", error))?.map(|(name,)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(nodes: &[(&str, &str)]) -> Vec<Known> {
        let known = |(address, name): &(&str, &str)| Known {
            address: address.parse().unwrap(),
            data_centre: (*name).to_owned(),
        };
        nodes.iter().map(known).collect()
    }

    fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        let Err(Error::Refused(message)) = outcome else { panic!("{outcome:?}") };
        message
    }

    #[test]
    fn without_a_choice_it_is_that_of_the_node_that_was_named() {
        let two = cluster(&[("10.0.0.1:9042", "east"), ("10.1.0.1:9042", "west")]);
        let at = |address: &str| [address.parse().unwrap()];
        assert_eq!(pick(&two, None, &at("10.1.0.1:9042")).unwrap(), "west");
        assert!(refusal(pick(&two, None, &at("10.1.0.1:9999"))).contains("east, west"));
        assert_eq!(pick(&two[..1], None, &[]).unwrap(), "east");
        assert_eq!(pick(&two, Some("east"), &[]).unwrap(), "east");
        let message = refusal(pick(&two, Some("north"), &[]));
        assert!(message.contains("'north'") && message.contains("?datacenter="), "{message}");
        assert!(matches!(pick(&[], None, &[]), Err(Error::Unavailable(_))));
    }

    #[test]
    fn a_keyspace_has_its_copies_where_they_are_read() {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let spread = "org.apache.cassandra.locator.NetworkTopologyStrategy";
        let east = map(&[("class", spread), ("east", "3"), ("north", "0")]);
        assert_eq!(judge("k", &east, "east", 2), Ok(()));
        for elsewhere in ["west", "north"] {
            let message = refusal(judge("k", &east, elsewhere, 2));
            assert!(message.contains("but in east;"), "{message}");
        }
        let simple = map(&[("class", "SimpleStrategy"), ("replication_factor", "1")]);
        assert_eq!(judge("k", &simple, "east", 1), Ok(()));
        assert!(refusal(judge("k", &simple, "east", 2)).contains("NetworkTopologyStrategy"));
    }
}
