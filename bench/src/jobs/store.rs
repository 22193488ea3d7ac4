//! How fast a server that starts on a full log folds it and fills its store, and how fast a replay does the
//! same. Against raw inserts and a hand-written sink where the store is a cluster.

use crate::{
    bench::{Bench, Head, durable, parameters, watched},
    ceilings::{self, kafka::hosts},
    cpu::{Watch, Watched},
    error::{Error, Result},
    filled::{self, Order},
    measure::Measure,
    peer::Peer,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::{Value, json};
use spine_store::RunStore;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the store's progress is looked at: a read for each partition.
const LOOK: Duration = Duration::from_millis(100);
/// A store that does not move for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);
/// Runs that take turns where events are interleaved.
const INTERLEAVED: Order = Order::Interleaved(5_000);
/// Raw inserts on their way.
const IN_FLIGHT: usize = 128;
/// Bytes of a raw row.
const ROW_BYTES: usize = 600;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts() {
        rows.extend(match parts {
            Parts::Embedded => on_sqlite(bench).await?,
            Parts::Cluster => on_cql(bench).await?,
        });
    }
    Ok(rows)
}

async fn on_sqlite<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let total = bench.settings.of_size(800, 600_000);
    let (mut live, mut replays) = (Vec::new(), Vec::new());
    for _ in 0..bench.settings.rounds {
        let (followed, replayed) = both(bench, Parts::Embedded, total, Order::Whole).await?;
        live.push(followed);
        replays.push(replayed);
    }
    let order = bench.settings.of_size(Order::Interleaved(50), INTERLEAVED);
    let interleaved =
        bench.rounds(async || Ok(both(bench, Parts::Embedded, total, order).await?.0)).await?;
    Ok(vec![
        Row::of("store.sqlite", Parts::Embedded, live.clone(), Vec::new()),
        Row::of("store.sqlite.interleaved", Parts::Embedded, interleaved, Vec::new()),
        Row::of("replay.sqlite", Parts::Embedded, replays, live),
    ])
}

async fn on_cql<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let total = bench.settings.of_size(800, 300_000);
    let order = bench.settings.of_size(Order::Interleaved(50), INTERLEAVED);
    let mut sink = start_sink(bench).await?;
    let (mut live, mut replays, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut interleaved, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..bench.settings.rounds {
        inserts.push(raw_inserts(bench).await?);
        let place = filled::place(bench, Parts::Cluster, total, Order::Whole).await?;
        if let Some(sink) = &mut sink {
            plain.push(plain_rows(sink, &place, total).await?);
        }
        live.push(follow(bench, &place, total, Order::Whole).await?);
        replays.push(replay(bench, &place, total, Order::Whole).await?);
        place.remove(&bench.settings).await?;
        interleaved.push(both(bench, Parts::Cluster, total, order).await?.0);
    }
    if let Some(sink) = sink {
        sink.stop().await?;
    }
    let row = |job: &str, ours: &[Measure], against: Vec<Measure>| {
        Row::of(job, Parts::Cluster, ours.to_vec(), against)
    };
    let mut rows = vec![
        row("store.cql.whole", &live, inserts.clone()),
        row("store.cql.interleaved", &interleaved, inserts),
        row("replay.cql", &replays, live.clone()),
    ];
    if !plain.is_empty() {
        rows.push(row("store.cql.java", &live, plain));
    }
    Ok(rows)
}

/// The hand-written sink, if peers are wanted.
async fn start_sink<O: Opener>(bench: &Bench<O>) -> Result<Option<Peer>> {
    let Some(cluster) = &bench.settings.cluster else { return Ok(None) };
    let (kafka, cql) = (hosts(&cluster.log), hosts(&cluster.store));
    Peer::start(&bench.settings, "java-sink", &["--kafka", kafka, "--cql", cql]).await
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

fn head(parts: Parts, of: &'static str, total: u64, order: Order, partitions: u32) -> Head {
    Head {
        of,
        durability: match parts {
            Parts::Embedded => durable::SQLITE,
            Parts::Cluster => durable::CQL,
        },
        parameters: parameters([
            ("events", json!(total)),
            ("order", json!(order.name())),
            ("partitions", json!(partitions)),
        ]),
    }
}

/// How far the store is, over all partitions.
async fn stored<S: RunStore>(store: &S, partitions: u32) -> Result<u64> {
    let mut sum = 0;
    for partition in 0..partitions {
        sum += store.progress(partition).await?.map_or(0, |progress| progress.offset + 1);
    }
    Ok(sum)
}

async fn follow<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    total: u64,
    order: Order,
) -> Result<Measure> {
    let store = bench.opener.store(place.store()).await?;
    let before = stored(&store, place.partitions()).await?;
    let server = Server::spawn(&bench.settings, place, &[])?;
    let mut processes = vec![server.watched()];
    processes.extend(bench.settings.servers(place.parts));
    let mut seen: Option<(u64, Instant, Watch)> = None;
    let mut moved = (before, Instant::now());
    let measure = loop {
        let now = stored(&store, place.partitions()).await?;
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
            let head = head(place.parts, "fold and store", total, order, place.partitions());
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
    let processes = bench.settings.servers(place.parts);
    let (said, _, usage) = watched(&processes, place.command(&command)).await?;
    let said: Value = serde_json::from_str(&said)
        .map_err(|error| Error::Server(format!("spine replay --json: {error}")))?;
    let figure = |name: &str| said[name].as_u64().filter(|figure| *figure > 0);
    let (Some(records), Some(took_ms)) = (figure("records"), figure("took_ms")) else {
        return Err(Error::Server(format!("spine replay --json says {said}")));
    };
    let head = head(place.parts, "replay", total, order, place.partitions());
    Ok(head.rate(records, Duration::from_millis(took_ms), "events/s", usage))
}

async fn raw_inserts<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let cluster = bench.settings.cluster.as_ref();
    let cluster = cluster.ok_or_else(|| Error::Peer("there is no CQL server".into()))?;
    let keyspace = format!("bench_raw_{}", std::process::id());
    let raw = ceilings::cql::Raw::new(&cluster.store, &keyspace).await?;
    let mut processes = vec![Watched::this("driver")];
    processes.extend(bench.settings.servers(Parts::Cluster));
    // As long as the store follows, so that both sides pay for what is written to disk meanwhile.
    let sustained = bench.settings.of_size(Duration::from_millis(300), Duration::from_secs(15));
    let work = raw.insert(IN_FLIGHT, ROW_BYTES, sustained);
    let ((times, took), _, usage) = watched(&processes, work).await?;
    ceilings::cql::drop_keyspaces(&cluster.store, &keyspace).await?;
    let head = Head {
        of: "raw single-row inserts",
        durability: durable::CQL,
        parameters: parameters([("in_flight", json!(IN_FLIGHT)), ("bytes", json!(ROW_BYTES))]),
    };
    let measure = head.rate(times.count(), took, "rows/s", usage);
    Ok(Measure { times: times.times(), ..measure })
}
