//! That the result of an equal call may be taken, as plans write it.

use super::{Flat, Role};
use crate::{
    Effect, Error, Result, limits,
    spec::{RUN_TOOL, act_of},
};
use serde::Deserialize;

/// `{"max_age_ms":…}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memo {
    pub(super) max_age_ms: u64,
}

impl Flat<'_> {
    /// Only a call without effects can be left out, and only where nobody counts on its being made.
    pub(super) fn check_memo(&self, field: &dyn Fn(&str) -> String) -> Result<()> {
        let step = self.written;
        let Some(memo) = step.memo else { return Ok(()) };
        let wrong = |message: &str| Err(Error::invalid(field("memo"), message));
        if step.effect != Effect::Pure {
            return wrong("needs \"effect\": \"pure\": other calls must be made");
        }
        if !act_of(&step.tool).acts() {
            return wrong("is for calls; this step only waits");
        }
        if step.tool == RUN_TOOL {
            return wrong("is not for runs: two with the same input need not be equal");
        }
        if step.approval.is_some() || step.compensate.is_some() {
            return wrong("goes neither with approval nor with compensate");
        }
        if matches!(self.role, Role::Undo { .. }) {
            return wrong("is not possible for what undoes another step");
        }
        if memo.max_age_ms == 0 || memo.max_age_ms > limits::DEADLINE_MS {
            return Err(Error::invalid(field("memo.max_age_ms"), "must be 1 ms to a year"));
        }
        Ok(())
    }
}
