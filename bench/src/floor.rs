//! The bare HTTP server of `ceilings::floor` as a process of its own.

use crate::{
    cpu::Watched,
    error::{Error, Result, tried},
    place::command,
    settings::Settings,
};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

/// The floor as it runs.
pub(crate) struct Floor {
    pub(crate) port: u16,
    process: Child,
    pid: u32,
    _dir: TempDir,
}

impl Floor {
    pub(crate) async fn start(settings: &Settings) -> Result<Self> {
        let dir = TempDir::with_prefix_in("spine-bench-floor-", &settings.dir);
        let dir = tried("make a directory", dir)?;
        let mut command = command(&settings.spine);
        command
            .args(["bench", "--serve-floor"])
            .arg(dir.path().join("floor"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = tried("start the floor", command.spawn())?;
        let out = process.stdout.take().ok_or_else(|| Error::Peer("the floor is silent".into()))?;
        let line = tried("hear from the floor", BufReader::new(out).lines().next_line().await)?;
        let port = line.and_then(|line| line.trim().parse().ok());
        let port = port.ok_or_else(|| Error::Peer("the floor told no port".into()))?;
        let pid = process.id().unwrap_or_default();
        Ok(Self { port, process, pid, _dir: dir })
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched::new("floor", self.pid)
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        tried("stop the floor", self.process.kill().await)
    }
}
