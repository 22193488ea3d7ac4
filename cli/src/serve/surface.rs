//! The HTTP surface of a process. One with a way in also watches over the partitions, which nobody else may be there for.

use super::{roles::Roles, stop};
use spine_ingest::{App, Verdicts};
use spine_log::EventLog;
use spine_store::RunStore;
use std::io;
use tokio::{net::TcpListener, sync::watch};

/// Serves until it is told to stop.
///
/// # Errors
/// When it cannot go on.
pub(super) async fn serve<L: EventLog, S: RunStore, V: Verdicts>(
    app: App<L, S, V>,
    roles: Roles,
    listener: TcpListener,
    stops: watch::Receiver<bool>,
) -> io::Result<()> {
    let stopped = stop::told(stops);
    if !roles.ingest {
        return spine_ingest::serve(listener, spine_ingest::owners_router(app), stopped).await;
    }
    let watch = spine_ingest::watch(app.clone());
    let serve = spine_ingest::serve(listener, spine_ingest::router(app), stopped);
    tokio::select! {
        biased;
        served = serve => served,
        never = watch => match never {},
    }
}
