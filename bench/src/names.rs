//! The rows that there are: which job gives each, and what it needs beside this machine. A wish for a row that
//! there is not is refused by it, and a goal whose row was not measured is named at the end.

use crate::{goals::Goal, jobs::Job, row::Row, settings::Settings};

/// What a row needs beside this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// Kafka, and Cassandra or ScyllaDB.
    Servers,
    /// A peer, by the name of its folder.
    Peer(&'static str),
    /// Both.
    ServersAndPeer(&'static str),
}

type Names = (Job, Needs, &'static [&'static str]);

const NAMES: [Names; 30] = [
    (Job::Append, Needs::Nothing, &["append.embedded", "append.embedded.one"]),
    (Job::Append, Needs::Servers, &["append.kafka", "append.kafka.one"]),
    (
        Job::Http,
        Needs::Nothing,
        &[
            "append.http.one.p50",
            "append.http.one.p99",
            "append.http.16",
            "append.http.64",
            "append.http.avro",
            "append.http.ndjson",
        ],
    ),
    (
        Job::Http,
        Needs::Servers,
        &[
            "append.http.one.p50.cluster",
            "append.http.one.p99.cluster",
            "append.http.16.cluster",
            "append.http.64.cluster",
            "append.http.avro.cluster",
            "append.http.ndjson.cluster",
        ],
    ),
    (Job::Fold, Needs::Nothing, &["fold", "fold.decode", "fold.encode"]),
    (Job::Store, Needs::Nothing, &["store.sqlite", "store.sqlite.interleaved", "replay.sqlite"]),
    (Job::Store, Needs::Servers, &["store.cql.whole", "store.cql.interleaved", "replay.cql"]),
    (Job::Store, Needs::ServersAndPeer("java-sink"), &["store.cql.java"]),
    (
        Job::Lag,
        Needs::Nothing,
        &["lag.alone.p50", "lag.alone.p99", "lag.loaded.p50", "lag.loaded.p99"],
    ),
    (
        Job::Lag,
        Needs::Servers,
        &[
            "lag.alone.p50.cluster",
            "lag.alone.p99.cluster",
            "lag.loaded.p50.cluster",
            "lag.loaded.p99.cluster",
        ],
    ),
    (
        Job::Steps,
        Needs::Nothing,
        &["steps.journal.1", "steps.journal.16", "steps.journal.64", "steps.journal.256"],
    ),
    (
        Job::Steps,
        Needs::Peer("restate"),
        &[
            "steps.journal.1.restate",
            "steps.journal.16.restate",
            "steps.journal.64.restate",
            "steps.journal.256.restate",
        ],
    ),
    (
        Job::Steps,
        Needs::Peer("dbos"),
        &[
            "steps.journal.1.dbos",
            "steps.journal.16.dbos",
            "steps.journal.64.dbos",
            "steps.journal.256.dbos",
        ],
    ),
    (Job::Steps, Needs::Servers, &["steps.journal.cluster"]),
    (Job::Gates, Needs::Nothing, &["gates.p99"]),
    (Job::Gates, Needs::Servers, &["gates.p99.cluster"]),
    (Job::Plan, Needs::Nothing, &["steps.plan.1"]),
    (Job::Plan, Needs::Servers, &["steps.plan.1.cluster"]),
    (Job::Poison, Needs::Nothing, &["poison.p99"]),
    (Job::Poison, Needs::Servers, &["poison.p99.cluster"]),
    (Job::Redrive, Needs::Nothing, &["redrive.p99", "redrive.rush.p99", "redrive.rate"]),
    (
        Job::Redrive,
        Needs::Servers,
        &["redrive.p99.cluster", "redrive.rush.p99.cluster", "redrive.rate.cluster"],
    ),
    (Job::Backlog, Needs::Nothing, &["backlog.p99"]),
    (Job::Backlog, Needs::Servers, &["backlog.p99.cluster"]),
    (Job::Recovery, Needs::Nothing, &["recovery", "scale.restart", "scale.list.p99"]),
    (Job::Idle, Needs::Nothing, &["idle", "idle.waiting"]),
    (Job::Idle, Needs::Servers, &["idle.cluster", "idle.waiting.cluster"]),
    (
        Job::Scale,
        Needs::Nothing,
        &["scale.steps", "scale.memory", "scale.context", "scale.batches", "scale.batches.memory"],
    ),
    (
        Job::Scale,
        Needs::Nothing,
        &["scale.payload.100", "scale.payload.1000", "scale.payload.10000"],
    ),
    (
        Job::Scale,
        Needs::Nothing,
        &[
            "scale.partitions.1",
            "scale.partitions.10",
            "scale.partitions.100",
            "scale.tenants.1",
            "scale.tenants.10",
            "scale.tenants.100",
            "scale.stored.1",
            "scale.stored.10",
            "scale.stored.100",
        ],
    ),
];

fn all() -> impl Iterator<Item = (Job, Needs, &'static str)> {
    NAMES.iter().flat_map(|(job, needs, rows)| rows.iter().map(|row| (*job, *needs, *row)))
}

/// The rows of a job.
pub fn of(job: Job) -> impl Iterator<Item = &'static str> {
    all().filter(move |(of, _, _)| *of == job).map(|(_, _, row)| row)
}

/// Whether there is a row of this very name.
pub(crate) fn is_row(name: &str) -> bool {
    all().any(|(_, _, row)| row == name)
}

/// Whether a row is meant: by its whole name, or by its beginning where no row has that for its name.
pub(crate) fn is_meant(wish: &str, row: &str) -> bool {
    if is_row(wish) { row == wish } else { row.starts_with(wish) }
}

/// Whether any row of a job is wanted.
pub fn is_wanted(settings: &Settings, job: Job) -> bool {
    of(job).any(|row| settings.wants(row))
}

/// Whether any wanted row of these jobs needs the servers.
pub(crate) fn needs_servers(settings: &Settings, jobs: &[Job]) -> bool {
    all().any(|(job, needs, row)| {
        matches!(needs, Needs::Servers | Needs::ServersAndPeer(_))
            && jobs.contains(&job)
            && settings.wants(row)
    })
}

/// A line for each row of these jobs that was wanted and not measured, if it has a goal or was asked for: which, and why.
pub fn missed(settings: &Settings, jobs: &[Job], measured: &[Row]) -> Vec<String> {
    let rows = all().filter(|(job, _, row)| jobs.contains(job) && settings.wants(row));
    let missed = rows.filter(|(_, _, row)| {
        (Goal::of(row).is_some() || !settings.only.is_empty())
            && !measured.iter().any(|measured| measured.job == *row)
    });
    missed.map(|(_, needs, row)| format!("not measured: {row}, {}", why(settings, needs))).collect()
}

fn why(settings: &Settings, needs: Needs) -> String {
    let servers = "for want of Kafka and Cassandra: make servers-up, or name --log and --store";
    let folder =
        |peer| format!("for want of the peer {peer}: name --peers (make bench PEERS=bench/peers)");
    let lacks =
        |peer| format!("since the peer {peer} could not be started; its own words are above");
    let (has_servers, has_peers) = (settings.cluster.is_some(), settings.peers.is_some());
    match needs {
        Needs::Servers | Needs::ServersAndPeer(_) if !has_servers => servers.to_owned(),
        Needs::Peer(peer) | Needs::ServersAndPeer(peer) if !has_peers => folder(peer),
        Needs::Peer(peer) | Needs::ServersAndPeer(peer) => lacks(peer),
        Needs::Nothing | Needs::Servers => "since its job gave no such row".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Size;

    fn settings(only: &[&str]) -> Settings {
        Settings {
            spine: "spine".into(),
            dir: ".".into(),
            size: Size::Smoke,
            rounds: 1,
            cluster: None,
            peers: None,
            only: only.iter().map(|only| (*only).to_owned()).collect(),
        }
    }

    #[test]
    fn every_goal_has_a_row_and_no_row_is_there_twice() {
        for goal in Goal::names() {
            assert!(is_row(goal), "{goal}");
        }
        for (_, _, name) in all() {
            assert_eq!(all().filter(|(_, _, row)| *row == name).count(), 1, "{name}");
        }
        for job in Job::ALL {
            assert!(of(job).next().is_some(), "{job:?}");
        }
    }

    #[test]
    fn a_whole_name_means_one_row_and_a_beginning_all_that_begin_so() {
        let wanted = |only| {
            let settings = settings(&[only]);
            all().map(|(_, _, row)| row).filter(|row| settings.wants(row)).collect::<Vec<_>>()
        };
        assert_eq!(wanted("steps.journal.1"), ["steps.journal.1"]);
        assert_eq!(wanted("steps.journal.1."), ["steps.journal.1.restate", "steps.journal.1.dbos"]);
        assert_eq!(wanted("fold"), ["fold"]);
        assert_eq!(wanted("fold."), ["fold.decode", "fold.encode"]);
        assert!(wanted("nonsense").is_empty());
        assert_eq!(wanted("").len(), all().count());
    }

    #[test]
    fn a_goal_that_was_not_measured_is_named_with_the_reason() {
        let lines = missed(&settings(&[]), &[Job::Steps, Job::Fold], &[]);
        let has = |row: &str, why: &str| {
            let row = format!("{row},");
            assert!(lines.iter().any(|it| it.contains(&row) && it.contains(why)), "{lines:?}");
        };
        has("steps.journal.1.restate", "PEERS=bench/peers");
        has("steps.journal.cluster", "make servers-up");
        has("fold", "no such row");
        assert!(!lines.iter().any(|line| line.contains("dbos")), "no goal: {lines:?}");
        assert!(missed(&settings(&["idle"]), &[Job::Fold], &[]).is_empty(), "not wanted");
    }
}
