//! What each error of the crates below is called at the door. Every match is exhaustive, so that a new
//! cause asks for its code.

use super::{Code, Problem};
use spine_runs::{Answer, Reason, Verdict};

impl From<Reason> for Code {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Duplicate => Self::Duplicate,
            Reason::OlderClaim => Self::OlderClaim,
            Reason::LostRace => Self::LostRace,
            Reason::Late => Self::Late,
            Reason::BrokenBatch => Self::BrokenBatch,
            Reason::RunAbsent => Self::RunAbsent,
            Reason::RunExists => Self::RunExists,
            Reason::RunEnded => Self::RunEnded,
            Reason::WrongDriver => Self::WrongDriver,
            Reason::StepAbsent => Self::StepAbsent,
            Reason::StepConflict => Self::StepConflict,
            Reason::StepState => Self::StepState,
            Reason::WrongAttempt => Self::WrongAttempt,
            Reason::WrongLease => Self::WrongLease,
            Reason::NoClaim => Self::NoClaim,
            Reason::ClaimLost => Self::ClaimLost,
            Reason::LetterClosed => Self::LetterClosed,
            Reason::NeedsForce => Self::NeedsForce,
            Reason::EditUnresolved => Self::EditUnresolved,
            Reason::OpReused => Self::OpReused,
            Reason::SessionGone => Self::SessionGone,
            Reason::LimitReached => Self::LimitReached,
            Reason::GivenUp => Self::GivenUp,
            Reason::TaskClosed => Self::TaskClosed,
            Reason::ApprovedAlready => Self::ApprovedAlready,
            Reason::RunEnding => Self::RunEnding,
            Reason::WaitExpired => Self::WaitExpired,
            Reason::InputUnresolved => Self::InputUnresolved,
            Reason::VersionConflict => Self::VersionConflict,
            Reason::BrainAnswer => Self::BrainAnswer,
        }
    }
}

impl Problem {
    /// The refusal of a request by the fold; `None` where it was granted, now or before.
    pub(crate) fn of_verdict(verdict: &Verdict) -> Option<Self> {
        let reason = match verdict {
            Verdict::Applied(_) | Verdict::Stale(Reason::Duplicate, Some(Answer::Ok)) => {
                return None;
            }
            Verdict::Stale(reason, _) | Verdict::Refused(reason, _) | Verdict::Illegal(reason) => {
                *reason
            }
        };
        let code = Code::from(reason);
        let problem = Self::new(code, code.row().title);
        match verdict.answer() {
            Some(Answer::Conflict { stored, given }) => {
                let detail = format!("{}: stored {stored}, given {given}", code.row().title);
                Some(Self::new(code, detail).with("stored", stored).with("given", given))
            }
            _ => Some(problem),
        }
    }
}

impl From<spine_schemas::Error> for Problem {
    fn from(error: spine_schemas::Error) -> Self {
        use spine_schemas::Error;
        let code = Code::of_event(&error);
        let problem = Self::new(code, error.to_string());
        match error {
            Error::Invalid { field, .. }
            | Error::TooLarge { field, .. }
            | Error::UnknownKind { field, .. } => problem.with("field", field),
            Error::Decode(_) | Error::SchemaUnknown(_) | Error::Incompatible(_) => problem,
        }
    }
}

impl Code {
    /// The code of an event, or of a value, that the schema refuses.
    pub(crate) fn of_event(error: &spine_schemas::Error) -> Self {
        use spine_schemas::Error;
        match error {
            Error::Invalid { field, .. } => match field.as_str() {
                "tenant" => Self::BadTenant,
                "claim" | "batch" | "op" => Self::OwnersField,
                "event" => Self::NotAnEvent,
                _ => Self::InvalidField,
            },
            Error::TooLarge { .. } => Self::ValueTooLarge,
            Error::UnknownKind { .. } => Self::NewerThanBuild,
            Error::Decode(_) | Error::SchemaUnknown(_) | Error::Incompatible(_) => Self::NotAnEvent,
        }
    }
}

impl From<spine_log::Error> for Problem {
    fn from(error: spine_log::Error) -> Self {
        use spine_log::Error;
        let code = match &error {
            Error::Busy => Code::LogBusy,
            Error::Full { .. } => Code::LogFull,
            Error::TooLarge { .. } => Code::ValueTooLarge,
            Error::Missing(_) | Error::Refused(_) => Code::LogMisused,
            Error::Damaged(_) => Code::LogDamaged,
            Error::Poisoned(_) => Code::LogStopped,
            Error::Unavailable(_) => Code::LogUnavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<spine_store::Error> for Problem {
    fn from(error: spine_store::Error) -> Self {
        use spine_store::Error;
        let code = match &error {
            Error::Lost { .. } | Error::Unavailable(_) => Code::StoreUnavailable,
            Error::Refused(_) | Error::Damaged(_) => Code::StoreDamaged,
            Error::BadQuery(_) => Code::BadQuery,
        };
        Self::new(code, error.to_string())
    }
}
