//! States exactly as of progress, although rows may be ahead of it.
//!
//! Why a look is enough where no version is ahead: progress `p` was read first. Every batch up to
//! `p` was acknowledged before `p` could be read, so each row is seen at its version as of `p` or a
//! later one; and a version names one content. A later one is ahead of `p`, and is not taken.

use super::{cells::Cells, crew, rows::in_run, store::CqlStore};
use crate::{
    Error, Result,
    form::{self, HeadForm, SpecForm, StepForm},
    limits, metrics,
};
use spine_runs::RunState;
use spine_schemas::RunKey;
use std::time::Duration;

/// What a look at a run found.
pub(super) enum Look {
    /// The run as of progress; `None` when it was not there.
    Settled(Option<Box<RunState>>),
    /// A row is ahead of progress.
    Ahead,
}

/// A row of `runs`.
struct Head {
    partition: u32,
    version: u64,
    step_buckets: i32,
    form: HeadForm<'static>,
    spec: Option<SpecForm<'static>>,
}

impl CqlStore {
    pub(super) async fn load(
        &self,
        partition: u32,
        keys: &[RunKey],
    ) -> Result<Vec<Option<RunState>>> {
        let mut states: Vec<Option<RunState>> = vec![None; keys.len()];
        let mut wanted: Vec<usize> = (0..keys.len()).collect();
        let mut pause = Duration::from_millis(limits::CQL_LOOK_PAUSE_MS);
        for looks_left in (0..limits::CQL_LOOKS).rev() {
            if wanted.is_empty() {
                return Ok(states);
            }
            let Some(progress) = self.read_progress(partition).await? else { return Ok(states) };
            let looks = crew::all(wanted.clone().into_iter().map(|at| {
                let (store, key) = (self.clone(), keys[at].clone());
                let offset = progress.offset;
                async move {
                    // Boxed: a run's rows make large futures, and there are many at once.
                    match Box::pin(store.look(partition, &key, offset)).await? {
                        Look::Ahead if looks_left == 0 => {
                            let run = Box::pin(store.refold(partition, &key, offset)).await?;
                            Ok(Look::Settled(run.map(Box::new)))
                        }
                        look @ (Look::Ahead | Look::Settled(_)) => Ok(look),
                    }
                }
            }))
            .await?;
            let mut ahead = Vec::new();
            for (at, look) in wanted.into_iter().zip(looks) {
                match look {
                    Look::Settled(run) => states[at] = run.map(|run| *run),
                    Look::Ahead => ahead.push(at),
                }
            }
            wanted = ahead;
            if !wanted.is_empty() {
                // A live owner's progress follows its rows within moments.
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
        }
        Ok(states)
    }

    async fn refold(&self, partition: u32, key: &RunKey, upto: u64) -> Result<Option<RunState>> {
        tracing::warn!(run = %key, partition, upto, "its rows are ahead of progress: folded again");
        metrics::count_refold();
        self.fold_again(partition, key, upto).await
    }

    /// One look at a run's rows, as of a progress that was read before.
    pub(super) async fn look(&self, partition: u32, key: &RunKey, upto: u64) -> Result<Look> {
        // Steps are asked for when there is a run: most that are looked for are new.
        let Some(head) = self.head(key).await? else { return Ok(Look::Settled(None)) };
        if head.partition != partition {
            return Ok(Look::Settled(None));
        }
        if head.version > upto {
            return Ok(Look::Ahead);
        }
        let mut all = Vec::new();
        let more = crew::all((0..head.step_buckets).map(|bucket| {
            let (store, key) = (self.clone(), key.clone());
            async move { store.steps(&key, bucket).await }
        }));
        for steps in more.await? {
            let Some(steps) = steps.filter_ahead(upto) else { return Ok(Look::Ahead) };
            all.extend(steps);
        }
        let Some(spec) = head.spec else {
            return Err(Error::Damaged(format!("run {key}: how it was created is not stored")));
        };
        let run = form::rebuild(key.clone(), &spec, head.form, all)?;
        Ok(Look::Settled(Some(Box::new(run))))
    }

    async fn head(&self, key: &RunKey) -> Result<Option<Head>> {
        let values = in_run(key, 0).cells;
        let head = self.link().row("read a run", &self.statements().run, &values, read_head);
        Ok(head.await?.flatten())
    }

    async fn steps(&self, key: &RunKey, bucket: i32) -> Result<Steps> {
        let values = in_run(key, bucket).cells;
        let rows = self.link().rows("read steps", &self.statements().steps, &values, read_step);
        Ok(Steps(rows.await?))
    }
}

struct Steps(Vec<StepForm<'static>>);

impl Steps {
    /// The steps, if none is ahead.
    fn filter_ahead(self, upto: u64) -> Option<Vec<StepForm<'static>>> {
        let upto = form::offset_column(upto);
        self.0.iter().all(|step| step.last_offset <= upto).then_some(self.0)
    }
}

/// The row of a run; `None` where only the creation of one has been written.
fn read_head(cells: &mut Cells) -> Result<Option<Head>> {
    for _key in 0..3 {
        cells.next();
    }
    let Some(partition) = cells.optional_int()? else { return Ok(None) };
    let partition = form::read_count("partition", i64::from(partition))?;
    let version = cells.offset()?;
    let step_buckets = cells.int()?;
    let form = read_head_form(cells)?;
    let spec = read_creation(cells, &form)?;
    Ok(Some(Head { partition, version, step_buckets, form, spec }))
}

fn read_head_form(cells: &mut Cells) -> Result<HeadForm<'static>> {
    Ok(HeadForm {
        workflow: cells.text()?,
        version: cells.text()?,
        driver: cells.text()?,
        status: cells.text()?,
        waiting_for: cells.text()?,
        steps: [cells.big()?, cells.big()?, cells.big()?, cells.big()?],
        attempts: cells.big()?,
        cost_micros: cells.big()?,
        tokens_in: cells.big()?,
        tokens_out: cells.big()?,
        decisions: cells.big()?,
        started_at: cells.big()?,
        ended_at: cells.big()?,
        last_offset: cells.big()?,
        last_at: cells.big()?,
        stalled_since: cells.big()?,
        failed_step: cells.text()?,
        error_class: cells.text()?,
        error_code: cells.text()?,
        error_message: cells.text()?,
        output_digest: cells.blob()?,
        state: cells.text()?,
        seen: cells.blob()?,
        output: cells.blob()?,
    })
}

/// The part that never changes; `None` where it has not been written.
fn read_creation(cells: &mut Cells, head: &HeadForm<'_>) -> Result<Option<SpecForm<'static>>> {
    let Some(parent) = cells.optional_text()? else { return Ok(None) };
    Ok(Some(SpecForm {
        workflow: head.workflow.clone().into_owned().into(),
        version: head.version.clone().into_owned().into(),
        driver: head.driver.clone().into_owned().into(),
        parent: parent.into(),
        tags: cells.text()?,
        created_offset: cells.big()?,
        created_at: cells.big()?,
        created_digest: cells.blob()?,
        input_digest: cells.blob()?,
        state: cells.text()?,
        input: cells.blob()?,
        plan: cells.blob()?,
    }))
}

fn read_step(cells: &mut Cells) -> Result<StepForm<'static>> {
    for _key in 0..3 {
        cells.next();
    }
    Ok(StepForm {
        step: cells.text()?,
        status: cells.text()?,
        attempt: cells.big()?,
        charged: cells.big()?,
        generation: cells.big()?,
        tool: cells.text()?,
        effect: cells.text()?,
        scheduled_offset: cells.big()?,
        scheduled_at: cells.big()?,
        due_at: cells.big()?,
        ended_at: cells.big()?,
        last_offset: cells.big()?,
        error_class: cells.text()?,
        error_code: cells.text()?,
        error_message: cells.text()?,
        input_digest: cells.blob()?,
        output_digest: cells.blob()?,
        state: cells.text()?,
        input: cells.blob()?,
        output: cells.blob()?,
    })
}
