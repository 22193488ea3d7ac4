//! Points at which a crash test ends or stops the process: one-line calls in production code.
//!
//! Without the feature `fault-points` a call is nothing. With it, `SPINE_FAULT_POINT=NAME:N` aborts
//! the process when it comes to the point for the N-th time, and `NAME:N:stop` halts it as SIGSTOP
//! does, until somebody sends SIGCONT.

#[cfg(feature = "fault-points")]
use std::{
    process::{Command, abort, id},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The point at which something is to happen.
#[cfg(feature = "fault-points")]
struct Chosen {
    name: String,
    at: u64,
    stops: bool,
    reached: AtomicU64,
}

/// Says that the process is at a point.
#[cfg(feature = "fault-points")]
pub fn reach(name: &str) {
    static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();
    let Some(chosen) = CHOSEN.get_or_init(choose) else { return };
    if chosen.name != name || chosen.reached.fetch_add(1, Ordering::SeqCst) + 1 != chosen.at {
        return;
    }
    if !chosen.stops {
        abort();
    }
    halt();
}

/// Halts this process. A signal that was sent has not yet halted every thread: this one goes on only
/// when a gap in the clock, here or while the command ran, shows that the halt is over.
#[cfg(feature = "fault-points")]
#[expect(clippy::disallowed_methods, reason = "what is looked for is a gap in real time")]
fn halt() {
    const LOOK: Duration = Duration::from_millis(5);
    const GAP: Duration = Duration::from_millis(300);
    let mut before = Instant::now();
    let _ = Command::new("kill").args(["-STOP", &id().to_string()]).status();
    while before.elapsed() < GAP {
        before = Instant::now();
        std::thread::sleep(LOOK);
    }
}

#[cfg(feature = "fault-points")]
fn choose() -> Option<Chosen> {
    let text = std::env::var("SPINE_FAULT_POINT").ok()?;
    let mut parts = text.split(':');
    let name = parts.next()?.to_owned();
    let at = parts.next()?.parse().ok()?;
    Some(Chosen { name, at, stops: parts.next() == Some("stop"), reached: AtomicU64::new(0) })
}

/// Says that the process is at a point.
#[cfg(not(feature = "fault-points"))]
#[inline]
pub const fn reach(_name: &str) {}
