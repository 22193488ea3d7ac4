//! Simulated tools: they commit effects, fail before or after them, stay silent, or answer late; and
//! they record each effect with the attempt that caused it.

use crate::random::{Random, hash};
use spine_runs::{GrantedStep, retry};
use spine_schemas::{
    BRAIN_SCOPE, Digest, Effect, ErrorClass, Output, Payload, RunKey, StepError, StepKey,
    mutants::{Mutant, planted},
};
use spine_workers::tools::{CallEnd, ToolCall, Tools};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// One effect at the remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteEffect {
    pub(crate) attempt: u32,
    pub(crate) key: String,
    /// What was asked for; an agent does not say it.
    pub(crate) input: Option<Digest>,
    pub(crate) at: Duration,
}

#[derive(Debug, Default)]
struct Remote {
    effects: BTreeMap<(RunKey, StepKey), Vec<RemoteEffect>>,
    /// Keys under which something was done; an idempotent remote does it once.
    keys: BTreeMap<String, u32>,
    healed: bool,
    /// Keys under which no attempt up to this one may act any more.
    void: BTreeMap<String, u32>,
}

/// Where the remote tells what has happened.
pub(crate) const PROBE: &str = "http://tool/probe";

/// Who is asked for the next steps.
pub(crate) const BRAIN: &str = "http://tool/brain";

/// Clones share the remote.
#[derive(Clone, Debug)]
pub(crate) struct SimTools {
    remote: Arc<Mutex<Remote>>,
    seed: u64,
    origin: Instant,
    trouble_percent: u64,
}

/// What the remote does with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    Refused,
    FailsBefore,
    FailsAfter,
    DropsAfter,
    Limits,
    Rejects,
    Silent,
    /// Arrives when nobody waits for it any more.
    Lingers,
}

impl SimTools {
    pub(crate) fn new(random: &Random, trouble_percent: u64) -> Self {
        Self {
            remote: Arc::default(),
            seed: random.next(),
            origin: Instant::now(),
            trouble_percent,
        }
    }

    /// From now on every call succeeds.
    pub(crate) fn heal(&self) {
        self.remote.lock().unwrap().healed = true;
    }

    pub(crate) fn effects(&self) -> BTreeMap<(RunKey, StepKey), Vec<RemoteEffect>> {
        self.remote.lock().unwrap().effects.clone()
    }

    fn fate(&self, call: &ToolCall) -> Fate {
        let remote = self.remote.lock().unwrap();
        if remote.healed {
            return Fate::Succeeds;
        }
        let text = format!("{}/{}/{}", call.run, call.step, call.attempt);
        let draw = hash(self.seed, &text);
        if draw % 100 >= self.trouble_percent {
            return Fate::Succeeds;
        }
        match (draw >> 32) % 12 {
            0 | 1 => Fate::Refused,
            2 | 3 => Fate::FailsBefore,
            4 | 5 => Fate::FailsAfter,
            6 | 7 => Fate::DropsAfter,
            8 => Fate::Limits,
            9 => Fate::Rejects,
            10 => Fate::Silent,
            _ => Fate::Lingers,
        }
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.remote.lock().unwrap().healed
    }

    /// What a worker does with a step that it was granted; `false` where the remote refuses its key.
    pub(crate) fn work(&self, lease: &GrantedStep) -> bool {
        let call = (lease.idempotency_key.to_string(), lease.input.digest);
        self.commit(&lease.run, &lease.step, (lease.attempt, lease.effect), call)
    }

    /// What an agent does by itself, under the attempt that it was given.
    pub(crate) fn act(&self, run: &RunKey, step: &StepKey, attempt: u32) {
        let mut remote = self.remote.lock().unwrap();
        let (key, at) = (String::new(), self.origin.elapsed());
        let effect = RemoteEffect { attempt, key, input: None, at };
        remote.effects.entry((run.clone(), step.clone())).or_default().push(effect);
    }

    /// What the tool of a step says to an attempt with an input. A brain says something else each time, and now
    /// and then what no plan can take.
    pub(crate) fn says(&self, run: &RunKey, step: &StepKey, attempt: u32, input: &[u8]) -> Payload {
        let text = if *step.scope == *BRAIN_SCOPE {
            let draw = hash(self.seed ^ 2, &format!("{run}/{step}/{attempt}"));
            answer(draw, step.occurrence, attempt, self.is_healed(), &ahead(input))
        } else {
            r#"{"ok":true}"#.to_owned()
        };
        Payload::json("output", text).unwrap()
    }

    fn commit(
        &self,
        run: &RunKey,
        step: &StepKey,
        (attempt, effect): (u32, Effect),
        (key, input): (String, Digest),
    ) -> bool {
        let mut remote = self.remote.lock().unwrap();
        if remote.void.get(&key).is_some_and(|void| attempt <= *void) {
            return false;
        }
        let done = remote.keys.entry(key.clone()).or_default();
        *done += 1;
        if effect == Effect::Idempotent && *done > 1 {
            return true;
        }
        let (input, at) = (Some(input), self.origin.elapsed());
        let effect = RemoteEffect { attempt, key, input, at };
        remote.effects.entry((run.clone(), step.clone())).or_default().push(effect);
        true
    }
}

impl SimTools {
    /// Says what happened under a key, and makes it void for the attempts so far where that is asked for.
    /// In trouble it says nothing.
    async fn tell(&self, call: &ToolCall) -> CallEnd {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if self.fate(call) == Fate::FailsBefore {
            let (class, message) = (ErrorClass::Transient, "simulated");
            return CallEnd::Failed(StepError::new(class, "http_500", message));
        }
        let mut remote = self.remote.lock().unwrap();
        let key = call.idempotency_key.to_string();
        let happened = remote.keys.contains_key(&key);
        let asks: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        if !happened && asks["void"] == true {
            let attempt = u32::try_from(asks["attempt"].as_u64().unwrap()).unwrap();
            remote.void.insert(key, attempt);
        }
        let payload = Payload::json("output", format!("{{\"happened\":{happened}}}")).unwrap();
        CallEnd::Completed { output: Output::of(payload), usage: None }
    }
}

impl Tools for SimTools {
    async fn call(&self, call: ToolCall) -> CallEnd {
        if call.tool == PROBE {
            return self.tell(&call).await;
        }
        let fate = self.fate(&call);
        let draw = hash(self.seed ^ 1, &format!("{}/{}/{}", call.run, call.step, call.attempt));
        let (before_ms, after_ms) = (1 + draw % 40, 1 + (draw >> 16) % 40);
        let said = self.says(&call.run, &call.step, call.attempt, &call.body);
        let timeout = call.timeout;
        let effect = call.effect;
        let lingers = u64::try_from(timeout.as_millis()).unwrap() * 3 / 2;
        let before_ms = if fate == Fate::Lingers { lingers } else { before_ms };
        if fate == Fate::Refused {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let class = ErrorClass::Transient;
            return CallEnd::NeverSent(StepError::new(class, "connect_refused", "refused"));
        }
        // What was sent arrives, whatever becomes of the sender.
        let (answer, answered) = oneshot::channel();
        let tools = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(before_ms)).await;
            let input = Payload::json("input", call.body.clone()).unwrap().digest;
            let given = (call.idempotency_key.to_string(), input);
            let is_void = commits(fate)
                && !tools.commit(&call.run, &call.step, (call.attempt, call.effect), given);
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            let _ = answer.send(is_void);
        });
        let in_time = tokio::time::timeout(timeout, async {
            let is_void = answered.await;
            if matches!(fate, Fate::Silent | Fate::Lingers) {
                std::future::pending::<()>().await;
            }
            is_void
        });
        match in_time.await {
            // A key that was made void is refused, for good.
            Ok(Ok(true)) => end(Fate::Rejects, effect, said),
            Ok(_) => end(fate, effect, said),
            Err(_) => silence(effect, "timeout"),
        }
    }

    fn check(&self, _tool: &str) -> Result<(), String> {
        Ok(())
    }
}

/// The steps that a brain is told lie ahead.
fn ahead(input: &[u8]) -> Vec<String> {
    let input: serde_json::Value = serde_json::from_slice(input).unwrap_or_default();
    let names = input["ahead"].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn answer(draw: u64, turn: u32, attempt: u32, healed: bool, ahead: &[String]) -> String {
    // Two turns are the fewest that there may be.
    let is_last = turn >= 2;
    match draw % 10 {
        0 if !healed => r#"{"steps":[{"name":"s0"}]}"#.into(),
        // The first step of a plan has begun whenever its brain is asked.
        1 if !healed && !ahead.is_empty() => r#"{"drop":["s0"]}"#.into(),
        1 if !healed => r#"["what?"]"#.into(),
        2 => r#"{"fail":"simulated"}"#.into(),
        3 => r#"{"done":true}"#.into(),
        _ if is_last => {
            format!(r#"{{"done":true,"output":{{"turn":{turn},"attempt":{attempt}}}}}"#)
        }
        number => {
            let effect = ["pure", "idempotent", "at_most_once"][number as usize % 3];
            let step = |at: u64| {
                let after = if draw >> 8 & at == 0 { "" } else { r#","after":[]"# };
                let then_ask = at == 0 && draw >> 48 & 3 == 0;
                format!(
                    r#"{{"name":"t{turn}a{attempt}n{at}","tool":"http://tool/{at}","effect":"{effect}"{after},
                        "then_ask":{then_ask},"timeout_ms":300,
                        "compensate":{{"tool":"http://tool/2","effect":"pure","timeout_ms":300}}}}"#
                )
            };
            // Where something is left it may go on with that alone.
            let goes_on = ahead.len() > 1 && draw >> 50 & 1 == 0;
            let new = if goes_on { 0 } else { 1 + draw / 16 % 3 };
            let steps: Vec<String> = (0..new).map(step).collect();
            let left = ahead.iter().enumerate().skip(usize::from(goes_on));
            let dropped = left.filter(|(at, _)| draw >> (52 + at % 8) & 1 == 0);
            let dropped: Vec<&String> = dropped.map(|(_, name)| name).collect();
            let steps = steps.join(",");
            format!(r#"{{"steps":[{steps}],"drop":{dropped:?},"state":{attempt}}}"#)
        }
    }
}

fn commits(fate: Fate) -> bool {
    match fate {
        Fate::Succeeds | Fate::FailsAfter | Fate::DropsAfter | Fate::Silent | Fate::Lingers => true,
        Fate::Refused | Fate::FailsBefore | Fate::Limits | Fate::Rejects => false,
    }
}

fn end(fate: Fate, effect: Effect, said: Payload) -> CallEnd {
    let failed = |class, code: &str| CallEnd::Failed(StepError::new(class, code, "simulated"));
    match fate {
        Fate::Succeeds => CallEnd::Completed { output: Output::of(said), usage: None },
        Fate::FailsBefore | Fate::FailsAfter
            if effect.is_careful() && !planted(Mutant::RetryCareful) =>
        {
            failed(ErrorClass::UnknownOutcome, "http_500")
        }
        Fate::FailsBefore | Fate::FailsAfter => failed(ErrorClass::Transient, "http_500"),
        Fate::DropsAfter => silence(effect, "dropped"),
        Fate::Limits => {
            let error = StepError::new(ErrorClass::RateLimited, "http_429", "simulated");
            CallEnd::Failed(StepError { retry_after_ms: Some(300), ..error })
        }
        Fate::Rejects => failed(ErrorClass::Terminal, "http_422"),
        Fate::Refused | Fate::Silent | Fate::Lingers => {
            unreachable!("decided before the call was sent")
        }
    }
}

fn silence(effect: Effect, code: &str) -> CallEnd {
    let class = if effect.is_careful() {
        ErrorClass::UnknownOutcome
    } else if code == "timeout" {
        ErrorClass::Timeout
    } else {
        ErrorClass::Transient
    };
    debug_assert!(effect == Effect::Pure || retry::is_ambiguous(effect, class));
    CallEnd::Failed(StepError::new(class, code, "simulated"))
}
