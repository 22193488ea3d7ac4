//! What the gates of a journal step cost. None of them can be switched off: each `begin` is held to its policy,
//! its times and the pauses of its tool and tenant. So agents that name all of it, on a server that knows many
//! pauses of others, stand against agents that name nothing on a server that knows none.

use crate::{
    bench::{Bench, Figure, Head, parameters},
    cpu::Watched,
    error::Result,
    journal::{Journal, Requests},
    load::{self, Connection, Request},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
};
use serde_json::json;

/// Agents at once.
const AGENTS: usize = 16;
/// Steps of a run.
const STEPS: u64 = 10;
/// Tools that are paused, and as many tenants; none of them is the agents'.
const PAUSED: u64 = 100;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts_for(&["gates.p99"]) {
        let (gated, bare) = (
            Place::make(&bench.settings, parts).await?,
            Place::make(&bench.settings, parts).await?,
        );
        let with = Server::start(&bench.settings, &gated, &[]).await?;
        let without = Server::start(&bench.settings, &bare, &[]).await?;
        let paused = bench.settings.of_size(2, PAUSED);
        pause_others(with.port, paused).await?;
        let (mut turn, mut other_turn) = (0, 0);
        let (ours, against) = bench
            .in_turns(
                async || {
                    turn += 1;
                    measure(bench, &with, paused, turn).await
                },
                async || {
                    other_turn += 1;
                    measure(bench, &without, 0, other_turn).await
                },
            )
            .await?;
        with.stop().await?;
        without.stop().await?;
        gated.remove(&bench.settings).await?;
        bare.remove(&bench.settings).await?;
        rows.push(Row::of(parts.row("gates.p99"), parts, ours, against));
    }
    Ok(rows)
}

/// Pauses tools and tenants that nobody here uses.
async fn pause_others(port: u16, count: u64) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    for number in 0..count {
        let tool = json!({"tool": format!("other.tool-{number}"), "reason": "not ours"});
        let tenant = json!({"reason": "not ours"});
        for (path, body) in [
            ("/v1/tools/pause".to_owned(), tool),
            (format!("/v1/tenants/other-{number}/pause"), tenant),
        ] {
            let body = body.to_string();
            let request = Request::post(port, &path, "application/json", body.as_bytes());
            connection.ask(&request).await?.granted()?;
        }
    }
    Ok(())
}

/// Agents at work on a server; they name what they are held to where others are paused.
async fn measure<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    paused: u64,
    turn: u64,
) -> Result<Measure> {
    let agents = bench.settings.of_size(2, AGENTS);
    let mut all = Vec::new();
    for number in 0..agents {
        let connection = Connection::open(server.port).await?;
        let agent = Journal::new(connection, format!("g{turn}-{number}"), STEPS);
        all.push(Requests(if paused > 0 { agent.gated() } else { agent }));
    }
    let mut processes = vec![Watched::this("client"), server.watched()];
    processes.extend(bench.settings.servers(server.parts));
    let load = load::run(bench.shape(agents), all, &processes).await?;
    let head = Head {
        of: if paused > 0 { "journal request with all gates" } else { "journal request without" },
        durability: bench.durable.log(server.parts),
        parameters: parameters([
            ("agents", json!(agents)),
            ("steps_a_run", json!(STEPS)),
            ("paused_tools", json!(paused)),
            ("paused_tenants", json!(paused)),
            ("policy_and_times_named", json!(paused > 0)),
        ]),
    };
    Ok(head.of_load(&load, Figure::P99))
}
