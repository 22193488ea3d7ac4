//! Load on an HTTP server: closed loops of agents, each with a connection of its own.

mod connection;

pub(crate) use connection::{Connection, Request};

use crate::{
    cpu::{Usage, Watch, Watched},
    error::{Error, Result},
    measure::{Recorder, Times},
};
use std::{future::Future, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How long, and by how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Loops at once.
    pub(crate) agents: usize,
    /// Runs before anything is recorded.
    pub(crate) warm_up: Duration,
    /// Time in which operations are recorded.
    pub(crate) measured: Duration,
}

/// What a load found.
pub(crate) struct Load {
    /// What an operation is: "a request".
    pub(crate) of: &'static str,
    /// Times of the operations that ended while it was measured.
    pub(crate) times: Recorder,
    pub(crate) seconds: f64,
    pub(crate) usage: Option<Usage>,
}

impl Load {
    /// Operations per second.
    pub(crate) fn rate(&self) -> f64 {
        self.times.count() as f64 / self.seconds
    }

    /// The spread of their times.
    pub(crate) fn spread(&self) -> Option<Times> {
        self.times.times(self.of)
    }
}

/// Something that an agent does over and over.
pub(crate) trait Agent: Send + 'static {
    /// What it does once: "a request".
    const TURN: &'static str;

    /// Does it once.
    fn turn(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// Lets agents take turns for a time, each as soon as its last one ended.
pub(crate) async fn run<A: Agent>(
    shape: Shape,
    agents: Vec<A>,
    processes: &[Watched],
) -> Result<Load> {
    assert_eq!(agents.len(), shape.agents, "one loop for each agent");
    let begin = Instant::now() + shape.warm_up;
    let end = begin + shape.measured;
    let mut loops = JoinSet::new();
    for mut agent in agents {
        loops.spawn(async move {
            let (mut times, mut late) = (Recorder::new(), Recorder::new());
            loop {
                let began = Instant::now();
                if began >= end {
                    return Ok::<_, Error>((times, late));
                }
                agent.turn().await?;
                let ended = Instant::now();
                if (begin..end).contains(&ended) {
                    times.note(ended - began);
                } else if ended >= end {
                    late.note(ended - began);
                }
            }
        });
    }
    sleep_until(begin).await;
    let watch = Watch::begin(processes);
    sleep_until(end).await;
    let usage = watch.end();
    let (mut times, mut late) = (Recorder::new(), Recorder::new());
    while let Some(ended) = loops.join_next().await {
        let (of_agent, late_of_agent) =
            ended.map_err(|error| Error::Server(error.to_string()))??;
        times.add(&of_agent);
        late.add(&late_of_agent);
    }
    if times.count() > 0 {
        return Ok(Load { of: A::TURN, times, seconds: shape.measured.as_secs_f64(), usage });
    }
    // Each operation took longer than was measured: what ended afterwards is the measurement.
    Ok(Load { of: A::TURN, times: late, seconds: begin.elapsed().as_secs_f64(), usage })
}
