//! Records with the largest payload that there may be: no group of them that is written at once is above its
//! limit, and the server's memory does not depend on how many there were.

use crate::{
    bench::{Bench, Head, parameters, watched},
    blocks,
    cpu::Watched,
    durable,
    error::{Error, Result},
    events, filled,
    load::{Connection, Request},
    measure::Measure,
    memory,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;
use spine_log::limits::GROUP_BYTES;
use spine_schemas::limits::{BODY_BYTES, PAYLOAD_BYTES};
use tokio::task::JoinSet;

const MIB: f64 = 1024.0 * 1024.0;
/// Clients at once, and records of a request: nearly as many as its body may have.
const CLIENTS: u64 = 4;
const BATCH: u64 = 120;
/// Such a request is no larger.
const _: () = assert!(BATCH as usize * (PAYLOAD_BYTES + 256) <= BODY_BYTES);
/// A text of so many bytes more than it is asked for is still below the limit.
const ROOM_BYTES: usize = 64;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let (few, many) = bench.settings.of_size((120, 240), (1_200, 10_080));
    let (small, large) = (appended(bench, few).await?, appended(bench, many).await?);
    let head = Head {
        of: "a full group",
        durability: durable::EMBEDDED,
        parameters: parameters([("group_bytes", json!(GROUP_BYTES))]),
    };
    let limit = head.value(GROUP_BYTES as f64 / MIB, "MiB", 0, None);
    let row = |job: &str, ours, against| Row::of(job, Parts::Embedded, vec![ours], vec![against]);
    Ok(vec![
        row("scale.batches", large.block, limit),
        row("scale.batches.memory", large.memory, small.memory),
    ])
}

/// What was found once so many records were appended, folded and stored.
struct Appended {
    block: Measure,
    memory: Measure,
}

async fn appended<O: Opener>(bench: &Bench<O>, records: u64) -> Result<Appended> {
    let place = Place::make(&bench.settings, Parts::Embedded).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let processes = [Watched::this("client"), server.watched()];
    let working = async {
        append(server.port, records).await?;
        filled::wait_until_stored(bench, &place, records).await
    };
    let ((), took, usage) = watched(&processes, working).await?;
    let peak = memory::peak(server.watched().pid)?;
    server.stop().await?;
    let block = blocks::largest(&place.segments()?)?;
    place.remove(&bench.settings).await?;
    let measure = |of, bytes: u64| {
        let head = Head {
            of,
            durability: durable::EMBEDDED,
            parameters: parameters([
                ("records", json!(records)),
                ("payload_bytes", json!(PAYLOAD_BYTES - ROOM_BYTES)),
                ("records_a_request", json!(BATCH)),
                ("clients", json!(CLIENTS)),
            ]),
        };
        let measure = head.value(bytes as f64 / MIB, "MiB", records, usage.clone());
        Measure { seconds: took.as_secs_f64(), ..measure }
    };
    Ok(Appended {
        block: measure("largest group in the log", block),
        memory: measure("peak memory of a server", peak),
    })
}

/// Appends so many records, each a run of its own.
async fn append(port: u16, records: u64) -> Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let input = events::text(client, PAYLOAD_BYTES - ROOM_BYTES);
        clients.spawn(async move {
            let mut connection = Connection::open(port).await?;
            let (requests, mut lines) = (records / BATCH, String::new());
            for request in (client..requests).step_by(CLIENTS as usize) {
                lines.clear();
                for number in request * BATCH..(request + 1) * BATCH {
                    lines.push_str(&line(number, &input));
                }
                let body = lines.as_bytes();
                let request = Request::post(port, "/v1/events", "application/x-ndjson", body);
                connection.ask(&request).await?.granted()?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| Error::Server(error.to_string()))??;
    }
    Ok(())
}

fn line(number: u64, input: &str) -> String {
    let run = format!(r#"{{"workflow":"w","version":"1","input":{input}}}"#);
    format!(r#"{{"kind":"run_created","run_id":"large-{number}","run":{run}}}"#) + "\n"
}
