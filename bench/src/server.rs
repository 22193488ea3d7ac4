//! A server of the measured binary as a process of its own, on a free port.

use crate::{
    cpu::Watched,
    error::{Error, Result, tried},
    load::{Connection, Request},
    place::{Place, command},
    settings::{Parts, Settings},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

/// A server must be ready within this; one that was killed may have to be missed first.
const READY: Duration = Duration::from_secs(120);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(5);
/// A server that was told to stop must end within this.
const STOPPED: Duration = Duration::from_secs(60);
/// Lines of the server's log that are shown when something went wrong.
const LAST_WORDS: usize = 10;

/// A server that runs.
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) parts: Parts,
    process: Child,
    pid: u32,
    words: PathBuf,
}

impl Server {
    /// Starts a server on a place and waits until it is ready.
    pub(crate) async fn start(
        settings: &Settings,
        place: &Place,
        further: &[&str],
    ) -> Result<Self> {
        let mut server = Self::spawn(settings, place, further)?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts a server, which may not be ready yet.
    pub(crate) fn spawn(settings: &Settings, place: &Place, further: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let words = place.dir().join(format!("server-{port}.log"));
        let file = tried(format!("make {}", words.display()), File::create(&words))?;
        let partitions = place.partitions().to_string();
        let mut command = command(&settings.spine);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--log", &place.log])
            .args(["--store", place.store(), "--log-level", "warn"])
            .args(further)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true);
        if place.parts == Parts::Embedded {
            command.args(["--partitions", &partitions]);
        }
        let process = tried("start a server", command.spawn())?;
        let pid = process.id().unwrap_or_default();
        Ok(Self { port, parts: place.parts, process, pid, words })
    }

    /// Waits until the server is ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + READY;
        let request = Request::get(self.port, "/readyz");
        loop {
            if let Some(status) = tried("look at the server", self.process.try_wait())? {
                return Err(Error::Server(format!(
                    "the server ended: {status}\n{}",
                    last(&self.words)
                )));
            }
            if let Ok(mut connection) = Connection::open(self.port).await
                && connection.ask(&request).await.is_ok_and(|answer| answer.status == 200)
            {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Error::Server(format!(
                    "the server is not ready\n{}",
                    last(&self.words)
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// The server as a process to watch.
    pub(crate) fn watched(&self) -> Watched {
        Watched::new("server", self.pid)
    }

    /// Kills the server as kill -9 does.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        tried("kill the server", self.process.kill().await)
    }

    /// Stops the server as an operator does.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Server("the server does not run".into()))?;
        let told = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        tried("stop the server", told.map_err(Into::into))?;
        match timeout(STOPPED, self.process.wait()).await {
            Ok(ended) => match tried("wait for the server", ended)?.success() {
                true => Ok(()),
                false => Err(Error::Server(format!("the server failed\n{}", last(&self.words)))),
            },
            Err(_) => Err(Error::Server(format!("the server did not stop\n{}", last(&self.words)))),
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = tried("find a free port", std::net::TcpListener::bind("127.0.0.1:0"))?;
    Ok(tried("find a free port", listener.local_addr())?.port())
}

/// The end of a server's log.
fn last(words: &Path) -> String {
    let text = std::fs::read_to_string(words).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
}
