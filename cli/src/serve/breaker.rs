//! The flags of the circuit breakers, and of what comes after them.

use crate::exit::{Exit, Failure};
use spine_runs::breaker::Rules;

/// When the circuit breaker of a tool opens, and for how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct BreakerArgs {
    /// Calls of a tool that fail in a row until its circuit breaker opens; with 0 none opens by itself
    #[arg(long, value_name = "N", env = "SPINE_BREAKER_FAILURES", default_value_t = 5)]
    pub(crate) breaker_failures: u32,
    /// Part of a tool's calls of 30 s that opens the breaker when so much of them failed, in percent, once
    /// there were 20
    #[arg(
        long, value_name = "PERCENT", env = "SPINE_BREAKER_PERCENT", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub(crate) breaker_percent: u32,
    /// How long it stays open at first, in milliseconds; twice as long after each probe that fails
    #[arg(
        long, value_name = "MS", env = "SPINE_BREAKER_OPEN_MS", default_value_t = 5000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) breaker_open_ms: u64,
    /// The longest that it stays open until it is probed again, in milliseconds
    #[arg(long, value_name = "MS", env = "SPINE_BREAKER_MOST_OPEN_MS", default_value_t = 60_000)]
    pub(crate) breaker_most_open_ms: u64,
    /// Runs that go on in a second in this process, once nothing holds them back any more
    #[arg(
        long, value_name = "N", env = "SPINE_RELEASE_PER_SECOND", default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) release_per_second: u32,
}

impl BreakerArgs {
    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// Names the flags.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let (first, most) = (self.breaker_open_ms, self.breaker_most_open_ms);
        if most >= first {
            return Ok(());
        }
        let message =
            format!("--breaker-most-open-ms {most} is less than --breaker-open-ms {first}");
        Err(Failure::new(Exit::Usage, message))
    }

    /// The rules that they make.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            failures: self.breaker_failures,
            percent: self.breaker_percent,
            open_ms: self.breaker_open_ms,
            most_open_ms: self.breaker_most_open_ms,
        }
    }
}
