//! A lease as workers see it: an opaque text that says where the attempt's start lies, and that Spine gave
//! it for this step and attempt.
//!
//! Outcomes of attempts that never were are letters, since nobody honest appends them. What a worker mixes
//! up must not make letters, so the door knows its own leases, without asking anybody.

use crate::{Code, Problem};
use spine_schemas::{Digest, RunKey, StepKey};

/// What a lease is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    pub(super) installation: &'a str,
    pub(super) queue: &'a str,
    pub(super) run: &'a RunKey,
    pub(super) step: &'a StepKey,
    pub(super) attempt: u32,
}

impl Held<'_> {
    /// The text of the lease whose start lies here.
    pub(super) fn text(&self, partition: u32, offset: u64) -> String {
        let seal = Digest::of_parts(&[
            b"lease",
            self.installation.as_bytes(),
            self.queue.as_bytes(),
            self.run.tenant.as_bytes(),
            self.run.run_id.as_bytes(),
            self.step.to_string().as_bytes(),
            &self.attempt.to_be_bytes(),
            &partition.to_be_bytes(),
            &offset.to_be_bytes(),
        ]);
        format!("{partition}-{offset}-{:016x}", seal.short())
    }

    /// The offset of the start in the text of a lease that Spine gave for this.
    pub(super) fn read(&self, text: &str, partition: u32) -> Result<u64, Problem> {
        let offset = text.split('-').nth(1).and_then(|offset| offset.parse().ok());
        offset.filter(|offset| self.text(partition, *offset) == text).ok_or_else(|| {
            let detail = format!(
                "lease: '{text}' is not one for attempt {} of step {} of run {} in queue {}",
                self.attempt, self.step, self.run, self.queue
            );
            Problem::new(Code::WrongLease, detail).with("field", "lease")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_back_for_what_it_was_given_and_for_nothing_else() {
        let (run, other) = (RunKey::new("default", "r"), RunKey::new("default", "s"));
        let (step, step_b) = (StepKey::named("a"), StepKey::named("b"));
        let held = Held { installation: "i", queue: "q", run: &run, step: &step, attempt: 2 };
        let text = held.text(3, 41);
        assert_eq!(held.read(&text, 3), Ok(41));
        let mixed_up = [
            Held { installation: "j", ..held },
            Held { queue: "p", ..held },
            Held { run: &other, ..held },
            Held { step: &step_b, ..held },
            Held { attempt: 1, ..held },
        ];
        for held in mixed_up {
            assert!(held.read(&text, 3).is_err(), "{held:?}");
        }
        assert!(held.read(&text, 4).is_err());
        for text in ["", "3", "3-41", "3-41-", "3-x-1", &text.replace("41", "42")] {
            assert!(held.read(text, 3).is_err(), "{text}");
        }
    }
}
