//! The symbols of our enums by their place in the schema. A test holds the lists to the schema and to
//! the names in JSON.

use super::{
    Symbol,
    avro::{Malformed, Read, ReadDatum, Reader, WriteDatum, Writer},
    letter::AnyClass,
};
use crate::{
    Driver, Effect, ErrorClass, Fault, Found, HeldBy, Kind, OnExhausted, RecordClass, TaskVerdict,
    Then,
};

/// A closed set in the order of the schema, where `unknown` comes before the first.
pub(crate) trait Symbols: Copy {
    /// How many there are.
    const COUNT: usize;

    /// The one at a place, if there is one.
    fn at(place: usize) -> Option<Self>;

    /// Its place.
    fn place(self) -> usize;
}

/// Lists the variants of an enum in their order.
macro_rules! symbols {
    ($name:ident: $($variant:ident)+) => {
        impl $name {
            const IN_ORDER: &'static [Self] = &[$(Self::$variant),+];
        }

        impl Symbols for $name {
            const COUNT: usize = Self::IN_ORDER.len();

            #[inline]
            fn at(place: usize) -> Option<Self> {
                Self::IN_ORDER.get(place).copied()
            }

            #[inline]
            fn place(self) -> usize {
                self as usize
            }
        }
    };
}

symbols!(Driver: Plan Journal Record);
symbols!(Effect: Pure Idempotent Probe AtMostOnce);
symbols!(OnExhausted: DeadLetter Fail Skip Fallback Compensate Escalate);
symbols!(Then: Fail Skip);
symbols!(TaskVerdict: Retry Complete Skip Fail Approve Deny);
symbols!(Fault: Timeout Transient Terminal);
symbols!(HeldBy: Breaker RateLimit ToolPaused TenantPaused Worker);
symbols!(Found: Happened Absent Unclear);
symbols!(RecordClass: Decode SchemaUnknown WrongPartition IllegalEvent);
symbols! {
    ErrorClass: Transient RateLimited Timeout Lost Terminal Contract Policy Budget UnknownOutcome
        NonDeterminism TooLarge Cancelled
}
symbols! {
    Kind: Unknown RunCreated RunCompleted RunFailed RunCancelled DecisionRecorded StepScheduled
        StepStarted StepHeartbeat StepCompleted StepFailed StepLost StepRetryScheduled StepDeferred
        StepReleased StepUnknown StepResolved StepSkipped StepCancelled StepDeadLettered StepRedriven
        StepDiscarded FaultInjected OwnerClaimed RecordDeadLettered RecordDisposed
        CancelRequested CompensationStarted RunPaused RunResumed FallbackStarted TaskOpened TaskDecided
        StepPaused StepResumed SignalReceived WaitCreated WaitExpired ApprovalRequested TaskExpired
        StepReused StepProbed
        RunStalled
}

impl Symbols for AnyClass {
    const COUNT: usize = ErrorClass::COUNT + RecordClass::COUNT;

    fn at(place: usize) -> Option<Self> {
        match place.checked_sub(ErrorClass::COUNT) {
            None => ErrorClass::at(place).map(Self::Step),
            Some(place) => RecordClass::at(place).map(Self::Record),
        }
    }

    fn place(self) -> usize {
        match self {
            Self::Step(class) => class.place(),
            Self::Record(class) => ErrorClass::COUNT + class.place(),
        }
    }
}

impl<'de, T: Symbols> ReadDatum<'de> for Symbol<T> {
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        let index = usize::try_from(from.long()?).map_err(|_| Malformed::Symbol)?;
        match index.checked_sub(1) {
            None => Ok(Self::Unknown),
            Some(place) => T::at(place).map(Self::Known).ok_or(Malformed::Symbol),
        }
    }
}

impl<T: Symbols> WriteDatum for Symbol<T> {
    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Self::Known(symbol) => to.long(symbol.place() as i64 + 1),
            Self::Unknown => to.long(0),
        }
    }
}

/// The kind itself has a variant for `unknown`.
impl<'de> ReadDatum<'de> for Kind {
    #[inline]
    fn read(from: &mut Reader<'de>) -> Read<Self> {
        let index = usize::try_from(from.long()?).ok();
        index.and_then(Self::at).ok_or(Malformed::Symbol)
    }
}

impl WriteDatum for Kind {
    #[inline]
    fn write(&self, to: &mut Writer<'_>) {
        to.long(self.place() as i64);
    }
}
