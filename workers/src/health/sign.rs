//! What the end of a call says about the tool, rather than about the step.

use crate::tools::CallEnd;
use spine_runs::breaker::Sign;
use spine_schemas::{ErrorClass, StepError};

/// An answer that blames the caller is a sign of life; what never left this process is no sign at all.
pub(super) fn sign(end: &CallEnd) -> Sign {
    match end {
        CallEnd::Completed { .. } => Sign::Works,
        CallEnd::NeverSent(error) if error.code == "deadline_before_send" => Sign::None,
        CallEnd::NeverSent(_) => Sign::Fails,
        CallEnd::Failed(error) => of_failure(error),
    }
}

fn of_failure(error: &StepError) -> Sign {
    let is_answer = error.code.starts_with("http_");
    match error.class {
        ErrorClass::RateLimited if error.code == "http_503" => Sign::Fails,
        ErrorClass::RateLimited => Sign::AsksForPause(error.retry_after_ms),
        ErrorClass::Transient | ErrorClass::Timeout | ErrorClass::UnknownOutcome => Sign::Fails,
        ErrorClass::Terminal | ErrorClass::Contract | ErrorClass::TooLarge if is_answer => {
            Sign::Works
        }
        ErrorClass::Terminal
        | ErrorClass::Contract
        | ErrorClass::TooLarge
        | ErrorClass::Lost
        | ErrorClass::Policy
        | ErrorClass::Budget
        | ErrorClass::NonDeterminism
        | ErrorClass::Cancelled => Sign::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_blame_is_told_from_class_and_code() {
        let failed = |class, code| sign(&CallEnd::Failed(StepError::new(class, code, "")));
        assert_eq!(failed(ErrorClass::Transient, "http_500"), Sign::Fails);
        assert_eq!(failed(ErrorClass::UnknownOutcome, "timeout"), Sign::Fails);
        assert_eq!(failed(ErrorClass::RateLimited, "http_503"), Sign::Fails);
        assert_eq!(failed(ErrorClass::RateLimited, "http_429"), Sign::AsksForPause(None));
        assert_eq!(failed(ErrorClass::Terminal, "http_422"), Sign::Works);
        assert_eq!(failed(ErrorClass::Terminal, "tool_url_invalid"), Sign::None);
        assert_eq!(failed(ErrorClass::Policy, "tool_host_not_allowed"), Sign::None);
        let unsent =
            |code| sign(&CallEnd::NeverSent(StepError::new(ErrorClass::Transient, code, "")));
        assert_eq!(unsent("connect_refused"), Sign::Fails);
        assert_eq!(unsent("deadline_before_send"), Sign::None);
    }
}
