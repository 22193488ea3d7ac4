//! Which addresses a server may listen on: those of this machine, until there is authentication.

use crate::exit::{Exit, Failure};
use std::{io::ErrorKind, net::SocketAddr};
use tokio::net::TcpListener;

/// Refuses an address that others could reach.
///
/// # Errors
/// When the address is not on the loopback.
pub(crate) fn check(listen: SocketAddr) -> Result<(), Failure> {
    if listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let message = format!(
        "--listen {listen} is reachable from other machines, and this build has no authentication"
    );
    Err(Failure::new(Exit::Refused, message)
        .remedy("listen on 127.0.0.1:PORT and put a proxy that authenticates before it"))
}

/// Binds the address.
///
/// # Errors
/// When it is taken or not ours.
pub(super) async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        let failure = Failure::new(Exit::Refused, format!("could not listen on {listen}: {error}"));
        match error.kind() {
            ErrorKind::AddrInUse => failure.remedy("stop what listens there, or take another port"),
            _ => failure,
        }
    })
}
