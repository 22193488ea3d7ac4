//! Results of pure calls that the owners of one process share. A restart begins with none.

use crate::{limits, metrics};
use spine_runs::{Memo, RunState, StepState};
use spine_schemas::{Event, StepEvent, time::Micros};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// What is known of calls. Clones share it.
#[derive(Clone, Debug)]
pub struct Memos(Arc<RwLock<Memo>>);

impl Default for Memos {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Memo::new(limits::MEMO_BYTES))))
    }
}

impl Memos {
    /// What is known while an owner decides for a run.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Memo> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what an applied event about a step says; `is_mine` where this owner decided it.
    pub(crate) fn take(
        &self,
        event: &Event,
        (run, step): (&RunState, &StepState),
        body: &StepEvent,
        (at, is_mine): (Micros, bool),
    ) {
        if step.spec.memo_ms.is_none() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match body {
            StepEvent::Completed { .. } => known.learn(run, step, at),
            StepEvent::Reused { .. } if event.claim.is_some() => {
                known.used(run, step);
                if is_mine {
                    metrics::observe_memo("hit");
                }
            }
            StepEvent::Started(_) if is_mine => metrics::observe_memo("miss"),
            _ => return,
        }
        metrics::observe_memo_bytes(known.bytes());
    }
}
