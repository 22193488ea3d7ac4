//! Waiting for what must come, with a deadline: the only sleeps of the tests.

use std::{
    thread,
    time::{Duration, Instant},
};

const LOOK: Duration = Duration::from_millis(10);
/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long anything may be refused before a test gives up: longer than any outage that a test makes.
const OUTAGE: Duration = Duration::from_secs(300);

/// Asks until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`].
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    maybe(ask).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// Asks until there is an answer, for [`PATIENCE`] at most.
pub fn maybe<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(LOOK);
    }
}

/// Asks again after each refusal.
///
/// # Panics
/// When it is refused for longer than any outage lasts.
pub fn until_taken<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        let refusal = match ask() {
            Ok(answer) => return answer,
            Err(refusal) => refusal,
        };
        assert!(begun.elapsed() < OUTAGE, "refused for {OUTAGE:?}, at last with: {refusal}");
        thread::sleep(LOOK);
    }
}

/// Lets a time pass that is itself what is tested: a time-out, a pause, a quiet period.
pub fn pass(time: Duration) {
    thread::sleep(time);
}
