//! `GET /v1/failing`: what fails or is retried now, why, and since when: the steps in trouble of all open runs, grouped
//! by where they stand, by tool and by error.
//!
//! Open runs are looked at, however many have ended. Where they are very many, an answer stops after a while and says
//! where to go on.

use crate::{App, Code, Problem, Verdicts, limits, query, views::Time};
use axum::{Json, extract::State, http::Uri};
use serde::{Deserialize, Serialize};
use spine_log::EventLog;
use spine_runs::{Cause, RunState, Trouble, troubles};
use spine_schemas::{ErrorClass, StepKey, check_tenant, time::Micros};
use spine_store::RunStore;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailingQuery {
    tenant: Option<String>,
    workflow: Option<String>,
    cursor: Option<String>,
    /// Open runs that the answer looks at at most.
    limit: Option<usize>,
}

/// What was found.
#[derive(Serialize)]
pub(crate) struct FailingView {
    groups: Vec<Group>,
    /// Open runs that were looked at.
    looked_at: usize,
    next: Option<String>,
}

/// Where steps stand, the tool that they call, class and code of the error.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Alike {
    status: &'static str,
    tool: String,
    class: String,
    code: String,
}

#[derive(Serialize)]
struct Group {
    #[serde(flatten)]
    alike: Alike,
    /// What the newest failure said.
    message: String,
    steps: usize,
    runs: usize,
    workflows: BTreeSet<String>,
    since: Time,
    last: Time,
    /// When the first of them is tried again by itself.
    next_try: Option<Time>,
    examples: Vec<Example>,
}

#[derive(Serialize)]
struct Example {
    tenant: String,
    run_id: String,
    step: StepKey,
    attempt: u32,
}

/// Lists what is in trouble.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    uri: Uri,
) -> Result<Json<FailingView>, Problem> {
    let query: FailingQuery = query::read(&uri)?;
    if let Some(tenant) = &query.tenant {
        check_tenant(tenant)?;
    }
    let most = query::up_to(query.limit.unwrap_or(limits::FAILING_RUNS), limits::FAILING_RUNS)?;
    // Each loads many whole runs: they take turns, so that they leave the store to others.
    let _turn = app.failing.acquire().await.ok();
    let partitions = app.partitions().await?;
    let mut place = query.cursor.as_deref().map_or(Ok(Place::default()), Place::read)?;
    let (began, mut groups, mut looked_at) = (Instant::now(), BTreeMap::new(), 0);
    while place.partition < partitions {
        let rows = limits::FAILING_LOADED.min(most - looked_at);
        let page = app.store().open_runs(place.partition, place.cursor.as_deref(), rows).await?;
        let wanted = |tenant: &str| query.tenant.as_deref().is_none_or(|only| only == tenant);
        let keys: Vec<_> = page.rows.into_iter().filter(|key| wanted(&key.tenant)).collect();
        looked_at += keys.len();
        for run in app.store().load_runs(place.partition, &keys).await?.into_iter().flatten() {
            if query.workflow.as_ref().is_none_or(|only| *only == run.created.workflow) {
                gather(&mut groups, &run);
            }
        }
        place = place.after(page.next);
        if looked_at >= most || began.elapsed() >= limits::FAILING_TIME {
            break;
        }
    }
    let next = (place.partition < partitions).then(|| place.text());
    Ok(Json(FailingView { groups: groups.into_values().collect(), looked_at, next }))
}

fn gather(groups: &mut BTreeMap<Alike, Group>, run: &RunState) {
    let mut seen = BTreeSet::new();
    for trouble in troubles(run) {
        let alike = alike(&trouble);
        let group = groups.entry(alike.clone()).or_insert_with(|| Group::new(alike.clone()));
        group.add(run, &trouble);
        if seen.insert(alike) {
            group.runs += 1;
        }
    }
}

fn alike(trouble: &Trouble<'_>) -> Alike {
    let (class, code) = match trouble.cause {
        Cause::Error(error) => (error.class.to_string(), error.code.clone()),
        Cause::Lost(_) => (ErrorClass::Lost.to_string(), "worker_lost".into()),
    };
    let (status, tool) = (trouble.step.status.as_str(), trouble.step.spec.tool.to_string());
    Alike { status, tool, class, code }
}

impl Group {
    fn new(alike: Alike) -> Self {
        Self {
            alike,
            message: String::new(),
            steps: 0,
            runs: 0,
            workflows: BTreeSet::new(),
            since: Time(Micros(i64::MAX)),
            last: Time(Micros(i64::MIN)),
            next_try: None,
            examples: Vec::new(),
        }
    }

    fn add(&mut self, run: &RunState, trouble: &Trouble<'_>) {
        let step = trouble.step;
        self.steps += 1;
        self.since = Time(self.since.0.min(trouble.since));
        if trouble.last > self.last.0 {
            self.last = Time(trouble.last);
            self.message = match trouble.cause {
                Cause::Error(error) => error.message.clone(),
                Cause::Lost(why) => why.to_owned(),
            };
        }
        // While it is held back, or what was done is undone, its time says nothing.
        let is_still = run.paused.is_some() || step.paused.is_some() || run.is_ending();
        let due = step.due_at.filter(|_| !is_still);
        self.next_try =
            self.next_try.as_ref().map(|at| at.0).into_iter().chain(due).min().map(Time);
        if self.workflows.len() < limits::FAILING_WORKFLOWS {
            self.workflows.insert(run.created.workflow.clone());
        }
        if self.examples.len() < limits::FAILING_EXAMPLES {
            self.examples.push(Example {
                tenant: run.key.tenant.to_string(),
                run_id: run.key.run_id.to_string(),
                step: step.key.clone(),
                attempt: step.attempt,
            });
        }
    }
}

/// Where the look at open runs goes on: `partition:cursor of the store`.
#[derive(Default)]
struct Place {
    partition: u32,
    cursor: Option<String>,
}

impl Place {
    fn read(text: &str) -> Result<Self, Problem> {
        let read = || {
            let (partition, cursor) = text.split_once(':')?;
            let cursor = (!cursor.is_empty()).then(|| cursor.to_owned());
            Some(Self { partition: partition.parse().ok()?, cursor })
        };
        read().ok_or_else(|| Problem::new(Code::BadQuery, "cursor: not one that was given"))
    }

    fn text(&self) -> String {
        format!("{}:{}", self.partition, self.cursor.as_deref().unwrap_or_default())
    }

    fn after(self, next: Option<String>) -> Self {
        match next {
            Some(cursor) => Self { partition: self.partition, cursor: Some(cursor) },
            None => Self { partition: self.partition + 1, cursor: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn a_place_goes_through_all_partitions_and_comes_back_from_its_text() {
        let mut place = Place::default();
        assert_eq!(place.text(), "0:");
        for (next, text) in [(Some("a:b"), "0:a:b"), (Some("c"), "0:c"), (None, "1:"), (None, "2:")]
        {
            place = place.after(next.map(str::to_owned));
            assert_eq!(place.text(), text);
            place = Place::read(text).unwrap();
            assert_eq!(place.text(), text);
        }
        for wrong in ["", "x", "x:", "-1:"] {
            assert!(Place::read(wrong).is_err(), "{wrong}");
        }
    }
}
