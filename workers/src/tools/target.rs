//! What does a tool's URL name? Scheme, host, port and path, with everything ambiguous refused.

use hyper::{
    Uri,
    header::HeaderValue,
    http::uri::{Authority, PathAndQuery},
};
use std::net::{IpAddr, Ipv6Addr};

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    /// In the clear.
    Http,
    /// Inside TLS.
    Https,
}

/// Where connections go; two tools of one endpoint may share a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    /// In the clear or not.
    pub(super) scheme: Scheme,
    /// A name in lower case without a final dot, or an address in its usual form, no brackets.
    pub(super) host: String,
    /// From the URL or the scheme; never 0.
    pub(super) port: u16,
}

impl Endpoint {
    /// The address, where the host is one and not a name.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// A tool's URL, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where to connect to.
    pub(super) endpoint: Endpoint,
    /// The `Host` header: host and port as the URL has them.
    pub(super) authority: HeaderValue,
    /// Path and query. An empty path is written as `/`.
    pub(super) path: PathAndQuery,
}

impl Target {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// Says what is wrong. The text never repeats the URL, which may hold a password.
    pub(super) fn parse(tool: &str) -> Result<Self, String> {
        let uri: Uri = tool.parse().map_err(|error| format!("tool is not a URL: {error}"))?;
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            Some(_) | None => return Err("tool must begin with http:// or https://".into()),
        };
        let authority = uri.authority().ok_or("tool names no host")?;
        if authority.as_str().contains('@') {
            return Err("tool must not hold a user name or password".into());
        }
        let host = host(authority)?;
        let port = port(authority)?.unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        let authority = HeaderValue::from_str(authority.as_str())
            .map_err(|_| "tool has a host with characters that a header cannot hold")?;
        Ok(Self { endpoint: Endpoint { scheme, host, port }, authority, path })
    }
}

fn host(authority: &Authority) -> Result<String, String> {
    let host = authority.host();
    if let Some(inner) = host.strip_prefix('[') {
        let address: Ipv6Addr = inner
            .strip_suffix(']')
            .and_then(|text| text.parse().ok())
            .ok_or("tool has a malformed IPv6 address")?;
        return Ok(address.to_string());
    }
    let host = canonical_host(host);
    if host.is_empty() {
        return Err("tool names no host".into());
    }
    Ok(host)
}

/// The port of the URL. The `http` crate reads an impossible port as none, which would silently call
/// the default one, so it is read here.
fn port(authority: &Authority) -> Result<Option<u16>, String> {
    let after_host = &authority.as_str()[authority.host().len()..];
    match after_host.strip_prefix(':') {
        None | Some("") => Ok(None),
        Some(digits) => match digits.parse() {
            Ok(port) if port > 0 => Ok(Some(port)),
            Ok(_) | Err(_) => Err("tool has a port that is not between 1 and 65535".into()),
        },
    }
}

/// One spelling for each host name, so that patterns and shared connections compare equal.
pub(super) fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    host.strip_suffix('.').map_or(host.clone(), str::to_owned)
}
