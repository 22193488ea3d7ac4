//! Steady traffic of plan runs, at a rate that does not depend on how fast they are answered. A run's time
//! counts from when it was due, so that a server that stalls cannot hide it.

use crate::{
    error::{Error, Result},
    load::{Connection, Request},
    measure::Recorder,
    plans,
    tool::Tool,
};
use serde_json::json;
use std::{collections::HashSet, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// Steps of a run.
pub(crate) const STEPS: u64 = 3;
/// Runs that may be on their way to the server at once.
const SENDERS: u64 = 16;
/// How long the last runs may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Waits of the step of a run that fails for ever.
const POISON_INITIAL_MS: u64 = 100;
const POISON_MOST_MS: u64 = 1000;

/// What the traffic is like.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// Tells its runs from others.
    pub(crate) mark: String,
    /// Runs a second.
    pub(crate) rate: u64,
    /// Every so-manieth run fails for ever; 0 is none.
    pub(crate) poison_each: u64,
    /// The step whose call ends the time of a run.
    pub(crate) until: u64,
    /// Before anything is recorded.
    pub(crate) warm_up: Duration,
    /// In which the recorded runs are due.
    pub(crate) measured: Duration,
}

impl Traffic {
    fn runs(&self) -> u64 {
        self.after((self.warm_up + self.measured).as_secs_f64())
    }

    fn after(&self, seconds: f64) -> u64 {
        (seconds * self.rate as f64) as u64
    }

    fn due(&self, begin: Instant, number: u64) -> Instant {
        begin + Duration::from_secs_f64(number as f64 / self.rate as f64)
    }

    fn is_poisoned(&self, number: u64) -> bool {
        self.poison_each > 0 && number % self.poison_each == self.poison_each - 1
    }

    fn run_id(&self, number: u64) -> String {
        format!("{}-{number}", self.mark)
    }

    fn request(&self, port: u16, tool: &Tool, number: u64) -> Request {
        let run_id = self.run_id(number);
        let mut plan = match self.is_poisoned(number) {
            false => plans::body(&run_id, &tool.url("ok"), STEPS, "pure"),
            true => plans::body(&run_id, &tool.url("poison"), 1, "pure"),
        };
        if self.is_poisoned(number) {
            plan["retry"] = json!({"max_attempts": 1000, "initial_ms": POISON_INITIAL_MS,
                "multiplier": 2.0, "max_ms": POISON_MOST_MS, "jitter": 0.2});
        }
        Request::post(port, "/v1/runs", "application/json", plan.to_string().as_bytes())
    }

    /// The times of its healthy runs, from when each was due to when the step was called that ends them.
    pub(crate) async fn run(&self, port: u16, tool: &mut Tool) -> Result<Recorder> {
        let begin = Instant::now();
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let requests: Vec<(Instant, Request)> = (sender..self.runs())
                .step_by(SENDERS as usize)
                .map(|number| (self.due(begin, number), self.request(port, tool, number)))
                .collect();
            senders.spawn(async move {
                let mut connection = Connection::open(port).await?;
                for (due, request) in requests {
                    sleep_until(due).await;
                    connection.ask(&request).await?.granted()?;
                }
                Ok::<_, Error>(())
            });
        }
        let times = self.collect(begin, tool).await?;
        while let Some(ended) = senders.join_next().await {
            ended.map_err(|error| Error::Server(error.to_string()))??;
        }
        Ok(times)
    }

    async fn collect(&self, begin: Instant, tool: &mut Tool) -> Result<Recorder> {
        let (first, end) = (self.after(self.warm_up.as_secs_f64()), self.runs());
        let mut missing: HashSet<u64> = (first..end).filter(|it| !self.is_poisoned(*it)).collect();
        let mut times = Recorder::new();
        let until = self.due(begin, end) + PATIENCE;
        while !missing.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            let Some(call) = timeout(left, tool.calls.recv()).await.ok().flatten() else {
                let missing = missing.len();
                return Err(Error::Server(format!("{missing} runs of steady traffic did not end")));
            };
            if let Some(number) = self.ended(&call.path)
                && missing.remove(&number)
            {
                times.note(call.at.saturating_duration_since(self.due(begin, number)));
            }
        }
        Ok(times)
    }

    /// The number of the run whose time this call ends.
    fn ended(&self, path: &str) -> Option<u64> {
        let (run_id, step) = plans::of_call(path)?;
        let number = run_id.strip_prefix(&self.mark)?.strip_prefix('-')?.parse().ok()?;
        (step == self.until).then_some(number)
    }
}
