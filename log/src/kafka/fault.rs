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

/// A leader as metadata names it: negative while there is none.
pub(crate) fn known_leader(what: &str, leader: Option<i32>) -> crate::Result<i32> {
    let known = leader.filter(|leader| *leader >= 0);
    known.ok_or_else(|| Error::Unavailable(format!("{what}: there is none now")))
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

/// Whether a record that was given to the producer and failed so is surely not in the log.
///
/// The client sends a request again whose answer was lost. So a topic that has gone, or a right that
/// was taken away in between, is what the second try is told, while the first one was appended. The
/// client would know, but its Rust binding does not say. Only a record's size, which is the same with
/// each try, is certain.
pub(crate) fn is_certain(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge)
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
