//! Limits of deciding and of what a run's state keeps. Those of events are in `spine_schemas::limits`.

use spine_schemas::limits;

/// Bytes of events after which a run's batch ends. What else follows is decided when the batch has
/// been read back.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that references are looked up in, for one step and for one round of decisions.
pub const LOOK_UP_BYTES: usize = 128 * 1024 * 1024;
/// Bytes of inputs and outputs of steps that a run's state keeps. A rule of the fold: another number
/// needs another [`crate::FOLD_VERSION`].
pub const RUN_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of a run's input that its brain is asked with as it is.
pub const ASK_INPUT_BYTES: usize = 64 * 1024;
/// Bytes of steps and of their outputs that a brain is asked with.
pub const ASK_STEPS_BYTES: usize = 128 * 1024;
/// Bytes of the names of steps that a brain is told lie ahead.
pub const ASK_AHEAD_BYTES: usize = 15 * 1024;
/// Bytes of the message of a step's error that a brain is told.
pub const ASK_ERROR_BYTES: usize = 1024;

/// Tools that are named for which a run found no slot. Where it is more, the run waits for any.
pub const LACKS: usize = 8;
/// Tools of which a process knows more than that they work.
pub const TOOLS: usize = 10_000;
/// Pause before a tool is asked again that gave no answer to the question whether a step took effect; it
/// doubles.
pub const PROBE_FIRST_MS: u64 = 1_000;
/// Longest such pause.
pub const PROBE_MOST_MS: u64 = 10 * 60 * 1_000;

/// After a claim nothing counts as stalled for so long, since without an owner nothing could move.
pub const STALL_GRACE_MS: u64 = 60_000;

const _: () = assert!(BATCH_BYTES >= limits::EVENT_BYTES, "every event fits");
const _: () = assert!(
    ASK_INPUT_BYTES + ASK_STEPS_BYTES + ASK_AHEAD_BYTES + limits::BRAIN_STATE_BYTES + 16 * 1024
        <= limits::PAYLOAD_BYTES,
    "what a brain is asked with fits into an event"
);
const _: () = assert!(RUN_BYTES >= 2 * limits::PAYLOAD_BYTES, "every run has room for a step");
