//! Who asks for something, and why: what the verbs of operators have in common.

use crate::client::ServerArgs;

/// Who asks, why, and which server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AskedArgs {
    /// Why; kept in the log
    #[arg(long)]
    pub(crate) reason: String,
    /// Who; kept in the log
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR")]
    pub(crate) actor: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
