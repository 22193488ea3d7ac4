//! What a brain drops: steps of the list that have not begun. They keep their places, so that the log can say of
//! each that it was left out, and nothing waits for them.

use super::{
    PlanStep, Role,
    brain::{AnswerJson, NOTHING_SAID},
    path,
    read::Flat,
};
use crate::{Error, Result, StepKey, canonical};
use std::collections::{BTreeMap, BTreeSet};

type Names = BTreeMap<StepKey, usize>;

/// For each step of a plan the turn at which it was dropped, if it was.
pub(super) struct Dropped(Vec<Option<u32>>);

impl Dropped {
    /// What the answers drop, and what is left where the last one ends the run.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a step that an answer cannot drop, or for one that says nothing where nothing is left.
    pub(super) fn of(
        flat: &[Flat<'_>],
        listed: usize,
        names: &Names,
        answers: &[AnswerJson<'_>],
    ) -> Result<Self> {
        let (list, mut dropped) = (&flat[..listed], Self(vec![None; flat.len()]));
        let asks = list.iter().enumerate().filter(|(_, step)| step.is_ask());
        for ((turn, (ask, _)), answer) in (1..).zip(asks).zip(answers) {
            dropped.take(list, (turn, ask), answer, names)?;
        }
        // What stands in for a step goes with it, and what undoes it.
        for (at, step) in flat.iter().enumerate().skip(listed) {
            if let Role::Fallback { of, .. } | Role::Undo { of } = step.role {
                dropped.0[at] = dropped.0[of];
            }
        }
        Ok(dropped)
    }

    fn take(
        &mut self,
        list: &[Flat<'_>],
        (turn, ask): (u32, usize),
        answer: &AnswerJson<'_>,
        names: &Names,
    ) -> Result<()> {
        for (place, name) in answer.drop.iter().enumerate() {
            let at = self
                .may_go(list, (turn, ask), name, names)
                .map_err(|message| Error::invalid(format!("drop[{place}]"), message))?;
            self.0[at] = Some(turn);
        }
        let is_left = |at: &usize| {
            let step = &list[*at];
            step.role == Role::Listed && step.given_at < turn && !self.has(*at)
        };
        let mut left = (ask + 1..list.len()).filter(is_left);
        if answer.ends() {
            for at in left.collect::<Vec<_>>() {
                self.0[at] = Some(turn);
            }
        } else if answer.changes_nothing() && left.next().is_none() {
            return Err(Error::invalid("steps", NOTHING_SAID));
        }
        Ok(())
    }

    /// The step of a name, if the answer of a turn may drop it: it is of the list, and comes behind that turn.
    fn may_go(
        &self,
        list: &[Flat<'_>],
        (turn, ask): (u32, usize),
        name: &str,
        names: &Names,
    ) -> std::result::Result<usize, String> {
        let key: StepKey = name.parse().map_err(|error: Error| error.to_string())?;
        let Some(&at) = names.get(&key) else { return Err(format!("there is no step {key}")) };
        match list.get(at).filter(|step| step.role == Role::Listed) {
            None => Err(format!("{key} is no step of the list")),
            Some(_) if at < ask => {
                Err(format!("{key} has begun or ended: only what comes later can be dropped"))
            }
            Some(step) if step.given_at >= turn => Err(format!("{key} is of this very answer")),
            Some(_) if self.has(at) => Err(format!("{key} is dropped already")),
            Some(_) => Ok(at),
        }
    }

    /// Whether a step is dropped, or goes with one that is.
    pub(super) fn has(&self, at: usize) -> bool {
        self.0[at].is_some()
    }

    /// What came after a dropped step comes after what that came after.
    pub(super) fn passed_on(
        &self,
        role: Role,
        after: Vec<usize>,
        steps: &[PlanStep],
    ) -> Vec<usize> {
        if role != Role::Listed || !after.iter().any(|before| self.has(*before)) {
            return after;
        }
        let mut all = BTreeSet::new();
        for before in after {
            if self.has(before) {
                all.extend(&steps[before].after);
            } else {
                all.insert(before);
            }
        }
        all.into_iter().collect()
    }

    /// What stays cannot refer to the output of what goes.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `drop`, or the input of a step that the newest answer gives.
    pub(super) fn check_references(
        &self,
        steps: &[PlanStep],
        names: &Names,
        newest: u32,
    ) -> Result<()> {
        if self.0.iter().all(Option::is_none) {
            return Ok(());
        }
        for (at, step) in steps.iter().enumerate().filter(|(at, _)| !self.has(*at)) {
            for reference in canonical::references(&step.input)? {
                let Some(source) = &reference.step else { continue };
                if !names.get(source).is_some_and(|of| self.has(*of)) {
                    continue;
                }
                let mut field = "drop".to_owned();
                if step.given_at == newest {
                    field = format!("{}.input", path(at, |at| steps[at].origin()));
                }
                let message =
                    format!("{} refers to the output of {source}, which is dropped", step.key);
                return Err(Error::invalid(field, message));
            }
        }
        Ok(())
    }

    /// The steps of the list that are dropped, and at which turn.
    pub(super) fn by_key(&self, list: &[PlanStep]) -> BTreeMap<StepKey, u32> {
        let turns = list.iter().zip(&self.0);
        turns.filter_map(|(step, turn)| Some((step.key.clone(), (*turn)?))).collect()
    }
}
