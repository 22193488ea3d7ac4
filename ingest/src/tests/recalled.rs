//! What is answered where the owner has forgotten its verdict, and the store alone can say.

use super::world::World;
use crate::{Code, Problem, ask};
use serde_json::json;
use spine_runs::{Answer, Verdict};
use spine_schemas::{Body, Digest, RunKey, StepEvent, StepKey, TaskVerdict};

/// A run whose step `pay` needs two people, and the task that asks them.
async fn asked(world: &World) -> (RunKey, Digest) {
    let run = world.journal_run("r").await;
    let begin = json!({"op": "begin", "op_id": 1, "step": {"name": "pay"}, "tool": "pay",
        "effect": "at_most_once", "input": {}, "approval": {"quorum": 2}});
    let begun = world.op(&run, begin).await;
    assert_eq!(begun["status"], "wait", "{begun}");
    let state = world.owner.state(&run).await.expect("a run");
    let task = state.steps[&StepKey::named("pay")].task.as_ref().expect("a task").task_id;
    (run, task)
}

/// What somebody who approves is answered.
async fn approves(
    world: &World,
    run: &RunKey,
    task_id: Digest,
    by: &str,
) -> Result<Verdict, Problem> {
    let (verdict, output, reason) = (TaskVerdict::Approve, None, "seen".into());
    let decided = StepEvent::TaskDecided { task_id, verdict, output, reason };
    let body = Body::Step(run.run_id.clone(), StepKey::named("pay"), decided);
    let event = world.app.event(&run.tenant, Some(by), body);
    ask::ask_one(&world.app, run, event).await.map(|asked| asked.verdict)
}

#[tokio::test]
async fn p9_an_approval_that_does_not_suffice_is_never_told_as_a_decision() {
    let world = World::new();
    let (run, task) = asked(&world).await;
    world.owner.forget();
    let first = approves(&world, &run, task, "ada").await.expect("it is granted");
    assert_eq!(first, Verdict::Applied(Answer::Counted { approvals: 1, needed: 2 }));
    let again = approves(&world, &run, task, "ada").await.expect_err("she counts once");
    assert_eq!(again.code(), Code::ApprovedAlready);
    let last = approves(&world, &run, task, "bob").await.expect("it is granted");
    assert_eq!(last, Verdict::Applied(Answer::Ok));
    let late = approves(&world, &run, task, "eve").await.expect_err("it is decided");
    assert_eq!(late.code(), Code::TaskClosed);
}
