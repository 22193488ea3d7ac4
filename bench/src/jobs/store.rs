//! How fast a server that starts on a full log folds it and fills its store, and how fast a replay does the
//! same. Against raw inserts and a hand-written sink where the store is a cluster.

use crate::{
    bench::{Bench, Head, parameters, watched},
    ceilings::{self, kafka::hosts},
    cpu::{Watch, Watched},
    error::{Error, Result},
    events,
    filled::{self, Order},
    measure::Measure,
    peer::Peer,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How often the store's progress is looked at: a read for each partition.
const LOOK: Duration = Duration::from_millis(100);
/// A store that does not move for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Runs that take turns where events are interleaved.
const INTERLEAVED: Order = Order::Interleaved(5_000);
/// Raw inserts on their way.
const IN_FLIGHT: usize = 128;
/// Different rows that are inserted raw.
const RAW_ROWS: u64 = 8_000;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if bench.settings.wants_any(["store.sqlite", "store.sqlite.interleaved", "replay.sqlite"]) {
        rows.extend(on_sqlite(bench).await?);
    }
    let names = ["store.cql.whole", "store.cql.interleaved", "replay.cql", "store.cql.java"];
    if bench.settings.cluster.is_some() && bench.settings.wants_any(names) {
        rows.extend(on_cql(bench).await?);
    }
    Ok(rows)
}

/// Runs take turns in this order, as many as there is room for.
fn interleaved<O: Opener>(bench: &Bench<O>) -> Order {
    bench.settings.of_size(Order::Interleaved(50), INTERLEAVED)
}

async fn on_sqlite<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let total = bench.settings.of_size(800, 600_000);
    let mut rows = Vec::new();
    if bench.settings.wants_any(["store.sqlite", "replay.sqlite"]) {
        let (mut live, mut replays) = (Vec::new(), Vec::new());
        for _ in 0..bench.settings.rounds {
            let (followed, replayed) = both(bench, Parts::Embedded, total, Order::Whole).await?;
            live.push(followed);
            replays.push(replayed);
        }
        rows.push(Row::of("store.sqlite", Parts::Embedded, live.clone(), Vec::new()));
        rows.push(Row::of("replay.sqlite", Parts::Embedded, replays, live));
    }
    if bench.settings.wants("store.sqlite.interleaved") {
        let order = interleaved(bench);
        let rounds =
            bench.rounds(async || followed(bench, Parts::Embedded, total, order).await).await?;
        rows.push(Row::of("store.sqlite.interleaved", Parts::Embedded, rounds, Vec::new()));
    }
    Ok(rows)
}

async fn on_cql<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let total = bench.settings.of_size(800, 300_000);
    let wants = |row: &str| bench.settings.wants(row);
    let mut sink = if wants("store.cql.java") { start_sink(bench).await? } else { None };
    let (mut live, mut replays, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut turned, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..bench.settings.rounds {
        inserts.push(raw_inserts(bench).await?);
        let place = filled::place(bench, Parts::Cluster, total, Order::Whole).await?;
        if let Some(sink) = &mut sink {
            plain.push(plain_rows(sink, &place, total).await?);
        }
        live.push(follow(bench, &place, total, Order::Whole).await?);
        if wants("replay.cql") {
            replays.push(replay(bench, &place, total, Order::Whole).await?);
        }
        place.remove(&bench.settings).await?;
        if wants("store.cql.interleaved") {
            turned.push(followed(bench, Parts::Cluster, total, interleaved(bench)).await?);
        }
    }
    if let Some(sink) = sink {
        sink.stop().await?;
    }
    let rows = [
        ("store.cql.whole", live.clone(), inserts.clone()),
        ("store.cql.interleaved", turned, inserts),
        ("replay.cql", replays, live.clone()),
        ("store.cql.java", if plain.is_empty() { Vec::new() } else { live }, plain),
    ];
    let measured = rows.into_iter().filter(|(_, ours, _)| !ours.is_empty());
    Ok(measured.map(|(job, ours, against)| Row::of(job, Parts::Cluster, ours, against)).collect())
}

/// The hand-written sink, if peers are wanted.
async fn start_sink<O: Opener>(bench: &Bench<O>) -> Result<Option<Peer>> {
    let Some(cluster) = &bench.settings.cluster else { return Ok(None) };
    let (kafka, cql) = (hosts(&cluster.log), hosts(&cluster.store));
    let servers = cluster.servers.as_ref().map(|dir| dir.display().to_string());
    let mut arguments = vec!["--kafka", kafka, "--cql", cql];
    if let Some(dir) = &servers {
        arguments.extend(["--servers-dir", dir.as_str()]);
    }
    Peer::start(&bench.settings, "java-sink", &arguments).await
}

/// The sink writes the same log, one plain row an event. Once unmeasured, since its JVM starts cold.
async fn plain_rows(sink: &mut Peer, place: &Place, total: u64) -> Result<Measure> {
    let command = json!({
        "topic": place.steps_topic(), "keyspace": place.beside_keyspace("plain"), "events": total,
    });
    sink.ask(&command).await?;
    sink.ask(&command).await
}

/// A server follows a full log; then, without the server, the same log is replayed.
async fn both<O: Opener>(
    bench: &Bench<O>,
    parts: Parts,
    total: u64,
    order: Order,
) -> Result<(Measure, Measure)> {
    let place = filled::place(bench, parts, total, order).await?;
    let followed = follow(bench, &place, total, order).await?;
    let replayed = replay(bench, &place, total, order).await?;
    place.remove(&bench.settings).await?;
    Ok((followed, replayed))
}

/// The same without the replay.
async fn followed<O: Opener>(
    bench: &Bench<O>,
    parts: Parts,
    total: u64,
    order: Order,
) -> Result<Measure> {
    let place = filled::place(bench, parts, total, order).await?;
    let followed = follow(bench, &place, total, order).await?;
    place.remove(&bench.settings).await?;
    Ok(followed)
}

fn about(place: &Place, total: u64, order: Order) -> Map<String, Value> {
    parameters([
        ("events", json!(total)),
        ("order", json!(order.name())),
        ("partitions", json!(place.partitions())),
    ])
}

pub(super) async fn follow<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    total: u64,
    order: Order,
) -> Result<Measure> {
    let store = bench.opener.store(place.store()).await?;
    let before = filled::stored(&store, place.partitions()).await?;
    let server = Server::spawn(&bench.settings, place, &[])?;
    let mut processes = vec![server.watched()];
    processes.extend(bench.settings.servers(place.parts));
    let mut seen: Option<(u64, Instant, Watch)> = None;
    let mut moved = (before, Instant::now());
    let measure = loop {
        let now = filled::stored(&store, place.partitions()).await?;
        if now > moved.0 {
            moved = (now, Instant::now());
            seen.get_or_insert_with(|| (now, moved.1, Watch::begin(&processes)));
        }
        if now >= before + total
            && let Some((first, begun, watch)) = seen.take()
        {
            let took = moved.1 - begun;
            let count = (now - first).max(1);
            let took = took.max(LOOK);
            let durability = bench.durable.store(place.parts);
            let parameters = about(place, total, order);
            let head = Head { of: "fold and store", durability, parameters };
            break head.rate(count, took, "events/s", watch.end());
        }
        if moved.1.elapsed() > STUCK {
            return Err(Error::Server(format!("the store is stuck at {now} of {total} events")));
        }
        sleep(LOOK).await;
    };
    server.stop().await?;
    Ok(measure)
}

async fn replay<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    total: u64,
    order: Order,
) -> Result<Measure> {
    let to = place.other_store("replayed");
    let command = ["replay", "--log", &place.log, "--to", &to, "--json"];
    let servers = bench.settings.servers(place.parts);
    let (said, usage) = place.watched_command(&command, "replay", servers).await?;
    let said: Value = serde_json::from_str(&said)
        .map_err(|error| Error::Server(format!("spine replay --json: {error}")))?;
    let figure = |name: &str| said[name].as_u64().filter(|figure| *figure > 0);
    let (Some(records), Some(took_ms)) = (figure("records"), figure("took_ms")) else {
        return Err(Error::Server(format!("spine replay --json says {said}")));
    };
    let durability = bench.durable.replay(place.parts);
    let head = Head { of: "replay", durability, parameters: about(place, total, order) };
    Ok(head.rate(records, Duration::from_millis(took_ms), "events/s", usage))
}

pub(super) async fn raw_inserts<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let cluster = bench.settings.cluster.as_ref();
    let cluster = cluster.ok_or_else(|| Error::Peer("there is no CQL server".into()))?;
    let keyspace = format!("bench_raw_{}", std::process::id());
    let raw = ceilings::cql::Raw::new(&cluster.store, &keyspace).await?;
    let mut processes = vec![Watched::this("driver")];
    processes.extend(bench.settings.servers(Parts::Cluster));
    let values = Arc::new(events::encoded(RAW_ROWS));
    let bytes: usize = values.iter().map(bytes::Bytes::len).sum();
    // As long as the store follows, so that both sides pay for what is written to disk meanwhile.
    let sustained = bench.settings.of_size(Duration::from_millis(300), Duration::from_secs(15));
    let work = raw.insert(IN_FLIGHT, &values, sustained);
    let ((times, took), _, usage) = watched(&processes, work).await?;
    ceilings::cql::drop_keyspaces(&cluster.store, &keyspace).await?;
    let head = Head {
        of: "raw single-row inserts",
        durability: bench.durable.store(Parts::Cluster),
        parameters: parameters([
            ("in_flight", json!(IN_FLIGHT)),
            ("bytes_a_row", json!(bytes / values.len())),
        ]),
    };
    let measure = head.rate(times.count(), took, "rows/s", usage);
    Ok(Measure { times: times.times("an insert"), ..measure })
}
