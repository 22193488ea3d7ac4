//! Which addresses a server may listen on: those of this machine, until there is authentication.

use crate::exit::{Exit, Failure};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr},
};
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

/// An address as text. The one name that it may have is that of this machine.
///
/// # Errors
/// Says what to write.
pub(super) fn parse(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let local = port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    local.or_else(|| text.parse().ok()).ok_or_else(|| {
        "write an address of this machine and a port, for example 127.0.0.1:7700 or localhost:7700".into()
    })
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
