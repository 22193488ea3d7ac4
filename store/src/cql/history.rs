//! The history of a run: events, decisions, and refusals by position.

use super::{
    blocks,
    cells::{Cells, Values, partition},
    link::{ENOUGH, Flow, MORE},
    rows::in_run,
    stamp,
    store::CqlStore,
};
use crate::{
    DecisionRow, EventRow, RefusalRow, Result, VerdictKind,
    form::{self, DecisionForm, offset_column, parse_name, read_json},
    limits,
};
use bytes::Bytes;
use scylla::statement::prepared::PreparedStatement;
use spine_runs::Reason;
use spine_schemas::{RunKey, StepKey, time::Micros};

impl CqlStore {
    pub(super) async fn read_events(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<EventRow>> {
        let limit = limit.clamp(1, limits::SCAN_ROWS);
        let mut rows = Vec::new();
        let each = |offset, mut cells: Cells| {
            rows.push(read_event(key, offset, &mut cells)?);
            Ok(if rows.len() == limit { ENOUGH } else { MORE })
        };
        self.each_event(key, from, &self.statements().history, each).await?;
        Ok(rows)
    }

    /// The bytes of events by offset, at least of one if there is one.
    pub(super) async fn read_event_values(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>> {
        let mut values: Vec<(u64, Bytes)> = Vec::new();
        let mut read = 0;
        let limit = limit.clamp(1, limits::SCAN_ROWS);
        let each = |offset, mut cells: Cells| {
            let value = Bytes::from(cells.blob()?.into_owned());
            read += value.len();
            values.push((offset, value));
            Ok(if values.len() == limit || read >= bytes { ENOUGH } else { MORE })
        };
        self.each_event(key, from, &self.statements().event_values, each).await?;
        Ok(values)
    }

    pub(super) async fn read_decisions(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        let limit = limit.clamp(1, limits::SCAN_ROWS);
        let mut rows = Vec::new();
        let each = |mut cells: Cells| {
            rows.push(read_decision(key, &mut cells)?);
            Ok(if rows.len() == limit { ENOUGH } else { MORE })
        };
        self.each_row(key, from, &self.statements().decisions, each).await?;
        Ok(rows)
    }

    /// Gives the events of a run, each once and in offset order, from an offset on, until `each` has enough:
    /// the offset, and its values of the other lists that the statement asks for.
    pub(super) async fn each_event(
        &self,
        key: &RunKey,
        from: u64,
        statement: &PreparedStatement,
        mut each: impl FnMut(u64, Cells) -> Result<Flow> + Send,
    ) -> Result<()> {
        let mut next = from;
        let each_block = |block: Cells| {
            for mut event in blocks::events_of(block)? {
                let offset = event.offset()?;
                if offset >= next {
                    next = offset + 1;
                    if each(offset, event)?.is_break() {
                        return Ok(ENOUGH);
                    }
                }
            }
            Ok(MORE)
        };
        self.each_row(key, from, statement, each_block).await
    }

    /// Gives rows of a run's history in their order, from an offset on, until `each` has enough.
    async fn each_row(
        &self,
        key: &RunKey,
        from: u64,
        statement: &PreparedStatement,
        mut each: impl FnMut(Cells) -> Result<Flow> + Send,
    ) -> Result<()> {
        if !stamp::is_offset(from) {
            return Ok(());
        }
        for bucket in self.event_buckets(key, stamp::event_bucket(from)).await? {
            let values = in_run(key, bucket).big(offset_column(from)).cells;
            let mut flow = MORE;
            let seen = |cells| {
                flow = each(cells)?;
                Ok(flow)
            };
            self.link().read("read history", statement, &values, seen).await?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The buckets in which a run has events, from one on, in their order. A decision is an event,
    /// so that these are the buckets of decisions too.
    async fn event_buckets(&self, key: &RunKey, from: i32) -> Result<Vec<i32>> {
        let values = in_run(key, 0).int(from).cells;
        let statement = &self.statements().event_buckets;
        self.link().rows("read history", statement, &values, Cells::int).await
    }

    pub(super) async fn read_refusal(
        &self,
        number: u32,
        offset: u64,
    ) -> Result<Option<RefusalRow>> {
        if !stamp::is_offset(offset) {
            return Ok(None);
        }
        let values = Values::default()
            .int(partition(number))
            .int(stamp::event_bucket(offset))
            .big(offset_column(offset))
            .cells;
        let read = |cells: &mut Cells| {
            for _key in 0..3 {
                cells.next();
            }
            let key = RunKey::new(&cells.text()?, &cells.text()?);
            let reason = parse_name("reason", &cells.text()?)?;
            let answer = cells.text()?;
            let answer = (!answer.is_empty()).then(|| read_json("answer", &answer));
            Ok(RefusalRow {
                partition: number,
                offset,
                key: (!key.run_id.is_empty()).then_some(key),
                reason,
                answer: answer.transpose()?,
                at: Micros(cells.big()?),
            })
        };
        self.link().row("read a refusal", &self.statements().refusal, &values, read).await
    }
}

fn read_event(key: &RunKey, offset: u64, cells: &mut Cells) -> Result<EventRow> {
    let at = Micros(cells.big()?);
    let kind = cells.string()?;
    let step = read_step_key(&cells.text()?)?;
    let attempt = cells.big()?;
    let attempt = (attempt >= 0).then(|| form::read_count("attempt", attempt)).transpose()?;
    let actor = cells.string()?;
    let verdict = parse_name::<VerdictKind>("verdict", &cells.text()?)?;
    let reason = cells.text()?;
    let reason = (!reason.is_empty()).then(|| parse_name::<Reason>("reason", &reason));
    Ok(EventRow {
        key: key.clone(),
        partition: cells.partition()?,
        offset,
        at,
        kind,
        step,
        attempt,
        actor,
        verdict,
        reason: reason.transpose()?,
    })
}

fn read_decision(key: &RunKey, cells: &mut Cells) -> Result<DecisionRow> {
    for _key in 0..3 {
        cells.next();
    }
    Ok(DecisionRow {
        key: key.clone(),
        offset: cells.offset()?,
        partition: cells.partition()?,
        at: Micros(cells.big()?),
        actor: cells.string()?,
        decision: read_decision_form(cells)?.into_decision()?,
    })
}

fn read_decision_form(cells: &mut Cells) -> Result<DecisionForm<'static>> {
    Ok(DecisionForm {
        step: cells.text()?,
        decision: cells.text()?,
        request: cells.text()?,
        agent: cells.text()?,
        reasoning: cells.text()?,
        action: cells.text()?,
        error: cells.text()?,
        confidence: cells.double()?,
        params_digest: cells.blob()?,
        result_digest: cells.blob()?,
        state: cells.text()?,
        params: cells.blob()?,
        result: cells.blob()?,
    })
}

/// The optional step in a column.
pub(super) fn read_step_key(text: &str) -> Result<Option<StepKey>> {
    let step = (!text.is_empty()).then(|| text.parse());
    step.transpose().map_err(|error| form::damaged("step", error))
}
