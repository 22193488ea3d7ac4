//! What steers the installation, as the records of the topic `control` say: the newest under a key counts.
//! For those who show it, and for the pauses that owners keep to.

use crate::limits;
use spine_schemas::{
    control::{Change, ControlRecord, Forced},
    mutants::{Mutant, planted},
    time::Micros,
};
use std::{collections::BTreeMap, sync::Arc};

/// Everything that was said and still stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// What tools were found to be, by tool.
    pub tools: BTreeMap<String, ToolControl>,
    /// Tools whose breaker an operator has set, and to what.
    pub forced_tools: BTreeMap<String, ControlRecord>,
    /// Tools that are paused, and what paused them.
    pub paused_tools: BTreeMap<String, ControlRecord>,
    /// Tenants that are paused, and what paused them.
    pub paused_tenants: BTreeMap<Arc<str>, ControlRecord>,
}

/// What stands about one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolControl {
    /// The newest change of its breaker.
    pub breaker: Option<ControlRecord>,
    /// The newest pause that it asked for.
    pub limit: Option<ControlRecord>,
}

impl Controls {
    /// Takes a record. When it is about more tools than [`limits::TOOLS`], all that
    /// was found out of tools is forgotten.
    pub fn apply(&mut self, record: ControlRecord) {
        if record.change.held_by().is_some() && planted(Mutant::PauseUnheard) {
            return;
        }
        match record.change.clone() {
            Change::TenantPaused { tenant } => {
                self.paused_tenants.insert(tenant, record);
            }
            Change::TenantResumed { tenant } => {
                self.paused_tenants.remove(&tenant);
            }
            Change::BreakerChanged { tool, .. } => self.tool(tool).breaker = Some(record),
            Change::BreakerForced { tool, state: Forced::Auto } => {
                self.forced_tools.remove(&tool);
            }
            Change::BreakerForced { tool, .. } => {
                self.forced_tools.insert(tool, record);
            }
            Change::LimitChanged { tool, .. } => self.tool(tool).limit = Some(record),
            Change::ToolPaused { tool } => {
                self.paused_tools.insert(tool, record);
            }
            Change::ToolResumed { tool } => {
                self.paused_tools.remove(&tool);
            }
        }
        if self.tools.len() > limits::TOOLS {
            self.tools.clear();
        }
    }

    /// What pauses a call of a tool for a tenant, and who said so.
    pub fn pause_of(&self, tenant: &str, tool: &str) -> Option<&ControlRecord> {
        self.paused_tenants.get(tenant).or_else(|| self.paused_tools.get(tool))
    }

    fn tool(&mut self, tool: String) -> &mut ToolControl {
        self.tools.entry(tool).or_default()
    }
}

impl ToolControl {
    /// Until when the tool is not called because it asked for that, if that is not over.
    pub fn limited_until(&self, now: Micros) -> Option<Micros> {
        match self.limit.as_ref().map(|record| &record.change) {
            Some(Change::LimitChanged { until, .. }) if *until > now => Some(*until),
            Some(_) | None => None,
        }
    }
}
