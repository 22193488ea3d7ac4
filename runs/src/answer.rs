//! What the fold says to those who asked, and why it did not apply what they appended.

use crate::WaitKind;
use serde::{Deserialize, Serialize};
use spine_schemas::{Digest, time::Micros};

/// The answer to a request, from the fold's verdict at the request's own position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer {
    /// Done.
    Ok,
    /// The approval counts, and more are needed.
    Counted {
        /// How many there are.
        approvals: u32,
        /// How many there must be.
        needed: u32,
    },
    /// The caller holds the attempt and may act.
    Execute {
        /// The attempt.
        attempt: u32,
        /// Its lease.
        lease: u64,
        /// When the lease ends unless a heartbeat comes.
        lease_until: Micros,
        /// How often the input was edited; part of the idempotency key.
        edit: u32,
    },
    /// The step is done; its stored output is the answer.
    Replay,
    /// Not now.
    Wait {
        /// What for.
        wait_for: WaitKind,
        /// Until when, if that is known.
        until: Option<Micros>,
    },
    /// Not before people have approved of the call.
    Asked {
        /// The task that asks them.
        task_id: Digest,
        /// When no answer means no.
        until: Option<Micros>,
    },
    /// An earlier attempt may have taken effect.
    Unknown {
        /// That attempt.
        attempt: u32,
    },
    /// Not allowed.
    Denied {
        /// Why, as a code.
        code: Reason,
    },
    /// The step's letter waits for an operator.
    DeadLettered {
        /// The letter.
        letter_id: Digest,
    },
    /// The same identity came with another input.
    Conflict {
        /// Digest of the stored input.
        stored: Digest,
        /// Digest of the given input.
        given: Digest,
    },
    /// An earlier operation of the same request was refused.
    NotTried,
}

impl Answer {
    /// Whether the caller got what was asked for, so that what follows may rest on it.
    pub fn grants(&self) -> bool {
        match self {
            Self::Ok | Self::Counted { .. } | Self::Execute { .. } | Self::Replay => true,
            Self::Wait { .. }
            | Self::Asked { .. }
            | Self::Unknown { .. }
            | Self::Denied { .. }
            | Self::DeadLettered { .. }
            | Self::Conflict { .. }
            | Self::NotTried => false,
        }
    }
}

/// Why the fold did not apply an event. A closed set; each has a numbered code at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was applied before.
    Duplicate,
    /// It carries a claim that is no longer current.
    OlderClaim,
    /// The state had moved on before it was read.
    LostRace,
    /// An outcome that came after the step or run had moved on; kept as evidence.
    Late,
    /// An earlier item of its batch was absent or not applied.
    BrokenBatch,
    /// There is no such run.
    RunAbsent,
    /// The run exists, with other content.
    RunExists,
    /// The run has ended.
    RunEnded,
    /// The run's driver does not take this from this author.
    WrongDriver,
    /// There is no such step.
    StepAbsent,
    /// The step exists, with other input.
    StepConflict,
    /// The step's state does not allow it.
    StepState,
    /// The attempt is not the one in question.
    WrongAttempt,
    /// The lease is not the one in question.
    WrongLease,
    /// A decision without a claim, or with one that was never made.
    NoClaim,
    /// A claim over another claim than the current one.
    ClaimLost,
    /// There is no such letter, or it is closed.
    LetterClosed,
    /// An effect may repeat; it needs an override.
    NeedsForce,
    /// An edit while an earlier attempt may have taken effect.
    EditUnresolved,
    /// The operation's number was used for another question.
    OpReused,
    /// The session was replaced, or forgot the operation.
    SessionGone,
    /// A limit of the run is reached.
    LimitReached,
    /// The step was given up.
    GivenUp,
    /// There is no such question, or it is answered.
    TaskClosed,
    /// Whoever approves has done so already, and counts once.
    ApprovedAlready,
    /// The run is being cancelled or undone.
    RunEnding,
    /// What was awaited did not come in time.
    WaitExpired,
    /// The references of the step's input point at nothing, and it has no other input.
    InputUnresolved,
    /// The agent runs another version of the workflow than the run began with.
    VersionConflict,
    /// What stands for an answer of the run's brain is none that the plan can take.
    BrainAnswer,
}
