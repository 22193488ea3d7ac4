//! The table of problems: unique, complete, and stable.

use crate::{Code, Problem, problem};
use spine_runs::Reason;
use std::collections::BTreeSet;

#[test]
fn numbers_and_names_are_unique_and_in_order() {
    let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.row().number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.row().name).collect();
    assert_eq!(names.len(), Code::ALL.len());
    for code in Code::ALL {
        let row = code.row();
        assert_eq!(*code as u16, row.number);
        assert!((400..600).contains(&row.status), "{row:?}");
        assert!(!row.title.ends_with('.') && row.remedy.ends_with('.'), "{row:?}");
        let retry = matches!(row.status, 429 | 503);
        assert_eq!(row.retry_after_s.is_some(), retry, "{row:?}");
    }
}

#[test]
fn every_reason_has_a_code_of_its_own() {
    let reasons = [
        (Reason::Duplicate, 1219),
        (Reason::OlderClaim, 1223),
        (Reason::LostRace, 1220),
        (Reason::Late, 1221),
        (Reason::BrokenBatch, 1218),
        (Reason::RunAbsent, 1201),
        (Reason::RunExists, 1204),
        (Reason::RunEnded, 1205),
        (Reason::WrongDriver, 1206),
        (Reason::StepAbsent, 1202),
        (Reason::StepConflict, 1207),
        (Reason::StepState, 1208),
        (Reason::WrongAttempt, 1209),
        (Reason::WrongLease, 1210),
        (Reason::NoClaim, 1222),
        (Reason::ClaimLost, 1224),
        (Reason::LetterClosed, 1211),
        (Reason::NeedsForce, 1212),
        (Reason::EditUnresolved, 1213),
        (Reason::OpReused, 1214),
        (Reason::SessionGone, 1215),
        (Reason::LimitReached, 1216),
        (Reason::GivenUp, 1217),
        (Reason::ApprovedAlready, 1235),
        (Reason::BrainAnswer, 1240),
    ];
    for (reason, number) in reasons {
        let row = Code::from(reason).row();
        assert_eq!(row.number, number, "{reason:?}");
        assert!(row.status == 409 || row.status == 404, "{row:?}");
    }
}

#[test]
fn the_form_of_a_problem() {
    let problem = Problem::new(Code::NeedsForce, "step pay#1").with("letter", "abc");
    let golden = serde_json::json!({
        "type": "urn:spine:problem:needs_force",
        "title": "An effect may happen twice",
        "status": 409,
        "code": 1212,
        "name": "needs_force",
        "detail": "step pay#1",
        "remedy": "Find out what happened, then resolve it, or send force with a reason.",
        "letter": "abc",
    });
    assert_eq!(problem.to_json(), golden);
}

#[test]
fn the_reference_has_a_row_a_code() {
    let text = problem::reference_text();
    let rows = text.lines().filter(|line| line.starts_with("| 1")).count();
    assert_eq!(rows, Code::ALL.len());
    assert!(text.contains("| 1301 | `log_busy` | 429 |"), "{text}");
}

#[test]
fn the_page_of_codes_is_the_table() {
    let page = include_str!("../../../docs/errors.md");
    let table = crate::problem::reference_text();
    assert_eq!(page, table, "docs/errors.md must be written anew from the table");
}
