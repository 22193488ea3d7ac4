//! What the end of a call says about the tool, rather than about the step.

use crate::tools::CallEnd;
use spine_runs::breaker::Sign;
use spine_schemas::ErrorClass;

/// Whoever answers is there: only 5xx says that it does not work, and 429 that it has enough. Without an answer
/// it does not work, unless nothing was tried.
pub(super) fn sign(end: &CallEnd) -> Sign {
    match end {
        CallEnd::Completed { .. } => Sign::Works,
        // The time was over before anything was sent.
        CallEnd::NeverSent(error) if error.code == "deadline_before_send" => Sign::None,
        CallEnd::NeverSent(_) => Sign::Fails,
        CallEnd::Failed(error) => match error.code.strip_prefix("http_") {
            Some("429") => Sign::AsksForPause(error.retry_after_ms),
            Some(status) if status.starts_with('5') => Sign::Fails,
            Some(_) => Sign::Works,
            None => of_silence(error.class),
        },
    }
}

fn of_silence(class: ErrorClass) -> Sign {
    match class {
        ErrorClass::Transient | ErrorClass::Timeout | ErrorClass::UnknownOutcome => Sign::Fails,
        ErrorClass::RateLimited
        | ErrorClass::Terminal
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
    use spine_schemas::StepError;

    #[test]
    fn who_is_to_blame_is_told_from_class_and_code() {
        let failed = |class, code| sign(&CallEnd::Failed(StepError::new(class, code, "")));
        assert_eq!(failed(ErrorClass::Transient, "http_500"), Sign::Fails);
        assert_eq!(failed(ErrorClass::UnknownOutcome, "timeout"), Sign::Fails);
        assert_eq!(failed(ErrorClass::RateLimited, "http_503"), Sign::Fails);
        assert_eq!(failed(ErrorClass::RateLimited, "http_429"), Sign::AsksForPause(None));
        assert_eq!(failed(ErrorClass::Terminal, "http_422"), Sign::Works);
        // The same answer says the same of the tool, whatever it means for the step.
        for class in [ErrorClass::Transient, ErrorClass::UnknownOutcome, ErrorClass::Terminal] {
            for code in ["http_409", "http_404", "http_302", "http_423"] {
                assert_eq!(failed(class, code), Sign::Works, "{class} {code}");
            }
            assert_eq!(failed(class, "http_502"), Sign::Fails);
        }
        assert_eq!(failed(ErrorClass::Terminal, "tool_url_invalid"), Sign::None);
        assert_eq!(failed(ErrorClass::Policy, "tool_host_not_allowed"), Sign::None);
        let unsent =
            |code| sign(&CallEnd::NeverSent(StepError::new(ErrorClass::Transient, code, "")));
        assert_eq!(unsent("connect_refused"), Sign::Fails);
        assert_eq!(unsent("deadline_before_send"), Sign::None);
    }
}
