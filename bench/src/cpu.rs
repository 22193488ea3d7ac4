//! What the processors did during a measurement: cores used by each process, and who was nearest to its
//! limit. From Linux's `/proc`; elsewhere nothing is said.

use crate::measure::round;
use serde::Serialize;
use std::{collections::BTreeMap, fs};
use tokio::time::Instant;

/// Linux tells the processor time of threads in this unit, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;
/// From here on a thread counts as busy all the time, and so do all processors together.
const BUSY: f64 = 0.9;

/// Cores used, 1.0 being one core all the time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Usage {
    /// By process.
    pub cpu: BTreeMap<String, f64>,
    /// Who was nearest to its limit.
    pub bottleneck: String,
}

/// A process to be watched.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl Watched {
    pub(crate) fn new(name: &str, pid: u32) -> Self {
        Self { name: name.to_owned(), pid }
    }

    /// The process that measures.
    pub(crate) fn this(name: &str) -> Self {
        Self::new(name, std::process::id())
    }
}

/// A measurement that is under way.
pub(crate) struct Watch {
    since: Instant,
    processes: Vec<Seen>,
}

/// Processor time by thread, in ticks, and the thread's name.
type Threads = BTreeMap<u32, (String, f64)>;

/// A process as it was at first and when it was looked at last. A thread that ended keeps its last reading.
struct Seen {
    process: Watched,
    first: Threads,
    last: Threads,
}

impl Watch {
    pub(crate) fn begin(processes: &[Watched]) -> Self {
        let seen = |process: &Watched| {
            let first = threads(process.pid);
            Seen { process: process.clone(), last: first.clone(), first }
        };
        Self { since: Instant::now(), processes: processes.iter().map(seen).collect() }
    }

    /// Looks once more: of a process that ends by itself, the last look is what counts.
    pub(crate) fn look(&mut self) {
        for seen in &mut self.processes {
            seen.last.extend(threads(seen.process.pid));
        }
    }

    /// What each process used since the beginning; `None` where the system does not tell.
    pub(crate) fn end(mut self) -> Option<Usage> {
        self.look();
        let seconds = self.since.elapsed().as_secs_f64();
        let (mut cpu, mut busiest) = (BTreeMap::new(), (0.0, String::new()));
        for Seen { process, first, last } in self.processes {
            if last.is_empty() {
                continue;
            }
            let mut sum = 0.0;
            for (id, (name, ticks)) in last {
                let began = first.get(&id).map_or(0.0, |(_, ticks)| *ticks);
                let cores = (ticks - began) / TICKS_PER_SECOND / seconds;
                sum += cores;
                if cores > busiest.0 {
                    busiest = (cores, format!("thread {name} of {}", process.name));
                }
            }
            *cpu.entry(process.name).or_insert(0.0) += round(sum);
        }
        (!cpu.is_empty()).then(|| Usage { bottleneck: bottleneck(&cpu, &busiest), cpu })
    }
}

fn bottleneck(cpu: &BTreeMap<String, f64>, busiest: &(f64, String)) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let most = cpu.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(name, _)| name.as_str());
    if cpu.values().sum::<f64>() >= BUSY * cores {
        return format!("processors, most by {}", most.unwrap_or("nobody"));
    }
    match busiest {
        (cores, thread) if *cores >= BUSY => thread.clone(),
        _ => "waiting: for the disk, the network or each other".to_owned(),
    }
}

fn threads(pid: u32) -> Threads {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let id = task.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            let (name, ticks) = of_stat(&stat)?;
            Some((id, (name, ticks)))
        })
        .collect()
}

/// Name and processor time in a line of `/proc/PID/task/ID/stat`, whose name may hold anything.
fn of_stat(stat: &str) -> Option<(String, f64)> {
    let (head, fields) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let mut ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Some((name, ticks.next()?.ok()? + ticks.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0";
        assert_eq!(of_stat(stat), Some(("a) b".into(), 42.0)));
        assert_eq!(of_stat("7 (a"), None);
    }

    #[test]
    fn a_process_that_ended_counts_as_it_was_seen_last() {
        let mut watch = Watch::begin(&[Watched::this("this")]);
        let seen = &mut watch.processes[0];
        seen.first.insert(1, ("gone".into(), 5.0));
        seen.last.insert(1, ("gone".into(), 25.0));
        watch.since = Instant::now() - std::time::Duration::from_secs(1);
        let usage = watch.end().expect("this process can be read");
        assert!(usage.cpu["this"] >= 0.19, "20 ticks in a second: {usage:?}");
        assert_eq!(Watch::begin(&[Watched::new("nobody", u32::MAX)]).end(), None);
    }

    #[test]
    fn the_limit_is_named() {
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        let idle = BTreeMap::from([("server".to_owned(), 0.1)]);
        assert!(bottleneck(&idle, &(0.1, "thread x".into())).starts_with("waiting"));
        assert_eq!(bottleneck(&idle, &(0.95, "thread x".into())), "thread x");
        let full = BTreeMap::from([("client".to_owned(), 0.1), ("server".to_owned(), cores)]);
        assert_eq!(bottleneck(&full, &(1.0, "thread x".into())), "processors, most by server");
    }
}
