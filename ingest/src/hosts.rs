//! Whom we answer: callers that name us by our own address, and pages that we gave ourselves. This
//! keeps pages of other sites from reaching a server on the loopback through somebody's browser.

use crate::{Code, Problem, Settings};
use axum::http::{HeaderMap, Uri, header, uri::Authority};
use std::net::IpAddr;

/// Refuses a foreign `Host` and a foreign `Origin`.
pub(crate) fn check(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.next().is_some() || !is_ours(settings, host, 80) {
        return Err(Problem::new(Code::ForeignHost, format!("'{host}' is not our address")));
    }
    // A request to a proxy names the host a second time.
    if uri.authority().is_some_and(|named| !is_ours(settings, named.as_str(), 80)) {
        return Err(Problem::new(Code::ForeignHost, "the address names another host"));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if !is_our_origin(settings, origin) {
            return Err(Problem::new(Code::ForeignOrigin, format!("'{origin}' is not our page")));
        }
    }
    Ok(())
}

fn is_our_origin(settings: &Settings, origin: &str) -> bool {
    let plain = origin.strip_prefix("http://").map(|host| is_ours(settings, host, 80));
    // Behind a proxy that ends TLS, only names that were allowed can be ours.
    let secure = origin.strip_prefix("https://").map(|host| is_allowed(settings, host));
    plain.or(secure).unwrap_or(false)
}

fn is_ours(settings: &Settings, host: &str, default_port: u16) -> bool {
    if is_allowed(settings, host) {
        return true;
    }
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let port = authority.port_u16().unwrap_or(default_port);
    let named = authority.host();
    !host.contains('@')
        && port == settings.listen.port()
        && (named.eq_ignore_ascii_case("localhost") || is_our_address(settings.listen.ip(), named))
}

fn is_our_address(listen: IpAddr, named: &str) -> bool {
    let bare = named.trim_start_matches('[').trim_end_matches(']');
    let Ok(named) = bare.parse::<IpAddr>() else { return false };
    named.is_loopback() || (named == listen && !listen.is_unspecified())
}

fn is_allowed(settings: &Settings, host: &str) -> bool {
    settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
}
