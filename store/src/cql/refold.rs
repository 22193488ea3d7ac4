//! A run as of progress from its kept events, where rows are ahead of it: after a crash between
//! rows and progress, or beside a late writer. Rare, so it folds from the first event on.

use super::{
    cells::Cells,
    link::{ENOUGH, Flow, MORE},
    store::CqlStore,
};
use crate::{Error, Result, VerdictKind, form::parse_name};
use spine_runs::{Place, Reason, RunState, Verdict, refold};
use spine_schemas::{RunKey, codec, time::Micros};
use std::sync::Arc;

impl CqlStore {
    /// Folds the events of a run up to an offset.
    pub(super) async fn fold_again(
        &self,
        partition: u32,
        key: &RunKey,
        upto: u64,
    ) -> Result<Option<RunState>> {
        let mut run: Option<Arc<RunState>> = None;
        let each = |offset, mut cells: Cells| {
            if offset > upto {
                return Ok(ENOUGH);
            }
            self.fold_one(&mut run, partition, key, &Kept::read(offset, &mut cells)?)
        };
        self.each_event(key, 0, &self.statements().events, each).await?;
        Ok(run.map(Arc::unwrap_or_clone))
    }

    fn fold_one(
        &self,
        run: &mut Option<Arc<RunState>>,
        partition: u32,
        key: &RunKey,
        kept: &Kept,
    ) -> Result<Flow> {
        let damaged = |what: String| {
            Error::Damaged(format!("run {key}: event at offset {}: {what}", kept.offset))
        };
        let event = codec::decode(&kept.value, self.book())
            .map_err(|error| damaged(format!("its bytes: {error}")))?;
        let place = Place { partition, offset: kept.offset, at: kept.at };
        let verdict = kind_of(&refold(run, &event, place, kept.reason));
        if verdict != kept.verdict {
            let (now, then) = (verdict.as_str(), kept.verdict.as_str());
            return Err(damaged(format!("folds to {now}, was recorded as {then}")));
        }
        Ok(MORE)
    }
}

/// An event as it was kept.
struct Kept {
    offset: u64,
    at: Micros,
    verdict: VerdictKind,
    reason: Option<Reason>,
    value: Vec<u8>,
}

impl Kept {
    fn read(offset: u64, cells: &mut Cells) -> Result<Self> {
        let at = Micros(cells.big()?);
        for _shown in ["kind", "step", "attempt", "actor"] {
            cells.next();
        }
        let verdict = parse_name("verdict", &cells.text()?)?;
        let reason = cells.text()?;
        let reason = (!reason.is_empty()).then(|| parse_name("reason", &reason)).transpose()?;
        Ok(Self { offset, at, verdict, reason, value: cells.blob()?.into_owned() })
    }
}

fn kind_of(verdict: &Verdict) -> VerdictKind {
    match verdict {
        Verdict::Applied(_) => VerdictKind::Applied,
        Verdict::Stale(..) => VerdictKind::Stale,
        Verdict::Refused(..) => VerdictKind::Refused,
        Verdict::Illegal(_) => VerdictKind::Illegal,
    }
}
