//! Planted faults: one build holds them all, and a test chooses one at run time to see it caught.
//!
//! Without the feature `mutants` every question here is answered `false` at compile time.

/// A fault that the simulator must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A start is acted on when its append is acknowledged, before it was read back.
    ActBeforeReadBack,
    /// A start is acted on when it is decided, before it is durable.
    ActBeforeDurable,
    /// A start that carries an earlier claim is acted on.
    ActOnEarlierClaim,
    /// Progress is stored ahead of the rows that it covers.
    ProgressBeforeRows,
    /// Readers see records before their fdatasync.
    ReadBeforeSync,
    /// An answer 5xx to a careful step counts as not done.
    RetryCareful,
    /// A `begin` is answered before the fold has judged it.
    AnswerBeforeVerdict,
    /// A letter is published when it is decided, not when the decision was accepted.
    LetterBeforeDecision,
    /// An owner starts from the committed offset and not from the store's progress.
    StartFromCommitted,
    /// A late success after a redrive is ignored.
    IgnoreLateSuccess,
    /// Recovery cuts the last block although it was acknowledged.
    CutLastBlock,
    /// Progress is stored although a transition up to there was not told.
    ProgressBeforeTelling,
    /// A timer is set by a later look at the clock than the decision that it follows.
    LostWakeUp,
    /// What was done first is undone first.
    UndoOutOfOrder,
    /// The runs that are steps of a cancelled one are not asked to end.
    CancelSkipsChildren,
    /// What one run tells another is given up where the log does not take it at once.
    MessagesTriedOnce,
    /// A cancelled run ends although an attempt of it runs.
    CancelSkipsRunning,
    /// An approval is taken for any call of its step.
    ApprovalNotCompared,
    /// Somebody who approves twice counts twice.
    ApproverCountsTwice,
    /// The result of a call is taken for one with another input, and for another tenant's.
    MemoOfAnybody,
    /// A pause holds back nothing.
    StartWhilePaused,
    /// An operator's pause of a tool or of a tenant is not heard.
    PauseUnheard,
    /// An agent gets an attempt although its door knew of a pause.
    BeginWhileHeld,
    /// Failures of a tool that is known to be down spend budget.
    OpenBreakerSpends,
    /// Waves go on although the tool fails again.
    WaveIgnoresRelapse,
    /// What another process says of its breaker is not heard.
    BreakerUnheard,
    /// A tool that says "it has not happened" is believed while the call may be on its way.
    BelieveEarlyNo,
    /// A fork begins before it has what it takes over.
    ForkBeginsEarly,
    /// An answer of a brain that comes after the accepted one takes its place.
    AnswerReplaced,
    /// A fork takes a step over that it would ask for something else.
    ForkTakesChanged,
    /// A signal that nobody awaits yet is accepted, and not kept.
    EarlySignalForgotten,
    /// A signal that was kept ends every wait of its name that begins later.
    SignalTakenTwice,
    /// A signal that comes again counts again.
    SignalCountsTwice,
    /// Of several waits of one name the newest gets the signal.
    SignalToNewestWait,
    /// A session that was replaced begins steps all the same.
    ReplacedSessionBegins,
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

#[cfg(feature = "mutants")]
thread_local! {
    static WATCHED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on what runs on this thread is checked after every turn. That costs a look at every run,
/// which a simulated world with few of them can bear.
#[cfg(feature = "mutants")]
pub fn watch() {
    WATCHED.set(true);
}

/// Whether this thread's turns are checked.
#[cfg(feature = "mutants")]
pub fn is_watched() -> bool {
    WATCHED.get()
}

/// Plants one fault on this thread, or takes it out again.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether a fault is planted.
#[cfg(feature = "mutants")]
pub fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Whether a fault is planted.
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn planted(_mutant: Mutant) -> bool {
    false
}
