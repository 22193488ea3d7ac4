//! A peer: a program that does the same work with another product. It reads commands and answers, an
//! object a line each; `bench/peers/README.md` says which.

use crate::{
    cpu::Usage,
    error::{Error, Result, tried},
    measure::{Measure, Times, round},
    settings::Settings,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long a peer may take to install itself and start.
const READY: Duration = Duration::from_secs(600);
/// How long it may take for an answer.
const ANSWER: Duration = Duration::from_secs(300);
/// The exit code of a peer that says on standard error what this machine lacks.
const MISSING: i32 = 3;
/// How long it may take to stop.
const STOPPED: Duration = Duration::from_secs(60);

/// A peer that is ready.
pub(crate) struct Peer {
    name: String,
    durability: String,
    version: String,
    process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

#[derive(Deserialize)]
struct Ready {
    version: String,
    durability: String,
}

#[derive(Deserialize)]
struct Answer {
    value: f64,
    unit: String,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    count: u64,
    seconds: f64,
    #[serde(default)]
    cpu: BTreeMap<String, f64>,
    #[serde(default)]
    bottleneck: String,
    #[serde(default)]
    parameters: Map<String, Value>,
}

impl Peer {
    /// Starts a peer; `None` where none are wanted, or this machine lacks what it needs: it has said what.
    pub(crate) async fn start(
        settings: &Settings,
        name: &str,
        arguments: &[&str],
    ) -> Result<Option<Self>> {
        let Some(peers) = &settings.peers else { return Ok(None) };
        let process = Command::new(peers.join(name).join("run"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut process = tried(format!("start {name}"), process)?;
        let (Some(commands), Some(out)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Error::Peer(format!("{name} cannot be spoken to")));
        };
        let mut answers = BufReader::new(out).lines();
        let ready = heard(name, &mut answers, READY).await;
        if ready.is_err() && is_missing(&mut process).await {
            return Ok(None);
        }
        let Ready { version, durability } = ready?;
        let name = name.to_owned();
        Ok(Some(Self { name, durability, version, process, commands, answers }))
    }

    /// Its folder's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the peer a command and waits for what it measured.
    pub(crate) async fn ask(&mut self, command: &Value) -> Result<Measure> {
        let line = format!("{command}\n");
        tried(format!("ask {}", self.name), self.commands.write_all(line.as_bytes()).await)?;
        let answer: Answer = heard(&self.name, &mut self.answers, ANSWER).await?;
        Ok(Measure {
            of: format!("{} {}", self.name, self.version),
            value: round(answer.value),
            unit: unit(&answer.unit),
            times: Some(Times {
                times_of: times_of(&answer.unit),
                p50_ms: answer.p50_ms,
                p99_ms: answer.p99_ms,
                max_ms: answer.max_ms,
            }),
            count: answer.count,
            seconds: answer.seconds,
            usage: Some(Usage { cpu: answer.cpu, bottleneck: answer.bottleneck }),
            durability: self.durability.clone(),
            parameters: answer.parameters,
        })
    }

    /// Lets the peer stop what it started.
    pub(crate) async fn stop(self) -> Result<()> {
        let Self { name, mut process, commands, .. } = self;
        drop(commands);
        match timeout(STOPPED, process.wait()).await {
            Ok(ended) => tried(format!("wait for {name}"), ended).map(drop),
            Err(_) => Err(Error::Peer(format!("{name} did not stop"))),
        }
    }
}

/// Whether a peer ended because something that it needs is not on this machine.
async fn is_missing(process: &mut Child) -> bool {
    let ended = timeout(STOPPED, process.wait()).await;
    ended.is_ok_and(|ended| ended.is_ok_and(|status| status.code() == Some(MISSING)))
}

/// The units that peers measure in.
fn unit(text: &str) -> &'static str {
    match text {
        "rows/s" => "rows/s",
        _ => "steps/s",
    }
}

/// What their times are of: `bench/peers/README.md` says so.
fn times_of(unit: &str) -> &'static str {
    match unit {
        "rows/s" => "an insert",
        _ => "a run divided by its steps",
    }
}

/// The next line of a peer.
async fn heard<T: for<'de> Deserialize<'de>>(
    name: &str,
    answers: &mut Lines<BufReader<ChildStdout>>,
    patience: Duration,
) -> Result<T> {
    let silent = || Error::Peer(format!("{name} does not answer"));
    let line = timeout(patience, answers.next_line()).await.map_err(|_| silent())?;
    let line = tried(format!("hear from {name}"), line)?;
    let line = line.ok_or_else(|| Error::Peer(format!("{name} ended; its own words are above")))?;
    serde_json::from_str(&line).map_err(|_| Error::Peer(format!("{name} says {line}")))
}
