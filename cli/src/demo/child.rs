//! The server of the demo as a child process, so that it can be killed, and other commands run beside it.

use super::place::Place;
use crate::{
    client::{Client, ServerUrl},
    exit::{Exit, Failure},
};
use hyper::Method;
use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::process::{Child as Process, Command};

/// A new server waits until the group has given up one that was killed.
const READY: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(20);
const STOPPED: Duration = Duration::from_secs(20);
/// Lines of the server's log that are shown when something went wrong.
const LAST_WORDS: usize = 15;

/// A server that may or may not run.
pub(super) struct Child {
    place: Place,
    port: u16,
    process: Option<Process>,
}

impl Child {
    /// A server to be started on a log and a store, on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn new(place: Place) -> Result<Self, Failure> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| failed("find a free port", &error))?.port();
        Ok(Self { place, port, process: None })
    }

    /// Address of the server.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A client of the server.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let url: ServerUrl =
            self.url().parse().map_err(|error: String| Failure::new(Exit::Failed, error))?;
        Ok(Client::of(url))
    }

    /// Where its log and stores are.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        let log = self.log_file().map_err(|error| failed("make server.log", &error))?;
        let out = log.try_clone().map_err(|error| failed("use server.log", &error))?;
        let mut command = spine()?;
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--log", &self.place.log(), "--store", &self.place.store("store")])
            .args(["--test-tenant", super::plan::TENANT, "--drain-ms", "2000"])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .kill_on_drop(true);
        let started = command.spawn().map_err(|error| failed("start the server", &error))?;
        self.process = Some(started);
        match tokio::time::timeout(READY, self.ready()).await {
            Ok(ready) => ready,
            Err(_) => Err(Failure::new(Exit::Failed, "the server was not ready in time")),
        }
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let client = self.client()?;
        loop {
            if let Ok(answer) = client.ask(Method::GET, "/readyz", None, &[]).await
                && answer.status == 200
            {
                return Ok(());
            }
            let ended = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(Failure::new(Exit::Failed, format!("the server ended: {status}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills the server as kill -9 does.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else { return Err(not_running()) };
        process.kill().await.map_err(|error| failed("kill the server", &error))
    }

    /// Stops the server as an operator does, and gives its exit code.
    ///
    /// # Errors
    /// When it does not run, or does not stop in time.
    pub(super) async fn stop(&mut self) -> Result<Option<i32>, Failure> {
        let Some(mut process) = self.process.take() else { return Err(not_running()) };
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(rustix::process::Pid::from_raw).ok_or_else(not_running)?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map_err(|error| failed("stop the server", &error.into()))?;
        match tokio::time::timeout(STOPPED, process.wait()).await {
            Ok(ended) => Ok(ended.map_err(|error| failed("wait for the server", &error))?.code()),
            Err(_) => Err(Failure::new(Exit::Failed, "the server did not stop in time")),
        }
    }

    /// Runs another command of this binary against the server.
    ///
    /// # Errors
    /// When it cannot be run; its own failure is in the output.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = spine()?;
        command.args(arguments).env("SPINE_SERVER", self.url()).stdin(Stdio::null());
        command.output().await.map_err(|error| failed("run a command", &error))
    }

    /// The end of the server's log.
    pub(super) fn last_words(&self) -> String {
        let log =
            std::fs::read_to_string(self.place.directory().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LAST_WORDS)..];
        if last.is_empty() {
            String::new()
        } else {
            format!("server.log ends with:\n  {}\n", last.join("\n  "))
        }
    }

    fn log_file(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(self.place.directory().join("server.log"))
    }
}

/// This very binary, free of settings from outside, which would make it another demo.
fn spine() -> Result<Command, Failure> {
    let binary = std::env::current_exe().map_err(|error| failed("find this binary", &error))?;
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPINE_") {
            command.env_remove(name);
        }
    }
    Ok(command)
}

fn failed(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("could not {what}: {error}"))
}

fn not_running() -> Failure {
    Failure::new(Exit::Failed, "the server does not run")
}
