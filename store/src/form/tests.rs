//! Whatever a state holds, its rows give it back; and equal states have equal rows.

use super::{DecisionForm, HeadForm, SpecForm, StepForm, arbitrary, rebuild};
use crate::{
    Error, RunStore,
    contract::samples::{self, Tape},
    sqlite::{Options, SqliteStore},
};
use proptest::prelude::*;
use spine_runs::RunState;

fn round_trip(run: &RunState) -> RunState {
    let steps = run.steps.values().map(|step| StepForm::of(step).unwrap()).collect();
    let spec = SpecForm::of(run).unwrap();
    rebuild(run.key.clone(), &spec, HeadForm::of(run).unwrap(), steps).unwrap()
}

fn through_sqlite(run: &RunState) -> RunState {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&Options::inline_memory("s1")).unwrap();
        let mut batch = Tape::new(0).next(1);
        batch.runs.push(samples::created(run));
        store.apply(batch).await.unwrap();
        let key = std::slice::from_ref(&run.key);
        store.load_runs(0, key).await.unwrap().pop().flatten().unwrap()
    })
}

proptest! {
    #[test]
    fn a_run_reads_back_equal(run in arbitrary::run()) {
        let again = round_trip(&run);
        prop_assert_eq!(&again, &run);
        prop_assert_eq!(SpecForm::of(&again).unwrap(), SpecForm::of(&run).unwrap());
        prop_assert_eq!(HeadForm::of(&again).unwrap(), HeadForm::of(&run).unwrap());
        for (key, step) in &run.steps {
            let again = StepForm::of(&again.steps[key]).unwrap();
            prop_assert_eq!(again, StepForm::of(step).unwrap());
        }
    }

    #[test]
    fn a_decision_reads_back_equal(decision in arbitrary::decision()) {
        let form = DecisionForm::of(&decision).unwrap();
        prop_assert_eq!(form.into_decision().unwrap(), decision);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_run_reads_back_equal_from_sqlite(run in arbitrary::run()) {
        prop_assert_eq!(through_sqlite(&run), run);
    }
}

#[test]
fn full_samples_read_back_equal() {
    let run = samples::full_run("default", "r", 5);
    assert_eq!(round_trip(&run), run);
}

#[test]
fn a_damaged_row_names_run_step_and_column() {
    let run = samples::full_run("default", "r", 5);
    let spec = SpecForm::of(&run).unwrap();
    let mut step = StepForm::of(run.steps.values().next().unwrap()).unwrap();
    step.state = "{".into();
    let head = HeadForm::of(&run).unwrap();
    let Err(Error::Damaged(message)) = rebuild(run.key.clone(), &spec, head, vec![step]) else {
        panic!("it is damaged");
    };
    assert!(message.starts_with("run default/r: step a#1: state: "), "{message}");
}

#[test]
fn a_plain_step_has_a_short_and_readable_state() {
    let step = samples::step("lookup", 0);
    let form = StepForm::of(&step).unwrap();
    assert_eq!(
        form.state,
        r#"{"retry":{"max_attempts":4,"initial_ms":200,"multiplier":2.0,"max_ms":60000,"jitter":0.2,"max_elapsed_ms":0},"timeout_ms":30000,"schedule_to_start_ms":0,"deadline_ms":86400000,"key_ttl_ms":82800000,"on_exhausted":"dead_letter","budget_from":1700000000000000}"#
    );
}
