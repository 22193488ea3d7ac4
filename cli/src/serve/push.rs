//! The flags of what is pushed: the lifecycle topic and its webhooks.

use crate::exit::{Exit, Failure};
use spine_schemas::Transition;
use spine_workers::{tools::Allowed, webhook::Settings};
use std::collections::BTreeSet;

/// Which transitions are told, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// Tells transitions of runs on the topic PREFIX.lifecycle; a webhook implies it
    #[arg(long, env = "SPINE_LIFECYCLE")]
    pub(crate) lifecycle: bool,
    /// Posts each transition to this address, on hosts as for tools (repeatable)
    #[arg(long, value_name = "URL", env = "SPINE_WEBHOOK", value_delimiter = ',')]
    pub(crate) webhook: Vec<String>,
    /// Posts only these, for example run_stalled,step_dead_lettered; all without this
    #[arg(
        long,
        value_name = "KIND",
        env = "SPINE_WEBHOOK_KINDS",
        value_delimiter = ',',
        requires = "webhook"
    )]
    pub(crate) webhook_kinds: Vec<Transition>,
}

impl PushArgs {
    /// Whether transitions are told at all.
    pub(crate) fn is_on(&self) -> bool {
        self.lifecycle || !self.webhook.is_empty()
    }

    /// Refuses an address that may not be posted to, and one that is named twice.
    ///
    /// # Errors
    /// Names the flag.
    pub(crate) fn check(&self, allow_tool_host: &[String]) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        for url in &self.webhook {
            let wrong = |why: String| Failure::new(Exit::Usage, format!("--webhook: {why}"));
            if !seen.insert(url) {
                return Err(wrong("an address is named twice".into()));
            }
            let allowed = Allowed::parse(allow_tool_host).map_err(wrong)?;
            allowed.check(url).map_err(wrong)?;
        }
        Ok(())
    }

    /// What each webhook is told.
    pub(crate) fn webhooks(&self, allowed: &Allowed) -> Vec<Settings> {
        let kinds: BTreeSet<Transition> = self.webhook_kinds.iter().copied().collect();
        let settings = |url: &String| Settings {
            url: url.clone(),
            kinds: kinds.clone(),
            allowed: allowed.clone(),
        };
        self.webhook.iter().map(settings).collect()
    }
}
