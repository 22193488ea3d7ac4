//! Errors of librdkafka as errors of the log: what the caller should do, not what the wire said.

use crate::Error;
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

/// An error of a question that changed nothing.
pub(crate) fn of_query(what: &str, error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(code) => of_code(what, code),
        None => Error::Unavailable(format!("{what}: {error}")),
    }
}

/// An error code, with what it was about.
pub(crate) fn of_code(what: &str, code: RDKafkaErrorCode) -> Error {
    if is_missing(code) {
        return Error::Missing(what.into());
    }
    if is_forbidden(code) {
        return Error::Refused(format!("{what}: the brokers forbid it ({code}); check the ACLs"));
    }
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => Error::Refused(format!(
            "{what}: a record is larger than the topic takes; raise its max.message.bytes"
        )),
        RDKafkaErrorCode::InvalidRecord | RDKafkaErrorCode::PolicyViolation => {
            Error::Refused(format!("{what}: the broker refuses such records ({code})"))
        }
        code => Error::Unavailable(format!("{what}: {code}")),
    }
}

/// Whether the place does not exist.
pub(crate) fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::InvalidTopic
    )
}

/// Whether the brokers forbid it to this user.
pub(crate) fn is_forbidden(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::Authentication
    )
}
