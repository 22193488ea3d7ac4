//! Opening a connection: name, address, TCP, TLS. Whatever fails here, nothing was sent.

use super::{
    allowed::Reach,
    gate::Wire,
    target::{Endpoint, Scheme},
};
use spine_schemas::{ErrorClass, StepError};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

/// Why nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotSent {
    /// The deadline had passed when the request was about to be written.
    Late,
    /// The connection was gone before the request was written.
    Closed(String),
    /// Nobody listens there.
    Refused(String),
    /// No connection for another reason.
    Unconnected(String),
    /// No connection in time.
    TimedOut,
    /// The name has no address.
    Dns(String),
    /// TLS failed: certificate, protocol, or a remote that speaks none.
    Tls(String),
    /// The name has an address to which this call may not go.
    Forbidden(IpAddr),
}

impl NotSent {
    /// What the step records.
    pub(super) fn error(&self, endpoint: &Endpoint) -> StepError {
        let at = format!("{}:{}", endpoint.host, endpoint.port);
        let transient = |code: &str, message: String| {
            StepError::new(ErrorClass::Transient, code, super::classify::cut(message))
        };
        match self {
            Self::Late => transient(
                "deadline_before_send",
                format!("the attempt's time was over before the request to {at} was written"),
            ),
            Self::Closed(why) => transient(
                "closed_before_send",
                format!("{at} closed the connection before the request was written: {why}"),
            ),
            Self::Refused(why) => transient("connect_refused", format!("connect to {at}: {why}")),
            Self::Unconnected(why) => {
                transient("connect_failed", format!("connect to {at}: {why}"))
            }
            Self::TimedOut => transient("connect_timeout", format!("connect to {at}: no answer")),
            Self::Dns(why) => transient("dns", format!("look up {}: {why}", endpoint.host)),
            Self::Tls(why) => transient("tls", format!("TLS with {at}: {why}")),
            Self::Forbidden(address) => StepError::new(
                ErrorClass::Policy,
                "tool_host_not_allowed",
                super::classify::cut(format!(
                    "{} resolves to {address}, which is not this machine",
                    endpoint.host
                )),
            ),
        }
    }
}

/// Opens a connection to an endpoint, or says by the deadline why not.
pub(super) async fn dial(
    endpoint: &Endpoint,
    reach: Reach,
    tls: &TlsConnector,
    deadline: Instant,
) -> Result<Box<dyn Wire>, NotSent> {
    let opened = async {
        let addresses = resolve(endpoint).await?;
        within(reach, &addresses)?;
        let stream = connect_any(&addresses, deadline).await?;
        match endpoint.scheme {
            Scheme::Http => Ok(Box::new(stream) as Box<dyn Wire>),
            Scheme::Https => secure(endpoint, tls, stream).await,
        }
    };
    timeout_at(deadline, opened).await.unwrap_or(Err(NotSent::TimedOut))
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, NotSent> {
    if let Some(address) = endpoint.address() {
        return Ok(vec![SocketAddr::new(address, endpoint.port)]);
    }
    let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await;
    let addresses: Vec<_> = found.map_err(|error| NotSent::Dns(error.to_string()))?.collect();
    if addresses.is_empty() {
        return Err(NotSent::Dns("the name has no address".into()));
    }
    Ok(addresses)
}

/// Checks every address, not only the first: which one answers is not ours to choose.
pub(super) fn within(reach: Reach, addresses: &[SocketAddr]) -> Result<(), NotSent> {
    let outside = addresses.iter().map(SocketAddr::ip).find(|address| !reach.includes(*address));
    outside.map_or(Ok(()), |address| Err(NotSent::Forbidden(address)))
}

/// Tries the addresses in order. Each gets an equal share of the time that is left, so that one that
/// swallows packets does not cost the others their turn.
async fn connect_any(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, NotSent> {
    let mut last = NotSent::TimedOut;
    for (at, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / left;
        last = match timeout_at(now + share, connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                NotSent::Refused(error.to_string())
            }
            Ok(Err(error)) => NotSent::Unconnected(error.to_string()),
            Err(_) => NotSent::TimedOut,
        };
    }
    Err(last)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // On one machine a socket can connect to itself, if its own port is the one nobody listens on.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there"));
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn secure(
    endpoint: &Endpoint,
    tls: &TlsConnector,
    stream: TcpStream,
) -> Result<Box<dyn Wire>, NotSent> {
    let failed = |why: String| NotSent::Tls(why);
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|e| failed(e.to_string()))?;
    let secured = tls.connect(name, stream).await.map_err(|e| failed(e.to_string()))?;
    Ok(Box::new(secured))
}
