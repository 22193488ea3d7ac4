//! The chapters of the demo, in order.

use super::{
    Stage, faults,
    plan::{self, INITIAL_MS, POLICY_ATTEMPTS, RUN, STEPS, TENANT},
};
use crate::{
    client::{Client, Content},
    exit::{Exit, Failure},
    render::{
        cell::step,
        color,
        table::{Column, table},
        when::lasting,
    },
    views::{Attempt, Letter, LettersPage, Run, RunRow, Step, StepsPage},
};
use hyper::Method;
use serde_json::Value;
use spine_schemas::time::Micros;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const LOOK: Duration = Duration::from_millis(20);
/// Any chapter ends within this.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells all chapters.
///
/// # Errors
/// When the story cannot go on; unmet expectations do not stop it.
pub(super) async fn tell(stage: &mut Stage) -> Result<(), Failure> {
    start(stage).await?;
    exhausted(stage).await?;
    redrive(stage).await?;
    kill_and_resume(stage).await?;
    effects(stage).await?;
    replay(stage).await
}

impl Stage {
    fn expect(&mut self, what: &str, met: bool, found: impl ToString) -> Result<(), Failure> {
        let noted = self.expect.note(what, met, found);
        self.narrator.found(&noted)
    }

    fn client(&self) -> Result<Client, Failure> {
        self.server.client()
    }

    /// Runs a command of this binary and shows it; gives its exit code and its standard output.
    async fn show(&self, arguments: &[&str]) -> Result<(Option<i32>, String), Failure> {
        let ran = self.server.run(arguments).await?;
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        let error = String::from_utf8_lossy(&ran.stderr);
        let quoted: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        let command = format!("spine {}", quoted.join(" "));
        self.narrator.command(&command, format!("{out}{error}").trim_end())?;
        Ok((ran.status.code(), out))
    }

    async fn run_now(&self) -> Result<Run, Failure> {
        self.client()?.get(&format!("/v1/runs/{RUN}?tenant={TENANT}")).await?.read()
    }

    async fn steps(&self) -> Result<Vec<Step>, Failure> {
        let path = format!("/v1/runs/{RUN}/steps?tenant={TENANT}");
        Ok(self.client()?.get(&path).await?.read::<StepsPage>()?.steps)
    }

    async fn letters(&self) -> Result<Vec<Letter>, Failure> {
        let path = format!("/v1/dead-letters?tenant={TENANT}");
        Ok(self.client()?.get(&path).await?.read::<LettersPage>()?.dead_letters)
    }

    /// Waits until the run is in one of these statuses.
    async fn wait_for(&self, statuses: &[&str]) -> Result<RunRow, Failure> {
        let reached = async {
            loop {
                let run = self.run_now().await?.row;
                if statuses.contains(&run.status.as_str()) {
                    return Ok(run);
                }
                sleep(LOOK).await;
            }
        };
        match timeout(PATIENCE, reached).await {
            Ok(run) => run,
            Err(_) => Err(Failure::new(
                Exit::Failed,
                format!("the run did not become {}", statuses.join(" or ")),
            )),
        }
    }
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    if argument.contains(' ') { format!("'{argument}'") } else { argument.to_owned() }
}

async fn start(stage: &mut Stage) -> Result<(), Failure> {
    stage.narrator.chapter("A server, its tools, and an agent's run of ten steps")?;
    if let Some(preparation) = stage.server.place().preparation() {
        let arguments: Vec<&str> = preparation.iter().map(String::as_str).collect();
        let (code, said) = stage.show(&arguments).await?;
        if code != Some(0) {
            return Err(Failure::new(Exit::Failed, said));
        }
    }
    stage.server.start().await?;
    stage
        .narrator
        .say(&format!("spine serve runs as a process of its own on {}", stage.server.url()))?;
    stage.narrator.say(&format!("the tools are at {} and note every effect", stage.tools.url()))?;
    let client = stage.client()?;
    let in_cluster = stage.server.place().is_cluster();
    let production = plan::body(stage.tools.url(), "default", &faults::Faults::new(2), in_cluster);
    let refused = client
        .ask(Method::POST, "/v1/runs", Some(Content::json(production.to_string())), &[])
        .await?;
    let code = serde_json::from_str::<Value>(&refused.text).map(|problem| problem["name"].clone());
    let name = code.unwrap_or_default();
    stage.expect(
        "a plan that injects faults is refused on a tenant that is not for tests",
        refused.status == 422 && name == "faults_refused",
        format!("{} {name}", refused.status),
    )?;
    for fault in stage.faults.in_words() {
        stage.narrator.say(&format!("fault ahead: {fault}"))?;
    }
    let body = plan::body(stage.tools.url(), TENANT, &stage.faults, in_cluster);
    let created: Value = client.post("/v1/runs", Content::json(body.to_string())).await?.read()?;
    let position = &created["position"];
    let at_least = format!("{}:{}", position["partition"], position["offset"]);
    client.get(&format!("/v1/runs/{RUN}?tenant={TENANT}&at_least={at_least}")).await?;
    stage.narrator.say(&format!("run {RUN} started"))
}

async fn exhausted(stage: &mut Stage) -> Result<(), Failure> {
    stage.narrator.chapter("Steps are tried again, and one runs out of attempts")?;
    stage.wait_for(&["waiting"]).await?;
    let steps = stage.steps().await?;
    for of in steps.iter().filter(|of| of.attempts.len() > 1) {
        stage.narrator.say(&format!("{:<9} {}", step(&of.step), attempts_in_words(of)))?;
    }
    let early: Vec<String> = {
        let tools = stage.tools.state();
        STEPS.iter().filter_map(|of| too_early(of.name, &tools.times(of.name))).collect()
    };
    stage.expect(
        "no tool was called again earlier than its policy says",
        early.is_empty(),
        early.join(", "),
    )?;
    let letters = stage.letters().await?;
    stage.expect("one dead letter", letters.len() == 1, format!("{} letters", letters.len()))?;
    let Some(letter) = letters.first() else {
        return Err(Failure::new(Exit::Failed, "there is no dead letter to go on with"));
    };
    stage.show(&["dead-letters", "list"]).await?;
    let whole: Letter =
        stage.client()?.get(&format!("/v1/dead-letters/{}", letter.id)).await?.read()?;
    stage.expect(
        "the letter tells every attempt",
        whole.attempts.len() == POLICY_ATTEMPTS as usize,
        format!("{} attempts", whole.attempts.len()),
    )?;
    stage.show(&["runs", "why", RUN, "--tenant", TENANT]).await?;
    Ok(())
}

/// A line like `failed, 100ms, failed, 200ms, completed`.
fn attempts_in_words(of: &Step) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut before: Option<&Attempt> = None;
    for attempt in &of.attempts {
        if let Some(gap) = before.and_then(|before| gap_ms(before, attempt)) {
            words.push(format!("{} later", lasting(gap)));
        }
        let code = attempt.error.as_ref().map(|error| format!(" ({})", error.code));
        words.push(format!("{}{}", color::status(&attempt.end), code.unwrap_or_default()));
        before = Some(attempt);
    }
    words.join(", ")
}

fn gap_ms(before: &Attempt, after: &Attempt) -> Option<u64> {
    before.ended_at.map(|ended| after.started_at.0.ms_since(ended.0))
}

/// A call that came before its wait was over, by the tools' own clock. Injected faults never reach
/// the tools, so the wait is that of all attempts in between.
fn too_early(name: &str, calls: &[(u32, Micros)]) -> Option<String> {
    let pairs = calls.iter().zip(calls.iter().skip(1));
    let mut waits = pairs.map(|((before, then), (attempt, now))| {
        let least: u64 = (*before..*attempt).map(|failed| INITIAL_MS << (failed - 1)).sum();
        (attempt, now.ms_since(*then), least)
    });
    let (attempt, gap, least) = waits.find(|(_, gap, least)| gap < least)?;
    Some(format!("{name} attempt {attempt} after {gap} of {least} ms"))
}

async fn redrive(stage: &mut Stage) -> Result<(), Failure> {
    stage.narrator.chapter("The cause is repaired, and the letter is put back to work")?;
    stage.tools.state().repair("policy");
    let id = match stage.letters().await?.into_iter().next() {
        Some(letter) => letter.id,
        None => return Err(Failure::new(Exit::Failed, "the dead letter is gone")),
    };
    let again = ["dead-letters", "redrive", &id, "--reason", "policy service is up again"];
    let (code, _) = stage.show(&again).await?;
    stage.expect("the redrive is accepted", code == Some(0), format!("exit code {code:?}"))?;
    let (code, _) = stage.show(&again).await?;
    stage.expect("a second redrive is refused", code == Some(1), format!("exit code {code:?}"))
}

async fn kill_and_resume(stage: &mut Stage) -> Result<(), Failure> {
    stage.narrator.chapter("The server is killed in the middle of a payment")?;
    let held = timeout(PATIENCE, stage.tools.held()).await;
    held.map_err(|_| Failure::new(Exit::Failed, "the refund was never called"))?;
    stage.narrator.say("the refund has taken effect, its reply is still on the way: kill -9")?;
    stage.server.kill().await?;
    stage.server.start().await?;
    stage.narrator.say("spine serve is started again, on the same log")?;
    let run = stage.wait_for(&["completed", "failed", "degraded", "cancelled"]).await?;
    stage.expect("the run completes", run.status == "completed", &run.status)?;
    let steps = stage.steps().await?;
    let refund = steps.iter().find(|of| step(&of.step) == "refund");
    if let Some(refund) = refund {
        stage.narrator.say(&format!("refund    {}", attempts_in_words(refund)))?;
    }
    stage.show(&["runs", "show", RUN, "--tenant", TENANT]).await?;
    injected(stage).await
}

async fn injected(stage: &mut Stage) -> Result<(), Failure> {
    let path = format!("/v1/runs/{RUN}/events?tenant={TENANT}&limit=1000");
    let events: Value = stage.client()?.get(&path).await?.read()?;
    let kinds = events["events"].as_array().into_iter().flatten().map(|event| &event["kind"]);
    let injected = kinds.filter(|kind| *kind == "fault_injected").count();
    let planned = stage.faults.injected().len();
    stage.expect(
        &format!(
            "the log says that {} injected",
            match planned {
                0 => "no fault was".to_owned(),
                1 => "1 fault was".to_owned(),
                more => format!("{more} faults were"),
            }
        ),
        injected == planned,
        injected,
    )
}

async fn effects(stage: &mut Stage) -> Result<(), Failure> {
    stage.narrator.chapter("What the tools saw")?;
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for of in &STEPS {
        let (calls, keys, effects) = {
            let tools = stage.tools.state();
            (tools.calls(of.name), tools.keys(of.name), tools.effects(of.name))
        };
        rows.push(
            [of.name, of.effect, &calls.to_string(), &keys.to_string(), &effects.to_string()]
                .map(str::to_owned)
                .to_vec(),
        );
        let repeats_are_harmless = of.effect == "pure";
        if keys != 1
            || calls != expected_calls(stage, of.name)
            || (effects != 1 && !repeats_are_harmless)
        {
            wrong.push(format!("{}: {calls} calls, {keys} keys, {effects} effects", of.name));
        }
    }
    let columns = [
        Column::Text("step"),
        Column::Text("repeating it"),
        Column::Number("calls"),
        Column::Number("keys"),
        Column::Number("effects"),
    ];
    for line in table(&columns, &rows).lines() {
        stage.narrator.say(line)?;
    }
    stage.expect(
        "every step was called as often as its faults ask, under one key, and nothing that matters happened twice",
        wrong.is_empty(),
        wrong.join("; "),
    )
}

/// One call, one for each fault that reaches the tool, and what the story did to the step.
fn expected_calls(stage: &Stage, name: &str) -> usize {
    let injected = stage.faults.injected().iter().filter(|(step, _)| *step == name).count();
    let faults = stage.faults.of_step(name) - injected;
    let of_story = match name {
        "policy" => POLICY_ATTEMPTS as usize,
        "refund" => 1,
        _ => 0,
    };
    1 + faults + of_story
}

async fn replay(stage: &mut Stage) -> Result<(), Failure> {
    stage.narrator.chapter("The log is replayed into a fresh store")?;
    let code = stage.server.stop().await?;
    stage.expect("the server stops in order", code == Some(0), format!("exit code {code:?}"))?;
    let place = stage.server.place();
    let (log, fresh, live) = (place.log(), place.store("replayed"), place.store("store"));
    let (code, _) =
        stage.show(&["replay", "--log", &log, "--to", &fresh, "--compare", &live]).await?;
    stage.expect(
        "the replayed store and the live one are equal",
        code == Some(0),
        format!("exit code {code:?}"),
    )
}
