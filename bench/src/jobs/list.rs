//! How long a page of the list of runs takes while events are written, and that pages stay as they were.

use super::lag;
use crate::{
    bench::{Bench, Head, parameters, watched},
    cpu::Watched,
    durable,
    error::{Error, Result},
    load::{Connection, Request},
    measure::{Measure, Recorder},
    place::Opener,
    server::Server,
};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashSet;
use tokio::time::Instant;

/// Runs of a page.
const PAGE: usize = 100;
/// Pages that one walk goes on from where it began.
const PAGES: usize = 50;
/// Events a second that are appended meanwhile.
const WRITTEN: u64 = 500;

#[derive(Deserialize)]
struct Page {
    runs: Vec<Listed>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    tenant: String,
    run_id: String,
}

/// The spread of the times of pages: the newest one, and those behind it.
pub(super) async fn measure<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    runs: u64,
    turn: usize,
) -> Result<Measure> {
    let writing = lag::append_steadily(server.port, WRITTEN, format!("written-{turn}"));
    let processes = [Watched::this("client"), server.watched()];
    let (times, took, usage) = watched(&processes, walks(bench, server.port)).await?;
    if writing.is_finished() {
        return Err(Error::Server("nothing was written while runs were listed".into()));
    }
    writing.abort();
    let head = Head {
        of: "a page of the list of runs",
        durability: durable::NONE,
        parameters: parameters([
            ("runs_stored", json!(runs)),
            ("runs_a_page", json!(page(bench))),
            ("pages_a_walk", json!(PAGES)),
            ("events_written_a_second", json!(WRITTEN)),
        ]),
    };
    let spread = times.times("a page").ok_or_else(|| Error::Server("no page was read".into()))?;
    let measure = head.value(spread.p99_ms, "ms", times.count(), usage);
    Ok(Measure { times: Some(spread), seconds: took.as_secs_f64(), ..measure })
}

fn page<O: Opener>(bench: &Bench<O>) -> usize {
    bench.settings.of_size(2, PAGE)
}

/// Walks from the same run on, again and again: whatever is written, the pages must be the same.
async fn walks<O: Opener>(bench: &Bench<O>, port: u16) -> Result<Recorder> {
    let (begun, mut times) = (Instant::now(), Recorder::new());
    let mut connection = Connection::open(port).await?;
    let newest = format!("/v1/runs?limit={}", page(bench));
    let first = listed(&mut connection, &newest, &mut times).await?;
    let from = first.next.ok_or_else(|| Error::Server("there is only one page of runs".into()))?;
    let before = walk(&mut connection, &newest, &from, &mut times).await?;
    while begun.elapsed() < bench.settings.measured() {
        listed(&mut connection, &newest, &mut times).await?;
        if walk(&mut connection, &newest, &from, &mut times).await? != before {
            return Err(Error::Server("pages of runs changed while others were written".into()));
        }
    }
    Ok(times)
}

/// The runs of the pages behind a cursor, of which none comes twice.
async fn walk(
    connection: &mut Connection,
    newest: &str,
    from: &str,
    times: &mut Recorder,
) -> Result<Vec<String>> {
    let (mut next, mut seen, mut runs) = (Some(from.to_owned()), HashSet::new(), Vec::new());
    for _ in 0..PAGES {
        let Some(cursor) = next else { break };
        let page = listed(connection, &format!("{newest}&cursor={cursor}"), times).await?;
        for Listed { tenant, run_id } in page.runs {
            let run = format!("{tenant}/{run_id}");
            if !seen.insert(run.clone()) {
                return Err(Error::Server(format!("run {run} is on two pages")));
            }
            runs.push(run);
        }
        next = page.next;
    }
    Ok(runs)
}

async fn listed(connection: &mut Connection, path: &str, times: &mut Recorder) -> Result<Page> {
    let request = Request::get(connection.port, path);
    let before = Instant::now();
    let body = connection.ask(&request).await?.granted()?;
    times.note(before.elapsed());
    serde_json::from_slice(body).map_err(|error| Error::Server(format!("GET {path}: {error}")))
}
