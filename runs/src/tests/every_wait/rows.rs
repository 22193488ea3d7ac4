//! The table: a history for every waiting state, and all that is expected of it.

mod people;

use crate::{
    Hold, WaitKind,
    tests::{
        bodies::{APPLIED, created, failed, released, reported, run, spec, step},
        forks,
        given::Given,
        journal::begun,
        recovery::end,
    },
};
use people::{of_approvals, of_doubt, of_letters, of_probes, signal, task};
use spine_schemas::{
    Driver, Effect, ErrorClass, HeldBy, Plan, RunEvent, StepError, StepEvent, Then,
};

/// A history that ends in a wait, and all that is expected of it.
pub(super) struct Row {
    pub(super) given: Given,
    /// The whole sentence; ids in it by name.
    pub(super) why: &'static str,
    /// What each verb leads to: how it was refused, or where the run is when its owner has decided.
    pub(super) paused: &'static str,
    pub(super) cancelled: &'static str,
    pub(super) undone: &'static str,
    pub(super) killed: &'static str,
    /// What a fork takes over and what it has for itself; a question mark is an effect that may come twice.
    pub(super) forked: &'static str,
}

/// What holds for nearly all: a step `d` is done and can be undone, and nothing of `a` is under way.
fn row(given: Given, why: &'static str) -> Row {
    Row {
        given,
        why,
        paused: "waiting: Paused",
        cancelled: "cancelled",
        undone: "undoes d: cancelled",
        killed: "cancelled",
        forked: "takes d; again a?",
    }
}

/// An attempt of `a` runs: whoever does not kill it waits for it.
fn live(given: Given, why: &'static str) -> Row {
    Row {
        paused: "running: Paused, Attempt",
        cancelled: "running: Attempt",
        undone: "running: Attempt",
        ..row(given, why)
    }
}

/// An agent's: only it knows how its steps are undone.
fn agent(given: Given, why: &'static str) -> Row {
    Row { undone: "refused: WrongDriver", forked: "takes nothing; again a?", ..row(given, why) }
}

/// An outside system's: nothing of it runs here.
fn reporter(given: Given, why: &'static str) -> Row {
    const NOT_OURS: &str = "refused: WrongDriver";
    Row {
        paused: NOT_OURS,
        cancelled: NOT_OURS,
        undone: NOT_OURS,
        killed: NOT_OURS,
        forked: NOT_OURS,
        ..row(given, why)
    }
}

/// The rows of each kind. One that is new has none, and that does not compile.
macro_rules! table {
    ($($kind:ident => $rows:expr,)*) => {
        pub(super) const KINDS: &[WaitKind] = &[$(WaitKind::$kind),*];

        pub(super) fn rows(kind: WaitKind) -> Vec<Row> {
            match kind {
                $(WaitKind::$kind => $rows,)*
            }
        }
    };
}

table! {
    Owner => of_owners(),
    Attempt => of_attempts(),
    Retry => vec![retry()],
    Deferral => vec![deferral()],
    Resolution => of_doubt(),
    Probe => of_probes(),
    Fork => vec![fork_cut_off()],
    DeadLetter => of_letters(),
    Task => vec![task()],
    Approval => of_approvals(),
    Signal => vec![signal()],
    Sleep => vec![sleep()],
    Fallback => of_fallbacks(),
    Breaker => of_breakers(),
    RateLimit => vec![rate_limit()],
    ToolPaused => vec![tool_paused()],
    TenantPaused => vec![tenant_paused()],
    Paused => of_pauses(),
    Worker => vec![worker()],
    Child => vec![child()],
    Client => of_agents(),
    Reporter => of_reporters(),
}

const ONCE: &str = r#","retry":{"max_attempts":1}"#;

/// A plan with more steps after `d`, which has just ended; `hold` comes before that.
fn held(steps: &str, hold: impl FnOnce(&mut Given)) -> Given {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"d","tool":"d","effect":"idempotent","compensate":{{"tool":"u","effect":"pure"}}}},{steps}]"#
    ));
    given.settle();
    hold(&mut given);
    end(&mut given, "d", None);
    given
}

fn planned(steps: &str) -> Given {
    held(steps, |_| {})
}

/// A call `a` behind `d`, with more members for its JSON.
fn called(more: &str) -> Given {
    planned(&format!(r#"{{"name":"a","tool":"t","effect":"idempotent"{more}}}"#))
}

/// The same that may not be repeated.
fn careful() -> Given {
    planned(r#"{"name":"a","tool":"t"}"#)
}

/// The same after an end of its first attempt.
fn after(mut given: Given, class: ErrorClass) -> Given {
    given.fail(class);
    given
}

fn of_owners() -> Vec<Row> {
    let idle = Given::plan(
        r#"[{"name":"d","tool":"d","effect":"idempotent"},{"name":"a","tool":"t","effect":"idempotent"}]"#,
    );
    let mut starved = called("");
    let lease = starved.lease();
    starved.append(released("a", 1, lease, None));
    let mut undecided = called("");
    let lease = undecided.lease();
    undecided.append(failed("a", 1, lease, ErrorClass::Transient));
    let mut given_up = after(called(ONCE), ErrorClass::Terminal);
    given_up.discard(Then::Fail);
    vec![
        Row {
            undone: "cancelled",
            forked: "takes nothing; again d? a?",
            ..row(
                idle,
                "No step is open: the owner will schedule the next ones or end the run now.",
            )
        },
        row(starved, "Step a#1 may start: the owner starts attempt 2 as soon as a slot is free."),
        row(
            undecided,
            "Step a#1 failed with transient (transient): the owner is about to decide what follows.",
        ),
        row(given_up, "Step a#1 was given up: the run fails when no attempt runs."),
    ]
}

fn of_attempts() -> Vec<Row> {
    let mut leased = planned(r#"{"name":"a","tool":"queue:q","effect":"idempotent"}"#);
    leased.polled = 1;
    leased.settle_asked();
    let mut outside = Given::record();
    outside.append(reported("a", 1));
    vec![
        live(
            called(""),
            "Attempt 1 of step a#1 runs since 2023-11-14T22:13:20Z and ends by 2023-11-14T22:13:50Z at the latest.",
        ),
        Row {
            killed: "cancelled, a unknown",
            ..live(
                careful(),
                "Attempt 1 of step a#1 runs since 2023-11-14T22:13:20Z and ends by 2023-11-14T22:13:50Z at the latest.",
            )
        },
        live(
            leased,
            "Attempt 1 of step a#1 is held by worker w since 2023-11-14T22:13:20Z; without a heartbeat, or at the \
             end of its time, it is over at 2023-11-14T22:13:25Z.",
        ),
        Row {
            paused: "running: Paused, Attempt",
            cancelled: "running: Attempt",
            ..agent(
                begun(Effect::Idempotent),
                "Attempt 1 of step a#1 is held by session S since 2023-11-14T22:13:20Z; without a heartbeat its \
                 lease ends at 2023-11-14T22:13:50Z.",
            )
        },
        reporter(outside, "Attempt 1 of step a#1 was reported as started at 2023-11-14T22:13:20Z."),
        brain(),
    ]
}

fn brain() -> Row {
    let mut given = Given::nothing();
    let plan = r#"{"brain":{"tool":"b"},"steps":[
        {"name":"d","tool":"d","effect":"idempotent","compensate":{"tool":"u","effect":"pure"}}]}"#;
    given.append(created(Driver::Plan, Some(Plan::parse(plan).expect("a legal plan"))));
    given.settle();
    end(&mut given, "d", None);
    Row {
        forked: "takes d; again ask",
        ..live(
            given,
            "Turn 1 of at most 100: step brain/ask#1 asks the brain b what comes next. Attempt 1 of step brain/ask#1 \
             runs since 2023-11-14T22:13:20Z and ends by 2023-11-14T22:13:50Z at the latest.",
        )
    }
}

fn retry() -> Row {
    row(
        after(called(r#","retry":{"jitter":0}"#), ErrorClass::Transient),
        "Step a#1 failed with transient (transient); attempt 2 starts at 2023-11-14T22:13:20.2Z.",
    )
}

fn deferral() -> Row {
    row(
        after(called(r#","retry":{"jitter":0}"#), ErrorClass::RateLimited),
        "Step a#1 was put off free of charge after rate_limited (rate_limited); attempt 2 starts at \
         2023-11-14T22:13:20.2Z.",
    )
}

fn fork_cut_off() -> Row {
    let mut original = Given::plan(&forks::ten());
    forks::finish(&mut original, 20);
    let (new, taken) = forks::fork_of(&original, |_| {}, Some("s4"));
    Row {
        paused: "waiting: Paused, Fork",
        undone: "cancelled",
        forked: "refused: StepState",
        ..row(
            forks::begin(new, &taken, 2),
            "2 of the 3 finished steps that it takes over from run r1 are here: whoever forked it must do so again, \
             with the same content and '--run-id r1', or 'spine runs cancel r1' ends it.",
        )
    }
}

fn sleep() -> Row {
    Row {
        forked: "takes d; again a",
        ..row(
            planned(r#"{"name":"a","tool":"sleep:5000"}"#),
            "Step a#1 sleeps until 2023-11-14T22:13:25Z.",
        )
    }
}

const FALLBACK: &str = r#","retry":{"max_attempts":1},"on_exhausted":"fallback",
    "fallback":[{"name":"x","tool":"t","effect":"pure"}]"#;

fn of_fallbacks() -> Vec<Row> {
    let mut begins = called(FALLBACK);
    let (lease, class) = (begins.lease(), ErrorClass::Terminal);
    begins.append(failed("a", 1, lease, class));
    let error = StepError::new(class, "terminal", "it failed");
    begins.decide(step("a", StepEvent::FallbackStarted { attempt: 1, error }));
    vec![
        Row {
            paused: "waiting: Paused, Fallback",
            forked: "takes d; again a",
            ..row(
                begins,
                "Step a#1 used up its attempts with terminal (terminal), and its fallback takes over: the owner \
                 schedules the next step of that, or ends this one, now.",
            )
        },
        Row {
            paused: "running: Paused, Fallback, Attempt",
            cancelled: "running: Fallback, Attempt",
            undone: "running: Fallback, Attempt",
            forked: "takes d; again a? x",
            ..row(
                after(called(FALLBACK), ErrorClass::Terminal),
                "Attempt 1 of step x#1 runs since 2023-11-14T22:13:20Z and ends by 2023-11-14T22:13:50Z at the \
                 latest; it stands in for step a#1 (one other step is open, too).",
            )
        },
    ]
}

/// A call `a` that something holds back.
fn held_back(by: HeldBy, more: &str) -> Given {
    held(&format!(r#"{{"name":"a","tool":"t","effect":"idempotent"{more}}}"#), |given| {
        let hold = Hold { by, until: given.now.plus_ms(5000), starts: 0 };
        if by == HeldBy::TenantPaused {
            given.holds.tenants.insert("default".into(), hold);
        } else {
            given.holds.tools.insert("t".into(), hold);
        }
    })
}

fn of_breakers() -> Vec<Row> {
    vec![
        row(
            held_back(HeldBy::Breaker, ""),
            "Step a#1 is held back since 2023-11-14T22:13:20Z, and spends no attempt: the circuit breaker of t is open, \
             or lets only a few calls through. It starts after calls of the tool have succeeded, at \
             2023-11-14T22:13:25Z at the earliest; 'spine tools list' shows the breaker.",
        ),
        row(
            held_back(
                HeldBy::Breaker,
                r#","on_exhausted":"fallback","fallback":[{"name":"x","tool":"u"}]"#,
            ),
            "Step a#1 is held back since 2023-11-14T22:13:20Z, and spends no attempt: the circuit breaker of t is open. \
             If it has not started by 2023-11-14T22:13:21.4Z, its fallback stands in.",
        ),
    ]
}

fn rate_limit() -> Row {
    row(
        held_back(HeldBy::RateLimit, ""),
        "Step a#1 is held back since 2023-11-14T22:13:20Z, and spends no attempt: t asked for a pause. Calls begin again \
         a few at a time, this one at 2023-11-14T22:13:25Z at the earliest.",
    )
}

fn tool_paused() -> Row {
    row(
        held_back(HeldBy::ToolPaused, ""),
        "Step a#1 is held back since 2023-11-14T22:13:20Z: somebody paused t, or opened its breaker. 'spine tools resume \
         t --reason …' lets it go on, or 'spine tools breaker t auto --reason …'.",
    )
}

/// Of such a tenant nothing is undone, either.
fn tenant_paused() -> Row {
    Row {
        undone: "waiting: TenantPaused",
        ..row(
            held_back(HeldBy::TenantPaused, ""),
            "Step a#1 is held back since 2023-11-14T22:13:20Z: somebody paused tenant default. 'spine tenants resume \
             default --reason …' lets it go on.",
        )
    }
}

fn of_pauses() -> Vec<Row> {
    let waits = || after(called(""), ErrorClass::Transient);
    let (mut whole, mut one) = (waits(), waits());
    assert_eq!(whole.append(run(RunEvent::Paused { reason: "look".into() })), APPLIED);
    let paused = || step("a", StepEvent::Paused { reason: "look".into() });
    assert_eq!(one.append(paused()), APPLIED);
    let mut nap = planned(r#"{"name":"a","tool":"sleep:5000"}"#);
    assert_eq!(nap.append(paused()), APPLIED);
    let of_step = "Step a#1 is paused since 2023-11-14T22:13:20Z by test (look): 'spine steps resume r1 a#1' lets it \
        go on.";
    vec![
        Row {
            paused: "already",
            ..row(
                whole,
                "The run is paused since 2023-11-14T22:13:20Z by test (look): 'spine runs resume r1' lets it go on. \
                 No attempt runs.",
            )
        },
        row(one, of_step),
        Row { forked: "takes d; again a", ..row(nap, of_step) },
    ]
}

fn worker() -> Row {
    row(
        planned(r#"{"name":"a","tool":"queue:q","effect":"idempotent"}"#),
        "Step a#1 waits in the queue q: no worker has asked for it yet. It begins as soon as one does ('POST \
         /v1/queues/q/lease'): see that one runs.",
    )
}

fn child() -> Row {
    let a = r#"{"name":"a","tool":"run","run":{"plan":{"steps":[{"name":"x","tool":"t"}]}}}"#;
    Row {
        paused: "running: Paused, Child",
        cancelled: "running: Child",
        undone: "running: Child",
        killed: "cancelled, a unknown",
        ..row(
            planned(a),
            "Step a#1 is a run of its own since 2023-11-14T22:13:20Z, and ends with it: 'spine runs why CHILD' says \
             what that waits for.",
        )
    }
}

fn of_agents() -> Vec<Row> {
    let mut silent = begun(Effect::Idempotent);
    silent.after(30_000).settle();
    let mut given_up = begun(Effect::Idempotent);
    given_up.fail(ErrorClass::Terminal);
    given_up.discard(Then::Fail);
    vec![
        Row {
            forked: "takes nothing; again nothing",
            ..agent(
                Given::journal(),
                "No step is open: the agent that drives the run must begin its next step or end the run.",
            )
        },
        agent(silent, "Step a#1 may start: the agent must begin it."),
        agent(given_up, "Step a#1 was given up: the agent must end the run."),
    ]
}

fn of_reporters() -> Vec<Row> {
    let mut planned = Given::record();
    planned.append(step("a", StepEvent::Scheduled(spec(Effect::Pure, "1"))));
    let mut failing = Given::record();
    failing.append(reported("a", 1));
    failing.append(failed("a", 1, 0, ErrorClass::Transient));
    vec![
        reporter(
            Given::record(),
            "No step is open: the system that reports the run has not reported its end.",
        ),
        reporter(planned, "Step a#1 is scheduled: its start has not been reported."),
        reporter(
            failing,
            "Step a#1 failed with transient (transient): its next attempt has not been reported.",
        ),
    ]
}
