//! Why bytes or values are not a legal event, and what the sender should do.

use thiserror::Error;

/// The result of reading or checking an event.
pub type Result<T> = std::result::Result<T, Error>;

/// A refused event, record or value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// A field is missing, of the wrong form, or not allowed with this kind. The sender must
    /// correct it; the message names the field.
    #[error("{field}: {message}")]
    Invalid {
        /// Path of the field, as in the JSON form.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value is over its limit. The sender must make it smaller.
    #[error("{field}: {actual} is over the limit of {limit}")]
    TooLarge {
        /// Path of the field.
        field: String,
        /// Its size or count.
        actual: usize,
        /// The limit.
        limit: usize,
    },
    /// The event is of a kind, or holds another symbol of a closed set, that is newer than this
    /// build. An owner that meets one under a claim leaves the group: it lacks rules that others
    /// fold by.
    #[error("{field}: '{symbol}' is newer than this build")]
    UnknownKind {
        /// The field: `kind`, or the path of another enum.
        field: String,
        /// The symbol as its writer's schema names it; `unknown` where only that is known.
        symbol: String,
        /// Whether the event carries a claim.
        claimed: bool,
    },
    /// The bytes are not Avro of the schema that they name. The record is set aside as `decode`.
    #[error("not a valid record: {0}")]
    Decode(String),
    /// The fingerprint in the frame names a schema that we do not have. The record waits for the
    /// schema book, then is set aside as `schema_unknown`.
    #[error("unknown schema fingerprint {0:016x}")]
    SchemaUnknown(u64),
    /// A schema change that would break readers or writers. Change it so that both can read.
    #[error("incompatible schema: {0}")]
    Incompatible(String),
}

impl Error {
    /// A field that the sender must correct.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), message: message.into() }
    }

    /// A value over its limit.
    pub fn too_large(field: impl Into<String>, actual: usize, limit: usize) -> Self {
        Self::TooLarge { field: field.into(), actual, limit }
    }

    /// Whether the same bytes may become readable later without the sender's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::SchemaUnknown(_) => true,
            Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::UnknownKind { .. }
            | Self::Decode(_)
            | Self::Incompatible(_) => false,
        }
    }
}
