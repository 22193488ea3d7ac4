//! A server of the real binary in a directory of its own: started, killed, halted, asked.

use crate::{Http, On, Reply, binary, substrate, waits};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs::{File, OpenOptions},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

const READY: Duration = Duration::from_secs(60);
/// Looks at a store that did not move after which it will not.
const STILL_LOOKS: usize = 100;

/// A server that may or may not run.
pub struct Spine {
    /// What it was given.
    dir: PathBuf,
    _scratch: Option<tempfile::TempDir>,
    log: String,
    store: String,
    /// Whether the store is this server's alone, and is removed with it.
    keeps_store: bool,
    port: u16,
    flags: Vec<String>,
    wrapper: Vec<String>,
    fault_point: Option<String>,
    process: Option<Child>,
}

/// A command of the binary, free of settings from outside.
pub fn spine(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary::path());
    command.args(arguments);
    free_of_settings(&mut command);
    command
}

fn free_of_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SPINE_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
}

/// A port below those that the kernel gives to outgoing connections, so that a killed server finds
/// its own again.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 11_000 + (std::process::id() % 190) as u16 * 100;
    loop {
        let port = 10_000 + (first - 10_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Spine {
    /// A server to be started in a fresh directory.
    pub fn fresh() -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let mut spine = Self::at(scratch.path());
        spine._scratch = Some(scratch);
        spine
    }

    /// A server to be started in a directory that somebody else keeps.
    pub fn at(dir: &Path) -> Self {
        let (log, store) = substrate::places(dir);
        Self::of(dir, log, store)
    }

    /// A server on a log and a store that others use too.
    pub fn on(log: &str, store: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let mut spine = Self::of(scratch.path(), log.to_owned(), store.to_owned());
        spine._scratch = Some(scratch);
        spine.keeps_store = true;
        spine
    }

    fn of(dir: &Path, log: String, store: String) -> Self {
        Self {
            dir: dir.to_owned(),
            _scratch: None,
            log,
            store,
            keeps_store: false,
            port: free_port(),
            flags: Vec::new(),
            wrapper: Vec::new(),
            fault_point: None,
            process: None,
        }
    }

    /// With further flags.
    #[must_use]
    pub fn with(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    /// Under another program, such as a tracer.
    #[must_use]
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The next start ends, or halts, at this point.
    pub fn fails_at(&mut self, point: Option<&str>) {
        self.fault_point = point.map(str::to_owned);
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready in time.
    #[must_use]
    pub fn start(mut self) -> Self {
        self.restart();
        self
    }

    /// Starts it again and waits until it is ready.
    ///
    /// # Panics
    /// When it ends, or is not ready in time.
    pub fn restart(&mut self) {
        if let Err(ended) = self.try_start() {
            panic!("the server ended ({ended}):\n{}", self.words());
        }
    }

    /// Starts it and waits until it is ready, or has ended.
    ///
    /// # Errors
    /// How it ended.
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        self.launch();
        let deadline = Instant::now() + READY;
        loop {
            if let Some(ended) = self.ended() {
                return Err(ended);
            }
            if self.http().get("/readyz").is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "the server is not ready:\n{}", self.words());
            waits::pass(Duration::from_millis(5));
        }
    }

    /// Starts it without waiting for anything.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let out = self.words_file();
        let errors = out.try_clone().expect("a second handle");
        let mut command = self.command();
        free_of_settings(&mut command);
        if let Some(point) = &self.fault_point {
            command.env("SPINE_FAULT_POINT", point);
        }
        command.stdout(out).stderr(errors);
        self.process = Some(command.spawn().expect("the binary starts"));
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(binary::path().display().to_string());
        words.extend(["serve".into(), "--listen".into(), format!("127.0.0.1:{}", self.port)]);
        words.extend(["--log".into(), self.log_url(), "--store".into(), self.store_url()]);
        words.extend(self.flags.clone());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut()?.try_wait().expect("a child can be asked")?;
        self.process = None;
        Some(ended)
    }

    /// Whether it has ended, as was found out, or was never started.
    pub fn is_down(&self) -> bool {
        self.process.is_none()
    }

    /// Ends it as kill -9 does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut process = self.process.take().expect("it runs");
        process.wait().expect("it ends")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the signal arrives");
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        let process = self.process.as_ref().expect("it runs");
        Pid::from_raw(process.id().try_into().expect("an id")).expect("an id")
    }

    /// Whether it is halted by a signal.
    pub fn is_halted(&self) -> bool {
        let stat = format!("/proc/{}/stat", self.pid().as_raw_nonzero());
        let stat = std::fs::read_to_string(stat).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// The most memory that it has held, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.kib("VmHWM:")
    }

    /// The memory that it holds, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.kib("VmRSS:")
    }

    fn kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = std::fs::read_to_string(path).expect("a running process");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a known name");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    }

    /// A client of its own.
    pub fn http(&self) -> Http {
        Http::new(self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the log and the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The store's URL.
    pub fn store_url(&self) -> String {
        self.store.clone()
    }

    /// The URL of a further store beside it, for a replay.
    pub fn beside(&self, name: &str) -> String {
        match self.store.rsplit_once('/') {
            Some((servers, keyspace)) if self.store.starts_with("cql:") => {
                format!("{servers}/{keyspace}_{name}")
            }
            Some(_) | None => {
                format!("sqlite:{}", self.dir.join(name).with_extension("db").display())
            }
        }
    }

    /// Replays the log into a fresh store beside the live one; gives the exit code and what was said.
    ///
    /// # Panics
    /// When the binary cannot be run.
    pub fn replay(&self, name: &str, more: &[&str]) -> (Option<i32>, Value) {
        let (to, log) = (self.beside(name), self.log_url());
        let mut words = vec!["replay", "--log", &log, "--to", &to, "--json"];
        words.extend(more);
        let out = spine(&words).output().expect("the binary runs");
        if !out.status.success() && out.stdout.is_empty() {
            println!("{}", String::from_utf8_lossy(&out.stderr));
        }
        substrate::remove_store(&to);
        (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null))
    }

    /// Whether the live store is equal to a fresh replay, in words where it is not.
    ///
    /// # Panics
    /// When it is not.
    pub fn is_fold_of_log(&self) {
        self.wait_stored();
        let (code, said) = self.replay("fold", &["--compare", &self.store_url()]);
        assert_eq!((code, &said["compared"]["equal"]), (Some(0), &Value::Bool(true)), "{said}");
    }

    /// Waits until the store has what was folded: a replay goes as far as the store was when it began. Where something
    /// lies in the log that is no record, or a partition is held, it is enough that nothing moves any more.
    fn wait_stored(&self) {
        let (mut lags, mut looks) = (Vec::new(), 0);
        let _ = waits::maybe(|| {
            let Ok(reply) = self.http().get("/v1/partitions") else { return Some(()) };
            let partitions = reply.json()["partitions"].as_array().cloned().unwrap_or_default();
            let now: Vec<u64> = partitions.iter().filter_map(|one| one["lag"].as_u64()).collect();
            looks = if now == lags { looks + 1 } else { 0 };
            lags = now;
            (lags.iter().all(|lag| *lag == 0) || looks >= STILL_LOOKS).then_some(())
        });
    }

    /// Removes the store of a server that does not run; the next start makes it again, from the log.
    pub fn forget_store(&mut self) {
        substrate::remove_store(&self.store);
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.dir.join(format!("store.db{end}")));
        }
        if substrate::chosen() == On::KafkaSqlite {
            // To others, the claim of the removed store is one of a server that may come back.
            self.flags.push("--take-over".into());
        }
    }

    /// The events of the log's first partition, read from the log itself.
    ///
    /// # Panics
    /// When they cannot be read.
    pub fn events_of_log(&self) -> Vec<Value> {
        let log = self.log_url();
        let out = spine(&["events", "tail", "--log", &log, "--from", "0", "--json"]).output();
        let out = out.expect("the binary runs");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8_lossy(&out.stdout);
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The store file, where it is one.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store.db")
    }

    /// The segment files of a topic, in order.
    pub fn segments(&self, topic: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.join("log").join(topic).join("0"));
        let entries = entries.expect("a partition").flatten().map(|entry| entry.path());
        let mut segments: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "avro")).collect();
        segments.sort();
        segments
    }

    /// The log's URL.
    pub fn log_url(&self) -> String {
        self.log.clone()
    }

    /// What it has printed.
    pub fn words(&self) -> String {
        std::fs::read_to_string(self.dir.join("server.out")).unwrap_or_default()
    }

    fn words_file(&self) -> File {
        std::fs::create_dir_all(&self.dir).expect("a directory");
        let path = self.dir.join("server.out");
        OpenOptions::new().create(true).append(true).open(path).expect("a file")
    }

    /// Runs a client command against it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let server = format!("http://127.0.0.1:{}", self.port);
        spine(arguments).env("SPINE_SERVER", server).output().expect("the binary runs")
    }

    /// Starts a plan run.
    ///
    /// # Panics
    /// When it is refused.
    pub fn start_run(&self, plan: &Value) {
        let reply = self.http().post("/v1/runs", plan).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
    }

    /// Asks, and expects an answer.
    pub fn get(&self, path: &str) -> Reply {
        self.http().get(path).expect("an answer")
    }

    /// What it measures under a name with all its labels; `None` where nothing has yet.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let body = self.get("/metrics").body;
        let text = String::from_utf8_lossy(&body);
        let mut values =
            text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        values.next()?.parse().ok()
    }

    /// Waits until a run has one of these statuses.
    pub fn wait_run(&self, run: &str, statuses: &[&str]) -> Value {
        let mut http = self.http();
        let mut last = Value::Null;
        let reached = waits::maybe(|| {
            last = http.get(&format!("/v1/runs/{run}")).ok()?.json();
            statuses.contains(&last["status"].as_str()?).then(|| last.clone())
        });
        reached.unwrap_or_else(|| {
            let why = self.get(&format!("/v1/runs/{run}/why")).json();
            panic!("run {run} is not {statuses:?}: {last}\n{why}\n{}", self.words())
        })
    }

    /// The steps of a run.
    pub fn steps(&self, run: &str) -> Vec<Value> {
        let reply = self.get(&format!("/v1/runs/{run}/steps?limit=1000"));
        reply.json()["steps"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Spine {
    fn drop(&mut self) {
        self.kill();
        if !self.keeps_store {
            substrate::remove_store(&self.store);
        }
    }
}
