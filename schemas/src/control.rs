//! What steers an installation as a whole: circuit breakers, pauses that tools asked for, and pauses of
//! tools and tenants. Records of the topic `control`, one JSON object each, the newest under a key counts.
//!
//! What they mean is in `runs::breaker` and `runs::controls`; the health of tools in the workers keeps to them.

use crate::{Error, HeldBy, Result, limits, time::Micros};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change of what steers the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// When, by its author's clock.
    #[serde(with = "text")]
    pub at: Micros,
    /// The process or the person that says so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What changes.
    #[serde(flatten)]
    pub change: Change,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// The circuit breaker of a tool.
    BreakerChanged {
        /// The tool.
        tool: String,
        /// What it is from now on.
        state: BreakerState,
        /// Until when it stays open, or how long a probe may take.
        #[serde(with = "optional_text", default, skip_serializing_if = "Option::is_none")]
        until: Option<Micros>,
    },
    /// An operator opens or closes the breaker of a tool, or leaves it to itself.
    BreakerForced {
        /// The tool.
        tool: String,
        /// What it is from now on.
        state: Forced,
    },
    /// A tool asked for a pause.
    LimitChanged {
        /// The tool.
        tool: String,
        /// Until when it is not called.
        #[serde(with = "text")]
        until: Micros,
    },
    /// A tool is not called until somebody says so.
    ToolPaused {
        /// The tool.
        tool: String,
    },
    /// A tool may be called again.
    ToolResumed {
        /// The tool.
        tool: String,
    },
    /// No step of a tenant starts until somebody says so.
    TenantPaused {
        /// The tenant.
        tenant: Arc<str>,
    },
    /// Steps of a tenant may start again.
    TenantResumed {
        /// The tenant.
        tenant: Arc<str>,
    },
}

/// The state of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// The tool is called.
    Closed,
    /// It is not, for a while.
    Open,
    /// One call tries whether it is back.
    HalfOpen,
}

/// What an operator makes of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// The tool is not called until an operator says otherwise.
    Open,
    /// It is called whatever comes back, until an operator says otherwise.
    Closed,
    /// The breaker goes by itself.
    Auto,
}

impl BreakerState {
    /// The name in records, answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Change {
    /// The key of its record: `tenant/kind/id`. Tools belong to all tenants; they stand under `default`.
    pub fn key(&self) -> String {
        match self {
            Self::BreakerChanged { tool, .. } => format!("default/breaker/{tool}"),
            Self::BreakerForced { tool, .. } => format!("default/forced/{tool}"),
            Self::LimitChanged { tool, .. } => format!("default/limit/{tool}"),
            Self::ToolPaused { tool } | Self::ToolResumed { tool } => {
                format!("default/pause/{tool}")
            }
            Self::TenantPaused { tenant } | Self::TenantResumed { tenant } => {
                format!("{tenant}/pause/")
            }
        }
    }

    /// The tool that it is about.
    pub fn tool(&self) -> Option<&str> {
        match self {
            Self::BreakerChanged { tool, .. }
            | Self::BreakerForced { tool, .. }
            | Self::LimitChanged { tool, .. }
            | Self::ToolPaused { tool }
            | Self::ToolResumed { tool } => Some(tool),
            Self::TenantPaused { .. } | Self::TenantResumed { .. } => None,
        }
    }

    /// What holds steps back from now on, where it is a pause.
    pub fn held_by(&self) -> Option<HeldBy> {
        match self {
            Self::ToolPaused { .. } => Some(HeldBy::ToolPaused),
            Self::TenantPaused { .. } => Some(HeldBy::TenantPaused),
            Self::BreakerChanged { .. }
            | Self::BreakerForced { .. }
            | Self::LimitChanged { .. }
            | Self::ToolResumed { .. }
            | Self::TenantResumed { .. } => None,
        }
    }
}

impl ControlRecord {
    /// Reads the value of a record; `None` for what is under a key of another kind, as the identity of the
    /// installation is.
    ///
    /// # Errors
    /// [`Error::Decode`] for a value under one of our keys that is none of ours.
    pub fn parse(key: &str, value: &[u8]) -> Result<Option<Self>> {
        let kind = key.split('/').nth(1);
        if !matches!(kind, Some("breaker" | "forced" | "limit" | "pause")) {
            return Ok(None);
        }
        let record: Self =
            serde_json::from_slice(value).map_err(|error| Error::Decode(error.to_string()))?;
        if record.change.key() != key {
            return Err(Error::Decode(format!("a record of '{}'", record.change.key())));
        }
        Ok(Some(record))
    }

    /// The value of its record.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and times are JSON")
    }

    /// Checks what came from outside.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field.
    pub fn check(&self) -> Result<()> {
        let texts = [("tool", self.change.tool()), ("actor", Some(self.by.as_str()))];
        for (field, text) in texts {
            let Some(text) = text else { continue };
            if text.is_empty() {
                return Err(Error::invalid(field, "must not be empty"));
            }
            if text.len() > limits::NAME_BYTES {
                return Err(Error::too_large(field, text.len(), limits::NAME_BYTES));
            }
        }
        match &self.change {
            Change::TenantPaused { tenant } | Change::TenantResumed { tenant } => {
                crate::check_tenant(tenant)
            }
            Change::BreakerChanged { .. }
            | Change::BreakerForced { .. }
            | Change::LimitChanged { .. }
            | Change::ToolPaused { .. }
            | Change::ToolResumed { .. } => Ok(()),
        }
    }
}

/// Times as text, for people who read the topic.
mod text {
    use crate::time::Micros;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub(super) fn serialize<S: Serializer>(at: &Micros, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Micros, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        Micros::parse(&text).ok_or_else(|| D::Error::custom(format!("'{text}' is not a time")))
    }
}

mod optional_text {
    use crate::time::Micros;
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes references")]
    pub(super) fn serialize<S: Serializer>(at: &Option<Micros>, to: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::text::serialize(at, to),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Micros>, D::Error> {
        super::text::deserialize(from).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_json_and_say_what_they_are_about() {
        let (tool, until) = ("http://127.0.0.1:9/pay".to_owned(), Micros(1_700_000_000_123_456));
        let state = BreakerState::Open;
        for (change, key) in [
            (
                Change::BreakerChanged { tool: tool.clone(), state, until: Some(until) },
                "default/breaker/http://127.0.0.1:9/pay",
            ),
            (
                Change::BreakerChanged {
                    tool: tool.clone(),
                    state: BreakerState::Closed,
                    until: None,
                },
                "default/breaker/http://127.0.0.1:9/pay",
            ),
            (
                Change::LimitChanged { tool: tool.clone(), until },
                "default/limit/http://127.0.0.1:9/pay",
            ),
            (
                Change::BreakerForced { tool: tool.clone(), state: Forced::Auto },
                "default/forced/http://127.0.0.1:9/pay",
            ),
            (Change::ToolPaused { tool }, "default/pause/http://127.0.0.1:9/pay"),
            (Change::TenantResumed { tenant: "acme".into() }, "acme/pause/"),
        ] {
            let record =
                ControlRecord { at: until, by: "w-1".into(), reason: "because".into(), change };
            assert_eq!(record.change.key(), key);
            record.check().unwrap();
            assert_eq!(ControlRecord::parse(key, &record.to_json()), Ok(Some(record)));
        }
    }

    #[test]
    fn other_kinds_are_passed_over_and_damage_is_named() {
        assert_eq!(ControlRecord::parse("default/installation/log", b"{}"), Ok(None));
        assert_eq!(ControlRecord::parse("no key of ours", b"{}"), Ok(None));
        assert!(ControlRecord::parse("default/breaker/x", b"{}").is_err());
        let change = Change::ToolPaused { tool: "x".into() };
        let record = ControlRecord { at: Micros(0), by: "b".into(), reason: String::new(), change };
        let wrong = ControlRecord::parse("default/pause/y", &record.to_json());
        assert!(wrong.unwrap_err().to_string().contains("default/pause/x"));
    }
}
