//! Simulated workers of a queue: they ask whatever process is up, keep long jobs alive, fail, and vanish
//! without a word before or after they have acted.

use crate::{
    random::Random,
    workload::{Access, Clients},
};
use spine_runs::GrantedStep;
use spine_schemas::{Body, ErrorClass, Output, Payload, StepError, StepEvent};
use spine_workers::{Ask, Clock, Polls};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// The queue of all simulated plans.
pub(crate) const QUEUE: &str = "jobs";

/// The processes that are up, as workers see them.
#[derive(Clone, Default)]
pub(crate) struct Doors(Arc<Mutex<Vec<(String, Polls)>>>);

impl Doors {
    pub(crate) fn open(&self, name: &str, polls: Polls) {
        self.0.lock().unwrap().push((name.to_owned(), polls));
    }

    pub(crate) fn close(&self, name: &str) {
        self.0.lock().unwrap().retain(|(open, _)| open != name);
    }

    fn any(&self, random: &Random) -> Option<Polls> {
        let doors = self.0.lock().unwrap();
        let count = doors.len() as u64;
        (count > 0).then(|| doors[random.below(count) as usize].1.clone())
    }
}

/// How a job goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Luck {
    Done,
    Long,
    DiesBefore,
    DiesAfter,
    Fails,
    FailsAfter,
    GivesBack,
}

struct Worker<'a, A> {
    clients: &'a Clients<A>,
    name: String,
    random: Random,
}

/// Works until it is aborted.
pub(crate) async fn work<A: Access>(clients: &Clients<A>, name: &str) {
    let worker = Worker { clients, name: name.to_owned(), random: clients.random.fork() };
    loop {
        let Some(polls) = clients.doors.any(&worker.random) else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let ask = Ask {
            queue: QUEUE.into(),
            worker: worker.name.clone(),
            max: 1 + worker.random.below(3) as usize,
            lease_ms: 200 + worker.random.below(600),
            tenants: None,
        };
        let lease_ms = ask.lease_ms;
        let asked = polls.lease(ask, Duration::from_millis(200));
        // Whoever goes while it asks gives back what it was granted.
        let patience = Duration::from_millis(1 + worker.random.below(400));
        let Ok(leases) = tokio::time::timeout(patience, asked).await else { continue };
        let since = Instant::now();
        for lease in leases {
            worker.job(lease, lease_ms, since).await;
        }
    }
}

impl<A: Access> Worker<'_, A> {
    fn luck(&self) -> Luck {
        if self.clients.tools.is_healed() {
            return Luck::Done;
        }
        match self.random.below(20) {
            0 | 1 => Luck::DiesBefore,
            2 | 3 => Luck::DiesAfter,
            4 => Luck::Fails,
            5 | 6 => Luck::FailsAfter,
            7 => Luck::GivesBack,
            8..12 => Luck::Long,
            _ => Luck::Done,
        }
    }

    async fn job(&self, lease: GrantedStep, lease_ms: u64, since: Instant) {
        let luck = self.luck();
        if luck == Luck::DiesBefore {
            return;
        }
        if luck == Luck::GivesBack {
            let (attempt, lease_at) = (lease.attempt, lease.offset);
            let event = StepEvent::Released { attempt, lease: lease_at, error: None };
            return self.say(&lease, event).await;
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(40))).await;
        for _ in 0..if luck == Luck::Long { 2 } else { 0 } {
            tokio::time::sleep(Duration::from_millis(lease_ms / 2)).await;
            let event = StepEvent::Heartbeat { attempt: lease.attempt, lease: Some(lease.offset) };
            self.say(&lease, event).await;
        }
        // Nobody begins what may have been given to another.
        let beats = if luck == Luck::Long { lease_ms } else { 0 };
        let is_over = since.elapsed() >= Duration::from_millis(lease.timeout_ms);
        if is_over || self.clients.clock.now() >= lease.until.plus_ms(beats) {
            return;
        }
        // A key that was made void meanwhile is refused: whoever works sees it, and says nothing of success.
        if luck != Luck::Fails && !self.clients.tools.work(&lease) {
            return;
        }
        if luck == Luck::DiesAfter {
            return;
        }
        let (attempt, at) = (lease.attempt, Some(lease.offset));
        let failed = |class| StepError::new(class, "worker_says", "simulated");
        let event = match luck {
            Luck::Fails => {
                let error = failed(ErrorClass::RateLimited);
                StepEvent::Failed { attempt, lease: at, error, usage: None }
            }
            // Any exception: it says nothing of what has happened.
            Luck::FailsAfter => {
                let error = failed(ErrorClass::Transient);
                StepEvent::Failed { attempt, lease: at, error, usage: None }
            }
            Luck::Done | Luck::Long | Luck::DiesBefore | Luck::DiesAfter | Luck::GivesBack => {
                let output = Output::of(Payload::null());
                StepEvent::Completed { attempt, lease: at, output, usage: None }
            }
        };
        self.say(&lease, event).await;
    }

    /// Says it until some log has taken it, for a while.
    async fn say(&self, lease: &GrantedStep, event: StepEvent) {
        let body = Body::Step(lease.run.run_id.clone(), lease.step.clone(), event);
        let event = self.clients.event(&lease.run, body);
        for _ in 0..5 {
            if self.clients.append_event(&lease.run, &event).await.is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
