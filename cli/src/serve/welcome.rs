//! What a person can paste next, once the server is ready.

use super::settings::Args;
use crate::{exit::Failure, output};
use std::net::SocketAddr;

/// Prints it on standard output.
///
/// # Errors
/// When nobody reads it.
pub(super) fn print(args: &Args, listen: SocketAddr) -> Result<(), Failure> {
    output::print(&text(args, listen))
}

fn text(args: &Args, listen: SocketAddr) -> String {
    let server = format!("http://{listen}");
    format!(
        "spine {version} is ready on {server}\n\
         \x20 log    {log}\n\
         \x20 store  {store}\n\
         \n\
         Try next:\n\
         \x20 export SPINE_SERVER={server}\n\
         \x20 spine runs start plan.json\n\
         \x20 spine runs list\n\
         \x20 spine dead-letters list\n\
         \x20 curl {server}/metrics\n",
        version = env!("CARGO_PKG_VERSION"),
        log = args.log,
        store = args.store,
    )
}
