//! The server's refusals (`application/problem+json`) in words for people.

use super::Answer;
use crate::exit::{Exit, Failure};
use serde::Deserialize;
use std::fmt::Write as _;

/// Bad lines that are shown; the rest are counted.
const LINES: usize = 10;

#[derive(Deserialize)]
struct Problem {
    code: u16,
    name: String,
    title: String,
    #[serde(default)]
    detail: String,
    remedy: Option<String>,
    #[serde(default)]
    errors: Vec<BadLine>,
    #[serde(default)]
    more_errors: usize,
}

#[derive(Deserialize)]
struct BadLine {
    line: usize,
    code: u16,
    field: Option<String>,
    message: String,
}

/// The failure that a refusal is.
pub(crate) fn failure_of(answer: &Answer, json: bool) -> Failure {
    let Ok(problem) = serde_json::from_str::<Problem>(&answer.text) else {
        let excerpt: String = answer.text.chars().take(200).collect();
        let message = format!("the server answered {} {excerpt}", answer.status);
        return Failure::new(Exit::Failed, message.trim_end())
            .remedy("check that --server names a Spine server");
    };
    let failure = Failure::new(Exit::Failed, message(&problem));
    let failure = match &problem.remedy {
        Some(remedy) => failure.remedy(remedy.clone()),
        None => failure,
    };
    if json { failure.with_json(answer.text.trim_end()) } else { failure }
}

fn message(problem: &Problem) -> String {
    let Problem { code, name, title, detail, errors, more_errors, .. } = problem;
    let mut text = match detail.as_str() {
        "" => format!("{title} ({code} {name})"),
        detail if detail == title => format!("{title} ({code} {name})"),
        detail => format!("{title}: {detail} ({code} {name})"),
    };
    for bad in errors.iter().take(LINES) {
        let field = bad.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  line {}: {field}{} ({})", bad.line, bad.message, bad.code);
    }
    let more = errors.len().saturating_sub(LINES) + more_errors;
    if more > 0 {
        let _ = write!(text, "\n  and {more} more");
    }
    text
}
