//! On which hosts may tools be called? Loopback by default; anything else is named by the operator.
//!
//! The host is checked at the door and again before each call. Where only loopback is meant, the
//! address that a name resolved to is checked as well, at the moment of connecting.

use super::target::{Endpoint, Target, canonical_host};
use std::net::IpAddr;

/// The setting that refusals name.
pub const ALLOW_SETTING: &str = "--allow-tool-host";

/// The hosts on which tools may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// 127.0.0.0/8, ::1 and `localhost`, on any port.
    Loopback,
    /// This host, on one port or on any.
    Host(String, Option<u16>),
    /// Every name below this one (kept with its leading dot), on one port or on any.
    Below(String, Option<u16>),
}

/// How far a call that is allowed may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Whatever the name resolves to: the operator named the host.
    AsResolved,
    /// Only addresses of this machine.
    Loopback,
}

impl Default for Allowed {
    fn default() -> Self {
        Self::loopback()
    }
}

impl Allowed {
    /// Tools on this machine only: 127.0.0.0/8, ::1 and `localhost`.
    pub fn loopback() -> Self {
        Self { patterns: vec![Pattern::Loopback] }
    }

    /// The hosts that an operator names: `host`, `host:port`, `*.suffix`, `*.suffix:port`, an address
    /// (IPv6 with brackets where a port follows), or the word `loopback`. A list replaces the default;
    /// an empty list is the default.
    ///
    /// # Errors
    /// Names the pattern that is none.
    pub fn parse<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, String> {
        let patterns: Vec<Pattern> = patterns
            .into_iter()
            .map(|text| Pattern::parse(text.as_ref()))
            .collect::<Result<_, _>>()?;
        if patterns.is_empty() {
            return Ok(Self::loopback());
        }
        Ok(Self { patterns })
    }

    /// Whether a tool may be called at all.
    ///
    /// # Errors
    /// Says what is wrong and how to allow it.
    pub fn check(&self, tool: &str) -> Result<(), String> {
        let target = Target::parse(tool)?;
        self.reach(&target.endpoint).map(|_| ()).ok_or_else(|| refusal(&target.endpoint))
    }

    /// How far a call to this endpoint may reach; `None` when it is not allowed.
    pub(super) fn reach(&self, endpoint: &Endpoint) -> Option<Reach> {
        if !self.patterns.iter().any(|pattern| pattern.matches(endpoint)) {
            return None;
        }
        // Whoever allows `localhost` means this machine, whatever a name server makes of it.
        let is_local = is_local_name(&endpoint.host) || is_loopback(endpoint);
        Some(if is_local { Reach::Loopback } else { Reach::AsResolved })
    }
}

impl Reach {
    /// Whether a connection to this address is inside the reach.
    pub(super) fn includes(self, address: IpAddr) -> bool {
        match self {
            Self::AsResolved => true,
            Self::Loopback => address.to_canonical().is_loopback(),
        }
    }
}

/// What a refused caller is told.
pub(super) fn refusal(endpoint: &Endpoint) -> String {
    let Endpoint { host, port, .. } = endpoint;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    format!("tools may not be called on {host}:{port}; allow it with {ALLOW_SETTING} {host}:{port}")
}

fn is_local_name(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn is_loopback(endpoint: &Endpoint) -> bool {
    endpoint.address().is_some_and(|address| address.to_canonical().is_loopback())
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("loopback") {
            return Ok(Self::Loopback);
        }
        let wrong = || format!("'{text}' is none of host, host:port, *.suffix, loopback");
        let (host, port) = split_port(trimmed).ok_or_else(wrong)?;
        let (below, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        let name = match name.parse::<IpAddr>() {
            Ok(_) if below => return Err(wrong()),
            Ok(address) => address.to_string(),
            Err(_) => canonical_host(name),
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(legal) {
            return Err(wrong());
        }
        Ok(if below { Self::Below(format!(".{name}"), port) } else { Self::Host(name, port) })
    }

    fn matches(&self, endpoint: &Endpoint) -> bool {
        let port_fits = |port: &Option<u16>| port.is_none_or(|port| port == endpoint.port);
        match self {
            Self::Loopback => endpoint.host == "localhost" || is_loopback(endpoint),
            Self::Host(host, port) => *host == endpoint.host && port_fits(port),
            // An address has no names above it: `*.1` must not match 10.0.0.1.
            Self::Below(suffix, port) => {
                endpoint.address().is_none() && endpoint.host.ends_with(suffix) && port_fits(port)
            }
        }
    }
}

/// Parts host and port. An IPv6 address has brackets where a port follows.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port = |digits: &str| digits.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(digits) => Some((host, Some(port(digits)?))),
            None => after.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, rest)) if rest.contains(':') => {
            text.parse::<std::net::Ipv6Addr>().ok().map(|_| (text, None))
        }
        Some((host, digits)) => Some((host, Some(port(digits)?))),
    }
}
